/** Violations of what the checker says of limits, signals, budgets and output. */
import { EndReason, ExecutionState } from '../../../gen/tailrace/v1/execution_state_pb.js';
import { FrameMode } from '../../../gen/tailrace/v1/frame_pb.js';
import { LogEntryKind } from '../../../gen/tailrace/v1/log_pb.js';
import { SignalEffect } from '../../../gen/tailrace/v1/signal_pb.js';
import type { FeedEntry, Limited, Tail, TailedFrame } from '../../support/history/history.js';
import { created, now } from './clean-history.js';
import { appended, limited, matched, signaled, used } from './clean-waits.js';
import { about, also, inFinal, inLog, type Plant, sooner, started } from './plants.js';

const { RUNNING, QUEUED, UNSPECIFIED } = ExecutionState;

/** With these limits in place of those that were set. */
const limits =
  (change: (limit: Limited) => Limited | undefined): Plant =>
  (clean) => ({
    ...clean,
    events: clean.events.flatMap((event) => (event.event === 'limited' ? (change(event) ?? []) : event)),
  });
const narrower = (lane: string) => limits((limit) => (limit.lane === lane ? { ...limit, running: 1 } : limit));
const ofKeysAlone = limits((limit) => (limit.keys ? { ...limit, running: 9 } : undefined));

const inTail =
  (reader: string, change: (frames: readonly TailedFrame[]) => readonly TailedFrame[]): Plant =>
  (clean) => ({
    ...clean,
    tails: clean.tails.map((tail): Tail => (tail.reader === reader ? { ...tail, frames: change(tail.frames) } : tail)),
  });
const holds = (body: string) => (frame: TailedFrame) => frame.content === `t\n${body}`;
const changed = (body: string, more: Partial<TailedFrame>) => (frames: readonly TailedFrame[]) =>
  frames.map((frame) => (holds(body)(frame) ? { ...frame, ...more } : frame));
const without = (body: string) => (frames: readonly TailedFrame[]) => frames.filter((frame) => !holds(body)(frame));

/** Seventeen run at once under a key of which nobody has said how many may. */
const crowd: Plant = (clean) => {
  const names = Array.from({ length: 17 }, (_, i) => `one of many ${i}`);
  const entry = (execution: string, kind: LogEntryKind, from: ExecutionState, to: ExecutionState) => ({
    ...{ execution, kind, from, to, attempt: 0, letter: '', flow: '', join: '' },
  });
  const more = (log: readonly FeedEntry[]) => [
    ...log,
    ...names.map((name) => entry(name, LogEntryKind.EXECUTION_CREATED, UNSPECIFIED, QUEUED)),
    ...names.map((name) => ({ ...entry(name, started, QUEUED, RUNNING), attempt: 1 })),
  ];
  const standing = {
    namespace: 'default',
    lane: 'wide',
    key: 'crowded',
    state: RUNNING,
    reason: EndReason.UNSPECIFIED,
  };
  const final = { ...standing, letter: '', redriveOf: '', flow: '', optional: false };
  return inFinal((all) => ({
    ...all,
    executions: [...all.executions, ...names.map((execution) => ({ ...final, execution }))],
  }))(inLog(more)({ ...clean, events: [...clean.events, ...names.map((name) => created(name))] }));
};

const inBudget = (coins: bigint) =>
  inFinal((final) => ({
    ...final,
    budgets: final.budgets.map((budget) => ({ ...budget, used: new Map([['coins', coins]]) })),
  }));

export const PLANTED_WAITS: Readonly<Record<string, Readonly<Record<string, Plant>>>> = {
  'a limit holds': {
    'more of a lane run than may': narrower('narrow'),
    'more of a namespace run than may': narrower(''),
    'more of a namespace run than anybody asked for': (clean) =>
      also(() => ({ ...limited(now, '', 1), certain: false }))(narrower('')(clean)),
    'more of a key run than may': (clean) =>
      inLog((log) => sooner(log, about('second', started), about('first', LogEntryKind.EXECUTION_SUCCEEDED)))(
        ofKeysAlone(clean),
      ),
    'more of a key run than may where nothing was said': crowd,
  },
  'a signal serves once': {
    'it satisfies two suspensions': also(() => matched(now, 2, 'two')),
    'it satisfies one twice': also(() => matched(now, 2, 'three', 'three')),
    'it counts twice': also(() => signaled(now, 'two', SignalEffect.BUFFERED)),
    'it is kept though it was ignored': also(() => signaled(now, 'three', SignalEffect.IGNORED)),
    'it has no id though it was kept': also(() => signaled(now, '', SignalEffect.APPENDED)),
    'who asks again is told of others': also(() => matched(now, 1, 'two', 'one')),
  },
  'use stays in its budget': {
    'more is used than may': inBudget(11n),
    'a report is lost': inBudget(3n),
    'a report counts twice': (clean) => inBudget(9n)(also(() => used(now, 'beside', -4n, 'b'))(clean)),
    'a refused report counts': inBudget(9n),
    'what was given back is not there': inBudget(10n),
  },
  'output is exact': {
    'a frame is missing': inTail('live', without('y')),
    'a frame comes twice': inTail('live', (frames) => [...frames, ...frames.slice(-1)]),
    'two frames are swapped': inTail('live', (frames) => frames.toReversed()),
    'a frame is not as it was written': inTail('live', changed('y', { content: 't\nY' })),
    'its type is not as it was written': inTail('live', changed('y', { content: 'u\ny' })),
    'a frame is of nobody': inTail('live', (frames) => [
      ...frames,
      { mode: FrameMode.DURABLE, content: 't\nw', number: 4, version: 0, whole: false },
    ]),
    'the end comes too early': inTail('late', without('z')),
    'a patch is not there, though an answer about a frame was lost': (clean) =>
      inTail(
        'live',
        without('{"a":1,"b":{"c":1}}'),
      )(also(() => appended(now, [[FrameMode.DURABLE, 'v']], { verdict: 'unanswered' }))(clean)),
    'a patch is missing': inTail('live', without('{"a":1,"b":{"c":1}}')),
    'the last patch is missing': inTail('live', without('{"b":{"c":null,"d":2}}')),
    'a patch is not as it was written': inTail('live', changed('{"b":{"c":null,"d":2}}', { content: 't\n{"b":3}' })),
    'a document is not what the patches make': inTail(
      'late',
      changed('{"b":{"d":2},"a":1}', { content: 't\n{"b":{"c":1,"d":2},"a":1}' }),
    ),
    'a frame without promise was never appended': inTail('live', changed('psst', { content: 't\nhush' })),
    'two readers are told differently': inTail('late', changed('x', { content: 't\nX' })),
  },
};
