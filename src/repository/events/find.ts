/** Events by the ids they are known by. */
import type { Runner } from '../database.js';
import { isEventShown } from '../namespaces/shown.js';
import { statement } from '../statement.js';

const find = statement(
  'events.find',
  `select f.event, exists (
       select from {schema}.event_key k where k.namespace = $1::int and k.event_id = $2::text offset 0) as remembered,
     coalesce((select ${isEventShown('e.published_at', '$1::int')} from {schema}.event e where e.id = f.event), false) as shown
   from {schema}.find_events(array[$1::int], array[$2::text]) f`,
);

export interface FoundEvent {
  /** Internal. The event itself may be gone. */
  readonly id: string;
  /** It is there, and its namespace shows it. */
  readonly shown: boolean;
  /** Its publisher gave it the id, which is not forgotten yet. */
  readonly remembered: boolean;
}

/** Undefined if it was never accepted, or is forgotten. */
export async function findEvent(runner: Runner, namespace: number, eventId: string): Promise<FoundEvent | undefined> {
  interface Row extends Omit<FoundEvent, 'id'> {
    readonly event: string | null;
  }
  const [row] = await runner.query<Row>(find, [namespace, eventId]);
  if (row == null || row.event === null) return undefined;
  return { id: row.event, shown: row.shown, remembered: row.remembered };
}

/** For readers of events: payloads come along whatever their size. */
export const WHOLE_PAYLOADS = 2 ** 31 - 1;
