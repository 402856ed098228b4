/**
 * The claim: which lines a worker may take from, where each begins, and waiting when all are empty.
 */
import { LineBounds } from '../domain/line-bounds.js';
import {
  ANSWER_BYTES,
  type Claimed,
  claimExecutions,
  type Granted,
  type Holder,
  readHeads,
  readHorizon,
  type Segment,
} from '../repository/claims/index.js';
import type { Database } from '../repository/database.js';
import type { LineStretch } from '../repository/metrics/index.js';
import type { ClaimClass } from '../repository/registry/index.js';
import { monotonicMs } from '../runtime/clock.js';
import { Gate } from '../runtime/gate.js';
import { WakeSignal } from '../runtime/wake-signal.js';
import { AttemptMeters } from './attempt-meters.js';
import { EmptyLines } from './empty-lines.js';
import { NamedLanes } from './named-lanes.js';
import type { Registry } from './registry.js';
import { type Waiter, Waiters } from './waiters.js';

/** Claim statements in flight at once: more would only wait for the same few cores. */
const CONCURRENT_CLAIMS = 4;
/** Retries this soon mean that a quota was locked by another claim; also one that does not wait tries so long. */
const BUSY_MS = 5;
const BUSY_PATIENCE_MS = 100;

interface Drained {
  /** The highest sequence number claimed. */
  readonly upTo: bigint;
  /** Whether the heads were read since. */
  read: boolean;
}

export interface ClaimAsk {
  readonly namespace: number;
  /** Weight by lane name. */
  readonly lanes: ReadonlyMap<string, number>;
  /** Empty: every type. */
  readonly types: ReadonlySet<string>;
  readonly capabilities: ReadonlySet<string>;
  readonly limit: number;
  readonly waitMs: number;
  readonly holder: Holder;
}

export class Lines {
  /** What this process saw of attempts. */
  readonly attempts: AttemptMeters;
  readonly #database: Database;
  readonly #registry: Registry;
  readonly #bounds = new LineBounds();
  readonly #waiters = new Waiters();
  readonly #empty = new EmptyLines();
  readonly #gate = new Gate(CONCURRENT_CLAIMS);
  /** Claims under a quota come one by one: they would find its row locked by each other. */
  readonly #limited = new Gate(1);
  /** Classes claimed from whose bounds may still move because of it. */
  readonly #drained = new Map<number, Drained>();
  #closed = false;

  constructor(database: Database, registry: Registry, named = new NamedLanes(registry)) {
    this.#database = database;
    this.#registry = registry;
    this.attempts = new AttemptMeters(registry, named);
  }

