/** GetRedrive and StopRedrive. */
import { create } from '@bufbuild/protobuf';
import type { HandlerContext } from '@connectrpc/connect';
import { z } from 'zod';
import {
  type GetRedriveRequest,
  type GetRedriveResponse,
  GetRedriveResponseSchema,
  type StopRedriveRequest,
  type StopRedriveResponse,
  StopRedriveResponseSchema,
} from '../../../gen/tailrace/v1/dead_letter_service_pb.js';
import type { Redrive } from '../../../gen/tailrace/v1/redrive_pb.js';
import { EngineError } from '../../domain/errors.js';
import { readRedrive, stopRedrive } from '../../repository/redrives/index.js';
import { actorOf } from '../caller.js';
import { toRedrive } from '../conversion/redrive.js';
import { namespaceIn } from '../namespace-in.js';
import { id, namespace, type Shape, text, validate } from '../validation.js';
import type { DeadLetterServiceDeps } from './deps.js';

const REASON_BYTES = 1_024;

const getRequest = z.object({ namespace, redriveId: id } satisfies Shape<GetRedriveRequest>);
const stopRequest = z.object({
  namespace,
  redriveId: id,
  reason: text(REASON_BYTES),
} satisfies Shape<StopRedriveRequest>);

export function getRedriveCall(deps: DeadLetterServiceDeps) {
  return async (message: GetRedriveRequest): Promise<GetRedriveResponse> => {
    const { redriveId, ...asked } = validate(getRequest, message);
    const namespaceId = await namespaceIn(deps.registry, asked.namespace);
    return create(GetRedriveResponseSchema, { redrive: await read(deps, namespaceId, asked.namespace, redriveId) });
  };
}

export function stopRedriveCall(deps: DeadLetterServiceDeps) {
  const { database, registry, after } = deps;
  return async (message: StopRedriveRequest, context: HandlerContext): Promise<StopRedriveResponse> => {
    const { redriveId, reason, ...asked } = validate(stopRequest, message);
    const namespaceId = await namespaceIn(registry, asked.namespace);
    const verdict = await stopRedrive(database, namespaceId, redriveId, actorOf(context), reason);
    if (verdict === 'stopped') after.committed(0);
    return create(StopRedriveResponseSchema, { redrive: await read(deps, namespaceId, asked.namespace, redriveId) });
  };
}

async function read(
  { database }: DeadLetterServiceDeps,
  namespaceId: number,
  name: string,
  redriveId: string,
): Promise<Redrive> {
  const row = await readRedrive(database, namespaceId, redriveId);
  if (row !== undefined) return toRedrive(row, name);
  throw new EngineError('REDRIVE_NOT_FOUND', `there is no bulk redrive ${redriveId}`, {
    metadata: { redrive_id: redriveId },
  });
}
