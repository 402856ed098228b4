/**
 * What comes to a suspension in the same instant decides it once: signals that meet each other, the suspension itself, its
 * timeout, an operator or a cancellation. Two servers, so that nothing but the database keeps them apart.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { SignalExecutionResponse } from '../../gen/tailrace/v1/engine_service_pb.js';
import { ExecutionState } from '../../gen/tailrace/v1/execution_state_pb.js';
import type { Claim } from '../../gen/tailrace/v1/lease_pb.js';
import { LogEntryKind } from '../../gen/tailrace/v1/log_pb.js';
import {
  CountDistinct,
  ResumeCause,
  SignalEffect,
  SuspensionTimeoutBehavior,
} from '../../gen/tailrace/v1/signal_pb.js';
import { pause } from '../../src/runtime/clock.js';
import { abreast } from '../support/abreast.js';
import { refusal, seconds } from '../support/by-hand.js';
import { Recorded } from '../support/history/recorded.js';
import { WaitsByHand } from '../support/waits-by-hand.js';

const { SATISFIED, APPENDED, BUFFERED, DUPLICATE } = SignalEffect;
const long = { leaseDuration: seconds(600) };

let recorded: Recorded;
let here: WaitsByHand;
let there: WaitsByHand;
beforeAll(async () => {
  recorded = await Recorded.start();
  here = new WaitsByHand(recorded.clients);
  there = new WaitsByHand((await recorded.another()).clients);
});
afterAll(() => recorded.stop());

async function runningAll(lane: string, count: number): Promise<Claim[]> {
  for (let made = 0; made < count; made += 500) {
    await here.create(...Array.from({ length: Math.min(500, count - made) }, () => ({ lane })));
  }
  const claims: Claim[] = [];
  while (claims.length < count) claims.push(...(await here.claim({ lanes: [{ lane }], maxExecutions: 500, ...long })));
  return claims;
}

/** The first of two calls is now the one here, and now the one there. */
async function atOnce<A, B>(i: number, one: () => Promise<A>, other: () => Promise<B>): Promise<[A, B]> {
  if (i % 2 === 0) return await Promise.all([one(), other()]);
  const [second, first] = await Promise.all([other(), one()]);
  return [first, second];
}

const effects = (...answers: SignalExecutionResponse[]) => answers.map(({ effect }) => effect).sort();

/** They go on, each told what satisfied it, and complete. */
async function finish(claims: readonly Claim[], told: (resumed: Claim) => void): Promise<void> {
  await abreast(
    claims.map(({ executionId }) => async () => {
      const resumed = await here.claimNamed(executionId, long);
      told(resumed);
      await here.complete(resumed);
    }),
  );
}

const resumes = async (claims: readonly Claim[]) => {
  // Whatever was logged before it has been told with it.
  const marker = await here.createOne({ lane: 'markers' });
  await recorded.log.entry(({ executionId }) => executionId === marker);
  const ids = new Set(claims.map(({ executionId }) => executionId));
  return recorded.log.entries.filter(
    ({ kind, executionId }) => kind === LogEntryKind.EXECUTION_RESUMED && ids.has(executionId),
  );
};

test('the last two of three signals come in the same instant, two hundred times: one of them satisfies', async () => {
  const claims = await runningAll('last two', 200);
  const three = { count: 3, distinct: CountDistinct.SIGNALS };
  const condition = { condition: { case: 'count' as const, value: three } };
  await abreast(
    claims.map((claim, i) => async () => {
      const { executionId: id } = claim;
      expect((await here.suspend(claim, { condition })).suspended).toBe(true);
      expect((await here.signal(id, 'first')).effect).toBe(APPENDED);
      const answers = await atOnce(
        i,
        () => here.signal(id, 'second'),
        () => there.signal(id, 'third'),
      );
      expect(effects(...answers)).toEqual([SATISFIED, APPENDED]);
    }),
  );
  await finish(claims, ({ resume }) => expect(resume?.signals).toHaveLength(3));
  expect(await resumes(claims)).toHaveLength(claims.length);
});

test('a signal comes in the instant its execution suspends, two hundred times, and none is lost', async () => {
  const claims = await runningAll('early or late', 200);
  const parked = await abreast(
    claims.map((claim, i) => async () => {
      const { executionId: id } = claim;
      const [{ suspended }, { effect }] = await atOnce(
        i,
        () => here.suspend(claim),
        () => there.signal(id),
      );
      // Whichever came first, the other one has seen it.
      expect(effect).toBe(suspended ? SATISFIED : BUFFERED);
      if (!suspended) await here.complete(claim);
      return suspended ? [claim] : [];
    }),
  );
  await finish(parked.flat(), ({ resume }) => expect(resume?.signals).toHaveLength(1));
  for (const { executionId } of claims) expect(await here.state(executionId)).toBe(ExecutionState.SUCCEEDED);
});

