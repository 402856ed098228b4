/** Sound histories that are rare: a checker that rejects one raises a false alarm, some night in some campaign. */
import { create, type Message } from '@bufbuild/protobuf';
import { Code, ConnectError } from '@connectrpc/connect';
import { describe, expect, it, test } from 'vitest';
import {
  PutBudgetRequestSchema,
  PutQuotaRequestSchema,
  ResetBudgetRequestSchema,
  UpdateLaneRequestSchema,
} from '../../../gen/tailrace/v1/admin_service_pb.js';
import { CompleteExecutionsRequestSchema } from '../../../gen/tailrace/v1/engine_service_pb.js';
import { ErrorDetailSchema } from '../../../gen/tailrace/v1/error_pb.js';
import { FrameMode } from '../../../gen/tailrace/v1/frame_pb.js';
import { checkHistory } from '../../support/history/check.js';
import type { HistoryEvent, TailedFrame } from '../../support/history/history.js';
import { unansweredLimits } from '../../support/history/limit-events.js';
import { Recorder } from '../../support/history/recorder.js';
import { cleanHistory, now } from './clean-history.js';
import { appended, type limited, used } from './clean-waits.js';
import { also, inFinal, type Plant } from './plants.js';

const { DURABLE, SUMMARY } = FrameMode;

const inBudget = (coins: bigint) =>
  inFinal((final) => ({
    ...final,
    budgets: final.budgets.map((budget) => ({ ...budget, used: new Map([['coins', coins]]) })),
  }));

/** What the engine may have been asked before anything else, without an answer. */
const askedFirst =
  (...requests: Message[]): Plant =>
  (clean) => ({
    ...clean,
    events: [...requests.flatMap((request) => unansweredLimits(request, { began: -2, answered: -1 })), ...clean.events],
  });

const asked = (request: Message): Plant => also(() => the(unansweredLimits(request, now())));

const limits =
  (change: (limit: ReturnType<typeof limited>) => ReturnType<typeof limited>): Plant =>
  (clean) => ({
    ...clean,
    events: clean.events.map((event): HistoryEvent => (event.event === 'limited' ? change(event) : event)),
  });
const narrower = (lane: string) => limits((limit) => (limit.lane === lane ? { ...limit, running: 1 } : limit));

/** Of one more attempt, with all that was written of it and what one reader was told. */
const output =
  (
    calls: (() => HistoryEvent)[],
    frames: readonly (Partial<TailedFrame> & Pick<TailedFrame, 'mode' | 'content'>)[],
  ): Plant =>
  (clean) => ({
    ...clean,
    events: [...clean.events, ...calls.map((call) => call())],
    tails: [
      ...clean.tails,
      {
        ...{ reader: 'one more', execution: 'first', attempt: 2, closed: false },
        frames: frames.map((frame) => ({ number: 0, version: 0, whole: false, ...frame })),
      },
    ],
  });
const patch = (version: number, body: string, whole = false) => ({
  ...{ mode: SUMMARY, content: `t\n${body}`, version, whole },
});
const durable = (number: number, body: string) => ({ mode: DURABLE, content: `t\n${body}`, number });
const write = (frames: Parameters<typeof appended>[1], more: Parameters<typeof appended>[2]) => () =>
  appended(now, frames, { attempt: 2, ...more });

const of = (...plants: Plant[]): Plant => plants.reduce((all, plant) => (clean) => plant(all(clean)));

