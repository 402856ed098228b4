/**
 * Tells the registry who is here and what it handles, learns from it when to drain, and says goodbye. Leases do not
 * depend on it.
 */
import { durationMs } from '@bufbuild/protobuf/wkt';
import { asTailraceError } from '../client/errors.js';
import { Loop } from '../runtime/loop.js';
import type { Claimant } from './claimant.js';
import type { EngineClient } from './engine-client.js';
import type { CompleteOptions } from './options.js';

const STANDARD_INTERVAL_MS = 30_000;
const LEAST_INTERVAL_MS = 500;
const CALL = { timeoutMs: 5_000 };

export interface RegistrationOptions {
  readonly engine: Pick<EngineClient, 'heartbeatWorker' | 'unregisterWorker'>;
  readonly options: CompleteOptions;
  readonly claimant: Claimant;
  readonly onDrain: (reason: string) => void;
}

export class Registration {
  readonly #options: RegistrationOptions;
  readonly #loop: Loop;
  /** Milliseconds until the next heartbeat, once the first has been answered. */
  #greetedMs: number | undefined;

  constructor(options: RegistrationOptions) {
    this.#options = options;
    this.#loop = new Loop({
      name: 'registration',
      body: () => this.#next(),
      onError: (_, error) => options.options.log('warn', 'the registry could not be reached; trying again', { error }),
      backoffMs: 500,
    });
  }

  /** Throws what waiting will not cure, such as refused options; a server that is away is waited for. */
  async start(): Promise<void> {
    try {
      this.#greetedMs = await this.#heartbeat();
    } catch (thrown) {
      const error = asTailraceError(thrown);
      if (!error.passing) throw error;
      this.#options.options.log('warn', 'the server cannot be reached yet; trying again', { error });
    }
    this.#loop.start();
  }

  /** Unregisters if the server can be reached; else the registry forgets it by itself. */
  async stop(): Promise<void> {
    await this.#loop.stop(CALL.timeoutMs);
    const { engine, options } = this.#options;
    try {
      await engine.unregisterWorker({ namespace: options.namespace, worker: this.#identity }, CALL);
    } catch (error) {
      options.log('debug', 'the worker could not be unregistered', { error });
    }
  }

  get #identity() {
    return this.#options.claimant.worker;
  }

  async #next(): Promise<number> {
    const greetedMs = this.#greetedMs;
    this.#greetedMs = undefined;
    return greetedMs ?? (await this.#heartbeat());
  }

  async #heartbeat(): Promise<number> {
    const { engine, options, claimant, onDrain } = this.#options;
    const answer = await engine.heartbeatWorker(
      {
        namespace: options.namespace,
        worker: this.#identity,
        lanes: options.lanes.map(({ lane }) => lane),
        types: claimant.types,
        capabilities: claimant.capabilities,
        maxConcurrency: options.slots,
        labels: { ...options.labels },
      },
      CALL,
    );
    if (answer.drain) onDrain(answer.drainReason);
    const { heartbeatInterval } = answer;
    return heartbeatInterval ? Math.max(LEAST_INTERVAL_MS, durationMs(heartbeatInterval)) : STANDARD_INTERVAL_MS;
  }
}
