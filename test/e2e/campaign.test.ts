/**
 * A campaign: clients, workers, operators and readers do at random whatever they may, all at once, over two servers, some
 * of it wrongly or too late; the history of it is judged. What is refused must be refused for a reason that fits.
 *
 * Set TAILRACE_TEST_SEED to make the same choices again; their interleaving is the machine's.
 */
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { ConnectError } from '@connectrpc/connect';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { FailureClass } from '../../gen/tailrace/v1/attempt_pb.js';
import { CancelMode, LateCompletion } from '../../gen/tailrace/v1/cancel_pb.js';
import { DeadLetterState } from '../../gen/tailrace/v1/dead_letter_pb.js';
import { type ErrorDetail, ErrorDetailSchema } from '../../gen/tailrace/v1/error_pb.js';
import { ExecutionState } from '../../gen/tailrace/v1/execution_state_pb.js';
import type { Claim } from '../../gen/tailrace/v1/lease_pb.js';
import { LogEntryKind } from '../../gen/tailrace/v1/log_pb.js';
import { monotonicMs, pause, wallMs } from '../../src/runtime/clock.js';
import { ByHand, ItemRefused, leaseOf, seconds } from '../support/by-hand.js';
import { keyOf, letAllGoOn, setLimits, signalSomebody, use, wait, write } from '../support/campaign-waits.js';
import { Chance } from '../support/chance.js';
import { Recorded } from '../support/history/recorded.js';
import type { Clients } from '../support/tailrace.js';
import { WaitsByHand } from '../support/waits-by-hand.js';

const CAMPAIGN_MS = 8_000;
/** Without these it would tell nothing about waits and budgets. */
const { EXECUTION_SUSPENDED, EXECUTION_RESUMED, SIGNAL_RECEIVED, BUDGET_EXHAUSTED } = LogEntryKind;
const HAPPENS = [EXECUTION_SUSPENDED, EXECUTION_RESUMED, SIGNAL_RECEIVED, BUDGET_EXHAUSTED];
const LANES = ['red', 'green', 'blue'];
const CAPABILITIES = ['gpu', 'eu'];
const EXPECTED = new Set([
  'LEASE_LOST',
  'EXECUTION_TERMINAL',
  'WRONG_STATE',
  'LANE_PAUSED',
  'REQUEST_ID_REUSED',
  'VERSION_CONFLICT',
  'CAPABILITY_MISSING',
  'BUDGET_EXCEEDED',
  'QUOTA_EXCEEDED',
  'NOT_SUSPENDED',
  'WAITPOINT_NOT_FOUND',
  // An execution that kept moving, or a machine that does not keep up: it is to be repeated.
  'CONTENTION',
  'OVERLOADED',
]);

const seed = Number(process.env['TAILRACE_TEST_SEED'] ?? wallMs() % 1_000_000);
const chance = new Chance(seed);

let recorded: Recorded;
let servers: readonly Clients[];
const known: string[] = [];
const stale: Claim[] = [];

beforeAll(async () => {
  recorded = await Recorded.start();
  await setLimits(recorded);
  servers = [recorded.clients, (await recorded.another()).clients];
});
afterAll(() => recorded.stop());

/** A refusal that fits is part of the game; anything else fails the test. */
async function attempt(call: Promise<unknown> | undefined): Promise<void> {
  try {
    await call;
  } catch (error) {
    const detail =
      error instanceof ItemRefused ? error.detail : ConnectError.from(error).findDetails(ErrorDetailSchema)[0];
    if (!EXPECTED.has(detail?.reason ?? '') && !isPast(detail)) throw error;
  }
}

/** A deadline had passed before it was asked for. */
function isPast({ fieldViolations }: Pick<ErrorDetail, 'fieldViolations'> = { fieldViolations: [] }): boolean {
  return fieldViolations.length > 0 && fieldViolations.every(({ field }) => field.endsWith('.deadline_time'));
}

