/** The summary documents of attempts. */
import { int4Array, uuidArray } from '../binary-arrays.js';
import type { Runner } from '../database.js';
import { statement } from '../statement.js';
import type { Close, StreamRef } from './read.js';

const read = statement(
  'frames.summaries',
  `select u.ord::int, h.document::text as document, coalesce(h.version, 0) as version, h.patched_at, a.outcome, a.state, a.ended_at
   from unnest($1::uuid[], $2::int[]) with ordinality u (execution, attempt, ord)
   left join lateral (
     select x.document, x.version, x.patched_at from {schema}.frame_head x
     where x.execution = u.execution and x.attempt = u.attempt offset 0) h on true
   left join lateral (
     select x.outcome, x.state, x.ended_at from {schema}.attempt x
     where x.execution = u.execution and x.number = u.attempt offset 0) a on true
   order by u.ord`,
);

export interface Summary {
  /** JSON text; null while there were no patches. */
  readonly document: string | null;
  readonly version: number;
  readonly patchedAt: Date | null;
  readonly closed: Close | undefined;
}

interface SummaryRow {
  readonly document: string | null;
  readonly version: number;
  readonly patched_at: Date | null;
  readonly outcome: number | null;
  readonly state: number | null;
  readonly ended_at: Date | null;
}

/** In the order of the streams, which need not have any output. */
export async function readSummaries(runner: Runner, streams: readonly StreamRef[]): Promise<Summary[]> {
  const rows = await runner.query<SummaryRow>(read, [
    uuidArray(streams.map(({ execution }) => execution)),
    int4Array(streams.map(({ attempt }) => attempt)),
  ]);
  return rows.map(({ document, version, patched_at: patchedAt, outcome, state, ended_at: endedAt }) => ({
    document,
    version,
    patchedAt,
    closed: outcome === null || state === null || endedAt === null ? undefined : { outcome, state, endedAt },
  }));
}
