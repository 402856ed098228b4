/** An execution as it stands, in the words of the contract. */
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { LateCompletion } from '../../../gen/tailrace/v1/cancel_pb.js';
import {
  BlockKind,
  type BlockSchema,
  type Execution,
  ExecutionSchema,
  type OutcomeSchema,
} from '../../../gen/tailrace/v1/execution_pb.js';
import { ExecutionState, isTerminal } from '../../domain/states.js';
import { traceFrom } from '../../repository/executions/index.js';
import type { ExecutionRow } from '../../repository/inspection/index.js';
import { toBatchPosition } from './event.js';
import { progressOf, toFailure } from './failure.js';
import { type StoredFailureEvent, toFailureEvents } from './failure-event.js';
import { toPayload } from './payload.js';
import { toRetryPolicy } from './retry.js';
import { toSuspension } from './suspension.js';
import { toDuration, toTimestamp } from './times.js';
import { toTraceContext } from './trace.js';

export function toExecution(row: ExecutionRow, namespace: string): Execution {
  return create(ExecutionSchema, {
    executionId: row.id,
    namespace,
    lane: row.lane,
    type: row.type,
    state: row.state,
    priority: row.priority,
    retryPolicy: toRetryPolicy(row),
    tags: { ...row.tags },
    requiredCapabilities: [...row.capabilities],
    concurrencyKey: row.concurrency_key ?? '',
    orderingKey: row.ordering_key ?? '',
    deadHeadPolicy: row.dead_head ?? 0,
    requestId: row.request_id ?? '',
    inputOmitted: row.input_omitted,
    attemptCount: row.attempt,
    failureCount: row.failures,
    reclaimCount: row.reclaims,
    createTime: toTimestamp(row.created_at),
    stateTime: toTimestamp(row.state_at),
    flowId: row.flow ?? '',
    optionalInFlow: row.optional,
    parentExecutionId: row.parent ?? '',
    redriveOfExecutionId: row.redrive_of ?? '',
    redrivenAsExecutionId: row.redriven_as ?? '',
    idempotencyKey: row.root,
    triggerEventId: row.trigger_event ?? '',
    handledDeadLetterId: row.handles ?? '',
    subscription: row.subscription ?? '',
    subscriptionVersion: row.subscription_version ?? 0n,
    batch: toBatchPosition(row),
    hops: row.hops,
    failureEvents: toFailureEvents(row.failure_events as StoredFailureEvent[] | null),
    ...(row.input_type !== null && row.input !== null && { input: toPayload(row.input_type, row.input) }),
    ...(row.trace !== null && { traceContext: toTraceContext(traceFrom(row.trace)) }),
    ...timesOf(row),
    ...(isTerminal(row.state) ? { outcome: outcomeOf(row) } : liveOf(row)),
  });
}

/** Fields that are absent for what was never asked for. */
function timesOf(row: ExecutionRow) {
  const asked = row.asked_run_at !== null && row.asked_run_at > row.created_at ? row.asked_run_at : null;
  const runTime = row.run_at ?? asked;
  // The time to start was counted from the later of creation and earliest start.
  const ttlMs = row.start_by && row.start_by.getTime() - (asked ?? row.created_at).getTime();
  return {
    ...(runTime && { runTime: toTimestamp(runTime) }),
    ...(ttlMs !== null && { ttl: toDuration(ttlMs) }),
    ...(row.deadline && { deadlineTime: toTimestamp(row.deadline) }),
    ...(row.timeout_ms !== null && { attemptTimeout: toDuration(row.timeout_ms) }),
    ...(row.started_at && { startTime: toTimestamp(row.started_at) }),
  };
}

function liveOf(row: ExecutionRow) {
  const lastFailure = toFailure({
    failure_class: row.last_class,
    failure_code: row.last_code,
    message: row.last_message,
    details_type: row.last_details_type,
    details: row.last_details,
  });
  return {
    ...(row.last_failed !== null && { lastFailure }),
    ...blockOf(row),
    ...(row.suspension && { suspension: toSuspension(row.suspension) }),
    ...progressOf(row),
    ...leaseOf(row),
    ...(row.cancel_at && {
      cancelRequest: {
        reason: row.cancel_reason ?? '',
        requestTime: toTimestamp(row.cancel_at),
        lateCompletion: row.cancel_accepts_late ? LateCompletion.ACCEPTED : LateCompletion.REFUSED,
        ...(row.cancel_until && { graceEndTime: toTimestamp(row.cancel_until) }),
      },
    }),
  };
}

function blockOf(row: ExecutionRow): { block?: MessageInitShape<typeof BlockSchema> } {
  switch (row.waits_for) {
    case null:
      return {};
    case 1:
      return { block: { kind: BlockKind.JOIN, subject: row.barrier ?? '' } };
    case 2:
      return { block: { kind: BlockKind.CONCURRENCY_KEY, subject: row.concurrency_key ?? '' } };
    case 4:
      return { block: { kind: BlockKind.ORDERING_KEY, subject: row.ordering_key ?? '' } };
    default:
      return { block: { kind: BlockKind.BUDGET, subject: row.budget_name ?? '' } };
  }
}

function leaseOf(row: ExecutionRow) {
  if (row.token === null || row.granted_at === null || row.expires_at === null) return {};
  return {
    lease: {
      worker: { name: row.worker_name ?? '', instanceId: row.worker ?? '' },
      fencingToken: row.token,
      grantTime: toTimestamp(row.granted_at),
      expireTime: toTimestamp(row.expires_at),
    },
  };
}

function outcomeOf(row: ExecutionRow): MessageInitShape<typeof OutcomeSchema> {
  const gaveUp = row.state === ExecutionState.FAILED || row.state === ExecutionState.EXPIRED;
  return {
    state: row.state,
    reason: row.reason ?? 0,
    attemptNumber: row.attempt,
    fencingToken: row.end_token ?? 0n,
    resultOmitted: row.result_omitted,
    cancelReason: row.state === ExecutionState.CANCELED ? (row.message ?? '') : '',
    deadLetterId: row.dead_letter ?? '',
    ...(row.ended_at && { endTime: toTimestamp(row.ended_at) }),
    ...(row.result_type !== null && row.result !== null && { result: toPayload(row.result_type, row.result) }),
    ...(gaveUp && { failure: toFailure(row) }),
  };
}
