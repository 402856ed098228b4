/** What a watcher asked to see: the one place where a record is measured against it. */
import { ALL_NAMESPACES } from '../domain/cursor.js';
import type { LogRecord } from './record.js';

/** Fields are combined with AND, values of one field with OR; an empty or absent field selects everything. */
export interface FilterFields {
  /** ALL_NAMESPACES for every one. */
  readonly namespace: number;
  /** Only ends of executions. */
  readonly terminal?: boolean;
  readonly kinds?: readonly number[] | undefined;
  readonly flow?: string | null | undefined;
  readonly execution?: string | null | undefined;
  readonly lanes?: readonly string[] | undefined;
  readonly types?: readonly string[] | undefined;
  /** States that entries lead to. */
  readonly outcomes?: readonly number[] | undefined;
  /** All must be there, with these values. */
  readonly tags?: Readonly<Record<string, string>> | undefined;
}

export class RecordFilter {
  readonly #fields: FilterFields;
  readonly #kinds: ReadonlySet<number>;
  readonly #lanes: ReadonlySet<string>;
  readonly #types: ReadonlySet<string>;
  readonly #outcomes: ReadonlySet<number>;
  readonly #tags: readonly (readonly [string, string])[];

  constructor(fields: FilterFields) {
    this.#fields = fields;
    this.#kinds = new Set(fields.kinds);
    this.#lanes = new Set(fields.lanes);
    this.#types = new Set(fields.types);
    this.#outcomes = new Set(fields.outcomes);
    this.#tags = Object.entries(fields.tags ?? {});
  }

  /** Everything but tags, so that only records that pass need their detail read. */
  admits(record: LogRecord): boolean {
    const { entry } = record;
    const { namespace, terminal, flow, execution } = this.#fields;
    return (
      (namespace === ALL_NAMESPACES || namespace === entry.namespace) &&
      (!terminal || record.terminal) &&
      (!flow || flow === entry.flow) &&
      (!execution || execution === entry.execution) &&
      allows(this.#kinds, entry.kind) &&
      allows(this.#outcomes, entry.to) &&
      allows(this.#lanes, record.lane) &&
      allows(this.#types, record.type)
    );
  }

  /** To be asked once the detail of an admitted record was read. */
  selects(record: LogRecord): boolean {
    return this.admits(record) && this.#tags.every(([key, value]) => record.tags[key] === value);
  }
}

function allows<T>(set: ReadonlySet<T>, value: T | null): boolean {
  return set.size === 0 || (value !== null && set.has(value));
}
