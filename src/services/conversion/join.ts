/** Joins in the words of the contract. */
import { create } from '@bufbuild/protobuf';
import { type Join, JoinSchema, OnSatisfied } from '../../../gen/tailrace/v1/join_pb.js';
import type { JoinRow } from '../../repository/flows/index.js';
import { toDuration, toTimestamp } from './times.js';

export function toJoin(row: JoinRow, namespace: string): Join {
  return create(JoinSchema, {
    joinId: row.id,
    namespace,
    kind: row.kind,
    downstreamExecutionId: row.downstream,
    flowId: row.flow ?? '',
    subscription: row.subscription ?? '',
    batchId: row.batch ?? '',
    policy: {
      mode: row.mode,
      quorum: row.quorum,
      distinctSources: row.distinct_sources,
      onSatisfied: row.cancel_rest ? OnSatisfied.CANCEL_REST : OnSatisfied.LET_RUN,
      onTimeout: row.on_timeout,
      ...(row.timeout_ms !== null && { timeout: toDuration(row.timeout_ms) }),
    },
    state: row.state,
    sealed: row.sealed,
    slotCount: row.slots,
    okCount: row.ok,
    failedCount: row.failed,
    skippedCount: row.skipped,
    lateCount: row.late,
    createTime: toTimestamp(row.created_at),
    ...(row.expires_at && { expireTime: toTimestamp(row.expires_at) }),
    ...(row.decided_at && { decideTime: toTimestamp(row.decided_at) }),
  });
}
