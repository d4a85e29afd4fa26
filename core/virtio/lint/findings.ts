/** Rules that a driver has broken: how often, and the first few times. Bounded, however often it does. */
import type { LintFinding } from '../../api/lint.ts';
import { lintRuleInfo } from './rules.ts';
import type { LintRule } from './rules.ts';

/** Examples kept of each rule. */
const EXAMPLES = 5;

/** Structured-clonable. */
export interface RuleCount {
  readonly rule: LintRule;
  count: number;
  readonly examples: LintFinding['examples'];
}

export class LintFindings {
  readonly #counts = new Map<LintRule, RuleCount>();

  /** @param detail one line; made only when it will be kept */
  add(rule: LintRule, queue: number | null, detail: () => string): void {
    let found = this.#counts.get(rule);
    if (found === undefined) this.#counts.set(rule, (found = { rule, count: 0, examples: [] }));
    found.count++;
    if (found.examples.length < EXAMPLES) found.examples.push({ time: Date.now(), queue, detail: detail() });
  }

  get counts(): RuleCount[] {
    return [...this.#counts.values()];
  }

  clear(): void {
    this.#counts.clear();
  }
}

/** What several have found, most serious and most frequent first. */
export function mergeFindings(all: readonly RuleCount[]): LintFinding[] {
  const merged = new Map<LintRule, RuleCount>();
  for (const { rule, count, examples } of all) {
    const before = merged.get(rule) ?? { rule, count: 0, examples: [] };
    const both = [...before.examples, ...examples].sort((a, b) => a.time - b.time).slice(0, EXAMPLES);
    merged.set(rule, { rule, count: before.count + count, examples: both });
  }
  return [...merged.values()]
    .map(({ rule, count, examples }) => {
      const { section, severity, title } = lintRuleInfo(rule);
      return { rule, section, severity, title, count, examples };
    })
    .sort((a, b) => a.severity.localeCompare(b.severity) || b.count - a.count);
}
