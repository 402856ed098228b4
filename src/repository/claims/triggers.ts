/** What executions react to. It was decided before they were made and does not change, so it is read after the claim. */
import { int4Array, uuidArray } from '../binary-arrays.js';
import type { Runner } from '../database.js';
import type { EventRow } from '../events/index.js';
import { statement } from '../statement.js';

const read = statement(
  'claims.triggers',
  `select s.name as subscription, e.id, n.name as namespace, coalesce(e.event_id, e.id::text) as event_id, e.type,
     t.name as stream, e.version, e.flow, coalesce(c.event_id, c.id::text, e.cause::text) as cause, e.cause_execution, e.hops,
     e.batch, e.batch_index, e.batch_size, e.schema_version, e.tags, e.headers, e.occurred_at, e.published_at, e.payload_type,
     case when u.whole then e.payload end as payload, h.handles, d.created_at as letter_at, d.lane as letter_lane,
     d.type as letter_type, d.flow as letter_flow, d.tags as letter_tags, o.trace as origin_trace,
     coalesce(b.headers, g.headers) as origin_headers
   from unnest($1::int[], $2::uuid[], $3::boolean[], $4::uuid[], $5::uuid[]) with ordinality
     u (subscription, event, whole, execution, joined, ord)
   cross join lateral (select x.name from {schema}.subscription x where x.id = u.subscription offset 0) s
   left join lateral (select x.* from {schema}.event x where x.id = u.event offset 0) e on true
   left join lateral (select x.name from {schema}.namespace x where x.id = e.namespace offset 0) n on true
   left join lateral (select x.name from {schema}.stream x where x.id = e.stream offset 0) t on true
   left join lateral (select x.event_id, x.id from {schema}.event x where x.id = e.cause offset 0) c on true
   left join lateral (
     select x.handles from {schema}.execution x where u.event is null and x.id = u.execution offset 0) h on true
   left join lateral (select x.* from {schema}.dead_letter x where x.id = h.handles offset 0) d on true
   left join lateral (
     select x.trace, x.event from {schema}.execution x
     where x.id = coalesce(e.cause_execution, d.entry_execution, d.last_execution, d.execution) offset 0) o on true
   left join lateral (select x.headers from {schema}.event x where x.id = o.event offset 0) g on true
   left join lateral (
     select v.headers from (
       select x.event from {schema}.slot x
       where x.barrier = case when u.event is null and h.handles is null then u.joined end and x.event is not null
       order by x.idx limit 1) y
     cross join lateral (select x.headers from {schema}.event x where x.id = y.event offset 0) v) b on true
   order by u.ord`,
);

/** Of the event all but its place in the log; without an id there is none, as for the join of a batch. */
export type TriggerRow = Omit<EventRow, 'id' | 'omitted' | 'position'> & {
  readonly subscription: string;
  readonly id: string | null;
  /** The dead letter that it handles instead, and what that is about; only its id when it was purged. */
  readonly handles: string | null;
  readonly letter_at: Date | null;
  readonly letter_lane: string | null;
  readonly letter_type: string | null;
  readonly letter_flow: string | null;
  readonly letter_tags: Readonly<Record<string, string>> | null;
  /** As it is stored with the execution that the event or the letter comes from. */
  readonly origin_trace: string | null;
  /** Of the event that this one had reacted to; of a batch's join those of the first event in it. */
  readonly origin_headers: Readonly<Record<string, string>> | null;
};

interface Reaction {
  readonly execution: string;
  readonly subscription: number;
  readonly event: string | null;
  /** Whether the event's payload comes along. */
  readonly whole: boolean;
  /** Its join, if it has one. */
  readonly joined: string | null;
}

/** In the order asked for. */
export async function readTriggers(runner: Runner, reactions: readonly Reaction[]): Promise<TriggerRow[]> {
  return await runner.query<TriggerRow>(read, [
    int4Array(reactions.map(({ subscription }) => subscription)),
    uuidArray(reactions.map(({ event }) => event)),
    reactions.map(({ whole }) => whole),
    uuidArray(reactions.map(({ execution }) => execution)),
    uuidArray(reactions.map(({ joined }) => joined)),
  ]);
}
