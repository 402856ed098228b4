/** Renews leases and records progress. */
import { float8Array, int4Array, int8Array, textArray, uuidArray } from '../binary-arrays.js';
import type { Runner } from '../database.js';
import { statement } from '../statement.js';
import { inOrder } from './end.js';
import type { LeaseRef, Refused } from './refusal.js';

const renew = statement(
  'leases.renew',
  `select * from {schema}.renew($1::int[], $2::uuid[], $3::uuid[], $4::bigint[], $5, $6::bigint[], $7::double precision[],
     $8::text[])`,
);

export interface Renewal extends LeaseRef {
  /** Null: the length it was granted for. */
  readonly leaseMs: number | null;
  readonly progress: { readonly percent: number; readonly message: string } | null;
}

export interface Renewed {
  /** cancel_requested: renewed as well, and asked to stop. */
  readonly verdict: 'renewed' | 'cancel_requested';
  readonly expires_at: Date;
  readonly cancel_at: Date | null;
  readonly cancel_until: Date | null;
  readonly cancel_accepts_late: boolean | null;
  readonly cancel_reason: string | null;
}

export type RenewAnswer = Renewed | Refused;

/** In the order of the items, which are distinct by execution. `extend` false: progress alone. */
export async function renewLeases(runner: Runner, items: readonly Renewal[], extend: boolean): Promise<RenewAnswer[]> {
  const rows = await runner.query<RenewAnswer & { readonly ord: number }>(renew, [
    int4Array(items.map((item) => item.namespace)),
    uuidArray(items.map((item) => item.execution)),
    uuidArray(items.map((item) => item.lease)),
    int8Array(items.map((item) => item.token)),
    extend,
    int8Array(items.map((item) => item.leaseMs)),
    float8Array(items.map((item) => item.progress?.percent ?? null)),
    textArray(items.map((item) => item.progress?.message ?? null)),
  ]);
  return inOrder(rows);
}
