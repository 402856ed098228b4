/** Consumers in the worker library: what is handled, committed, blamed and given back. */
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { FailureClass } from '../../../gen/tailrace/v1/attempt_pb.js';
import { FailEntryEffect } from '../../../gen/tailrace/v1/consumer_pb.js';
import type { LogEntry } from '../../../gen/tailrace/v1/log_pb.js';
import {
  type ConsumerContext,
  type ConsumerHandler,
  type ConsumerOptions,
  InvalidOptionsError,
  inBatches,
  inTransaction,
  PermanentError,
  RateLimitedError,
  type SqlClient,
  Worker,
  WorkerStoppingError,
} from '../../../src/worker/index.js';
import { eventually } from '../../support/eventually.js';
import { FakeConsumer, refusal } from './fake-consumer.js';

let engine: FakeConsumer;
let worker: Worker;
let said: string[];
/** Cursors of what was handled, in order; of a group joined by +. */
let handled: string[];
beforeEach(() => {
  engine = new FakeConsumer();
  said = [];
  handled = [];
});
afterEach(async () => {
  vi.useRealTimers();
  await worker.stop();
});

async function follow(handler: ConsumerHandler, options: ConsumerOptions = {}, drainMs = 0): Promise<void> {
  const log = (level: string, message: string) => said.push(`${level}: ${message}`);
  worker = new Worker({ url: '', transport: engine.transport, log, drainMs });
  await worker.consumer('followed', handler, { waitMs: 0, ...options }).start();
}

const cursorsOf = (entries: readonly LogEntry[]) => entries.map(({ cursor }) => cursor).join('+');
const movesOf = () => engine.commits.map(({ fromCursor, toCursor }) => `${fromCursor}-${toCursor}`);
const take =
  (fails: (entry: LogEntry, context: ConsumerContext) => unknown = () => undefined) =>
  async (entry: LogEntry, context: ConsumerContext) => {
    handled.push(entry.cursor);
    await fails(entry, context);
  };