  /**
   * Takes up to `limit` executions, waiting for the first when there are none. Empty when the wait ran out, the signal
   * aborted, or the process or the worker drains.
   */
  async claim(ask: ClaimAsk, signal: AbortSignal): Promise<Granted[]> {
    const begun = monotonicMs();
    const until = begun + ask.waitMs;
    const eligible = this.#eligibility(ask);
    const waiter: Waiter = { limit: ask.limit, accepts: (id) => eligible().ids.has(id), signal: new WakeSignal() };
    if (ask.waitMs > 0) this.#waiters.add(waiter);
    let looks = ask.waitMs <= 0 || !this.#empty.all(eligible().ids, monotonicMs());
    try {
      for (;;) {
        if (this.#closed || signal.aborted) return [];
        if (this.#registry.isDraining(ask.namespace, ask.holder.instance)) return [];
        waiter.signal.clear();
        const { granted, retryMs } = looks ? await this.#take(eligible().classes, ask, signal) : NOTHING;
        if (granted.length > 0) return [...granted];
        looks = true;
        const patience = retryMs !== undefined && retryMs <= BUSY_MS ? begun + BUSY_PATIENCE_MS : until;
        const left = Math.max(until, patience) - monotonicMs();
        if (left <= 0) return [];
        const woken = await waiter.signal.wait(Math.min(left, retryMs ?? left), signal);
        if (!woken && (retryMs === undefined || retryMs >= left)) return [];
      }
    } finally {
      this.#waiters.remove(waiter);
    }
  }

  /** So many executions of this class became claimable. */
  wake(classId: number, count: number): void {
    this.#empty.filled(classId, monotonicMs());
    this.#waiters.wake(classId, count);
  }

  /**
   * There is work of this class. Where a limit may be all that keeps it there, one looks, and the next when he got all he asked
   * for: a full lane would have everybody look at every pulse.
   */
  hasWork(classId: number): void {
    const line = this.#registry.claimClass(classId);
    this.wake(classId, line && this.#registry.isLimited(line.lane) ? 1 : Number.POSITIVE_INFINITY);
  }

  /** A lease of this class (undefined: of some class) has ended: whoever waits for work of a limited lane may find room. */
  freed(classId?: number): void {
    const concerned = classId === undefined ? this.#registry.limitedClasses() : this.#registry.sharingLimit(classId);
    for (const id of concerned) this.wake(id, 1);
  }

  /** Lets waiting claims look again: lanes or classes have changed. */
  wakeAll(): void {
    this.mayHaveWork();
    this.#waiters.wakeAll();
  }

  /** Another process has committed something: nothing counts as empty until somebody has looked. */
  mayHaveWork(): void {
    this.#empty.filledAny(monotonicMs());
  }

  /** A pulse that began then looked into these lines, and there was nothing. */
  sawEmpty(classIds: Iterable<number>, begunMs: number): void {
    this.#empty.saw(classIds, begunMs);
  }

  /** Where there may be work, of lines that claims of this process have found to begin somewhere. */
  stretches(): LineStretch[] {
    const known = this.#bounds.places([...this.#registry.classIds()]).filter(({ seq }) => seq > 0n);
    return [...new Set(known.map((place) => place.class))].flatMap((id) =>
      this.#bounds.stretches(id, false).map((stretch) => ({ ...stretch, class: id })),
    );
  }

  /** Claims that wait for work. */
  get waiting(): number {
    return this.#waiters.size;
  }

  /** The lines somebody waits for, for the pulse to look into. */
  waitedFor(): Segment[] {
    if (this.#waiters.size === 0) return [];
    return this.#waiters.waitedFor(this.#registry.classIds()).flatMap((id) => {
      const line = this.#registry.claimClass(id);
      return line === undefined ? [] : this.#segments([line], () => 1, false);
    });
  }

  /** Moves the lower bounds of lines that were claimed from. Costs nothing when none was. */
  async moveBounds(): Promise<void> {
    if (this.#drained.size === 0) return;
    const moved = this.#bounds.observe(await readHorizon(this.#database));
    const due = [...this.#drained].filter(([, { read }]) => moved || !read);
    if (due.length === 0) return;
    const classes = due.map(([id]) => id);
    for (const [, drained] of due) drained.read = true;
    try {
      this.#bounds.advance(classes, await readHeads(this.#database, this.#bounds.places(classes)));
    } catch (error) {
      for (const [, drained] of due) drained.read = false;
      throw error;
    }
    // A claim made while the heads were read has put another one in its place.
    for (const [id, drained] of due) {
      if (this.#drained.get(id) === drained && drained.upTo <= this.#bounds.settled) this.#drained.delete(id);
    }
  }

  /** Ends every wait, and lets no claim take anything any more. */
  close(): void {
    this.#closed = true;
    this.#waiters.wakeAll();
  }

  /** The classes of an ask, worked out again when classes were added. */
  #eligibility(ask: ClaimAsk): () => { classes: ClaimClass[]; ids: ReadonlySet<number> } {
    let version = -2n;
    let known: { classes: ClaimClass[]; ids: ReadonlySet<number> } = { classes: [], ids: new Set() };
    return () => {
      if (version !== this.#registry.version) {
        version = this.#registry.version;
        const classes = this.#registry.eligible(ask.namespace, [...ask.lanes.keys()], ask.types, ask.capabilities);
        known = { classes, ids: new Set(classes.map(({ id }) => id)) };
      }
      return known;
    };
  }

  async #take(classes: readonly ClaimClass[], ask: ClaimAsk, signal: AbortSignal): Promise<Claimed> {
    if (classes.length === 0) return NOTHING;
    const isLimited = classes.some(({ lane }) => this.#registry.isLimited(lane));
    return (isLimited ? this.#limited : this.#gate).run(async () => {
      // Who left while waiting for the gate takes nothing: it would have to be handed back.
      if (this.#closed || signal.aborted) return NOTHING;
      const started = monotonicMs();
      const aggressive = this.#bounds.prefersAggressive(
        classes.map(({ id }) => id),
        started,
      );
      const segments = this.#segments(classes, (lane) => ask.lanes.get(lane) ?? 1, aggressive);
      const claimed = await claimExecutions(this.#database, segments, ask.limit, ask.holder);
      const { granted } = claimed;
      const ended = monotonicMs();
      if (!aggressive) this.#bounds.ranSafe(ended, ended - started);
      this.#learn(granted);
      this.attempts.granted(granted, ask.holder.leaseMs);
      // A full answer, by number or by size, means there may be more for the next in line.
      if (granted.length === ask.limit || inputBytes(granted) > ANSWER_BYTES / 2) {
        for (const { id } of classes) this.#waiters.wake(id, 1);
      } else if (!aggressive && !isLimited && claimed.retryMs === undefined) {
        this.#empty.saw(
          classes.map(({ id }) => id),
          started,
        );
      }
      return claimed;
    });
  }

  #segments(classes: readonly ClaimClass[], weight: (lane: string) => number, aggressive: boolean): Segment[] {
    return classes.flatMap((line) =>
      this.#bounds.stretches(line.id, aggressive).map((stretch) => ({
        ...stretch,
        class: line.id,
        lane: line.lane,
        weight: weight(line.laneName),
      })),
    );
  }

  #learn(granted: readonly Granted[]): void {
    const lowest = new Map<string, { class: number; priority: number; seq: bigint }>();
    for (const { class: id, priority, seq } of granted) {
      const key = `${id}/${priority}`;
      const known = lowest.get(key);
      if (known === undefined || seq < known.seq) lowest.set(key, { class: id, priority: -priority, seq });
      const drained = this.#drained.get(id);
      this.#drained.set(id, { read: false, upTo: drained && drained.upTo > seq ? drained.upTo : seq });
    }
    for (const place of lowest.values()) this.#bounds.claimed(place);
  }
}

const NOTHING: Claimed = { granted: [], retryMs: undefined };

function inputBytes(granted: readonly Granted[]): number {
  return granted.reduce((sum, { input }) => sum + (input?.length ?? 0), 0);
}