test('two signals with one idempotency key come in the same instant: one counts', async () => {
  const claims = await runningAll('one key', 120);
  await abreast(
    claims.map((claim, i) => async () => {
      const { executionId: id } = claim;
      await here.suspend(claim);
      const same = { idempotencyKey: 'once' };
      const answers = await atOnce(
        i,
        () => here.signal(id, 'go', same),
        () => there.signal(id, 'go', same),
      );
      expect(effects(...answers)).toEqual([SATISFIED, DUPLICATE]);
      expect(new Set(answers.map(({ signalId }) => signalId)).size).toBe(1);
    }),
  );
  await finish(claims, ({ resume }) => expect(resume?.signals).toHaveLength(1));
});

test('a holder suspends twice in the same instant: it is parked once', async () => {
  const claims = await runningAll('twice', 120);
  await abreast(
    claims.map((claim, i) => async () => {
      const answers = await atOnce(
        i,
        () => here.suspend(claim),
        () => there.suspend(claim),
      );
      expect(answers.map(({ duplicate }) => duplicate).sort()).toEqual([false, true]);
      expect(answers.every(({ suspended, suspensionNumber }) => suspended && suspensionNumber === 1)).toBe(true);
      expect((await there.signal(claim.executionId)).effect).toBe(SATISFIED);
    }),
  );
  await finish(claims, ({ resume }) => expect(resume?.suspensionNumber).toBe(1));
});

test('an operator and a signal come in the same instant: one of them lets it go on', async () => {
  const claims = await runningAll('operator', 120);
  const causes = await abreast(
    claims.map((claim, i) => async () => {
      const { executionId } = claim;
      await here.suspend(claim);
      const resume = async () =>
        await here.clients.admin.resumeExecution({ executionId }).then(
          () => 'resumed',
          async (error: unknown) => (await refusal(Promise.reject(error))).reason,
        );
      const [resumed, { effect }] = await atOnce(i, resume, () => there.signal(executionId));
      expect([resumed, effect]).toEqual(resumed === 'resumed' ? ['resumed', BUFFERED] : ['NOT_SUSPENDED', SATISFIED]);
      return [executionId, resumed === 'resumed' ? ResumeCause.OPERATOR : ResumeCause.SATISFIED] as const;
    }),
  );
  const due = new Map(causes);
  await finish(claims, ({ executionId, resume }) => expect(resume?.cause).toBe(due.get(executionId)));
  expect(await resumes(claims)).toHaveLength(claims.length);
});

test('a cancellation and a signal come in the same instant: it ends canceled, and no signal is lost unheard', async () => {
  const claims = await runningAll('canceled', 120);
  await abreast(
    claims.map((claim, i) => async () => {
      const { executionId: id } = claim;
      await here.suspend(claim);
      const signal = async () =>
        await there.signal(id).then(
          ({ effect }) => SignalEffect[effect] ?? '',
          async (error: unknown) => (await refusal(Promise.reject(error))).reason,
        );
      const [, told] = await atOnce(i, () => here.cancel(id), signal);
      expect(['SATISFIED', 'EXECUTION_TERMINAL']).toContain(told);
      expect((await here.end(id)).state).toBe(ExecutionState.CANCELED);
    }),
  );
});

test('proof 20: a timeout and a signal come in the same instant: one counts, and the other finds nothing to do', async () => {
  const claims = await runningAll('timeout', 120);
  const wait = { timeout: seconds(0.3), timeoutBehavior: SuspensionTimeoutBehavior.RESUME };
  const outcomes = await abreast(
    claims.map((claim) => async () => {
      const { executionId: id } = claim;
      await here.suspend(claim, wait);
      // The sweeper comes when the time is up, or a little later.
      await pause(250 + (Number(claim.lease?.fencingToken) % 100));
      const { effect } = await there.signal(id);
      expect([SATISFIED, BUFFERED]).toContain(effect);
      return [id, effect] as const;
    }),
    100,
  );
  const due = new Map(outcomes);
  await abreast(
    claims.map(({ executionId: id }) => async () => {
      const resumed = await here.claimNamed(id, long);
      const byTime = due.get(id) === BUFFERED;
      expect(resumed.resume?.cause).toBe(byTime ? ResumeCause.TIMEOUT : ResumeCause.SATISFIED);
      expect(resumed.resume?.signals.map(({ name }) => name)).toEqual([byTime ? 'timeout' : 'go']);
      // What came too late satisfies the next wait; what came in time does not, and nor does the time of the first.
      expect((await here.suspend(resumed)).suspended).toBe(!byTime);
    }),
  );
  const again = claims.filter(({ executionId }) => due.get(executionId) === SATISFIED);
  // Whatever time has to do it has done by now.
  const last = await here.claimNamed(await here.createOne(), long);
  await here.suspend(last, { ...wait, timeoutBehavior: SuspensionTimeoutBehavior.CANCEL });
  await here.end(last.executionId);
  for (const { executionId } of again) expect(await here.state(executionId)).toBe(ExecutionState.SUSPENDED);
  expect(await resumes(claims)).toHaveLength(claims.length);
});
