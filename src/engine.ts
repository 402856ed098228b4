/**
 * One process's engine: what it remembers, its loops, and how they wake each other. Everything here may die at any
 * instant; whatever it was about to do is due in the database and is done by another process, or by the next start.
 */
import type { AfterCommit } from './dispatch/after-commit.js';
import { Lines } from './dispatch/lines.js';
import { Registry } from './dispatch/registry.js';
import { WorkerPresence } from './dispatch/worker-presence.js';
import { FrameHub, type FrameHubOptions } from './frames/hub.js';
import { DatabaseFrameSource, type FrameSource } from './frames/source.js';
import { LiveLog, type LiveLogOptions } from './log/live-log.js';
import { DatabaseLogSource, type LogSource } from './log/source.js';
import { Counts } from './loops/counts.js';
import { pulseLoop } from './loops/pulse.js';
import { Sequencer } from './loops/sequencer.js';
import { Sweeper } from './loops/sweeper.js';
import { Upkeep } from './loops/upkeep.js';
import { type WakeLoops, wakeLoops } from './loops/wakes.js';
import type { Segment } from './repository/claims/index.js';
import { Database } from './repository/database.js';
import type { Pulse, SweepSubject } from './repository/sweeping/index.js';
import { sightWorkers } from './repository/workers/index.js';
import type { Loop } from './runtime/loop.js';
import type { Readiness } from './runtime/readiness.js';

export interface EngineOptions {
  readonly url: string;
  readonly schema: string;
  readonly connections: number;
  readonly partitionDays: number;
  readonly logPartitionRows: number;
  readonly log?: LiveLogOptions;
  readonly frames?: FrameHubOptions;
  /** Gets the parts `database` and `partitions`. */
  readonly readiness: Readiness;
  readonly onError: (name: string, error: unknown) => void;
}

/** What the pulse tells when it is due. */
const PULSED = [
  'scheduled',
  'leases',
  'timers',
  'joins',
  'followUps',
  'suspensions',
  'budgets',
  'routes',
] as const satisfies readonly SweepSubject[];
/** Readiness fails below this many days of partitions ahead. */
const LEAST_DAYS_AHEAD = 2;

export class Engine {
  readonly database: Database;
  readonly registry: Registry;
  readonly lines: Lines;
  readonly source: LogSource;
  readonly log: LiveLog;
  readonly frameSource: FrameSource;
  readonly frames: FrameHub;
  readonly after: AfterCommit;
  readonly presence: WorkerPresence;
  readonly #readiness: Readiness;
  readonly #counts: Counts;
  readonly #sequencer: Sequencer;
  readonly #sweeper: Sweeper;
  readonly #upkeep: Upkeep;
  readonly #pulse: Loop;
  readonly #wakes: WakeLoops;

  constructor(options: EngineOptions) {
    const { readiness, onError } = options;
    this.#readiness = readiness;
    this.database = new Database(options);
    this.registry = new Registry(this.database);
    this.lines = new Lines(this.database, this.registry);
    this.presence = new WorkerPresence((sightings) => sightWorkers(this.database, sightings));
    this.source = new DatabaseLogSource(this.database);
    this.log = new LiveLog(this.source, options.log);
    this.frameSource = new DatabaseFrameSource(this.database);
    this.frames = new FrameHub(this.frameSource, { onError, ...options.frames });
    this.#counts = new Counts({ runner: this.database, onError });
    this.#sequencer = new Sequencer({ runner: this.database, onHead: (head) => this.#reached(head), onError });
    this.#sweeper = new Sweeper({
      database: this.database,
      onError,
      onSwept: (classes, taken, subject) => {
        for (const id of classes) this.lines.wake(id, taken);
        if (subject === 'leases') this.lines.freed();
        this.after.committed(taken);
      },
    });
    this.#upkeep = new Upkeep({
      database: this.database,
      partitionDays: options.partitionDays,
      logPartitionRows: options.logPartitionRows,
      moveBounds: () => this.lines.moveBounds(),
      flushPresence: () => this.presence.flush(),
      onPartitions: (days) => this.#tellPartitions(days),
      onError,
    });
    this.database.onMissingPartition = () => this.#upkeep.ensurePartitions();
    this.#pulse = pulseLoop({
      database: this.database,
      waitedFor: () => this.lines.waitedFor(),
      onPulse: (pulse, lines, begunMs) => this.#pulsed(pulse, lines, begunMs),
      onError: (name, error) => {
        readiness.set('database', false, 'the database cannot be reached');
        this.log.fail(error);
        this.frames.fail(error);
        onError(name, error);
      },
    });
    this.#wakes = wakeLoops({
      database: this.database,
      url: options.url,
      channel: `tailrace_${options.schema}`,
      onWake: () => {
        this.lines.mayHaveWork();
        this.#pulse.wake();
        this.log.wake();
        this.frames.wake();
      },
      onFrames: () => this.frames.wake(),
      onError,
    });
    this.after = {
      queued: (classId, count) => this.lines.wake(classId, count),
      freed: (classId) => this.lines.freed(classId),
      due: (subject, ms) => this.#sweeper.hint(subject, ms),
      committed: (rows) => {
        this.#upkeep.changed(rows);
        this.#sequencer.nudge();
        this.#wakes.send.wake();
        this.frames.wake();
      },
      appended: (executions) => {
        this.frames.wake(executions);
        this.#wakes.sendFrames.wake();
      },
    };
  }

  /** Loads what a claim needs to know and starts every loop. */
  async start(): Promise<void> {
    await this.#upkeep.ensurePartitions();
    await this.registry.refresh();
    this.#sequencer.start();
    this.#counts.start();
    this.#sweeper.start();
    this.#upkeep.start();
    this.#pulse.start();
    this.#wakes.listen.start();
    this.#wakes.send.start();
    this.#wakes.sendFrames.start();
    this.frames.start();
    this.#readiness.set('database', true);
  }

  /** After the server has drained: the last entries get their positions here or from another process. */
  async stop(): Promise<void> {
    this.lines.close();
    this.log.close();
    await Promise.all([
      this.frames.stop(),
      this.#pulse.stop(),
      this.#wakes.listen.stop(),
      this.#wakes.send.stop(),
      this.#wakes.sendFrames.stop(),
      this.#sweeper.stop(),
      this.#upkeep.stop(),
      this.#sequencer.stop(),
      this.#counts.stop(),
    ]);
    await this.database.close();
  }

  async #pulsed(pulse: Pulse, looked: readonly Segment[], begunMs: number): Promise<void> {
    this.#readiness.set('database', true);
    for (const subject of PULSED) {
      const ms = pulse.dueMs[subject];
      if (ms !== undefined) this.#sweeper.hint(subject, ms);
    }
    if (pulse.unnumbered) this.#sequencer.nudge();
    this.frames.wake();
    this.#reached(pulse.head);
    for (const id of pulse.nonEmpty) this.lines.hasWork(id);
    // After the wakes, which outdate what this pulse saw elsewhere in their classes.
    this.lines.sawEmpty(new Set(looked.map((line) => line.class)), begunMs);
    if (pulse.registry !== this.registry.version) {
      await this.registry.refresh(pulse.registry);
      this.lines.wakeAll();
    }
  }

  /** The log has positions up to here. */
  #reached(head: bigint): void {
    this.log.wake(head);
    this.#counts.follow(head);
  }

  #tellPartitions(daysAhead: number): void {
    const ready = daysAhead >= LEAST_DAYS_AHEAD;
    this.#readiness.set('partitions', ready, ready ? '' : `partitions reach only ${daysAhead.toFixed(1)} days ahead`);
  }
}
