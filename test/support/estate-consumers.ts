/** The part of an estate that is about consumers; of events of a type of its own. */
import { PoisonPolicy, SplitKey } from '../../gen/tailrace/v1/consumer_pb.js';
import { LogEntryKind } from '../../gen/tailrace/v1/log_pb.js';
import type { Estate } from './estate.js';
import type { Clients } from './tailrace.js';

/** Two of them; the only part of one is held, and its first entry has failed. */
export async function makeConsumers(
  { engine, admin, completion }: Clients,
  namespace: string,
  mark: string,
  secret: string,
): Promise<Estate['consumer']> {
  const [name, type, ownerId] = [`consumer-${mark}`, `consumed-${mark}`, `owner-${mark}`];
  const backoff = { seconds: 3_600n, nanos: 0 };
  const spec = {
    filter: { kinds: [LogEntryKind.EVENT_PUBLISHED], eventTypes: [type], tags: { secret } },
    splitKey: SplitKey.STREAM,
    poisonPolicy: PoisonPolicy.PARK,
    ...{ initialBackoff: backoff, maxBackoff: backoff },
  };
  for (const one of [name, `second-${name}`]) await admin.putConsumer({ namespace, consumer: { name: one, ...spec } });
  const event = { type, stream: `stream-${name}`, tags: { secret } };
  await engine.publishEvents({ namespace, events: [event] });
  const lease = { namespace, consumer: name, ownerId, leaseDuration: { seconds: 3_600n, nanos: 0 } };
  const part = (await completion.acquireConsumer(lease)).leases[0]?.part;
  if (part === undefined) throw new Error('an estate without a part');
  const held = { namespace, consumer: name, ownerId, part };
  const { deliveries, fromCursor } = await completion.fetchEntries({ ...held, wait: { seconds: 20n, nanos: 0 } });
  const entryCursor = deliveries[0]?.entry?.cursor ?? '';
  await completion.failEntry({ ...held, entryCursor, failure: { message: `failed entry ${secret}` } });
  const { generation, part: number, epoch } = part;
  return { name, ownerId, part: { generation, part: number, epoch }, cursor: fromCursor, entryCursor };
}
