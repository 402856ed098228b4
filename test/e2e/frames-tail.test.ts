/**
 * Tails of output: every reader gets every frame once, in order and to the byte, whoever joins when, at whichever server, and
 * however often it is cut; and then the word that it is over. What tails were told is judged against all that was appended.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { AttemptOutcome, FailureClass } from '../../gen/tailrace/v1/attempt_pb.js';
import { CancelMode } from '../../gen/tailrace/v1/cancel_pb.js';
import type { TailFramesResponse } from '../../gen/tailrace/v1/completion_service_pb.js';
import { ExecutionState } from '../../gen/tailrace/v1/execution_state_pb.js';
import { type Frame, FrameMode, FramesCloseReason } from '../../gen/tailrace/v1/frame_pb.js';
import type { Claim } from '../../gen/tailrace/v1/lease_pb.js';
import { StartPosition } from '../../gen/tailrace/v1/log_pb.js';
import { pause } from '../../src/runtime/clock.js';
import { type ByHand, refusal, seconds } from '../support/by-hand.js';
import { Chance } from '../support/chance.js';
import { eventually } from '../support/eventually.js';
import { FlowsByHand } from '../support/flows-by-hand.js';
import { FramesByHand, json, said, text } from '../support/frames-by-hand.js';
import { type Another, Recorded } from '../support/history/recorded.js';
import { RecordedTail } from '../support/history/tail.js';
import { WaitsByHand } from '../support/waits-by-hand.js';

const { DURABLE, SUMMARY, BEST_EFFORT } = FrameMode;

let recorded: Recorded;
let elsewhere: Another;
let hand: ByHand;
let here: FramesByHand;
/** Has what passes; begun before everything else, because that stays for half a minute. */
let passing: Claim;
beforeAll(async () => {
  recorded = await Recorded.start({ environment: { TAILRACE_HEARTBEAT_SECONDS: '1' } });
  elsewhere = await recorded.another();
  hand = recorded.hand();
  here = new FramesByHand(recorded.clients);
  passing = await running();
  await here.append(passing, [text('stays'), text('passes', '', BEST_EFFORT)]);
  expect(said((await here.read(passing.executionId)).frames)).toEqual(['stays', 'passes']);
});
afterAll(() => recorded.stop());

const running = async (): Promise<Claim> => hand.claimNamed(await hand.createOne(), { leaseDuration: seconds(3_600) });
const ofMode = (frames: readonly Frame[], mode: FrameMode) => said(frames.filter((frame) => frame.mode === mode));
/** Of some modes only: what it is told of is not all that was appended, so it is not judged. */
const some = (executionId: string, modes: FrameMode[]) =>
  new RecordedTail({ name: modes.join(), executionId, modes, completion: () => recorded.clients.completion });
const versions = (frames: readonly Frame[]) =>
  frames.map(({ summaryWhole, summaryVersion }) => [summaryWhole, summaryVersion]);
const there = () => elsewhere.clients.completion;

/** Appends so many frames of every mode in calls of all sizes, and answers the durable ones. */
async function write(claim: Claim, count: number, chance: Chance): Promise<string[]> {
  const words: string[] = [];
  for (let n = 0; words.length < count; ) {
    const call = Array.from({ length: 1 + chance.below(20) }, () => {
      const kind = chance.below(10);
      if (kind === 0) return json({ [`k${chance.below(5)}`]: chance.below(2) ? n++ : null, last: n });
      if (kind === 1) return text(`passing ${n++}`, 'news', BEST_EFFORT);
      words.push(`${n++} ${'x'.repeat(chance.below(200))}\n`);
      return text(words.at(-1) ?? '', 'token');
    });
    await here.append(claim, call);
  }
  return words;
}

