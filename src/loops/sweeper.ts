/**
 * What time does: due work becomes claimable, leases run out, work expires; and what commits left to be done. A loop for
 * each subject.
 *
 * Each runs when something is due by what it saw itself, by a hint from a call that made something due, or by the pulse.
 * Every process sweeps; rows that another one has are passed over.
 */
import { DueFloor } from '../domain/due-floor.js';
import type { Database } from '../repository/database.js';
import { type Behind, type Pulse, type SweepSubject, type Swept, sweep, TIMED } from '../repository/sweeping/index.js';
import { after, monotonicMs } from '../runtime/clock.js';
import { Loop } from '../runtime/loop.js';

const BATCH = 500;
const FOLLOW_BATCH = 100;
/** Events, most of which start something small. */
const ROUTE_BATCH = 250;
/** Subjects that breed more of their kind, a level at a time. */
const FOLLOWING: readonly SweepSubject[] = ['fillings', 'joins', 'followUps', 'budgets', 'routes'];
/** Sweeps come no closer than this, so that many timers a few milliseconds apart become one batch. */
const GAP_MS = 20;
/** What follows a commit is waited for by whoever ended something. */
const FOLLOW_GAP_MS = 2;
/** What has been due for longer than a sweep takes, and was not taken, is locked by somebody: it is looked at this often. */
const LOCKED_MS = 200;

export interface SweeperOptions {
  readonly database: Database;
  /** Classes got claimable work; the log has grown. */
  readonly onSwept: (classes: readonly number[], taken: number, subject: SweepSubject) => void;
  readonly onError: (name: string, error: unknown) => void;
}

/** How far the sweeps of one subject have come. */
export interface SweepMeter {
  readonly subject: SweepSubject;
  readonly sweeps: number;
  /** Due rows taken. */
  readonly taken: number;
}

export class Sweeper {
  readonly #subjects: ReadonlyMap<SweepSubject, DueLoop>;

  constructor(options: SweeperOptions) {
    const subjects: readonly SweepSubject[] = [
      'scheduled',
      'leases',
      'timers',
      'fillings',
      'joins',
      'followUps',
      'suspensions',
      'budgets',
      'routes',
      'letters',
    ];
    const hint = (subject: SweepSubject, dueMs: number) => this.hint(subject, dueMs);
    this.#subjects = new Map(subjects.map((subject) => [subject, new DueLoop(subject, options, hint)]));
  }

  /** Something of this kind is due in so many milliseconds, or sooner. Whoever leaves something to follow may mean slots. */
  hint(subject: SweepSubject, dueMs: number): void {
    this.#subjects.get(subject)?.hint(dueMs);
    if (subject === 'followUps') this.#subjects.get('fillings')?.hint(dueMs);
  }

  /** A look at what is due of all that is timed, which also tells the sweeps from where on there is something. */
  look(nowMs: number, everything: boolean): DueLook {
    const looks = TIMED.flatMap((subject) => {
      const floor = this.#subjects.get(subject)?.floor;
      return floor ? [{ subject, floor, look: floor.beginWith(nowMs, everything) }] : [];
    });
    return {
      behind: Object.fromEntries(looks.map(({ subject, look: { behindMs } }) => [subject, behindMs])),
      left: (dueMs) => {
        for (const { subject, floor, look } of looks) floor.left(look, dueMs[subject]);
      },
      ended: (endedMs) => {
        for (const { floor, look } of looks) floor.ended(look, endedMs);
      },
    };
  }

  get meters(): readonly SweepMeter[] {
    return [...this.#subjects.values()];
  }

  start(): void {
    for (const loop of this.#subjects.values()) loop.start();
  }

  async stop(): Promise<void> {
    await Promise.all([...this.#subjects.values()].map((loop) => loop.stop()));
  }
}

export interface DueLook {
  readonly behind: Behind;
  /** What it found, in milliseconds from when it began. */
  readonly left: (dueMs: Pulse['dueMs']) => void;
  /** It is over, however it went. */
  readonly ended: (nowMs: number) => void;
}

type Hint = (subject: SweepSubject, dueMs: number) => void;

class DueLoop implements SweepMeter {
  sweeps = 0;
  taken = 0;
  readonly subject: SweepSubject;
  readonly floor = new DueFloor();
  readonly #loop: Loop;
  #dueAt = Number.POSITIVE_INFINITY;
  #cancelAlarm: () => void = () => undefined;

  constructor(subject: SweepSubject, { database, onSwept, onError }: SweeperOptions, hint: Hint) {
    this.subject = subject;
    const follows = FOLLOWING.includes(subject);
    // Of follow-ups the sweep itself tells when the next one is due.
    const breeds = follows && subject !== 'followUps';
    const batch = subject === 'routes' ? ROUTE_BATCH : follows ? FOLLOW_BATCH : BATCH;
    this.#loop = new Loop({
      name: `sweeper ${subject}`,
      gapMs: follows ? FOLLOW_GAP_MS : GAP_MS,
      jitter: 0,
      onError,
      body: async () => {
        this.#dueAt = Number.POSITIVE_INFINITY;
        const swept = await this.#sweep(database, batch);
        this.sweeps++;
        this.taken += swept.taken;
        if (swept.taken > 0) onSwept(swept.classes, swept.taken, subject);
        if (swept.leaseMs !== undefined) hint('leases', swept.leaseMs);
        if (swept.follows || (breeds && swept.taken > 0)) hint('followUps', 0);
        if (subject === 'followUps' && swept.taken > 0) hint('fillings', 0);
        if (swept.routes) hint('routes', 0);
        if (swept.taken >= (breeds ? 1 : batch)) return 0;
        if (swept.nextMs !== undefined) {
          const isLocked = swept.taken === 0 && swept.nextMs < -GAP_MS;
          this.hint(isLocked ? LOCKED_MS : swept.nextMs);
        }
        return undefined;
      },
    });
  }

  async #sweep(database: Database, batch: number): Promise<Swept> {
    const look = this.floor.begin(monotonicMs());
    try {
      const swept = await sweep(database, this.subject, batch, look.behindMs);
      this.floor.left(look, swept.nextMs);
      return swept;
    } finally {
      this.floor.ended(look, monotonicMs());
    }
  }

  /** Sets the alarm earlier; never later, for whoever set it knew of something. */
  hint(dueMs: number): void {
    const nowMs = monotonicMs();
    this.floor.lower(nowMs + dueMs);
    const dueAt = nowMs + Math.max(0, dueMs);
    if (dueAt >= this.#dueAt) return;
    this.#dueAt = dueAt;
    this.#cancelAlarm();
    // A timer may fire a fraction early, and the row is due a moment later: one millisecond more finds it.
    this.#cancelAlarm = after(dueMs + 1, () => this.#loop.wake());
  }

  start(): void {
    this.#loop.start();
  }

  async stop(): Promise<void> {
    this.#cancelAlarm();
    await this.#loop.stop();
  }
}
