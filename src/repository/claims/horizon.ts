/** What the safe lower bound of claims is made of. */
import type { Runner } from '../database.js';
import { statement } from '../statement.js';

const horizon = statement('claims.horizon', 'select seq, xid, oldest from {schema}.claim_horizon()');

const heads = statement(
  'claims.heads',
  'select class, priority, seq from {schema}.claim_heads($1::int[], $2::smallint[], $3::bigint[])',
);

/** Rows with a ready seq up to `seq` are settled once `oldest` of a later horizon is above `xid`. */
export interface Horizon {
  readonly seq: bigint;
  readonly xid: bigint;
  readonly oldest: bigint;
}

export async function readHorizon(runner: Runner): Promise<Horizon> {
  const [row] = await runner.query<Horizon>(horizon);
  if (row === undefined) throw new Error('claim_horizon answered nothing');
  return row;
}

/** A place in a class's line. */
export interface LinePlace {
  readonly class: number;
  /** Negated, as in the index. */
  readonly priority: number;
  readonly seq: bigint;
}

/** For each class in `bounds`: its priorities that have rows, with the lowest visible seq at or above the bound. */
export function readHeads(runner: Runner, bounds: readonly LinePlace[]): Promise<LinePlace[]> {
  return runner.query<LinePlace>(heads, [
    bounds.map((bound) => bound.class),
    bounds.map((bound) => bound.priority),
    bounds.map((bound) => bound.seq),
  ]);
}
