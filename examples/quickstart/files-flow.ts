/**
 * The flow of the quickstart: a member per file, and a report that waits for all of them. A file that fails does not
 * keep the report from being made: its edge is optional.
 */
import { flow, text } from '../../src/client/index.js';

/** A join takes 10,000; half of it keeps the quickstart quick. */
export const MOST_FILES = 5_000;
export const REPORT = 'report';

export function filesFlow(files: readonly string[], lane: string) {
  const members = files.map((file, index) => {
    return [`file ${index}`, { type: 'analyze-markdown', lane, input: text(file) }] as const;
  });
  return flow({ name: 'quickstart' })
    .members(members)
    .member(REPORT, { type: REPORT, lane })
    .fanIn(
      members.map(([name]) => name),
      REPORT,
      { optional: true },
    );
}
