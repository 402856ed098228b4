/** ExplainExecution. */
import { create } from '@bufbuild/protobuf';
import { z } from 'zod';
import {
  type ExplainExecutionRequest,
  type ExplainExecutionResponse,
  ExplainExecutionResponseSchema,
} from '../../../gen/tailrace/v1/admin_service_pb.js';
import { readWait } from '../../repository/flows/index.js';
import { AHEAD_COUNTED, readExecution, readSurroundings } from '../../repository/inspection/index.js';
import { STALE_MS } from '../../repository/workers/index.js';
import { executionNotFound } from '../engine/refusals.js';
import { namespaceIn } from '../namespace-in.js';
import { id, namespace, type Shape, validate } from '../validation.js';
import type { AdminServiceDeps } from './deps.js';
import { holdsOf, nextTimerOf } from './holds.js';

const request = z.object({ namespace, executionId: id } satisfies Shape<ExplainExecutionRequest>);

/** What surrounds it is read right after the execution: between the two a claim or a join may have moved it on. */
export function explainExecutionCall({ database, registry }: AdminServiceDeps) {
  return async (message: ExplainExecutionRequest): Promise<ExplainExecutionResponse> => {
    const asked = validate(request, message);
    const row = await readExecution(database, await namespaceIn(registry, asked.namespace), asked.executionId, false);
    if (row === undefined) throw executionNotFound(asked.executionId);
    const around = await readSurroundings(database, row, STALE_MS);
    const wait = row.barrier === null ? undefined : await readWait(database, row.barrier);
    const holds = holdsOf(row, around, wait);
    const nextTimer = nextTimerOf(row, wait);
    return create(ExplainExecutionResponseSchema, {
      state: row.state,
      summary: holds[0]?.message ?? '',
      holds,
      aheadInLane: BigInt(Math.min(around.ahead, AHEAD_COUNTED)),
      aheadInLaneCapped: around.ahead > AHEAD_COUNTED,
      eligibleWorkerCount: around.eligible,
      ...(nextTimer && { nextTimer }),
    });
  };
}
