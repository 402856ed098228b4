/** Events by the ids they are known by. */
import type { Runner } from '../database.js';
import { statement } from '../statement.js';

const find = statement('events.find', 'select event from {schema}.find_events(array[$1::int], array[$2::text])');

/** Its internal id; undefined if it was never accepted, or is forgotten. The event itself may be gone. */
export async function findEvent(runner: Runner, namespace: number, eventId: string): Promise<string | undefined> {
  const [row] = await runner.query<{ event: string | null }>(find, [namespace, eventId]);
  return row?.event ?? undefined;
}

/** For readers of events: payloads come along whatever their size. */
export const WHOLE_PAYLOADS = 2 ** 31 - 1;
