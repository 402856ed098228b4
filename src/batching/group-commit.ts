/**
 * Group commit: single calls that arrive together become one statement and one fsync.
 *
 * Up to `maxInFlight` batches run at once, so that one fsync overlaps the next; what arrives meanwhile forms the next
 * batch, so batches grow with the load and a lone call waits for nobody. Items that share a key (an execution, a request
 * id) never share a batch: the later one goes into the next and is answered from what the earlier one left.
 *
 * A batch whose content Postgres refuses is halved until the culprit is alone, so nobody else pays for it. An item that
 * is only locked by somebody is tried again, still before the later ones of its keys. A lost connection is not repeated here: the batch may have been
 * committed, so every caller is told, and repeats under its own idempotency.
 */
import { EngineError } from '../domain/errors.js';
import { monotonicMs, pause } from '../runtime/clock.js';
import { Histogram } from '../runtime/histogram.js';

export interface GroupCommitOptions<Item, Answer> {
  readonly name: string;
  /** Default 500. */
  readonly maxItems?: number;
  /** Bytes of content in one batch. Default 16 MiB. */
  readonly maxBytes?: number;
  /** Default 2. */
  readonly maxInFlight?: number;
  /** Least time between the starts of two batches, in milliseconds, which bounds the commits; a lone call waits for nobody. Default 0. */
  readonly gapMs?: number;
  /** How long a batch runs before another one starts beside it, in milliseconds: the next one grows meanwhile instead. Default 0. */
  readonly overlapMs?: number;
  /** Items waiting at most; beyond it callers get OVERLOADED. Default 50,000. */
  readonly maxQueued?: number;
  /** The same for the bytes of their contents. Default 256 MiB. */
  readonly maxQueuedBytes?: number;
  /** What it must not share a batch with; may be empty. */
  readonly keysOf: (item: Item) => readonly string[];
  readonly bytesOf: (item: Item) => number;
  /** Items of one line are decided in the order in which they came: they may share a batch, of two only one runs at once. */
  readonly lineOf?: (item: Item) => string | undefined;
  /** One transaction; answers in the order of the items. */
  readonly run: (items: readonly Item[]) => Promise<readonly Answer[]>;
  /** The row was locked by somebody: try the item again. */
  readonly isBusy?: (answer: Answer) => boolean;
}

/** How long a locked item is tried again before its caller is told. */
const BUSY_MS = 5_000;
const BUSY_PAUSE_MS = 2;

const BATCH_SIZES = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000];

/** What is told of a group's batches. */
export interface GroupMeter {
  readonly name: string;
  /** Items of the batches so far. */
  readonly batches: Histogram;
  /** Items that are in no batch yet. */
  readonly waiting: number;
}

/** What was submitted together, and is answered when all of it is decided. */
class Call<Answer> {
  readonly #answers: Answer[];
  readonly #answer: (answers: Answer[]) => void;
  readonly #refuse: (error: unknown) => void;
  #open: number;
  #failed: { readonly index: number; readonly error: unknown } | undefined;

  constructor(items: number, answer: (answers: Answer[]) => void, refuse: (error: unknown) => void) {
    this.#answers = new Array<Answer>(items);
    this.#open = items;
    this.#answer = answer;
    this.#refuse = refuse;
  }

  resolve(index: number, answer: Answer): void {
    this.#answers[index] = answer;
    this.#decided();
  }

