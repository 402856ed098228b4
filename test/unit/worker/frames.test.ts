/** The output of a handler: gathered, in order, once, no faster than it is taken, and complete before the end is told. */

import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { setTimeout as passed } from 'node:timers/promises';
import { create } from '@bufbuild/protobuf';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { FailureClass } from '../../../gen/tailrace/v1/attempt_pb.js';
import { CancelRequestSchema } from '../../../gen/tailrace/v1/cancel_pb.js';
import { FrameMode } from '../../../gen/tailrace/v1/frame_pb.js';
import { ResumeCause } from '../../../gen/tailrace/v1/signal_pb.js';
import {
  ContentError,
  FramesRefusedError,
  type Handler,
  type HandlerContext,
  operatorOnly,
  text,
  Worker,
} from '../../../src/worker/index.js';
import { eventually } from '../../support/eventually.js';
import { claimOf } from './claims.js';
import { FakeEngine } from './fake-engine.js';
import { FakeFrames, refuse } from './fake-frames.js';

let frames: FakeFrames;
let engine: FakeEngine;
let worker: Worker;
let told: string[];
beforeEach(() => {
  frames = new FakeFrames();
  told = [];
  engine = new FakeEngine({
    appendFrames: (request) => frames.append(request),
    suspendExecution: () => {
      told.push(`suspended after ${frames.stored.length}`);
      return { suspended: true };
    },
    reportUsage: () => {
      told.push(`used after ${frames.stored.length}`);
      return {};
    },
  });
});
afterEach(() => worker.stop());

async function started(handler: Handler): Promise<void> {
  worker = new Worker({ url: '', transport: engine.transport, log: () => {}, drainMs: 0 }).handle('test', handler);
  await worker.start();
}

/** Runs a handler to its end. */
async function ended(handler: Handler, claim = claimOf('e1')): Promise<void> {
  await started(handler);
  engine.offer(claim);
  await eventually(() => engine.completions.length + engine.failures.length === 1);
}

const numbers = (many: number) => Array.from({ length: many }, (_, index) => String(index));

test('frames emitted together go together, in order, before the end is told', async () => {
  engine.onComplete = () => {
    told.push(`completed after ${frames.stored.length}`);
    return {};
  };
  await ended((context) => {
    void context.emitFrame({ n: 1 }, { type: 'step' });
    void context.summary({ done: 1 });
    void context.emitFrame(text('two'), { mode: 'best_effort' });
  });
  expect(frames.calls).toHaveLength(1);
  expect(frames.calls[0]).toMatchObject({ lease: { executionId: 'e1' }, expectedCount: 0n });
  expect(frames.stored).toMatchObject([
    { mode: FrameMode.DURABLE, type: 'step' },
    { mode: FrameMode.SUMMARY },
    { mode: FrameMode.BEST_EFFORT },
  ]);
  expect(frames.texts).toEqual(['{"n":1}', '{"done":1}', 'two']);
  expect(told).toEqual(['completed after 3']);
});

test('each call says how many durable frames there are before it, and none is made beside another', async () => {
  frames.before = () => passed(1);
  await ended(async (context) => {
    for (const n of numbers(2_000)) await context.emitFrame(text(n));
  });
  expect(frames.texts).toEqual(numbers(2_000));
  expect(frames.calls.map(({ expectedCount }) => expectedCount)).toEqual(
    frames.calls.map((_, index) =>
      frames.calls.slice(0, index).reduce((sum, call) => sum + BigInt(call.frames.length), 0n),
    ),
  );
  expect(Math.max(...frames.calls.map((call) => call.frames.length))).toBeLessThanOrEqual(256);
  expect(frames.calls.length).toBeLessThan(20);
  expect(frames.most).toBe(1);
});

test('a call without durable frames expects nothing', async () => {
  await ended((context) => void context.summary({ a: 1 }));
  expect(frames.calls[0]?.expectedCount).toBeUndefined();
});

test('no more than two batches are in memory when nothing is taken', async () => {
  let letGo = () => {};
  frames.before = () => new Promise<void>((resolve) => (letGo = resolve));
  let emitted = 0;
  await started(async (context) => {
    for (const n of numbers(3_000)) {
      await context.emitFrame(text(n));
      emitted++;
    }
  });
  engine.offer(claimOf('e1'));
  await eventually(() => frames.calls.length === 1);
  for (let turn = 0; turn < 100; turn++) await new Promise(setImmediate);
  expect(emitted).toBeLessThanOrEqual(2 * 256);
  frames.before = () => {};
  letGo();
  await eventually(() => engine.completions.length === 1);
  expect(frames.texts).toEqual(numbers(3_000));
});