describe('whoever joins when', () => {
  test('two readers, one of which reconnects at random, and one of every server', async () => {
    const claim = await running();
    const { executionId } = claim;
    const chance = new Chance(7);
    const steady = recorded.tail({ name: 'steady', executionId });
    const restless = recorded.tail({ name: 'restless', executionId });
    const distant = recorded.tail({ name: 'distant', executionId, completion: there });
    const changing = recorded.tail({
      name: 'changing',
      executionId,
      completion: () => (chance.below(2) ? there() : recorded.clients.completion),
    });
    let done = false;
    const cutting = (async () => {
      for (let cuts = 0; !done; cuts++) {
        await pause(chance.below(15));
        (cuts % 2 ? restless : changing).cut();
      }
    })();
    const words = await write(claim, 3_000, chance);
    done = true;
    await cutting;
    await hand.complete(claim);
    for (const tail of [steady, restless, distant, changing]) {
      expect(ofMode(await tail.whole(), DURABLE)).toEqual(words);
    }
  });

  test('late joiners get all that was, then what comes', async () => {
    const claim = await running();
    const { executionId } = claim;
    const chance = new Chance(8);
    const words = await write(claim, 4_000, chance);
    const tails = [
      recorded.tail({ name: 'late', executionId }),
      recorded.tail({ name: 'far', executionId, completion: there }),
    ];
    for (let i = 0; i < 5; i++) {
      words.push(...(await write(claim, 300, chance)));
      tails.push(recorded.tail({ name: `later ${i}`, executionId }));
    }
    await hand.complete(claim);
    tails.push(recorded.tail({ name: 'after the end', executionId }));
    for (const tail of tails) expect(ofMode(await tail.whole(), DURABLE)).toEqual(words);
  });

  test('modes are chosen, and the start is', async () => {
    const claim = await running();
    const { executionId } = claim;
    await here.append(claim, [text('before'), json({ a: 1 })]);
    const durable = some(executionId, [DURABLE]);
    const summary = some(executionId, [SUMMARY]);
    await summary.until(({ frames }) => frames.length === 1);
    const latest = recorded.clients.completion
      .tailFrames({ executionId, start: StartPosition.LATEST })
      [Symbol.asyncIterator]();
    expect(versions((await news(latest)).frames)).toEqual([[true, 1n]]);
    await here.append(claim, [text('after'), json({ a: null, b: 2 })]);
    await hand.complete(claim);
    expect(said(await durable.whole())).toEqual(['before', 'after']);
    expect(versions(await summary.whole())).toEqual([
      [true, 1n],
      [false, 2n],
    ]);
    const rest = await collect(latest);
    expect(said(rest.frames)).toEqual(['after', '{"a":null,"b":2}']);
    expect(rest.closed).toMatchObject({ reason: FramesCloseReason.EXECUTION_ENDED });
  });

  test('whoever begins before there is anything is told that it is in place, and every so often how far it is', async () => {
    const claim = await running();
    const { executionId } = claim;
    const tail = recorded.clients.completion.tailFrames({ executionId })[Symbol.asyncIterator]();
    const [first, second] = [(await tail.next()).value, (await tail.next()).value];
    for (const message of [first, second]) {
      expect(message).toMatchObject({ frames: [], heartbeat: { cursor: first?.heartbeat?.cursor } });
      expect(message?.heartbeat?.serverTime).toBeDefined();
    }
    await here.append(claim, [text('a')]);
    expect(said((await news(tail)).frames)).toEqual(['a']);
    await tail.return?.();
    const again = recorded.clients.completion.tailFrames({ executionId, cursor: second?.heartbeat?.cursor ?? '' });
    expect(said((await news(again[Symbol.asyncIterator]())).frames)).toEqual(['a']);
    await hand.complete(claim);
  });
});

/** The next message that is no heartbeat. */
async function news(tail: AsyncIterator<TailFramesResponse>): Promise<TailFramesResponse> {
  for (;;) {
    const { value, done } = await tail.next();
    if (done) throw new Error('a tail ended without a word');
    if (!value.heartbeat) return value;
  }
}

async function collect(tail: AsyncIterator<{ frames: Frame[]; closed?: unknown }>) {
  const frames: Frame[] = [];
  for (;;) {
    const { value, done } = await tail.next();
    if (done) throw new Error('a tail ended without a word');
    frames.push(...value.frames);
    if (value.closed) return { frames, closed: value.closed };
  }
}

