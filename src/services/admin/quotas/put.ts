/** PutQuota. */
import { create } from '@bufbuild/protobuf';
import type { HandlerContext } from '@connectrpc/connect';
import { z } from 'zod';
import {
  type PutQuotaRequest,
  type PutQuotaResponse,
  PutQuotaResponseSchema,
} from '../../../../gen/tailrace/v1/admin_service_pb.js';
import { LogEntryKind } from '../../../../gen/tailrace/v1/log_pb.js';
import { putQuota, readQuota } from '../../../repository/quotas/index.js';
import { actorOf } from '../../caller.js';
import { toQuota } from '../../conversion/quota.js';
import { namespaceFor } from '../../namespace-in.js';
import { namespace, optionalLane, type Shape, validate } from '../../validation.js';
import type { AdminServiceDeps } from '../deps.js';
import { changed } from '../lanes.js';
import { limit, rateLimit } from './limits.js';

const request = z.object({
  namespace,
  lane: optionalLane,
  concurrencyLimit: limit,
  rateLimit,
} satisfies Shape<PutQuotaRequest>);

const UNLIMITED = { max_running: null, max_starts: null, window_ms: null, running: 0, started: 0, free_at: null };

export function putQuotaCall(deps: AdminServiceDeps) {
  const { database, registry, after } = deps;
  return async (message: PutQuotaRequest, context: HandlerContext): Promise<PutQuotaResponse> => {
    const asked = validate(request, message);
    const limits = {
      max_running: asked.concurrencyLimit,
      max_starts: asked.rateLimit?.limit ?? null,
      window_ms: asked.rateLimit?.window ?? null,
    };
    const id = await namespaceFor(registry, asked.namespace, context);
    const lane = asked.lane ?? '';
    if (lane === '') {
      await putQuota(database, id, limits, actorOf(context), '');
      await registry.refresh();
      after.committed(0);
      // Work of any lane of the namespace may have been held back by it.
      for (const classId of registry.classIds()) {
        if (registry.claimClass(classId)?.namespace === id) after.queued(classId, Number.POSITIVE_INFINITY);
      }
    } else {
      const change = {
        namespace: asked.namespace,
        lane,
        make: true,
        expectedVersion: 0n,
        patch: {},
        quota: limits,
        kind: LogEntryKind.LANE_UPDATED,
        reason: '',
      };
      await changed(deps, change, context);
    }
    const row = (await readQuota(database, id, lane)) ?? { lane, ...UNLIMITED };
    return create(PutQuotaResponseSchema, { quota: toQuota(row, asked.namespace) });
  };
}
