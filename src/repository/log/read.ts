/**
 * Entries in the order of their positions, from any position on.
 *
 * Positions are not stored: a run names its first one and the rows it covers, and the sum over these rows gives the
 * rest. A reader that starts inside a run therefore sums over that run only, up to the rows of one sequencer step.
 * One statement, hence one snapshot: a run that is visible comes with all its entries.
 */
import type { Runner } from '../database.js';
import { statement } from '../statement.js';
import { type LogEntry, type PackedRow, unpack } from './entry.js';
import { readLargeBodies } from './large-bodies.js';

/**
 * Served by the primary keys of log_run and log; rows join their run by range, which only a nested loop can do.
 * Arrays travel as JSON: the engine parses it by itself, several times faster than the driver parses array text.
 */
const read = statement(
  'log.read',
  `with run as materialized (
     select r.base, r.lo, r.hi, r.holes from {schema}.log_run r
     where r.base >= (select coalesce(max(b.base), 0) from {schema}.log_run b where b.base <= $1::bigint)
       and r.base < $1::bigint + $2::int),
   numbered as (
     select l.*, (r.base + sum(l.n) over (partition by r.base order by l.seq) - l.n)::bigint as position
     from run r join {schema}.log l on l.seq between r.lo and r.hi and (r.lo = r.hi or not l.seq <@ any (r.holes)))
   select position, seq, at, to_json(namespace) as namespace, to_json(kind) as kind, to_json(execution) as execution,
     to_json(flow) as flow, to_json(class) as class, to_json(from_state) as from_state, to_json(to_state) as to_state,
     to_json(attempt) as attempt, to_json(body) as body, large
   from numbered where position + n > $1::bigint and position < $1::bigint + $2::int
   order by position`,
);

/**
 * About `limit` entries from position `from` on: the transaction that crosses the limit comes whole. Fewer than `limit`
 * means that the head was reached.
 */
export async function readLog(runner: Runner, from: bigint, limit: number): Promise<LogEntry[]> {
  const rows = await runner.query<PackedRow>(read, [from, limit]);
  const large = await readLargeBodies(runner, rows);
  return rows.flatMap((row) => unpack(row, large)).filter((entry) => entry.position >= from);
}
