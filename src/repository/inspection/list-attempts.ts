/**
 * Pages through attempts, ended and open: of one execution by number; of a flow's members, of lanes and types by execution,
 * newest first. An open attempt stands in its lease, or is parked.
 */
import type { Runner } from '../database.js';
import { isExecutionShown } from '../namespaces/shown.js';
import { statement } from '../statement.js';
import { ATTEMPT_JOINS, type AttemptRow, attemptColumns } from './attempt-row.js';
import { boundedScan, type Source } from './bounded-scan.js';
import { LAST_ID } from './id-bounds.js';

/** Of an attempt or a lease `s`; an open attempt has no outcome and is wanted only where none is asked for. */
const WHEN = `($5::timestamptz is null or s.started_at >= $5::timestamptz)
       and ($6::timestamptz is null or s.started_at < $6::timestamptz)`;
const ENDED = `($4::int[] is null or s.outcome = any ($4::int[])) and ${WHEN}`;
const WANTED = `wanted as materialized (
     select array(select c.id from {schema}.claim_class c join {schema}.lane l on l.id = c.lane
       where c.namespace = $1::int and ($2::text is null or l.name = $2::text) and ($3::text is null or c.type = $3::text)
     ) as ids)`;
const IS_WANTED = 's.class = any ((select wanted.ids from wanted)::int[])';

const ofExecution = statement(
  'inspection.attempts-of-execution',
  `with ${WANTED},
   subject as materialized (
     select e.id, e.class, e.flow from {schema}.execution e
     where e.id = $7::uuid and e.namespace = $1::int and ${isExecutionShown('e.id', '$1::int')}),
   page as materialized (
     select p.k1, p.k2 from (
       (select s.execution as k1, s.number as k2 from {schema}.attempt s join subject on s.execution = subject.id
        where s.execution = $7::uuid and s.number > $8::int and ${IS_WANTED} and ${ENDED} order by s.number limit $9::int)
       union all
       select s.execution, s.attempt from {schema}.lease s join subject on s.execution = subject.id
       where s.execution = $7::uuid and s.attempt > $8::int and $4::int[] is null and ${IS_WANTED} and ${WHEN}
       union all
       select s.execution, s.number from {schema}.parked s join subject on s.execution = subject.id
       where s.execution = $7::uuid and s.number > $8::int and $4::int[] is null
         and ${IS_WANTED.replace('s.', 'subject.')} and ${WHEN}) p
     cross join subject where $11::uuid is null or subject.flow = $11::uuid
     order by p.k2 limit $9::int)
   select subject.id as subject, ${attemptColumns('$10::int')}
   from subject left join (page ${ATTEMPT_JOINS}) on true order by page.k2`,
);

const SOURCES: readonly Source[] = [
  {
    name: 'ended',
    from: '{schema}.attempt t',
    where: 'true',
    key: ['execution', 'number'],
    columns: ['class', 'outcome', 'started_at', 'ended_at'],
    filter: `where ${IS_WANTED} and ${ENDED} and ${isExecutionShown('s.k1', '$1::int', 's.ended_at')}`,
  },
  {
    name: 'open',
    from: '{schema}.lease t',
    where: '$4::int[] is null',
    key: ['execution', 'attempt'],
    columns: ['class', 'started_at'],
    filter: `where ${IS_WANTED} and ${WHEN}`,
  },
  {
    name: 'parked',
    from: '{schema}.parked t',
    where: '$4::int[] is null',
    key: ['execution', 'number'],
    columns: ['started_at'],
    filter: `cross join lateral (select x.class from {schema}.execution x where x.id = s.k1 limit 1) e
     where ${IS_WANTED.replace('s.', 'e.')} and ${WHEN}`,
  },
];

const ofLines = statement(
  'inspection.attempts',
  `with ${WANTED},
   ${boundedScan(SOURCES, { below: ['$7::uuid', '$8::int'], rows: '$9::int', budget: '$10::int' })}
   select floor.k1 as floor_execution, floor.k2 as floor_number, ${attemptColumns('-1')}
   from floor left join (page ${ATTEMPT_JOINS}) on true order by page.k1 desc, page.k2 desc`,
);

/** Members go down by id; of the one that the page before ended with, what is left. A page looks at so many members. */
const ofFlow = statement(
  'inspection.attempts-of-flow',
  `with ${WANTED},
   member as materialized (
     select e.id, e.class, e.namespace from {schema}.execution e
     where e.flow = $11::uuid and e.id <= $7::uuid order by e.id desc limit $10::int),
   page as materialized (
     select m.id as k1, s.number as k2 from member m
     cross join lateral (
       select x.number from (
         (select s.number from {schema}.attempt s
          where s.execution = m.id and (m.id < $7::uuid or s.number < $8::int) and ${ENDED}
          order by s.number desc limit $9::int)
         union all
         select s.attempt from {schema}.lease s
         where s.execution = m.id and (m.id < $7::uuid or s.attempt < $8::int) and $4::int[] is null and ${WHEN}
         union all
         select s.number from {schema}.parked s
         where s.execution = m.id and (m.id < $7::uuid or s.number < $8::int) and $4::int[] is null and ${WHEN}) x
       order by x.number desc limit $9::int) s
     where m.namespace = $1::int and ${IS_WANTED.replace('s.', 'm.')} and ${isExecutionShown('m.id', '$1::int')}
     order by m.id desc, s.number desc limit $9::int)
   select floor.execution as floor_execution, 1 as floor_number, ${attemptColumns('-1')}
   from (select (select m.id from member m order by m.id desc offset $10::int - 1 limit 1) as execution) floor
   left join (page ${ATTEMPT_JOINS}) on true order by page.k1 desc, page.k2 desc`,
);

