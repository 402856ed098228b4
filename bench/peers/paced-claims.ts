/**
 * Executions at a steady rate that are created, claimed and completed by ten, each ten on its own, and how long the claims
 * take. They do not wait at the server: what they take is the claim.
 */
import { inputOf, NO_ORDINAL } from '../content.js';
import { offer } from '../offered.js';
import { TailraceCalls } from './tailrace-calls.js';

const TYPE = 'paced';
const BATCH = 10;
/** More than were created with it: one that found nothing left its ten to the next. */
const MOST_CLAIMED = 100;
const INPUT = { body: { case: 'text' as const, value: inputOf(NO_ORDINAL) } };

export class PacedClaims {
  readonly #calls: TailraceCalls;
  readonly #perSecond: number;

  constructor(url: string, perSecond: number) {
    this.#calls = new TailraceCalls(url);
    this.#perSecond = perSecond;
  }

  /** Answers the milliseconds of each claim that got something; all that was created has ended. */
  async run(seconds: number): Promise<number[]> {
    const took: number[] = [];
    const turns: Promise<number>[] = [];
    const turn = async () => {
      await this.#calls.createMany({ type: TYPE, input: INPUT }, BATCH);
      return await this.#workOnce((ms) => took.push(ms));
    };
    await offer(this.#perSecond / BATCH, seconds, () => turns.push(turn()));
    const ended = (await Promise.all(turns)).reduce((sum, count) => sum + count, 0);
    for (let open = turns.length * BATCH - ended; open > 0; ) open -= await this.#workOnce(() => undefined);
    return took;
  }

  async close(): Promise<void> {
    await this.#calls.close();
  }

  /** Answers how many it claimed and completed. */
  async #workOnce(onClaim: (ms: number) => void): Promise<number> {
    const startedMs = performance.now();
    const claims = await this.#calls.claimOnce({ type: TYPE, size: MOST_CLAIMED, waitMs: 0 });
    if (claims.length === 0) return 0;
    onClaim(performance.now() - startedMs);
    await this.#calls.complete(claims);
    return claims.length;
  }
}
