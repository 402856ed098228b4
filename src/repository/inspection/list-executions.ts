/**
 * Pages through executions, newest first: of any state down the core rows, of certain states down their phase tables, of
 * given tags through the index on tags, of a flow, a parent or a subscription through theirs. Whatever the filter, a page
 * reads a bounded number of rows (bounded-scan.ts).
 */
import type { Runner } from '../database.js';
import { isExecutionShown, isShown } from '../namespaces/shown.js';
import { statement } from '../statement.js';
import { boundedScan, type Source } from './bounded-scan.js';
import { EXECUTION_JOINS, type ExecutionRow, executionColumns } from './execution-row.js';
import { firstIdOf, idAfter } from './id-bounds.js';

/** The classes of the namespace that have the lanes and types. No row of another namespace has one of them. */
const WANTED = `wanted as materialized (
     select array(select c.id from {schema}.claim_class c join {schema}.lane l on l.id = c.lane
       where c.namespace = $1::int and ($4::text[] is null or l.name = any ($4::text[]))
         and ($5::text[] is null or c.type = any ($5::text[]))) as ids)`;
const IS_WANTED = 'class = any ((select wanted.ids from wanted)::int[])';
const OF_CORE = `e.${IS_WANTED}
       and ($7::timestamptz is null or e.created_at >= $7::timestamptz)
       and ($8::timestamptz is null or e.created_at < $8::timestamptz)`;

/** The core row is read only where the phase row has a wanted class. */
const FILTER = `cross join lateral (
       select e.class, e.tags, e.created_at from {schema}.execution e where e.id = s.k1 limit 1) e
     where s.${IS_WANTED} and ${OF_CORE} and ($6::jsonb is null or e.tags @> $6::jsonb)`;
const OF_LEASE = '($9::text is null or s.worker_name = $9::text) and ($10::text is null or s.worker = $10::text)';
const OF_OUTCOME = `($11::timestamptz is null or s.ended_at >= $11::timestamptz)
       and ($12::timestamptz is null or s.ended_at < $12::timestamptz) and ${isShown('s.ended_at', '$1::int')}`;

function phase(name: string, table: string, state: number, columns: readonly string[] = [], filter = 'true'): Source {
  return {
    name,
    from: `{schema}.${table} t`,
    where: `${state} = any ($13::int[]) and t.execution >= $3::uuid`,
    key: ['execution'],
    columns: ['class', ...columns],
    filter: `${FILTER} and ${filter}`,
  };
}

/** Served by an index of its own, which leaves out the many that succeeded. */
function unsuccessful(name: string, state: number): Source {
  const source = phase(name, 'outcome', state, ['ended_at'], OF_OUTCOME);
  return { ...source, where: `${source.where} and t.namespace = $1::int and t.state = ${state} and t.state <> 7` };
}

/** Waits for a join in one of two states, else for its key or a budget in one. */
const blocked: Source = {
  ...phase('blocked', 'blocked', 1, ['state'], 's.state = any ($13::int[])'),
  where: `$13::int[] && '{1,6}' and t.execution >= $3::uuid`,
};

/** Of an execution that was found whatever its state: that is looked up now. */
const NOW = `left join lateral (select l.worker, l.worker_name from {schema}.lease l where l.execution = s.k1 limit 1) l on true
     left join lateral (select o.ended_at from {schema}.outcome o where o.execution = s.k1 limit 1) o on true
     where ($15::int[] is null or {schema}.state_of(s.k1) = any ($15::int[]))
       and ${OF_LEASE.replaceAll('s.', 'l.')} and ${OF_OUTCOME.replaceAll('s.', 'o.')}`;

/** Ids that were found by their tags. */
const tagged: Source = {
  name: 'tagged',
  from: 'unnest($14::uuid[]) t (id)',
  where: 'true',
  key: ['id'],
  columns: [],
  filter: NOW,
};

/** Members of a flow, children, or what a subscription made: each served by an index that goes on by id. */
function relatives(name: string, where: string): Source {
  return {
    name,
    from: '{schema}.execution t',
    where: `${where} and t.id >= $3::uuid`,
    key: ['id'],
    columns: ['class', 'created_at', 'tags', 'flow', 'subscription'],
    filter: `${NOW} and ${OF_CORE.replaceAll('e.', 's.')} and ($6::jsonb is null or s.tags @> $6::jsonb)
       and ($19::uuid is null or s.flow = $19::uuid) and ($21::int is null or s.subscription = $21::int)`,
  };
}

