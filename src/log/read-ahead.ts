/**
 * What a part's owner will ask for next is read while it handles what it has: a scan that was not at the end of the log
 * begins the one behind it. It is thrown away when something else is asked for.
 */
import { after } from '../runtime/clock.js';
import { turn } from '../runtime/turn.js';
import type { LogPages } from './pages.js';
import type { LogRecord } from './record.js';
import { type ScanBounds, type Scanned, scanPart } from './scan.js';
import type { PartPlace, Selection } from './selection.js';

export interface ReadAsk {
  /** Names the part among all of the process. */
  readonly key: string;
  readonly selection: Selection;
  readonly place: PartPlace;
  readonly bounds: Required<Pick<ScanBounds, 'entries' | 'bytes'>>;
  /** What else can be done with a record before it is asked for. */
  readonly prepare: (record: LogRecord) => void;
}

interface Begun {
  readonly ask: ReadAsk;
  readonly scanned: Promise<Scanned>;
  /** Calls off that it is forgotten. */
  readonly keep: () => void;
}

/** Parts read ahead at once; each keeps as much as one answer holds. */
const PARTS = 16;
/** Whoever has not come back by then may be gone. */
const FORGET_MS = 10_000;
/** About a millisecond. */
const PREPARED_IN_A_ROW = 256;

export class ReadAhead {
  readonly #pages: LogPages;
  readonly #begun = new Map<string, Begun>();

  constructor(pages: LogPages) {
    this.#pages = pages;
  }

  /** Throws CURSOR_PRUNED. */
  async read(ask: ReadAsk): Promise<Scanned> {
    const begun = this.#take(ask.key);
    const fits = begun !== undefined && isSame(begun.ask, ask);
    const scanned = await (fits ? begun.scanned : this.#scan(ask));
    if (!scanned.ended) this.#begin({ ...ask, place: { ...ask.place, position: scanned.upTo } });
    // What ended before may have gone on since.
    else if (fits && scanned.records.length === 0) return await this.#scan(ask);
    return scanned;
  }

  #begin(ask: ReadAsk): void {
    const scanned = this.#prepared(ask);
    scanned.catch(() => this.#take(ask.key));
    this.#take(ask.key);
    this.#begun.set(ask.key, { ask, scanned, keep: after(FORGET_MS, () => this.#take(ask.key)) });
    const [oldest] = this.#begun.keys();
    if (this.#begun.size > PARTS && oldest !== undefined) this.#take(oldest);
  }

  #take(key: string): Begun | undefined {
    const begun = this.#begun.get(key);
    begun?.keep();
    this.#begun.delete(key);
    return begun;
  }

  async #prepared(ask: ReadAsk): Promise<Scanned> {
    const scanned = await this.#scan(ask);
    for (const [i, record] of scanned.records.entries()) {
      if (i % PREPARED_IN_A_ROW === 0) await turn();
      ask.prepare(record);
    }
    return scanned;
  }

  #scan({ selection, place, bounds }: ReadAsk): Promise<Scanned> {
    return scanPart(this.#pages, selection, place, bounds);
  }
}

/** A selection is made anew with every version of its consumer. */
function isSame(a: ReadAsk, b: ReadAsk): boolean {
  return (
    a.selection === b.selection &&
    a.place.position === b.place.position &&
    a.place.part === b.place.part &&
    a.bounds.entries === b.bounds.entries &&
    a.bounds.bytes === b.bounds.bytes
  );
}
