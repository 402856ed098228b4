/**
 * Reads the log for consumers: what they select, part by part, from any position on. Scanning is bounded, so that one who
 * selects little costs a call no more than one who selects all; whoever is not done goes on from where it stopped.
 */
import { monotonicMs } from '../runtime/clock.js';
import { turn } from '../runtime/turn.js';
import type { LogPages } from './pages.js';
import type { LogRecord } from './record.js';
import { entryPart, type PartPlace, type Selection, splitsByDetail } from './selection.js';

export interface ScanBounds {
  /** Most records to answer. */
  readonly entries?: number;
  /** Most they may take, about; one always comes. */
  readonly bytes?: number;
  /** The last position to look at. Default: the end of the log. */
  readonly upTo?: bigint;
  /** Most entries to look at, about. Default 100,000. */
  readonly scanned?: number;
  /** How long to go on. Default 1,000 ms. */
  readonly ms?: number;
}

export interface Scanned {
  /** With their details, in the order of the log. */
  readonly records: readonly LogRecord[];
  /** Everything up to here was looked at, and what is selected of it stands in `records`. */
  readonly upTo: bigint;
  /** Nothing more was there: the end of the log, or `bounds.upTo`, was reached. */
  readonly ended: boolean;
}

const SCANNED = 100_000;
const MS = 1_000;
/** Pages that are kept are looked through without a wait; so many take about a millisecond. */
const PAGES_IN_A_ROW = 4;

/** The selected records of one part. Throws CURSOR_PRUNED. */
export async function scanPart(
  pages: LogPages,
  selection: Selection,
  { part, position }: PartPlace,
  bounds: ScanBounds = {},
): Promise<Scanned> {
  const { entries = Number.MAX_SAFE_INTEGER, bytes: most = Number.MAX_SAFE_INTEGER } = bounds;
  const records: LogRecord[] = [];
  let bytes = 0;
  for await (const page of scan(pages, selection, position, bounds)) {
    for (const record of page.selected) {
      if (entryPart(selection, record) !== part) continue;
      if (records.length > 0 && bytes + record.bytes > most) {
        return { records, upTo: records.at(-1)?.entry.position ?? position, ended: false };
      }
      records.push(record);
      bytes += record.bytes;
      if (records.length >= entries) return { records, upTo: record.entry.position, ended: false };
    }
    if (page.last) return { records, upTo: page.upTo, ended: page.ended };
  }
  return { records, upTo: position, ended: true };
}

/** The first selected record of a part behind its position; undefined `record` and not `ended`: none as far as was looked. */
export async function scanFirst(
  pages: LogPages,
  selection: Selection,
  place: PartPlace,
  bounds: Omit<ScanBounds, 'entries' | 'bytes'> = {},
): Promise<Omit<Scanned, 'records'> & { readonly record: LogRecord | undefined }> {
  const { records, upTo, ended } = await scanPart(pages, selection, place, { ...bounds, entries: 1 });
  return { record: records[0], upTo, ended };
}

interface ScannedPage {
  /** Of any part. */
  readonly selected: readonly LogRecord[];
  readonly upTo: bigint;
  /** Nothing more was there. */
  readonly ended: boolean;
  /** No page follows. */
  readonly last: boolean;
}

/** Selected records of all parts, page by page. `lean`: details are read only where the choice needs them. */
export async function* scan(
  pages: LogPages,
  selection: Selection,
  from: bigint,
  bounds: ScanBounds,
  lean = false,
): AsyncGenerator<ScannedPage, void> {
  const { upTo: end, scanned: most = SCANNED, ms = MS } = bounds;
  const { filter } = selection;
  const untilMs = monotonicMs() + ms;
  let position = from;
  let scanned = 0;
  for (let pagesRead = 1; ; pagesRead++) {
    if (pagesRead % PAGES_IN_A_ROW === 0) await turn();
    const page = end !== undefined && position >= end ? [] : await pages.after(position);
    const inside = end === undefined ? page : page.filter(({ entry }) => entry.position <= end);
    const admitted = inside.filter((record) => filter.admits(record));
    const wanted = lean
      ? admitted.filter((record) => filter.needsDetail(record) || splitsByDetail(selection, record))
      : admitted;
    await pages.detail(wanted);
    const selected = admitted.filter((record) => filter.selects(record));
    position = inside.at(-1)?.entry.position ?? position;
    scanned += inside.length;
    const ended = inside.length === 0;
    const last = ended || scanned >= most || monotonicMs() > untilMs;
    yield { selected, upTo: position, ended, last };
    if (last) return;
  }
}
