/**
 * Whether the tokens of calls that last are still good. The gate looks when a call begins; a stream goes on for days, and
 * a claim that waits would be handed work after its token has ended.
 *
 * Once a second, one look for each token, mostly at what is remembered. While nobody can tell, calls go on: they have
 * nothing to tell either. Certificates are not looked at again; their connection was made with them.
 */
import type { EngineError } from '../domain/errors.js';
import { after } from '../runtime/clock.js';
import type { Gate } from '../services/authentication/index.js';
import type { Call } from './call.js';

/** With the time that a token is trusted unasked, within the 5 s in which a revoked one is refused everywhere. */
const LOOK_MS = 1_000;

export class Standing {
  readonly #gate: Gate;
  /** With the header that let them in. */
  readonly #calls = new Map<Call, string>();
  #looking = false;

  constructor(gate: Gate) {
    this.#gate = gate;
  }

  watch(call: Call, authorization: string): void {
    this.#calls.set(call, authorization);
    this.#look();
  }

  forget(call: Call): void {
    this.#calls.delete(call);
  }

  #look(): void {
    if (this.#looking || this.#calls.size === 0) return;
    this.#looking = true;
    after(LOOK_MS, () => void this.#lookAtAll());
  }

  async #lookAtAll(): Promise<void> {
    const headers = new Set(this.#calls.values());
    const refusals = new Map<string, EngineError | undefined>();
    await Promise.all([...headers].map(async (one) => refusals.set(one, await this.#gate.refusalOf(one))));
    for (const [call, authorization] of this.#calls) {
      const refusal = refusals.get(authorization);
      if (refusal) call.giveUp(refusal);
    }
    this.#looking = false;
    this.#look();
  }
}
