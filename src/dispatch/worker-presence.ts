/**
 * Which workers were seen, gathered here and written together: fifty idle workers must not cost a statement each.
 *
 * A worker that this process has not met, or that says something new of itself, is written at once; one that only shows
 * that it is still there is written with the next batch. Losing a batch makes a worker look a few seconds older.
 */
import type { WorkerSighting } from '../repository/workers/index.js';
import { monotonicMs } from '../runtime/clock.js';

/** How often the registry wants to hear from a worker; STALE is three of these. */
export const HEARTBEAT_MS = 30_000;
/** Sightings of one worker that come closer than this are one. */
const FRESH_MS = 5_000;
/** Remembered so long after they were last seen. */
const FORGET_MS = 60 * 60 * 1_000;
/** Different claims of one worker that are remembered. */
const CLAIMS = 64;

interface Known {
  /** By heartbeats; of a worker that only claims, by its claims. */
  readonly told: boolean;
  readonly said: ReadonlySet<string>;
  readonly writtenAt: number;
}

export class WorkerPresence {
  readonly #write: (sightings: readonly WorkerSighting[]) => Promise<void>;
  readonly #known = new Map<string, Known>();
  #pending = new Map<string, WorkerSighting>();

  constructor(write: (sightings: readonly WorkerSighting[]) => Promise<void>) {
    this.#write = write;
  }

  /** A claim was made: enough to be known. No news for one that has told of itself, or has claimed the same before. */
  async claimed(sighting: WorkerSighting): Promise<void> {
    const known = this.#known.get(keyOf(sighting));
    if (known === undefined || (!known.told && !known.said.has(textOf(sighting)))) return await this.#tell(sighting);
    if (monotonicMs() - known.writtenAt > FRESH_MS) this.#pending.set(keyOf(sighting), sighting);
  }

  /** A heartbeat came: what it says replaces what was said before. Answers whether that was news, and was written. */
  async heard(sighting: WorkerSighting): Promise<boolean> {
    const known = this.#known.get(keyOf(sighting));
    const news = !known?.told || !known.said.has(textOf(sighting));
    if (news) await this.#tell(sighting);
    else this.#pending.set(keyOf(sighting), sighting);
    return news;
  }

  forget(namespace: number, instance: string): void {
    this.#known.delete(`${namespace}/${instance}`);
    this.#pending.delete(`${namespace}/${instance}`);
  }

  /** Writes what was gathered, in one statement; nothing when nobody was seen. */
  async flush(): Promise<void> {
    const now = monotonicMs();
    for (const [key, { writtenAt }] of this.#known) if (now - writtenAt > FORGET_MS) this.#known.delete(key);
    if (this.#pending.size === 0) return;
    const sightings = [...this.#pending.values()];
    this.#pending = new Map();
    await this.#write(sightings);
    for (const sighting of sightings) this.#remember(sighting);
  }

  async #tell(sighting: WorkerSighting): Promise<void> {
    this.#remember(sighting);
    await this.#write([sighting]);
  }

  #remember(sighting: WorkerSighting): void {
    const known = this.#known.get(keyOf(sighting));
    const told = sighting.told !== undefined;
    const said = !told && known && known.said.size < CLAIMS ? [...known.said, textOf(sighting)] : [textOf(sighting)];
    if (!told && known?.told) this.#known.set(keyOf(sighting), { ...known, writtenAt: monotonicMs() });
    else this.#known.set(keyOf(sighting), { told, said: new Set(said), writtenAt: monotonicMs() });
  }
}

function keyOf({ namespace, instance }: WorkerSighting): string {
  return `${namespace}/${instance}`;
}

function textOf(sighting: WorkerSighting): string {
  return JSON.stringify(sighting);
}
