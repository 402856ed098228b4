/** Sets the quota of a namespace. That of a lane is a part of its settings (lanes/change.ts). */
import type { Runner } from '../database.js';
import { statement } from '../statement.js';

const put = statement('quotas.put', 'select {schema}.put_quota($1, $2, $3, $4, $5, $6)');

/** Null: no limit. */
export interface QuotaLimits {
  readonly max_running: number | null;
  readonly max_starts: number | null;
  readonly window_ms: number | null;
}

/** A quota that is the same already stays as it is, and nothing is logged. */
export async function putQuota(
  runner: Runner,
  namespace: number,
  limits: QuotaLimits,
  actor: string,
  reason: string,
): Promise<void> {
  await runner.query(put, [namespace, limits.max_running, limits.max_starts, limits.window_ms, actor, reason]);
}
