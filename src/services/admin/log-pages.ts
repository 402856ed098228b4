/**
 * Pages through the log in either direction. A page reads a bounded stretch, so with a filter that finds little it may be
 * short, or empty, and have a next one. With a flow or an execution named, its own history is read instead of everybody's.
 */
import type { RecordFilter } from '../../log/filter.js';
import { NameCache } from '../../log/names.js';
import { LogRecord } from '../../log/record.js';
import type { LogSource } from '../../log/source.js';
import type { Database } from '../../repository/database.js';
import { type HistoryPlace, readHistory } from '../../repository/log/index.js';

/** Entries that a page reads at most; of a history, transactions. */
const READ_AT_MOST = 10_000;
const HISTORY_ROWS = 500;
/** Where only those that speak of one execution come back. */
const MEMBER_ROWS = 5_000;

/** Whose own history is read. */
export interface HistoryWanted {
  /** The flow, or the execution when it has no flow. */
  readonly of: string;
  /** One member of that flow. */
  readonly execution?: string;
}

export interface LogPageWanted {
  readonly history: HistoryWanted | undefined;
  readonly filter: RecordFilter;
  readonly oldestFirst: boolean;
  /** The position to begin with, itself included. */
  readonly first: bigint;
  /** For a history: the transaction behind which it goes on. */
  readonly afterSeq: bigint | undefined;
  /** Positions above the floor, up to the head. */
  readonly bounds: { readonly floor: bigint; readonly head: bigint };
  readonly since: Date | null;
  readonly before: Date | null;
  readonly size: number;
}

export interface LogPage {
  readonly records: readonly LogRecord[];
  /** What the next page begins with; undefined when this was the last. */
  readonly next: HistoryPlace | undefined;
}

/** A stretch of records in the order wanted, and where reading goes on: undefined at the end. */
interface Stretch {
  readonly records: readonly LogRecord[];
  readonly next: HistoryPlace | undefined;
  readonly read: number;
}

export class LogPages {
  readonly #database: Database;
  readonly #source: LogSource;
  readonly #names: NameCache;

  constructor(database: Database, source: LogSource) {
    this.#database = database;
    this.#source = source;
    this.#names = new NameCache(database);
  }

  async read(wanted: LogPageWanted): Promise<LogPage> {
    const found: LogRecord[] = [];
    let next: Stretch['next'] = { position: wanted.first, afterSeq: wanted.afterSeq ?? 0n };
    let read = 0;
    let before = next;
    while (next !== undefined && found.length <= wanted.size && read < READ_AT_MOST) {
      before = next;
      const stretch: Stretch =
        wanted.history === undefined
          ? await this.#stretch(wanted, before.position)
          : await this.#history(wanted, wanted.history, before);
      found.push(...(await this.#selected(wanted, stretch.records)));
      ({ next } = stretch);
      read += stretch.read;
    }
    const extra = found[wanted.size];
    // The extra record begins the next page; its stretch is read again from where it began.
    if (extra) next = { position: extra.entry.position, afterSeq: before.afterSeq };
    return { records: found.slice(0, wanted.size), next };
  }

  async #stretch({ oldestFirst, bounds }: LogPageWanted, at: bigint): Promise<Stretch> {
    const width = BigInt(this.#source.pageEntries);
    const none: Stretch = { records: [], next: undefined, read: 0 };
    if (oldestFirst) {
      const page = at > bounds.head ? undefined : await this.#source.page(at);
      const last = page?.at(-1)?.entry.position;
      if (page === undefined || last === undefined) return none;
      const records = page.filter(({ entry }) => entry.position <= bounds.head);
      return { records, next: { position: last + 1n, afterSeq: 0n }, read: page.length };
    }
    if (at <= bounds.floor) return none;
    const from = at - width + 1n > bounds.floor ? at - width + 1n : bounds.floor + 1n;
    const page = (await this.#source.page(from)) ?? [];
    const records = page.filter(({ entry }) => entry.position <= at).reverse();
    return { records, next: { position: from - 1n, afterSeq: 0n }, read: page.length };
  }

  async #history({ oldestFirst, bounds }: LogPageWanted, wanted: HistoryWanted, from: HistoryPlace): Promise<Stretch> {
    const limit = wanted.execution === undefined ? HISTORY_ROWS : MEMBER_ROWS;
    const found = await readHistory(this.#database, { ...wanted, from, limit, newestFirst: !oldestFirst });
    const entries = found.entries.filter(({ position }) => position > bounds.floor);
    const next = !oldestFirst && (found.next?.position ?? 0n) <= bounds.floor ? undefined : found.next;
    await this.#names.load(entries);
    const records = entries.map((entry) => {
      const names = this.#names.classOf(entry.class);
      const namespace = this.#names.namespaceOf(entry.namespace);
      return new LogRecord(entry, namespace, names?.lane ?? '', names?.type ?? '');
    });
    return { records, next, read: HISTORY_ROWS };
  }

  async #selected({ filter, since, before }: LogPageWanted, records: readonly LogRecord[]): Promise<LogRecord[]> {
    const admitted = records.filter(
      (record) =>
        (since === null || record.entry.at >= since) &&
        (before === null || record.entry.at < before) &&
        filter.admits(record),
    );
    await this.#source.detail(admitted);
    return admitted.filter((record) => filter.selects(record));
  }
}