  /** Of several that fail, the first in the order of the items is told. */
  reject(index: number, error: unknown): void {
    if (this.#failed === undefined || index < this.#failed.index) this.#failed = { index, error };
    this.#decided();
  }

  #decided(): void {
    if (--this.#open > 0) return;
    if (this.#failed) this.#refuse(this.#failed.error);
    else this.#answer(this.#answers);
  }
}

interface Entry<Item, Answer> {
  readonly item: Item;
  readonly call: Call<Answer>;
  /** Of the item in its call. */
  readonly index: number;
  readonly keys: readonly string[];
  readonly line: string | undefined;
  /** As they came. */
  readonly place: number;
  readonly bytes: number;
  readonly until: number;
}

export class GroupCommit<Item, Answer> implements GroupMeter {
  readonly batches = new Histogram(BATCH_SIZES);
  readonly #options: Required<Omit<GroupCommitOptions<Item, Answer>, 'isBusy' | 'lineOf'>> & {
    readonly isBusy: (answer: Answer) => boolean;
    readonly lineOf: (item: Item) => string | undefined;
  };
  #queue: Entry<Item, Answer>[] = [];
  #queuedBytes = 0;
  /** Keys of what was taken and is not decided: their successors wait, or they would wait inside Postgres. */
  readonly #running = new Set<string>();
  /** Lines of the batches that run, and of items that are to be tried again: by how many each is held up. */
  readonly #lines = new Map<string, number>();
  #places = 0;
  #inFlight = 0;
  #scheduled = false;
  #startedMs = Number.NEGATIVE_INFINITY;
  #overlapAwaited = false;

  constructor(options: GroupCommitOptions<Item, Answer>) {
    this.#options = {
      maxItems: 500,
      maxBytes: 16 * 1024 * 1024,
      maxInFlight: 2,
      gapMs: 0,
      overlapMs: 0,
      maxQueued: 50_000,
      maxQueuedBytes: 256 * 1024 * 1024,
      isBusy: () => false,
      lineOf: () => undefined,
      ...options,
    };
  }

  get name(): string {
    return this.#options.name;
  }

  get waiting(): number {
    return this.#queue.length;
  }

  /** Answers in the order of the items, once all are decided. Rejects with the first error if any could not be. */
  async submit(items: readonly Item[]): Promise<Answer[]> {
    const { maxQueued, maxQueuedBytes } = this.#options;
    if (this.#queue.length + items.length > maxQueued || this.#queuedBytes > maxQueuedBytes) {
      throw new EngineError('OVERLOADED', `too many calls of ${this.#options.name} are waiting; repeat later`, {
        metadata: { why: 'requests' },
        retryDelayMs: 500,
      });
    }
    if (items.length === 0) return [];
    return await new Promise((resolve, reject) => {
      const { keysOf, bytesOf, lineOf } = this.#options;
      const call = new Call(items.length, resolve, reject);
      const until = monotonicMs() + BUSY_MS;
      for (const [index, item] of items.entries()) {
        const bytes = bytesOf(item);
        const place = this.#places++;
        this.#queue.push({ item, call, index, keys: keysOf(item), line: lineOf(item), place, bytes, until });
        this.#queuedBytes += bytes;
      }
      this.#schedule();
    });
  }

