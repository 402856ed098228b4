/**
 * The log as the services see it: watches, waits, and the cursors between them. One per process.
 *
 * It sends nothing by itself. `wake` and `pulse` tell it that there may be more; with nobody watching or waiting they
 * cost nothing.
 */
import { type CursorScope, resolveCursor } from '../domain/cursor.js';
import { EngineError } from '../domain/errors.js';
import { isTerminal } from '../domain/states.js';
import type { FlowStanding, LogHead } from '../repository/log/index.js';
import type { QueueBounds } from '../runtime/bounded-queue.js';
import { DistantClock } from '../runtime/distant-clock.js';
import { type EndsWanted, EndWaiters } from './ends.js';
import type { RecordFilter } from './filter.js';
import { LogFloors } from './floors.js';
import { type AwaitedFlow, FlowWaiters, type FlowWanted } from './flow-waits.js';
import { Places } from './places.js';
import type { KnownExecution, LogSource } from './source.js';
import { Tail } from './tail.js';
import { Watcher, type WatchMessage } from './watcher.js';

export interface LiveLogOptions {
  /** Watches at the same time; one more is refused with TOO_MANY_STREAMS. Default 1,000. */
  readonly maxWatchers?: number;
  /** What a watcher may lag behind in memory. Default 1,024 entries or 4 MiB. */
  readonly buffer?: QueueBounds;
  /** What one message holds at most. Default 256 entries or 1 MiB. */
  readonly message?: QueueBounds;
  /** Default 15,000 ms. */
  readonly heartbeatMs?: number;
  /** How long a watcher with a full buffer may take to catch up before it is cut. Default 5,000 ms. */
  readonly graceMs?: number;
}

export interface AwaitedExecution extends KnownExecution {
  readonly state: number;
}

export type WatchStart = 'earliest' | 'latest' | { readonly cursor: string };

export interface WatchWanted {
  readonly namespace: number;
  readonly start: WatchStart;
  readonly filter: RecordFilter;
}

const UNKNOWN = 0;

const DEFAULTS: Required<LiveLogOptions> = {
  maxWatchers: 1_000,
  buffer: { items: 1_024, bytes: 4 * 1024 * 1024 },
  message: { items: 256, bytes: 1024 * 1024 },
  heartbeatMs: 15_000,
  graceMs: 5_000,
};

export class LiveLog {
  /** Up to where the log is gone. */
  readonly floors: LogFloors;
  readonly #source: LogSource;
  readonly #tail: Tail;
  readonly #ends: EndWaiters;
  readonly #flows: FlowWaiters;
  readonly #places: Places;
  #incarnation: string | undefined;
  readonly #options: Required<LiveLogOptions>;
  readonly #watchers = new Set<Watcher>();
  readonly #clock = new DistantClock();
  #cut = 0;
  #closed = false;

  constructor(source: LogSource, options: LiveLogOptions = {}) {
    this.#source = source;
    this.floors = new LogFloors(() => source.floors());
    this.#tail = new Tail(source);
    this.#ends = new EndWaiters(source, this.#tail);
    this.#flows = new FlowWaiters(source, this.#tail);
    this.#places = new Places(source);
    this.#options = { ...DEFAULTS, ...options };
  }

  /** Watches open now. */
  get watching(): number {
    return this.#watchers.size;
  }

