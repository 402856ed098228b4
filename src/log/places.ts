/**
 * Waiting for what was committed to get its position, which is final then. Many waiters share one statement, and each
 * new head of the log wakes them; a wake-up that is lost costs a few milliseconds.
 */
import { EngineError } from '../domain/errors.js';
import { monotonicMs } from '../runtime/clock.js';
import { WakeSignal } from '../runtime/wake-signal.js';
import { Gathering } from './gathering.js';

export interface PlaceSource {
  /** Of rows of the log; those that have none yet are missing. */
  positions(seqs: readonly bigint[]): Promise<ReadonlyMap<bigint, bigint>>;
}

/** The sequencer's usual delay, about. */
const PAUSE_MS = 10;
/** Longer than a process takes that does it for another one. */
const GIVE_UP_MS = 10_000;

export class Places {
  readonly #gathering: Gathering<bigint>;
  readonly #waiting = new Set<WakeSignal>();

  constructor(source: PlaceSource) {
    this.#gathering = new Gathering(async (seqs) => {
      const found = await source.positions([...seqs].map(BigInt));
      return new Map([...found].map(([seq, position]) => [`${seq}`, position]));
    });
  }

  /** To be called right after the commit: the first look is the first wake-up's. Throws DATABASE_UNAVAILABLE. */
  async of(seqs: Iterable<bigint>): Promise<ReadonlyMap<bigint, bigint>> {
    const found = new Map<bigint, bigint>();
    let left = [...new Set(seqs)];
    const until = monotonicMs() + GIVE_UP_MS;
    const signal = new WakeSignal();
    this.#waiting.add(signal);
    try {
      while (left.length > 0) {
        if (monotonicMs() > until) throw notNumbered();
        await signal.wait(PAUSE_MS);
        const answer = await this.#gathering.ask(left.map(String));
        for (const seq of left) {
          const position = answer.get(`${seq}`);
          if (position !== undefined) found.set(seq, position);
        }
        left = left.filter((seq) => !found.has(seq));
      }
    } finally {
      this.#waiting.delete(signal);
    }
    return found;
  }

  wake(): void {
    for (const signal of this.#waiting) signal.wake();
  }
}

function notNumbered(): EngineError {
  return new EngineError(
    'DATABASE_UNAVAILABLE',
    'it is stored, and its place in the log is not final yet; repeat the call',
    {
      retryDelayMs: 1_000,
    },
  );
}
