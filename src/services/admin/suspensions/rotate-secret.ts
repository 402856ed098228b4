/** RotateWaitpointSecret. */
import { create } from '@bufbuild/protobuf';
import type { HandlerContext } from '@connectrpc/connect';
import { z } from 'zod';
import {
  type RotateWaitpointSecretRequest,
  type RotateWaitpointSecretResponse,
  RotateWaitpointSecretResponseSchema,
} from '../../../../gen/tailrace/v1/admin_service_pb.js';
import { rotateSecret } from '../../../repository/secrets/index.js';
import { actorOf } from '../../caller.js';
import { toTimestamp } from '../../conversion/times.js';
import { namespaceFor } from '../../namespace-in.js';
import { DAY_MS, duration, namespace, type Shape, text, validate } from '../../validation.js';
import type { AdminServiceDeps } from '../deps.js';
import { REASON_BYTES } from '../lanes.js';

const GRACE_MS = 7 * DAY_MS;
const LONGEST_GRACE_MS = 30 * DAY_MS;

const request = z.object({
  namespace,
  grace: duration(0, LONGEST_GRACE_MS).transform((ms) => ms ?? GRACE_MS),
  reason: text(REASON_BYTES),
} satisfies Shape<RotateWaitpointSecretRequest>);

/** Needs a key, not the one that the present secret was sealed with: where that is lost, this is the way on. */
export function rotateWaitpointSecretCall({ database, registry, after, tokens }: AdminServiceDeps) {
  return async (
    message: RotateWaitpointSecretRequest,
    context: HandlerContext,
  ): Promise<RotateWaitpointSecretResponse> => {
    const asked = validate(request, message);
    tokens.checkKey();
    const of = await namespaceFor(registry, asked.namespace, context);
    const rotated = await rotateSecret(database, {
      namespace: of,
      sealed: tokens.sealNew(of),
      graceMs: asked.grace,
      actor: actorOf(context),
      reason: asked.reason,
    });
    after.committed(0);
    const { id, previous } = rotated;
    return create(RotateWaitpointSecretResponseSchema, {
      keyId: String(id),
      ...(previous && {
        previousKeyId: String(previous.id),
        previousExpireTime: toTimestamp(previous.acceptedUntil),
      }),
    });
  };
}