const ofLetter = statement(
  'inspection.attempts-of-letter',
  `with run as materialized (
     select x.id from (select e.id from {schema}.execution e where e.letter = $1::uuid offset 0) x
     union select $2::uuid),
   page as materialized (
     select p.k1, p.k2 from (
       select run.id as k1, a.number as k2, a.started_at from run
       cross join lateral (
         select x.number, x.started_at from {schema}.attempt x where x.execution = run.id
         order by x.number desc limit $3::int) a
       union all
       select run.id, l.attempt, l.started_at from run
       cross join lateral (
         select x.attempt, x.started_at from {schema}.lease x where x.execution = run.id limit 1) l
       union all
       select run.id, w.number, w.started_at from run
       cross join lateral (
         select x.number, x.started_at from {schema}.parked x where x.execution = run.id limit 1) w) p
     order by p.started_at desc limit $3::int)
   select ${attemptColumns('$4::int')} from page ${ATTEMPT_JOINS} order by started_at, number`,
);

export interface AttemptFilter {
  readonly namespace: number;
  /** Null: any, here and below. */
  readonly lane: string | null;
  readonly type: string | null;
  /** Any of them leaves open attempts out. */
  readonly outcomes: readonly number[] | null;
  readonly startedFrom: Date | null;
  readonly startedBefore: Date | null;
  readonly flow: string | null;
}

export interface AttemptKey {
  readonly execution: string;
  readonly number: number;
}

export interface AttemptList {
  readonly attempts: readonly AttemptRow[];
  /** Where the next page begins; undefined when this was the last. */
  readonly next: AttemptKey | undefined;
}

const BUDGET = 10_000;
const MEMBERS = 1_000;
const INLINE_BYTES = 64 * 1_024;
const PAST_NUMBERS = 2 ** 31 - 1;

/** By number, after the given one. Undefined when this namespace has no such execution. */
export async function listAttemptsOf(
  runner: Runner,
  execution: string,
  filter: AttemptFilter,
  after: number,
  size: number,
): Promise<AttemptList | undefined> {
  const rows = await runner.query<AttemptRow>(ofExecution, [
    ...valuesOf(filter),
    execution,
    after,
    size + 1,
    INLINE_BYTES,
    filter.flow,
  ]);
  return rows.length === 0 ? undefined : pageOf(rows, size, undefined);
}

type Floored = AttemptRow & { readonly floor_execution: string | null; readonly floor_number: number | null };

/** Newest execution first, without failure details. A page reads at most `budget` rows, or members, and may be short. */
export async function listAttempts(
  runner: Runner,
  filter: AttemptFilter,
  below: AttemptKey | undefined,
  size: number,
  budget?: number,
): Promise<AttemptList> {
  const { flow } = filter;
  const made = flow === null ? ofLines : ofFlow;
  const rows = await runner.query<Floored>(made, [
    ...valuesOf(filter),
    below?.execution ?? LAST_ID,
    below?.number ?? PAST_NUMBERS,
    size + 1,
    budget ?? (flow === null ? BUDGET : MEMBERS),
    ...(flow === null ? [] : [flow]),
  ]);
  const { floor_execution: execution, floor_number: number } = rows[0] ?? {};
  return pageOf(rows, size, execution && number ? { execution, number } : undefined);
}

/** Of all runs of a dead letter's execution, oldest first: the last `most`, the open one among them. */
export function listAttemptsOfLetter(
  runner: Runner,
  letter: string,
  execution: string,
  most: number,
): Promise<AttemptRow[]> {
  return runner.query<AttemptRow>(ofLetter, [letter, execution, most, INLINE_BYTES]);
}

function valuesOf(filter: AttemptFilter): readonly unknown[] {
  return [filter.namespace, filter.lane, filter.type, filter.outcomes, filter.startedFrom, filter.startedBefore];
}

function pageOf(rows: readonly AttemptRow[], size: number, floor: AttemptKey | undefined): AttemptList {
  const found = rows.filter((row) => row.execution !== null);
  const attempts = found.slice(0, size);
  const last = found.length > size ? attempts.at(-1) : undefined;
  return { attempts, next: last === undefined ? floor : { execution: last.execution, number: last.number } };
}
