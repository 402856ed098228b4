/** Limits and quotas in the words of the contract. */
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { type Quota, QuotaSchema } from '../../../gen/tailrace/v1/budget_pb.js';
import type { RateLimitSchema } from '../../../gen/tailrace/v1/lane_pb.js';
import type { QuotaRow } from '../../repository/quotas/index.js';
import { toDuration, toTimestamp } from './times.js';

interface Limits {
  readonly max_running: number | null;
  readonly max_starts: number | null;
  readonly window_ms: bigint | null;
}

export function toQuota(row: QuotaRow, namespace: string): Quota {
  return create(QuotaSchema, {
    namespace,
    lane: row.lane,
    ...toLimits(row),
    runningCount: BigInt(row.running),
    startedCount: BigInt(row.started),
    // When a running one ends nobody knows.
    ...(row.free_at && !isFull(row) && { retryTime: toTimestamp(row.free_at) }),
  });
}

/** As many run as may. */
export function isFull({ max_running, running }: QuotaRow): boolean {
  return max_running !== null && running >= max_running;
}

/** Absent for what has no limit. */
export function toLimits({ max_running, max_starts, window_ms }: Limits): {
  readonly concurrencyLimit?: number;
  readonly rateLimit?: MessageInitShape<typeof RateLimitSchema>;
} {
  return {
    ...(max_running !== null && { concurrencyLimit: max_running }),
    ...(max_starts !== null &&
      window_ms !== null && { rateLimit: { limit: max_starts, window: toDuration(window_ms) } }),
  };
}
