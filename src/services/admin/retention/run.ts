/** RunRetention. */
import { create } from '@bufbuild/protobuf';
import type { HandlerContext } from '@connectrpc/connect';
import { z } from 'zod';
import {
  type RunRetentionRequest,
  type RunRetentionResponse,
  RunRetentionResponseSchema,
} from '../../../../gen/tailrace/v1/admin_service_pb.js';
import { readFloor } from '../../../repository/retention/index.js';
import { ALL_NAMESPACES } from '../../caller.js';
import { toTimestamp } from '../../conversion/times.js';
import { namespaceIn } from '../../namespace-in.js';
import { duration, MINUTE_MS, namespaceOrAll, SECOND_MS, type Shape, validate } from '../../validation.js';
import type { AdminServiceDeps } from '../deps.js';
import { toHolds } from './holds.js';

const STANDARD_MS = 10 * SECOND_MS;

const request = z.object({
  namespace: namespaceOrAll,
  dryRun: z.boolean(),
  maxDuration: duration(SECOND_MS, MINUTE_MS),
} satisfies Shape<RunRetentionRequest>);

/** Of one namespace: its executions and letters are counted. What is stored is shared, and so is what is given back. */
export function runRetentionCall({ database, registry, retention }: AdminServiceDeps) {
  return async (message: RunRetentionRequest, context: HandlerContext): Promise<RunRetentionResponse> => {
    const asked = validate(request, message);
    const all = asked.namespace === ALL_NAMESPACES;
    const namespace = all ? undefined : await namespaceIn(registry, asked.namespace);
    const result = asked.dryRun
      ? await retention.foresee(namespace)
      : await retention.runNow(namespace, asked.maxDuration ?? STANDARD_MS, context.signal);
    const retired = namespace === undefined ? result.retiredExecutions : (result.retiredBy?.get(namespace) ?? 0);
    return create(RunRetentionResponseSchema, {
      floorTime: toTimestamp(namespace === undefined ? undefined : await readFloor(database, namespace)),
      retiredExecutionCount: BigInt(retired),
      droppedPartitionCount: BigInt(result.droppedPartitions),
      keptRowCount: BigInt(result.keptRows),
      purgedDeadLetterCount: BigInt(result.purgedLetters),
      droppedEntryCount: BigInt(result.droppedEntries),
      freedByteCount: BigInt(result.freedBytes),
      more: result.more,
      // Whoever asks about one namespace hears of its own holders and of the database's.
      holds: toHolds(result.holds.filter((hold) => all || hold.namespace === '' || hold.namespace === asked.namespace)),
    });
  };
}