describe('the end', () => {
  test.each([
    [
      'is completed',
      FramesCloseReason.EXECUTION_ENDED,
      AttemptOutcome.SUCCEEDED,
      (claim: Claim) => hand.complete(claim),
    ],
    [
      'fails for good',
      FramesCloseReason.EXECUTION_ENDED,
      AttemptOutcome.FAILED,
      (claim: Claim) => hand.fail(claim, FailureClass.PERMANENT),
    ],
    [
      'fails and is tried again',
      FramesCloseReason.ATTEMPT_ENDED,
      AttemptOutcome.FAILED,
      (claim: Claim) => hand.fail(claim, FailureClass.TRANSIENT),
    ],
    ['is released', FramesCloseReason.ATTEMPT_ENDED, AttemptOutcome.RELEASED, (claim: Claim) => hand.release(claim)],
    [
      'is delayed',
      FramesCloseReason.ATTEMPT_ENDED,
      AttemptOutcome.DELAYED,
      (claim: Claim) => hand.delay(claim, { delay: seconds(60) }),
    ],
    [
      'is canceled',
      FramesCloseReason.EXECUTION_ENDED,
      AttemptOutcome.CANCELED,
      (claim: Claim) => hand.cancel(claim.executionId, { policy: { mode: CancelMode.NOW } }),
    ],
    [
      'is revoked',
      FramesCloseReason.ATTEMPT_ENDED,
      AttemptOutcome.REVOKED,
      (claim: Claim) => recorded.clients.admin.revokeLease({ executionId: claim.executionId, reason: 'moved' }),
    ],
  ])('is told to every tail when the attempt %s', async (_, reason, outcome, end) => {
    const claim = await running();
    const { executionId } = claim;
    const tails: RecordedTail[] = [];
    for (const completion of [() => recorded.clients.completion, there]) {
      tails.push(recorded.tail({ name: `tail ${tails.length}`, executionId, completion }));
    }
    await here.append(claim, [text('a')]);
    await Promise.all(tails.map((tail) => tail.until(({ frames }) => frames.length === 1)));
    await here.append(claim, [text('b'), text('c')]);
    await end(claim);
    tails.push(recorded.tail({ name: 'after it', executionId }));
    for (const tail of tails) {
      expect(said(await tail.whole())).toEqual(['a', 'b', 'c']);
      expect(tail.closed).toMatchObject({ reason, outcome, closeTime: expect.anything() });
    }
    await hand.cancel(executionId);
  });

  test('comes for a lease that runs out, and without frames', async () => {
    const claim = await hand.claimNamed(await hand.createOne(), { leaseDuration: seconds(1) });
    const tail = recorded.tail({ name: 'of nothing', executionId: claim.executionId });
    expect(await tail.whole()).toEqual([]);
    expect(tail.closed).toMatchObject({
      reason: FramesCloseReason.ATTEMPT_ENDED,
      outcome: AttemptOutcome.LEASE_EXPIRED,
    });
    await hand.cancel(claim.executionId);
  });

  test('of an earlier attempt stays what it was, and 0 means the last one when the call comes', async () => {
    const claim = await running();
    const { executionId } = claim;
    await here.append(claim, [text('first')]);
    await hand.release(claim);
    const last = () => collect(recorded.clients.completion.tailFrames({ executionId })[Symbol.asyncIterator]());
    expect(said((await last()).frames)).toEqual(['first']);
    const second = await hand.claimNamed(executionId);
    await here.append(second, [text('second')]);
    await hand.complete(second);
    const tails = [
      recorded.tail({ name: 'first', executionId }),
      recorded.tail({ name: 'second', executionId, attemptNumber: 2 }),
    ];
    expect(await Promise.all(tails.map(async (tail) => said(await tail.whole())))).toEqual([['first'], ['second']]);
    expect(tails.map(({ closed }) => closed?.reason)).toEqual([
      FramesCloseReason.ATTEMPT_ENDED,
      FramesCloseReason.EXECUTION_ENDED,
    ]);
    expect(said((await last()).frames)).toEqual(['second']);
  });

  test('what races with it is in the stream or refused, and never later', async () => {
    for (let round = 0; round < 30; round++) {
      const claim = await running();
      const { executionId } = claim;
      const tail = round % 3 === 0 ? recorded.tail({ name: `racing ${round}`, executionId }) : undefined;
      const clients = [here, new FramesByHand(elsewhere.clients)];
      const calls = Array.from({ length: 6 }, (_, i) => clients[i % 2]?.append(claim, [text(`${i}`)]));
      const ending = round % 2 ? hand.complete(claim) : hand.release(claim);
      const settled = await Promise.allSettled(calls);
      await ending;
      const accepted = settled.flatMap(({ status }, i) => (status === 'fulfilled' ? [`${i}`] : []));
      const { frames, closed } = await here.read(executionId);
      expect(new Set(said(frames))).toEqual(new Set(accepted));
      expect(frames).toHaveLength(accepted.length);
      for (const { appendTime } of frames) {
        const [at, end] = [appendTime, closed?.closeTime].map(
          (time) => Number(time?.seconds) * 1e9 + Number(time?.nanos),
        );
        expect(at).toBeLessThanOrEqual(end ?? 0);
      }
      if (tail) expect(await tail.whole()).toHaveLength(accepted.length);
      if (round % 2 === 0) await hand.cancel(executionId);
    }
  });
});

