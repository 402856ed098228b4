/** What one entry of the log says, and how a packed row (one per transaction) becomes its entries. */

export interface LogEntry {
  /** Final when visible; positions have no gaps and start at 1. */
  readonly position: bigint;
  /** The row it came in: entries of one transaction share it. */
  readonly seq: bigint;
  readonly at: Date;
  readonly namespace: number;
  readonly kind: number;
  readonly execution: string | null;
  readonly flow: string | null;
  readonly class: number | null;
  /** The execution's state before and after; null where the entry changes none. */
  readonly from: number | null;
  readonly to: number | null;
  readonly attempt: number | null;
  /** Compact JSON, or null. */
  readonly body: string | null;
}

export interface PackedRow {
  readonly position: bigint;
  readonly seq: bigint;
  readonly at: Date;
  readonly namespace: number[];
  readonly kind: number[];
  readonly execution: (string | null)[];
  readonly flow: (string | null)[];
  readonly class: (number | null)[];
  readonly from_state: (number | null)[];
  readonly to_state: (number | null)[];
  readonly attempt: (number | null)[];
  readonly body: (string | null)[];
  /** 1-based indexes of the entries whose body stands in log_body. */
  readonly large: number[] | null;
}

/** `position` of the row is that of its first entry. `large` bodies are looked up by `seq:index`. */
export function unpack(row: PackedRow, large: ReadonlyMap<string, string>): LogEntry[] {
  return row.kind.map((kind, i) => ({
    position: row.position + BigInt(i),
    seq: row.seq,
    at: row.at,
    namespace: row.namespace[i] ?? 0,
    kind,
    execution: row.execution[i] ?? null,
    flow: row.flow[i] ?? null,
    class: row.class[i] ?? null,
    from: row.from_state[i] ?? null,
    to: row.to_state[i] ?? null,
    attempt: row.attempt[i] ?? null,
    body: row.body[i] ?? large.get(`${row.seq}:${i + 1}`) ?? null,
  }));
}
