/** PutSubscription. */
import { create } from '@bufbuild/protobuf';
import type { HandlerContext } from '@connectrpc/connect';
import { z } from 'zod';
import {
  type PutSubscriptionRequest,
  type PutSubscriptionResponse,
  PutSubscriptionResponseSchema,
} from '../../../../gen/tailrace/v1/admin_service_pb.js';
import { StartPosition } from '../../../../gen/tailrace/v1/log_pb.js';
import { resolveCursor } from '../../../domain/cursor.js';
import { EngineError } from '../../../domain/errors.js';
import { putSubscription, readSubscription } from '../../../repository/subscriptions/index.js';
import { actorOf } from '../../caller.js';
import { required } from '../../engine/required.js';
import { namespaceFor } from '../../namespace-in.js';
import { sized } from '../../payload-limits.js';
import { counter, namespace, type Shape, validate } from '../../validation.js';
import type { AdminServiceDeps } from '../deps.js';
import { subscriptionNow, versionConflict } from './present.js';
import { type Spec, subscriptionSpec, toRule } from './spec.js';
import { warningsOf } from './warnings.js';

/** What cannot be changed, by verdict. */
const FIXED = { ordering: 'ordering_key', joining: 'batch_join', letters: 'filter.kinds' } as const;

export function putSubscriptionCall(deps: AdminServiceDeps) {
  const { database, registry, after } = deps;
  const requestFor = sized(deps, (mostBytes) =>
    z.object({
      namespace,
      subscription: required(subscriptionSpec(mostBytes)),
      expectedVersion: counter,
    } satisfies Shape<PutSubscriptionRequest>),
  );
  return async (message: PutSubscriptionRequest, context: HandlerContext): Promise<PutSubscriptionResponse> => {
    const { subscription: spec, expectedVersion, ...asked } = validate(await requestFor(message.namespace), message);
    const id = await namespaceFor(registry, asked.namespace, context);
    const from = await firstPosition(deps, id, spec);
    const { lane, type, requiredCapabilities: capabilities } = spec;
    const [line] = await registry.classesFor([{ namespace: id, lane, type, capabilities }]);
    if (line === undefined || message.subscription === undefined) throw new Error('a class was not made');
    const answer = await putSubscription(database, {
      namespace: id,
      name: spec.name,
      rule: toRule(spec, message.subscription, line.id),
      from,
      expectedVersion,
      actor: actorOf(context),
    });
    const { verdict } = answer;
    if (verdict === 'conflict') throw versionConflict(spec.name, answer.version);
    if (verdict === 'ordering' || verdict === 'joining' || verdict === 'letters')
      throw fixed(spec.name, FIXED[verdict]);
    if (verdict !== 'same') after.committed(1);
    if (answer.due) after.due('routes', 0);
    return create(PutSubscriptionResponseSchema, {
      subscription: await subscriptionNow(deps, asked.namespace, spec.name),
      warnings: warningsOf(spec),
    });
  };
}

/** Null: at the head, and for one that exists, which has begun somewhere. */
async function firstPosition(
  { database, source }: AdminServiceDeps,
  namespaceId: number,
  { name, start, cursor }: Spec,
): Promise<bigint | null> {
  if (cursor === '') return start === StartPosition.EARLIEST ? (await source.head(namespaceId)).floor : null;
  if (await readSubscription(database, namespaceId, name)) return null;
  return resolveCursor(cursor, { namespace: namespaceId, ...(await source.head(namespaceId)) });
}

function fixed(name: string, field: string): EngineError {
  const description = `cannot be added to, or taken from, subscription ${name}: delete it and make another`;
  return new EngineError('INVALID_FIELD', `subscription.${field} ${description}`, {
    violations: [{ field: `subscription.${field}`, description }],
  });
}
