/** Waits for signals as a handler sees them: what parks it, what it passes again, and how it is stopped. */
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { Code, ConnectError } from '@connectrpc/connect';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { FailureClass } from '../../../gen/tailrace/v1/attempt_pb.js';
import type {
  CreateWaitpointResponseSchema,
  ListMatchedSignalsRequest,
  SuspendExecutionRequest,
  SuspendExecutionResponseSchema,
} from '../../../gen/tailrace/v1/engine_service_pb.js';
import { ErrorDetailSchema } from '../../../gen/tailrace/v1/error_pb.js';
import {
  CountDistinct,
  ResumeCause,
  type Signal,
  SignalSchema,
  SignalSource,
  SuspensionReason,
  SuspensionTimeoutBehavior,
} from '../../../gen/tailrace/v1/signal_pb.js';
import { toPayload } from '../../../src/client/content.js';
import {
  allOf,
  anySignal,
  CanceledError,
  count,
  type Handler,
  operatorOnly,
  Suspended,
  type SuspensionOutcome,
  signal,
  Worker,
} from '../../../src/worker/index.js';
import { eventually } from '../../support/eventually.js';
import { claimOf } from './claims.js';
import { FakeEngine } from './fake-engine.js';

type Answer = MessageInitShape<typeof SuspendExecutionResponseSchema>;

let engine: FakeEngine;
let worker: Worker;
let asked: SuspendExecutionRequest[];
let listed: ListMatchedSignalsRequest[];
let logged: string[];
let onSuspend: (request: SuspendExecutionRequest) => Answer;
let onWaitpoint: () => MessageInitShape<typeof CreateWaitpointResponseSchema>;
/** By number of the suspension. */
let matched: Record<number, Signal[]>;
beforeEach(() => {
  asked = [];
  listed = [];
  logged = [];
  matched = {};
  onSuspend = () => ({ suspended: true, suspensionNumber: 1 });
  onWaitpoint = () => ({ waitpoint: { token: 'secret' } });
  engine = new FakeEngine({
    suspendExecution: (request) => {
      asked.push(request);
      return onSuspend(request);
    },
    listMatchedSignals: (request) => {
      listed.push(request);
      const all = matched[request.suspensionNumber] ?? [];
      const from = Number(request.pageToken);
      const more = from + 2 < all.length;
      return { signals: all.slice(from, from + 2), nextPageToken: more ? String(from + 2) : '' };
    },
    createWaitpoint: () => onWaitpoint(),
  });
});
afterEach(() => worker.stop());

async function started(handler: Handler): Promise<void> {
  const log = (_: string, message: string) => void logged.push(message);
  worker = new Worker({ url: '', transport: engine.transport, log, drainMs: 0 }).handle('test', handler);
  await worker.start();
}

async function until(holds: () => boolean): Promise<void> {
  for (let turn = 0; !holds(); turn++) {
    if (turn > 20_000) throw new Error('it did not come about');
    await new Promise(setImmediate);
  }
}

const signalOf = (name: string, source = SignalSource.HUMAN, sourceId = '') =>
  create(SignalSchema, { name, source, sourceId, payload: toPayload({ name }) ?? {} });
const timeout = signalOf('timeout', SignalSource.ENGINE);

function refused(reason: string, metadata: Record<string, string> = {}): never {
  const detail = { desc: ErrorDetailSchema, value: { reason, metadata } };
  throw new ConnectError(`refused: ${reason}`, Code.FailedPrecondition, undefined, [detail]);
}

/** The claim of an attempt that goes on after its so many-th wait. */
const resumed = (suspensionNumber: number, signals: Signal[], cause = ResumeCause.SATISFIED, moreSignals = false) =>
  claimOf('e1', { resume: { cause, suspensionNumber, signals, moreSignals } }, 2n);

const names = ({ signals }: SuspensionOutcome) => signals.map(({ name }) => name);

