/** Ways out for what waits for signals, for room under its concurrency key, or for a budget. */
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { BudgetBreachPolicy } from '../../gen/tailrace/v1/budget_pb.js';
import type { SuspendExecutionRequest } from '../../gen/tailrace/v1/engine_service_pb.js';
import type { ExecutionSpec } from '../../gen/tailrace/v1/execution_pb.js';
import { EndReason, ExecutionState } from '../../gen/tailrace/v1/execution_state_pb.js';
import type { Claim } from '../../gen/tailrace/v1/lease_pb.js';
import { SuspensionTimeoutBehavior } from '../../gen/tailrace/v1/signal_pb.js';
import { monotonicMs, wallMs } from '../../src/runtime/clock.js';
import { type Init, refusal, seconds } from './by-hand.js';
import { eventually } from './eventually.js';
import type { Exit } from './exit.js';
import { named, timeoutOnly, type WaitsByHand } from './waits-by-hand.js';

const { BLOCKED, SCHEDULED, QUEUED, SUSPENDED, CANCELED, EXPIRED, FAILED } = ExecutionState;
const { FAIL, CANCEL, EXPIRE, RESUME, ESCALATE } = SuspensionTimeoutBehavior;
const { SUSPENSION_TIMEOUT, SUSPENSION_CANCELED, DEADLINE, NO_HANDLER, FLOW_CANCELED } = EndReason;

const soon = () => ({ deadlineTime: timestampFromMs(wallMs() + 12_000) });
const inTime = { ttl: seconds(8) };
const timeout = seconds(1.5);

let lanes = 0;
const newLane = () => `exit ${++lanes}`;

async function running(hand: WaitsByHand, spec: Init<ExecutionSpec> = {}, ask = {}): Promise<Claim> {
  return await hand.claimNamed(await hand.createOne(spec), { leaseDuration: seconds(60), ...ask });
}

/** Waits for a signal that never comes. */
async function suspended(
  hand: WaitsByHand,
  wait: Init<SuspendExecutionRequest>,
  spec: Init<ExecutionSpec> = {},
): Promise<string> {
  const claim = await running(hand, spec);
  await hand.suspend(claim, wait);
  return claim.executionId;
}

/** A lane of its own, where one of a key may run at once. */
async function narrow(hand: WaitsByHand): Promise<Init<ExecutionSpec>> {
  const lane = newLane();
  await hand.setLane(lane, { defaultKeyLimit: 1 });
  return { lane, concurrencyKey: 'one at a time' };
}

/** Blocked by another one of its key. */
async function behind(hand: WaitsByHand, ahead: Init<ExecutionSpec>, own: Init<ExecutionSpec> = {}): Promise<string> {
  const keyed = await narrow(hand);
  await hand.createOne({ ...keyed, ...ahead });
  return await hand.createOne({ ...keyed, ...own });
}

/** A budget of one coin for a lane, that starts anew every three seconds where it does so at all. */
async function poor(hand: WaitsByHand, anew: boolean, breachPolicy = BudgetBreachPolicy.REFUSE): Promise<string> {
  const lane = newLane();
  await hand.putBudget({
    name: `budget of ${lane}`,
    limits: { coins: { hardLimit: 1n } },
    attachments: [{ subject: { case: 'lane', value: lane } }],
    breachPolicy,
    ...(anew && { resetWindow: seconds(3) }),
  });
  return lane;
}

/** Held back, since another one uses the budget up; again, if it began anew in between. */
async function unpaid(hand: WaitsByHand, anew: boolean, spec: () => Init<ExecutionSpec> = () => ({})): Promise<string> {
  const lane = await poor(hand, anew);
  const spender = await running(hand, { lane });
  const end = monotonicMs() + 40_000;
  while (monotonicMs() < end) {
    const id = await hand.createOne({ lane, ...spec() });
    await hand.report(spender, { coins: 1n }).catch(() => undefined);
    const heldBack = async () => (await hand.state(id)) === BLOCKED;
    const isBlocked = await eventually(heldBack, 1_000).then(
      () => true,
      () => false,
    );
    if (isBlocked) return id;
  }
  throw new Error('a budget that is used up holds nothing back');
}

const out = (from: ExecutionState, to: ExecutionState, how: Exit['how'], arrange: Exit['arrange']): Exit => ({
  ...{ from, to, how, arrange },
});

