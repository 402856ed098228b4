/** Moves what namespaces show of the past. */
import type { Runner } from '../database.js';
import { statement } from '../statement.js';

const move = statement(
  'retention.floors',
  'select {schema}.keep_standard($1::bigint, $2::bigint), {schema}.move_floors($1::bigint, $2::bigint, $3::int) as moved',
);
const read = statement('retention.floor', 'select n.floor_at from {schema}.namespace n where n.id = $1::int');

/** How long things are kept where a namespace says nothing else; undefined: for ever. */
export interface Kept {
  readonly executionsMs: number | undefined;
  readonly logMs: number | undefined;
}

/** Of all namespaces, or of one. */
export async function moveFloors(runner: Runner, { executionsMs, logMs }: Kept, namespace?: number): Promise<void> {
  await runner.query(move, [executionsMs ?? null, logMs ?? null, namespace ?? null]);
}

/** The oldest end of an execution that a namespace shows; undefined: all are shown. */
export async function readFloor(runner: Runner, namespace: number): Promise<Date | undefined> {
  const [row] = await runner.query<{ floor_at: Date | null }>(read, [namespace]);
  return row?.floor_at ?? undefined;
}
