/**
 * From where on a queue in the order of time is read.
 *
 * What was done with leaves dead entries at its head, and they stay while any snapshot that could see them is held. A
 * process therefore remembers from where on there may be something that is due, and looks no further back than a little before
 * that. What is committed late, or made with a time long past, may lie below: for a small share of the time everything
 * is read, and whoever hears of it lowers the floor.
 */
import { TimeShare } from './time-share.js';

/** What is committed at this moment may be due so long before what was seen already. */
const MARGIN_MS = 2_000;
/** 5 % of the time. */
export const EVERYTHING_EVERY = 20;

/** One look at the queue, from when it begins until it has been answered. */
export interface Look {
  readonly begunMs: number;
  /** How far before that it goes; undefined: everything is read. */
  readonly behindMs: number | undefined;
}

export class DueFloor {
  readonly #everything = new TimeShare(EVERYTHING_EVERY);
  /** Looks under way, each with the earliest that was heard of meanwhile: it may not have seen it. */
  readonly #under = new Map<Look, number>();
  /** When what is there is due at the earliest, as far as is known. */
  #floorMs = Number.NEGATIVE_INFINITY;

  begin(nowMs: number): Look {
    return this.beginWith(nowMs, this.#everything.isDue(nowMs));
  }

  /** As part of a look at several queues, which keeps its own share of the time for everything. */
  beginWith(nowMs: number, everything: boolean): Look {
    const known = this.#floorMs > Number.NEGATIVE_INFINITY;
    const look = { begunMs: nowMs, behindMs: known && !everything ? nowMs - this.#floorMs + MARGIN_MS : undefined };
    this.#under.set(look, Number.POSITIVE_INFINITY);
    return look;
  }

  /** The earliest that it left is due so long after it began; undefined: it left nothing that is due, or soon will be. */
  left(look: Look, nextMs: number | undefined): void {
    const floorMs = Math.min(
      look.begunMs + Math.min(nextMs ?? 0, 0),
      this.#under.get(look) ?? Number.POSITIVE_INFINITY,
    );
    if (floorMs < this.#floorMs) this.lower(floorMs);
    else this.#floorMs = floorMs;
  }

  /** It is over, however it went. */
  ended(look: Look, nowMs: number): void {
    this.#under.delete(look);
    if (look.behindMs === undefined) this.#everything.took(nowMs, nowMs - look.begunMs);
  }

  /** There is something that is due at that time. */
  lower(dueMs: number): void {
    this.#floorMs = Math.min(this.#floorMs, dueMs);
    for (const [look, heardMs] of this.#under) this.#under.set(look, Math.min(heardMs, dueMs));
  }
}
