/**
 * The part of the sound history that is about waits, limits, budgets and output.
 *
 *     approved   was parked until two signals had come, and went on with the same attempt
 *     first      runs in lane `narrow` with key `k`, of which one may run at once; writes output and uses half the budget
 *     second     was blocked behind it
 *     beside     runs there without a key, so that two run at once, which is all the lane permits
 */
import { FrameMode } from '../../../gen/tailrace/v1/frame_pb.js';
import { SignalEffect } from '../../../gen/tailrace/v1/signal_pb.js';
import type {
  Appended,
  Budgeted,
  FinalBudget,
  HistoryEvent,
  Limited,
  Matched,
  Signaled,
  Tail,
  TailedFrame,
  Timed,
  Used,
} from '../../support/history/history.js';

const { DURABLE, SUMMARY, BEST_EFFORT } = FrameMode;
const { APPENDED, SATISFIED, DUPLICATE, IGNORED } = SignalEffect;

/** Of the execution, in which namespace, lane and under which key it runs. */
export const PLACES: Readonly<Record<string, { readonly lane: string; readonly key: string }>> = {
  first: { lane: 'narrow', key: 'k' },
  second: { lane: 'narrow', key: 'k' },
  beside: { lane: 'narrow', key: '' },
};

type Now = () => Timed;

export const limited = (now: Now, lane: string, running: number, keys?: Limited['keys']): Limited => ({
  ...{ event: 'limited', certain: true, namespace: 'default', lane, running },
  ...(keys && { keys }),
  ...now(),
});
export const signaled = (now: Now, signal: string, effect: SignalEffect): Signaled => ({
  ...{ event: 'signaled', signal, effect },
  ...now(),
});
export const matched = (now: Now, suspension: number, ...signals: string[]): Matched => ({
  ...{ event: 'matched', execution: 'approved', attempt: 1, suspension, signals },
  ...now(),
});
export const used = (
  now: Now,
  execution: string,
  amount: bigint,
  key: string,
  verdict: Used['verdict'] = 'accepted',
): Used => ({
  ...{ event: 'used', execution, usage: new Map([['coins', amount]]), givenBack: amount <= 0n, key, verdict },
  ...now(),
});
const budgeted = (now: Now, how: Budgeted['how'], amount: bigint): Budgeted => ({
  ...{ event: 'budgeted', how, namespace: 'default', budget: 'money', windowed: false },
  hard: new Map([['coins', 10n]]),
  used: new Map([['coins', amount]]),
  attachments: ['lane narrow'],
  ...now(),
});
export const appended = (
  now: Now,
  frames: readonly (readonly [FrameMode, string])[],
  more: Partial<Appended>,
): Appended => ({
  ...{ event: 'appended', execution: 'first', attempt: 1, verdict: 'accepted', ...more },
  frames: frames.map(([mode, body]) => ({ mode, content: `t\n${body}` })),
  ...now(),
});

/** What is set before anything of it is created. */
export const limits = (now: Now): HistoryEvent[] => [
  limited(now, '', 2),
  limited(now, 'narrow', 2, { named: new Map([['k', 1]]), others: 16 }),
  budgeted(now, 'put', 0n),
];

export const waits = (now: Now): HistoryEvent[] => [
  signaled(now, 'one', APPENDED),
  signaled(now, 'two', SATISFIED),
  signaled(now, 'two', DUPLICATE),
  signaled(now, '', IGNORED),
  signaled(now, '', IGNORED),
  matched(now, 1, 'one', 'two'),
  matched(now, 1, 'one'),
  used(now, 'first', 5n, 'a'),
  used(now, 'first', 5n, 'a', 'duplicate'),
  used(now, 'beside', 5n, ''),
  used(now, 'second', 1n, 'a', 'refused'),
  budgeted(now, 'read', 10n),
  used(now, 'beside', -2n, 'a'),
  // Nothing was there to be given back, under a key that a report has, too.
  used(now, 'second', 0n, 'b'),
  used(now, 'second', 0n, 'b', 'duplicate'),
  appended(
    now,
    [
      [DURABLE, 'x'],
      [DURABLE, 'y'],
      [SUMMARY, '{"a":1,"b":{"c":1}}'],
    ],
    { durableBefore: 0, patchesBefore: 0 },
  ),
  appended(now, [[DURABLE, 'x']], { durableBefore: 0, verdict: 'duplicate' }),
  appended(
    now,
    [
      [SUMMARY, '{"b":{"c":null,"d":2}}'],
      [BEST_EFFORT, 'psst'],
      [DURABLE, 'z'],
    ],
    { durableBefore: 2, patchesBefore: 1 },
  ),
];

const frame = (mode: FrameMode, body: string, more: Partial<TailedFrame> = {}): TailedFrame => ({
  ...{ mode, content: `t\n${body}`, number: 0, version: 0, whole: false },
  ...more,
});
const durable = (number: number, body: string) => frame(DURABLE, body, { number });
const patch = (version: number, body: string, whole = false) => frame(SUMMARY, body, { version, whole });

export const TAILS: readonly Tail[] = [
  {
    ...{ reader: 'live', execution: 'first', attempt: 1, closed: true },
    frames: [
      ...[durable(1, 'x'), durable(2, 'y'), patch(1, '{"a":1,"b":{"c":1}}'), patch(2, '{"b":{"c":null,"d":2}}')],
      ...[frame(BEST_EFFORT, 'psst'), durable(3, 'z')],
    ],
  },
  {
    ...{ reader: 'late', execution: 'first', attempt: 1, closed: true },
    frames: [durable(1, 'x'), durable(2, 'y'), patch(2, '{"b":{"d":2},"a":1}', true), durable(3, 'z')],
  },
];

export const BUDGETS: readonly FinalBudget[] = [
  { namespace: 'default', budget: 'money', used: new Map([['coins', 8n]]) },
];
