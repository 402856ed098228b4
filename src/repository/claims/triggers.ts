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
     case when u.whole then e.payload end as payload
   from unnest($1::int[], $2::uuid[], $3::boolean[]) with ordinality u (subscription, event, whole, ord)
   cross join lateral (select x.name from {schema}.subscription x where x.id = u.subscription offset 0) s
   left join lateral (select x.* from {schema}.event x where x.id = u.event offset 0) e on true
   left join lateral (select x.name from {schema}.namespace x where x.id = e.namespace offset 0) n on true
   left join lateral (select x.name from {schema}.stream x where x.id = e.stream offset 0) t on true
   left join lateral (select x.event_id, x.id from {schema}.event x where x.id = e.cause offset 0) c on true
   order by u.ord`,
);

/** Of the event all but its place in the log; without an id there is none, as for the join of a batch. */
export type TriggerRow = Omit<EventRow, 'id' | 'omitted' | 'position'> & {
  readonly subscription: string;
  readonly id: string | null;
};

interface Reaction {
  readonly subscription: number;
  readonly event: string | null;
  /** Whether the event's payload comes along. */
  readonly whole: boolean;
}

/** In the order asked for. */
export async function readTriggers(runner: Runner, reactions: readonly Reaction[]): Promise<TriggerRow[]> {
  return await runner.query<TriggerRow>(read, [
    int4Array(reactions.map(({ subscription }) => subscription)),
    uuidArray(reactions.map(({ event }) => event)),
    reactions.map(({ whole }) => whole),
  ]);
}
