/** What time does to an execution. Each command waits until it is done, so that the model knows. */
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import fc from 'fast-check';
import { expect } from 'vitest';
import { FailureClass } from '../../../gen/tailrace/v1/attempt_pb.js';
import { EndReason, ExecutionState } from '../../../gen/tailrace/v1/execution_state_pb.js';
import type { Claim } from '../../../gen/tailrace/v1/lease_pb.js';
import { LogEntryKind } from '../../../gen/tailrace/v1/log_pb.js';
import { wallMs } from '../../../src/runtime/clock.js';
import { refusal, seconds } from '../by-hand.js';
import { ModelExecution } from './model.js';
import { onExecution, type Real, Step } from './step.js';

const { QUEUED, RUNNING } = ExecutionState;
const SHORT = seconds(0.1);
const HOUR = seconds(3_600);
const at = fc.nat(1_000);

/** Until the feed tells that this attempt has ended. */
async function attemptEnded({ recorded }: Real, { id, attempt }: ModelExecution): Promise<void> {
  await recorded.log.entry(
    ({ executionId, kind, attemptNumber }) =>
      executionId === id && kind === LogEntryKind.ATTEMPT_ENDED && attemptNumber === attempt,
  );
}

/** A worker that claims it and does not begin, or dies. Anything but QUEUED work is left alone. */
function abandoned(name: string, ask: object, then: (execution: ModelExecution) => void) {
  return at.map((index) =>
    onExecution(name, index, async (execution, real, model) => {
      if (execution.state !== QUEUED) return;
      model.held.push(execution.claimed(await real.hand.claimNamed(execution.id, ask)));
      await attemptEnded(real, execution);
      then(execution);
    }),
  );
}

const notBegun = abandoned('notBegun', { startWithin: SHORT, leaseDuration: HOUR }, (execution) =>
  execution.handedBack('now'),
);
const leaseLost = abandoned('leaseLost', { leaseDuration: seconds(1) }, (execution) => execution.lost());

type Claiming = (real: Real, id: string) => Promise<Claim | undefined>;

const claimed: Claiming = async ({ hand }, id) => await hand.claimNamed(id, { leaseDuration: HOUR });

/** Undefined when it has passed before. */
async function claimedInTime(real: Real, id: string): Promise<Claim | undefined> {
  return await claimed(real, id).catch(async (error: unknown) => {
    const { reason } = await refusal(Promise.reject(error));
    expect(['EXECUTION_TERMINAL', 'WRONG_STATE']).toContain(reason);
    return undefined;
  });
}

/** Again while the machine pauses for so long that its deadline has passed before it is asked for. */
async function madeInTime(real: Real, spec: () => Parameters<Real['hand']['createOne']>[0]): Promise<string> {
  for (let tries = 1; ; tries++) {
    try {
      return await real.hand.createOne(spec());
    } catch (error) {
      const { fieldViolations } = await refusal(Promise.reject(error));
      const isPast =
        fieldViolations.length > 0 && fieldViolations.every(({ field }) => field.endsWith('.deadline_time'));
      if (!isPast || tries === 5) throw error;
    }
  }
}

/** Made with something that passes soon, so that it ends before anything else can happen to it. */
function fleeting(
  name: string,
  spec: () => Parameters<Real['hand']['createOne']>[0],
  claims: Claiming | undefined,
  then: (execution: ModelExecution) => void,
) {
  return fc.constant(
    new Step(
      name,
      ({ executions }) => executions.length < 12,
      async (model, real) => {
        const policy = { maxAttempts: 1, maxReclaims: 1, countLostLeases: true };
        const id = await madeInTime(real, () => ({ lane: real.lane, retryPolicy: policy, ...spec() }));
        const made = new ModelExecution(model, id, policy, { priority: 0, when: 'now', fleeting: true });
        model.executions.push(made);
        const claim = await claims?.(real, id);
        if (claim) model.held.push(made.claimed(claim));
        await real.hand.end(id);
        then(made);
        return made;
      },
    ),
  );
}

const deadline = () => ({ deadlineTime: timestampFromMs(wallMs() + 1_000) });
const pastDeadline = (execution: ModelExecution) => execution.expired(EndReason.DEADLINE);

/** A tenth of a second each; those with a deadline, which must be still to come when they are made, a whole one. */
export const TIME_COMMANDS: fc.Arbitrary<Step>[] = [
  notBegun,
  fleeting(
    'notStarted',
    () => ({ ttl: SHORT }),
    undefined,
    (execution) => execution.expired(EndReason.TTL),
  ),
  fleeting('deadlineWaiting', deadline, undefined, pastDeadline),
  fleeting('deadlineRunning', deadline, claimedInTime, pastDeadline),
  fleeting(
    'timedOut',
    () => ({ attemptTimeout: SHORT }),
    claimed,
    (execution) => execution.failed(FailureClass.TIMEOUT, 'now'),
  ),
];

/** A second each. */
export const SLOW_COMMANDS: fc.Arbitrary<Step>[] = [
  leaseLost,
  at.map((index) =>
    onExecution('graceOver', index, async (execution, real) => {
      if (execution.state !== RUNNING || execution.canceling) return;
      await real.hand.cancel(execution.id, { policy: { grace: seconds(1) } });
      await real.hand.end(execution.id);
      execution.canceled(EndReason.CANCEL_REQUESTED);
    }),
  ),
];
