/** Readers under whom the log goes: those that missed nothing do not notice, the others are told where to go on. */
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { ALL_NAMESPACES, cursorAt } from '../../../src/domain/cursor.js';
import { EngineError } from '../../../src/domain/errors.js';
import { RecordFilter } from '../../../src/log/filter.js';
import { LiveLog, type WatchStart } from '../../../src/log/live-log.js';
import type { WatchMessage } from '../../../src/log/watcher.js';
import { INCARNATION, MemoryLog } from '../../support/memory-log.js';

const NAMESPACE = 1;
const OTHER = 2;
const at = (position: bigint, namespace = NAMESPACE) => cursorAt({ namespace, incarnation: INCARNATION }, position);

let log: MemoryLog;
let live: LiveLog;
let stop: AbortController;

beforeEach(() => {
  vi.useFakeTimers();
  log = new MemoryLog();
  live = new LiveLog(log, { buffer: { items: 100, bytes: 1_000_000 }, message: { items: 8, bytes: 1_000_000 } });
  stop = new AbortController();
});

afterEach(() => {
  stop.abort();
  vi.useRealTimers();
});

function watch(start: WatchStart, namespace = NAMESPACE): AsyncGenerator<WatchMessage, void> {
  return live.watch({ namespace, start, filter: new RecordFilter({ namespace }) }, stop.signal);
}

async function next(messages: AsyncGenerator<WatchMessage, void>): Promise<number[]> {
  const { value } = await messages.next();
  if (!value) throw new Error('the watch has ended');
  return value.records.map(({ entry }) => Number(entry.position));
}

async function errorOf(messages: AsyncGenerator<WatchMessage, void>): Promise<EngineError> {
  const error = await messages.next().catch((reason: unknown) => reason);
  if (!(error instanceof EngineError)) throw new Error(`not an engine's error: ${String(error)}`);
  return error;
}

/** Lets everything run that waits for no timer. */
const rest = () => vi.advanceTimersByTimeAsync(0);

test.each([
  ['a little', 20n],
  ['far', 40n],
])('a watcher that is behind is told at once when what comes next is gone, %s', async (_, floor) => {
  log.append(60);
  const messages = watch('earliest');
  await next(messages);
  expect(await next(messages)).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
  log.floor = floor;
  // Another one has joined the end, so what this one reads is known not to be the end.
  const atEnd = watch('latest');
  await next(atEnd);
  const standing = atEnd.next();
  await rest();
  const { reason, metadata } = await errorOf(messages);
  expect([reason, metadata['earliest_cursor'], metadata['cursor']]).toEqual(['CURSOR_PRUNED', at(floor), at(8n)]);
  const again = watch({ cursor: metadata['earliest_cursor'] ?? '' });
  await next(again);
  expect((await next(again))[0]).toBe(Number(floor) + 1);
  stop.abort();
  await standing;
});

test('a watcher at the end does not notice', async () => {
  log.append(10);
  const messages = watch('latest');
  await next(messages);
  const following = next(messages);
  await rest();
  log.floor = 10n;
  live.wake(log.append(2));
  expect(await following).toEqual([11, 12]);
});

test('a process that slept for longer than the log is kept tells its watchers, and has its waiters ask again', async () => {
  log.append(10);
  const messages = watch('latest');
  await next(messages);
  const following = errorOf(messages);
  const ids = ['00000000-0000-7000-8000-000000000001'];
  vi.spyOn(log, 'executions').mockResolvedValue(
    new Map(ids.map((id) => [id, { id, namespace: NAMESPACE, outcome: undefined } as never])),
  );
  const waiting = live
    .awaitEnds({ namespace: NAMESPACE, ids, any: false, timeoutMs: 60_000 }, stop.signal)
    .catch((error: EngineError) => error.reason);
  await rest();
  log.append(40);
  log.floor = 45n;
  live.wake(50n);
  const { reason, metadata } = await following;
  expect([reason, metadata['earliest_cursor']]).toEqual(['CURSOR_PRUNED', at(45n)]);
  expect(await waiting).toBe('DATABASE_UNAVAILABLE');
});

test('a namespace is shown its own part, and all of them each its own', async () => {
  log.append(4);
  log.append(4, { namespace: OTHER });
  log.append(2);
  log.floorsOf.set(NAMESPACE, 3n);
  log.floorsOf.set(OTHER, 6n);
  await live.floors.of(NAMESPACE);
  const all = watch('earliest', ALL_NAMESPACES);
  await next(all);
  expect(await next(all)).toEqual([4, 7, 8]);
  expect((await errorOf(watchFrom(1n))).metadata['earliest_cursor']).toBe(at(3n));
});

/** With floors that rose after it had begun: this source's head knows none of namespaces. */
function watchFrom(position: bigint) {
  const messages = watch({ cursor: at(position) });
  return {
    ...messages,
    next: async () => {
      await next(messages);
      return await messages.next();
    },
  } as AsyncGenerator<WatchMessage, void>;
}

test('floors are read once a second, by whoever is behind, and for nobody else', async () => {
  log.append(10);
  await Promise.all([live.floors.of(NAMESPACE), live.floors.of(OTHER), live.floors.of(NAMESPACE)]);
  expect(log.floorReads).toBe(1);
  await vi.advanceTimersByTimeAsync(1_500);
  const messages = watch('latest');
  await next(messages);
  const following = next(messages);
  await rest();
  for (let i = 0; i < 5; i++) {
    await vi.advanceTimersByTimeAsync(2_000);
    live.wake(log.append(1));
  }
  await following;
  expect(log.floorReads).toBe(2);
  await live.floors.now(NAMESPACE);
  expect(log.floorReads).toBe(3);
});