test('large frames are held back sooner', async () => {
  frames.before = () => new Promise(() => {});
  let emitted = 0;
  await started(async (context) => {
    for (const n of numbers(200)) {
      await context.emitFrame(text(n.padEnd(60_000)));
      emitted++;
    }
  });
  engine.offer(claimOf('e1'));
  await eventually(() => frames.calls.length === 1);
  for (let turn = 0; turn < 100; turn++) await new Promise(setImmediate);
  expect(emitted).toBeLessThan(40);
  expect(frames.calls[0]?.frames.length).toBeLessThan(20);
});

test('a lost answer appends nothing twice', async () => {
  let lost = 0;
  frames.after = () => {
    if (++lost % 2 === 1) refuse('DATABASE_UNAVAILABLE');
  };
  await ended(async (context) => {
    for (const n of numbers(20)) {
      void context.emitFrame(text(n));
      if (Number(n) % 5 === 4) await context.flushFrames();
    }
  });
  expect(frames.texts).toEqual(numbers(20));
  expect(frames.calls).toHaveLength(8);
});

test('a handler that is called again goes on after what it left', async () => {
  frames.stored.push(...(await leftBefore()));
  const resume = { cause: ResumeCause.SATISFIED, suspensionNumber: 1 };
  await ended(
    async (context) => {
      await context.emitFrame(text('same'));
      await context.emitFrame(text('other'));
    },
    claimOf('e1', { resume }),
  );
  expect(frames.texts).toEqual(['same', 'before', 'same', 'other']);
});

async function leftBefore() {
  const before = new FakeFrames();
  const other = new FakeEngine({ appendFrames: (request) => before.append(request) });
  const first = new Worker({ url: '', transport: other.transport, log: () => {}, drainMs: 0 });
  await first
    .handle('test', (context) => {
      void context.emitFrame(text('same'));
      void context.emitFrame(text('before'));
    })
    .start();
  other.offer(claimOf('e1'));
  await eventually(() => other.completions.length === 1);
  await first.stop();
  return before.stored;
}

describe('what was emitted is stored before', () => {
  test.each<[string, Handler, string]>([
    ['a wait', (context) => context.suspend({ condition: operatorOnly() }), 'suspended after 1'],
    ['a report of usage', (context) => context.reportUsage({ tokens: 1 }), 'used after 1'],
  ])('%s', async (_, act, expected) => {
    await started(async (context) => {
      void context.emitFrame('before it');
      await act(context);
    });
    engine.offer(claimOf('e1'));
    await eventually(() => told.length === 1);
    expect(told).toEqual([expected]);
  });

  test('a failure', async () => {
    await ended((context) => {
      void context.emitFrame(text('before it'));
      throw new Error('broken');
    });
    expect(frames.texts).toEqual(['before it']);
    expect(engine.failures[0]?.failure?.message).toBe('broken');
  });
});

describe('a refusal', () => {
  test('of too many frames comes up where they are emitted, and is not tried again', async () => {
    frames.before = () => refuse('FRAME_LIMIT_EXCEEDED');
    const seen: unknown[] = [];
    await ended(async (context) => {
      void context.emitFrame('one');
      seen.push(await context.flushFrames().catch((error) => error));
      seen.push(await context.emitFrame('two').catch((error) => error));
    });
    expect(seen).toEqual([expect.any(FramesRefusedError), seen[0]]);
    expect(frames.calls).toHaveLength(1);
    expect(engine.completions).toEqual([]);
    expect(engine.failures[0]?.failure).toMatchObject({
      failureClass: FailureClass.PERMANENT,
      code: 'FramesRefusedError',
      message: expect.stringMatching(/FRAME_LIMIT_EXCEEDED/),
    });
  });

  test('that nobody awaited keeps the handler from completing', async () => {
    frames.before = () => refuse('FRAME_LIMIT_EXCEEDED');
    await ended((context) => void context.emitFrame('one'));
    expect(engine.completions).toEqual([]);
    expect(engine.failures).toHaveLength(1);
  });

  test('of the lease stops the handler', async () => {
    frames.before = () => refuse('LEASE_LOST', { why: 'revoked' });
    let reason: unknown;
    await started(async (context) => {
      await context.emitFrame('one');
      await new Promise((resolve) => context.signal.addEventListener('abort', resolve));
      reason = context.signal.reason;
    });
    engine.offer(claimOf('e1'));
    await eventually(() => reason !== undefined);
    expect(reason).toMatchObject({ name: 'LeaseLostError', why: 'revoked' });
  });

  test('of what comes too late does no harm', async () => {
    let late: unknown;
    let context: HandlerContext | undefined;
    frames.before = async () => {
      late ??= await context?.emitFrame('late').catch((error) => error.message);
    };
    await ended((given) => {
      context = given;
      void given.emitFrame(text('in time'));
    });
    expect(late).toMatch(/has ended/);
    expect([frames.texts, engine.completions.length]).toEqual([['in time'], 1]);
  });

  test('leaves it to the handler to tell what it used', async () => {
    frames.before = () => refuse('FRAME_LIMIT_EXCEEDED');
    await ended(async (context) => {
      void context.emitFrame('one');
      await context.reportUsage({ tokens: 1 });
    });
    expect(told).toEqual(['used after 0']);
  });

  test.each<[string, unknown]>([
    ['nothing', undefined],
    ['no JSON', 1n],
  ])('of %s is thrown at once', async (_, content) => {
    let thrown: unknown;
    await ended((context) => {
      try {
        void context.emitFrame(content);
      } catch (error) {
        thrown = error;
      }
    });
    expect(thrown).toBeInstanceOf(ContentError);
    expect(engine.completions).toHaveLength(1);
  });
});

