/** A subscription as it stands after a call, and the refusals that calls share. */
import type { Subscription } from '../../../../gen/tailrace/v1/subscription_pb.js';
import { EngineError } from '../../../domain/errors.js';
import { readSubscription } from '../../../repository/subscriptions/index.js';
import { toSubscription } from '../../conversion/subscription.js';
import { namespaceIn } from '../../namespace-in.js';
import type { AdminServiceDeps } from '../deps.js';

export async function subscriptionNow(
  { database, registry }: AdminServiceDeps,
  namespace: string,
  name: string,
): Promise<Subscription> {
  const row = await readSubscription(database, await namespaceIn(registry, namespace), name);
  if (row === undefined) {
    throw new EngineError('SUBSCRIPTION_NOT_FOUND', `there is no subscription ${name}`, {
      metadata: { subscription: name },
    });
  }
  return toSubscription(row, namespace);
}

export function versionConflict(name: string, version: bigint): EngineError {
  const text = version === 0n ? `there is no subscription ${name} yet` : `subscription ${name} has version ${version}`;
  return new EngineError('VERSION_CONFLICT', text, {
    metadata: { subscription: name, current_version: String(version) },
  });
}
