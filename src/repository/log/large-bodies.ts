/** Bodies over 2 KiB, which stand beside the log so that a packed row stays small. */
import type { Runner } from '../database.js';
import { statement } from '../statement.js';
import type { PackedRow } from './entry.js';

const read = statement(
  'log.large-bodies',
  `select b.seq, b.idx, b.body from {schema}.log_body b where b.seq = any ($1::bigint[])`,
);

/** Sends nothing when no row has one, which is nearly always. Keys are `seq:index`. */
export async function readLargeBodies(
  runner: Runner,
  rows: readonly PackedRow[],
): Promise<ReadonlyMap<string, string>> {
  const seqs = rows.filter((row) => row.large !== null).map((row) => row.seq);
  if (seqs.length === 0) return new Map();
  const found = await runner.query<{ seq: bigint; idx: number; body: string }>(read, [seqs]);
  return new Map(found.map((row) => [`${row.seq}:${row.idx}`, row.body]));
}
