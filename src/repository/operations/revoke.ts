/** Takes running work from its holder. */
import type { Runner } from '../database.js';
import { statement } from '../statement.js';

const held = statement(
  'operations.held-lease',
  `select l.token, l.worker, l.worker_name, l.started_at, l.expires_at, l.class from {schema}.lease l
   where l.execution = $2::uuid and l.namespace = $1::int`,
);

const revoke = statement(
  'operations.revoke',
  'select verdict, state, woken, follows from {schema}.revoke_lease($1, $2, $3, $4, $5)',
);

/** A lease as others may see it. */
export interface HeldLease {
  readonly token: bigint;
  readonly worker: string;
  readonly worker_name: string;
  readonly started_at: Date;
  readonly expires_at: Date;
  readonly class: number;
}

export interface Revocation {
  readonly namespace: number;
  readonly execution: string;
  /** Null: whichever is held. */
  readonly token: bigint | null;
  readonly actor: string;
  readonly reason: string;
}

export type RevokeAnswer =
  | {
      readonly verdict: 'revoked';
      readonly state: number;
      readonly lease: HeldLease;
      /** Classes that got claimable work by its end, when it ended. */
      readonly woken: readonly number[];
      /** Something is left to be done after the commit (SweepSubject followUps). */
      readonly follows: boolean;
    }
  | { readonly verdict: 'wrong_state'; readonly state: number | null }
  | { readonly verdict: 'not_found' };

interface Revoked {
  readonly verdict: RevokeAnswer['verdict'];
  readonly state: number | null;
  readonly woken: readonly number[] | null;
  readonly follows: boolean | null;
}

const TRIES = 5;

/**
 * The lease is read first, for the answer, and revoked under the token that was read. When another one was granted in
 * between, and the caller did not name one, that one is revoked.
 */
export async function revokeLease(runner: Runner, asked: Revocation): Promise<RevokeAnswer> {
  const { namespace, execution, actor, reason } = asked;
  let answer: RevokeAnswer = { verdict: 'not_found' };
  for (let tries = 0; tries < TRIES; tries++) {
    const [lease] = await runner.query<HeldLease>(held, [namespace, execution]);
    const token = asked.token ?? lease?.token ?? null;
    const [row] = await runner.query<Revoked>(revoke, [
      namespace,
      execution,
      // Without a lease to name, none must be revoked: tokens are above 0.
      token ?? 0n,
      actor,
      reason,
    ]);
    if (row === undefined) throw new Error('revoke_lease answered nothing');
    if (row.verdict === 'not_found') return { verdict: 'not_found' };
    if (row.verdict === 'revoked' && lease !== undefined && row.state !== null) {
      return {
        verdict: 'revoked',
        state: row.state,
        lease,
        woken: row.woken ?? [],
        follows: row.follows ?? false,
      };
    }
    answer = { verdict: 'wrong_state', state: row.state };
    if (asked.token !== null || lease === undefined) return answer;
  }
  return answer;
}
