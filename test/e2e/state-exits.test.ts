/**
 * Every non-terminal state has an exit that needs nobody: not the worker, which is dead, not the server that took the
 * calls, which is stopped before anything falls due. What was due stands in the database, and any server finds it.
 */
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { AttemptOutcome, FailureClass } from '../../gen/tailrace/v1/attempt_pb.js';
import type { ExecutionSpec } from '../../gen/tailrace/v1/execution_pb.js';
import { EndReason, ExecutionState } from '../../gen/tailrace/v1/execution_state_pb.js';
import { OnJoinTimeout } from '../../gen/tailrace/v1/join_pb.js';
import type { LogEntry } from '../../gen/tailrace/v1/log_pb.js';
import { wallMs } from '../../src/runtime/clock.js';
import { type ByHand, type Init, seconds } from '../support/by-hand.js';
import type { Exit } from '../support/exit.js';
import type { FlowsByHand, Graph } from '../support/flows-by-hand.js';
import { Recorded } from '../support/history/recorded.js';
import { WAIT_EXITS } from '../support/wait-exits.js';
import { WaitsByHand } from '../support/waits-by-hand.js';

const { BLOCKED, SCHEDULED, QUEUED, RUNNING, SUSPENDED, WAITING_CHILDREN } = ExecutionState;
const { CANCELED, EXPIRED, FAILED, SKIPPED } = ExecutionState;
/** Late enough that everything is arranged by then, on a busy machine too. */
const soon = () => ({ deadlineTime: timestampFromMs(wallMs() + 10_000) });
const inTime = { ttl: seconds(3) };
const held = { leaseDuration: seconds(60) };

/** Claims it, and is never heard of again. */
async function abandoned(hand: ByHand, spec: Parameters<ByHand['createOne']>[0] = {}, ask = {}): Promise<string> {
  const id = await hand.createOne(spec);
  await hand.claimNamed(id, { ...held, ...ask });
  return id;
}

/** Waits for somebody who is never heard of. */
async function blocked(
  hand: FlowsByHand,
  { up = {}, down = {}, link = {}, join = {} }: Readonly<Record<string, object>>,
): Promise<string> {
  const graph: Graph = { members: { up, down }, links: [['up', 'down', link]], joins: { down: join } };
  return (await hand.flow(graph)).of('down');
}

/** Waits for a child that nobody runs. */
async function parked(
  hand: FlowsByHand,
  { parent = {}, child = {}, slot = {}, join = {} }: Readonly<Record<string, object>>,
): Promise<string> {
  const claim = await hand.claimNamed(await hand.createOne(parent), held);
  const execution: Init<ExecutionSpec> = { type: 'nobody', lane: 'children', ...child };
  await hand.waitForChildren(claim, [{ execution, ...slot }], join);
  return claim.executionId;
}

const partial = { timeout: seconds(1), onTimeout: OnJoinTimeout.RELEASE_PARTIAL };

