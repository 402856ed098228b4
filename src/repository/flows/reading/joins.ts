/** Joins: pages of them, newest first, and what an open one still waits for. */
import type { Runner } from '../../database.js';
import { boundedScan, type Source } from '../../inspection/bounded-scan.js';
import { LAST_ID } from '../../inspection/id-bounds.js';
import { isExecutionShown, isFlowShown } from '../../namespaces/shown.js';
import { statement } from '../../statement.js';

const COLUMNS = `b.id, b.kind::int as kind, b.downstream, b.flow, b.mode::int as mode, b.quorum, b.distinct_sources,
     b.cancel_rest, b.on_timeout::int as on_timeout, b.timeout_ms, b.sealed, b.slots, b.ok, b.failed, b.skipped, b.late,
     b.state::int as state, b.created_at, b.expires_at, b.decided_at, b.batch,
     (select y.name from {schema}.subscription y where y.id = b.subscription) as subscription`;

function source(name: string, from: string, where: string): Source {
  return {
    name,
    from,
    where,
    key: ['id'],
    columns: ['namespace', 'flow', 'state', 'kind', 'subscription', 'downstream', 'created_at'],
    filter: `where s.namespace = $1::int and ($2::uuid is null or s.flow = $2::uuid)
       and ($4::int[] is null or s.state = any ($4::int[])) and ($5::int[] is null or s.kind = any ($5::int[]))
       and ($9::int is null or s.subscription = $9::int)
       and ${isExecutionShown('s.downstream', '$1::int', 's.created_at')}
       and ${isFlowShown('s.flow', '$1::int')}`,
  };
}

const list = statement(
  'flows.joins',
  `with ${boundedScan(
    [
      source('of_flow', '{schema}.barrier t', 't.flow = $2::uuid and t.flow is not null and $3::uuid is null'),
      source(
        'of_execution',
        '(select x.* from {schema}.barrier x where x.downstream = $3::uuid offset 0) t',
        '$3::uuid is not null',
      ),
      source(
        'of_subscription',
        '{schema}.barrier t',
        't.subscription = $9::int and t.subscription is not null and $2::uuid is null and $3::uuid is null',
      ),
    ],
    { below: ['$6::uuid'], rows: '$7::int', budget: '$8::int' },
  )}
   select floor.k1 as floor, ${COLUMNS}
   from floor left join (page
     cross join lateral (select x.* from {schema}.barrier x where x.id = page.k1 limit 1) b) on true
   order by b.id desc`,
);

/** One that was deleted leaves its name to the next, but also its joins. */
const named = statement(
  'flows.joining-subscription',
  `select s.id from {schema}.subscription s where s.namespace = $1::int and s.name = $2::text order by s.id desc limit 1`,
);

/** Slots named of those that are missing. */
const NAMED = 3;

const wait = statement(
  'flows.wait',
  `select ${COLUMNS}, (b.ok + b.failed + b.skipped + (
       select count(*) from {schema}.filling x where x.barrier = b.id))::int as filled,
     (select coalesce(jsonb_agg(jsonb_build_object('name', m.name, 'upstream', m.upstream, 'state',
         {schema}.state_of(m.upstream)) order by m.idx), '[]')
      from (
        select s.idx, s.name, s.upstream from {schema}.slot s
        where s.barrier = b.id and s.outcome is null
          and (select x.outcome from {schema}.filling x where x.barrier = s.barrier and x.idx = s.idx) is null
        order by s.idx limit ${NAMED}) m) as missing
   from {schema}.barrier b where b.id = $1::uuid`,
);

export interface JoinRow {
  readonly id: string;
  readonly kind: number;
  readonly downstream: string;
  readonly flow: string | null;
  readonly mode: number;
  readonly quorum: number;
  readonly distinct_sources: boolean;
  readonly cancel_rest: boolean;
  readonly on_timeout: number;
  readonly timeout_ms: bigint | null;
  readonly sealed: boolean;
  readonly slots: number;
  readonly ok: number;
  readonly failed: number;
  readonly skipped: number;
  readonly late: number;
  readonly state: number;
  readonly created_at: Date;
  readonly expires_at: Date | null;
  readonly decided_at: Date | null;
  /** Of a batch. */
  readonly batch: string | null;
  readonly subscription: string | null;
}

export interface WaitRow extends JoinRow {
  /** Slots filled, those included that are not folded in yet. */
  readonly filled: number;
  /** The first of the slots that are not. */
  readonly missing: readonly {
    readonly name: string;
    readonly upstream: string | null;
    readonly state: number | null;
  }[];
}

export interface JoinFilter {
  readonly namespace: number;
  /** At least one of these is given. */
  readonly flow: string | null;
  readonly execution: string | null;
  /** By name. */
  readonly subscription: string | null;
  /** Null: any. */
  readonly states: readonly number[] | null;
  readonly kinds: readonly number[] | null;
}

export interface JoinList {
  readonly joins: readonly JoinRow[];
  /** What `below` is for the next page; undefined when this was the last. */
  readonly next: string | undefined;
}

const BUDGET = 10_000;

/** `below`: the id that the page before ended with. */
export async function listJoins(
  runner: Runner,
  filter: JoinFilter,
  below: string | null,
  size: number,
  budget = BUDGET,
): Promise<JoinList> {
  const subscription = await joiningSubscription(runner, filter);
  if (subscription === undefined) return { joins: [], next: undefined };
  const rows = await runner.query<JoinRow & { readonly floor: string | null; readonly id: string | null }>(list, [
    filter.namespace,
    filter.flow,
    filter.execution,
    filter.states,
    filter.kinds,
    below ?? LAST_ID,
    size + 1,
    budget,
    subscription,
  ]);
  const found = rows.filter((row): row is JoinRow & { floor: string | null } => row.id !== null);
  const joins = found.slice(0, size);
  const more = found.length > size ? joins.at(-1)?.id : undefined;
  return { joins, next: more ?? rows[0]?.floor ?? undefined };
}

/** Null: any. Undefined when there was never one of that name. */
async function joiningSubscription(runner: Runner, { namespace, subscription }: JoinFilter) {
  if (subscription === null) return null;
  const [row] = await runner.query<{ readonly id: number }>(named, [namespace, subscription]);
  return row?.id;
}

/** What an execution waits for. Undefined when there is no such join. */
export async function readWait(runner: Runner, id: string): Promise<WaitRow | undefined> {
  const [row] = await runner.query<WaitRow>(wait, [id]);
  return row;
}
