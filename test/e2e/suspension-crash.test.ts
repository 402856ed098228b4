/**
 * Crash points of suspensions and signals: a wait, what satisfies it and what time does to it survive the death of the server
 * after every statement. Nothing is lost, and nothing happens twice when it is asked again.
 */
import { describe, expect, test } from 'vitest';
import { ExecutionState } from '../../gen/tailrace/v1/execution_state_pb.js';
import type { Claim } from '../../gen/tailrace/v1/lease_pb.js';
import { ResumeCause, SignalEffect, SuspensionTimeoutBehavior } from '../../gen/tailrace/v1/signal_pb.js';
import { refusal, seconds } from '../support/by-hand.js';
import { crashAt, type Operation, type Prepared } from '../support/crash-point.js';
import { eventually } from '../support/eventually.js';
import { named, WaitsByHand } from '../support/waits-by-hand.js';

const { SUSPENDED, QUEUED, FAILED, CANCELED, EXPIRED } = ExecutionState;
const { FAIL, CANCEL, EXPIRE, RESUME, ESCALATE } = SuspensionTimeoutBehavior;
const long = { leaseDuration: seconds(600) };
const once = { idempotencyKey: 'once' };

/** What was done before cannot be done again, and is refused for that; anything else is an error. */
const orRefused = async (error: unknown) => await refusal(Promise.reject(error));

const running = async (hand: WaitsByHand, spec = {}) => await hand.claimNamed(await hand.createOne(spec), long);

/** Goes on for this cause with these signals, and completes. */
const goesOn =
  ({ executionId }: Claim, cause: ResumeCause, ...signals: string[]) =>
  async (there: WaitsByHand) => {
    await eventually(async () => (await there.state(executionId)) === QUEUED);
    const resumed = await there.claimNamed(executionId, long);
    expect(resumed).toMatchObject({ attemptNumber: 1, resume: { cause, suspensionNumber: 1 } });
    expect(resumed.resume?.signals.map(({ name }) => name)).toEqual(signals);
    await there.complete(resumed);
  };

/** The server dies with the suspension, or with a sweep after it. */
const timedOut = (
  timeoutBehavior: SuspensionTimeoutBehavior,
  finished: (claim: Claim) => Prepared['finished'],
): Operation => ({
  matters: /^suspensions\.suspend$|^sweeping\.suspensions$/,
  points: [1, 2],
  prepare: async (hand) => {
    const claim = await running(hand);
    const act = async (caller: WaitsByHand) => {
      // Once its time was up the lease is no longer what it was.
      await caller.suspend(claim, { timeout: seconds(1), timeoutBehavior }).catch(orRefused);
    };
    return { act, finished: finished(claim) };
  },
});
const ends =
  (state: ExecutionState) =>
  ({ executionId }: Claim) =>
  async (there: WaitsByHand) =>
    expect((await there.end(executionId)).state).toBe(state);

