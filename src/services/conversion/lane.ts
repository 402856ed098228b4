/** Lanes in the words of the contract. */
import { create } from '@bufbuild/protobuf';
import { type Lane, LaneSchema } from '../../../gen/tailrace/v1/lane_pb.js';
import { ExecutionState } from '../../domain/states.js';
import type { LaneRow } from '../../repository/lanes/index.js';
import { toLimits } from './quota.js';
import { toSetRetryPolicy } from './retry.js';
import { toDuration, toTimestamp } from './times.js';

/** `cursorAt`: the cursor of a position in this namespace. */
export function toLane(row: LaneRow, namespace: string, cursorAt: (position: bigint) => string): Lane {
  const count = (state: number) => BigInt(row.counts[state] ?? 0);
  const retryPolicy = toSetRetryPolicy(row);
  return create(LaneSchema, {
    namespace,
    lane: row.name,
    state: row.state,
    stateReason: row.state_reason,
    settings: {
      ...toLimits(row),
      ...(row.default_key_limit !== null && { defaultKeyLimit: row.default_key_limit }),
      keyLimits: row.key_limits.map(({ key, max_running, weight }) => ({ key, weight, limit: max_running ?? 0 })),
      ...(row.aging_ms !== null && { agingInterval: toDuration(row.aging_ms) }),
      ...(retryPolicy && { retryPolicy }),
      ...(row.timeout_ms !== null && { attemptTimeout: toDuration(row.timeout_ms) }),
      ...(row.ttl_ms !== null && { ttl: toDuration(row.ttl_ms) }),
    },
    version: row.version,
    createTime: toTimestamp(row.created_at),
    updateTime: toTimestamp(row.changed_at),
    actor: row.actor,
    counts: {
      blocked: count(ExecutionState.BLOCKED),
      scheduled: count(ExecutionState.SCHEDULED),
      queued: count(ExecutionState.QUEUED),
      running: count(ExecutionState.RUNNING),
      suspended: count(ExecutionState.SUSPENDED),
      waitingChildren: count(ExecutionState.WAITING_CHILDREN),
      openDeadLetters: BigInt(row.letters),
    },
    countsCursor: cursorAt(row.counted),
    ...(row.oldest_ms !== null && { oldestQueuedAge: toDuration(Math.max(0, row.oldest_ms)) }),
  });
}

/** States that hold any; 0, which counts creations, is no state. */
export function toCounts(counts: Readonly<Record<string, number>>): { state: number; count: bigint }[] {
  return Object.entries(counts)
    .map(([state, count]) => ({ state: Number(state), count: BigInt(count) }))
    .filter(({ state, count }) => state > 0 && count !== 0n)
    .sort((a, b) => a.state - b.state);
}
