/** A vitest reporter for main/bin/test.mjs: counts, and why tests were skipped, as JSON into $RINGSIDE_TEST_RESULTS. */
import { writeFileSync } from 'node:fs';

export default class SummaryReporter {
  /** @param {readonly import('vitest/node').TestModule[]} modules */
  onTestRunEnd(modules, unhandledErrors) {
    const summary = { passed: 0, failed: 0, skipped: 0, skips: {}, unhandled: unhandledErrors.length };
    for (const testModule of modules) {
      const tests = [...testModule.children.allTests()];
      for (const test of tests) {
        const result = test.result();
        if (result.state === 'passed') summary.passed++;
        else if (result.state === 'failed') summary.failed++;
        else {
          summary.skipped++;
          const reason = `${testModule.relativeModuleId}: ${result.note ?? test.name}`;
          summary.skips[reason] = (summary.skips[reason] ?? 0) + 1;
        }
      }
      // A file that cannot be loaded has no tests, and errors of its own.
      if (testModule.state() === 'failed' && !tests.some((test) => test.result().state === 'failed')) summary.failed++;
    }
    summary.failed += unhandledErrors.length;
    writeFileSync(process.env.RINGSIDE_TEST_RESULTS, JSON.stringify(summary));
  }
}
