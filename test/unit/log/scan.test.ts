/** What consumers read of the log: every selected entry in one part, in order, through pages that all of them share. */
import { beforeEach, describe, expect, it } from 'vitest';
import { RecordFilter } from '../../../src/log/filter.js';
import { caughtUp, lagOf } from '../../../src/log/lag.js';
import { LogPages } from '../../../src/log/pages.js';
import { ReadAhead } from '../../../src/log/read-ahead.js';
import { type ScanBounds, scanFirst, scanPart } from '../../../src/log/scan.js';
import { entryPart, type Selection } from '../../../src/log/selection.js';
import { Chance } from '../../support/chance.js';
import { MemoryLog } from '../../support/memory-log.js';

const PARTS = 5;
const EVERYTHING: Selection = { filter: new RecordFilter({ namespace: 1 }), splitKey: 1, partCount: PARTS };
const KIND_2: Selection = { ...EVERYTHING, filter: new RecordFilter({ namespace: 1, kinds: [2] }) };
const parts = Array.from({ length: PARTS }, (_, part) => part);
const flow = (n: number) => `0190a5b4-9c1e-7d2a-8f00-0000000000${10 + n}`;

let log: MemoryLog;
let pages: LogPages;
beforeEach(() => {
  log = new MemoryLog();
  pages = new LogPages(log);
});

/** Transactions of one to thirty entries, of twenty flows and none; a third of them of kind 2. */
function fill(count: number, dice: Chance): void {
  while (log.entries.length < count) {
    const seq = BigInt(log.entries.length + 1);
    for (let left = 1 + dice.below(dice.percent(10) ? 30 : 3); left > 0; left--) {
      const of = dice.below(21);
      log.append(1, { seq, kind: dice.percent(33) ? 2 : 1, flow: of === 20 ? null : flow(of) });
    }
  }
}

async function readAll(part: number, bounds: ScanBounds, selection = KIND_2): Promise<number[]> {
  const found: number[] = [];
  for (let position = 0n; ; ) {
    const { records, upTo, ended } = await scanPart(pages, selection, { part, position }, bounds);
    expect(upTo).toBeGreaterThanOrEqual(records.at(-1)?.entry.position ?? position);
    found.push(...records.map(({ entry }) => Number(entry.position)));
    if (ended) return found;
    expect(upTo).toBeGreaterThan(position);
    position = upTo;
  }
}

const selected = () => log.entries.filter(({ kind }) => kind === 2).map(({ position }) => Number(position));

describe('A scan', () => {
  it.each([1, 2, 3])('finds each entry in one part, in order, however it is cut (%i)', async (seed) => {
    const dice = new Chance(seed);
    fill(300, dice);
    const all = await Promise.all(parts.map((part) => readAll(part, { entries: 1 + dice.below(9), scanned: 20 })));
    for (const found of all) expect(found).toEqual(found.toSorted((a, b) => a - b));
    expect(all.flat().toSorted((a, b) => a - b)).toEqual(selected());
    // Whatever has no key is in the first.
    const keyless = log.entries.filter(({ kind, flow: of }) => kind === 2 && of === null);
    expect(all[0]).toEqual(expect.arrayContaining(keyless.map(({ position }) => Number(position))));
  });

  it('ends at a bound, with one entry at least', async () => {
    log.append(40, { kind: 2 });
    const place = { part: 0, position: 5n };
    expect(await scanPart(pages, KIND_2, place, { bytes: 1 })).toMatchObject({ upTo: 6n, ended: false });
    expect(await scanPart(pages, KIND_2, place, { upTo: 9n })).toMatchObject({ upTo: 9n, ended: true });
    expect(await scanPart(pages, KIND_2, place, { scanned: 1 })).toMatchObject({ upTo: 8n, ended: false });
    expect(await scanPart(pages, KIND_2, place)).toMatchObject({ upTo: 40n, ended: true });
    expect((await scanFirst(pages, KIND_2, place)).record?.entry.position).toBe(6n);
    expect(await scanFirst(pages, EVERYTHING, { part: 1, position: 0n })).toMatchObject({ record: undefined });
  });

  it('reads what others read no second time, also at the end, and what was forgotten again', async () => {
    fill(200, new Chance(4));
    const few = Math.ceil(log.entries.length / log.pageEntries) + 1;
    const all = await Promise.all(parts.map((part) => readAll(part, {})));
    expect(log.pagesRead).toBeLessThanOrEqual(few);
    const head = log.append(0);
    log.pagesRead = 0;
    // Those who ask while a read is under way share the next one.
    await Promise.all(Array.from({ length: 50 }, () => pages.after(head)));
    expect(log.pagesRead).toBeLessThanOrEqual(2);
    log.append(3);
    expect(await Promise.all(parts.map(() => pages.after(head)))).toEqual(
      parts.map(() => log.entries.slice(-3).map((entry) => expect.objectContaining({ entry }))),
    );
    pages = new LogPages(log, { entries: 20, bytes: 1_000_000 });
    expect(await Promise.all(parts.map((part) => readAll(part, { entries: 3 })))).toEqual(all);
  });

  it('goes on behind what is gone by now, though it has the beginning of that page', async () => {
    log.append(3);
    const read = async (position: bigint) => (await scanPart(pages, EVERYTHING, { part: 0, position })).upTo;
    expect(await read(0n)).toBe(3n);
    log.append(4);
    log.floor = 5n;
    expect(await read(5n)).toBe(7n);
    log.append();
    expect(await read(7n)).toBe(8n);
    await expect(read(3n)).rejects.toMatchObject({ reason: 'CURSOR_PRUNED', metadata: { position: '5' } });
  });

  it('says where the log is gone', async () => {
    log.append(50);
    log.floor = 21n;
    const gone = { reason: 'CURSOR_PRUNED', metadata: { position: '21' } };
    const read = (position: bigint) => scanPart(pages, EVERYTHING, { part: 0, position });
    for (const position of [0n, 7n, 18n, 20n]) {
      pages = new LogPages(log);
      await expect(read(position)).rejects.toMatchObject(gone);
    }
    expect((await read(21n)).records).toHaveLength(29);
    expect((await read(50n)).records).toEqual([]);
    log.floor = 40n;
    pages = new LogPages(log);
    log.failure = new Error('lost');
    await expect(read(45n)).rejects.toThrow('lost');
    log.failure = undefined;
    expect((await read(45n)).records).toHaveLength(5);
  });
});

