/**
 * The calls under way, and the order in which a drain ends them.
 *
 * 1. `draining` aborts: handlers that only wait answer at once, new calls are refused by the caller of this class.
 * 2. Unary calls may finish within the given bound. Streams go on, and so still tell how that work ended.
 * 3. Whatever is left is given up with DRAINING; its handlers see their signal abort.
 */
import { setMaxListeners } from 'node:events';
import { EngineError } from '../domain/errors.js';
import { after } from '../runtime/clock.js';
import type { Call } from './call.js';

const RETRY_MS = 1_000;
/** How long handlers that were given up may take to notice. */
const NOTICE_MS = 1_000;

export function goingAway(): EngineError {
  return new EngineError('DRAINING', 'this server is going away; repeat the call on another', {
    retryDelayMs: RETRY_MS,
  });
}

export class Calls {
  readonly #running = new Set<Call>();
  readonly #controller = new AbortController();
  #checkIdle: (() => void) | undefined;

  constructor() {
    setMaxListeners(0, this.#controller.signal); // every waiting call listens
  }

  get draining(): AbortSignal {
    return this.#controller.signal;
  }

  /** Those under way. */
  get running(): Iterable<Call> {
    return this.#running;
  }

  add(call: Call): void {
    this.#running.add(call);
  }

  /** The call is over: its answer has left, or never will, and its handler has returned. */
  remove(call: Call): void {
    this.#running.delete(call);
    this.#checkIdle?.();
  }

  async drain(ms: number): Promise<void> {
    this.#controller.abort(goingAway());
    await this.#until(() => ![...this.#running].some((call) => !call.streams), ms);
    for (const call of this.#running) call.giveUp(goingAway());
    await this.#until(() => this.#running.size === 0, NOTICE_MS);
  }

  #until(idle: () => boolean, ms: number): Promise<void> {
    return new Promise((resolve) => {
      const finish = () => {
        cancel();
        this.#checkIdle = undefined;
        resolve();
      };
      const cancel = after(ms, finish);
      this.#checkIdle = () => {
        if (idle()) finish();
      };
      this.#checkIdle();
    });
  }
}
