/** Single submissions at a rate that does not wait, each timed from when it was due to the start of its handler. */
import { NO_ORDINAL } from './content.js';
import { offer } from './offered.js';
import { type Running, Tally } from './peers/contestant.js';

const PATIENCE_MS = 20_000;

export class Submissions {
  /** Whether more waited than a sustained rate leaves waiting. */
  overrun = false;
  readonly #backlog: number;
  #due: number[] = [];
  #took: number[] = [];
  #starts = new Tally();
  /** Ordinals go on from one round to the next, and are never the one that nobody looks for. */
  #first = NO_ORDINAL + 1;

  /** `backlog` is how many may wait for their start before it is too many. */
  constructor(backlog: number) {
    this.#backlog = backlog;
  }

  started(ordinal: number): void {
    const due = this.#due[ordinal - this.#first];
    if (due === undefined) return;
    this.#took.push(performance.now() - due);
    this.#starts.add(1);
  }

  /** Answers the milliseconds from the time each was due to the start of its handler. */
  async submit(running: Pick<Running, 'createOne'>, perSecond: number, seconds: number): Promise<number[]> {
    this.#first += this.#due.length;
    this.#due = [];
    this.#took = [];
    this.#starts = new Tally();
    const creations: Promise<void>[] = [];
    const send = (index: number, dueMs: number) => {
      this.#due.push(dueMs);
      creations.push(running.createOne(this.#first + index));
      if (this.#due.length - this.#starts.count > this.#backlog) this.overrun = true;
    };
    await offer(perSecond, seconds, send, () => this.overrun);
    await Promise.all([...creations, this.#starts.reach(this.#due.length, PATIENCE_MS)]);
    return this.#took;
  }
}
