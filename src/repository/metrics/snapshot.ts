/**
 * What metrics show of the whole installation, in one statement and one snapshot.
 *
 * What it costs follows from how many classes, consumers and namespaces there are, not from how many rows: executions are
 * counted as folded from the log, ages are read at the heads of lines and at places of the log, everything else is counted
 * up to a bound. With 1,000 lanes of 5 classes and 500 consumers, 100,000 letters and 300,000 rows in line it takes some
 * 0.2 s, where heads read through claim_heads, which looks through all bounds for each of them, took 3 s.
 */
import type { Runner } from '../database.js';
import { statement } from '../statement.js';

/** Letters of a namespace, and rows of each kind that waits to be worked off, are counted up to this many. */
export const COUNTED = 10_000;
const LETTERS = 2 * COUNTED;
/** Classes with waiting work whose heads are looked at, the oldest classes first. */
const HEADS = 1_000;
/** Of each of their stretches, the most urgent first. */
const PRIORITIES = 32;
const CONSUMERS = 1_000;

/**
 * Rows without a position are those above the sequencer's top, and those that filled its holes. The first entry behind a
 * consumer's place stands in the run that holds the next position, at whose first row it is looked: at most a step's rows
 * too early. Whose place is the end of the log is not behind.
 */
const read = statement(
  'metrics.snapshot',
  `with last as materialized (
     select r.top, r.holes, r.base + r.n - 1 as head from {schema}.log_run r order by r.base desc limit 1),
   waiting as materialized (
     select k.class, c.lane from {schema}.state_count k join {schema}.claim_class c on c.id = k.class
     where k.state = 3 and k.n > 0 order by k.class limit ${HEADS}),
   stretch as materialized (
     select w.class, w.lane, coalesce(u.from_priority, -1000::smallint) as from_priority,
       coalesce(u.from_seq, 0) as from_seq, coalesce(u.to_priority, 1001::smallint) as to_priority
     from waiting w
     left join unnest($2::int[], $3::smallint[], $4::bigint[], $5::smallint[]) u (class, from_priority, from_seq, to_priority)
       on u.class = w.class),
   heads as materialized (
     select s.lane, x.ready_at from stretch s
     cross join lateral (
       with recursive head as (
         (select r.priority, r.ready_at from {schema}.ready r
          where r.class = s.class and (r.priority, r.seq) >= (s.from_priority, s.from_seq) and r.priority < s.to_priority
          order by r.priority, r.seq limit 1)
         union all
         select n.priority, n.ready_at from head h
         cross join lateral (
           select r.priority, r.ready_at from {schema}.ready r
           where r.class = s.class and r.priority > h.priority and r.priority < s.to_priority
           order by r.priority, r.seq limit 1) n)
       select h.ready_at from head h limit ${PRIORITIES}) x)
   select clock_timestamp() as now,
     coalesce((select l.head from last l), 0) as head,
     (select c.position from {schema}.counted c) as counted,
     (select i.floor from {schema}.log_incarnation i) as floor,
     (extract(epoch from clock_timestamp() - least(
       (select l.at from {schema}.log l where l.seq > coalesce((select last.top from last), 0) order by l.seq limit 1),
       (select min(x.at) from last cross join lateral unnest(last.holes) h (hole)
         cross join lateral (
           select l.at from {schema}.log l where l.seq >= lower(h.hole) and l.seq < upper(h.hole)
           order by l.seq limit 1) x)
     )))::double precision as lag,
     (select coalesce(jsonb_agg(jsonb_build_array(s.lane, s.state, s.n)), '[]') from (
       select case when c.lane <= $1::int then c.lane else 0 end as lane, k.state, sum(k.n) as n
       from {schema}.state_count k join {schema}.claim_class c on c.id = k.class group by 1, 2) s) as executions,
     (select coalesce(jsonb_agg(jsonb_build_array(o.lane, o.age)), '[]') from (
       select case when h.lane <= $1::int then h.lane else 0 end as lane,
         extract(epoch from clock_timestamp() - min(h.ready_at))::double precision as age
       from heads h
       group by 1) o) as oldest,
     (select coalesce(jsonb_agg(jsonb_build_array(d.namespace, d.reason, d.n)), '[]') from (
       select x.namespace, x.reason, count(*) as n from (
         select n.id as namespace, y.reason from {schema}.namespace n
         cross join lateral (
           select d.reason from {schema}.dead_letter d where d.namespace = n.id and d.state = 1
           order by d.id desc limit ${COUNTED}) y
         limit ${LETTERS}) x
       group by 1, 2) d) as letters,
     (select coalesce(jsonb_agg(jsonb_build_array(c.namespace, c.name, c.state, p.position, p.parts, p.owned, p.halted,
         case when p.position < l.head then extract(epoch from clock_timestamp() - e.at)::double precision end,
         c.hold_log)), '[]')
       from (select x.* from {schema}.consumer x order by x.id limit ${CONSUMERS}) c
       left join last l on true
       cross join lateral (
         select min(x.position) as position, count(*) as parts,
           count(*) filter (where x.owner is not null and x.expires_at > clock_timestamp()) as owned,
           count(*) filter (where x.halted) as halted
         from {schema}.consumer_part x where x.consumer = c.id and x.generation = c.generation offset 0) p
       left join lateral (
         select r.lo from {schema}.log_run r where r.base <= p.position + 1 order by r.base desc limit 1) r on true
       left join lateral (
         select x.at from {schema}.log x where x.seq >= r.lo order by x.seq limit 1) e on true) as consumers,
     (select coalesce(jsonb_agg(jsonb_build_array(b.namespace, b.n)), '[]') from (
       select x.namespace, count(distinct x.budget) as n from (
         select s.namespace, s.budget from {schema}.spent s limit ${COUNTED}) x group by 1) b) as budgets,
     jsonb_build_object(
       'events', (select count(*) from (select from {schema}.unrouted limit ${COUNTED}) x),
       'slots', (select count(*) from (select from {schema}.filling limit ${COUNTED}) x),
       'follow_ups', (select count(*) from (select from {schema}.follow_up limit ${COUNTED}) x),
       'letters', (select count(*) from (select from {schema}.letter_route limit ${COUNTED}) x),
       'redrives', (select count(*) from (select from {schema}.redrive r where not r.settled limit ${COUNTED}) x)
     ) as backlog,
     (select coalesce(jsonb_agg(jsonb_build_array(n.id,
         extract(epoch from clock_timestamp() - n.floor_at)::double precision, n.log_floor::text)), '[]')
       from (select x.* from {schema}.namespace x where x.floor_at is not null or x.log_floor > 0
         order by x.id limit ${CONSUMERS}) n) as floors`,
);

