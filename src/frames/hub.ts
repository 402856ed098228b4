/**
 * All tails of this process. One loop reads for all of them: what was hinted since its last run becomes one statement, and
 * who stands at the same place of a stream shares what was read.
 *
 * An append in this process names its stream. Other commits, other processes and the pulse only say that there may be
 * something anywhere; then every stream is looked at, which takes at most a fifth of the time. A hint that is lost costs
 * latency, up to the next pulse.
 */
import { EngineError } from '../domain/errors.js';
import type { StreamWanted } from '../repository/frames/index.js';
import type { QueueBounds } from '../runtime/bounded-queue.js';
import { monotonicMs } from '../runtime/clock.js';
import { DistantClock } from '../runtime/distant-clock.js';
import { Loop } from '../runtime/loop.js';
import { type FrameMessage, FrameReader } from './reader.js';
import type { FrameSource } from './source.js';

export interface FrameHubOptions {
  /** Tails at the same time; one more is refused with TOO_MANY_STREAMS. Default 1,000. */
  readonly maxReaders?: number;
  /** What a reader may lag behind in memory. Default 1,024 frames or 4 MiB. */
  readonly buffer?: QueueBounds;
  /** What one message holds at most. Default 256 frames or 1 MiB. */
  readonly message?: QueueBounds;
  /** Default 15,000 ms. */
  readonly heartbeatMs?: number;
  /** How long a reader with a full buffer may take nothing before it is cut. Default 5,000 ms. */
  readonly graceMs?: number;
  /** Least time between two reads. Longer: fewer statements, more latency. Default 10 ms. */
  readonly gapMs?: number;
  readonly onError?: (name: string, error: unknown) => void;
}

const DEFAULTS = {
  maxReaders: 1_000,
  buffer: { items: 1_024, bytes: 4 * 1024 * 1024 },
  message: { items: 256, bytes: 1024 * 1024 },
  heartbeatMs: 15_000,
  graceMs: 5_000,
  gapMs: 10,
  onError: () => undefined,
};

/** Of one stream in one read; and streams in one statement, so that its answer stays within some tens of megabytes. */
const PAGE = { frames: 1_024, bytes: 1024 * 1024 };
const STREAMS = 64;
/** Least time between two looks at everything, and how many times what a look took. */
const LOOK_MS = 20;
const LOOK_SHARE = 5;

export class FrameHub {
  readonly #source: FrameSource;
  readonly #options: Required<FrameHubOptions>;
  /** By execution. */
  readonly #readers = new Map<string, Set<FrameReader>>();
  readonly #loop: Loop;
  readonly #clock = new DistantClock();
  #reading = 0;
  #cut = 0;
  #look = false;
  #lookAt = 0;
  #closed = false;

  constructor(source: FrameSource, options: FrameHubOptions = {}) {
    this.#source = source;
    this.#options = { ...DEFAULTS, ...options };
    const { gapMs, onError } = this.#options;
    this.#loop = new Loop({ name: 'frames', gapMs, jitter: 0, onError, body: () => this.#run() });
  }

  /** Tails open now. */
  get reading(): number {
    return this.#reading;
  }

  /** Tails cut so far because they did not keep up. */
  get cut(): number {
    return this.#cut;
  }

