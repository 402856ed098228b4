/** Waits for signals: what holders, senders and operators do about them. */
import fc from 'fast-check';
import { expect } from 'vitest';
import { EndReason, ExecutionState } from '../../../gen/tailrace/v1/execution_state_pb.js';
import { SignalEffect, SuspensionTimeoutBehavior } from '../../../gen/tailrace/v1/signal_pb.js';
import { leaseOf, seconds } from '../by-hand.js';
import { named } from '../waits-by-hand.js';
import { holders } from './commands.js';
import type { Held } from './model.js';
import { expectRefused, onExecution, onHeld, type Real, type Step } from './step.js';

const { QUEUED, SUSPENDED } = ExecutionState;
const at = fc.nat(1_000);
const condition = named('go');

const ask = ({ recorded }: Real, held: Held, more = {}) =>
  recorded.clients.engine.suspendExecution({ lease: leaseOf(held.claim), condition, ...more });

const suspend = at.map((index) =>
  onHeld('suspend', index, async (held, execution, real) => {
    const verdict = execution.judge(held, 'suspend');
    if (verdict !== 'accepted') {
      // A repeat, or a refusal.
      return await holders(
        'suspend',
        () => ask(real, held),
        () => undefined,
      )(held, execution, real);
    }
    const answer = await ask(real, held);
    const parks = execution.suspended();
    if (parks) execution.ended('suspend', '', held);
    expect(answer).toMatchObject({ suspended: parks, suspensionNumber: execution.waits, duplicate: false });
    expect(answer.signals).toHaveLength(parks ? 0 : 1);
  }),
);

const signal = at.map((index) =>
  onExecution('signal', index, async (execution, { recorded }) => {
    const target = { case: 'execution' as const, value: { executionId: execution.id } };
    const sent = recorded.clients.engine.signalExecution({ target, name: 'go' });
    if (execution.terminal) return await expectRefused('EXECUTION_TERMINAL', sent);
    const effect = execution.signaled();
    expect(SignalEffect[(await sent).effect]).toBe(effect);
  }),
);

const resume = at.map((index) =>
  onExecution('resume', index, async (execution, { recorded }) => {
    const asked = recorded.clients.admin.resumeExecution({ executionId: execution.id, signalName: 'word' });
    if (execution.terminal) return await expectRefused('EXECUTION_TERMINAL', asked);
    if (execution.state !== SUSPENDED) return await expectRefused('NOT_SUSPENDED', asked);
    execution.resumed();
    expect((await asked).state).toBe(QUEUED);
  }),
);

export const WAIT_COMMANDS: fc.Arbitrary<Step>[] = [suspend, suspend, signal, resume];

/** A wait that nobody ends in time: a tenth of a second. */
const timedOut = at.map((index) =>
  onHeld('suspension timed out', index, async (held, execution, real) => {
    if (execution.judge(held, 'suspend') !== 'accepted' || execution.used < execution.signals) return;
    await ask(real, held, { timeout: seconds(0.1), timeoutBehavior: SuspensionTimeoutBehavior.CANCEL });
    execution.suspended();
    await real.hand.end(execution.id);
    execution.canceled(EndReason.SUSPENSION_CANCELED);
  }),
);

export const SHORT_WAIT_COMMANDS: fc.Arbitrary<Step>[] = [timedOut];