  /** Watches that are not at the end of the log yet, or have fallen behind it. */
  get behind(): number {
    return [...this.#watchers].filter(({ behind }) => behind).length;
  }

  /** Watches cut so far because they did not keep up. */
  get cut(): number {
    return this.#cut;
  }

  /**
   * The first message is empty and names the start; it comes once everything committed from then on is sure to be
   * delivered. Ends when the signal aborts. Throws BAD_CURSOR, CURSOR_PRUNED, TOO_MANY_STREAMS before the first message,
   * STREAM_TOO_SLOW, DATABASE_UNAVAILABLE, DRAINING at any time.
   */
  async *watch(wanted: WatchWanted, signal: AbortSignal): AsyncGenerator<WatchMessage, void> {
    this.#refuseWhenClosed();
    const { maxWatchers, ...options } = this.#options;
    if (this.#watchers.size >= maxWatchers) {
      throw new EngineError('TOO_MANY_STREAMS', `this server already serves ${maxWatchers} watches`, {
        metadata: { limit: String(maxWatchers) },
      });
    }
    const scope = { namespace: wanted.namespace, ...(await this.#head(wanted.namespace)) };
    const start = startOf(wanted.start, scope);
    this.#refuseWhenClosed();
    const { filter } = wanted;
    const watcher = new Watcher({
      ...options,
      source: this.#source,
      floors: this.floors,
      tail: this.#tail,
      filter,
      scope,
      start,
      onCut: () => this.#cut++,
    });
    this.#watchers.add(watcher);
    try {
      yield* watcher.messages(signal);
    } finally {
      this.#watchers.delete(watcher);
    }
  }

  /**
   * Waits for ends, and tells where the others stand then. Ids that do not exist are missing in the answer, which comes
   * at once then.
   */
  async awaitEnds(wanted: EndsWanted, signal: AbortSignal): Promise<ReadonlyMap<string, AwaitedExecution>> {
    this.#refuseWhenClosed();
    const known = new Map(await this.#ends.wait(wanted, signal));
    const live = [...known.values()].filter(({ outcome }) => !outcome).map(({ id }) => id);
    const states = live.length > 0 ? await this.#source.states(live) : new Map<string, number>();
    // Some of them may have ended since they were read.
    const ended = live.filter((id) => isTerminal(states.get(id) ?? UNKNOWN));
    if (ended.length > 0) for (const [id, detail] of await this.#source.executions(ended)) known.set(id, detail);
    return new Map(
      [...known].map(([id, detail]) => [id, { ...detail, state: detail.outcome?.state ?? states.get(id) ?? UNKNOWN }]),
    );
  }

  /** Waits until a flow is settled or has ended, and tells how it stands then. Throws FLOW_NOT_FOUND. */
  async awaitFlow(wanted: FlowWanted, signal: AbortSignal): Promise<AwaitedFlow> {
    this.#refuseWhenClosed();
    return await this.#flows.wait(wanted, signal);
  }

  /** Where a flow stands, and the log with it, in one snapshot. Throws FLOW_NOT_FOUND. */
  async flow(namespace: number, flow: string): Promise<FlowStanding> {
    return await this.#flows.read({ namespace, flow });
  }

  /** Waits for the positions of rows of the log that this process has just committed, or that are older. */
  async places(seqs: Iterable<bigint>): Promise<ReadonlyMap<bigint, bigint>> {
    return await this.#places.of(seqs);
  }

  /** Which log it is, for cursors. */
  async incarnation(): Promise<string> {
    this.#incarnation ??= (await this.#source.head()).incarnation;
    return this.#incarnation;
  }

  /** The database's time, about. */
  now(): Date {
    return this.#clock.now();
  }

  /** There may be something new; with the head, where it is known. Cheap: any commit, step or NOTIFY may call it. */
  wake(head?: bigint): void {
    this.#tail.wake(head);
    this.#places.wake();
  }

  /** The database cannot be reached: whoever watches or waits is told so, and comes back with a cursor. */
  fail(error: unknown): void {
    this.#tail.fail(error);
    for (const watcher of this.#watchers) watcher.end(error);
  }

  /** The process goes away: watches and waits end with DRAINING, new ones are refused with it. */
  close(): void {
    this.#closed = true;
    this.fail(draining());
  }

  async #head(namespace: number): Promise<LogHead> {
    const head = await this.#source.head(namespace);
    this.#clock.observe(head.now);
    return head;
  }

  #refuseWhenClosed(): void {
    if (this.#closed) throw draining();
  }
}

function draining(): EngineError {
  return new EngineError('DRAINING', 'this server is going away; go on at another one', { retryDelayMs: 0 });
}

function startOf(start: WatchStart, scope: CursorScope): bigint {
  if (start === 'latest') return scope.head;
  return start === 'earliest' ? scope.floor : resolveCursor(start.cursor, scope);
}
