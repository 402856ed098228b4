/** Flows, edges and trees in the words of the contract. */
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { CancelMode, LateCompletion } from '../../../gen/tailrace/v1/cancel_pb.js';
import {
  type Edge,
  EdgeSchema,
  type FailedFlow,
  FailedFlowSchema,
  type Flow,
  type FlowFailureSchema,
  FlowSchema,
  type FlowTreeNode,
  FlowTreeNodeSchema,
} from '../../../gen/tailrace/v1/flow_pb.js';
import type { EdgeRow, FailedFlowRow, FailureRow, FlowRow, TreeNode } from '../../repository/flows/index.js';
import { toEvent } from './event.js';
import { toExecution } from './execution.js';
import { toFailure } from './failure.js';
import { toCounts } from './lane.js';
import { toDuration, toTimestamp } from './times.js';

/** `cursorAt`: the cursor of a position in this namespace. */
export function toFlow(row: FlowRow, namespace: string, cursorAt: (position: bigint) => string): Flow {
  return create(FlowSchema, {
    flowId: row.id,
    namespace,
    name: row.name,
    tags: { ...row.tags },
    state: row.state,
    settled: row.settled_at !== null,
    sealed: row.sealed_at !== null,
    revision: row.revision,
    failurePolicy: row.failure_policy,
    cancelPolicy: row.cancel_now
      ? { mode: CancelMode.NOW }
      : {
          mode: CancelMode.COOPERATIVE,
          grace: toDuration(row.cancel_grace_ms),
          lateCompletion: row.cancel_accepts_late ? LateCompletion.ACCEPTED : LateCompletion.REFUSED,
        },
    executions: toCounts(row.counts),
    eventCount: row.events,
    unroutedEventCount: row.unrouted,
    rootEventId: row.root_event ?? '',
    openJoinCount: row.joins,
    openDeadLetterCount: row.letters,
    createTime: toTimestamp(row.created_at),
    cancelReason: row.canceled_reason ?? '',
    lastCursor: row.last_position === null ? '' : cursorAt(row.last_position),
    countsCursor: cursorAt(row.counted),
    ...timesOf(row),
    ...(row.first_failure && { firstFailure: toFlowFailure(row.first_failure) }),
    ...(row.last_failure && { lastFailure: toFlowFailure(row.last_failure) }),
  });
}

function timesOf(row: FlowRow) {
  return {
    ...(row.seal_after_idle_ms !== null && { sealAfterIdle: toDuration(row.seal_after_idle_ms) }),
    ...(row.sealed_at && { sealTime: toTimestamp(row.sealed_at) }),
    ...(row.settled_at && { settleTime: toTimestamp(row.settled_at) }),
    ...(row.ended_at && { endTime: toTimestamp(row.ended_at) }),
    ...(row.last_at && { lastEntryTime: toTimestamp(row.last_at) }),
  };
}

function toFlowFailure(row: FailureRow): MessageInitShape<typeof FlowFailureSchema> {
  return {
    executionId: row.execution,
    type: row.type,
    reason: row.reason ?? 0,
    failure: toFailure({ ...row, details_type: null, details: null }),
    endTime: toTimestamp(new Date(row.ended_at)),
  };
}

export function toFailedFlow(row: FailedFlowRow, namespace: string): FailedFlow {
  return create(FailedFlowSchema, {
    flowId: row.id,
    name: row.name,
    namespace,
    state: row.state,
    failedCount: row.failed,
    liveCount: row.live,
    openDeadLetterCount: row.letters,
    ...(row.last_failure && { lastFailure: toFlowFailure(row.last_failure) }),
  });
}

export function toEdge(row: EdgeRow): Edge {
  return create(EdgeSchema, {
    flowId: row.flow ?? '',
    upstreamExecutionId: row.upstream,
    downstreamExecutionId: row.downstream,
    name: row.name,
    optional: row.optional,
    source: row.source ?? row.upstream,
    joinId: row.barrier,
    index: row.idx,
    outcome: row.outcome ?? 0,
    late: row.late,
  });
}

export function toTreeNode(
  { id, above, depth, what }: TreeNode,
  namespace: string,
  cursorAt: (position: bigint) => string,
): FlowTreeNode {
  return create(FlowTreeNodeSchema, {
    nodeId: id,
    parentNodeId: above ?? '',
    depth,
    node:
      'event' in what
        ? { case: 'event', value: toEvent(what.event, cursorAt) }
        : { case: 'execution', value: toExecution(what.execution, namespace) },
  });
}