describe('a handler of entries', () => {
  test('is given them in order, and they are committed as they were fetched', async () => {
    engine.head = 7;
    await follow(take(), { maxEntries: 3 });
    await eventually(() => engine.position === 7);
    expect(handled).toEqual(['1', '2', '3', '4', '5', '6', '7']);
    expect(movesOf()).toEqual(['0-3', '3-6', '6-7']);
    await worker.stop();
    expect(engine.released).toEqual(['all']);
  });

  test('that fails has what came before committed, and gets that entry again, alone and knowing it', async () => {
    engine.head = 4;
    const tries: number[] = [];
    await follow(
      take((entry, { previousTries }) => {
        if (entry.cursor !== '3') return;
        tries.push(previousTries);
        if (previousTries < 2) throw new TypeError('no');
      }),
    );
    await eventually(() => engine.position === 4);
    expect(handled).toEqual(['1', '2', '3', '3', '3', '4']);
    expect(tries).toEqual([0, 1, 2]);
    expect(movesOf()).toEqual(['0-2', '2-3', '3-4']);
    expect(engine.failures.map(({ previousTries }) => previousTries)).toEqual([0, 1]);
    const { failureClass, code, message } = engine.failures[0]?.failure ?? {};
    expect([failureClass, code, message]).toEqual([FailureClass.TRANSIENT, 'TypeError', 'no']);
  });

  test('says with its error what becomes of the entry', async () => {
    engine.head = 3;
    engine.onFail = ({ failure }) =>
      failure?.failureClass === FailureClass.RATE_LIMITED ? FailEntryEffect.RETRY : FailEntryEffect.PARKED;
    let limited = 0;
    await follow(
      take(({ cursor }) => {
        if (cursor === '1') throw new PermanentError('never');
        if (cursor === '2' && limited++ === 0) throw new RateLimitedError(5);
      }),
    );
    await eventually(() => engine.position === 3);
    const classes = engine.failures.map(({ failure }) => FailureClass[failure?.failureClass ?? 0]);
    expect(classes).toEqual(['PERMANENT', 'RATE_LIMITED']);
    expect(engine.failures[1]?.retryTime).toBeDefined();
    expect(said).toContain('warn: the entry was parked');
  });

  test('handles what is delivered again alone, and closes its letter', async () => {
    engine.head = 1;
    engine.letters.push('a', 'b');
    const ids: string[] = [];
    await follow(take((_, { deadLetterId }) => ids.push(deadLetterId)));
    await eventually(() => engine.position === 1);
    expect(ids).toEqual(['a', 'b', '']);
    expect(engine.commits.map(({ deadLetterIds }) => deadLetterIds)).toEqual([['a'], ['b'], []]);
    expect(movesOf()).toEqual(['0-0', '0-0', '0-1']);
  });

  test('is told when another has the part, and commits nothing more', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'], shouldAdvanceTime: true });
    engine.head = 2;
    let reason: unknown;
    await follow(
      take(async ({ cursor }, { signal }) => {
        if (cursor !== '2' || engine.epoch > 1n) return;
        engine.epoch = 2n;
        await new Promise((resolve) => signal.addEventListener('abort', resolve));
        reason = signal.reason;
      }),
      { leaseDurationMs: 1_000 },
    );
    await eventually(() => engine.position === 2);
    expect(reason).toMatchObject({ name: 'LeaseLostError', why: 'superseded' });
    expect(engine.commits.map(({ part }) => part?.epoch)).toEqual([2n]);
    expect(handled).toEqual(['1', '2', '1', '2']);
  });

  test('is aborted when the lease is not renewed; what it has done is offered, and taken by nobody else having it', async () => {
    // By the machine's clock a pause could use up the window before the handler has begun to listen.
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'], shouldAdvanceTime: true });
    engine.head = 2;
    engine.expireTime = timestampFromMs(1_000);
    const reasons: unknown[] = [];
    await follow(
      take(async (_, { signal }) => {
        await new Promise((resolve) => signal.addEventListener('abort', resolve));
        reasons.push(signal.reason.why);
        engine.expireTime = undefined;
      }),
      { leaseDurationMs: 1_000, maxEntries: 1 },
    );
    await eventually(() => engine.position === 1);
    expect(reasons).toEqual(['trust_ended']);
    expect(engine.failures).toEqual([]);
  });

  test('finishes its entry when the worker stops; what is handled is committed, the rest left', async () => {
    engine.head = 5;
    let stopping: Promise<void> | undefined;
    await follow(
      take(({ cursor }) => {
        if (cursor === '2') stopping = worker.stop();
      }),
      {},
      10_000,
    );
    await eventually(() => stopping !== undefined);
    await stopping;
    expect(handled).toEqual(['1', '2']);
    expect(movesOf()).toEqual(['0-2']);
    expect(engine.released).toEqual(['all']);
  });

  test('is aborted when it does not end with the worker, and its entry is not to blame', async () => {
    engine.head = 1;
    let reason: unknown;
    await follow(
      take(async (_, { signal }) => {
        await new Promise((resolve) => signal.addEventListener('abort', resolve));
        reason = signal.reason;
        signal.throwIfAborted();
      }),
    );
    await eventually(() => handled.length === 1);
    await worker.stop();
    expect(reason).toBeInstanceOf(WorkerStoppingError);
    expect([engine.commits, engine.failures]).toEqual([[], []]);
  });

  test('gives its part back once its entries are committed when it is wanted elsewhere', async () => {
    engine.head = 2;
    engine.releaseWanted = true;
    await follow(take());
    await eventually(() => engine.released.length === 1);
    expect([engine.released, movesOf()]).toEqual([['0'], ['0-2']]);
  });

  test('waits for a consumer that is paused or halted, which is said once', async () => {
    engine.acquireRefusal = 'CONSUMER_HALTED';
    await follow(take());
    await eventually(() => engine.acquired.length === 3);
    engine.acquireRefusal = undefined;
    engine.head = 1;
    await eventually(() => engine.position === 1);
    expect(said).toEqual([
      'error: the consumer has halted, until an operator resumes it',
      'info: the consumer goes on',
    ]);
  });

  test('begins when its generation has been made ready', async () => {
    engine.head = 1;
    const started: unknown[] = [];
    const onGeneration: ConsumerOptions['onGeneration'] = (generation) => {
      if (started.push(generation) === 1) throw new Error('no table yet');
      expect(handled).toEqual([]);
    };
    await follow(take(), { onGeneration });
    await eventually(() => engine.position === 1);
    expect(started).toEqual([
      { generation: 1n, live: true },
      { generation: 1n, live: true },
    ]);
  });
});

test('a batch that fails comes again in halves, until the entry at fault is alone', async () => {
  engine.head = 8;
  engine.onFail = () => FailEntryEffect.PARKED;
  await follow(
    inBatches((entries) => {
      handled.push(cursorsOf(entries));
      if (entries.some(({ cursor }) => cursor === '4')) throw new Error('no');
    }),
  );
  await eventually(() => engine.position === 8);
  expect(handled).toEqual(['1+2+3+4+5+6+7+8', '1+2+3+4', '1+2', '3+4', '3', '4', '5+6+7+8']);
  expect(engine.failures.map(({ entryCursor }) => entryCursor)).toEqual(['4']);
  expect(movesOf()).toEqual(['0-2', '2-3', '4-8']);
});

