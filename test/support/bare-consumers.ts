/** Consumers that were asked for with a name only: nobody has worked on one, and another one has parked what it got first. */
import { FailureClass } from '../../gen/tailrace/v1/attempt_pb.js';
import { PoisonPolicy } from '../../gen/tailrace/v1/consumer_pb.js';
import type { Clients } from './tailrace.js';

export interface BareConsumers {
  readonly names: string[];
  /** Of the log, from before anything happened. */
  readonly cursor: string;
}

export async function makeBareConsumers({ admin, completion }: Clients): Promise<BareConsumers> {
  const names = ['idle', 'parking'];
  const [idle = '', parking = ''] = names;
  await admin.putConsumer({ consumer: { name: idle } });
  await admin.putConsumer({ consumer: { name: parking, poisonPolicy: PoisonPolicy.PARK } });
  const ownerId = 'bare';
  const { part, cursor = '' } = (await completion.acquireConsumer({ consumer: parking, ownerId })).leases[0] ?? {};
  if (part === undefined) throw new Error('a consumer without a part');
  const held = { consumer: parking, ownerId, part };
  const { deliveries } = await completion.fetchEntries({ ...held, maxEntries: 1 });
  const entryCursor = deliveries[0]?.entry?.cursor ?? '';
  await completion.failEntry({ ...held, entryCursor, failure: { failureClass: FailureClass.PERMANENT } });
  return { names, cursor };
}
