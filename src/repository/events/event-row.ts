/** Events as they are stored, by their internal ids. */
import type { Runner } from '../database.js';
import { statement } from '../statement.js';

const read = statement('events.by-id', 'select * from {schema}.events_by_id($1::uuid[], $2::int, $3::boolean)');

export interface EventRow {
  /** Internal: what executions and other events refer to. */
  readonly id: string;
  readonly namespace: string;
  /** As its publisher named it, else the internal one. */
  readonly event_id: string;
  readonly type: string;
  readonly stream: string | null;
  readonly version: bigint | null;
  readonly flow: string;
  /** Id by which its cause is known. */
  readonly cause: string | null;
  readonly cause_execution: string | null;
  readonly hops: number;
  readonly batch: string | null;
  readonly batch_index: number | null;
  readonly batch_size: number | null;
  readonly schema_version: number;
  readonly tags: Record<string, string>;
  readonly headers: Record<string, string>;
  readonly occurred_at: Date | null;
  readonly published_at: Date;
  readonly payload_type: string | null;
  readonly payload: Buffer | null;
  /** There is a payload, and it is larger than was asked for. */
  readonly omitted: boolean;
  /** Null while its place in the log is not final, and when it was not asked for. */
  readonly position: bigint | null;
}

/**
 * In the order of the ids; those that do not exist are left out. Payloads over so many bytes are left out too, with −1 every one.
 * `placed`: with their positions, which are added up from the log.
 */
export async function readEvents(
  runner: Runner,
  ids: readonly string[],
  inlineBytes: number,
  placed = true,
): Promise<EventRow[]> {
  return await runner.query<EventRow>(read, [ids, inlineBytes, placed]);
}