describe('A generation', () => {
  it.each([5, 6])('is as far behind as its parts are, and has caught up when none of them is (%i)', async (seed) => {
    const dice = new Chance(seed);
    fill(250, dice);
    const head = BigInt(log.entries.length);
    const records = (await Promise.all(parts.map((part) => scanPart(pages, KIND_2, { part, position: 0n })))).flatMap(
      (found) => found.records,
    );
    for (let round = 0; round < 20; round++) {
      const places = parts.map((part) => ({ part, position: BigInt(dice.below(Number(head))) }));
      const left = records
        .filter((record) => record.entry.position > (places[entryPart(KIND_2, record)]?.position ?? 0n))
        .toSorted((a, b) => Number(a.entry.position - b.entry.position));
      const [first] = left;
      const lag = { entries: left.length, capped: false, since: first?.entry.at };
      expect(await lagOf(pages, KIND_2, places)).toEqual(lag);
      const cap = Math.max(1, left.length - 1);
      if (left.length > 1) expect(await lagOf(pages, KIND_2, places, { entries: cap })).toMatchObject({ capped: true });
      const upTo = BigInt(dice.below(Number(head)));
      const behind = left.some(({ entry }) => entry.position <= upTo);
      expect(await caughtUp(pages, KIND_2, places, upTo)).toBe(!behind);
    }
    const none = { ...KIND_2, filter: new RecordFilter({ namespace: 2 }) };
    expect(await caughtUp(pages, none, [{ part: 0, position: 0n }], head, { scanned: 1 })).toBeUndefined();
  });
});

describe('Reading ahead', () => {
  it('has the next answer ready, and drops it when something else is asked for', async () => {
    log.append(64, { kind: 2 });
    const ahead = new ReadAhead(pages);
    const made: bigint[] = [];
    const bounds = { entries: 8, bytes: 1_000_000 };
    const prepare = ({ entry }: { entry: { position: bigint } }) => void made.push(entry.position);
    const read = async (position: bigint) => {
      const ask = { key: 'a part', selection: KIND_2, place: { part: 0, position }, bounds, prepare };
      return (await ahead.read(ask)).records.map(({ entry }) => Number(entry.position));
    };
    expect(await read(0n)).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
    expect(await read(8n)).toEqual([9, 10, 11, 12, 13, 14, 15, 16]);
    expect(made.slice(0, 8)).toEqual([9n, 10n, 11n, 12n, 13n, 14n, 15n, 16n]);
    expect(await read(3n)).toEqual([4, 5, 6, 7, 8, 9, 10, 11]);
    expect(await read(56n)).toEqual([57, 58, 59, 60, 61, 62, 63, 64]);
    // What was read ahead had found the end.
    log.append(2, { kind: 2 });
    expect(await read(64n)).toEqual([65, 66]);
  });
});
