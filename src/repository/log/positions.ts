/** Positions of rows of the log, by the seq that append_log answered. */
import { int8Array } from '../binary-arrays.js';
import type { Runner } from '../database.js';
import { statement } from '../statement.js';

const read = statement(
  'log.positions',
  `select u.seq, {schema}.position_of(u.seq) as position from unnest($1::bigint[]) u (seq)`,
);

/** Of the first entry of each row, 0 where it is gone; those that have none yet are missing. */
export async function readPositions(runner: Runner, seqs: readonly bigint[]): Promise<ReadonlyMap<bigint, bigint>> {
  const rows = await runner.query<{ seq: bigint; position: bigint | null }>(read, [int8Array(seqs)]);
  return new Map(rows.flatMap(({ seq, position }) => (position === null ? [] : [[seq, position]])));
}
