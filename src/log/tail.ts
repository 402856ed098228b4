/**
 * The process's one reader of the log's end. It reads each entry once, however many listen, and not at all while nobody
 * does.
 *
 * It reads when woken: after the own sequencer's steps, by other processes, by the pulse. A wake-up that is lost costs
 * latency only, since every read goes on from the last position. When a read fails all listeners are told and the tail
 * stands still until somebody listens again. So it is when retention has taken what comes next, which needs a process that
 * was stopped for longer than the log is kept.
 */

import { prunedAt } from './floors.js';
import type { LogRecord } from './record.js';
import { Ring, type RingBounds } from './ring.js';
import type { LogSource, Page } from './source.js';

export interface TailListener {
  /** Whether the record's detail is needed before take() is called with it. */
  wants(record: LogRecord): boolean;
  /** The next page. May begin before what the listener has seen, and never leaves a gap. Must not throw. */
  take(page: Page): void;
  /** Nothing will come any more; the listener is already removed. */
  fail(error: unknown): void;
}

const RING: RingBounds = { entries: 8_192, bytes: 16 * 1024 * 1024 };

export class Tail {
  readonly #source: LogSource;
  readonly #ring: Ring;
  readonly #listeners = new Set<TailListener>();
  /** Records whose detail was asked for; one that stays without it has lost its execution to retention. */
  readonly #asked = new WeakSet<LogRecord>();
  /** Up to here everything was handed to the listeners; undefined while there are none. */
  #position: bigint | undefined;
  /** The highest position that somebody said exists. */
  #head = 0n;
  /** Somebody said that there may be more. */
  #hinted = false;
  #reading = false;
  /** Raised when the tail is given up, so that a read under way knows that its page is nobody's. */
  #epoch = 0;

  constructor(source: LogSource, ring: RingBounds = RING) {
    this.#source = source;
    this.#ring = new Ring(ring);
  }

  get position(): bigint | undefined {
    return this.#position;
  }

  get listeners(): number {
    return this.#listeners.size;
  }

  /**
   * From now on `listener` gets everything after `seen`. Only for one that has seen at least as much as the tail
   * (whoever is behind reads on by itself first); the first one decides where the tail begins.
   */
  join(listener: TailListener, seen: bigint): void {
    if (this.#position !== undefined && seen < this.#position) throw new Error('a listener joined behind the tail');
    this.#listeners.add(listener);
    if (this.#position === undefined) {
      this.#position = seen;
      this.wake();
    } else {
      this.wake(seen);
    }
  }

  leave(listener: TailListener): void {
    if (this.#listeners.delete(listener) && this.#listeners.size === 0) this.#abandon();
  }

  /** There may be something new; `head`, where known, saves the read that finds nothing. */
  wake(head?: bigint): void {
    if (head === undefined) this.#hinted = true;
    else if (head > this.#head) this.#head = head;
    if (!this.#reading && this.#behind()) void this.#read();
  }

  /** A page that holds the position, if it was read lately. */
  recent(position: bigint): Page | undefined {
    return this.#ring.find(position);
  }

  /** Tells every listener the error and stops. */
  fail(error: unknown): void {
    const listeners = [...this.#listeners];
    this.#listeners.clear();
    this.#abandon();
    for (const listener of listeners) listener.fail(error);
  }

  #behind(): boolean {
    return this.#position !== undefined && (this.#hinted || this.#head > this.#position);
  }

  #abandon(): void {
    this.#position = undefined;
    this.#epoch++;
    this.#ring.clear();
  }

  /** Never rejects. Checking for more and ceasing to read are one synchronous step: no wake-up falls between them. */
  async #read(): Promise<void> {
    this.#reading = true;
    while (this.#position !== undefined && this.#behind()) {
      const epoch = this.#epoch;
      const head = this.#head;
      this.#hinted = false;
      try {
        const from = this.#position + 1n;
        const page = await this.#source.page(from);
        if (page ? page[0].entry.position > from : head >= from) await this.#refuseGap(from);
        if (page) await this.#deliver(page, epoch);
        else if (head === this.#head) this.#head = 0n;
      } catch (error) {
        if (epoch === this.#epoch) this.fail(error);
      }
    }
    this.#reading = false;
  }

  async #refuseGap(from: bigint): Promise<void> {
    const { floor } = await this.#source.head();
    if (floor >= from) throw prunedAt(floor);
  }

  async #deliver(page: Page, epoch: number): Promise<void> {
    // Listeners that join while details are read may want more of them.
    for (let wanted = this.#wanted(page); wanted.length > 0; wanted = this.#wanted(page)) {
      await this.#source.detail(wanted);
      for (const record of wanted) this.#asked.add(record);
    }
    if (epoch !== this.#epoch) return;
    this.#position = page.at(-1)?.entry.position;
    if (page.length >= this.#source.pageEntries) this.#hinted = true;
    this.#ring.push(page);
    for (const listener of [...this.#listeners]) listener.take(page);
  }

  #wanted(page: Page): LogRecord[] {
    const listeners = [...this.#listeners];
    return page.filter(
      (record) => !record.detailed && !this.#asked.has(record) && listeners.some((listener) => listener.wants(record)),
    );
  }
}