const OPERATIONS: Readonly<Record<string, Operation>> = {
  'a suspension': {
    matters: /^suspensions\.suspend$/,
    points: [1],
    prepare: async (hand) => {
      const claim = await running(hand);
      return {
        act: async (caller) =>
          expect(await caller.suspend(claim)).toMatchObject({ suspended: true, suspensionNumber: 1 }),
        finished: async (there) => {
          expect(await there.state(claim.executionId)).toBe(SUSPENDED);
          expect((await there.signal(claim.executionId)).effect).toBe(SignalEffect.SATISFIED);
          await goesOn(claim, ResumeCause.SATISFIED, 'go')(there);
        },
      };
    },
  },
  'a suspension that makes its waitpoints': {
    matters: /^suspensions\.suspend$/,
    points: [1],
    prepare: async (hand) => {
      const claim = await running(hand);
      const tokens = new Set<string>();
      return {
        act: async (caller) => {
          const wait = { condition: named('go', 'door'), waitpoints: [{ key: 'door' }] };
          for (const { token } of (await caller.suspend(claim, wait)).waitpoints) tokens.add(token);
        },
        finished: async (there) => {
          expect(tokens.size).toBe(1);
          for (const token of tokens) expect((await there.signalBy(token)).effect).toBe(SignalEffect.SATISFIED);
          await goesOn(claim, ResumeCause.SATISFIED, 'go')(there);
        },
      };
    },
  },
  'a suspension that holds at once': {
    matters: /^suspensions\.suspend$/,
    points: [1],
    prepare: async (hand) => {
      const claim = await running(hand);
      await hand.signal(claim.executionId);
      await hand.signal(claim.executionId, 'later');
      return {
        act: async (caller) => {
          const answer = await caller.suspend(claim, once);
          expect(answer).toMatchObject({ suspended: false, suspensionNumber: 1, signals: [{ name: 'go' }] });
        },
        finished: async (there) => {
          expect((await there.matched(claim, 1)).map(({ name }) => name)).toEqual(['go']);
          const next = await there.suspend(claim, { condition: named('later') });
          expect(next).toMatchObject({ suspended: false, suspensionNumber: 2 });
          await there.complete(claim);
        },
      };
    },
  },
  'a waitpoint': {
    matters: /^suspensions\.create-waitpoint$/,
    points: [1],
    prepare: async (hand) => {
      const claim = await running(hand);
      return {
        act: async (caller) => await caller.waitpoint(claim, 'door'),
        finished: async (there) => {
          const { token } = await there.waitpoint(claim, 'door');
          expect((await there.signalBy(token)).effect).toBe(SignalEffect.BUFFERED);
          expect((await there.suspend(claim, { condition: named('go', 'door') })).suspended).toBe(false);
          await there.complete(claim);
        },
      };
    },
  },
  'an early signal': {
    matters: /^suspensions\.signal$/,
    points: [1],
    prepare: async (hand) => {
      const claim = await running(hand);
      return {
        act: async (caller) => await caller.signal(claim.executionId, 'go', once),
        finished: async (there) => {
          expect((await there.suspend(claim)).signals).toHaveLength(1);
          expect((await there.suspend(claim)).suspended).toBe(true);
          await there.cancel(claim.executionId);
        },
      };
    },
  },
  'a signal that satisfies': {
    matters: /^suspensions\.signal$/,
    points: [1],
    prepare: async (hand) => {
      const claim = await running(hand);
      await hand.suspend(claim);
      return {
        act: async (caller) => await caller.signal(claim.executionId, 'go', once),
        finished: goesOn(claim, ResumeCause.SATISFIED, 'go'),
      };
    },
  },
  "an operator's word": {
    matters: /^suspensions\.resume$/,
    points: [1],
    prepare: async (hand) => {
      const claim = await running(hand);
      await hand.suspend(claim);
      const asked = { executionId: claim.executionId, suspensionNumber: 1, signalName: 'word' };
      return {
        act: async ({ clients }) => await clients.admin.resumeExecution(asked).catch(orRefused),
        finished: goesOn(claim, ResumeCause.OPERATOR, 'word'),
      };
    },
  },
  'a claim of what goes on': {
    matters: /^claims\.claim-one$/,
    points: [1],
    prepare: async (hand) => {
      const claim = await running(hand);
      await hand.suspend(claim);
      await hand.signal(claim.executionId);
      const ask = { ...long, startWithin: seconds(0.5) };
      return {
        act: async (caller) => await caller.claimNamed(claim.executionId, ask).catch(orRefused),
        finished: async (there) => {
          // Nobody began with it, so the next attempt begins anew and is told what was said to the first; so it does once
          // more if the first claim had run out when it was asked for again.
          await eventually(async () => (await there.execution(claim.executionId)).state === QUEUED);
          const next = await there.claimNamed(claim.executionId, long);
          expect([2, 3]).toContain(next.attemptNumber);
          expect((await there.suspend(next)).signals.map(({ name }) => name)).toEqual(['go']);
          await there.complete(next);
        },
      };
    },
  },
  'a slot of a key that a suspension gives up': {
    matters: /^suspensions\.suspend$|^sweeping\.follow-ups$/,
    points: [1],
    prepare: async (hand) => {
      const keyed = { lane: 'one at a time', concurrencyKey: 'one' };
      await hand.setLane(keyed.lane, { defaultKeyLimit: 1 });
      const claim = await running(hand, keyed);
      const second = await hand.createOne(keyed);
      return {
        act: async (caller) => await caller.suspend(claim),
        finished: async (there) => {
          const next = await there.claimOne({ lanes: [{ lane: keyed.lane }], ...long });
          expect(next.executionId).toBe(second);
          await there.signal(claim.executionId);
          expect(await there.state(claim.executionId)).toBe(ExecutionState.BLOCKED);
          await there.complete(next);
          await goesOn(claim, ResumeCause.SATISFIED, 'go')(there);
        },
      };
    },
  },
  'proof 20: a timeout that fails': timedOut(FAIL, ends(FAILED)),
  'proof 20: a timeout that cancels': timedOut(CANCEL, ends(CANCELED)),
  'proof 20: a timeout that expires': timedOut(EXPIRE, ends(EXPIRED)),
  'proof 20: a timeout that resumes': timedOut(RESUME, (claim) => goesOn(claim, ResumeCause.TIMEOUT, 'timeout')),
  'proof 20: a timeout that escalates': timedOut(ESCALATE, (claim) => async (there) => {
    const { executionId } = claim;
    await eventually(async () => (await there.execution(executionId)).suspension?.escalated === true);
    await there.signal(executionId, 'other');
    await there.clients.admin.resumeExecution({ executionId, signalName: 'word' });
    await goesOn(claim, ResumeCause.OPERATOR, 'word')(there);
  }),
};

describe.concurrent.each(Object.entries(OPERATIONS))('%s', (_, operation) => {
  test.each(operation.points)('survives a server that dies after statement %i', async (point) => {
    await crashAt(point, operation, (clients) => new WaitsByHand(clients));
  });
});
