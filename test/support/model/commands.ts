/** Everything that clients, workers, operators and time can do to an execution, as commands with random arguments. */
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import fc from 'fast-check';
import { expect } from 'vitest';
import { FailureClass } from '../../../gen/tailrace/v1/attempt_pb.js';
import { CancelEffect, CancelMode, LateCompletion } from '../../../gen/tailrace/v1/cancel_pb.js';
import { EndReason, ExecutionState } from '../../../gen/tailrace/v1/execution_state_pb.js';
import { wallMs } from '../../../src/runtime/clock.js';
import { leaseOf, seconds, text } from '../by-hand.js';
import { type Call, type Held, ModelExecution, type When } from './model.js';
import { expectRefused, onExecution, onHeld, type Real, Step } from './step.js';

const { QUEUED, RUNNING, SUSPENDED } = ExecutionState;
const HOUR = 3_600;
const LONG = { leaseDuration: seconds(HOUR) };

const at = fc.nat(1_000);
const when = fc.constantFrom<When>('now', 'now', 'later');
const delayOf = (time: When) => seconds(time === 'now' ? 0 : HOUR);
const timeOf = (time: When) => timestampFromMs(wallMs() + (time === 'now' ? -1_000 : HOUR * 1_000));

const start = fc.record({
  priority: fc.integer({ min: -2, max: 2 }),
  when,
  policy: fc.record({
    maxAttempts: fc.integer({ min: 1, max: 3 }),
    maxReclaims: fc.integer({ min: 1, max: 2 }),
    countLostLeases: fc.boolean(),
  }),
});

/** Most executions of one run: few, so that much happens to each. */
const MOST = 10;

const create = start.map(
  ({ policy, ...asked }) =>
    new Step(
      `create(${JSON.stringify({ ...asked, ...policy })})`,
      ({ executions }) => executions.length < MOST,
      async (model, real) => {
        const { priority } = asked;
        const id = await real.hand.createOne({
          lane: real.lane,
          priority,
          delay: delayOf(asked.when),
          retryPolicy: policy,
        });
        const made = new ModelExecution(model, id, policy, asked);
        model.executions.push(made);
        return made;
      },
    ),
);

/** What a run begins with, so that its first commands have something to be about. */
export const BEGINNING: fc.Arbitrary<Step[]> = fc.array(create, { minLength: 2, maxLength: 4 });

const claim = fc.integer({ min: 1, max: 4 }).map(
  (most) =>
    new Step(
      `claim(${most})`,
      () => true,
      async (model, real) => {
        const expected = model.line().slice(0, most);
        const ask = { lanes: [{ lane: real.lane }], maxExecutions: most, wait: seconds(0), ...LONG };
        const claims = await real.hand.claim(ask);
        expect(claims.map(({ executionId }) => executionId)).toEqual(expected.map(({ id }) => id));
        expected.forEach((execution, i) => {
          const granted = claims[i];
          if (granted) model.held.push(take(execution, granted));
        });
        return undefined;
      },
    ),
);

/** The claim says what the model knows of the attempt to come. */
function take(execution: ModelExecution, granted: Held['claim']): Held {
  const { resuming, attempt, kind, nextKind, waits } = execution;
  expect(granted.resume?.suspensionNumber).toBe(resuming ? waits : undefined);
  expect(granted).toMatchObject({
    attemptNumber: resuming ? attempt : attempt + 1,
    attemptKind: resuming ? kind : nextKind,
    failureCount: execution.failures,
    maxAttempts: execution.policy.maxAttempts,
    priority: execution.priority,
    idempotencyKey: execution.first.id,
  });
  return execution.claimed(granted);
}

const claimNamed = at.map((index) =>
  onExecution('claimNamed', index, async (execution, real, model) => {
    const asked = real.hand.claimNamed(execution.id, LONG);
    if (execution.terminal) await expectRefused('EXECUTION_TERMINAL', asked);
    else if (execution.state !== QUEUED) await expectRefused('WRONG_STATE', asked);
    else model.held.push(take(execution, await asked));
  }),
);

/** A holder's call, judged by the model first. `apply` is what an accepted one does. */
export function holders(
  call: Call,
  send: (real: Real, held: Held) => Promise<{ readonly duplicate?: boolean } | unknown>,
  apply: (execution: ModelExecution) => void,
  content = '',
) {
  return async (held: Held, execution: ModelExecution, real: Real): Promise<void> => {
    const verdict = execution.judge(held, call, content);
    const sent = send(real, held);
    if (verdict === 'duplicate') {
      expect(await sent).toMatchObject({ duplicate: true });
    } else if (verdict === 'accepted') {
      await sent;
      if (call !== 'renew' && call !== 'progress') execution.ended(call, content);
      apply(execution);
    } else {
      await expectRefused(verdict, sent);
    }
  };
}

const renew = at.map((index) =>
  onHeld(
    'renew',
    index,
    holders(
      'renew',
      ({ hand }, held) => hand.renew(held.claim, LONG),
      () => undefined,
    ),
  ),
);
const progress = at.map((index) =>
  onHeld(
    'progress',
    index,
    holders(
      'progress',
      ({ hand }, held) => hand.progress(held.claim, 5),
      () => undefined,
    ),
  ),
);

const complete = fc.tuple(at, fc.constantFrom('a', 'b')).map(([index, result]) =>
  onHeld(
    `complete ${result}`,
    index,
    holders(
      'complete',
      ({ hand }, held) => hand.complete(held.claim, result),
      (execution) => execution.completed(),
      result,
    ),
  ),
);

