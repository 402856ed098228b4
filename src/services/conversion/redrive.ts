/** Bulk redrives in the words of the contract. */
import { create, fromJson, type JsonValue } from '@bufbuild/protobuf';
import { DeadLetterFilterSchema } from '../../../gen/tailrace/v1/dead_letter_pb.js';
import { type Redrive, RedriveSchema } from '../../../gen/tailrace/v1/redrive_pb.js';
import type { BulkRedrive } from '../../repository/redrives/index.js';
import { toPayload } from './payload.js';
import { toTimestamp } from './times.js';

export function toRedrive(row: BulkRedrive, namespace: string): Redrive {
  const { started, succeeded, failed } = row;
  return create(RedriveSchema, {
    redriveId: row.id,
    namespace,
    filter: fromJson(DeadLetterFilterSchema, row.filter as JsonValue),
    state: row.state,
    selectedCount: BigInt(row.selected),
    startedCount: BigInt(started),
    skippedCount: BigInt(row.skipped),
    succeededCount: BigInt(succeeded),
    failedCount: BigInt(failed),
    runningCount: BigInt(started - succeeded - failed),
    ratePerSecond: row.rate,
    canaryCount: row.canary,
    canaryMaxFailures: row.canary_max_failures,
    maxCount: row.max_count,
    detached: row.detached,
    lane: row.lane ?? '',
    actor: row.actor,
    note: row.note,
    createTime: toTimestamp(row.created_at),
    stopReason: row.stop_reason,
    ...(row.ended_at && { endTime: toTimestamp(row.ended_at) }),
    ...(row.patch_type !== null && row.patch !== null && { inputPatch: toPayload(row.patch_type, row.patch) }),
  });
}