async function client(hand: ByHand, dice: Chance): Promise<void> {
  const made = hand.create(
    ...Array.from({ length: 1 + dice.below(12) }, () => ({
      lane: dice.pick(LANES) ?? '',
      type: `type ${dice.below(3)}`,
      priority: dice.below(5) - 2,
      concurrencyKey: keyOf(dice),
      requiredCapabilities: CAPABILITIES.filter(() => dice.percent(20)),
      retryPolicy: {
        maxAttempts: 1 + dice.below(4),
        maxReclaims: 1 + dice.below(3),
        initialBackoff: seconds(0.01),
        maxBackoff: seconds(0.05),
      },
      ...(dice.percent(20) && { delay: seconds(dice.below(300) / 1_000) }),
      ...(dice.percent(10) && { ttl: seconds(0.3) }),
      ...(dice.percent(10) && { attemptTimeout: seconds(0.2) }),
      ...(dice.percent(10) && { deadlineTime: timestampFromMs(wallMs() + 200 + dice.below(1_500)) }),
    })),
  );
  await attempt(made.then((ids) => known.push(...ids)));
  const requestId = `again ${dice.below(20)}`;
  await attempt(hand.createOne({ requestId, lane: 'red', priority: dice.below(2) }).then((id) => known.push(id)));
  await pause(dice.below(60));
}

async function worker(hand: WaitsByHand, dice: Chance): Promise<void> {
  const claims = await hand.claim({
    lanes: LANES.filter(() => dice.percent(80)).map((lane) => ({ lane, weight: 1 + dice.below(3) })),
    capabilities: CAPABILITIES.filter(() => dice.percent(70)),
    maxExecutions: 1 + dice.below(10),
    wait: seconds(0.1),
    leaseDuration: seconds(1),
    ...(dice.percent(20) && { startWithin: seconds(0.1) }),
  });
  await Promise.all(claims.map((claim) => treat(hand, claim, dice.fork())));
  const late = stale.splice(0, dice.below(3));
  await Promise.all(late.map((claim) => attempt(hand.complete(claim, 'late'))));
}

async function treat(hand: WaitsByHand, claim: Claim, dice: Chance): Promise<void> {
  const fail = (failureClass: FailureClass, more = {}) => hand.fail(claim, failureClass, more);
  if (dice.percent(40)) await attempt(use(hand, claim, dice));
  if (dice.percent(30)) await attempt(write(recorded, hand, claim, dice));
  const act = dice.weighted<() => Promise<unknown>>([
    [40, () => hand.complete(claim)],
    [20, () => wait(hand, claim, dice)],
    [6, () => Promise.allSettled([hand.complete(claim), hand.complete(claim), hand.complete(claim, 'other')])],
    [6, () => Promise.allSettled([hand.complete(claim), hand.release(claim), fail(FailureClass.PERMANENT)])],
    [
      6,
      () =>
        hand
          .renew(claim)
          .then(() => hand.progress(claim, 50))
          .then(() => hand.complete(claim)),
    ],
    [12, () => fail(FailureClass.TRANSIENT)],
    [4, () => fail(FailureClass.PERMANENT)],
    [3, () => fail(FailureClass.TIMEOUT)],
    [3, () => fail(FailureClass.RATE_LIMITED, { retryDelay: seconds(0.02) })],
    [2, () => fail(FailureClass.CANCELED)],
    [5, () => hand.release(claim)],
    [5, () => hand.delay(claim, { delay: seconds(0.03) })],
    [2, () => hand.cancel(claim.executionId, { lease: leaseOf(claim) })],
    [6, async () => stale.push(claim)],
  ]);
  await attempt(act?.());
}

async function canceler(hand: ByHand, dice: Chance): Promise<void> {
  const policy = {
    mode: dice.percent(50) ? CancelMode.NOW : CancelMode.COOPERATIVE,
    grace: seconds(1),
    lateCompletion: dice.percent(50) ? LateCompletion.ACCEPTED : LateCompletion.REFUSED,
  };
  const id = dice.pick(known.slice(-40));
  if (id !== undefined) await attempt(hand.cancel(id, { policy }));
  await pause(dice.below(30));
}