test('that cancellation was asked for comes with an answer', async () => {
  let context: HandlerContext | undefined;
  const cancelRequest = create(CancelRequestSchema, { reason: 'enough' });
  engine = new FakeEngine({ appendFrames: () => ({ count: 1n, cancelRequest }) });
  await ended(async (given) => {
    context = given;
    void given.emitFrame('one');
    await given.flushFrames();
    given.signal.throwIfAborted();
  });
  expect(context?.signal.reason).toMatchObject({ name: 'CancelRequestedError', request: { reason: 'enough' } });
  expect(engine.failures[0]?.failure?.failureClass).toBe(FailureClass.CANCELED);
});

describe('a stream', () => {
  test('writes text, bytes and values, and has finished when they are stored', async () => {
    let stored = 0;
    await ended(async (context) => {
      await pipeline(
        Readable.from(['a ', 'tokén', Buffer.from('raw'), { json: true }]),
        context.frames({ type: 'token' }),
      );
      stored = frames.stored.length;
    });
    expect(frames.stored.map(({ payload, type }) => `${type}: ${payload?.contentType}`)).toEqual([
      'token: text/plain; charset=utf-8',
      'token: text/plain; charset=utf-8',
      'token: application/octet-stream',
      'token: application/json',
    ]);
    expect(frames.texts).toEqual(['a ', 'tokén', 'raw', '{"json":true}']);
    expect(stored).toBe(4);
  });

  test('writes what is large as several frames, without cutting a character', async () => {
    const large = `x${'😀'.repeat(50_000)}`;
    const raw = Buffer.alloc(150_000, 'abc');
    await ended((context) => pipeline(Readable.from([large, raw]), context.frames()));
    const texts = frames.stored.filter(({ payload }) => payload?.body.case === 'text');
    const datas = frames.stored.filter(({ payload }) => payload?.body.case === 'data');
    expect(texts.map(({ payload }) => String(payload?.body.value)).join('')).toBe(large);
    // A matcher would compare each byte by itself, for a second or two where the machine is busy.
    expect(Buffer.concat(datas.map(({ payload }) => payload?.body.value as Uint8Array)).equals(raw)).toBe(true);
    const sizes = frames.stored.map(({ payload }) => Buffer.byteLength(payload?.body.value as string));
    expect(Math.max(...sizes)).toBeLessThanOrEqual(64 * 2 ** 10);
  });

  test('keeps what was written although its writer uses the memory again', async () => {
    await ended(async (context) => {
      const stream = context.frames();
      const memory = Buffer.from('one');
      await new Promise((resolve) => stream.write(memory, resolve));
      memory.write('two');
      await new Promise((resolve) => stream.end(memory, () => resolve(undefined)));
    });
    expect(frames.texts).toEqual(['one', 'two']);
  });

  test('goes no faster than it is taken', async () => {
    frames.before = () => new Promise(() => {});
    let drawn = 0;
    function* tokens() {
      for (const n of numbers(5_000)) {
        drawn++;
        yield n;
      }
    }
    await started((context) => pipeline(Readable.from(tokens()), context.frames()));
    engine.offer(claimOf('e1'));
    await eventually(() => frames.calls.length === 1);
    for (let turn = 0; turn < 100; turn++) await new Promise(setImmediate);
    expect(drawn).toBeLessThan(700);
  });

  test('fails with the refusal, whether or not somebody listens', async () => {
    frames.before = () => refuse('FRAME_LIMIT_EXCEEDED');
    await ended(async (context) => {
      context.frames().write('nobody listens');
      await context.flushFrames().catch(() => {});
      await pipeline(Readable.from(['one']), context.frames());
    });
    expect(engine.failures[0]?.failure?.code).toBe('FramesRefusedError');
  });
});
