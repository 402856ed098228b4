/** Where the log begins and ends, and which log it is. */
import type { Runner } from '../database.js';
import { statement } from '../statement.js';

const read = statement(
  'log.head',
  `select i.id as incarnation,
     greatest(i.floor, (select n.log_floor from {schema}.namespace n where n.id = $1::int)) as floor, h.head, h.unnumbered,
     clock_timestamp() as now, (select jsonb_object_agg(p.incarnation, p.last::text) from {schema}.log_past p) as past
   from {schema}.log_incarnation i, {schema}.log_head() h`,
);

const readFloors = statement(
  'log.floors',
  `select i.floor, n.id, n.log_floor from {schema}.log_incarnation i
   left join {schema}.namespace n on n.log_floor > i.floor`,
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
  /** Logs that this one was restored from, and up to which position they are the same. */
  readonly past?: Readonly<Record<string, bigint>>;
  /** Entries up to this position are gone, or not shown in the namespace that was asked for; 0: all are there. */
  readonly floor: bigint;
  /** The highest position given; 0: none. */
  readonly head: bigint;
  /** Something committed waits for its position. */
  readonly unnumbered: boolean;
  /** The database's clock. */
  readonly now: Date;
}

/** Up to where the log is gone for everybody, and for the namespaces where it is gone further. */
export interface LogFloorRows {
  readonly floor: bigint;
  readonly namespaces: ReadonlyMap<number, bigint>;
}

/** `namespace`: whose floor it is; 0 for none. */
export async function readLogHead(runner: Runner, namespace = 0): Promise<LogHead> {
  const [row] = await runner.query<Omit<LogHead, 'past'> & { past: Record<string, string> | null }>(read, [namespace]);
  if (row === undefined) throw new Error('the log has lost its incarnation row');
  const { past, ...head } = row;
  if (past === null) return head;
  const last = Object.entries(past).map(([incarnation, position]) => [incarnation, BigInt(position)] as const);
  return { ...head, past: Object.fromEntries(last) };
}

export async function readLogFloors(runner: Runner): Promise<LogFloorRows> {
  const rows = await runner.query<{ floor: bigint; id: number | null; log_floor: bigint }>(readFloors);
  return {
    floor: rows[0]?.floor ?? 0n,
    namespaces: new Map(rows.flatMap(({ id, log_floor: floor }) => (id === null ? [] : [[id, floor] as const]))),
  };
}

/** Position of the first entry that append_log wrote under this seq; undefined while it has none. */
export async function positionOf(runner: Runner, seq: bigint): Promise<bigint | undefined> {
  const [row] = await runner.query<{ position: bigint }>(position, [seq]);
  return row?.position;
}