describe('a suspension', () => {
  test('says what is waited for', async () => {
    await started(async (context) => {
      await context.suspend({
        condition: allOf(
          signal('paid', { waitpoint: 'till' }),
          count(2, { distinct: 'sources', among: [signal('approved'), anySignal({ waitpoint: 'desk' })] }),
        ),
        waitpoints: ['till', { key: 'desk', expiryMs: 60_000 }],
        timeoutMs: 1_500,
        onTimeout: 'escalate',
        resumeDelayMs: 250,
        reason: 'approval',
        note: 'a mill',
      });
    });
    engine.offer(claimOf('e1'));
    await until(() => asked.length === 1);
    expect(asked[0]).toMatchObject({
      lease: { executionId: 'e1', leaseId: 'lease 1 of e1', fencingToken: 1n },
      reason: SuspensionReason.APPROVAL,
      condition: {
        condition: {
          case: 'allOf',
          value: {
            members: [
              { condition: { case: 'signal', value: { name: 'paid', waitpointKey: 'till' } } },
              {
                condition: {
                  case: 'count',
                  value: {
                    count: 2,
                    distinct: CountDistinct.SOURCES,
                    among: [
                      { name: 'approved', waitpointKey: '' },
                      { name: '', waitpointKey: 'desk' },
                    ],
                  },
                },
              },
            ],
          },
        },
      },
      waitpoints: [{ key: 'till' }, { key: 'desk', expiry: { seconds: 60n } }],
      timeout: { seconds: 1n, nanos: 500_000_000 },
      timeoutBehavior: SuspensionTimeoutBehavior.ESCALATE,
      resumeDelay: { nanos: 250_000_000 },
      note: 'a mill',
    });
  });

  test('ends the handler, gives slot and lease up, and reports nothing', async () => {
    const seen: unknown[] = [];
    await started(async (context) => {
      try {
        await context.suspend({ condition: operatorOnly() });
      } catch (error) {
        seen.push(error, context.signal.reason);
        throw error;
      } finally {
        seen.push('tidied up');
      }
    });
    engine.offer(claimOf('e1'));
    await until(() => seen.length === 3);
    expect(seen).toEqual([expect.any(Suspended), seen[0], 'tidied up']);
    await worker.stop();
    expect([engine.completions, engine.failures, engine.released, engine.renewals, logged]).toEqual([
      [],
      [],
      [],
      [],
      [],
    ]);
  });

  test.each<[string, Handler]>([
    ['swallowed', (context) => context.suspend({ condition: operatorOnly() }).catch(() => 'a result')],
    ['replaced', (context) => context.suspend({ condition: operatorOnly() }).catch(() => Promise.reject(new Error()))],
    ['not awaited', (context) => void context.suspend({ condition: operatorOnly() })],
  ])('that is %s is one all the same', async (_, handler) => {
    let ended = false;
    await started(async (context) => {
      try {
        return await handler(context);
      } finally {
        ended = true;
      }
    });
    engine.offer(claimOf('e1'));
    await until(() => ended && asked.length === 1);
    await worker.stop();
    expect([engine.completions, engine.failures, engine.released, logged]).toEqual([[], [], [], []]);
  });

  test('whose condition holds already is passed at once', async () => {
    onSuspend = () => ({ suspended: false, signals: [signalOf('go')], suspensionNumber: 1 });
    await started(async (context) => names(await context.suspend({ condition: signal('go') })));
    engine.offer(claimOf('e1'));
    await until(() => engine.completions.length === 1);
    expect(engine.completions[0]?.result).toEqual(toPayload(['go']));
  });

  test('is asked for again while the answer is a passing refusal, under the same key', async () => {
    let tries = 0;
    onSuspend = () => (++tries < 3 ? refused('CONTENTION') : { suspended: true });
    await started((context) => context.suspend({ condition: operatorOnly() }));
    engine.offer(claimOf('e1'));
    await eventually(() => asked.length === 3);
    expect(new Set(asked.map(({ idempotencyKey }) => idempotencyKey)).size).toBe(1);
  });

  test('of an execution that is to be canceled ends it canceled', async () => {
    onSuspend = () => refused('WRONG_STATE');
    let thrown: unknown;
    await started(async (context) => {
      thrown = await context.suspend({ condition: operatorOnly() }).catch((error) => error);
      throw thrown;
    });
    engine.offer(claimOf('e1'));
    await until(() => engine.failures.length === 1);
    expect(thrown).toBeInstanceOf(CanceledError);
    expect(engine.failures[0]?.failure?.failureClass).toBe(FailureClass.CANCELED);
  });

  test('at a waitpoint that is closed is an error of its own', async () => {
    onSuspend = () => refused('WRONG_STATE', { waitpoint_key: 'desk' });
    await started((context) => context.suspend({ condition: signal('go', { waitpoint: 'desk' }) }));
    engine.offer(claimOf('e1'));
    await until(() => engine.failures.length === 1);
    expect(engine.failures[0]?.failure?.failureClass).toBe(FailureClass.TRANSIENT);
  });

  test('under a lease that is lost stops the handler', async () => {
    onSuspend = () => refused('LEASE_LOST', { why: 'superseded' });
    let reason: Error | undefined;
    await started(async (context) => {
      await context.suspend({ condition: operatorOnly() }).catch(() => {});
      reason = context.signal.reason;
    });
    engine.offer(claimOf('e1'));
    await until(() => reason !== undefined);
    expect(reason).toMatchObject({ name: 'LeaseLostError', why: 'superseded' });
    expect(engine.failures).toEqual([]);
  });

  test('is one at a time', async () => {
    await started((context) =>
      Promise.all([context.suspend({ condition: operatorOnly() }), context.suspend({ condition: operatorOnly() })]),
    );
    engine.offer(claimOf('e1'));
    await until(() => asked.length === 1);
    await worker.stop();
    expect(asked).toHaveLength(1);
  });
});

