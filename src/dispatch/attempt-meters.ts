/**
 * What this process saw of attempts, by lane: how long work stood in line before it was claimed, how long holders had it,
 * and what became of it.
 *
 * Counted from answers that claims and ends have anyway; times are the database's. An attempt that was claimed through
 * another process, or ends by time or by an operator, is not seen to end: its run time is missing, and nothing else.
 */
import { AttemptOutcome } from '../domain/states.js';
import type { Granted } from '../repository/claims/index.js';
import { Histogram } from '../runtime/histogram.js';
import type { NamedLanes } from './named-lanes.js';
import type { Registry } from './registry.js';

/** From what a waiting worker costs to what a backlog costs, in seconds. */
const CLAIM_SECONDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1_800, 7_200];
const RUN_SECONDS = [0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3_600, 14_400];
/** Attempts whose start is remembered; older ones are forgotten beyond it. */
const MOST_RUNNING = 100_000;

/** Of AttemptKind, by number; the last for one that goes on after it was parked. */
const STARTS = ['unspecified', 'initial', 'retry', 'reclaim', 'continuation', 'redrive', 'resumed'] as const;
const RESUMED = STARTS.length - 1;
const OUTCOMES: readonly string[] = ['unspecified', ...Object.keys(AttemptOutcome).map((name) => name.toLowerCase())];

export class LaneMeter {
  readonly claimTimes = new Histogram(CLAIM_SECONDS);
  readonly runTimes = new Histogram(RUN_SECONDS);
  readonly #starts = new Float64Array(STARTS.length);
  readonly #ends = new Float64Array(OUTCOMES.length);

  /** `lane` as NamedLanes.named answers it. */
  constructor(readonly lane: number) {}

  started(kind: number): void {
    this.#starts[kind] = (this.#starts[kind] ?? 0) + 1;
  }

  ended(outcome: number): void {
    this.#ends[outcome] = (this.#ends[outcome] ?? 0) + 1;
  }

  /** By kind, those that were. */
  get starts(): [kind: string, count: number][] {
    return counted(STARTS, this.#starts);
  }

  get ends(): [outcome: string, count: number][] {
    return counted(OUTCOMES, this.#ends);
  }
}

interface Running {
  readonly atMs: number;
  readonly meter: LaneMeter;
}

/** Of an accepted end. */
export interface EndSeen {
  readonly class: number;
  readonly outcome: number;
  readonly ended_at: Date;
}

export class AttemptMeters {
  readonly #registry: Registry;
  readonly #named: NamedLanes;
  readonly #lanes = new Map<number, LaneMeter>();
  /** By lease. */
  readonly #running = new Map<string, Running>();

  constructor(registry: Registry, named: NamedLanes) {
    this.#registry = registry;
    this.#named = named;
  }

  get lanes(): Iterable<LaneMeter> {
    return this.#lanes.values();
  }

  /** Leases of this length were handed out just now. */
  granted(rows: readonly Granted[], leaseMs: number): void {
    for (const row of rows) {
      const meter = this.#of(row.class);
      // A parked attempt that goes on has begun before; then its new lease tells when.
      const atMs = row.resume ? row.expires_at.getTime() - leaseMs : row.started_at.getTime();
      meter.started(row.resume ? RESUMED : row.kind);
      meter.claimTimes.observe(Math.max(0, atMs - row.ready_at.getTime()) / 1_000);
      this.#running.set(row.lease, { atMs, meter });
    }
    if (this.#running.size > MOST_RUNNING) this.#forget();
  }

  ended(lease: string, { class: classId, outcome, ended_at: at }: EndSeen): void {
    const running = this.#running.get(lease);
    if (running === undefined) {
      this.#of(classId).ended(outcome);
      return;
    }
    this.#running.delete(lease);
    running.meter.ended(outcome);
    running.meter.runTimes.observe(Math.max(0, at.getTime() - running.atMs) / 1_000);
  }

  #of(classId: number): LaneMeter {
    const lane = this.#named.named(this.#registry.claimClass(classId)?.lane ?? Number.POSITIVE_INFINITY);
    let meter = this.#lanes.get(lane);
    if (meter === undefined) {
      meter = new LaneMeter(lane);
      this.#lanes.set(lane, meter);
    }
    return meter;
  }

  /** A tenth at once, the oldest first: a map gives them in that order. */
  #forget(): void {
    let surplus = this.#running.size - MOST_RUNNING * 0.9;
    for (const lease of this.#running.keys()) {
      if (surplus-- <= 0) return;
      this.#running.delete(lease);
    }
  }
}

function counted(names: readonly string[], counts: Float64Array): [name: string, count: number][] {
  return names.flatMap((name, i) => ((counts[i] ?? 0) > 0 ? [[name, counts[i] ?? 0] as [string, number]] : []));
}
