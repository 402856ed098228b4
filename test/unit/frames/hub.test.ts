/** Tails over streams in memory: what they share, where they are cut, and what no interleaving may lose. */
import { setMaxListeners } from 'node:events';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { EngineError } from '../../../src/domain/errors.js';
import { decodeFrameCursor } from '../../../src/domain/frame-cursor.js';
import { FrameHub, type FrameHubOptions } from '../../../src/frames/hub.js';
import type { FrameMessage } from '../../../src/frames/reader.js';
import { ALL_MODES } from '../../../src/frames/source.js';
import { pause } from '../../../src/runtime/clock.js';
import { uuidV7 } from '../../../src/runtime/random.js';
import { eventually } from '../../support/eventually.js';
import { BEGINNING, MemoryFrames } from '../../support/memory-frames.js';

let source: MemoryFrames;
let hub: FrameHub;
const never = new AbortController().signal;
setMaxListeners(0, never);
const A = uuidV7();
const B = uuidV7();

beforeEach(() => {
  source = new MemoryFrames();
});
afterEach(async () => {
  vi.useRealTimers();
  await hub.stop();
});

function start(options: FrameHubOptions = {}): void {
  hub = new FrameHub(source, { gapMs: 1, heartbeatMs: 60_000, ...options });
  hub.start();
}

function tail(execution = A, place = BEGINNING, signal = never) {
  return hub.tail({ execution, attempt: 1, modes: ALL_MODES, place }, signal);
}

const textsOf = ({ frames }: FrameMessage) => frames.map(({ payload }) => String(payload));

async function next(messages: AsyncGenerator<FrameMessage, void>): Promise<FrameMessage> {
  const { value, done } = await messages.next();
  if (done) throw new Error('the tail has ended');
  return value;
}

/** So many texts, in however many messages. */
async function take(messages: AsyncGenerator<FrameMessage, void>, count: number): Promise<string[]> {
  const texts: string[] = [];
  while (texts.length < count) texts.push(...textsOf(await next(messages)));
  return texts;
}

const numbers = (count: number, from = 0) => Array.from({ length: count }, (_, i) => String(from + i));

test('what was, what comes, and the end', async () => {
  start();
  source.append(A, 'a', 'b');
  const messages = tail();
  expect(textsOf(await next(messages))).toEqual(['a', 'b']);
  source.append(A, 'c');
  hub.wake([A]);
  expect(textsOf(await next(messages))).toEqual(['c']);
  source.append(A, 'd');
  source.close(A);
  hub.wake();
  expect(textsOf(await next(messages))).toEqual(['d']);
  expect(await next(messages)).toMatchObject({ frames: [], closed: { outcome: 1 } });
  expect((await messages.next()).done).toBe(true);
  expect(hub.reading).toBe(0);
});

test('a tail of nothing is told that it is in place; an append while it is read for is not missed', async () => {
  start();
  const messages = tail();
  const { frames, cursor, closed } = await next(messages);
  expect([frames, closed]).toEqual([[], undefined]);
  expect(decodeFrameCursor(cursor, A)).toMatchObject({ attempt: 1, durable: 0 });
  source.append(A, 'a');
  source.meanwhile = () => {
    source.meanwhile = () => undefined;
    source.append(A, 'b');
    hub.wake([A]);
  };
  hub.wake([A]);
  expect(await take(messages, 2)).toEqual(['a', 'b']);
  await messages.return();
});

test('a hundred readers of a stream are read for together, late ones as soon as they have come up', async () => {
  start();
  source.append(A, ...numbers(3_000));
  const tails = Array.from({ length: 100 }, () => tail());
  const all = await Promise.all(tails.map((messages) => take(messages, 3_000)));
  for (const texts of all) expect(texts).toEqual(numbers(3_000));
  const late = tail();
  expect(await take(late, 3_000)).toEqual(numbers(3_000));
  source.reads.length = 0;
  source.append(A, 'new');
  const told = Promise.all([...tails, late].map((messages) => take(messages, 1)));
  hub.wake([A]);
  expect(new Set((await told).flat())).toEqual(new Set(['new']));
  expect(source.reads).toEqual([1]);
  for (const messages of [...tails, late]) await messages.return();
});

test('hints name their streams: others are not looked at', async () => {
  start();
  const [one, other] = [tail(A), tail(B)];
  await Promise.all([next(one), next(other)]);
  source.reads.length = 0;
  source.append(A, 'a');
  hub.wake([A]);
  await take(one, 1);
  expect(source.reads).toEqual([1]);
  hub.wake();
  await eventually(() => source.reads.length === 2);
  expect(source.reads).toEqual([1, 2]);
  hub.wake([uuidV7()]);
  for (const messages of [one, other]) await messages.return();
  hub.wake();
  await pause(30);
  expect(source.reads).toEqual([1, 2]);
});

