/** What the quickstart's report adds up, in the handler that is run when every file has ended. */
import type { JoinedInput, JoinedInputs } from '../../src/worker/index.js';
import type { Analysis } from './analyze-markdown.js';
import { WORKERS } from './pace.js';

const SLOWEST = 5;
/** So that the totals fit into a result. */
const BROKEN = 2_000;

export interface Totals {
  /** Files that were analyzed. */
  readonly files: number;
  readonly words: number;
  readonly headings: number;
  readonly links: number;
  readonly brokenRelativeLinkCount: number;
  /** The first of them. */
  readonly brokenRelativeLinks: readonly { readonly file: string; readonly link: string }[];
  readonly slowest: readonly { readonly file: string; readonly ms: number }[];
  readonly failed: readonly { readonly executionId: string; readonly message: string }[];
  readonly byWorker: readonly { readonly name: string; readonly files: number }[];
}

/** Results that were too large for the claim are read from the server. */
export async function totalsOf(inputs: JoinedInputs): Promise<Totals> {
  const read = async (input: JoinedInput) => (await inputs.read(input)).json<Analysis>();
  const results = await Promise.all(inputs.list.filter(({ outcome }) => outcome === 'ok').map(read));
  const analyses = results.filter((analysis) => analysis !== undefined);
  const sum = (of: (analysis: Analysis) => number) => analyses.reduce((total, analysis) => total + of(analysis), 0);
  const broken = analyses.flatMap(({ file, broken }) => broken.map((link) => ({ file, link })));
  return {
    files: analyses.length,
    words: sum(({ words }) => words),
    headings: sum(({ headings }) => headings),
    links: sum(({ links }) => links),
    brokenRelativeLinkCount: broken.length,
    brokenRelativeLinks: broken.slice(0, BROKEN),
    slowest: analyses
      .toSorted((a, b) => b.ms - a.ms)
      .slice(0, SLOWEST)
      .map(({ file, ms }) => ({ file, ms: Math.round(ms * 10) / 10 })),
    failed: [...inputs]
      .filter(({ outcome }) => outcome !== 'ok')
      .map(({ executionId, outcome, failure }) => ({ executionId, message: failure?.message || outcome })),
    byWorker: WORKERS.map((name) => ({ name, files: analyses.filter(({ worker }) => worker === name).length })),
  };
}