const OTHER_EXITS: Readonly<Record<string, Exit>> = {
  'what it needs expires': {
    from: BLOCKED,
    to: SKIPPED,
    how: EndReason.JOIN_IMPOSSIBLE,
    arrange: (hand) => blocked(hand, { up: inTime }),
  },
  'what it could do without expires': {
    from: BLOCKED,
    to: QUEUED,
    how: undefined,
    arrange: (hand) => blocked(hand, { up: inTime, link: { optional: true } }),
  },
  'what it could do without expires before it is due': {
    from: BLOCKED,
    to: SCHEDULED,
    how: undefined,
    arrange: (hand) => blocked(hand, { up: inTime, link: { optional: true }, down: { delay: seconds(3600) } }),
  },
  'the worker of what it needs dies': {
    from: BLOCKED,
    to: SKIPPED,
    how: EndReason.JOIN_IMPOSSIBLE,
    arrange: async (hand) => {
      const flow = await hand.flow({
        members: { up: { retryPolicy: { maxAttempts: 1 } }, down: {} },
        links: [['up', 'down']],
      });
      await flow.claim('up', { leaseDuration: seconds(1) });
      return flow.of('down');
    },
  },
  'its join expires': {
    from: BLOCKED,
    to: FAILED,
    how: EndReason.JOIN_EXPIRED,
    arrange: (hand) => blocked(hand, { join: { timeout: seconds(1) } }),
  },
  'its join expires and passes with what is there': {
    from: BLOCKED,
    to: QUEUED,
    how: undefined,
    arrange: (hand) => blocked(hand, { join: partial }),
  },
  'its deadline passes while it is blocked': {
    from: BLOCKED,
    to: EXPIRED,
    how: EndReason.DEADLINE,
    arrange: (hand) => blocked(hand, { down: soon() }),
  },
  'its flow is canceled': {
    from: BLOCKED,
    to: CANCELED,
    how: EndReason.FLOW_CANCELED,
    arrange: async (hand) => {
      const flow = await hand.flow({ members: { up: {}, down: {} }, links: [['up', 'down']] });
      await flow.cancel();
      return flow.of('down');
    },
  },
  'its child expires': {
    from: WAITING_CHILDREN,
    to: QUEUED,
    how: undefined,
    arrange: (hand) => parked(hand, { child: inTime }),
  },
  'a child that it could do without expires': {
    from: WAITING_CHILDREN,
    to: QUEUED,
    how: undefined,
    arrange: (hand) => parked(hand, { child: inTime, slot: { optional: true } }),
  },
  'its wait expires': {
    from: WAITING_CHILDREN,
    to: FAILED,
    how: EndReason.JOIN_EXPIRED,
    arrange: (hand) => parked(hand, { join: { timeout: seconds(1) } }),
  },
  'its wait expires and it goes on': {
    from: WAITING_CHILDREN,
    to: QUEUED,
    how: undefined,
    arrange: (hand) => parked(hand, { join: partial }),
  },
  'its deadline passes while it waits for children': {
    from: WAITING_CHILDREN,
    to: EXPIRED,
    how: EndReason.DEADLINE,
    arrange: (hand) => parked(hand, { parent: soon() }),
  },
  'delayed work becomes due': {
    from: SCHEDULED,
    to: QUEUED,
    how: undefined,
    arrange: (hand) => hand.createOne({ delay: seconds(1) }),
  },
  'a backoff ends': {
    from: SCHEDULED,
    to: QUEUED,
    how: undefined,
    arrange: async (hand) => {
      const claim = await hand.claimNamed(await hand.createOne(), held);
      await hand.fail(claim, FailureClass.TRANSIENT, { retryDelay: seconds(1) });
      return claim.executionId;
    },
  },
  'a rate limit ends': {
    from: SCHEDULED,
    to: QUEUED,
    how: undefined,
    arrange: async (hand) => {
      const claim = await hand.claimNamed(await hand.createOne(), held);
      await hand.fail(claim, FailureClass.RATE_LIMITED, { retryDelay: seconds(1) });
      return claim.executionId;
    },
  },
  'a delay by the holder ends': {
    from: SCHEDULED,
    to: QUEUED,
    how: undefined,
    arrange: async (hand) => {
      const claim = await hand.claimNamed(await hand.createOne(), held);
      await hand.delay(claim, { delay: seconds(1) });
      return claim.executionId;
    },
  },
  'the deadline of delayed work passes': {
    from: SCHEDULED,
    to: EXPIRED,
    how: EndReason.DEADLINE,
    arrange: (hand) => hand.createOne({ ...soon(), delay: seconds(60) }),
  },
  'nobody starts it in time': {
    from: QUEUED,
    to: EXPIRED,
    how: EndReason.NO_HANDLER,
    arrange: (hand) => hand.createOne({ ...inTime, type: 'nobody' }),
  },
  'nobody starts it in time after its delay': {
    from: QUEUED,
    to: EXPIRED,
    how: EndReason.NO_HANDLER,
    arrange: (hand) => hand.createOne({ ...inTime, type: 'nobody', delay: seconds(0.5) }),
  },
  'its deadline passes while it is due': {
    from: QUEUED,
    to: EXPIRED,
    how: EndReason.DEADLINE,
    arrange: (hand) => hand.createOne(soon()),
  },
  'its deadline passes while it is due again': {
    from: QUEUED,
    to: EXPIRED,
    how: EndReason.DEADLINE,
    arrange: async (hand) => {
      const claim = await hand.claimNamed(await hand.createOne({ ...soon(), ttl: seconds(8) }), held);
      await hand.release(claim);
      return claim.executionId;
    },
  },
  'its worker dies': {
    from: RUNNING,
    to: QUEUED,
    how: AttemptOutcome.LEASE_EXPIRED,
    arrange: (hand) => abandoned(hand, {}, { leaseDuration: seconds(1) }),
  },
  'its worker dies once too often': {
    from: RUNNING,
    to: FAILED,
    how: EndReason.RETRIES_EXHAUSTED,
    arrange: (hand) => abandoned(hand, { retryPolicy: { maxAttempts: 1 } }, { leaseDuration: seconds(1) }),
  },
  'its worker never begins': {
    from: RUNNING,
    to: QUEUED,
    how: AttemptOutcome.NOT_STARTED,
    arrange: (hand) => abandoned(hand, {}, { startWithin: seconds(1) }),
  },
  'its attempt takes too long': {
    from: RUNNING,
    to: SCHEDULED,
    how: AttemptOutcome.TIMED_OUT,
    arrange: (hand) =>
      abandoned(hand, {
        attemptTimeout: seconds(1),
        retryPolicy: { initialBackoff: seconds(3600), maxBackoff: seconds(3600) },
      }),
  },
  'its deadline passes': {
    from: RUNNING,
    to: EXPIRED,
    how: EndReason.DEADLINE,
    arrange: (hand) => abandoned(hand, soon()),
  },
  'its holder does not heed a cancel': {
    from: RUNNING,
    to: CANCELED,
    how: EndReason.CANCEL_REQUESTED,
    arrange: async (hand) => {
      const id = await abandoned(hand);
      await hand.cancel(id, { policy: { grace: seconds(1) } });
      return id;
    },
  },
  'its holder dies after a cancel': {
    from: RUNNING,
    to: CANCELED,
    how: EndReason.CANCEL_REQUESTED,
    arrange: async (hand) => {
      const id = await abandoned(hand, {}, { leaseDuration: seconds(8) });
      await hand.cancel(id, { policy: { grace: seconds(60) } });
      return id;
    },
  },
};

