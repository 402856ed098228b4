/** What a watcher asked to see: the one place where a record is measured against it. */
import { ALL_NAMESPACES } from '../domain/cursor.js';
import type { LogRecord } from './record.js';

/**
 * Fields are combined with AND, values of one field with OR; an empty or absent field selects everything. With event types
 * or streams named, what is no event passes only if its kind is asked for.
 */
export interface FilterFields {
  /** ALL_NAMESPACES for every one. */
  readonly namespace: number;
  /** Only ends of executions. */
  readonly terminal?: boolean;
  readonly kinds?: readonly number[] | undefined;
  readonly flow?: string | null | undefined;
  /** Of an event: the one that emitted it. */
  readonly execution?: string | null | undefined;
  readonly lanes?: readonly string[] | undefined;
  /** Of executions; of events, where `eventTypes` are not named. */
  readonly types?: readonly string[] | undefined;
  readonly eventTypes?: readonly string[] | undefined;
  /** Of events. */
  readonly streams?: readonly string[] | undefined;
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
  readonly #eventTypes: ReadonlySet<string>;
  readonly #streams: ReadonlySet<string>;
  readonly #outcomes: ReadonlySet<number>;
  readonly #tags: readonly (readonly [string, string])[];

  constructor(fields: FilterFields) {
    this.#fields = fields;
    this.#kinds = new Set(fields.kinds);
    this.#lanes = new Set(fields.lanes);
    this.#types = new Set(fields.types);
    this.#eventTypes = new Set(fields.eventTypes);
    this.#streams = new Set(fields.streams);
    this.#outcomes = new Set(fields.outcomes);
    this.#tags = Object.entries(fields.tags ?? {});
  }

  /** Everything that the entry itself tells, so that only records that pass need their detail read. */
  admits(record: LogRecord): boolean {
    const { entry, ofEvent } = record;
    const { namespace, terminal, flow, execution } = this.#fields;
    return (
      (namespace === ALL_NAMESPACES || namespace === entry.namespace) &&
      (!terminal || record.terminal) &&
      (!flow || flow === entry.flow) &&
      (!execution || execution === entry.execution) &&
      allows(this.#kinds, entry.kind) &&
      allows(this.#outcomes, entry.to) &&
      allows(this.#lanes, record.lane) &&
      (ofEvent || (this.#passesBesideEvents() && allows(this.#types, record.type)))
    );
  }

  /** To be asked once the detail of an admitted record was read. */
  selects(record: LogRecord): boolean {
    return (
      this.admits(record) &&
      (!record.ofEvent || this.#selectsEvent(record)) &&
      this.#tags.every(([key, value]) => record.tags[key] === value)
    );
  }

  /** An admitted record may still be left out for what its detail says. */
  needsDetail({ ofEvent }: LogRecord): boolean {
    return this.#tags.length > 0 || (ofEvent && this.#types.size + this.#eventTypes.size + this.#streams.size > 0);
  }

  #passesBesideEvents(): boolean {
    return (this.#eventTypes.size === 0 && this.#streams.size === 0) || this.#kinds.size > 0;
  }

  #selectsEvent({ type, event }: LogRecord): boolean {
    const types = this.#eventTypes.size > 0 ? this.#eventTypes : this.#types;
    return allows(types, type) && allows(this.#streams, event?.stream ?? null);
  }
}

function allows<T>(set: ReadonlySet<T>, value: T | null): boolean {
  return set.size === 0 || (value !== null && set.has(value));
}