async function operator({ admin, deadLetters }: Clients, dice: Chance): Promise<void> {
  const executionId = dice.pick(known.slice(-40));
  const lane = dice.pick(LANES) ?? '';
  const act = dice.weighted<() => Promise<unknown>>([
    [30, async () => executionId && admin.revokeLease({ executionId })],
    [30, async () => executionId && admin.changeExecution({ executionId, priority: dice.below(9) - 4 })],
    [10, async () => executionId && admin.changeExecution({ executionId, runTime: timestampFromMs(wallMs() + 50) })],
    [
      5,
      () =>
        admin
          .pauseLane({ lane })
          .then(() => pause(50))
          .then(() => admin.resumeLane({ lane })),
    ],
    [
      25,
      async () => {
        const open = await deadLetters.listDeadLetters({ filter: { states: [DeadLetterState.OPEN] }, pageSize: 20 });
        const letter = dice.pick(open.deadLetters);
        if (!letter) return;
        const { deadLetterId, version } = letter;
        const twice = [1, 2].map(() => deadLetters.redriveDeadLetter({ deadLetterId, expectedVersion: version }));
        await Promise.all(twice.map(attempt));
      },
    ],
  ]);
  await attempt(act?.());
  await pause(dice.below(40));
}

async function live(): Promise<number> {
  const { BLOCKED, SCHEDULED, QUEUED, RUNNING, SUSPENDED } = ExecutionState;
  const filter = { lanes: LANES, states: [BLOCKED, SCHEDULED, QUEUED, RUNNING, SUSPENDED] };
  return (await recorded.clients.admin.listExecutions({ filter, pageSize: 1_000 })).executions.length;
}

test(`everybody at once, seed ${seed}`, async () => {
  const [here, there] = servers as readonly [Clients, Clients];
  const ends = await recorded.reader({
    name: 'ends',
    completions: {},
    selects: ({ to }) => to >= ExecutionState.SUCCEEDED,
  });
  const second = await recorded.reader({ name: 'the log elsewhere', completion: () => there.completion });
  const until = monotonicMs() + CAMPAIGN_MS;
  // On a busy machine some of it comes later.
  const isOver = () =>
    monotonicMs() >= until && HAPPENS.every((kind) => recorded.log.entries.some((at) => at.kind === kind));
  const repeat = async (step: (dice: Chance) => Promise<void>, dice = chance.fork()): Promise<void> => {
    while (!isOver()) await step(dice);
  };
  const hands = Array.from(
    { length: 6 },
    (_, i) => new WaitsByHand(i % 2 === 0 ? here : there, 'worker', `instance ${i}`),
  );
  await Promise.all([
    ...hands.map((hand) => repeat((dice) => worker(hand, dice))),
    ...[here, there].map((clients) => repeat((dice) => client(new ByHand(clients, 'client'), dice))),
    repeat((dice) => canceler(new ByHand(there, 'canceler'), dice)),
    repeat((dice) => operator(here, dice)),
    repeat((dice) => attempt(signalSomebody(new WaitsByHand(there, 'somebody'), dice, known))),
    repeat((dice) => attempt(signalSomebody(new WaitsByHand(here, 'somebody'), dice, known))),
    repeat(async (dice) => {
      for (const reader of [ends, second]) if (dice.percent(50)) reader.cut();
      await pause(100 + dice.below(300));
    }),
  ]);
  // Then peace: two workers finish what is left.
  while ((await live()) > 0) {
    await letAllGoOn(recorded);
    for (const hand of hands.slice(0, 2)) {
      const lanes = LANES.map((lane) => ({ lane }));
      const claims = await hand.claim({ lanes, capabilities: CAPABILITIES, maxExecutions: 100, wait: seconds(0.1) });
      await Promise.all(claims.map((claim) => attempt(hand.complete(claim))));
    }
  }
  // The history is judged when the server stops.
  expect(known.length).toBeGreaterThan(50);
  const told = new Set(recorded.log.entries.map(({ kind }) => kind));
  for (const kind of HAPPENS) expect(told).toContain(kind);
});