describe('a handler that is called again', () => {
  /** Three waits in a row; what each brought. */
  const three: Handler = async (context) => {
    const outcomes: SuspensionOutcome[] = [];
    for (const name of ['one', 'two', 'three']) outcomes.push(await context.suspend({ condition: signal(name) }));
    return outcomes.map((outcome) => [ResumeCause[outcome.cause], outcome.timedOut, ...names(outcome)].join(' '));
  };

  test('passes the wait it was resumed from, and asks for the next', async () => {
    await started(three);
    engine.offer(resumed(1, [signalOf('one')]));
    await until(() => asked.length === 1);
    expect(asked[0]?.condition?.condition).toMatchObject({ case: 'signal', value: { name: 'two' } });
    expect(asked[0]?.idempotencyKey).toBe('suspend 2');
    expect(listed).toEqual([]);
  });

  test('passes earlier ones with what they brought', async () => {
    matched = { 1: [signalOf('one', SignalSource.OPERATOR)], 2: [signalOf('a'), signalOf('b'), timeout] };
    await started(three);
    engine.offer(resumed(3, [signalOf('three')]));
    await until(() => engine.completions.length === 1);
    expect(engine.completions[0]?.result).toEqual(
      toPayload(['OPERATOR false one', 'TIMEOUT true a b timeout', 'SATISFIED false three']),
    );
    expect(asked).toEqual([]);
  });

  test('passes over waits for children and for budgets, which brought no signals', async () => {
    matched = { 2: [signalOf('one')], 4: [signalOf('two')] };
    await started(three);
    engine.offer(resumed(5, [], ResumeCause.BUDGET));
    await until(() => asked.length === 1);
    expect(asked[0]?.condition?.condition).toMatchObject({ value: { name: 'three' } });
  });

  test('reads all signals where the claim has only the first', async () => {
    matched = { 1: [signalOf('a'), signalOf('b'), signalOf('c')] };
    await started(async (context) => names(await context.suspend({ condition: anySignal() })));
    engine.offer(resumed(1, [signalOf('a')], ResumeCause.SATISFIED, true));
    await until(() => engine.completions.length === 1);
    expect(engine.completions[0]?.result).toEqual(toPayload(['a', 'b', 'c']));
  });

  test('passes waits that held at once before the one that parked', async () => {
    onSuspend = ({ idempotencyKey }) =>
      idempotencyKey === 'suspend 1'
        ? { suspended: false, signals: [signalOf('one')], suspensionNumber: 1 }
        : { suspended: true, suspensionNumber: 2 };
    matched = { 1: [signalOf('one')] };
    await started(three);
    engine.offer(claimOf('e1'));
    await until(() => asked.length === 2);
    engine.offer(resumed(2, [timeout], ResumeCause.TIMEOUT));
    await until(() => asked.length === 3);
    expect(asked.map(({ idempotencyKey }) => idempotencyKey)).toEqual(['suspend 1', 'suspend 2', 'suspend 3']);
  });

  test('sees who told it what', async () => {
    let outcome: SuspensionOutcome | undefined;
    await started(async (context) => {
      outcome = await context.suspend({ condition: signal('go') });
    });
    engine.offer(resumed(1, [signalOf('go', SignalSource.HUMAN, 'ada')]));
    await until(() => outcome !== undefined);
    expect(outcome?.signals[0]).toMatchObject({ name: 'go', source: 'human', sourceId: 'ada', waitpoint: '' });
    expect(outcome?.signals[0]?.content.json()).toEqual({ name: 'go' });
  });
});

