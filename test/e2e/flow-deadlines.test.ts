/** Proof 4: a join with a member that is dead does not wait for ever. Servers that die on the way: flow-crash.test.ts. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { DeadLetterState } from '../../gen/tailrace/v1/dead_letter_pb.js';
import { DeadLetterReason } from '../../gen/tailrace/v1/dead_letter_reason_pb.js';
import { EndReason } from '../../gen/tailrace/v1/execution_state_pb.js';
import { FlowState } from '../../gen/tailrace/v1/flow_pb.js';
import { JoinState, OnJoinTimeout, SlotOutcome } from '../../gen/tailrace/v1/join_pb.js';
import { LogEntryKind } from '../../gen/tailrace/v1/log_pb.js';
import { seconds } from '../support/by-hand.js';
import { eventually } from '../support/eventually.js';
import { FlowsByHand } from '../support/flows-by-hand.js';
import { Recorded } from '../support/history/recorded.js';

const { RELEASE_PARTIAL, FAIL } = OnJoinTimeout;
const long = { leaseDuration: seconds(600) };

let recorded: Recorded;
let hand: FlowsByHand;
beforeAll(async () => {
  recorded = await Recorded.start();
  hand = new FlowsByHand(recorded.clients);
});
afterAll(() => recorded.stop());

const stuck = async (onTimeout: OnJoinTimeout, timeout: number) => {
  const flow = await hand.flow({
    members: { quick: {}, dead: {}, last: {}, after: {} },
    links: [
      ['quick', 'last'],
      ['dead', 'last'],
      ['last', 'after'],
    ],
    joins: { last: { timeout: seconds(timeout), onTimeout } },
  });
  const held = await flow.claim('dead', long);
  await flow.complete('quick');
  return { flow, held };
};

test.concurrent('proof 4: with partial release it goes on with what is there', async () => {
  const { flow, held } = await stuck(RELEASE_PARTIAL, 5);
  const claim = await flow.claim('last', { wait: seconds(20) });
  expect(claim.joinedInputs).toMatchObject([
    { name: 'quick', outcome: SlotOutcome.OK },
    { name: 'dead', outcome: SlotOutcome.UNSPECIFIED },
  ]);
  expect(await flow.join('last')).toMatchObject({ state: JoinState.EXPIRED, okCount: 1 });
  const told = await recorded.log.entry(
    ({ kind, executionId }) => kind === LogEntryKind.JOIN_EXPIRED && executionId === flow.of('last'),
  );
  expect(told.body).toMatchObject({ value: { slots: 2, ok: 1, failed: 0, skipped: 0 } });
  await hand.complete(claim);
  await flow.complete('after');
  // It comes back from the dead, and comes too late to count.
  await hand.complete(held);
  expect((await flow.ended()).state).toBe(FlowState.SUCCEEDED);
  expect(await flow.join('last')).toMatchObject({ okCount: 2, lateCount: 1 });
});

test.concurrent('proof 4: else it fails with a dead letter that names what arrived and what is missing', async () => {
  const { flow, held } = await stuck(FAIL, 5);
  expect(await flow.end('last')).toEqual({ state: 'FAILED', reason: EndReason.JOIN_EXPIRED });
  expect(await flow.end('after')).toEqual({ state: 'SKIPPED', reason: EndReason.JOIN_IMPOSSIBLE });
  const { deadLetterId = '' } = (await flow.look('last')).outcome ?? {};
  const { deadLetter } = await recorded.clients.deadLetters.getDeadLetter({ deadLetterId });
  expect(deadLetter).toMatchObject({
    state: DeadLetterState.OPEN,
    reason: DeadLetterReason.JOIN_EXPIRED,
    flowId: flow.id,
  });
  const details = JSON.stringify(deadLetter?.failure?.details?.body.value ?? '');
  const text = details.includes('quick') ? details : await detailsOf(flow.of('last'));
  expect(text).toMatch(/"?arrived.*quick/s);
  expect(text).toMatch(/"?missing.*dead/s);
  await hand.complete(held);
  expect((await flow.ended()).state).toBe(FlowState.FAILED);
});

test('proof 4: a slot that arrives as the time runs out counts, or is late; never both', async () => {
  const flows = await Promise.all(Array.from({ length: 20 }, () => stuck(RELEASE_PARTIAL, 1)));
  // Each somewhat later than the one before, around the time at which the sweeper comes.
  await Promise.all(
    flows.map(async ({ flow, held }, i) => {
      if (i % 2 === 0) await flow.claim('last', { wait: seconds(0.9 + i / 100) }).catch(() => undefined);
      await hand.complete(held);
    }),
  );
  for (const { flow } of flows) {
    await eventually(async () => (await flow.join('last')).okCount === 2);
    const join = await flow.join('last');
    expect([JoinState.SATISFIED, JoinState.EXPIRED]).toContain(join.state);
    expect(join.lateCount > 0).toBe(join.state === JoinState.EXPIRED);
    await flow.cancel({ policy: { mode: 2 } });
    await flow.ended();
  }
});

async function detailsOf(executionId: string): Promise<string> {
  const { execution } = await recorded.clients.admin.getExecution({ executionId });
  const body = execution?.outcome?.failure?.details?.body;
  return body?.case === 'data' ? Buffer.from(body.value).toString() : JSON.stringify(body?.value ?? '');
}
