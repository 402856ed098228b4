/**
 * Pages of the log that all consumers of this process share: whoever comes first reads a page, or the details of its
 * records, and the others that come by meanwhile or soon after find them.
 *
 * Pages have fixed places, so that readers at different positions meet in the same ones. The last page of the log grows: it
 * is read on from where it ends. What is kept is bounded, and forgotten by least use.
 */
import type { WakeSignal } from '../runtime/wake-signal.js';
import { prunedAt } from './floors.js';
import type { LogRecord } from './record.js';
import type { RingBounds } from './ring.js';
import type { LogSource } from './source.js';

const BOUNDS: RingBounds = { entries: 32_768, bytes: 32 * 1024 * 1024 };

interface Block {
  readonly index: bigint;
  /** Without gaps. The first stands behind the block's beginning only if the log is gone up to there. */
  readonly records: LogRecord[];
  bytes: number;
  /** Never rejects. */
  reading: Promise<unknown>;
  /** The read that begins when the one under way is back: who asks meanwhile shares it, and gets no older answer. */
  next: Promise<void> | undefined;
  detailing: Promise<unknown>;
}

export class LogPages {
  readonly #source: LogSource;
  readonly #bounds: RingBounds;
  readonly #size: bigint;
  /** In the order of use. */
  readonly #blocks = new Map<bigint, Block>();
  /** Records whose detail was asked for; one that stays without it has none, or has lost it to retention. */
  readonly #asked = new WeakSet<LogRecord>();
  readonly #waiting = new Set<WakeSignal>();
  #head = 0n;
  #floor = 0n;

  constructor(source: LogSource, bounds: RingBounds = BOUNDS) {
    this.#source = source;
    this.#bounds = bounds;
    this.#size = BigInt(source.pageEntries);
  }

  /** The highest position that this process knows of. */
  get head(): bigint {
    return this.#head;
  }

  /** The log has positions up to here. */
  reached(head: bigint): void {
    if (head <= this.#head) return;
    this.#head = head;
    for (const signal of this.#waiting) signal.wake();
  }

  /** The signal is woken whenever the head rises, until the returned function is called. */
  join(signal: WakeSignal): () => void {
    this.#waiting.add(signal);
    return () => this.#waiting.delete(signal);
  }

  /**
   * The records right behind a position, up to the end of their page; none at the end of the log. Throws CURSOR_PRUNED
   * (metadata `position`: up to where the log is gone) when what follows the position is no longer there.
   */
  async after(position: bigint): Promise<readonly LogRecord[]> {
    const block = this.#block(position / this.#size);
    if (position >= this.#floor && behind(block, position).length === 0) await this.#more(block);
    if (position < this.#floor) throw prunedAt(this.#floor);
    return behind(block, position);
  }

  /** Fills in the details of records that one call of `after` answered; what was asked before is not asked again. */
  async detail(records: readonly LogRecord[]): Promise<void> {
    const lacking = () => records.filter((record) => !record.detailed && !this.#asked.has(record));
    const [first] = lacking();
    if (!first) return;
    const block = this.#block((first.entry.position - 1n) / this.#size);
    const detailing = block.detailing.then(async () => {
      const wanted = lacking();
      const before = weight(wanted);
      await this.#source.detail(wanted);
      for (const record of wanted) if (!record.detailed) this.#asked.add(record);
      block.bytes += weight(wanted) - before;
    });
    block.detailing = detailing.catch(() => undefined);
    await detailing;
    this.#forget();
  }

  #more(block: Block): Promise<void> {
    block.next ??= block.reading.then(() => {
      block.next = undefined;
      return this.#extend(block);
    });
    block.reading = block.next.catch(() => undefined);
    return block.next;
  }

  async #extend(block: Block): Promise<void> {
    const last = block.records.at(-1)?.entry.position;
    const start = block.index * this.#size;
    const from = (last ?? max(start, this.#floor)) + 1n;
    const page: readonly LogRecord[] = (await this.#source.page(from)) ?? [];
    const [first] = page;
    if (first?.entry.position !== from) {
      // The end of the log, unless it is known to go on, or nothing is known.
      if (first === undefined && this.#head > 0n && from > this.#head) return;
      const { floor, head } = await this.#source.head();
      this.#floor = floor;
      this.reached(head);
      if (from > floor) return;
      // What was kept ends where the log is gone by now: nothing could ever follow it.
      block.records.length = 0;
      block.bytes = 0;
      await this.#extend(block);
      return;
    }
    // The last transaction of a page comes whole, so a page may reach into the next places.
    let left = page;
    for (let into = block; left.length > 0; into = this.#block(into.index + 1n)) {
      const room = Number((into.index + 1n) * this.#size + 1n - (left[0]?.entry.position ?? 0n));
      put(into, left.slice(0, room));
      left = left.slice(room);
    }
    this.reached(page.at(-1)?.entry.position ?? 0n);
    this.#forget();
  }

  #block(index: bigint): Block {
    const done = Promise.resolve();
    const fresh = { index, records: [], bytes: 0, reading: done, next: undefined, detailing: done };
    const block = this.#blocks.get(index) ?? fresh;
    this.#blocks.delete(index);
    this.#blocks.set(index, block);
    return block;
  }

  #forget(): void {
    let entries = 0;
    let bytes = 0;
    for (const block of [...this.#blocks.values()].reverse()) {
      entries += block.records.length;
      bytes += block.bytes;
      if (entries > this.#bounds.entries || bytes > this.#bounds.bytes) this.#blocks.delete(block.index);
    }
  }
}

/** Positions in a block have no gaps. */
function behind({ records }: Block, position: bigint): readonly LogRecord[] {
  const [first] = records;
  if (!first) return [];
  return records.slice(Math.max(0, Number(position - first.entry.position) + 1));
}

/** Consecutive records of its place, as far as they go on where the block ends. */
function put(block: Block, records: readonly LogRecord[]): void {
  const last = block.records.at(-1)?.entry.position;
  const first = records[0]?.entry.position ?? 0n;
  const added = last === undefined ? records : records.slice(Math.max(0, Number(last + 1n - first)));
  if (last !== undefined && first > last + 1n) return;
  block.records.push(...added);
  block.bytes += weight(added);
}

function weight(records: readonly LogRecord[]): number {
  return records.reduce((sum, record) => sum + record.bytes, 0);
}

function max(a: bigint, b: bigint): bigint {
  return a > b ? a : b;
}
