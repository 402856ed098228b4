/** ExplainExecution. */
import { create } from '@bufbuild/protobuf';
import { z } from 'zod';
import {
  type ExplainExecutionRequest,
  type ExplainExecutionResponse,
  ExplainExecutionResponseSchema,
} from '../../../gen/tailrace/v1/admin_service_pb.js';
import { ExecutionState, isTerminal } from '../../domain/states.js';
import { readSpentFor } from '../../repository/budgets/index.js';
import type { Database } from '../../repository/database.js';
import { readWait } from '../../repository/flows/index.js';
import {
  AHEAD_COUNTED,
  type ExecutionRow,
  readExecution,
  readOrderAhead,
  readSurroundings,
  readUntakenSignals,
} from '../../repository/inspection/index.js';
import { readKeyUse, readQuotasOver } from '../../repository/quotas/index.js';
import { STALE_MS } from '../../repository/workers/index.js';
import { executionNotFound } from '../engine/refusals.js';
import { namespaceIn } from '../namespace-in.js';
import { id, namespace, type Shape, validate } from '../validation.js';
import type { AdminServiceDeps } from './deps.js';
import { type Facts, holdsOf, nextTimerOf } from './holds/index.js';

const request = z.object({ namespace, executionId: id } satisfies Shape<ExplainExecutionRequest>);

/** What surrounds it is read right after the execution: between the two a claim or a join may have moved it on. */
export function explainExecutionCall({ database, registry }: AdminServiceDeps) {
  return async (message: ExplainExecutionRequest): Promise<ExplainExecutionResponse> => {
    const asked = validate(request, message);
    const row = await readExecution(database, await namespaceIn(registry, asked.namespace), asked.executionId, false);
    if (row === undefined) throw executionNotFound(asked.executionId);
    const facts = await factsOf(database, row);
    const { around } = facts;
    const holds = holdsOf(row, facts);
    const nextTimer = nextTimerOf(row, facts.wait);
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

async function factsOf(database: Database, row: ExecutionRow): Promise<Facts> {
  const { state } = row;
  const { waits_gate: gate, place } = row;
  const waits = !isTerminal(state) && state !== ExecutionState.RUNNING;
  const bound = { lane: row.lane_id, flow: row.flow, execution: row.id };
  return {
    around: await readSurroundings(database, row, STALE_MS),
    wait: row.barrier === null ? undefined : await readWait(database, row.barrier),
    key:
      row.waits_for === 2 && gate !== null && place !== null
        ? await readKeyUse(database, gate, row.priority, place)
        : undefined,
    order:
      row.waits_for === 4 && gate !== null && place !== null ? await readOrderAhead(database, gate, place) : undefined,
    quotas:
      state === ExecutionState.QUEUED
        ? await readQuotasOver(database, row.namespace, { id: row.lane_id, name: row.lane })
        : [],
    spent: waits ? await readSpentFor(database, row.namespace, bound) : [],
    signals: state === ExecutionState.SUSPENDED ? await readUntakenSignals(database, row.id) : [],
  };
}
