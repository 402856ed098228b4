/** GetServerInfo. */
import { create } from '@bufbuild/protobuf';
import type { HandlerContext } from '@connectrpc/connect';
import { z } from 'zod';
import {
  type GetServerInfoRequest,
  type GetServerInfoResponse,
  GetServerInfoResponseSchema,
} from '../../../gen/tailrace/v1/admin_service_pb.js';
import { cursorAt } from '../../domain/cursor.js';
import { readDatabaseFacts } from '../../repository/inspection/index.js';
import { callerOf } from '../caller.js';
import { toDuration, toTimestamp } from '../conversion/times.js';
import { namespaceIn } from '../namespace-in.js';
import { payloadBytesOf } from '../payload-limits.js';
import { HOUR_MS, MAX_PAGE_SIZE, MINUTE_MS, namespace, SECOND_MS, type Shape, validate } from '../validation.js';
import type { AdminServiceDeps } from './deps.js';
import { INLINE_BYTES } from './selection.js';

const request = z.object({ namespace } satisfies Shape<GetServerInfoRequest>);

export function getServerInfoCall(deps: AdminServiceDeps) {
  const { database, registry, source, server } = deps;
  return async (message: GetServerInfoRequest, context: HandlerContext): Promise<GetServerInfoResponse> => {
    const asked = validate(request, message);
    const id = await namespaceIn(registry, asked.namespace);
    const facts = await readDatabaseFacts(database);
    const { name, namespace: bound, roles, tokenId = '' } = callerOf(context);
    const { incarnation, head } = await source.head();
    return create(GetServerInfoResponseSchema, {
      version: server.version,
      instanceId: server.instance,
      schemaVersion: facts.schema_version ?? 0,
      databaseVersion: facts.database_version,
      logIncarnation: incarnation,
      headCursor: cursorAt({ namespace: id, incarnation }, head),
      serverTime: toTimestamp(facts.now),
      startTime: toTimestamp(server.startedAt),
      sequencerLag: toDuration(Math.max(0, facts.lag_ms ?? 0)),
      draining: server.draining(),
      embeddedDatabase: server.embeddedDatabase,
      warnings: [...server.warnings],
      caller: { name, namespace: bound, roles: [...roles], tokenId },
      limits: {
        maxPayloadBytes: BigInt(await payloadBytesOf(deps, asked.namespace)),
        maxInlineBytes: BigInt(INLINE_BYTES),
        minLeaseDuration: toDuration(SECOND_MS),
        maxLeaseDuration: toDuration(HOUR_MS),
        defaultLeaseDuration: toDuration(6 * SECOND_MS),
        maxWait: toDuration(MINUTE_MS),
        maxCreateBatch: 1_000,
        maxClaimBatch: 500,
        maxCompleteBatch: 500,
        maxRenewBatch: 1_000,
        maxPageSize: MAX_PAGE_SIZE,
        maxMessageBytes: BigInt(server.traffic?.messageBytes ?? 0),
        maxCallsPerSecond: server.traffic?.perSecond ?? 0,
        maxCallsPerConnection: server.traffic?.perConnection ?? 0,
        maxWaitingCallsPerCaller: server.traffic?.waitingPerCaller ?? 0,
      },
    });
  };
}