const EXITS = { ...OTHER_EXITS, ...WAIT_EXITS };

let recorded: Recorded;
const ids = new Map<string, string>();

beforeAll(async () => {
  recorded = await Recorded.start();
  const doomed = await recorded.another();
  const hand = new WaitsByHand(doomed.clients);
  await Promise.all(Object.entries(EXITS).map(async ([name, { arrange }]) => ids.set(name, await arrange(hand))));
  await doomed.stop();
});
afterAll(() => recorded.stop());

test.each(Object.entries(EXITS))('proof 22: %s', async (name, { from, to, how }) => {
  const moved = await recorded.log.entry(
    (entry) => entry.executionId === ids.get(name) && entry.fromState === from && entry.toState === to,
    30_000,
  );
  if (how !== undefined) expect(howOf(moved)).toBe(how);
});

test('proof 22: every state that work can stand in today is walked', () => {
  const walked = new Set(Object.values(EXITS).map(({ from }) => from));
  expect([...walked].sort()).toEqual([BLOCKED, SCHEDULED, QUEUED, RUNNING, SUSPENDED, WAITING_CHILDREN]);
});

function howOf({ body }: LogEntry): EndReason | AttemptOutcome | undefined {
  if (body.case === 'outcome') return body.value.reason;
  return body.case === 'attempt' ? body.value.outcome : undefined;
}
