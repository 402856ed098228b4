/** How far generations are behind, for one answer: counting many takes no longer than counting a few. */
import { prunedPosition } from '../../../log/floors.js';
import { type Lag, lagOf } from '../../../log/lag.js';
import type { LogPages } from '../../../log/pages.js';
import type { ConsumerRow, GenerationRow } from '../../../repository/consumers/index.js';
import { monotonicMs } from '../../../runtime/clock.js';
import { selectionOf } from '../../consumer-selection.js';

const ALL_MS = 2_000;
/** What each may have when all is used up. */
const LEAST_MS = 5;

export class Lags {
  readonly #pages: LogPages;
  readonly #floor: bigint;
  readonly #untilMs = monotonicMs() + ALL_MS;

  /** `floor`: entries up to there are gone, and are not counted. */
  constructor(pages: LogPages, floor: bigint) {
    this.#pages = pages;
    this.#floor = floor;
  }

  async of(
    namespace: number,
    { spec, split_key: splitKey }: ConsumerRow,
    { part_count: partCount, positions }: GenerationRow,
  ): Promise<Lag> {
    const places = positions.map((position, part) => ({ part, position: later(position, this.#floor) }));
    const ms = Math.max(this.#untilMs - monotonicMs(), LEAST_MS);
    const selection = selectionOf({ namespace, spec, splitKey, partCount });
    try {
      return await lagOf(this.#pages, selection, places, { ms });
    } catch (error) {
      const floor = prunedPosition(error);
      if (floor === undefined) throw error;
      // Some of it has gone since the floor was read.
      const left = places.map(({ part, position }) => ({ part, position: later(position, floor) }));
      return await lagOf(this.#pages, selection, left, { ms });
    }
  }
}

function later(a: bigint, b: bigint): bigint {
  return a > b ? a : b;
}