describe('a sleep', () => {
  test('parks until its timeout', async () => {
    await started((context) => context.sleep(90_000, 'cool down'));
    engine.offer(claimOf('e1'));
    await until(() => asked.length === 1);
    expect(asked[0]).toMatchObject({
      condition: { condition: { case: 'timeoutOnly' } },
      timeout: { seconds: 90n },
      timeoutBehavior: SuspensionTimeoutBehavior.UNSPECIFIED,
      reason: SuspensionReason.STEP,
      note: 'cool down',
    });
  });

  test('is over when the handler is called again', async () => {
    await started(async (context) => {
      await context.sleep(90_000);
      return 'awake';
    });
    engine.offer(resumed(1, [timeout], ResumeCause.TIMEOUT));
    await until(() => engine.completions.length === 1);
  });
});

describe('a waitpoint', () => {
  test('comes with its token', async () => {
    await started(async (context) => await context.waitpoint('desk', { expiryMs: 5_000 }));
    engine.offer(claimOf('e1'));
    await until(() => engine.completions.length === 1);
    expect(engine.completions[0]?.result).toEqual(toPayload({ key: 'desk', token: 'secret', state: 'open' }));
  });

  test('is answered once somebody has signaled there', async () => {
    onWaitpoint = () => ({ waitpoint: { token: 'secret', signalCount: 1 }, duplicate: true });
    await started(async (context) => (await context.waitpoint('desk')).state);
    engine.offer(claimOf('e1', { attemptNumber: 2 }));
    await until(() => engine.completions.length === 1);
    expect(engine.completions[0]?.result).toEqual(toPayload('answered'));
  });

  test('is closed once its wait is over', async () => {
    onWaitpoint = () => refused('WRONG_STATE');
    await started(async (context) => await context.waitpoint('desk'));
    engine.offer(claimOf('e1'));
    await until(() => engine.completions.length === 1);
    expect(engine.completions[0]?.result).toEqual(toPayload({ key: 'desk', token: '', state: 'closed' }));
  });

  test('that the server cannot sign is an error', async () => {
    onWaitpoint = () => refused('SECRETS_UNAVAILABLE');
    await started((context) => context.waitpoint('desk'));
    engine.offer(claimOf('e1'));
    await until(() => engine.failures.length === 1);
    expect(engine.failures[0]?.failure?.message).toMatch(/SECRETS_UNAVAILABLE/);
  });
});
