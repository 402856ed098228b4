/**
 * One process's engine: what it remembers, its loops, and how they wake each other. Everything here may die at any
 * instant; whatever it was about to do is due in the database and is done by another process, or by the next start.
 */
import { type AfterCommit, tellConsequences } from './dispatch/after-commit.js';
import { ConsumerWakes } from './dispatch/consumer-wakes.js';
import { Lines } from './dispatch/lines.js';
import { NamedLanes } from './dispatch/named-lanes.js';
import { Registry } from './dispatch/registry.js';
import { WorkerPresence } from './dispatch/worker-presence.js';
import { FrameHub, type FrameHubOptions } from './frames/hub.js';
import { DatabaseFrameSource, type FrameSource } from './frames/source.js';
import { LiveLog, type LiveLogOptions } from './log/live-log.js';
import { LogPages } from './log/pages.js';
import { DatabaseLogSource, type LogSource } from './log/source.js';
import { Counts } from './loops/counts.js';
import { LoopMeters } from './loops/loop-meters.js';
import { pulseLoop } from './loops/pulse.js';
import { Redrives } from './loops/redrives.js';
import { Retention } from './loops/retention.js';
import { Sequencer } from './loops/sequencer.js';
import { Standing } from './loops/standing.js';
import { Sweeper } from './loops/sweeper.js';
import { Upkeep } from './loops/upkeep.js';
import { type WakeLoops, wakeLoops } from './loops/wakes.js';
import type { Segment } from './repository/claims/index.js';
import { Database } from './repository/database.js';
import { readDatabaseFacts } from './repository/inspection/index.js';
import { checkSchema } from './repository/migrations/index.js';
import type { RedriveStep } from './repository/redrives/index.js';
import type { DroppedPartitions } from './repository/retention/index.js';
import type { PartitionsAhead, Pulse, SweepSubject } from './repository/sweeping/index.js';
import { sightWorkers } from './repository/workers/index.js';
import type { Loop } from './runtime/loop.js';
import type { Readiness } from './runtime/readiness.js';

export interface EngineOptions {
  readonly url: string;
  readonly schema: string;
  readonly connections: number;
  /** What its connections are called in pg_stat_activity. Default `tailrace`. */
  readonly name?: string;
  /** Width of the partitions by time. */
  readonly partitionMs: number;
  readonly logPartitionRows: number;
  /** How long what ended, and the log, are kept where a namespace says nothing else. Absent: for ever. */
  readonly retentionMs?: number | undefined;
  /** Partitions of executions or events were dropped. */
  readonly onDropped?: (dropped: DroppedPartitions) => void;
  /** Days that closed dead letters are kept. Absent or 0: for ever. */
  readonly letterRetentionDays?: number;
  /** Largest input that bulk redrives make by patching one. Default 1 MiB. */
  readonly maxPayloadBytes?: number;
  readonly log?: LiveLogOptions;
  readonly frames?: FrameHubOptions;
  /** Lanes, namespaces and consumers that metrics tell apart. */
  readonly namesInMetrics?: number;
  /** Gets the parts `database`, `partitions`, `schema`, `sequencer` and `clock`. */
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
  'letters',
] as const satisfies readonly SweepSubject[];
/** Readiness fails below this share of the partitions that should be ahead: two days of two weeks. */
const LEAST_SHARE_AHEAD = 1 / 7;
const DAY_MS = 24 * 3_600_000;
const EVENT_IDS_MS = 90 * DAY_MS;
const MAX_PAYLOAD_BYTES = 2 ** 20;
/** Pulses that find entries without a position for so long may be those of a busy log, or of one that is stuck. */
const UNNUMBERED_MS = 5_000;

export class Engine {
  readonly database: Database;
  readonly registry: Registry;
  readonly named: NamedLanes;
  readonly lines: Lines;
  readonly source: LogSource;
  readonly log: LiveLog;
  readonly pages: LogPages;
  readonly frameSource: FrameSource;
  readonly frames: FrameHub;
  readonly after: AfterCommit;
  readonly presence: WorkerPresence;
  readonly consumerWakes = new ConsumerWakes();
  readonly redrives: Redrives;
  readonly meters = new LoopMeters();
  readonly sweeper: Sweeper;
  readonly standing: Standing;
  readonly #readiness: Readiness;
  readonly #counts: Counts;
  readonly #sequencer: Sequencer;
  readonly #upkeep: Upkeep;
  readonly retention: Retention;
  readonly #pulse: Loop;
  readonly #wakes: WakeLoops;

