/** Changes of an existing consumer: what they share is asked for, refused and told here. */
import type { HandlerContext } from '@connectrpc/connect';
import type { z } from 'zod';
import type { Consumer } from '../../../../gen/tailrace/v1/consumer_pb.js';
import type { AfterCommit } from '../../../dispatch/after-commit.js';
import type { ConsumerWakes } from '../../../dispatch/consumer-wakes.js';
import type { ConsumerChange } from '../../../repository/consumers/index.js';
import { actorOf } from '../../caller.js';
import { consumerNotFound } from '../../completion/consumers/refusals.js';
import { namespaceIn } from '../../namespace-in.js';
import { counter, name, namespace, text } from '../../validation.js';
import type { AdminServiceDeps } from '../deps.js';
import { REASON_BYTES } from '../lanes.js';
import { pruned } from './place.js';
import { consumerNow, versionConflict } from './present.js';

export const changeFields = {
  namespace,
  consumer: name(),
  expectedVersion: counter,
  reason: text(REASON_BYTES),
};

export type Asked = z.output<z.ZodObject<typeof changeFields>>;

export async function changeOf(
  { registry }: AdminServiceDeps,
  asked: Asked,
  context: HandlerContext,
): Promise<ConsumerChange> {
  const { consumer, expectedVersion, reason } = asked;
  return {
    namespace: await namespaceIn(registry, asked.namespace),
    name: consumer,
    expectedVersion,
    actor: actorOf(context),
    reason,
  };
}

interface Answer {
  readonly verdict: 'changed' | 'same' | 'conflict' | 'not_found' | 'pruned';
  readonly version: bigint;
}

/** The consumer after the change; throws what the verdict says. */
export async function afterChange(deps: AdminServiceDeps, asked: Asked, answer: Answer): Promise<Consumer> {
  const { consumer } = asked;
  const id = await namespaceIn(deps.registry, asked.namespace);
  if (answer.verdict === 'not_found') throw consumerNotFound(consumer);
  if (answer.verdict === 'conflict') throw versionConflict(consumer, answer.version);
  if (answer.verdict === 'pruned') throw await pruned(deps, id);
  if (answer.verdict === 'changed') tellChange(deps, id, consumer);
  return await consumerNow(deps, asked.namespace, consumer);
}

interface Told {
  readonly after: AfterCommit;
  readonly consumerWakes: ConsumerWakes;
}

export function tellChange({ after, consumerWakes }: Told, namespaceId: number, consumer: string): void {
  after.committed(1);
  consumerWakes.changed(namespaceId, consumer);
}