export interface ConsumerStanding {
  readonly namespace: number;
  readonly name: string;
  /** ConsumerState. */
  readonly state: number;
  /** Of the part that is least far. */
  readonly position: bigint;
  readonly parts: number;
  /** Parts that somebody works on. */
  readonly owned: number;
  readonly halted: number;
  /** Seconds since the first entry behind the position was recorded; null at the end of the log. */
  readonly age: number | null;
  /** Retention waits for it. */
  readonly holds: boolean;
}

export interface Snapshot {
  readonly now: Date;
  readonly head: bigint;
  /** Up to where executions are counted. */
  readonly counted: bigint;
  /** Entries of the log up to here are gone. */
  readonly floor: bigint;
  /** Seconds since the oldest entry without a position was recorded; null when all have one. */
  readonly lag: number | null;
  /** By lane (0: the others) and ExecutionState; 0: ever created. */
  readonly executions: readonly (readonly [lane: number, state: number, n: number])[];
  /** Seconds that the first in line has waited. */
  readonly oldest: readonly (readonly [lane: number, seconds: number])[];
  readonly letters: readonly (readonly [namespace: number, reason: number, n: number])[];
  readonly consumers: readonly ConsumerStanding[];
  /** Budgets that hold work back. */
  readonly budgets: readonly (readonly [namespace: number, n: number])[];
  /** What waits to be worked off. */
  readonly backlog: Readonly<Record<'events' | 'slots' | 'follow_ups' | 'letters' | 'redrives', number>>;
  /** Namespaces that have let go of the past: seconds since their floor, and the log's position. */
  readonly floors: readonly (readonly [namespace: number, seconds: number | null, position: string])[];
}

type ConsumerTuple = readonly [
  namespace: number,
  name: string,
  state: number,
  position: number,
  parts: number,
  owned: number,
  halted: number,
  age: number | null,
  holds: boolean,
];

/** [from, to) of one class's line, in the negated priorities of the index. */
export interface LineStretch {
  readonly class: number;
  readonly fromPriority: number;
  readonly fromSeq: bigint;
  readonly toPriority: number;
}

export interface SnapshotAsk {
  /** The youngest lane that is told apart. */
  readonly lastLane: number;
  /** Where there may be work, of classes whose lines are known to begin somewhere: all of it, without gaps. */
  readonly stretches: readonly LineStretch[];
}

export async function readSnapshot(runner: Runner, { lastLane, stretches }: SnapshotAsk): Promise<Snapshot> {
  const [row] = await runner.query<Omit<Snapshot, 'consumers'> & { readonly consumers: readonly ConsumerTuple[] }>(
    read,
    [
      lastLane,
      stretches.map((stretch) => stretch.class),
      stretches.map((stretch) => stretch.fromPriority),
      stretches.map((stretch) => stretch.fromSeq),
      stretches.map((stretch) => stretch.toPriority),
    ],
  );
  if (row === undefined) throw new Error('the snapshot of the metrics is empty');
  const consumers = row.consumers.map(
    ([namespace, name, state, position, parts, owned, halted, age, holds]): ConsumerStanding => ({
      namespace,
      name,
      state,
      position: BigInt(position),
      parts,
      owned,
      halted,
      age,
      holds,
    }),
  );
  return { ...row, consumers };
}
