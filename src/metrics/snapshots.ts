/**
 * The snapshot of the installation that scrapes share: read when somebody asks and the last one is some seconds old, once at
 * a time. A database that does not answer soon leaves the scrape without it, never waiting: what the process itself counts
 * is wanted most just then.
 */
import type { Snapshot } from '../repository/metrics/index.js';
import { monotonicMs, pause } from '../runtime/clock.js';

export interface SnapshotsOptions {
  readonly read: () => Promise<Snapshot>;
  /** How old what is shown may be. Default 5,000 ms. */
  readonly freshMs?: number;
  /** How long a scrape waits for a new one. Default 3,000 ms. */
  readonly patienceMs?: number;
}

interface Read {
  readonly snapshot: Snapshot;
  readonly atMs: number;
  readonly ageMs: () => number;
}

export class Snapshots {
  readonly #options: Required<SnapshotsOptions>;
  #last: Read | undefined;
  #reading: Promise<Read | undefined> | undefined;
  #failures = 0;

  constructor(options: SnapshotsOptions) {
    this.#options = { freshMs: 5_000, patienceMs: 3_000, ...options };
  }

  get failures(): number {
    return this.#failures;
  }

  /** Undefined: the database did not give one. */
  async get(): Promise<Read | undefined> {
    const { freshMs, patienceMs } = this.#options;
    if (this.#last !== undefined && monotonicMs() - this.#last.atMs < freshMs) return this.#last;
    this.#reading ??= this.#read();
    const bound = new AbortController();
    const read = await Promise.race([this.#reading, pause(patienceMs, bound.signal).then(() => undefined)]);
    bound.abort();
    return read;
  }

  /** Never rejects. */
  async #read(): Promise<Read | undefined> {
    const atMs = monotonicMs();
    try {
      this.#last = { snapshot: await this.#options.read(), atMs, ageMs: () => monotonicMs() - atMs };
      return this.#last;
    } catch {
      this.#failures++;
      return undefined;
    } finally {
      this.#reading = undefined;
    }
  }
}
