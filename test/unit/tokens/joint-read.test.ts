import { afterEach, expect, it, vi } from 'vitest';
import { monotonicMs } from '../../../src/runtime/clock.js';
import { JointRead } from '../../../src/services/tokens/joint-read.js';

/** A source whose reads end when the test says so. */
function source(restMs = 0) {
  const reads: { keys: readonly string[]; end: (value: string) => void; fail: (error: Error) => void; at: number }[] =
    [];
  const shared = new JointRead<string, string>(
    (keys) =>
      new Promise((resolve, reject) => {
        const end = (value: string) => resolve(new Map(keys.map((key) => [key, value])));
        reads.push({ keys, end, fail: reject, at: monotonicMs() });
      }),
    restMs,
  );
  return { shared, reads };
}

const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

afterEach(() => void vi.useRealTimers());

it('asks once for all who come before the read begins, and anew for whoever comes after', async () => {
  const { shared, reads } = source();
  const first = [shared.get('a'), shared.get('b'), shared.get('a')];
  await turn();
  const later = [shared.get('a'), shared.get('c')];
  await turn();
  expect(reads.map(({ keys }) => keys)).toEqual([['a', 'b']]);
  reads[0]?.end('old');
  expect(await Promise.all(first)).toEqual(['old', 'old', 'old']);
  await turn();
  expect(reads.map(({ keys }) => keys)).toEqual([
    ['a', 'b'],
    ['a', 'c'],
  ]);
  reads[1]?.end('new');
  expect(await Promise.all(later)).toEqual(['new', 'new']);
});

it('answers undefined for what the read did not find', async () => {
  const shared = new JointRead<string, string>(async () => new Map());
  expect(await shared.get('a')).toBeUndefined();
});

it('rejects those who shared a read that failed, and nobody after them', async () => {
  const { shared, reads } = source();
  const first = [shared.get('a'), shared.get('b')].map((got) => got.catch((error: Error) => error.message));
  await turn();
  const later = shared.get('a');
  reads[0]?.fail(new Error('away'));
  expect(await Promise.all(first)).toEqual(['away', 'away']);
  await turn();
  reads[1]?.end('there');
  expect(await later).toBe('there');
});

it('rests between two reads where it is told to, however many ask', async () => {
  // Beginnings are told apart by milliseconds: a machine that pauses between two lines has no part in it.
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
  const { shared, reads } = source(60);
  for (let round = 0; round < 3; round++) {
    const got = Promise.all(Array.from({ length: 50 }, (_, i) => shared.get(`${round} ${i}`)));
    while (reads.length <= round) await vi.advanceTimersByTimeAsync(1);
    reads[round]?.end('x');
    await got;
  }
  const [first = 0] = reads.map(({ at }) => at);
  expect(reads.map(({ at }) => at - first)).toEqual([0, 60, 120]);
});