const fail = fc
  .tuple(at, fc.constantFrom(1, 1, 1, 2, 3, 4, 5, 6), when)
  .map(([index, failureClass, time]: [number, FailureClass, When]) =>
    onHeld(
      `fail ${FailureClass[failureClass]} ${time}`,
      index,
      holders(
        'fail',
        ({ hand }, held) => hand.fail(held.claim, failureClass, { retryDelay: delayOf(time) }),
        (execution) => execution.failed(failureClass, time),
        `${failureClass} ${time}`,
      ),
    ),
  );

const release = at.map((index) =>
  onHeld(
    'release',
    index,
    holders(
      'release',
      ({ hand }, held) => hand.release(held.claim),
      (execution) => execution.handedBack('now'),
    ),
  ),
);

const delay = fc.tuple(at, when).map(([index, time]) =>
  onHeld(
    `delay ${time}`,
    index,
    holders(
      'delay',
      ({ hand }, held) => hand.delay(held.claim, { delay: delayOf(time) }),
      (execution) => execution.handedBack(time),
      time,
    ),
  ),
);

const cancelOwn = at.map((index) =>
  onHeld('cancelOwn', index, async (held, execution, real) => {
    const { terminal } = execution;
    const asked = real.hand.cancel(execution.id, { lease: leaseOf(held.claim) });
    if (!terminal && execution.holder !== held) return await expectRefused('LEASE_LOST', asked);
    const effect = terminal ? CancelEffect.ALREADY_TERMINAL : CancelEffect.ENDED;
    expect((await asked).execution?.effect).toBe(effect);
    if (!terminal) execution.canceled(EndReason.CANCELED_BY_WORKER);
  }),
);

const cancel = fc
  .tuple(at, fc.constantFrom(CancelMode.NOW, CancelMode.COOPERATIVE, CancelMode.COOPERATIVE), fc.boolean())
  .map(([index, mode, acceptsLate]) =>
    onExecution(
      `cancel ${CancelMode[mode]} ${acceptsLate ? 'accepting' : 'refusing'}`,
      index,
      async (execution, real) => {
        const lateCompletion = acceptsLate ? LateCompletion.ACCEPTED : LateCompletion.REFUSED;
        const policy = { mode, lateCompletion, grace: seconds(HOUR) };
        const answer = (await real.hand.cancel(execution.id, { policy })).execution;
        if (execution.terminal) {
          expect(answer).toMatchObject({ effect: CancelEffect.ALREADY_TERMINAL, state: execution.state });
        } else if (execution.state !== RUNNING || mode === CancelMode.NOW) {
          execution.canceled(EndReason.CANCEL_REQUESTED);
          expect(answer?.effect).toBe(CancelEffect.ENDED);
        } else {
          const { canceling } = execution;
          expect(answer?.effect).toBe(canceling ? CancelEffect.ALREADY_REQUESTED : CancelEffect.REQUESTED);
          execution.canceling ??= { acceptsLate };
        }
      },
    ),
  );

const revoke = at.map((index) =>
  onExecution('revoke', index, async (execution, real) => {
    const asked = real.recorded.clients.admin.revokeLease({ executionId: execution.id });
    if (execution.terminal) return await expectRefused('EXECUTION_TERMINAL', asked);
    if (execution.state !== RUNNING) return await expectRefused('WRONG_STATE', asked);
    execution.handedBack('now');
    expect((await asked).state).toBe(execution.state);
  }),
);

const change = fc
  .tuple(at, fc.option(fc.integer({ min: -2, max: 2 }), { nil: undefined }), fc.option(when, { nil: undefined }))
  .map(([index, priority, time]) =>
    onExecution(`change ${priority} ${time}`, index, async (execution, real) => {
      const asked = real.recorded.clients.admin.changeExecution({
        executionId: execution.id,
        ...(priority !== undefined && { priority }),
        ...(time && { runTime: timeOf(time) }),
      });
      if (priority === undefined && time === undefined) return await expectRefused('INVALID_FIELD', asked);
      if (execution.terminal) return await expectRefused('EXECUTION_TERMINAL', asked);
      if (execution.state === RUNNING || execution.state === SUSPENDED)
        return await expectRefused('WRONG_STATE', asked);
      execution.changed(priority, time);
      expect((await asked).execution).toMatchObject({ priority: execution.priority, state: execution.state });
    }),
  );

const redrive = fc.tuple(at, when).map(([index, time]) =>
  onExecution(`redrive ${time}`, index, async (execution, real, model) => {
    const { outcome } = await real.hand.look(execution.id);
    const deadLetterId = outcome?.deadLetterId ?? '';
    const { first } = execution;
    const gaveUp = execution.state === ExecutionState.FAILED || execution.state === ExecutionState.EXPIRED;
    expect(deadLetterId !== '').toBe(gaveUp);
    if (!gaveUp || first.fleeting) return;
    first.letterId ||= deadLetterId;
    expect(deadLetterId).toBe(first.letterId);
    const asked = real.recorded.clients.deadLetters.redriveDeadLetter({
      deadLetterId,
      input: text('again'),
      ...(time === 'later' && { runTime: timeOf('later') }),
    });
    if (first.letter !== 'open') return await expectRefused('WRONG_STATE', asked);
    const { executionId } = await asked;
    const start = { priority: first.asked, when: time, redrives: first };
    model.executions.push(new ModelExecution(model, executionId, first.policy, start));
    first.letter = 'redriving';
  }),
);

export const COMMANDS: fc.Arbitrary<Step>[] = [
  ...[create, claim, claim, claimNamed],
  ...[renew, progress, complete, complete, fail, fail, release, delay],
  ...[cancel, cancelOwn, revoke, change, redrive],
];
