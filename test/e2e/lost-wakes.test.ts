/**
 * Two servers whose wake-ups never reach each other: what one does, waiting calls of the other see by their next pulse,
 * a second later. Ten seconds are allowed, for a machine that is busy with other tests: half of what they wait for at most.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { FailureClass } from '../../gen/tailrace/v1/attempt_pb.js';
import { PoisonPolicy } from '../../gen/tailrace/v1/consumer_pb.js';
import { LogEntryKind } from '../../gen/tailrace/v1/log_pb.js';
import { monotonicMs } from '../../src/runtime/clock.js';
import { ByHand, only, refusal, seconds } from '../support/by-hand.js';
import { ConsumersByHand } from '../support/consumers-by-hand.js';
import { Recorded } from '../support/history/recorded.js';
import { type Muted, mute } from '../support/muted.js';
import { freshDatabase, type TestDatabase } from '../support/postgres.js';
import type { Clients } from '../support/tailrace.js';

const BOUND_MS = 10_000;

let database: TestDatabase;
let recorded: Recorded;
let elsewhere: Clients;
/** Calls the other server, while `here` waits at the recorded server. */
let there: ByHand;
let here: ByHand;
let muted: Muted;

beforeAll(async () => {
  database = await freshDatabase();
  muted = await mute(database);
  recorded = await Recorded.start({ database: muted.database });
  elsewhere = (await recorded.another()).clients;
  there = new ByHand(elsewhere, 'there');
  here = recorded.hand('here');
});
afterAll(async () => {
  await recorded.stop();
  await muted.stop();
  await database.drop();
});

/** Begins to wait, lets the other server act once the wait is in place, and answers how long the news took. */
async function newsOf<T>(waiting: Promise<T>, act: () => Promise<unknown>): Promise<{ answer: T; tookMs: number }> {
  // A round trip later the call that waits has been taken in.
  await recorded.clients.admin.getServerInfo({});
  await act();
  const acted = monotonicMs();
  const answer = await waiting;
  return { answer, tookMs: monotonicMs() - acted };
}

test.each([
  ['of a kind it knows', 'known'],
  ['of a kind it has never met', 'never met'],
])('proof 14: a waiting claim gets work %s', async (_, lane) => {
  if (lane === 'known') await here.complete(await here.claimNamed(await here.createOne({ lane })));
  const ids: string[] = [];
  const waiting = here.claim({ lanes: [{ lane }], wait: seconds(20) });
  const { answer, tookMs } = await newsOf(waiting, async () => ids.push(await there.createOne({ lane })));
  expect(only(answer).executionId).toBe(ids[0]);
  expect(tookMs).toBeLessThan(BOUND_MS);
});

test('proof 14: a waiting claim gets work that another worker gives back', async () => {
  const lane = 'given back';
  const claim = await there.claimNamed(await there.createOne({ lane }), { leaseDuration: seconds(60) });
  const waiting = here.claim({ lanes: [{ lane }], wait: seconds(20) });
  const { answer, tookMs } = await newsOf(waiting, () => there.release(claim));
  expect(only(answer)).toMatchObject({ executionId: claim.executionId, attemptNumber: 2 });
  expect(tookMs).toBeLessThan(BOUND_MS);
});

test('proof 14: a waiting claim gets the work of a lane that was paused', async () => {
  const lane = 'paused';
  await elsewhere.admin.pauseLane({ lane });
  const id = await there.createOne({ lane });
  const waiting = here.claim({ lanes: [{ lane }], wait: seconds(20) });
  const { answer, tookMs } = await newsOf(waiting, () => elsewhere.admin.resumeLane({ lane }));
  expect(only(answer).executionId).toBe(id);
  expect(tookMs).toBeLessThan(BOUND_MS);
});

test('proof 14: a waiting worker hears that it should drain', async () => {
  const worker = { name: 'drained', instanceId: 'drained' };
  await recorded.clients.engine.heartbeatWorker({ worker });
  const waiting = recorded.clients.engine.claimExecutions({ worker, lanes: [{ lane: 'empty' }], wait: seconds(20) });
  const { answer, tookMs } = await newsOf(waiting, () => elsewhere.admin.drainWorker({ worker, reason: 'replaced' }));
  expect(answer).toMatchObject({ claims: [], drain: true });
  expect(tookMs).toBeLessThan(BOUND_MS);
});

test('proof 14: watches, waits and cancels hear of an end', async () => {
  const claim = await there.claimNamed(await there.createOne({ lane: 'ended' }), { leaseDuration: seconds(60) });
  const id = claim.executionId;
  await there.cancel(id);
  const completions = await recorded.reader({
    name: 'completions of one lane',
    completions: { lanes: ['ended'] },
    selects: ({ execution, to }) => execution === id && to > 6,
  });
  const waiting = Promise.all([
    here.end(id),
    here.cancel(id, { wait: seconds(20) }),
    completions.until(({ completed }) => completed.length === 1),
    recorded.log.entry((entry) => entry.executionId === id && entry.kind === LogEntryKind.EXECUTION_SUCCEEDED),
  ]);
  const { answer, tookMs } = await newsOf(waiting, () => there.complete(claim));
  expect(answer[1].outcome).toEqual(answer[0].outcome);
  expect(tookMs).toBeLessThan(BOUND_MS);
});

test('proof 14: what waits at a consumer hears of entries, of letters, of parts, of the cursor, and of a pause', async () => {
  const consumer = 'muted';
  const hands = new ConsumersByHand(recorded.clients);
  const otherHands = new ConsumersByHand(elsewhere);
  await hands.consumer(consumer, { filter: { eventTypes: [consumer] }, poisonPolicy: PoisonPolicy.PARK });
  const owner = await hands.owner(consumer, { leaseDuration: seconds(600) });
  const wait = seconds(20);
  const took: number[] = [];
  const news = async <T>(waiting: Promise<T>, act: () => Promise<unknown>) => {
    const { answer, tookMs } = await newsOf(waiting, act);
    took.push(tookMs);
    return answer;
  };
  const entry = only((await news(owner.fetch({ wait }), () => otherHands.publish({ type: consumer }))).deliveries);
  const { deadLetterId } = await owner.fail(entry, { failure: { failureClass: FailureClass.PERMANENT } });
  const parked = await news(owner.fetch({ wait }), () => elsewhere.deadLetters.redriveDeadLetter({ deadLetterId }));
  expect(only(parked.deliveries)).toMatchObject({ deadLetterId });
  await owner.commit(parked);
  const next = hands.member(consumer).acquire({ wait });
  const [successor] = await news(next, () => elsewhere.completion.releaseConsumer(owner.held));
  if (successor === undefined) throw new Error('no part was acquired');
  const [{ cursor = '' } = {}] = await otherHands.publish({ type: consumer });
  const awaited = recorded.clients.completion.awaitConsumer({ consumer, cursor, timeout: wait });
  const passed = await news(awaited, async () => {
    const answer = await successor.fetch({ wait });
    const { fromCursor, toCursor } = answer;
    await elsewhere.completion.commitEntries({ ...successor.held, fromCursor, toCursor });
  });
  expect(passed).toMatchObject({ done: true });
  const paused = await news(refusal(successor.fetch({ wait })), () => elsewhere.admin.pauseConsumer({ consumer }));
  expect(paused.reason).toBe('CONSUMER_PAUSED');
  for (const tookMs of took) expect(tookMs).toBeLessThan(BOUND_MS);
});

test('proof 14: no wake-up was heard meanwhile', () => {
  expect(muted.heard).toEqual([]);
});
