/** Lanes as a process remembers them: what they let through and what they fill in. */

import type { Runner } from '../database.js';
import type { RetrySettings } from '../executions/index.js';
import { statement } from '../statement.js';

const read = statement(
  'registry.lanes',
  `select id, namespace, name, state, timeout_ms, ttl_ms, retry_max, retry_initial_ms, retry_factor, retry_cap_ms,
     reclaims_max, count_lost from {schema}.lane`,
);

export interface LaneDefaults {
  readonly id: number;
  readonly namespace: number;
  readonly name: string;
  readonly state: number;
  readonly timeoutMs: number | null;
  readonly ttlMs: number | null;
  readonly retry: RetrySettings;
}

interface LaneRow {
  readonly id: number;
  readonly namespace: number;
  readonly name: string;
  readonly state: number;
  readonly timeout_ms: bigint | null;
  readonly ttl_ms: bigint | null;
  readonly retry_max: number | null;
  readonly retry_initial_ms: bigint | null;
  readonly retry_factor: number | null;
  readonly retry_cap_ms: bigint | null;
  readonly reclaims_max: number | null;
  readonly count_lost: boolean | null;
}

export async function readLanes(runner: Runner): Promise<LaneDefaults[]> {
  const rows = await runner.query<LaneRow>(read);
  return rows.map((row) => ({
    id: row.id,
    namespace: row.namespace,
    name: row.name,
    state: row.state,
    timeoutMs: numberOrNull(row.timeout_ms),
    ttlMs: numberOrNull(row.ttl_ms),
    retry: {
      maxAttempts: row.retry_max,
      initialMs: numberOrNull(row.retry_initial_ms),
      factor: row.retry_factor,
      capMs: numberOrNull(row.retry_cap_ms),
      maxReclaims: row.reclaims_max,
      countLost: row.count_lost,
    },
  }));
}

function numberOrNull(value: bigint | null): number | null {
  return value === null ? null : Number(value);
}