describe('an attempt that waits', () => {
  test.each(['signals', 'children'] as const)('for %s keeps its stream open, and goes on with it', async (what) => {
    const waits = new WaitsByHand(recorded.clients);
    const flows = new FlowsByHand(recorded.clients);
    const claim = await running();
    const { executionId } = claim;
    const tails = [recorded.clients, elsewhere.clients].map(({ completion }, i) =>
      recorded.tail({ name: `over the wait ${i}`, executionId, completion: () => completion }),
    );
    await here.append(claim, [text('before'), json({ step: 1 })]);
    let goOn: () => Promise<unknown>;
    if (what === 'signals') {
      await waits.suspend(claim);
      goOn = () => waits.signal(executionId);
    } else {
      const child = { name: 'child', execution: { type: 'child', lane: 'children' } };
      const { childExecutionIds } = await flows.waitForChildren(claim, [child]);
      goOn = async () => hand.complete(await hand.claimNamed(childExecutionIds[0] ?? ''));
    }
    expect(await refusal(here.append(claim, [text('meanwhile')]))).toMatchObject({ reason: 'LEASE_LOST' });
    const parked = await here.read(executionId);
    expect([parked.frames.length, parked.closed]).toEqual([2, undefined]);
    await goOn();
    await eventually(async () => (await hand.state(executionId)) === ExecutionState.QUEUED);
    const resumed = await hand.claimNamed(executionId, { leaseDuration: seconds(120) });
    expect(resumed.attemptNumber).toBe(1);
    const more = await here.append(resumed, [text('after'), json({ step: 2 })], 1n);
    expect(more).toMatchObject({ count: 2n, summaryVersion: 2n });
    expect(await refusal(here.append(claim, [text('meanwhile')], 2n))).toMatchObject({ reason: 'LEASE_LOST' });
    await hand.complete(resumed);
    for (const tail of tails) expect(ofMode(await tail.whole(), DURABLE)).toEqual(['before', 'after']);
  });
});

test('modes are kept apart: ten thousand durable frames, and thousands of the others', async () => {
  const claim = await running();
  const { executionId } = claim;
  const tail = recorded.tail({ name: 'of everything', executionId });
  const follower = some(executionId, [SUMMARY]);
  const cut = recorded.tail({ name: 'cut', executionId });
  await here.append(claim, [json({ first: true })]);
  await cut.until(({ frames }) => frames.length > 0);
  for (let i = 0; i < 10; i++) {
    await here.append(
      claim,
      Array.from({ length: 1_000 }, (_, n) => text(`${i * 1_000 + n}`)),
    );
    await here.append(
      claim,
      Array.from({ length: 300 }, (_, n) => json({ [`k${n % 7}`]: i * 300 + n, n: null })),
    );
    await here.append(
      claim,
      Array.from({ length: 400 }, (_, n) => text(`passing ${i * 400 + n}`, '', BEST_EFFORT)),
    );
    if (i === 2) cut.cut();
  }
  expect(await refusal(here.append(claim, [text('one too many')]))).toMatchObject({ reason: 'FRAME_LIMIT_EXCEEDED' });
  expect(await here.append(claim, [text('passes', '', BEST_EFFORT), json({ last: true })])).toMatchObject({
    count: 10_000n,
    summaryVersion: 3_002n,
  });
  const everything = await here.all(executionId);
  expect(ofMode(everything, DURABLE)).toEqual(Array.from({ length: 10_000 }, (_, i) => String(i)));
  const passing = ofMode(everything, BEST_EFFORT);
  expect([passing.length, passing.at(0), passing.at(-1)]).toEqual([1_024, 'passing 2977', 'passes']);
  expect(versions(everything.filter(({ mode }) => mode === SUMMARY))).toEqual([[true, 3_002n]]);
  const document = {
    first: true,
    last: true,
    ...Object.fromEntries(Array.from({ length: 7 }, (_, i) => [`k${i}`, lastOf(i)])),
  };
  expect(await here.document(executionId)).toEqual(document);
  await hand.complete(claim);
  for (const reader of [tail, cut]) expect(ofMode(await reader.whole(), DURABLE)).toHaveLength(10_000);
  await follower.whole();
});

/** What the last patch wrote under a name. */
function lastOf(name: number): number {
  for (let n = 299; ; n--) if (n % 7 === name) return 9 * 300 + n;
}

test('a patch that was folded long ago comes as the whole document, whose cursor goes on behind it', async () => {
  const claim = await running();
  const { executionId } = claim;
  const { lastCursor } = await here.append(claim, [json({ n: 0 })]);
  for (let i = 0; i < 2; i++)
    await here.append(
      claim,
      Array.from({ length: 1_000 }, (_, n) => json({ n, [`k${i}`]: n })),
    );
  const { frames } = await here.read(executionId, { cursor: lastCursor });
  expect(versions(frames)).toEqual([[true, 2_001n]]);
  await here.append(claim, [json({ more: 1 })]);
  const { frames: rest } = await here.read(executionId, { cursor: frames[0]?.cursor ?? '' });
  expect(versions(rest)).toEqual([[false, 2_002n]]);
  await hand.complete(claim);
});

test('what passes is dropped after its time, and what stays is not', async () => {
  const { executionId } = passing;
  await eventually(async () => said((await here.read(executionId)).frames).length === 1, 45_000);
  expect(said((await here.read(executionId)).frames)).toEqual(['stays']);
  await hand.complete(passing);
});
