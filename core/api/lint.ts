/** What the linter has found a driver to do. */
import { z } from 'zod';

export const lintFinding = z.object({
  /** A rule of docs/linter.md. */
  rule: z.string(),
  /** Of virtio 1.3. */
  section: z.string(),
  /** must: the spec forbids it. should: it advises against it, or it costs time. */
  severity: z.enum(['must', 'should']),
  /** What the rule is, one line. */
  title: z.string(),
  count: z.number().int(),
  /** The first few, oldest first. */
  examples: z.array(
    z.object({
      /** ms since 1970. */
      time: z.number(),
      queue: z.number().int().nullable(),
      detail: z.string(),
    }),
  ),
});
export type LintFinding = z.infer<typeof lintFinding>;

export const lintRule = lintFinding
  .pick({ rule: true, section: true, severity: true, title: true })
  .extend({ watched: z.boolean() });
export type LintRuleInfo = z.infer<typeof lintRule>;