const list = statement(
  'inspection.list-executions',
  `with ${WANTED},
   ${boundedScan(
     [
       {
         ...phase('core', 'execution', 0, [], isExecutionShown('s.k1', '$1::int', 'e.created_at')),
         key: ['id'],
         where: '0 = any ($13::int[]) and t.id >= $3::uuid',
       },
       blocked,
       phase('scheduled', 'scheduled', 2),
       phase('queued', 'ready', 3),
       phase('suspended', 'suspension', 5),
       phase('running', 'lease', 4, ['worker', 'worker_name'], OF_LEASE),
       phase('succeeded', 'outcome', 7, ['state', 'ended_at'], `s.state = 7 and ${OF_OUTCOME}`),
       unsuccessful('failed', 8),
       unsuccessful('canceled', 9),
       unsuccessful('expired', 10),
       unsuccessful('skipped', 11),
       tagged,
       relatives('members', 't.flow = $19::uuid and $20::uuid is null'),
       relatives('children', 't.parent = $20::uuid'),
       relatives('reactions', 't.subscription = $21::int and $19::uuid is null and $20::uuid is null'),
     ],
     { below: ['$2::uuid'], rows: '$16::int', budget: '$17::int' },
   )}
   select floor.k1 as floor, ${executionColumns('$18::int', 'false')}
   from floor left join (page ${EXECUTION_JOINS}) on true order by e.id desc`,
);

/**
 * The tags alone decide what is found, and no order is asked for: with the range of ids beside them, which looks narrow
 * when nothing is known about it, the primary key was taken and walked (82 ms over 200,000 rows; 1 ms like this).
 */
const findTagged = statement(
  'inspection.find-tagged',
  `with ${WANTED},
   found as materialized (
     select e.id, e.class, e.created_at from {schema}.execution e
     where e.tags @> $6::jsonb and e.tags <> '{}' limit $9::int)
   select (select count(*) from found)::int as seen,
     array(select e.id from found e where ${OF_CORE} and e.id < $2::uuid and e.id >= $3::uuid) as ids`,
);

/** One that was deleted keeps its number, and the last one of a name stands for it. */
const findSubscription = statement(
  'inspection.find-subscription',
  'select s.id from {schema}.subscription s where s.namespace = $1 and s.name = $2 order by s.id desc limit 1',
);

export interface ExecutionFilter {
  readonly namespace: number;
  /** Null: any. What hangs on a state (worker: RUNNING, end: terminal) has been taken into account. */
  readonly states: readonly number[] | null;
  readonly lanes: readonly string[] | null;
  readonly types: readonly string[] | null;
  readonly tags: Readonly<Record<string, string>> | null;
  readonly workerName: string | null;
  readonly worker: string | null;
  readonly createdFrom: Date | null;
  readonly createdBefore: Date | null;
  readonly endedFrom: Date | null;
  readonly endedBefore: Date | null;
  readonly flow: string | null;
  readonly parent: string | null;
  /** Name of the one that made it. */
  readonly subscription: string | null;
}

export interface ExecutionPage {
  readonly filter: ExecutionFilter;
  /** The id that the page before ended with. */
  readonly below: string | null;
  readonly size: number;
  /** Contents up to this size come along; −1: none. */
  readonly inlineBytes: number;
  /** Rows read per source at most. */
  readonly budget?: number;
}

export interface ExecutionList {
  readonly executions: readonly ExecutionRow[];
  /** What `below` is for the next page; undefined when this was the last. */
  readonly next: string | undefined;
}

const BUDGET = 10_000;
/** Stands for no state in particular: the core rows are read. */
const ANY_STATE = 0;

export async function listExecutions(runner: Runner, page: ExecutionPage): Promise<ExecutionList> {
  const { filter, size } = page;
  const budget = page.budget ?? BUDGET;
  const first = idAfter(filter.createdBefore);
  const below = page.below !== null && page.below < first ? page.below : first;
  const core = [
    filter.namespace,
    below,
    firstIdOf(filter.createdFrom),
    filter.lanes,
    filter.types,
    filter.tags === null ? null : JSON.stringify(filter.tags),
    filter.createdFrom,
    filter.createdBefore,
  ];
  const subscription = await subscriptionOf(runner, filter);
  const related = filter.flow !== null || filter.parent !== null || subscription !== null;
  const ids = filter.tags === null || related ? undefined : await tagsFound(runner, core, budget);
  const rows = await runner.query<ExecutionRow & { readonly floor: string | null; readonly id: string | null }>(list, [
    ...core,
    filter.workerName,
    filter.worker,
    filter.endedFrom,
    filter.endedBefore,
    ids === undefined && !related ? (filter.states ?? [ANY_STATE]) : [],
    ids ?? [],
    filter.states,
    size + 1,
    budget,
    page.inlineBytes,
    filter.flow,
    filter.parent,
    subscription,
  ]);
  const found = rows.filter((row): row is ExecutionRow & { floor: string | null } => row.id !== null);
  const executions = found.slice(0, size);
  const more = found.length > size ? executions.at(-1)?.id : undefined;
  return { executions, next: more ?? rows[0]?.floor ?? undefined };
}

const NO_SUBSCRIPTION = 0;

async function subscriptionOf(runner: Runner, { namespace, subscription }: ExecutionFilter): Promise<number | null> {
  if (subscription === null) return null;
  const [found] = await runner.query<{ id: number }>(findSubscription, [namespace, subscription]);
  return found?.id ?? NO_SUBSCRIPTION;
}

/** Undefined when so many have these tags that reading in order and filtering finds a page soon. */
async function tagsFound(runner: Runner, core: readonly unknown[], most: number): Promise<string[] | undefined> {
  const [row] = await runner.query<{ seen: number; ids: string[] }>(findTagged, [...core, most]);
  return row !== undefined && row.seen < most ? row.ids : undefined;
}
