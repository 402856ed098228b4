/**
 * Asks for work: as much as there is room for, one call at a time, waiting at the server while there is nothing.
 *
 * Little room is let grow for a moment, so that many short handlers are claimed in few calls. Errors are answered with
 * growing, jittered pauses, and never less than the engine asked for.
 */
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import type { Claim } from '../../gen/tailrace/v1/lease_pb.js';
import { Backoff } from '../client/backoff.js';
import { asTailraceError } from '../client/errors.js';
import { monotonicMs, pause } from '../runtime/clock.js';
import { WakeSignal } from '../runtime/wake-signal.js';
import type { Claimant } from './claimant.js';
import type { EngineClient } from './engine-client.js';
import type { CompleteOptions } from './options.js';

const MOST_CLAIMS = 500;
/** Room for less than this share of the slots is given so long to grow. */
const LITTLE_ROOM = 1 / 4;
const GROWTH_MS = 5;
/** An answer without work before the wait is over makes a caller in a hurry. */
const HASTY_MS = 50;
const NETWORK_MS = 10_000;

export interface ClaimerOptions {
  readonly engine: Pick<EngineClient, 'claimExecutions'>;
  readonly options: CompleteOptions;
  readonly claimant: Claimant;
  /** How many more executions can be taken now. */
  readonly room: () => number;
  /** `askedMs`: monotonic time from before the claim was sent. */
  readonly accept: (claims: readonly Claim[], askedMs: number) => Promise<void>;
  readonly onDrain: () => void;
}

export class Claimer {
  readonly #options: ClaimerOptions;
  readonly #abort = new AbortController();
  readonly #roomGrew = new WakeSignal();
  readonly #backoff = new Backoff(100, 5_000);
  readonly #haste = new Backoff(5, 500);
  #running: Promise<void> = Promise.resolve();

  constructor(options: ClaimerOptions) {
    this.#options = options;
  }

  start(): void {
    this.#running = this.#run(this.#abort.signal);
  }

  /** Resolves when nothing more will be accepted. A wait at the server is given up. */
  async stop(): Promise<void> {
    this.#abort.abort();
    await this.#running;
  }

  roomGrew(): void {
    this.#roomGrew.wake();
  }

  async #run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const room = await this.#awaitRoom(signal);
      if (signal.aborted) return;
      const pauseMs = await this.#claim(room, signal);
      if (pauseMs > 0) await pause(pauseMs, signal);
    }
  }

  async #awaitRoom(signal: AbortSignal): Promise<number> {
    const { room, options } = this.#options;
    while (room() <= 0 && !signal.aborted) await this.#roomGrew.wait(undefined, signal);
    const endMs = monotonicMs() + GROWTH_MS;
    while (room() < options.slots * LITTLE_ROOM && monotonicMs() < endMs && !signal.aborted) {
      await this.#roomGrew.wait(endMs - monotonicMs(), signal);
    }
    return room();
  }

  /** Answers how long to pause before the next one. */
  async #claim(room: number, signal: AbortSignal): Promise<number> {
    const { engine, options, claimant, accept, onDrain } = this.#options;
    const askedMs = monotonicMs();
    try {
      const { claims, drain } = await engine.claimExecutions(
        {
          namespace: options.namespace,
          ...claimant,
          maxExecutions: Math.min(room, MOST_CLAIMS),
          wait: durationFromMs(options.claimWaitMs),
        },
        { signal, timeoutMs: options.claimWaitMs + NETWORK_MS },
      );
      this.#backoff.reset();
      await accept(claims, askedMs);
      if (drain) onDrain();
      const hasty = claims.length === 0 && monotonicMs() - askedMs < HASTY_MS;
      if (!hasty) this.#haste.reset();
      return hasty ? this.#haste.next() : 0;
    } catch (thrown) {
      if (signal.aborted) return 0;
      const error = asTailraceError(thrown);
      options.log(error.passing ? 'warn' : 'error', 'nothing could be claimed; trying again', { error });
      return this.#backoff.next(error);
    }
  }
}