test('a reader that does not keep up is cut with its cursor, and delays nobody', async () => {
  start({ buffer: { items: 10, bytes: 1_000 }, graceMs: 50 });
  const [slow, quick] = [tail(), tail()];
  await Promise.all([next(slow), next(quick)]);
  for (let i = 0; i < 40; i += 4) {
    source.append(A, ...numbers(4, i));
    hub.wake([A]);
    expect(await take(quick, 4)).toEqual(numbers(4, i));
  }
  await eventually(() => hub.cut === 1);
  const error = await slow.next().catch((reason: unknown) => reason);
  expect(error).toMatchObject({ reason: 'STREAM_TOO_SLOW' });
  const cursor = decodeFrameCursor((error as EngineError).metadata['cursor'] ?? '', A);
  expect(cursor.durable).toBe(0);
  const again = tail(A, { ...BEGINNING, durable: cursor.durable });
  expect(await take(again, 40)).toEqual(numbers(40));
  for (const messages of [quick, again]) await messages.return();
  expect(hub.reading).toBe(0);
});

test('a burst over the buffer cuts nobody who takes it', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'], shouldAdvanceTime: true });
  start({ buffer: { items: 10, bytes: 1_000 }, message: { items: 3, bytes: 1_000 }, graceMs: 60 });
  const messages = tail();
  await next(messages);
  source.append(A, ...numbers(100));
  hub.wake([A]);
  const texts: string[] = [];
  while (texts.length < 100) {
    texts.push(...textsOf(await next(messages)));
    await pause(10);
  }
  expect(texts).toEqual(numbers(100));
  await pause(80);
  source.append(A, 'more');
  hub.wake([A]);
  expect(await take(messages, 1)).toEqual(['more']);
  expect(hub.cut).toBe(0);
  await messages.return();
});

test('one that has not come up yet may take its time', async () => {
  start({ buffer: { items: 10, bytes: 1_000 }, graceMs: 20 });
  source.append(A, ...numbers(100));
  const messages = tail();
  const texts = textsOf(await next(messages));
  await pause(60);
  texts.push(...(await take(messages, 100 - texts.length)));
  expect([texts, hub.cut]).toEqual([numbers(100), 0]);
  await messages.return();
});

test('a frame larger than the buffer passes alone', async () => {
  start({ buffer: { items: 10, bytes: 10 }, message: { items: 10, bytes: 10 } });
  const large = 'x'.repeat(100);
  source.append(A, 'a', large, 'b', large);
  const messages = tail();
  expect(await take(messages, 4)).toEqual(['a', large, 'b', large]);
  await messages.return();
});

test('a failed read ends those it was for, with their cursors; they may come back', async () => {
  start();
  source.append(A, 'a');
  const [one, other] = [tail(A), tail(B)];
  await Promise.all([next(one), next(other)]);
  source.failure = new EngineError('DATABASE_UNAVAILABLE', 'gone', { retryDelayMs: 1_000 });
  hub.wake([A]);
  const error = await one.next().catch((reason: unknown) => reason);
  expect(error).toMatchObject({ reason: 'DATABASE_UNAVAILABLE', retryDelayMs: 1_000 });
  expect(decodeFrameCursor((error as EngineError).metadata['cursor'] ?? '', A).durable).toBe(1);
  source.append(B, 'b');
  hub.wake([B]);
  expect(await take(other, 1)).toEqual(['b']);
  await other.return();
});

test('too many tails are refused, and all end with a server that goes away', async () => {
  start({ maxReaders: 2 });
  const tails = [tail(), tail()];
  await Promise.all(tails.map(next));
  await expect(tail().next()).rejects.toMatchObject({ reason: 'TOO_MANY_STREAMS', metadata: { limit: '2' } });
  await tails[0]?.return();
  const third = tail();
  await next(third);
  hub.close();
  for (const messages of [tails[1], third])
    await expect(messages?.next()).rejects.toMatchObject({ reason: 'DRAINING' });
  await expect(tail().next()).rejects.toMatchObject({ reason: 'DRAINING' });
});

test('a tail that is left ends at once, whatever it waits for', async () => {
  start();
  const leave = new AbortController();
  const messages = tail(A, BEGINNING, leave.signal);
  await next(messages);
  const ended = messages.next();
  leave.abort();
  expect((await ended).done).toBe(true);
  expect(hub.reading).toBe(0);
});

test('an idle tail says how far it is', async () => {
  start({ heartbeatMs: 20 });
  source.append(A, 'a');
  const messages = tail();
  const [{ frames }, idle] = [await next(messages), await next(messages)];
  expect(frames).toHaveLength(1);
  expect([idle.frames, idle.cursor]).toEqual([[], frames[0]?.cursor]);
  await messages.return();
});
