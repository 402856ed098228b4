/** PutConsumer. */
import { create } from '@bufbuild/protobuf';
import type { HandlerContext } from '@connectrpc/connect';
import { z } from 'zod';
import {
  type PutConsumerRequest,
  type PutConsumerResponse,
  PutConsumerResponseSchema,
} from '../../../../gen/tailrace/v1/admin_service_pb.js';
import { EngineError } from '../../../domain/errors.js';
import { type Beginning, putConsumer, readConsumer } from '../../../repository/consumers/index.js';
import { actorOf } from '../../caller.js';
import { required } from '../../engine/required.js';
import { namespaceFor } from '../../namespace-in.js';
import { counter, namespace, type Shape, validate } from '../../validation.js';
import type { AdminServiceDeps } from '../deps.js';
import { tellChange } from './change.js';
import { placeOf, pruned } from './place.js';
import { consumerNow, versionConflict } from './present.js';
import { consumerSpec, type Spec, toRule } from './spec.js';

const request = z.object({
  namespace,
  consumer: required(consumerSpec),
  expectedVersion: counter,
} satisfies Shape<PutConsumerRequest>);

/** What cannot be changed, by verdict. */
const FIXED = {
  split_key: 'cannot be changed',
  part_count: 'is fixed until RebuildConsumer makes a generation with another number of parts',
} as const;

export function putConsumerCall(deps: AdminServiceDeps) {
  const { database, registry } = deps;
  return async (message: PutConsumerRequest, context: HandlerContext): Promise<PutConsumerResponse> => {
    const { consumer: spec, expectedVersion, ...asked } = validate(request, message);
    const id = await namespaceFor(registry, asked.namespace, context);
    const { verdict, version } = await putConsumer(database, {
      namespace: id,
      name: spec.name,
      rule: toRule(spec),
      parts: spec.partCount,
      from: await beginning(deps, id, spec),
      expectedVersion,
      actor: actorOf(context),
    });
    if (verdict === 'conflict') throw versionConflict(spec.name, version);
    if (verdict === 'pruned') throw await pruned(deps, id);
    if (verdict === 'split_key' || verdict === 'part_count') throw fixed(verdict);
    if (verdict === 'put') tellChange(deps, id, spec.name);
    return create(PutConsumerResponseSchema, { consumer: await consumerNow(deps, asked.namespace, spec.name) });
  };
}

/** One that exists has begun somewhere: then the cursor is not looked at. */
async function beginning(deps: AdminServiceDeps, id: number, { name, ...spec }: Spec): Promise<Beginning> {
  if (spec.cursor !== '' && (await readConsumer(deps.database, id, name))) return null;
  return await placeOf(deps, id, spec);
}

function fixed(field: keyof typeof FIXED): EngineError {
  const description = FIXED[field];
  return new EngineError('INVALID_FIELD', `consumer.${field} ${description}`, {
    violations: [{ field: `consumer.${field}`, description }],
  });
}
