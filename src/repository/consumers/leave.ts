/** An owner that waited for parts, and has none, waits no more: others get its share. */
import type { Runner } from '../database.js';
import { statement } from '../statement.js';

const leave = statement(
  'consumers.leave',
  `delete from {schema}.consumer_member m using {schema}.consumer c
   where c.namespace = $1::int and c.name = $2::text and m.consumer = c.id and m.owner = $3::text and not exists (
     select from {schema}.consumer_part p
     where p.consumer = m.consumer and p.generation = m.generation and p.owner = m.owner)`,
);

export async function leaveConsumer(
  runner: Runner,
  { namespace, consumer, owner }: { readonly namespace: number; readonly consumer: string; readonly owner: string },
): Promise<void> {
  await runner.query(leave, [namespace, consumer, owner]);
}
