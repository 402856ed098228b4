/** A server that drains while others go on: who waits is answered, what was answered stays, nothing is taken and lost (E16). */
import { Code, ConnectError } from '@connectrpc/connect';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { CancelEffect } from '../../gen/tailrace/v1/cancel_pb.js';
import { ExecutionState } from '../../gen/tailrace/v1/execution_state_pb.js';
import { StartPosition } from '../../gen/tailrace/v1/log_pb.js';
import { asTailraceError } from '../../src/client/errors.js';
import { monotonicMs } from '../../src/runtime/clock.js';
import { ByHand, refusal, seconds } from '../support/by-hand.js';
import { type Another, Recorded } from '../support/history/recorded.js';
import type { Clients } from '../support/tailrace.js';

const DRAIN_SECONDS = 60;
/** What only waits is let go at once; a drain that waited for it would use up its bound. */
const BOUND_MS = 20_000;

let recorded: Recorded;
let doomed: Another;
let clients: Clients;
let hand: ByHand;
let there: ByHand;
beforeAll(async () => {
  recorded = await Recorded.start();
  hand = recorded.hand();
});
afterAll(() => recorded.stop());
beforeEach(async () => {
  doomed = await recorded.another({ TAILRACE_DRAIN_SECONDS: String(DRAIN_SECONDS) });
  clients = doomed.clients;
  there = new ByHand(clients, 'there');
});
afterEach(() => doomed.stop());

/** Stops the server once the calls above are sure to be under way there; answers how long that took. */
async function drained(): Promise<number> {
  await clients.admin.getServerInfo({});
  const began = monotonicMs();
  await doomed.stop();
  return monotonicMs() - began;
}

test('E16: who waits is answered with what is known, and the drain does not wait for it', async () => {
  const claim = await hand.claimNamed(await hand.createOne({ lane: 'awaited' }), { leaseDuration: seconds(60) });
  const { executionId } = claim;
  const waiting = Promise.all([
    there.claim({ lanes: [{ lane: 'nothing here' }], wait: seconds(60) }),
    clients.completion.awaitExecutions({ executionIds: [executionId], timeout: seconds(60) }),
    there.cancel(executionId, { wait: seconds(60), policy: { grace: seconds(60) } }),
  ]);
  const tookMs = await drained();
  const [claims, awaited, canceled] = await waiting;
  expect(claims).toEqual([]);
  expect(awaited).toMatchObject({ done: false, executions: [{ executionId, state: ExecutionState.RUNNING }] });
  expect(canceled.execution).toMatchObject({ effect: CancelEffect.REQUESTED, state: ExecutionState.RUNNING });
  expect(tookMs).toBeLessThan(BOUND_MS);
  await hand.complete(claim);
});

test('E16: watches end with DRAINING', async () => {
  const start = StartPosition.LATEST;
  const watches = [
    clients.completion.watchLog({ start })[Symbol.asyncIterator](),
    clients.completion.watchCompletions({ start })[Symbol.asyncIterator](),
  ];
  await Promise.all(watches.map((watch) => watch.next()));
  const ended = async (watch: (typeof watches)[number]) => {
    while (!(await watch.next()).done);
  };
  const ends = watches.map((watch) => refusal(ended(watch)));
  expect(await drained()).toBeLessThan(BOUND_MS);
  for (const end of await Promise.all(ends)) expect(end).toMatchObject({ reason: 'DRAINING' });
});

test('E16: calls that meet a drain are answered, or can be repeated elsewhere, and what was answered stays', async () => {
  const calls = Array.from({ length: 200 }, (_, i) => ({ requestId: `at the drain ${i}`, lane: 'at the drain' }));
  const answers = Promise.allSettled(calls.map((spec) => there.createOne(spec)));
  await doomed.stop();
  for (const [i, answer] of (await answers).entries()) {
    if (answer.status === 'rejected') expect(asTailraceError(answer.reason).passing).toBe(true);
    const again = await hand.createOne(calls[i]);
    if (answer.status === 'fulfilled') expect(again).toBe(answer.value);
  }
});

test('E16: no waiting claim takes work into a server that goes away', async () => {
  const lane = 'taken or left';
  const waiting = Array.from({ length: 40 }, () => there.claim({ lanes: [{ lane }], wait: seconds(60) }));
  const answered = Promise.allSettled(waiting);
  await clients.admin.getServerInfo({});
  const creating = Array.from({ length: 8 }, () => hand.create(...Array.from({ length: 5 }, () => ({ lane }))));
  await doomed.stop();
  const created = (await Promise.all(creating)).flat();
  const claimed = (await answered).flatMap((answer) => {
    if (answer.status === 'fulfilled') return answer.value;
    expect(ConnectError.from(answer.reason).code).not.toBe(Code.Canceled);
    return [];
  });
  const { executions } = await recorded.clients.admin.listExecutions({
    filter: { lanes: [lane], states: [ExecutionState.RUNNING] },
    pageSize: 1_000,
  });
  expect(executions.map(({ executionId }) => executionId).sort()).toEqual(
    claimed.map(({ executionId }) => executionId).sort(),
  );
  for (const claim of claimed) await hand.complete(claim);
  const left = await hand.claim({ lanes: [{ lane }], maxExecutions: 100, wait: seconds(0) });
  expect(claimed.length + left.length).toBe(created.length);
  await Promise.all(left.map((claim) => hand.complete(claim)));
});
