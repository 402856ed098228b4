/** Executions that can never work: bounded attempts, one dead letter, nothing retried for ever; and what a redrive makes of them. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { AttemptKind, AttemptOutcome, FailureClass } from '../../gen/tailrace/v1/attempt_pb.js';
import { DeadLetterResolution, DeadLetterState } from '../../gen/tailrace/v1/dead_letter_pb.js';
import { DeadLetterReason } from '../../gen/tailrace/v1/dead_letter_reason_pb.js';
import { EndReason, ExecutionState } from '../../gen/tailrace/v1/execution_state_pb.js';
import type { Claim } from '../../gen/tailrace/v1/lease_pb.js';
import { LogEntryKind } from '../../gen/tailrace/v1/log_pb.js';
import { type ByHand, only, refusal, seconds, text } from '../support/by-hand.js';
import { Recorded } from '../support/history/recorded.js';

const { FAILED } = ExecutionState;
const { OPEN, REDRIVING, CLOSED } = DeadLetterState;

let recorded: Recorded;
let hand: ByHand;
beforeAll(async () => {
  recorded = await Recorded.start();
  hand = recorded.hand();
});
afterAll(() => recorded.stop());

const letterOf = async (deadLetterId: string) => {
  const { deadLetter, attempts } = await recorded.clients.deadLetters.getDeadLetter({ deadLetterId });
  if (deadLetter === undefined) throw new Error(`no dead letter ${deadLetterId}`);
  return { ...deadLetter, attempts };
};

describe('proof 7: a poison execution', () => {
  interface Poison {
    readonly policy: object;
    readonly treat: (claim: Claim) => Promise<unknown>;
    readonly leaseSeconds: number;
    readonly attempts: number;
    readonly reason: EndReason;
  }
  const crash = async () => undefined;
  const soon = { initialBackoff: seconds(0.01), maxBackoff: seconds(0.02) };
  const POISONS: Readonly<Record<string, Poison>> = {
    'always fails': {
      policy: { maxAttempts: 4, ...soon },
      treat: (claim) => hand.fail(claim, FailureClass.TRANSIENT),
      leaseSeconds: 60,
      attempts: 4,
      reason: EndReason.RETRIES_EXHAUSTED,
    },
    'always times out': {
      policy: { maxAttempts: 3, ...soon },
      treat: (claim) => hand.fail(claim, FailureClass.TIMEOUT),
      leaseSeconds: 60,
      attempts: 3,
      reason: EndReason.TIMEOUT,
    },
    'kills its worker': {
      policy: { maxAttempts: 2 },
      treat: crash,
      leaseSeconds: 4,
      attempts: 2,
      reason: EndReason.RETRIES_EXHAUSTED,
    },
    'kills its worker, which is not counted': {
      policy: { maxAttempts: 5, maxReclaims: 1, countLostLeases: false },
      treat: crash,
      leaseSeconds: 4,
      attempts: 2,
      reason: EndReason.RECLAIMS_EXHAUSTED,
    },
    'kills its worker, and fails in between': {
      policy: { maxAttempts: 3, ...soon },
      treat: (claim) => (claim.attemptNumber % 2 === 0 ? hand.fail(claim, FailureClass.TRANSIENT) : crash()),
      leaseSeconds: 4,
      attempts: 3,
      reason: EndReason.RETRIES_EXHAUSTED,
    },
  };

  it.concurrent.each(Object.entries(POISONS))(
    'that %s',
    async (lane, { policy, treat, leaseSeconds, attempts, reason }) => {
      const id = await hand.createOne({ lane, retryPolicy: policy, input: text('poison') });
      const healthy = await hand.createOne({ lane, priority: -1 });
      const ask = { lanes: [{ lane }], leaseDuration: seconds(leaseSeconds) };
      let tried = 0;
      // A worker that takes whatever comes, until the poison has ended; more attempts than allowed would fail the test.
      while ((await hand.look(id)).outcome === undefined) {
        for (const claim of await hand.claim({ ...ask, wait: seconds(0.2) })) {
          if (claim.executionId === id) {
            expect(claim.attemptNumber).toBe(++tried);
            await treat(claim);
          } else {
            await hand.complete(claim);
          }
        }
      }
      expect((await hand.look(id)).outcome).toMatchObject({ state: FAILED, reason, attemptNumber: attempts });
      expect(tried).toBe(attempts);
      const { deadLetterId = '' } = (await hand.look(id)).outcome ?? {};
      const letter = await letterOf(deadLetterId);
      expect(letter).toMatchObject({
        state: OPEN,
        reason: reason as number,
        attemptCount: attempts,
        lane,
        subject: { subject: { case: 'executionId', value: id } },
        input: { body: { value: 'poison' } },
      });
      expect(letter.attempts.map(({ attemptNumber }) => attemptNumber)).toEqual(
        Array.from({ length: attempts }, (_, i) => i + 1),
      );
      // Nothing of it is left to hand out, and those behind it have not been held up.
      const rest = await hand.claim({ ...ask, wait: seconds(0) });
      for (const claim of rest) await hand.complete(claim);
      expect(rest.map(({ executionId }) => executionId)).not.toContain(id);
      expect((await hand.end(healthy)).outcome?.state).toBe(ExecutionState.SUCCEEDED);
    },
  );
});

describe('proof 9: a redriven execution', () => {
  async function givenUp(spec: Parameters<ByHand['createOne']>[0] = {}): Promise<{ id: string; letter: string }> {
    const claim = await hand.claimNamed(await hand.createOne(spec));
    const { deadLetterId } = await hand.fail(claim, FailureClass.PERMANENT);
    return { id: claim.executionId, letter: deadLetterId };
  }
  const redrive = (deadLetterId: string, more = {}) =>
    recorded.clients.deadLetters.redriveDeadLetter({ deadLetterId, ...more });
  const toldOf = (letter: string) =>
    recorded.log.entries.filter(({ subject }) => subject === letter).map(({ kind }) => LogEntryKind[kind]);

  it('that fails again opens its dead letter again, with the history of both runs', async () => {
    const { id, letter } = await givenUp({ input: text('in'), tags: { a: 'b' } });
    const made = await redrive(letter, { actor: 'ann', note: 'once more' });
    expect(made.deadLetter).toMatchObject({ state: REDRIVING, redriveCount: 1, redriveExecutionId: made.executionId });
    const claim = await hand.claimNamed(made.executionId);
    expect(claim).toMatchObject({
      attemptNumber: 1,
      attemptKind: AttemptKind.REDRIVE,
      failureCount: 0,
      redriveOfExecutionId: id,
      idempotencyKey: id,
      tags: { a: 'b' },
      input: { body: { value: 'in' } },
    });
    const failed = await hand.fail(claim, FailureClass.PERMANENT, {
      failure: { failureClass: FailureClass.PERMANENT, message: 'worse', code: 'Worse' },
    });
    expect(failed.deadLetterId).toBe(letter);
    expect(await letterOf(letter)).toMatchObject({
      state: OPEN,
      redriveCount: 1,
      attemptCount: 2,
      failure: { message: 'worse' },
      subject: { subject: { value: id } },
    });
    expect((await hand.look(made.executionId)).outcome?.deadLetterId).toBe(letter);
    await recorded.log.entry(({ subject, kind }) => subject === letter && kind === LogEntryKind.DEAD_LETTER_REOPENED);
    expect(toldOf(letter)).toEqual(['DEAD_LETTER_OPENED', 'DEAD_LETTER_REDRIVING', 'DEAD_LETTER_REOPENED']);

    const { attempts } = await recorded.clients.admin.listAttempts({ executionId: id });
    expect(only(attempts)).toMatchObject({ kind: AttemptKind.INITIAL, outcome: AttemptOutcome.FAILED });
    const second = await recorded.clients.admin.listAttempts({ executionId: made.executionId });
    expect(only(second.attempts)).toMatchObject({ kind: AttemptKind.REDRIVE, failure: { message: 'worse' } });
  });

  it('that succeeds at last closes it, after any number of runs', async () => {
    const { letter } = await givenUp();
    for (let run = 1; run <= 3; run++) {
      const claim = await hand.claimNamed((await redrive(letter)).executionId);
      if (run < 3) await hand.fail(claim, FailureClass.PERMANENT);
      else await hand.complete(claim);
    }
    expect(await letterOf(letter)).toMatchObject({
      state: CLOSED,
      resolution: DeadLetterResolution.REDRIVEN,
      redriveCount: 3,
      attemptCount: 4,
    });
    expect(await refusal(redrive(letter))).toMatchObject({ reason: 'WRONG_STATE', metadata: { state: 'CLOSED' } });
  });

  it.each([
    ['is canceled', async (id: string) => hand.cancel(id)],
    ['expires', async (id: string) => hand.end(id)],
  ])('that %s opens it again', async (name, end) => {
    const { letter } = await givenUp(name === 'expires' ? { ttl: seconds(4) } : {});
    await end((await redrive(letter)).executionId);
    expect(await letterOf(letter)).toMatchObject({ state: OPEN, redriveCount: 1 });
  });

  it('keeps an edited input beside the original, and its policy starts anew', async () => {
    const { letter } = await givenUp({ input: text('wrong'), retryPolicy: { maxAttempts: 2 } });
    const { executionId } = await redrive(letter, { input: text('right') });
    const claim = await hand.claimNamed(executionId);
    expect(claim).toMatchObject({ input: { body: { value: 'right' } }, maxAttempts: 2, failureCount: 0 });
    await hand.fail(claim, FailureClass.TRANSIENT, { retryDelay: seconds(0) });
    await hand.fail(await hand.claimNamed(executionId), FailureClass.TRANSIENT);
    expect(await letterOf(letter)).toMatchObject({
      state: OPEN,
      reason: DeadLetterReason.RETRIES_EXHAUSTED,
      attemptCount: 3,
      input: { body: { value: 'wrong' } },
      editedInput: { body: { value: 'right' } },
    });
  });
});
