/** Paths that end an execution while it waits for signals, or because of a budget. */

import { BudgetBreachPolicy } from '../../gen/tailrace/v1/budget_pb.js';
import { CancelMode } from '../../gen/tailrace/v1/cancel_pb.js';
import { EndReason, ExecutionState } from '../../gen/tailrace/v1/execution_state_pb.js';
import { SuspensionTimeoutBehavior } from '../../gen/tailrace/v1/signal_pb.js';
import { refusal, seconds } from './by-hand.js';
import { type Path, path, type Subject, soon, WHY } from './terminal-path.js';
import { WaitsByHand } from './waits-by-hand.js';

const { SUCCEEDED, FAILED, CANCELED, EXPIRED } = ExecutionState;
const { UNSPECIFIED, SUSPENSION_TIMEOUT, SUSPENSION_CANCELED, CANCEL_REQUESTED, FLOW_CANCELED, DEADLINE, BUDGET } =
  EndReason;
const { FAIL, CANCEL, EXPIRE } = SuspensionTimeoutBehavior;
const long = { leaseDuration: seconds(60) };

type Among = NonNullable<Path['among']>;

/** Runs, and waits for a signal. */
const parked =
  (wait: Parameters<WaitsByHand['suspend']>[1] = {}): Among =>
  async ({ clients }, subject: Subject) => {
    const hand = new WaitsByHand(clients);
    const claim = await hand.claimNamed(await hand.createOne(subject), long);
    await hand.suspend(claim, wait);
    return claim.executionId;
  };

const timingOut = (timeoutBehavior: SuspensionTimeoutBehavior) => parked({ timeout: seconds(0.2), timeoutBehavior });

export const WAIT_PATHS: Readonly<Record<string, Path>> = {
  'completed after a wait': path(SUCCEEDED, UNSPECIFIED, 1, {
    among: async (flows, subject) => {
      const id = await parked()(flows, subject);
      const hand = new WaitsByHand(flows.clients);
      await hand.signal(id);
      await hand.complete(await hand.claimNamed(id, long));
      return id;
    },
  }),
  'failed when its wait timed out': path(FAILED, SUSPENSION_TIMEOUT, 1, { among: timingOut(FAIL) }),
  'expired when its wait timed out': path(EXPIRED, SUSPENSION_TIMEOUT, 1, { among: timingOut(EXPIRE) }),
  'canceled when its wait timed out': path(CANCELED, SUSPENSION_CANCELED, 1, { among: timingOut(CANCEL) }),
  'canceled while it waited': path(CANCELED, CANCEL_REQUESTED, 1, {
    among: parked(),
    wait: (hand, id) => hand.cancel(id, { reason: WHY }),
  }),
  'canceled with its flow while it waited': path(CANCELED, FLOW_CANCELED, 1, {
    among: async (hand, subject) => {
      const flow = await hand.flow({ members: { subject } });
      const waits = new WaitsByHand(hand.clients);
      await waits.suspend(await waits.claimNamed(flow.of('subject'), long));
      await flow.cancel({ reason: WHY, policy: { mode: CancelMode.NOW } });
      return flow.of('subject');
    },
  }),
  'past its deadline while it waited': path(EXPIRED, DEADLINE, 1, { spec: soon, among: parked() }),
  'failed by a budget': path(FAILED, BUDGET, 1, {
    among: async ({ clients }, subject) => {
      const hand = new WaitsByHand(clients);
      const claim = await hand.claimNamed(await hand.createOne(subject), long);
      const { executionId } = claim;
      await hand.putBudget({
        name: `budget of ${executionId}`,
        limits: { coins: { hardLimit: 1n } },
        attachments: [{ subject: { case: 'executionId', value: executionId } }],
        breachPolicy: BudgetBreachPolicy.FAIL,
      });
      await refusal(hand.report(claim, { coins: 2n }));
      return executionId;
    },
  }),
};