  /** The next turn of the event loop, so that calls read from the sockets in this turn come along. */
  #schedule(): void {
    if (this.#scheduled || this.#inFlight >= this.#options.maxInFlight || this.#queue.length === 0) return;
    if (this.#inFlight > 0 && !this.#mayOverlap()) return;
    this.#scheduled = true;
    const start = () => {
      this.#scheduled = false;
      const batch = this.#next();
      if (batch.length === 0) return;
      this.#startedMs = monotonicMs();
      this.batches.observe(batch.length);
      this.#inFlight++;
      const lines = new Set(batch.flatMap(({ line }) => line ?? []));
      for (const { keys } of batch) for (const key of keys) this.#running.add(key);
      for (const line of lines) this.#holdUp(line);
      void this.#decide(batch).then(() => {
        for (const line of lines) this.#letGo(line);
        this.#inFlight--;
        this.#schedule();
      });
      this.#schedule();
    };
    const gapMs = this.#startedMs + this.#options.gapMs - monotonicMs();
    if (gapMs > 0) void pause(gapMs).then(start);
    else setImmediate(start);
  }

  /** Whether the last batch has run for long enough. If not, this is asked again then; if it ends before, there is no need. */
  #mayOverlap(): boolean {
    const leftMs = this.#startedMs + this.#options.overlapMs - monotonicMs();
    if (leftMs <= 0) return true;
    if (!this.#overlapAwaited) {
      this.#overlapAwaited = true;
      void pause(leftMs).then(() => {
        this.#overlapAwaited = false;
        this.#schedule();
      });
    }
    return false;
  }

  #next(): Entry<Item, Answer>[] {
    const { maxItems, maxBytes } = this.#options;
    const batch: Entry<Item, Answer>[] = [];
    const left: Entry<Item, Answer>[] = [];
    const keys = new Set<string>();
    const passed = new Set<string>();
    let bytes = 0;
    let looked = 0;
    for (const entry of this.#queue) {
      if (batch.length >= maxItems || (batch.length > 0 && bytes + entry.bytes > maxBytes)) break;
      looked++;
      // What waits keeps its place: a later item of the same key must not overtake it.
      const { line } = entry;
      const behind = line !== undefined && (passed.has(line) || this.#lines.has(line));
      const taken = behind || entry.keys.some((key) => keys.has(key) || this.#running.has(key));
      for (const key of entry.keys) keys.add(key);
      if (taken) {
        if (line !== undefined) passed.add(line);
        left.push(entry);
        continue;
      }
      batch.push(entry);
      bytes += entry.bytes;
    }
    this.#queue = left.concat(this.#queue.slice(looked));
    this.#queuedBytes -= bytes;
    return batch;
  }

  /** Never rejects: every entry gets its own answer. */
  async #decide(batch: readonly Entry<Item, Answer>[]): Promise<void> {
    try {
      const answers = await this.#options.run(batch.map(({ item }) => item));
      batch.forEach((entry, i) => {
        const answer = answers[i];
        if (answer !== undefined && this.#options.isBusy(answer)) {
          this.#again(entry);
          return;
        }
        this.#free(entry);
        if (answer !== undefined) entry.call.resolve(entry.index, answer);
        else entry.call.reject(entry.index, new Error(`${this.#options.name} left an item without an answer`));
      });
    } catch (error) {
      if (batch.length > 1 && isDataError(error)) {
        const half = Math.ceil(batch.length / 2);
        await this.#decide(batch.slice(0, half));
        await this.#decide(batch.slice(half));
        return;
      }
      for (const entry of batch) {
        this.#free(entry);
        entry.call.reject(entry.index, error);
      }
    }
  }

  #free({ keys }: Entry<Item, Answer>): void {
    for (const key of keys) this.#running.delete(key);
  }

  #holdUp(line: string): void {
    this.#lines.set(line, (this.#lines.get(line) ?? 0) + 1);
  }

  #letGo(line: string): void {
    const left = (this.#lines.get(line) ?? 1) - 1;
    if (left > 0) this.#lines.set(line, left);
    else this.#lines.delete(line);
  }

  /** It keeps its keys and holds up its line while it pauses, and keeps its place before those that came later. */
  #again(entry: Entry<Item, Answer>): void {
    if (monotonicMs() > entry.until) {
      this.#free(entry);
      const error = new EngineError('CONTENTION', 'the execution is locked by another transaction; repeat the call', {
        retryDelayMs: 100,
      });
      entry.call.reject(entry.index, error);
      return;
    }
    const { line, place } = entry;
    if (line !== undefined) this.#holdUp(line);
    void pause(BUSY_PAUSE_MS).then(() => {
      this.#free(entry);
      if (line !== undefined) this.#letGo(line);
      const behind = this.#queue.findIndex((other) => other.place > place);
      this.#queue.splice(behind < 0 ? this.#queue.length : behind, 0, entry);
      this.#queuedBytes += entry.bytes;
      this.#schedule();
    });
  }
}

/** Classes 22 (data) and 23 (integrity): one item's content is at fault, not the moment. */
export function isDataError(error: unknown): boolean {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === 'string' && /^2[23]/.test(code);
}
