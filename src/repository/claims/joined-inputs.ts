/** What joins hand over to the executions they released. Immutable once a join has decided, so it is read after the claim. */
import { uuidArray } from '../binary-arrays.js';
import type { Runner } from '../database.js';
import { statement } from '../statement.js';

const read = statement('claims.joined-inputs', 'select * from {schema}.joined_inputs($1::uuid[], $2, $3)');

export interface JoinedSlot {
  readonly barrier: string;
  readonly name: string;
  readonly idx: number;
  /** SlotOutcome; null: it was not filled when the join decided. */
  readonly outcome: number | null;
  /** Of a batch: who emitted the event, or left the slot, if somebody did. */
  readonly upstream: string | null;
  readonly type: string | null;
  readonly source: string | null;
  /** Public id of the event that filled the slot of a batch. */
  readonly event: string | null;
  readonly payload_type: string | null;
  readonly payload: Buffer | null;
  /** There is a result; it was left out for its size. */
  readonly omitted: boolean;
  readonly failure_class: number | null;
  readonly failure_code: string | null;
  readonly message: string | null;
}

const INLINE_BYTES = 64 * 1024;
/** Of one answer, beside the inputs (ANSWER_BYTES). */
const TOTAL_BYTES = 512 * 1024;

/** By join, in the order of its slots. */
export async function readJoinedInputs(
  runner: Runner,
  joins: readonly string[],
): Promise<ReadonlyMap<string, readonly JoinedSlot[]>> {
  const rows = await runner.query<JoinedSlot>(read, [uuidArray(joins), INLINE_BYTES, TOTAL_BYTES]);
  const byJoin = new Map<string, JoinedSlot[]>(joins.map((join) => [join, []]));
  for (const row of rows) byJoin.get(row.barrier)?.push(row);
  return byJoin;
}
