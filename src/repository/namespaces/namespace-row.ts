/** A namespace as it is set. Nulls among what it keeps and allows are the server's settings. */

export interface NamespaceRow {
  readonly id: number;
  readonly name: string;
  readonly description: string;
  readonly version: bigint;
  readonly keep_executions_ms: bigint | null;
  readonly keep_log_ms: bigint | null;
  readonly keep_letters_ms: bigint | null;
  readonly keep_event_ids_ms: bigint | null;
  readonly event_ids_forever: boolean;
  readonly max_payload_bytes: bigint | null;
  readonly max_hops: number;
  readonly created_at: Date;
  readonly changed_at: Date;
  /** What ended before it is not shown any more. Null: everything is. */
  readonly floor_at: Date | null;
}

export const NAMESPACE_COLUMNS = `n.id, n.name, n.description, n.version, n.keep_executions_ms, n.keep_log_ms, n.keep_letters_ms,
     n.keep_event_ids_ms, n.event_ids_forever, n.max_payload_bytes, n.max_hops, n.created_at, n.changed_at, n.floor_at`;
