/** Watchers over a log in memory: bounds, seams, and the ways in which a watch ends. */
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { cursorAt } from '../../../src/domain/cursor.js';
import { EngineError } from '../../../src/domain/errors.js';
import { RecordFilter } from '../../../src/log/filter.js';
import { LiveLog, type LiveLogOptions, type WatchStart } from '../../../src/log/live-log.js';
import type { WatchMessage } from '../../../src/log/watcher.js';
import { INCARNATION, MemoryLog } from '../../support/memory-log.js';

const NAMESPACE = 1;
const at = (position: bigint) => cursorAt({ namespace: NAMESPACE, incarnation: INCARNATION }, position);

let log: MemoryLog;
let stop: AbortController;

beforeEach(() => {
  vi.useFakeTimers();
  log = new MemoryLog();
  stop = new AbortController();
});

afterEach(() => {
  stop.abort();
  vi.useRealTimers();
});

function open(options: LiveLogOptions = {}): LiveLog {
  return new LiveLog(log, {
    buffer: { items: 10, bytes: 1_000_000 },
    message: { items: 4, bytes: 1_000_000 },
    ...options,
  });
}

function watch(live: LiveLog, start: WatchStart = 'latest', fields = {}): AsyncGenerator<WatchMessage, void> {
  const filter = new RecordFilter({ namespace: NAMESPACE, ...fields });
  return live.watch({ namespace: NAMESPACE, start, filter }, stop.signal);
}

async function next(messages: AsyncGenerator<WatchMessage, void>): Promise<WatchMessage> {
  const { value } = await messages.next();
  if (!value) throw new Error('the watch has ended');
  return value;
}

const positions = (message: WatchMessage) => message.records.map(({ entry }) => Number(entry.position));

/** Lets everything run that waits for no timer. */
const rest = () => vi.advanceTimersByTimeAsync(0);

test('a message holds no more than its bound, and its cursor stands behind its last record', async () => {
  log.append(10);
  const messages = watch(open(), 'earliest');
  expect(await next(messages)).toMatchObject({ records: [], cursor: at(0n) });
  const first = await next(messages);
  expect(positions(first)).toEqual([1, 2, 3, 4]);
  expect(first.cursor).toBe(at(4n));
  const [record] = first.records;
  expect(record && first.cursorOf(record)).toBe(at(1n));
});

test('whoever catches up while the tail moves on misses nothing at the seam', async () => {
  const live = open({ buffer: { items: 1_000, bytes: 1_000_000 } });
  const tail = watch(live);
  await next(tail);
  const following = next(tail);
  await rest();
  live.wake(log.append(30));
  await following;
  const late = watch(live, 'earliest');
  await next(late);
  const seen: number[] = [];
  while (seen.length < 60) {
    seen.push(...positions(await next(late)));
    if (log.entries.length < 60) live.wake(log.append(2));
  }
  expect(seen).toEqual(seen.map((_, i) => i + 1));
});

test('an idle watch tells how far it has looked', async () => {
  const live = open({ heartbeatMs: 1_000 });
  const messages = watch(live, 'latest', { lanes: ['another'] });
  await next(messages);
  const idle = next(messages);
  await rest();
  live.wake(log.append(3));
  await vi.advanceTimersByTimeAsync(1_000);
  expect(await idle).toMatchObject({ records: [], cursor: at(3n) });
});

test('nobody watching: nothing is read', async () => {
  const live = open();
  live.wake(log.append(5));
  await rest();
  expect(log.pagesRead).toBe(0);
  const messages = watch(live);
  await next(messages);
  const waiting = next(messages);
  await rest();
  stop.abort();
  await expect(waiting).rejects.toThrow('ended');
  const before = log.pagesRead;
  live.wake(log.append(5));
  await rest();
  expect(log.pagesRead).toBe(before);
  expect(live.watching).toBe(0);
});

test('a known head that was reached is not asked for again; a hint without one is', async () => {
  const live = open();
  const messages = watch(live);
  await next(messages);
  const first = next(messages);
  await rest();
  const before = log.pagesRead;
  live.wake(log.append(1));
  await first;
  live.wake(1n);
  await rest();
  expect(log.pagesRead - before).toBe(1);
  live.wake();
  await rest();
  expect(log.pagesRead - before).toBe(2);
});

test('a wake-up during the read that does not see it is not lost', async () => {
  const live = open();
  const messages = watch(live);
  await next(messages);
  const waiting = next(messages);
  await rest();
  const release = log.hold();
  live.wake();
  await rest();
  live.wake(log.append(1));
  release();
  expect(positions(await waiting)).toEqual([1]);
});

describe('a full buffer', () => {
  async function overflow(live: LiveLog) {
    const messages = watch(live);
    await next(messages);
    const first = next(messages);
    await rest();
    live.wake(log.append(1));
    await first;
    live.wake(log.append(40));
    await rest();
    return messages;
  }

  test('costs a consumer that goes on nothing', async () => {
    const live = open({ graceMs: 1_000 });
    const messages = await overflow(live);
    const seen: number[] = [];
    while (seen.length < 40) seen.push(...positions(await next(messages)));
    const waiting = next(messages);
    await vi.advanceTimersByTimeAsync(2_000);
    live.wake(log.append(1));
    seen.push(...positions(await waiting));
    expect(seen).toEqual(seen.map((_, i) => i + 2));
  });

  test('ends a watch whose consumer stands still, with the cursor to go on from', async () => {
    const live = open({ graceMs: 1_000 });
    const messages = await overflow(live);
    await vi.advanceTimersByTimeAsync(1_000);
    const error = await next(messages).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ reason: 'STREAM_TOO_SLOW', metadata: { cursor: at(1n) } });
    expect(live.watching).toBe(0);
    const again = watch(live, { cursor: at(1n) });
    await next(again);
    expect(positions(await next(again))).toEqual([2, 3, 4, 5]);
  });
});

describe('the end of a watch', () => {
  test('a database that is lost ends watches with their cursor, and new ones start when it is back', async () => {
    const live = open();
    const messages = watch(live);
    await next(messages);
    const waiting = next(messages);
    await rest();
    log.failure = new EngineError('DATABASE_UNAVAILABLE', 'gone', { retryDelayMs: 1_000 });
    live.wake(log.append(1));
    await expect(waiting).rejects.toMatchObject({
      reason: 'DATABASE_UNAVAILABLE',
      retryDelayMs: 1_000,
      metadata: { cursor: at(0n) },
    });
    log.failure = undefined;
    const again = watch(live, { cursor: at(0n) });
    await next(again);
    expect(positions(await next(again))).toEqual([1]);
  });

  test('a drain ends watches, waits and those who come late', async () => {
    const live = open();
    const messages = watch(live);
    await next(messages);
    const waiting = next(messages);
    await rest();
    live.close();
    await expect(waiting).rejects.toMatchObject({ reason: 'DRAINING', metadata: { cursor: at(0n) } });
    await expect(next(watch(live))).rejects.toMatchObject({ reason: 'DRAINING' });
    const wanted = { namespace: NAMESPACE, ids: ['x'], any: false, timeoutMs: 1 };
    await expect(live.awaitEnds(wanted, stop.signal)).rejects.toMatchObject({ reason: 'DRAINING' });
  });

  test('one watch too many is refused; a place that is given back is free', async () => {
    const live = open({ maxWatchers: 1 });
    const messages = watch(live);
    await next(messages);
    await expect(next(watch(live))).rejects.toMatchObject({ reason: 'TOO_MANY_STREAMS', metadata: { limit: '1' } });
    await messages.return();
    await next(watch(live));
  });
});
