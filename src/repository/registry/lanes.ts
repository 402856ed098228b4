/** Lanes as a process remembers them: what they let through and what they fill in. */

import type { Runner } from '../database.js';
import type { RetrySettings } from '../executions/index.js';
import { statement } from '../statement.js';

const read = statement(
  'registry.lanes',
  `select id, namespace, name, state, timeout_ms, ttl_ms, retry_max, retry_initial_ms, retry_factor, retry_cap_ms,
     reclaims_max, count_lost,
     exists (select from {schema}.quota q where q.namespace = l.namespace and q.lane = l.id
       and (q.max_running is not null or q.max_starts is not null)) as limited,
     exists (select from {schema}.quota q where q.namespace = l.namespace and q.lane = 0
       and (q.max_running is not null or q.max_starts is not null)) as namespace_limited
   from {schema}.lane l`,
);

export interface LaneDefaults {
  readonly id: number;
  readonly namespace: number;
  readonly name: string;
  readonly state: number;
  readonly timeoutMs: number | null;
  readonly ttlMs: number | null;
  readonly retry: RetrySettings;
  /** It has a quota. */
  readonly limited: boolean;
  /** Its namespace has one. */
  readonly namespaceLimited: boolean;
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
  readonly limited: boolean;
  readonly namespace_limited: boolean;
}

export async function readLanes(runner: Runner): Promise<LaneDefaults[]> {
  const rows = await runner.query<LaneRow>(read);
  return rows.map((row) => ({
    id: row.id,
    namespace: row.namespace,
    name: row.name,
    state: row.state,
    limited: row.limited,
    namespaceLimited: row.namespace_limited,
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
