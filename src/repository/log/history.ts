/**
 * The entries of one flow, or of one execution that has none: what an operator looks at.
 *
 * Rows come in the order of seq, which is the order of their locks: for one execution that is the order of its
 * positions. What is not numbered yet is left out, and the page goes on behind it; it shows up within one pulse.
 */
import type { Runner } from '../database.js';
import { statement } from '../statement.js';
import { type LogEntry, type PackedRow, unpack } from './entry.js';
import { readLargeBodies } from './large-bodies.js';

const COLUMNS = `(r.base + before.n)::bigint as position, l.seq, l.at, l.namespace, l.kind, l.execution, l.flow, l.class,
     l.from_state, l.to_state, l.attempt, l.body, l.large`;

/** A late row has a run of its own, whose hi is its seq; any other row lies in the run whose range holds it. */
const POSITION = `join {schema}.log l on l.seq = f.seq
   left join lateral (
     select r.base, r.lo, r.hi, r.holes from {schema}.log_run r
     where r.hi >= l.seq and r.lo <= l.seq and (r.lo = r.hi or not l.seq <@ any (r.holes)) order by r.hi limit 1) r on true
   left join lateral (
     select coalesce(sum(e.n), 0) as n from {schema}.log e
     where e.seq >= r.lo and e.seq < l.seq and not e.seq <@ any (r.holes)) before on true`;

const forward = statement(
  'log.history',
  `select ${COLUMNS}
   from (select seq from {schema}.log_flow where flow = $1::uuid and seq > $2::bigint order by seq limit $3::int) f
   ${POSITION} order by l.seq`,
);

const backward = statement(
  'log.history-backward',
  `select ${COLUMNS}
   from (select seq from {schema}.log_flow where flow = $1::uuid and seq < $2::bigint order by seq desc limit $3::int) f
   ${POSITION} order by l.seq desc`,
);

export interface HistoryPage {
  /** The flow, or the execution when it has no flow. */
  readonly of: string;
  /** Only this execution's entries, out of its flow's. */
  readonly execution?: string;
  /** The seq of the last row seen; default: from the end that the order starts at. */
  readonly after?: bigint;
  /** Transactions, not entries. */
  readonly limit: number;
  readonly newestFirst?: boolean;
}

export interface History {
  readonly entries: LogEntry[];
  /** What `after` is for the next page; undefined when this was the last. */
  readonly next: bigint | undefined;
}

const MAX_SEQ = 2n ** 63n - 1n;

export async function readHistory(runner: Runner, page: HistoryPage): Promise<History> {
  const [made, start] = page.newestFirst ? [backward, MAX_SEQ] : [forward, 0n];
  const found = await runner.query<PackedRow | (PackedRow & { readonly position: null })>(made, [
    page.of,
    page.after ?? start,
    page.limit,
  ]);
  const rows = found.filter((row): row is PackedRow => row.position !== null);
  const large = await readLargeBodies(runner, rows);
  const entries = rows
    .flatMap((row) => (page.newestFirst ? unpack(row, large).reverse() : unpack(row, large)))
    .filter((entry) => (page.execution ?? entry.execution) === entry.execution)
    .filter((entry) => (entry.flow ?? entry.execution) === page.of);
  return { entries, next: found.length < page.limit ? undefined : found.at(-1)?.seq };
}
