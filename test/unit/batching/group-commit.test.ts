/** Proof 30: everybody in a group gets their own answer, in order, whatever the others brought along. */
import fc from 'fast-check';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { GroupCommit, type GroupCommitOptions } from '../../../src/batching/group-commit.js';
import type { EngineError } from '../../../src/domain/errors.js';

interface Item {
  readonly id: number;
  readonly keys?: readonly string[];
  readonly bytes?: number;
}

type Options = Partial<GroupCommitOptions<Item, string>>;

/** Records its batches; each waits until it is let go, unless `hold` is false. */
class Group {
  readonly batches: number[][] = [];
  readonly commit: GroupCommit<Item, string>;
  readonly #held: (() => void)[] = [];
  #told: (() => void)[] = [];

  constructor({ run = async (items) => items.map(answerTo), ...options }: Options = {}, hold = true) {
    this.commit = new GroupCommit({
      name: 'test',
      keysOf: ({ keys = [] }) => keys,
      bytesOf: ({ bytes = 0 }) => bytes,
      run: async (items) => {
        this.batches.push(items.map(({ id }) => id));
        for (const tell of this.#told.splice(0)) tell();
        if (hold) await new Promise<void>((resolve) => this.#held.push(resolve));
        return await run(items);
      },
      ...options,
    });
  }

  /** Resolves when so many batches have begun. */
  async begun(count: number): Promise<void> {
    while (this.batches.length < count) await new Promise<void>((resolve) => this.#told.push(resolve));
  }

  letGo(): void {
    this.#held.shift()?.();
  }
}

const answerTo = ({ id }: Item) => `answer ${id}`;
const violation = (code: string) => Object.assign(new Error('refused'), { code });
const items = (from: number, to: number, more: Omit<Item, 'id'> = {}) =>
  Array.from({ length: to - from }, (_, i) => ({ id: from + i, ...more }));

afterEach(() => {
  vi.useRealTimers();
});

describe('proof 30: batches', () => {
  test('calls of one turn of the event loop share a batch, and each gets its own answers in order', async () => {
    const group = new Group({}, false);
    const answers = await Promise.all([
      group.commit.submit([{ id: 1 }, { id: 2 }]),
      group.commit.submit([{ id: 3 }]),
      group.commit.submit([]),
    ]);
    expect(answers).toEqual([['answer 1', 'answer 2'], ['answer 3'], []]);
    expect(group.batches).toEqual([[1, 2, 3]]);
  });

  test('two run at once; what arrives meanwhile forms the next', async () => {
    const group = new Group();
    const answers = [group.commit.submit([{ id: 1 }])];
    await group.begun(1);
    answers.push(group.commit.submit([{ id: 2 }]));
    await group.begun(2);
    answers.push(group.commit.submit([{ id: 3 }]), group.commit.submit([{ id: 4 }]));
    group.letGo();
    await group.begun(3);
    expect(group.batches).toEqual([[1], [2], [3, 4]]);
    group.letGo();
    group.letGo();
    expect((await Promise.all(answers)).flat()).toHaveLength(4);
  });

  test('are cut by count and by bytes; one item over the limit goes alone', async () => {
    const group = new Group({ maxItems: 3, maxBytes: 10 }, false);
    await group.commit.submit([...items(0, 4), { id: 4, bytes: 6 }, { id: 5, bytes: 5 }, { id: 6, bytes: 90 }]);
    expect(group.batches).toEqual([[0, 1, 2], [3, 4], [5], [6]]);
  });

  test('never hold one key twice, also while an earlier batch has it; others pass by', async () => {
    const group = new Group();
    const submitted = group.commit.submit([
      { id: 1, keys: ['a'] },
      { id: 2, keys: ['a', 'b'] },
      { id: 3, keys: ['b'] },
      { id: 4 },
    ]);
    await group.begun(1);
    // 3 waits for 2, which came first, although nobody who runs has its key.
    expect(group.batches).toEqual([[1, 4]]);
    group.letGo();
    await group.begun(2);
    group.letGo();
    await group.begun(3);
    group.letGo();
    await submitted;
    expect(group.batches).toEqual([[1, 4], [2], [3]]);
  });

  test('of one line run one after the other, and hold as many of it as there are; others pass by', async () => {
    const lines = new Map([
      [1, 'a'],
      [2, 'a'],
      [3, 'a'],
      [5, 'a'],
      [6, 'b'],
    ]);
    const group = new Group({ maxItems: 3, lineOf: ({ id }) => lines.get(id), keysOf: ({ keys = [] }) => keys });
    const submitted = group.commit.submit([
      { id: 1 },
      { id: 2, keys: ['x'] },
      { id: 4 },
      { id: 3 },
      { id: 5 },
      { id: 6 },
    ]);
    await group.begun(2);
    expect(group.batches).toEqual([[1, 2, 4], [6]]);
    group.letGo();
    await group.begun(3);
    group.letGo();
    group.letGo();
    await submitted;
    expect(group.batches).toEqual([[1, 2, 4], [6], [3, 5]]);
  });

  test('of one line keep their order while the row of somebody before them is locked', async () => {
    let locked = 2;
    const group: Group = new Group(
      {
        maxItems: 2,
        lineOf: () => 'a',
        isBusy: (answer) => answer === 'busy',
        run: async (batch) => batch.map((item) => (locked-- > 0 ? 'busy' : answerTo(item))),
      },
      false,
    );
    await group.commit.submit(items(1, 5));
    expect(group.batches).toEqual([
      [1, 2],
      [1, 2],
      [3, 4],
    ]);
  });
});

describe('proof 30: an item that Postgres refuses', () => {
  test('is found by halving and alone is told; the others are answered', async () => {
    const error = violation('23514');
    const group = new Group(
      {
        run: async (batch) => {
          if (batch.some(({ id }) => id === 37)) throw error;
          return batch.map(answerTo);
        },
      },
      false,
    );
    const calls = items(0, 100).map((item) => group.commit.submit([item]));
    const settled = await Promise.allSettled(calls);
    expect(settled.map(({ status }) => status)).toEqual(
      items(0, 100).map(({ id }) => (id === 37 ? 'rejected' : 'fulfilled')),
    );
    expect(settled[37]).toMatchObject({ reason: error });
    expect(settled[99]).toMatchObject({ value: ['answer 99'] });
    expect(group.batches.length).toBeLessThan(2 * Math.ceil(Math.log2(100)) + 2);
  });

  test('rejects its own call with the first such error, after the rest of that call is decided', async () => {
    const group = new Group(
      {
        run: async (batch) => {
          if (batch.some(({ id }) => id % 2 === 1)) throw violation(`22${batch[0]?.id}00`);
          return batch.map(answerTo);
        },
      },
      false,
    );
    await expect(group.commit.submit(items(0, 4))).rejects.toMatchObject({ code: '22100' });
    expect(group.batches.flat()).toContain(3);
  });

  test.each(['08006', '40P01', 'ECONNRESET'])(
    '%s is nobody’s fault: all are told and nothing is sent again',
    async (code) => {
      const group = new Group({ run: async () => Promise.reject(violation(code)) }, false);
      const settled = await Promise.allSettled([group.commit.submit([{ id: 1 }]), group.commit.submit([{ id: 2 }])]);
      expect(settled).toMatchObject([{ reason: { code } }, { reason: { code } }]);
      expect(group.batches).toEqual([[1, 2]]);
    },
  );

  test('an answer that is missing is an error, not a wait without end', async () => {
    const group = new Group({ run: async (batch) => batch.slice(1).map(answerTo) }, false);
    await expect(group.commit.submit([{ id: 1 }, { id: 2 }])).rejects.toThrow(/without an answer/);
  });

  test('the group goes on after every kind of failure', async () => {
    let broken = true;
    const group = new Group(
      { run: async (batch) => (broken ? Promise.reject(violation('23505')) : batch.map(answerTo)) },
      false,
    );
    await expect(group.commit.submit([{ id: 1, keys: ['a'] }])).rejects.toThrow();
    broken = false;
    expect(await group.commit.submit([{ id: 2, keys: ['a'] }])).toEqual(['answer 2']);
  });
});

describe('proof 30: an item that is locked by somebody', () => {
  test('is tried again, before the later ones of its key', async () => {
    let locked = 3;
    const group = new Group(
      {
        isBusy: (answer) => answer === 'busy',
        run: async (batch) => batch.map((item) => (item.id === 1 && locked-- > 0 ? 'busy' : answerTo(item))),
      },
      false,
    );
    const [first, second] = await Promise.all([
      group.commit.submit([{ id: 1, keys: ['a'] }]),
      group.commit.submit([{ id: 2, keys: ['a'] }]),
    ]);
    expect([first, second]).toEqual([['answer 1'], ['answer 2']]);
    expect(group.batches).toEqual([[1], [1], [1], [1], [2]]);
  });

  test('is given up with CONTENTION after its time, and its successors go on', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
    const group = new Group(
      {
        isBusy: (answer) => answer === 'busy',
        run: async (batch) => batch.map((item) => (item.id === 1 ? 'busy' : answerTo(item))),
      },
      false,
    );
    const stuck = group.commit.submit([{ id: 1, keys: ['a'] }]).catch((error: EngineError) => error);
    const next = group.commit.submit([{ id: 2, keys: ['a'] }]);
    await group.begun(1);
    for (let given = false; !given; ) {
      vi.advanceTimersByTime(1_000);
      given = await Promise.race([
        stuck.then(() => true),
        new Promise<false>((resolve) => setImmediate(resolve, false)),
      ]);
    }
    expect(await stuck).toMatchObject({ reason: 'CONTENTION', retryDelayMs: 100 });
    expect(await next).toEqual(['answer 2']);
    expect(group.batches.length).toBeLessThan(10);
  });
});

describe('proof 30: overload', () => {
  const overloaded = { reason: 'OVERLOADED', retryDelayMs: 500 };

  test('too many items are refused at once, and accepted again when there is room', async () => {
    const group = new Group({ maxQueued: 3, maxItems: 1, maxInFlight: 1 });
    const first = group.commit.submit([{ id: 0 }]);
    await group.begun(1);
    const queued = group.commit.submit(items(1, 4));
    await expect(group.commit.submit([{ id: 9 }])).rejects.toMatchObject(overloaded);
    group.letGo();
    await first;
    await group.begun(2);
    const later = group.commit.submit([{ id: 5 }]);
    for (let batch = 2; batch <= 5; batch++) {
      await group.begun(batch);
      group.letGo();
    }
    expect([await queued, await later]).toEqual([['answer 1', 'answer 2', 'answer 3'], ['answer 5']]);
  });

  test('too many bytes are refused, until they have been taken', async () => {
    const group = new Group({ maxQueuedBytes: 10, maxInFlight: 1 });
    const first = group.commit.submit([{ id: 0 }]);
    await group.begun(1);
    const big = group.commit.submit([{ id: 1, bytes: 11 }]);
    await expect(group.commit.submit([{ id: 2 }])).rejects.toMatchObject(overloaded);
    group.letGo();
    await group.begun(2);
    const third = group.commit.submit([{ id: 3, bytes: 11 }]);
    group.letGo();
    await group.begun(3);
    group.letGo();
    expect(await Promise.all([first, big, third])).toHaveLength(3);
  });
});

test('proof 30: whatever happens, each item is decided once by itself, and one key is never twice at once', async () => {
  const item = fc.record({
    keys: fc.uniqueArray(fc.constantFrom('a', 'b', 'c'), { maxLength: 2 }),
    bytes: fc.integer({ min: 0, max: 8 }),
    fate: fc.constantFrom('fine', 'fine', 'fine', 'violates'),
    busy: fc.integer({ min: 0, max: 2 }),
    turn: fc.integer({ min: 0, max: 3 }),
  });
  const fates = fc.array(item, { minLength: 1, maxLength: 40 });
  await fc.assert(
    fc.asyncProperty(fates, fc.scheduler(), async (plans, scheduler) => {
      const busy = plans.map((plan) => plan.busy);
      const running = new Set<string>();
      const arrived: number[] = [];
      const decided: number[] = [];
      let inFlight = 0;
      const commit = new GroupCommit<{ id: number }, string>({
        name: 'property',
        maxItems: 6,
        maxBytes: 20,
        keysOf: ({ id }) => plans[id]?.keys ?? [],
        bytesOf: ({ id }) => plans[id]?.bytes ?? 0,
        isBusy: (answer) => answer === 'busy',
        run: async (batch) => {
          inFlight++;
          expect(inFlight).toBeLessThanOrEqual(2);
          expect(batch.length).toBeLessThanOrEqual(6);
          const keys = batch.flatMap(({ id }) => plans[id]?.keys ?? []);
          for (const key of keys) {
            expect(running.has(key)).toBe(false);
            running.add(key);
          }
          try {
            await scheduler.schedule(Promise.resolve(), 'statement');
            if (batch.some(({ id }) => plans[id]?.fate === 'violates')) throw violation('23514');
            return batch.map(({ id }) => {
              if ((busy[id] ?? 0) > 0) {
                busy[id] = (busy[id] ?? 0) - 1;
                return 'busy';
              }
              decided.push(id);
              return `answer ${id}`;
            });
          } finally {
            inFlight--;
            for (const key of keys) running.delete(key);
          }
        },
      });
      const turns = [0, 1, 2, 3].map((turn) => plans.flatMap((plan, id) => (plan.turn === turn ? [{ id }] : [])));
      const outcomes = new Map<number, string>();
      const calls = turns.flatMap((turn) =>
        turn.map(({ id }) =>
          scheduler
            .schedule(Promise.resolve(), `call ${id}`)
            .then(() => {
              arrived.push(id);
              return commit.submit([{ id }]);
            })
            .then(
              ([answer]) => outcomes.set(id, answer ?? 'nothing'),
              (error: { code?: string }) => outcomes.set(id, error.code ?? 'unknown'),
            ),
        ),
      );
      await scheduler.waitFor(Promise.all(calls));
      expect(outcomes.size).toBe(plans.length);
      for (const key of ['a', 'b', 'c']) {
        const of = (ids: number[]) =>
          ids.filter((id) => plans[id]?.keys.some((one) => one === key) && plans[id]?.fate === 'fine');
        expect(of(decided)).toEqual(of(arrived));
      }
      for (const [id, outcome] of outcomes) {
        expect(outcome).toBe(plans[id]?.fate === 'violates' ? '23514' : `answer ${id}`);
      }
    }),
    { numRuns: 60 },
  );
});

test('with a gap a lone call waits for nobody, and those after it share the next batch', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
  const group = new Group({ gapMs: 50 }, false);
  const turn = () => new Promise<void>((resolve) => setImmediate(resolve));
  await group.commit.submit([{ id: 1 }]);
  const later: Promise<string[]>[] = [];
  for (const id of [2, 3, 4]) {
    later.push(group.commit.submit([{ id }]));
    vi.advanceTimersByTime(10);
    await turn();
  }
  expect(group.batches).toEqual([[1]]);
  vi.advanceTimersByTime(20);
  expect((await Promise.all(later)).flat()).toEqual(['answer 2', 'answer 3', 'answer 4']);
  vi.advanceTimersByTime(60);
  await group.commit.submit([{ id: 5 }]);
  expect(group.batches).toEqual([[1], [2, 3, 4], [5]]);
});

test('with an overlap only a batch that runs for long has another beside it', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
  const group = new Group({ overlapMs: 50 });
  const turn = () => new Promise<void>((resolve) => setImmediate(resolve));
  const first = group.commit.submit([{ id: 1 }]);
  await group.begun(1);
  const rest = [2, 3].map((id) => group.commit.submit([{ id }]));
  await turn();
  expect(group.batches).toEqual([[1]]);
  group.letGo();
  await first;
  await group.begun(2);
  rest.push(group.commit.submit([{ id: 4 }]));
  await turn();
  expect(group.batches).toEqual([[1], [2, 3]]);
  vi.advanceTimersByTime(60);
  await group.begun(3);
  expect(group.batches).toEqual([[1], [2, 3], [4]]);
  group.letGo();
  group.letGo();
  await Promise.all(rest);
});
