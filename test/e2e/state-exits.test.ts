/**
 * Every non-terminal state has an exit that needs nobody: not the worker, which is dead, not the server that took the
 * calls, which is stopped before anything falls due. What was due stands in the database, and any server finds it.
 */
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { AttemptOutcome, FailureClass } from '../../gen/tailrace/v1/attempt_pb.js';
import { EndReason, ExecutionState } from '../../gen/tailrace/v1/execution_state_pb.js';
import type { LogEntry } from '../../gen/tailrace/v1/log_pb.js';
import { wallMs } from '../../src/runtime/clock.js';
import { ByHand, seconds } from '../support/by-hand.js';
import { Recorded } from '../support/history/recorded.js';

const { SCHEDULED, QUEUED, RUNNING, CANCELED, EXPIRED, FAILED } = ExecutionState;
const soon = () => ({ deadlineTime: timestampFromMs(wallMs() + 1_500) });
const inTime = { ttl: seconds(1.2) };

interface Exit {
  readonly from: ExecutionState;
  readonly to: ExecutionState;
  readonly how: EndReason | AttemptOutcome | undefined;
  readonly arrange: (hand: ByHand) => Promise<string>;
}

/** Claims it, and is never heard of again. */
async function abandoned(hand: ByHand, spec: Parameters<ByHand['createOne']>[0] = {}, ask = {}): Promise<string> {
  const id = await hand.createOne(spec);
  await hand.claimNamed(id, { leaseDuration: seconds(60), ...ask });
  return id;
}

const EXITS: Readonly<Record<string, Exit>> = {
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
      const claim = await hand.claimNamed(await hand.createOne());
      await hand.fail(claim, FailureClass.TRANSIENT, { retryDelay: seconds(1) });
      return claim.executionId;
    },
  },
  'a rate limit ends': {
    from: SCHEDULED,
    to: QUEUED,
    how: undefined,
    arrange: async (hand) => {
      const claim = await hand.claimNamed(await hand.createOne());
      await hand.fail(claim, FailureClass.RATE_LIMITED, { retryDelay: seconds(1) });
      return claim.executionId;
    },
  },
  'a delay by the holder ends': {
    from: SCHEDULED,
    to: QUEUED,
    how: undefined,
    arrange: async (hand) => {
      const claim = await hand.claimNamed(await hand.createOne());
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
      const claim = await hand.claimNamed(await hand.createOne({ ...soon(), ...inTime }));
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
      const id = await abandoned(hand, {}, { leaseDuration: seconds(1) });
      await hand.cancel(id, { policy: { grace: seconds(60) } });
      return id;
    },
  },
};

let recorded: Recorded;
const ids = new Map<string, string>();

beforeAll(async () => {
  recorded = await Recorded.start();
  const doomed = await recorded.another();
  const hand = new ByHand(doomed.clients);
  await Promise.all(Object.entries(EXITS).map(async ([name, { arrange }]) => ids.set(name, await arrange(hand))));
  await doomed.stop();
});
afterAll(() => recorded.stop());

test.each(Object.entries(EXITS))('proof 22: %s', async (name, { from, to, how }) => {
  const moved = await recorded.log.entry(
    (entry) => entry.executionId === ids.get(name) && entry.fromState === from && entry.toState === to,
    8_000,
  );
  if (how !== undefined) expect(howOf(moved)).toBe(how);
});

test('proof 22: every state that work can stand in today is walked', () => {
  const walked = new Set(Object.values(EXITS).map(({ from }) => from));
  expect([...walked].sort()).toEqual([SCHEDULED, QUEUED, RUNNING]);
});

function howOf({ body }: LogEntry): EndReason | AttemptOutcome | undefined {
  if (body.case === 'outcome') return body.value.reason;
  return body.case === 'attempt' ? body.value.outcome : undefined;
}
