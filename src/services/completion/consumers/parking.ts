/** Entries whose key is parked are parked behind it, before anything beyond them is handed out. */
import type { LogRecord } from '../../../log/record.js';
import { recordKey, type Selection } from '../../../log/selection.js';
import { type HeldPlace, parkEntries, readHeldKeys } from '../../../repository/consumers/index.js';
import type { Runner } from '../../../repository/database.js';
import type { Shown } from '../entries.js';
import { toEntryLetters } from './entry-letter.js';

/** Payloads that did not come along are read whole; so many of them go into one statement. */
const LARGE_AT_ONCE = 16;

export interface Parking {
  readonly verdict: 'parked' | 'epoch' | 'halted';
  /** What is left to be delivered. */
  readonly records: readonly LogRecord[];
}

/** A crash on the way, and a repeat, leave what was parked parked: it is not delivered, nor parked twice. */
export async function parkFollowers(
  runner: Runner,
  held: HeldPlace,
  { selection, records, shown }: { selection: Selection; records: readonly LogRecord[]; shown: Shown },
): Promise<Parking> {
  const keys = await readHeldKeys(runner, held);
  const followers = records.filter((record) => keys.has(recordKey(selection, record)));
  const parked = new Set<LogRecord>();
  for (const some of portions(followers)) {
    const answer = await parkEntries(runner, held, await toEntryLetters(runner, selection, some, shown));
    if (answer.verdict !== 'parked') return { verdict: answer.verdict, records: [] };
    some.forEach((record, i) => {
      if (answer.parked?.[i]) parked.add(record);
    });
  }
  return { verdict: 'parked', records: records.filter((record) => !parked.has(record)) };
}

function portions(records: readonly LogRecord[]): LogRecord[][] {
  const made: LogRecord[][] = [];
  let large = 0;
  for (const record of records) {
    const last = made.at(-1);
    if (record.event?.omitted) large++;
    if (last === undefined || large > LARGE_AT_ONCE) {
      made.push([record]);
      large = record.event?.omitted ? 1 : 0;
    } else {
      last.push(record);
    }
  }
  return made;
}