  constructor(options: EngineOptions) {
    const { readiness } = options;
    const onError = (name: string, error: unknown) => {
      this.meters.failed(name);
      options.onError(name, error);
    };
    this.#readiness = readiness;
    this.database = new Database(options);
    this.registry = new Registry(this.database);
    this.named = new NamedLanes(this.registry, options.namesInMetrics);
    this.lines = new Lines(this.database, this.registry, this.named);
    this.presence = new WorkerPresence((sightings) => sightWorkers(this.database, sightings));
    this.source = new DatabaseLogSource(this.database);
    this.log = new LiveLog(this.source, options.log);
    this.pages = new LogPages(this.source);
    this.frameSource = new DatabaseFrameSource(this.database);
    this.frames = new FrameHub(this.frameSource, { onError, ...options.frames });
    this.#counts = new Counts({ runner: this.database, onError });
    this.#sequencer = new Sequencer({
      runner: this.database,
      onHead: (head) => this.#reached(head),
      onStep: (step) => this.meters.stepped(step),
      onError,
    });
    this.standing = new Standing({
      read: () => readDatabaseFacts(this.database),
      checkSchema: () => checkSchema(options),
      readiness,
      onError,
    });
    this.sweeper = new Sweeper({
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
      partitionMs: options.partitionMs,
      logPartitionRows: options.logPartitionRows,
      moveBounds: () => this.lines.moveBounds(),
      flushPresence: () => this.presence.flush(),
      onPartitions: (ahead) => this.#tellPartitions(ahead),
      onError,
    });
    this.retention = new Retention({
      database: this.database,
      partitionMs: options.partitionMs,
      logPartitionRows: options.logPartitionRows,
      kept: { executionsMs: options.retentionMs, logMs: options.retentionMs },
      lettersMs: options.letterRetentionDays ? options.letterRetentionDays * DAY_MS : undefined,
      eventIdsMs: EVENT_IDS_MS,
      onDropped: (dropped) => options.onDropped?.(dropped),
      onError,
    });
    this.redrives = new Redrives({
      database: this.database,
      keptDays: options.letterRetentionDays ?? 0,
      maxPayloadBytes: options.maxPayloadBytes ?? MAX_PAYLOAD_BYTES,
      onStep: (step, newClasses) => this.#redriven(step, newClasses),
      onError,
    });
    this.database.onMissingPartition = () => this.#upkeep.ensureReach();
    this.#pulse = pulseLoop({
      database: this.database,
      waitedFor: () => this.lines.waitedFor(),
      look: (nowMs, everything) => this.sweeper.look(nowMs, everything),
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
      due: (subject, ms) => this.sweeper.hint(subject, ms),
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
    await this.standing.look();
    this.#sequencer.start();
    this.#counts.start();
    this.standing.start();
    this.sweeper.start();
    this.#upkeep.start();
    this.retention.start();
    this.redrives.start();
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
      this.standing.stop(),
      this.sweeper.stop(),
      this.#upkeep.stop(),
      this.retention.stop(),
      this.redrives.stop(),
      this.#sequencer.stop(),
      this.#counts.stop(),
    ]);
    await this.database.close();
  }

  async #pulsed(pulse: Pulse, looked: readonly Segment[], begunMs: number): Promise<void> {
    this.#readiness.set('database', true);
    this.meters.pulsed(pulse);
    if (this.meters.unnumberedMs > UNNUMBERED_MS) this.standing.doubt();
    for (const subject of PULSED) {
      const ms = pulse.dueMs[subject];
      if (ms !== undefined) this.sweeper.hint(subject, ms);
    }
    if (pulse.unnumbered) this.#sequencer.nudge();
    this.frames.wake();
    this.#reached(pulse.head);
    this.consumerWakes.saw(pulse.consumers);
    if (pulse.redrives) this.redrives.found();
    for (const id of pulse.nonEmpty) this.lines.hasWork(id);
    // After the wakes, which outdate what this pulse saw elsewhere in their classes.
    this.lines.sawEmpty(new Set(looked.map((line) => line.class)), begunMs);
    this.registry.confirm(pulse.registry, begunMs);
    if (pulse.registry !== this.registry.version) {
      await this.registry.refresh(pulse.registry);
      this.lines.wakeAll();
    }
  }

  async #redriven(step: RedriveStep, newClasses: boolean): Promise<void> {
    if (newClasses) await this.registry.refresh();
    this.meters.redriven += step.made;
    this.after.committed(step.made);
    tellConsequences(this.after, step);
    if (step.routes) this.after.due('routes', 0);
    if (step.offers) this.consumerWakes.changedAny();
  }

  /** The log has positions up to here. */
  #reached(head: bigint): void {
    this.meters.reached(head);
    this.log.wake(head);
    this.pages.reached(head);
    this.#counts.follow(head);
  }

  #tellPartitions({ aheadMs, wantedMs }: PartitionsAhead): void {
    this.meters.partitionsAheadMs = aheadMs;
    const ready = aheadMs >= wantedMs * LEAST_SHARE_AHEAD;
    const hours = (aheadMs / 3_600_000).toFixed(1);
    this.#readiness.set('partitions', ready, ready ? '' : `partitions reach only ${hours} hours ahead`);
  }
}
