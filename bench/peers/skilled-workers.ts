/**
 * Workers that differ in what they can do: each a connection and one claiming loop with a name of its own. Not the worker
 * library, whose hundred instances in one process would be most of what is measured.
 */
import type { Claim } from '../../gen/tailrace/v1/lease_pb.js';
import { inputOf, ordinalOf } from '../content.js';
import type { Tally } from './contestant.js';
import { type NewExecution, TailraceCalls } from './tailrace-calls.js';
import { textOf } from './tailrace-clients.js';

const TYPE = 'skilled';
const MOST_CLAIMED = 100;
/** Everybody has it, so that what is asked for is never all of what is offered. */
const COMMON = 'linux';

/** What an execution of this set asks for. */
function requiredBy(set: number): string[] {
  return [COMMON, `skill-${set}`];
}

export function needing(set: number): NewExecution {
  const input = { body: { case: 'text' as const, value: inputOf(set) } };
  return { type: TYPE, input, requiredCapabilities: requiredBy(set) };
}

export class SkilledWorkers {
  /** Claimed by a worker that lacks what they ask for. */
  misrouted = 0;
  /** Sets of executions that have run, by how many. */
  readonly ran = new Map<number, number>();
  readonly #workers: TailraceCalls[] = [];

  /** One worker for each list of sets that it can run. */
  constructor(url: string, workers: readonly (readonly number[])[]) {
    for (const sets of workers) {
      const calls = new TailraceCalls(url);
      const capabilities = [...new Set(sets.flatMap(requiredBy))];
      calls.claim({ type: TYPE, capabilities, size: MOST_CLAIMED }, 1, async (claims) => {
        for (const claim of claims) this.#look(claim, sets);
        await calls.complete(claims);
      });
      this.#workers.push(calls);
    }
  }

  /** What is waited for would never come if a worker has failed. */
  async unlessFailed<T>(work: Promise<T>): Promise<T> {
    return await Promise.race([
      work,
      ...this.#workers.map(({ loops }) => loops.unlessFailed(new Promise<never>(() => undefined))),
    ]);
  }

  /** Every end from now on. */
  async watch(ended: Tally): Promise<void> {
    await this.#workers[0]?.watchEnds((entries) => ended.add(entries.length));
  }

  async close(): Promise<void> {
    await Promise.all(this.#workers.map((calls) => calls.close()));
  }

  #look(claim: Claim, sets: readonly number[]): void {
    const set = ordinalOf(textOf(claim));
    this.ran.set(set, (this.ran.get(set) ?? 0) + 1);
    if (!sets.includes(set)) this.misrouted++;
  }
}
