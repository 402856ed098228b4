/**
 * Publishes, reacts and emits as plan.ts says while servers and workers die, until nothing is left to do. What must come of
 * it the history checker says, which looks at every call and every answer.
 */
import { ConnectError } from '@connectrpc/connect';
import { FailureClass } from '../../../gen/tailrace/v1/attempt_pb.js';
import { DeadLetterResolution, DeadLetterState } from '../../../gen/tailrace/v1/dead_letter_pb.js';
import { ErrorDetailSchema } from '../../../gen/tailrace/v1/error_pb.js';
import { ExecutionState } from '../../../gen/tailrace/v1/execution_state_pb.js';
import type { Claim } from '../../../gen/tailrace/v1/lease_pb.js';
import { pause } from '../../../src/runtime/clock.js';
import { ItemRefused, seconds } from '../by-hand.js';
import type { Chance } from '../chance.js';
import { EventsByHand } from '../events-by-hand.js';
import { eventually } from '../eventually.js';
import type { Recorded } from '../history/recorded.js';
import type { Clients } from '../tailrace.js';
import { emission, JOINING, LANES, publication, subscription } from './plan.js';

export interface Circumstances {
  readonly recorded: Recorded;
  /** Where they call; asked for each call, because servers come and go. */
  readonly servers: () => readonly Clients[];
  /** Of each publisher. */
  readonly calls: number;
  readonly dice: Chance;
}

const SUBSCRIPTIONS = 7;
/** While events are published. */
const LATE = 3;
const FLOWS = 8;
const PUBLISHERS = 2;
const WORKERS = 4;
const BOUND_MS = 90_000;
const LIVE = [1, 2, 3, 4, 5, 6].map((state) => state as ExecutionState);

/** How many events were accepted. */
export async function drive({ recorded, servers, calls, dice }: Circumstances): Promise<number> {
  const sure = new EventsByHand(recorded.clients);
  const flows = await Promise.all(Array.from({ length: FLOWS }, async () => (await sure.flow({}, { open: true })).id));
  let published = 0;
  let isOver = false;
  const someone = (own: Chance) => new EventsByHand(own.pick(servers()) ?? recorded.clients, 'someone');

  const publish = async (own: Chance) => {
    for (let call = 0; call < calls; call++) {
      const events = publication(flows, own);
      // In two steps: `+=` would read the sum before it waits, and the other publisher's be lost.
      const { results } = await repeated(() => someone(own).clients.engine.publishEvents({ events }));
      published += results.length;
      // Who was answered may still ask again.
      if (own.percent(10)) await unlessLost(someone(own).clients.engine.publishEvents({ events }));
      await pause(own.below(150));
    }
  };
  const work = async (own: Chance) => {
    while (!isOver) {
      const lanes = [...LANES, 'joins'].map((lane) => ({ lane }));
      const ask = { lanes, maxExecutions: 1 + own.below(16), wait: seconds(0.1), leaseDuration: seconds(1) };
      const claims = (await unlessLost(someone(own).claim(ask))) ?? [];
      // A worker that dies takes what it holds with it.
      if (own.percent(3)) continue;
      await Promise.all(claims.map((claim) => answer(claim, someone(own), own)));
    }
  };
  const subscribeLate = async (own: Chance) => {
    for (let n = SUBSCRIPTIONS; n < SUBSCRIPTIONS + LATE; n++) {
      await pause(1_000);
      await repeated(() => someone(own).clients.admin.putSubscription({ subscription: subscription(n, own) }));
    }
  };

  for (let n = 0; n < SUBSCRIPTIONS; n++)
    await sure.clients.admin.putSubscription({ subscription: subscription(n, dice) });
  await sure.clients.admin.putSubscription({ subscription: JOINING });
  const workers = Array.from({ length: WORKERS }, () => work(dice.fork()));
  await Promise.all([...Array.from({ length: PUBLISHERS }, () => publish(dice.fork())), subscribeLate(dice.fork())]);
  let left: readonly string[] = [];
  await eventually(async () => {
    await letThemPass(sure);
    left = await leftOf(sure);
    return left.length === 0;
  }, BOUND_MS).catch((error: unknown) => {
    throw new Error(`left to do: ${left.join('; ')}`, { cause: error });
  });
  isOver = true;
  await Promise.all(workers);
  return published;
}

async function answer(claim: Claim, hand: EventsByHand, dice: Chance): Promise<void> {
  const { subject } = claim.trigger ?? { subject: { case: undefined } };
  const type = subject.case === 'event' ? subject.value.type : '';
  const call = dice.percent(5)
    ? hand.fail(claim, FailureClass.PERMANENT)
    : hand.completeWith(claim, ...(type === '' ? [] : emission(type, dice)));
  await unlessLost<unknown>(call);
}

/** A dead head stops its line until somebody looks at it. */
async function letThemPass({ clients }: EventsByHand): Promise<void> {
  const asked = { filter: { states: [DeadLetterState.OPEN] }, pageSize: 1_000 };
  const { deadLetters } = await clients.deadLetters.listDeadLetters(asked);
  if (deadLetters.length === 0) return;
  await clients.deadLetters.resolveDeadLetters({
    deadLetters: deadLetters.map(({ deadLetterId }) => ({ deadLetterId })),
    resolution: DeadLetterResolution.IGNORED,
  });
}

async function leftOf({ clients }: EventsByHand): Promise<string[]> {
  const { subscriptions } = await clients.admin.listSubscriptions({ pageSize: 1_000 });
  const { executions } = await clients.admin.listExecutions({ filter: { states: LIVE }, pageSize: 10 });
  return [
    ...subscriptions
      .filter(({ unroutedEventCount }) => unroutedEventCount > 0n)
      .map(({ spec, unroutedEventCount, haltReason }) => `${unroutedEventCount} events of ${spec?.name} ${haltReason}`),
    ...executions.map(({ executionId, subscription, state, block }) => {
      const why = block ? ` by ${block.subject}` : '';
      return `${executionId} of ${subscription} is ${ExecutionState[state]}${why}`;
    }),
  ];
}

/** Asked again until it is answered. */
async function repeated<T>(call: () => Promise<T>): Promise<T> {
  for (;;) {
    const answered = await unlessLost(call());
    if (answered !== undefined) return answered;
    await pause(20);
  }
}

/** Where servers die, calls die with them, what they had locked stays so for a moment, and leases end before their holders know. */
async function unlessLost<T>(call: Promise<T>): Promise<T | undefined> {
  try {
    return await call;
  } catch (error) {
    if (error instanceof ItemRefused && error.detail) {
      if (['LEASE_LOST', 'EXECUTION_TERMINAL', 'CONTENTION'].includes(error.detail.reason)) return undefined;
      throw error;
    }
    const reason = ConnectError.from(error).findDetails(ErrorDetailSchema)[0]?.reason;
    if (reason === 'INVALID_FIELD' || reason === 'INTERNAL') throw error;
    return undefined;
  }
}