  /**
   * Ends after the message that closes, or when the signal aborts. Throws TOO_MANY_STREAMS before the first message,
   * STREAM_TOO_SLOW, DATABASE_UNAVAILABLE, DRAINING at any time.
   */
  async *tail(wanted: StreamWanted, signal: AbortSignal): AsyncGenerator<FrameMessage, void> {
    if (this.#closed) throw draining();
    const { maxReaders, ...options } = this.#options;
    if (this.#reading >= maxReaders) {
      throw new EngineError('TOO_MANY_STREAMS', `this server already serves ${maxReaders} tails`, {
        metadata: { limit: String(maxReaders) },
      });
    }
    const reader = new FrameReader({
      ...options,
      wanted,
      onRoom: () => this.#loop.wake(),
      onCut: () => this.#cut++,
    });
    this.#join(reader);
    try {
      yield* reader.messages(signal);
    } finally {
      this.#leave(reader);
    }
  }

  /** The database said that it is this late. */
  observe(now: Date): void {
    this.#clock.observe(now);
  }

  /** The database's time, about. */
  now(): Date {
    return this.#clock.now();
  }

  /** There may be something new of these executions; without any, of every one. Cheap where nobody tails them. */
  wake(executions?: Iterable<string>): void {
    if (this.#reading === 0) return;
    if (executions === undefined) {
      this.#look = true;
      this.#loop.wake();
      return;
    }
    for (const execution of executions) {
      const readers = this.#readers.get(execution);
      if (readers === undefined) continue;
      for (const reader of readers) reader.hint();
      this.#loop.wake();
    }
  }

  start(): void {
    this.#loop.start();
  }

  /** The database cannot be reached: whoever tails is told so, and comes back with a cursor. */
  fail(error: unknown): void {
    for (const reader of this.#all()) reader.end(error);
  }

  /** The process goes away: tails end with DRAINING, new ones are refused with it. */
  close(): void {
    this.#closed = true;
    this.fail(draining());
  }

  async stop(): Promise<void> {
    this.close();
    await this.#loop.stop();
  }

  #all(): FrameReader[] {
    return [...this.#readers.values()].flatMap((readers) => [...readers]);
  }

  #join(reader: FrameReader): void {
    const { execution } = reader.stream;
    const others = this.#readers.get(execution);
    if (others) others.add(reader);
    else this.#readers.set(execution, new Set([reader]));
    this.#reading++;
    this.#loop.wake();
  }

  #leave(reader: FrameReader): void {
    const { execution } = reader.stream;
    const readers = this.#readers.get(execution);
    readers?.delete(reader);
    if (readers?.size === 0) this.#readers.delete(execution);
    this.#reading--;
  }

  async #run(): Promise<number | undefined> {
    const begun = monotonicMs();
    const looks = this.#look && begun >= this.#lookAt;
    const readers = this.#all();
    if (looks) {
      this.#look = false;
      for (const reader of readers) reader.hint();
    }
    const groups = grouped(readers.filter(({ isWanting }) => isWanting));
    for (let i = 0; i < groups.length; i += STREAMS) await this.#read(groups.slice(i, i + STREAMS));
    const now = monotonicMs();
    if (looks) this.#lookAt = begun + Math.max(LOOK_MS, LOOK_SHARE * (now - begun));
    if (this.#all().some(({ isWanting }) => isWanting)) return 0;
    return this.#look ? Math.max(1, this.#lookAt - now) : undefined;
  }

  async #read(groups: readonly (readonly [FrameReader, ...FrameReader[]])[]): Promise<void> {
    for (const group of groups) for (const reader of group) reader.begin();
    try {
      const wanted = groups.map((group) => ({
        ...group[0].stream,
        place: group[0].place,
        modes: [...new Set(group.flatMap(({ modes }) => modes))],
      }));
      const pages = await this.#source.read(wanted, PAGE);
      groups.forEach((group, i) => {
        for (const reader of group) reader.take(pages[i]);
      });
    } catch (error) {
      for (const group of groups) for (const reader of group) reader.end(error);
    }
  }
}

/** Those that stand at the same place of a stream. */
function grouped(readers: readonly FrameReader[]): [FrameReader, ...FrameReader[]][] {
  const groups = new Map<string, [FrameReader, ...FrameReader[]]>();
  for (const reader of readers) {
    const { stream, place } = reader;
    const parts = [stream.execution, stream.attempt, place.position, place.durable, place.version, place.passing];
    const key = parts.join('/');
    const group = groups.get(key);
    if (group) group.push(reader);
    else groups.set(key, [reader]);
  }
  return [...groups.values()];
}

function draining(): EngineError {
  return new EngineError('DRAINING', 'this server is going away; go on at another one', { retryDelayMs: 0 });
}
