/**
 * How this process stands to its database: is the schema one it can live with, does the log get its positions, do the two
 * clocks agree. Told as the parts `schema`, `sequencer` and `clock` of readiness.
 *
 * One statement a minute while all is well. Sooner when the pulse keeps finding entries without a position, and every few
 * seconds until what was wrong is right again.
 */
import type { DatabaseFacts } from '../repository/inspection/index.js';
import { monotonicMs, wallMs } from '../runtime/clock.js';
import { Loop } from '../runtime/loop.js';
import type { Readiness } from '../runtime/readiness.js';

export interface StandingOptions {
  readonly read: () => Promise<DatabaseFacts>;
  /** Throws when the schema is not one that this process can live with. */
  readonly checkSchema: () => Promise<void>;
  readonly readiness: Readiness;
  readonly onError: (name: string, error: unknown) => void;
}

const CALM_MS = 60_000;
const WORRIED_MS = 5_000;
/** Entries that are older and have no position make the process not ready: whoever follows the log stands still. */
const MOST_LAG_MS = 30_000;
/** Ids tell the time by this process's clock, and retention goes by them. Leases go by the database's alone. */
const MOST_SKEW_MS = 5 * 60_000;
const TOLD_SKEW_MS = 1_000;

export class Standing {
  readonly #options: StandingOptions;
  readonly #loop: Loop;
  #schemaVersion: number | null | undefined;
  #isSchemaFit = true;
  #skewMs: number | undefined;

  constructor(options: StandingOptions) {
    this.#options = options;
    this.#loop = new Loop({
      name: 'standing',
      gapMs: WORRIED_MS,
      onError: options.onError,
      body: async () => ((await this.look()) ? CALM_MS : WORRIED_MS),
    });
  }

  /** This process's clock is ahead of the database's by so much; undefined until it was compared. */
  get skewMs(): number | undefined {
    return this.#skewMs;
  }

  /** Something may be wrong. */
  doubt(): void {
    this.#loop.wake();
  }

  start(): void {
    this.#loop.start();
  }

  async stop(): Promise<void> {
    await this.#loop.stop();
  }

  /** Answers whether all is well. */
  async look(): Promise<boolean> {
    const begunMs = monotonicMs();
    const facts = await this.#options.read();
    const tookMs = monotonicMs() - begunMs;
    // The answer was written about when half of the time had passed.
    this.#skewMs = wallMs() - tookMs / 2 - facts.now.getTime();
    const all = [await this.#schema(facts), this.#sequencer(facts), this.#clock(this.#skewMs, tookMs)];
    return all.every(Boolean);
  }

  /** The first version seen is the one that was checked before this process began to work. */
  async #schema({ schema_version: version }: DatabaseFacts): Promise<boolean> {
    if (this.#schemaVersion === undefined) {
      this.#schemaVersion = version;
      this.#options.readiness.set('schema', true, `version ${version ?? 0}`);
    } else if (version !== this.#schemaVersion || !this.#isSchemaFit) {
      const wrong = await this.#options.checkSchema().then(
        () => '',
        (error: unknown) => (error instanceof Error ? error.message : String(error)),
      );
      this.#schemaVersion = version;
      this.#isSchemaFit = wrong === '';
      this.#options.readiness.set('schema', this.#isSchemaFit, wrong || `version ${version ?? 0}`);
    }
    return this.#isSchemaFit;
  }

  #sequencer({ lag_ms: lagMs }: DatabaseFacts): boolean {
    const isReady = (lagMs ?? 0) <= MOST_LAG_MS;
    const seconds = Math.round((lagMs ?? 0) / 1_000);
    const note = `entries of the log have waited ${seconds} s for their positions`;
    this.#options.readiness.set('sequencer', isReady, isReady ? '' : note);
    return isReady;
  }

  #clock(skewMs: number, tookMs: number): boolean {
    const apartMs = Math.max(0, Math.abs(skewMs) - tookMs / 2);
    const isReady = apartMs <= MOST_SKEW_MS;
    const direction = skewMs > 0 ? 'ahead of' : 'behind';
    const note = `${Math.round(apartMs / 1_000)} s ${direction} the database's clock`;
    this.#options.readiness.set('clock', isReady, apartMs >= TOLD_SKEW_MS ? note : '');
    return isReady;
  }
}
