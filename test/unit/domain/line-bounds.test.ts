/** Where claims begin to read: late commits are never lost, and what is drained is not read again. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { LineBounds, type Place, type Stretch } from '../../../src/domain/line-bounds.js';

const CLASS = 7;
/** Some ten thousand steps take a second, and several where the machine is slow or busy. */
const LONG_MS = 60_000;
const PRIORITIES = [-1_000, 0, 1_000];

interface Row {
  readonly priority: number;
  readonly seq: bigint;
}

interface Writer {
  readonly xid: bigint;
  readonly drawn: Row[];
}

/** What Postgres keeps of one class: transactions under way, a sequence, and the rows that everybody sees. */
class Line {
  readonly bounds: LineBounds;
  readonly visible: Row[] = [];
  readonly #writers: Writer[] = [];
  #xid = 100n;
  #seq = 0n;
  #read: { heads: Place[] } | undefined;
  created = 0;
  claimed = 0;

  constructor(mostPriorities?: number) {
    this.bounds = new LineBounds(mostPriorities);
  }

  begin(): void {
    this.#writers.push({ xid: this.#xid++, drawn: [] });
  }

  draw(which: number, priority: number): void {
    const writer = this.#writers[which % Math.max(1, this.#writers.length)];
    writer?.drawn.push({ priority, seq: ++this.#seq });
  }

  end(which: number, commits: boolean): void {
    const [writer] = this.#writers.splice(which % Math.max(1, this.#writers.length), 1);
    if (!writer || !commits) return;
    this.visible.push(...writer.drawn);
    this.created += writer.drawn.length;
  }

  /** The first half of moving the bounds: a reading, and the heads as a later statement sees them. */
  read(): void {
    const own = this.#xid++;
    const oldest = this.#writers[0]?.xid ?? own;
    this.bounds.observe({ seq: this.#seq, xid: own, oldest });
    const known = this.bounds.places([CLASS]);
    const from = (priority: number) => known.find((place) => place.priority === priority)?.seq ?? 0n;
    const heads = PRIORITIES.flatMap((priority) => {
      const seqs = this.visible
        .filter((row) => row.priority === priority && row.seq >= from(priority))
        .map(({ seq }) => seq);
      const [lowest] = seqs.sort((a, b) => (a < b ? -1 : 1));
      return lowest === undefined ? [] : [{ class: CLASS, priority, seq: lowest }];
    });
    this.#read = { heads };
  }

  /** The second half, any time later. */
  advance(): void {
    if (this.#read) this.bounds.advance([CLASS], this.#read.heads);
    this.#read = undefined;
  }

  claim(limit: number, aggressive: boolean): void {
    const taken = this.reached(aggressive).slice(0, limit);
    for (const row of taken) this.visible.splice(this.visible.indexOf(row), 1);
    this.claimed += taken.length;
    for (const priority of PRIORITIES) {
      const [lowest] = taken.filter((row) => row.priority === priority);
      if (lowest) this.bounds.claimed({ class: CLASS, ...lowest });
    }
  }

  /** The visible rows that the stretches hold, in the order of the index. */
  reached(aggressive: boolean): Row[] {
    const stretches = this.bounds.stretches(CLASS, aggressive);
    const rows = this.visible.filter((row) => stretches.some((stretch) => holds(stretch, row)));
    return rows.sort((a, b) => a.priority - b.priority || (a.seq < b.seq ? -1 : 1));
  }

  /** Everybody commits, and the bounds are moved until nothing moves. */
  settle(): void {
    while (this.#writers.length > 0) this.end(0, true);
    for (let i = 0; i < 3; i++) {
      this.read();
      this.advance();
    }
  }
}

function holds({ fromPriority, fromSeq, toPriority }: Stretch, { priority, seq }: Row): boolean {
  const after = priority > fromPriority || (priority === fromPriority && seq >= fromSeq);
  return after && priority < toPriority;
}

function tile(stretches: readonly Stretch[]): boolean {
  const reaches = stretches.every((stretch, i) => stretch.toPriority === (stretches[i + 1]?.fromPriority ?? 1_001));
  return stretches[0]?.fromPriority === -1_000 && reaches;
}

const step = fc.oneof(
  fc.record({ do: fc.constant('begin' as const) }),
  fc.record({ do: fc.constant('draw' as const), which: fc.nat(9), priority: fc.constantFrom(...PRIORITIES) }),
  fc.record({ do: fc.constant('end' as const), which: fc.nat(3), commits: fc.boolean() }),
  fc.record({ do: fc.constant('read' as const) }),
  fc.record({ do: fc.constant('advance' as const) }),
  fc.record({ do: fc.constant('claim' as const), limit: fc.nat(9), aggressive: fc.boolean() }),
);

describe('lower bounds', () => {
  test('never lie above a row that may still be claimed, whoever commits when', { timeout: LONG_MS }, () => {
    fc.assert(
      fc.property(fc.array(step, { minLength: 80, maxLength: 200 }), fc.integer({ min: 1, max: 3 }), (steps, most) => {
        const line = new Line(most);
        for (const one of steps) {
          if (one.do === 'begin') line.begin();
          if (one.do === 'draw') line.draw(one.which, one.priority);
          if (one.do === 'end') line.end(one.which, one.commits);
          if (one.do === 'read') line.read();
          if (one.do === 'advance') line.advance();
          if (one.do === 'claim') line.claim(one.limit, one.aggressive);
          expect(line.reached(false)).toHaveLength(line.visible.length);
          expect([tile(line.bounds.stretches(CLASS, false)), tile(line.bounds.stretches(CLASS, true))]).toEqual([
            true,
            true,
          ]);
        }
        line.settle();
        line.claim(Number.POSITIVE_INFINITY, false);
        expect(line.claimed).toBe(line.created);
      }),
      { numRuns: 120 },
    );
  });

  test('go to the lowest row that is left, or behind everything that is settled', () => {
    const line = new Line();
    line.begin();
    for (let i = 0; i < 10; i++) line.draw(0, 0);
    line.end(0, true);
    line.claim(4, false);
    line.settle();
    expect(line.bounds.stretches(CLASS, false).at(-1)).toEqual({ fromPriority: 0, fromSeq: 5n, toPriority: 1_001 });
    line.claim(6, false);
    line.settle();
    expect(line.bounds.stretches(CLASS, false).at(-1)).toMatchObject({ fromSeq: 11n });
  });

  test('stand still behind a writer that stays open, and its row is found when it commits', () => {
    const line = new Line();
    line.begin();
    line.draw(0, 0);
    line.begin();
    for (let i = 0; i < 50; i++) line.draw(1, 0);
    line.end(1, true);
    line.claim(50, false);
    for (let i = 0; i < 300; i++) {
      line.read();
      line.advance();
    }
    expect(line.bounds.stretches(CLASS, false).at(-1)).toMatchObject({ fromSeq: 1n });
    line.end(0, true);
    line.claim(1, false);
    expect(line.claimed).toBe(51);
    line.settle();
    expect(line.bounds.stretches(CLASS, false).at(-1)).toMatchObject({ fromSeq: 52n });
  });
});

test('a line with rows at every priority is looked into in few stretches', () => {
  const bounds = new LineBounds();
  for (let priority = -1_000; priority <= 1_000; priority++) {
    bounds.claimed({ class: CLASS, priority, seq: BigInt(priority + 2_000) });
  }
  const stretches = bounds.stretches(CLASS, true);
  expect(stretches.length).toBeLessThanOrEqual(33);
  expect(tile(stretches)).toBe(true);
  expect(stretches.at(-1)).toMatchObject({ fromPriority: 1_000, fromSeq: 3_000n });
});

describe('the aggressive bound', () => {
  const claimed = (bounds: LineBounds, seq: bigint) => bounds.claimed({ class: CLASS, priority: 0, seq });

  test('is used while the safe one is far behind, but for two percent of the time', () => {
    const bounds = new LineBounds();
    claimed(bounds, 10_000n);
    bounds.ranSafe(0, 4);
    expect(bounds.prefersAggressive([CLASS], 1)).toBe(false);
    claimed(bounds, 30_000n);
    expect(bounds.prefersAggressive([CLASS], 1)).toBe(true);
    expect(bounds.prefersAggressive([CLASS + 1], 1)).toBe(false);
    expect(bounds.prefersAggressive([CLASS], 199)).toBe(true);
    expect(bounds.prefersAggressive([CLASS], 200)).toBe(false);
  });

  test('never goes back, and never lies below the safe one', () => {
    const line = new Line();
    claimed(line.bounds, 500n);
    claimed(line.bounds, 40n);
    expect(line.bounds.stretches(CLASS, true).at(-1)).toMatchObject({ fromSeq: 500n });
    line.begin();
    for (let i = 0; i < 600; i++) line.draw(0, 0);
    line.end(0, false);
    line.settle();
    expect(line.bounds.stretches(CLASS, true).at(-1)).toMatchObject({ fromSeq: 601n });
  });
});
