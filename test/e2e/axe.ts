/** axe-core on a page: what keeps people with a keyboard, a screen reader or weak eyes out of it. */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { Page } from 'playwright-core';

const SOURCE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

interface Violation {
  id: string;
  help: string;
  nodes: { target: unknown[]; html: string; failureSummary?: string }[];
}

/**
 * One line for each thing that is wrong.
 * @param rules only these; all of them unless told
 */
export async function axeProblems(page: Page, rules?: readonly string[]): Promise<string[]> {
  // The strict policy of the page forbids it to load scripts; what the debugger evaluates is not its own.
  await page.evaluate(`if (!('axe' in window)) { ${SOURCE} }`);
  const options = JSON.stringify({
    resultTypes: ['violations'],
    // A menu hangs below the page, in no landmark of it: it has the focus while it is open.
    ...(rules === undefined ? { rules: { region: { enabled: false } } } : { runOnly: { type: 'rule', values: rules } }),
  });
  // The terminal's own elements are xterm.js's: its rows are hidden from screen readers, which have their own tree.
  const context = JSON.stringify({ exclude: [['.xterm']] });
  const found = await page.evaluate<Violation[]>(
    `axe.run(${context}, ${options}).then(({ violations }) => violations.map(({ id, help, nodes }) => ({ id, help, nodes: nodes.map(({ target, html, failureSummary }) => ({ target, html, failureSummary })) })))`,
  );
  return found.flatMap(({ id, help, nodes }) =>
    nodes.map(({ target, html, failureSummary = '' }) => {
      const detail = failureSummary.split('\n').slice(1).join(' ').trim();
      return `${id}: ${help}: ${target.join(' ')}: ${html.slice(0, 160)} (${detail.slice(0, 240)})`;
    }),
  );
}