const SOUND: Readonly<Record<string, Plant>> = {
  'nothing was there to be given back, under the key of a report that follows': of(
    also(() => used(now, 'beside', 0n, 'same')),
    also(() => ({ ...used(now, 'beside', 1n, 'same'), givenBack: false })),
    inBudget(9n),
  ),
  'a budget may have been put anew': of(
    asked(create(PutBudgetRequestSchema, { budget: { name: 'money', limits: { coins: { hardLimit: 20n } } } })),
    inBudget(15n),
  ),
  'a budget may have been reset': of(
    asked(create(ResetBudgetRequestSchema, { namespace: 'default', budget: 'money' })),
    inBudget(0n),
  ),
  'more may run in a namespace than anybody knows': of(
    narrower(''),
    asked(create(PutQuotaRequestSchema, { concurrencyLimit: 2 })),
  ),
  'more may run in a lane than anybody knows': of(
    narrower('narrow'),
    asked(create(UpdateLaneRequestSchema, { lane: 'narrow', settings: { concurrencyLimit: 2 } })),
  ),
  'a limit that may never have come about limits nothing': of(
    (clean) => ({ ...clean, events: clean.events.filter(({ event }) => event !== 'limited') }),
    askedFirst(
      create(PutQuotaRequestSchema, { lane: 'narrow', concurrencyLimit: 1 }),
      create(UpdateLaneRequestSchema, { lane: 'narrow', settings: { concurrencyLimit: 1 } }),
    ),
  ),
  'a claim had looked at the limits before there were any': of(narrower('narrow'), (clean) => ({
    ...clean,
    events: clean.events.map((event) =>
      event.event === 'claimed' && event.execution === 'beside' ? { ...event, began: -1 } : event,
    ),
  })),
  'a patch may stand where none is known to, and a later one was not told of yet': output(
    [
      write([[SUMMARY, '{"a":1}']], { verdict: 'unanswered' }),
      write([[SUMMARY, '{"b":2}']], { durableBefore: 0, patchesBefore: 1 }),
      write([[SUMMARY, '{"c":3}']], { durableBefore: 0, patchesBefore: 2 }),
    ],
    [patch(1, '{"a":1}'), patch(2, '{"b":2}')],
  ),
  'a document has lists of objects, whose members the database has put in order': output(
    [write([[SUMMARY, '{"list":[{"bb":1,"a":{"d":1,"c":2}}]}']], { durableBefore: 0, patchesBefore: 0 })],
    [patch(1, '{"list":[{"a":{"c":2,"d":1},"bb":1}]}', true)],
  ),
  'an append goes on behind what was there, also of its patches': output(
    [
      write(
        [
          [SUMMARY, '{"a":1}'],
          [DURABLE, 'x'],
        ],
        { durableBefore: 0, patchesBefore: 0 },
      ),
      write([[SUMMARY, '{"b":1}']], { durableBefore: 1, patchesBefore: 1 }),
      write(
        [
          [SUMMARY, '{"a":1}'],
          [DURABLE, 'x'],
          [DURABLE, 'y'],
        ],
        // One version before it less than there was: its patch was not written.
        { durableBefore: 0, patchesBefore: 1, mayGoOn: true },
      ),
    ],
    [patch(1, '{"a":1}'), durable(1, 'x'), patch(2, '{"b":1}'), durable(2, 'y')],
  ),
  'a completion brings the last frames': output(
    [
      write(
        [
          [DURABLE, 'last'],
          [SUMMARY, '{"a":1}'],
        ],
        {},
      ),
    ],
    [durable(1, 'last'), patch(1, '{"a":1}')],
  ),
};

describe('accepted is a history in which', () => {
  it.each(Object.entries(SOUND))('%s', (_, plant) => {
    expect(checkHistory(plant(cleanHistory()))).toEqual([]);
  });
});

/** What is recorded of a call that fails so. */
async function recorded(name: string, message: Message, error: ConnectError): Promise<HistoryEvent[]> {
  const recorder = new Recorder();
  const failing = () => Promise.reject(error);
  const request = { stream: false, method: { name }, message } as never;
  await expect(recorder.interceptor(failing as never)(request)).rejects.toThrow();
  return recorder.events;
}

test('of a batch that met others too often some may be done', async () => {
  const lease = (executionId: string) => ({ lease: { executionId, leaseId: 'lease', fencingToken: 1n } });
  const details = [{ desc: ErrorDetailSchema, value: { reason: 'CONTENTION' } }];
  const error = new ConnectError('repeat it', Code.Aborted, undefined, details);
  const batch = create(CompleteExecutionsRequestSchema, { completions: [lease('one'), lease('two')] });
  const alone = create(CompleteExecutionsRequestSchema, { completions: [lease('one')] });
  expect(await recorded('CompleteExecutions', batch, error)).toEqual([
    { event: 'unanswered', call: 'CompleteExecutions' },
  ]);
  expect(await recorded('CompleteExecutions', alone, error)).toMatchObject([{ event: 'held', verdict: 'refused' }]);
});

test('what was asked for is recorded where the answer is lost', async () => {
  const message = create(PutQuotaRequestSchema, { concurrencyLimit: 7 });
  const lost = new ConnectError('the connection broke', Code.Unavailable);
  expect(await recorded('PutQuota', message, lost)).toEqual([
    expect.objectContaining({ event: 'limited', certain: false, namespace: 'default', lane: '', running: 7 }),
    { event: 'unanswered', call: 'PutQuota' },
  ]);
});

function the(events: readonly HistoryEvent[]): HistoryEvent {
  const [event] = events;
  if (event === undefined || events.length > 1) throw new Error(`${events.length} events`);
  return event;
}
