/** Closes dead letters by a person's word, each on its own. */
import type { Runner } from '../database.js';
import { statement } from '../statement.js';

const resolve = statement(
  'dead-letters.resolve',
  `select verdict, state::int as state, version
   from {schema}.resolve_letters($1, $2::uuid[], $3::bigint[], $4::smallint, $5, $6, $7) order by ord`,
);

export interface Resolution {
  readonly namespace: number;
  /** Distinct by id; expected version 0: any. */
  readonly letters: readonly { readonly id: string; readonly expectedVersion: bigint }[];
  readonly resolution: number;
  readonly actor: string;
  readonly note: string;
  readonly requestId: string | null;
}

export interface ResolveAnswer {
  /** already: closed before by the same word, at the version that this call would have made. */
  readonly verdict: 'closed' | 'already' | 'conflict' | 'wrong_state' | 'not_found';
  readonly state: number | null;
  readonly version: bigint | null;
}

/** In the order of the letters. */
export function resolveDeadLetters(runner: Runner, asked: Resolution): Promise<ResolveAnswer[]> {
  return runner.query<ResolveAnswer>(resolve, [
    asked.namespace,
    asked.letters.map(({ id }) => id),
    asked.letters.map(({ expectedVersion }) => expectedVersion),
    asked.resolution,
    asked.actor,
    asked.note,
    asked.requestId,
  ]);
}
