/**
 * Random work while partitions go: plain executions, flows, suspensions, letters, events. What is to be found again at the end
 * is written down once it was answered; what a dying server did not answer may have happened or not.
 */
import { Code, ConnectError } from '@connectrpc/connect';
import { FailureClass } from '../../gen/tailrace/v1/attempt_pb.js';
import { monotonicMs, pause } from '../../src/runtime/clock.js';
import { ItemRefused, only, seconds, text } from './by-hand.js';
import type { Chance } from './chance.js';
import { EventsByHand } from './events-by-hand.js';
import type { MadeFlow } from './flows-by-hand.js';
import type { Clients } from './tailrace.js';

/** What goes on over the end of the work, with the input that each must come with. */
export interface LeftOpen {
  readonly suspended: Map<string, string>;
  readonly letters: Map<string, string>;
  /** Of each the member `a` has ended with the result. */
  readonly flows: Map<MadeFlow, string>;
  /** Payloads of events to which nobody has reacted. */
  readonly events: Set<string>;
  steps: number;
}

interface Drive {
  /** Some of them die at any moment. */
  readonly clients: () => Clients;
  readonly dice: Chance;
  readonly forMs: number;
}

const LEASE = { leaseDuration: seconds(5) };
/** What a server that dies leaves its callers with. */
const DEAD = new Set([Code.Unavailable, Code.Aborted, Code.Canceled, Code.DeadlineExceeded, Code.Unknown]);
const LOST = new Set(['LEASE_LOST', 'EXECUTION_TERMINAL', 'WRONG_STATE']);

export async function subscribeAll(hand: EventsByHand): Promise<void> {
  await hand.subscribe('reacts', { filter: { eventTypes: ['happened'] } });
  await hand.subscribe('reacts later', { filter: { eventTypes: ['later'] } });
}

export async function driveRetirement({ clients, dice, forMs }: Drive): Promise<LeftOpen> {
  const left: LeftOpen = { suspended: new Map(), letters: new Map(), flows: new Map(), events: new Set(), steps: 0 };
  const until = monotonicMs() + forMs;
  let made = 0;
  const actor = async (step: (hand: EventsByHand, said: string) => Promise<void>, everyMs: number) => {
    while (monotonicMs() < until) {
      const said = `said ${++made}`;
      try {
        await step(new EventsByHand(clients(), `actor ${made}`), said);
        left.steps++;
      } catch (error) {
        if (!isOfTheGame(error)) throw error;
      }
      await pause(dice.below(everyMs));
    }
  };
  await Promise.all([
    actor(plain, 20),
    actor(plain, 20),
    actor((hand, said) => suspend(hand, said, left, dice), 200),
    actor((hand, said) => giveUp(hand, said, left, dice), 300),
    actor((hand, said) => flow(hand, said, left, dice), 300),
    actor((hand, said) => event(hand, said, left, dice), 100),
  ]);
  return left;
}

function isOfTheGame(error: unknown): boolean {
  if (error instanceof ItemRefused) return LOST.has(error.detail?.reason ?? '');
  // A claim that finds nothing, since another actor was faster, or a server died with it.
  if (error instanceof Error && /^expected one, got 0$/.test(error.message)) return true;
  return error instanceof ConnectError && (DEAD.has(error.code) || error.code === Code.FailedPrecondition);
}

async function plain(hand: EventsByHand, said: string): Promise<void> {
  await hand.create(...Array.from({ length: 20 }, () => ({ lane: 'plain', input: text(said) })));
  const claims = await hand.claim({ lanes: [{ lane: 'plain' }], maxExecutions: 50, ...LEASE });
  await Promise.all(claims.map(async (claim) => await hand.complete(claim)));
}

/** Some go on after a while, the others after everything. */
async function suspend(hand: EventsByHand, said: string, left: LeftOpen, dice: Chance): Promise<void> {
  const id = await hand.createOne({ lane: 'waits', input: text(said) });
  await hand.suspend(await hand.claimNamed(id, LEASE));
  left.suspended.set(id, said);
  const [other] = left.suspended.keys();
  if (other === undefined || dice.percent(50)) return;
  left.suspended.delete(other);
  await hand.signal(other);
  await hand.complete(await hand.claimNamed(other, LEASE));
}

async function giveUp(hand: EventsByHand, said: string, left: LeftOpen, dice: Chance): Promise<void> {
  const id = await hand.createOne({ lane: 'gives up', input: text(said) });
  await hand.fail(await hand.claimNamed(id, LEASE), FailureClass.PERMANENT);
  left.letters.set(id, said);
  const [other] = left.letters.keys();
  if (other === undefined || dice.percent(50)) return;
  left.letters.delete(other);
  await redrive(hand, other, undefined);
}

/** Runs the letter of an execution again, successfully; its input must be the one it had. */
export async function redrive(hand: EventsByHand, executionId: string, said: string | undefined): Promise<void> {
  const { deadLetters } = await hand.clients.deadLetters.listDeadLetters({ filter: { executionId } });
  const { deadLetterId } = only(deadLetters);
  const redriven = await hand.clients.deadLetters.redriveDeadLetter({ deadLetterId });
  const claim = await hand.claimNamed(redriven.executionId, LEASE);
  if (said !== undefined && claim.input?.body.value !== said) throw new Error(`${executionId} came without its input`);
  await hand.complete(claim);
}

async function flow(hand: EventsByHand, said: string, left: LeftOpen, dice: Chance): Promise<void> {
  const made = await hand.flow({
    members: { a: {}, b: {}, last: {} },
    links: [
      ['a', 'last'],
      ['b', 'last'],
    ],
  });
  await made.complete('a', said);
  if (dice.percent(30)) {
    left.flows.set(made, said);
    return;
  }
  await made.complete('b');
  await made.complete('last');
}

async function event(hand: EventsByHand, said: string, left: LeftOpen, dice: Chance): Promise<void> {
  if (dice.percent(20)) {
    // Before the answer: it may come to somebody who never hears it.
    await hand.publishOne({ type: 'later', payload: text(said) });
    left.events.add(said);
    return;
  }
  await hand.publishOne({ type: 'happened', payload: text(said) });
  const claims = await hand.claim({ lanes: [{ lane: 'reacts' }], maxExecutions: 20, ...LEASE });
  await Promise.all(claims.map(async (claim) => await hand.complete(claim)));
}
