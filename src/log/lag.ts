/** How far a generation of a consumer is behind, and whether it has come as far as another. */
import type { LogPages } from './pages.js';
import { scan } from './scan.js';
import { entryPart, leastOf, type PartPlace, type Selection } from './selection.js';

export interface Lag {
  /** Selected entries that lie behind the positions of their parts. */
  readonly entries: number;
  /** There are more, or there was no time to look further. */
  readonly capped: boolean;
  /** When the first of them was recorded. */
  readonly since: Date | undefined;
}

export interface LagBounds {
  /** Counted exactly up to here. Default 10,000. */
  readonly entries?: number;
  /** Most entries to look at. Default 200,000. */
  readonly scanned?: number;
  /** Default 2,000 ms. */
  readonly ms?: number;
}

const EXACT = 10_000;
const SCANNED = 200_000;
const MS = 2_000;

/** `places`: every part of the generation. Throws CURSOR_PRUNED. */
export async function lagOf(
  pages: LogPages,
  selection: Selection,
  places: readonly PartPlace[],
  { entries: exact = EXACT, scanned = SCANNED, ms = MS }: LagBounds = {},
): Promise<Lag> {
  const positions = byPart(places);
  let entries = 0;
  let since: Date | undefined;
  for await (const page of scan(pages, selection, leastOf(places), { scanned, ms }, true)) {
    for (const record of page.selected) {
      if (record.entry.position <= positionOf(positions, entryPart(selection, record))) continue;
      if (entries >= exact) return { entries, capped: true, since };
      entries++;
      since ??= record.entry.at;
    }
    if (page.last) return { entries, capped: !page.ended, since };
  }
  return { entries, capped: false, since };
}

/**
 * Whether no selected entry lies behind the position of its part and up to `upTo`. Undefined: none as far as was looked,
 * but the bounds came first. Throws CURSOR_PRUNED.
 */
export async function caughtUp(
  pages: LogPages,
  selection: Selection,
  places: readonly PartPlace[],
  upTo: bigint,
  { scanned = SCANNED, ms = MS }: Omit<LagBounds, 'entries'> = {},
): Promise<boolean | undefined> {
  if (leastOf(places) >= upTo) return true;
  const positions = byPart(places);
  for await (const page of scan(pages, selection, leastOf(places), { upTo, scanned, ms }, true)) {
    for (const record of page.selected) {
      if (record.entry.position > positionOf(positions, entryPart(selection, record))) return false;
    }
    if (page.last) return page.ended || page.upTo >= upTo ? true : undefined;
  }
  return true;
}

function byPart(places: readonly PartPlace[]): ReadonlyMap<number, bigint> {
  return new Map(places.map(({ part, position }) => [part, position]));
}

function positionOf(positions: ReadonlyMap<number, bigint>, part: number): bigint {
  return positions.get(part) ?? 0n;
}
