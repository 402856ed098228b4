/** Whether an entry is the next one of its part, and what would be parked of it. */
import { scanFirst, scanPart } from '../../../log/scan.js';
import {
  type EntryLetter,
  type Holding,
  readFailingPart,
  readParkedBetween,
} from '../../../repository/consumers/index.js';
import { selectionOf } from '../../consumer-selection.js';
import type { CompletionDependencies } from '../index.js';
import { shownTo, toEntryLetters } from './entry-letter.js';
import type { Places } from './fields.js';
import { badCursor, cursorMoved } from './refusals.js';

/** A fetch looks no further than a scan does unasked; the same way takes longer when its pages have to be read again. */
const LOOK_MS = 10_000;

export interface FailingEntry {
  /** Where the part stood; −1 where nobody looked. */
  readonly before: bigint;
  /** Null where it cannot come to parking. */
  readonly letter: EntryLetter | null;
}

/**
 * Throws VERSION_CONFLICT when another entry comes first, BAD_CURSOR when none stands there. What is behind the part already,
 * or not held any more, is for the database to answer: it may be a repeat.
 */
export async function failingEntry(
  { database, pages, live }: CompletionDependencies,
  held: Holding,
  position: bigint,
  places: Places,
): Promise<FailingEntry> {
  const part = await readFailingPart(database, held);
  if (part === undefined || position <= part.position) return { before: part?.position ?? -1n, letter: null };
  const selection = selectionOf({ namespace: held.namespace, ...part });
  const place = { part: held.part, position: part.position };
  const bounds = { upTo: position, ms: LOOK_MS };
  let { record } = await scanFirst(pages, selection, place, bounds);
  if (record && record.entry.position < position) {
    const parked = await readParkedBetween(database, part, held, position);
    const records = parked.has(record.entry.position)
      ? (await scanPart(pages, selection, place, bounds)).records
      : [record];
    record = records.find(({ entry }) => !parked.has(entry.position));
    if (record && record.entry.position < position) throw cursorMoved(places.cursor(part.position));
  }
  if (record?.entry.position !== position) throw badCursor('no entry of this part stands there');
  const shown = shownTo({ namespace: held.namespace, incarnation: await live.incarnation() });
  const [letter] = await toEntryLetters(database, selection, [record], shown);
  return { before: part.position, letter: letter ?? null };
}
