/** Where the log begins and ends, and which log it is. */
import type { Runner } from '../database.js';
import { statement } from '../statement.js';

const read = statement(
  'log.head',
  `select i.id as incarnation, i.floor, h.head, h.unnumbered, clock_timestamp() as now
   from {schema}.log_incarnation i, {schema}.log_head() h`,
);

const position = statement(
  'log.position',
  `select (r.base + coalesce((select sum(e.n) from {schema}.log e
     where e.seq >= r.lo and e.seq < $1::bigint and not e.seq <@ any (r.holes)), 0))::bigint as position
   from {schema}.log_run r
   where r.hi >= $1::bigint and r.lo <= $1::bigint and (r.lo = r.hi or not $1::bigint <@ any (r.holes))
   order by r.hi limit 1`,
);

export interface LogHead {
  /** Random, made with the log. A cursor that names another one is a stranger's. */
  readonly incarnation: string;
  /** Entries up to this position are gone; 0: none are. */
  readonly floor: bigint;
  /** The highest position given; 0: none. */
  readonly head: bigint;
  /** Something committed waits for its position. */
  readonly unnumbered: boolean;
  /** The database's clock. */
  readonly now: Date;
}

export async function readLogHead(runner: Runner): Promise<LogHead> {
  const [row] = await runner.query<LogHead>(read);
  if (row === undefined) throw new Error('the log has lost its incarnation row');
  return row;
}

/** Position of the first entry that append_log wrote under this seq; undefined while it has none. */
export async function positionOf(runner: Runner, seq: bigint): Promise<bigint | undefined> {
  const [row] = await runner.query<{ position: bigint }>(position, [seq]);
  return row?.position;
}