test('wrong options are all named', () => {
  worker = new Worker({ url: 'http://127.0.0.1:1' });
  const wrong = () => worker.consumer('', take(), { maxParts: 0, maxEntries: 5_001, leaseDurationMs: 1, waitMs: -1 });
  expect(wrong).toThrow(InvalidOptionsError);
  expect(wrong).toThrow(/the name.*\n.*maxParts.*\n.*maxEntries.*\n.*leaseDurationMs.*\n.*waitMs/);
});

describe('in a transaction', () => {
  let spoken: string[];
  /** What the database does with the move of the cursor. */
  let move: (values: unknown[]) => void;
  let away: boolean;

  class Sql implements SqlClient {
    aborted = false;
    async query(text: string, values: unknown[] = []) {
      spoken.push(text.startsWith('select') ? 'move' : text);
      if (text === 'rollback') this.aborted = false;
      if (this.aborted) throw Object.assign(new Error('aborted'), { code: '25P02' });
      if (text.startsWith('select')) move(values);
      if (text === 'wrong') {
        this.aborted = true;
        throw Object.assign(new Error('syntax'), { code: '42601' });
      }
      return { rows: [] };
    }
    release(destroy = false) {
      spoken.push(destroy ? 'destroyed' : 'released');
    }
  }
  const pool = {
    connect: async () => {
      if (away) throw new Error('no database');
      return new Sql();
    },
  };
  beforeEach(() => {
    spoken = [];
    away = false;
    move = (values) => engine.move(Number(values[7]));
  });
  const begin = 'begin isolation level read committed';

  test('what is written and the move of the cursor are one', async () => {
    engine.head = 2;
    const asked: unknown[][] = [];
    move = (values) => {
      asked.push(values);
      engine.move(Number(values[7]));
    };
    await follow(inTransaction(pool, (client, entries) => client.query(cursorsOf(entries))));
    await eventually(() => engine.position === 2 && spoken.length === 5);
    expect(spoken).toEqual([begin, '1+2', 'move', 'commit', 'released']);
    const owner = engine.acquired[0]?.ownerId;
    expect(asked).toEqual([['', 'followed', owner, '1', 0, '1', '0', '2', []]]);
    expect(engine.commits).toEqual([]);
  });

  test('an error rolls back and the entry is told; also one that the handler kept to itself', async () => {
    engine.head = 1;
    engine.onFail = ({ previousTries }) => (previousTries === 0 ? FailEntryEffect.RETRY : FailEntryEffect.PARKED);
    await follow(
      inTransaction(pool, async (client, _, { previousTries }) => {
        const wrong = client.query('wrong');
        if (previousTries === 0) await wrong;
        else await wrong.catch(() => undefined);
      }),
    );
    await eventually(() => engine.position === 1);
    expect(spoken).toEqual([
      ...[begin, 'wrong', 'rollback', 'released'],
      ...[begin, 'wrong', 'move', 'rollback', 'released'],
    ]);
    expect(engine.failures.map(({ failure }) => failure?.code)).toEqual(['42601', '25P02']);
  });

  test('a database that is away, and a move that is refused, are no fault of the entry', async () => {
    engine.head = 1;
    away = true;
    let refusals = ['EPOCH_CONFLICT', 'VERSION_CONFLICT'];
    move = (values) => {
      const [reason, ...rest] = refusals;
      refusals = rest;
      if (reason) throw Object.assign(new Error('refused'), { code: 'TR019', detail: JSON.stringify({ reason }) });
      engine.move(Number(values[7]));
    };
    await follow(inTransaction(pool, (client) => client.query('write')));
    await eventually(() => said.length > 0);
    away = false;
    await eventually(() => engine.position === 1);
    expect(engine.failures).toEqual([]);
    expect(spoken.filter((text) => text === 'rollback')).toHaveLength(2);
    expect(said).toEqual([
      'warn: entries cannot be handled now; trying again',
      'warn: the part belongs to somebody else now',
      'warn: the part cannot go on; trying again',
    ]);
  });

  test('deadlocks are tried again, and blamed on the entry in the end', async () => {
    engine.head = 1;
    engine.onFail = () => FailEntryEffect.PARKED;
    await follow(
      inTransaction(pool, () => {
        throw Object.assign(new Error('deadlock'), { code: '40P01' });
      }),
    );
    await eventually(() => engine.position === 1);
    expect(spoken.filter((text) => text === begin)).toHaveLength(6);
  });
});

test('a commit that is refused for its place has its entries fetched anew', async () => {
  engine.head = 1;
  engine.onCommit = () => {
    engine.onCommit = () => {};
    throw refusal('VERSION_CONFLICT');
  };
  await follow(take());
  await eventually(() => engine.position === 1);
  expect(handled).toEqual(['1', '1']);
});
