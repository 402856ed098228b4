/**
 * Upkeep beside the work: lower bounds of the lines, vacuum of the tables whose rows come and go, partitions made ahead,
 * the registry of workers, frames that are kept for moments only.
 * Each is idempotent and runs on every process; an idle process runs only the last ones, rarely.
 */
import type { Database } from '../repository/database.js';
import { sweepPassingFrames } from '../repository/frames/index.js';
import { ensureLogPartitions } from '../repository/log/index.js';
import { extendPartitions, type PartitionsAhead, vacuumHotTables } from '../repository/sweeping/index.js';
import { forgetUnseenWorkers } from '../repository/workers/index.js';
import { Loop } from '../runtime/loop.js';

const BOUNDS_MS = 500;
const VACUUM_MS = 5_000;
const PARTITIONS_MS = 60_000;
const PRESENCE_MS = 10_000;
const FRAMES_MS = 10_000;
const REGISTRY_MS = 10 * 60_000;
/** Ids may lie five minutes ahead of the database's clock. */
const REACH_MS = 6 * 60_000;
/** Row versions that make a vacuum worth its while. */
const VACUUM_ROWS = 2_000;

export interface UpkeepOptions {
  readonly database: Database;
  readonly partitionMs: number;
  readonly logPartitionRows: number;
  readonly moveBounds: () => Promise<void>;
  /** Writes which workers were seen. */
  readonly flushPresence: () => Promise<void>;
  readonly onPartitions: (ahead: PartitionsAhead) => void;
  readonly onError: (name: string, error: unknown) => void;
}

export class Upkeep {
  readonly #loops: readonly Loop[];
  readonly #options: UpkeepOptions;
  #changed = 0;

  constructor(options: UpkeepOptions) {
    this.#options = options;
    const { database, partitionMs, moveBounds, flushPresence, onError } = options;
    this.#loops = [
      new Loop({ name: 'bounds', onError, body: () => moveBounds().then(() => BOUNDS_MS) }),
      new Loop({
        name: 'vacuum',
        onError,
        body: async () => {
          if (this.#changed >= VACUUM_ROWS) {
            this.#changed = 0;
            await vacuumHotTables(database);
          }
          return VACUUM_MS;
        },
      }),
      new Loop({ name: 'presence', onError, body: () => flushPresence().then(() => PRESENCE_MS) }),
      new Loop({ name: 'passing frames', onError, body: () => sweepPassingFrames(database).then(() => FRAMES_MS) }),
      new Loop({ name: 'registry', onError, body: () => forgetUnseenWorkers(database).then(() => REGISTRY_MS) }),
      new Loop({
        name: 'partitions',
        onError,
        body: () => this.ensurePartitions().then(() => Math.min(PARTITIONS_MS, partitionMs)),
      }),
    ];
  }

  /** So many rows of the hot tables were deleted or updated. */
  changed(rows: number): void {
    this.#changed += rows;
  }

  async ensurePartitions(): Promise<void> {
    const { database, partitionMs, logPartitionRows, onPartitions } = this.#options;
    onPartitions(await extendPartitions(database, partitionMs, 0));
    await ensureLogPartitions(database, logPartitionRows);
  }

  /** Also for ids that lie ahead of what is made by itself. */
  async ensureReach(): Promise<void> {
    const { database, partitionMs, logPartitionRows } = this.#options;
    await extendPartitions(database, partitionMs, REACH_MS);
    await ensureLogPartitions(database, logPartitionRows);
  }

  start(): void {
    for (const loop of this.#loops) loop.start();
  }

  async stop(): Promise<void> {
    await Promise.all(this.#loops.map((loop) => loop.stop()));
  }
}
