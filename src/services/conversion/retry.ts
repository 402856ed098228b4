/** Retry policies, complete: what an execution did not ask for and its lane did not say is the engine's default. */
import { create } from '@bufbuild/protobuf';
import { type RetryPolicy, RetryPolicySchema } from '../../../gen/tailrace/v1/attempt_pb.js';
import { toDuration } from './times.js';

interface RetryColumns {
  readonly retry_max: number | null;
  readonly retry_initial_ms: bigint | null;
  readonly retry_factor: number | null;
  readonly retry_cap_ms: bigint | null;
  readonly reclaims_max: number | null;
  readonly count_lost: boolean | null;
}

/** Those of the SQL that decides after a failure (after_failure, migration 0007). */
const DEFAULTS = { attempts: 5, initialMs: 1_000, factor: 2, capMs: 300_000, reclaims: 20, countLost: true } as const;

/** In force: complete. */
export function toRetryPolicy(row: RetryColumns): RetryPolicy {
  return create(RetryPolicySchema, {
    maxAttempts: row.retry_max ?? DEFAULTS.attempts,
    initialBackoff: toDuration(row.retry_initial_ms ?? DEFAULTS.initialMs),
    backoffFactor: row.retry_factor ?? DEFAULTS.factor,
    maxBackoff: toDuration(row.retry_cap_ms ?? DEFAULTS.capMs),
    maxReclaims: row.reclaims_max ?? DEFAULTS.reclaims,
    countLostLeases: row.count_lost ?? DEFAULTS.countLost,
  });
}

/** As it was set: fields that were not are zero or absent; undefined when none was. */
export function toSetRetryPolicy(row: RetryColumns): RetryPolicy | undefined {
  const { retry_max, retry_initial_ms, retry_factor, retry_cap_ms, reclaims_max, count_lost } = row;
  const all = [retry_max, retry_initial_ms, retry_factor, retry_cap_ms, reclaims_max, count_lost];
  if (all.every((value) => value === null)) return undefined;
  return create(RetryPolicySchema, {
    maxAttempts: retry_max ?? 0,
    backoffFactor: retry_factor ?? 0,
    maxReclaims: reclaims_max ?? 0,
    ...(retry_initial_ms !== null && { initialBackoff: toDuration(retry_initial_ms) }),
    ...(retry_cap_ms !== null && { maxBackoff: toDuration(retry_cap_ms) }),
    ...(count_lost !== null && { countLostLeases: count_lost }),
  });
}
