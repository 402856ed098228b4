/** Subscriptions as they stand. */
import type { Runner } from '../database.js';
import { statement } from '../statement.js';

/** What waits for one is counted up to this. */
const COUNTED = 10_000;

/** A page of a namespace's subscriptions is read in the order of its index. */
const list = statement(
  'subscriptions.list',
  `with page as materialized (
     select s.* from {schema}.subscription s
     where s.namespace = $1::int and s.state <> 4 and s.name > $2::text and ($3::text is null or s.name = $3::text)
       and ($4::text is null or s.class = any (array(
         select c.id from {schema}.lane l join {schema}.claim_class c on c.lane = l.id
         where l.namespace = $1::int and l.name = $4::text)))
       and ($5::text is null or not s.of_letters and ($5::text = any (s.event_types)
         or (s.event_types = '{}' and s.type_prefixes = '{}')
         or exists (select from unnest(s.type_prefixes) p where starts_with($5::text, p))))
     order by s.name limit $6::int)
   select p.name, p.version, p.state::int as state, p.spec, p.failure_events, p.actor, p.created_at, p.changed_at, p.halted_reason, p.halted_at,
     (select count(*) from (
       select from {schema}.unrouted u where u.subscription = p.id limit ${COUNTED}) x)::int as unrouted,
     (select count(*) from (
       select from {schema}.barrier b where b.subscription = p.id and b.due_at is not null limit ${COUNTED}) x)::int as open_joins
   from page p order by p.name`,
);

/** The numbers are stored. */
export const SubscriptionState = { LIVE: 1, BACKFILLING: 2, HALTED: 3 } as const;

export interface SubscriptionRow {
  readonly name: string;
  readonly version: bigint;
  readonly state: number;
  readonly spec: unknown;
  readonly failure_events: unknown;
  readonly actor: string;
  readonly created_at: Date;
  readonly changed_at: Date;
  readonly halted_reason: string | null;
  readonly halted_at: Date | null;
  /** Events that wait for it. */
  readonly unrouted: number;
  readonly open_joins: number;
}

export interface SubscriptionPage {
  readonly namespace: number;
  /** Null: any, here and below. */
  readonly lane: string | null;
  /** One that it may match. */
  readonly eventType: string | null;
  /** The name that the page before ended with; empty for the first. */
  readonly after: string;
  readonly limit: number;
}

/** By name. */
export function listSubscriptions(runner: Runner, page: SubscriptionPage): Promise<SubscriptionRow[]> {
  const { namespace, after, lane, eventType, limit } = page;
  return runner.query<SubscriptionRow>(list, [namespace, after, null, lane, eventType, limit]);
}

/** Undefined when there is none of this name. */
export async function readSubscription(
  runner: Runner,
  namespace: number,
  name: string,
): Promise<SubscriptionRow | undefined> {
  const [row] = await runner.query<SubscriptionRow>(list, [namespace, '', name, null, null, 1]);
  return row;
}