export const WAIT_EXITS: Readonly<Record<string, Exit>> = {
  'its suspension times out and it fails': out(SUSPENDED, FAILED, SUSPENSION_TIMEOUT, (hand) =>
    suspended(hand, { timeout, timeoutBehavior: FAIL }),
  ),
  'its suspension times out and it is canceled': out(SUSPENDED, CANCELED, SUSPENSION_CANCELED, (hand) =>
    suspended(hand, { timeout, timeoutBehavior: CANCEL }),
  ),
  'its suspension times out and it expires': out(SUSPENDED, EXPIRED, SUSPENSION_TIMEOUT, (hand) =>
    suspended(hand, { timeout, timeoutBehavior: EXPIRE }),
  ),
  'its suspension times out and it goes on': out(SUSPENDED, QUEUED, undefined, (hand) =>
    suspended(hand, { timeout, timeoutBehavior: RESUME }),
  ),
  'it has slept long enough': out(SUSPENDED, QUEUED, undefined, (hand) =>
    suspended(hand, { condition: timeoutOnly, timeout }),
  ),
  'its suspension times out and it goes on later': out(SUSPENDED, SCHEDULED, undefined, (hand) =>
    suspended(hand, { timeout, timeoutBehavior: RESUME, resumeDelay: seconds(1) }),
  ),
  'the delay of its resume is over': out(SCHEDULED, QUEUED, undefined, (hand) =>
    suspended(hand, { timeout, timeoutBehavior: RESUME, resumeDelay: seconds(1) }),
  ),
  'it goes on and another one of its key runs': out(SUSPENDED, BLOCKED, undefined, async (hand) => {
    const keyed = await narrow(hand);
    const id = await suspended(hand, { timeout: seconds(8), timeoutBehavior: RESUME }, keyed);
    await running(hand, keyed);
    return id;
  }),
  'an operator does not look in time': out(SUSPENDED, EXPIRED, DEADLINE, (hand) =>
    suspended(hand, { timeout: seconds(0.5), timeoutBehavior: ESCALATE }, soon()),
  ),
  'its deadline passes while it is suspended': out(SUSPENDED, EXPIRED, DEADLINE, (hand) => suspended(hand, {}, soon())),
  'the only waitpoint it waits for expires': out(SUSPENDED, FAILED, SUSPENSION_TIMEOUT, (hand) =>
    suspended(hand, { condition: named('go', 'door'), waitpoints: [{ key: 'door', expiry: seconds(1.5) }] }),
  ),
  'its flow is canceled while it is suspended': out(SUSPENDED, CANCELED, FLOW_CANCELED, async (hand) => {
    const flow = await hand.flow({ members: { waiting: {} } });
    await hand.suspend(await flow.claim('waiting', { leaseDuration: seconds(60) }));
    await flow.cancel();
    return flow.of('waiting');
  }),
  'the budget that parked it starts anew': out(SUSPENDED, QUEUED, undefined, async (hand) => {
    const lane = await poor(hand, true, BudgetBreachPolicy.SUSPEND);
    const claim = await running(hand, { lane });
    expectReason('BUDGET_EXCEEDED', (await refusal(hand.report(claim, { coins: 2n }))).reason);
    return claim.executionId;
  }),

  'who has its key expires': out(BLOCKED, QUEUED, undefined, (hand) => behind(hand, inTime)),
  'the worker of who has its key dies': out(BLOCKED, QUEUED, undefined, async (hand) => {
    const keyed = await narrow(hand);
    await running(hand, { ...keyed, retryPolicy: { maxAttempts: 1 } }, { leaseDuration: seconds(8) });
    return await hand.createOne(keyed);
  }),
  'who has its key is parked too long': out(BLOCKED, QUEUED, undefined, async (hand) => {
    const keyed = await narrow(hand);
    const claim = await running(hand, keyed);
    const id = await hand.createOne(keyed);
    await hand.suspend(claim, { timeout });
    return id;
  }),
  'nobody starts it in time while its key is taken': out(BLOCKED, EXPIRED, NO_HANDLER, (hand) =>
    behind(hand, {}, inTime),
  ),
  'its deadline passes while its key is taken': out(BLOCKED, EXPIRED, DEADLINE, (hand) => behind(hand, {}, soon())),

  'its budget starts anew': out(BLOCKED, QUEUED, undefined, (hand) => unpaid(hand, true)),
  'nobody starts it in time while its budget is gone': out(BLOCKED, EXPIRED, NO_HANDLER, (hand) =>
    unpaid(hand, false, () => inTime),
  ),
  'its deadline passes while its budget is gone': out(BLOCKED, EXPIRED, DEADLINE, (hand) => unpaid(hand, false, soon)),

  'nobody may start it in time': out(QUEUED, EXPIRED, NO_HANDLER, async (hand) => {
    const lane = newLane();
    await hand.setLane(lane, { concurrencyLimit: 1 });
    await running(hand, { lane });
    return await hand.createOne({ lane, ...inTime });
  }),
};

function expectReason(expected: string, reason: string): void {
  if (reason !== expected) throw new Error(`refused with ${reason}, not ${expected}`);
}
