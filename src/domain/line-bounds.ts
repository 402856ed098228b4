/**
 * Where to begin reading the lines of claimable work.
 *
 * A drained line leaves dead rows at its head, and they stay while any snapshot that could see them is held. Each line
 * (a class and a priority) therefore has a lower bound. It moves by the safe horizon alone: once every transaction that
 * could have drawn a sequence number up to S has ended, everything up to S is visible or never will be, and the bound may
 * go to the lowest row that is still there. A bound that followed what was claimed would lose late commits: 300 of
 * 228,600 in the experiment (design/protocols.md B3).
 *
 * A writer that stays open for long stalls the horizon. Then claims run from an aggressive bound, the lowest row claimed
 * last, and look from the safe one for at most 2 % of the time.
 */
import { TimeShare } from './time-share.js';

/** Priorities here are negated, as in the index: −1000 is the most urgent. */
const FIRST_PRIORITY = -1000;
const PAST_PRIORITY = 1001;
/** Rows claimed beyond the safe bound before the aggressive one is used: about 2 ms of dead rows. */
const STALLED_ROWS = 20_000n;
/** 2 % of the time. */
const SAFE_EVERY = 50;
/**
 * Priorities of one class whose bounds are kept: those claimed from last. Each splits the line into one more stretch, and
 * a claim looks into every stretch. Forgetting a bound is safe: its priority is read from the start of its line again.
 */
const MOST_PRIORITIES = 32;

export interface Stretch {
  readonly fromPriority: number;
  readonly fromSeq: bigint;
  readonly toPriority: number;
}

interface Bound {
  safe: bigint;
  aggressive: bigint;
}

export interface Place {
  readonly class: number;
  readonly priority: number;
  readonly seq: bigint;
}

export interface HorizonReading {
  readonly seq: bigint;
  readonly xid: bigint;
  readonly oldest: bigint;
}

export class LineBounds {
  readonly #mostPriorities: number;
  /** By class and priority, those claimed from last at the end. */
  readonly #lines = new Map<number, Map<number, Bound>>();
  #pending: { seq: bigint; xid: bigint }[] = [];
  #settled = 0n;
  readonly #safe = new TimeShare(SAFE_EVERY);

  constructor(mostPriorities = MOST_PRIORITIES) {
    this.#mostPriorities = mostPriorities;
  }

  /**
   * The stretches of one class's line, most urgent first: from each known priority's bound to the next known priority.
   * A priority nobody has met yet lies inside a stretch, so it is found as soon as it has rows.
   */
  stretches(classId: number, aggressive: boolean): Stretch[] {
    const known = [...(this.#lines.get(classId) ?? [])].sort(([a], [b]) => a - b);
    const made: Stretch[] = [];
    let fromPriority = FIRST_PRIORITY;
    let fromSeq = 0n;
    for (const [priority, bound] of known) {
      if (priority > fromPriority) made.push({ fromPriority, fromSeq, toPriority: priority });
      fromPriority = priority;
      fromSeq = aggressive ? bound.aggressive : bound.safe;
    }
    made.push({ fromPriority, fromSeq, toPriority: PAST_PRIORITY });
    return made;
  }

  /** Whether these classes' claims should run from the aggressive bound at this moment. */
  prefersAggressive(classes: readonly number[], nowMs: number): boolean {
    if (this.#safe.isDue(nowMs)) return false;
    return classes.some((id) =>
      [...(this.#lines.get(id)?.values() ?? [])].some((bound) => bound.aggressive - bound.safe > STALLED_ROWS),
    );
  }

  /** A claim that ran from the safe bound took this long: the next one is due when it is 2 % of the time. */
  ranSafe(nowMs: number, tookMs: number): void {
    this.#safe.took(nowMs, tookMs);
  }

  /** Rows were claimed; `place` is the lowest of them in its line. */
  claimed({ class: id, priority, seq }: Place): void {
    const line = this.#lines.get(id) ?? new Map<number, Bound>();
    this.#lines.set(id, line);
    const { safe, aggressive } = line.get(priority) ?? { safe: 0n, aggressive: 0n };
    line.delete(priority);
    line.set(priority, { safe, aggressive: seq > aggressive ? seq : aggressive });
    const [oldest] = line.keys();
    if (line.size > this.#mostPriorities && oldest !== undefined) line.delete(oldest);
  }

  /** Every row up to this sequence number is visible or never will be. */
  get settled(): bigint {
    return this.#settled;
  }

  /** Takes a reading; answers whether the settled sequence has moved. */
  observe(reading: HorizonReading): boolean {
    this.#pending.push({ seq: reading.seq, xid: reading.xid });
    const before = this.#settled;
    while (this.#pending[0] !== undefined && this.#pending[0].xid < reading.oldest) {
      this.#settled = this.#pending[0].seq;
      this.#pending.shift();
    }
    // Behind a writer that stays open for hours, the first and the newest readings say as much as all of them.
    if (this.#pending.length > 100) this.#pending = this.#pending.filter((_, i) => i % 2 === 0);
    return this.#settled > before;
  }

  /** The present safe bounds of these classes, for reading their heads. */
  places(classes: readonly number[]): Place[] {
    return classes.flatMap((id) => {
      const known = [...(this.#lines.get(id) ?? [])];
      if (known.length === 0) return [{ class: id, priority: FIRST_PRIORITY, seq: 0n }];
      return known.map(([priority, bound]) => ({ class: id, priority, seq: bound.safe }));
    });
  }

  /**
   * The heads of these classes as they were read after the last `observe`. A line without a head may start behind
   * everything that is settled.
   */
  advance(classes: readonly number[], heads: readonly Place[]): void {
    for (const id of classes) {
      const line = this.#lines.get(id);
      for (const [priority, bound] of line ?? []) {
        const head = heads.find((place) => place.class === id && place.priority === priority);
        const behind = this.#settled + 1n;
        const next = head !== undefined && head.seq < behind ? head.seq : behind;
        if (next > bound.safe) bound.safe = next;
        if (bound.safe > bound.aggressive) bound.aggressive = bound.safe;
      }
    }
    for (const { class: id, priority } of heads) this.#meet(id, priority);
  }

  /**
   * A priority that nobody has claimed from gets a stretch of its own as well, while there is room: behind a long backlog
   * of a more urgent one its head would never be looked at, and aging compares heads.
   */
  #meet(id: number, priority: number): void {
    const line = this.#lines.get(id) ?? new Map<number, Bound>();
    if (line.has(priority) || line.size >= this.#mostPriorities) return;
    this.#lines.set(id, line.set(priority, { safe: 0n, aggressive: 0n }));
  }
}
