/**
 * 18: retention never removes what anybody still needs. Everything here is begun, then several partitions go, and then it goes
 * on as if nothing had happened; what has ended and is needed by nobody is gone.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { FailureClass } from '../../../gen/tailrace/v1/attempt_pb.js';
import { DeadLetterState } from '../../../gen/tailrace/v1/dead_letter_pb.js';
import { ExecutionState } from '../../../gen/tailrace/v1/execution_state_pb.js';
import type { Claim } from '../../../gen/tailrace/v1/lease_pb.js';
import { only, refusal, seconds, text } from '../../support/by-hand.js';
import { BatchesByHand, slotsOf } from '../../support/events/batches-by-hand.js';
import { EventsByHand } from '../../support/events-by-hand.js';
import { broken, drops, KEEPS_LITTLE } from '../../support/retiring.js';
import { startTailrace, type TestTailrace } from '../../support/tailrace.js';
import { allOf, named } from '../../support/waits-by-hand.js';

let tailrace: TestTailrace;
let hand: EventsByHand;

beforeAll(async () => {
  tailrace = await startTailrace({ environment: KEEPS_LITTLE });
  hand = new EventsByHand(tailrace);
});
afterAll(async () => await tailrace.stop());

const inputOf = (claim: Claim) => claim.input?.body.value;
const joinedOf = (claim: Claim) => claim.joinedInputs.map(({ name, payload }) => [name, payload?.body.value]);

test('18: what is open outlives the partitions that it was made in', async () => {
  // Suspended, in its second attempt, with one of two signals.
  const suspended = await hand.createOne({ lane: 'waits', input: text('of the suspended'), tags: { is: 'suspended' } });
  await hand.fail(await hand.claimNamed(suspended), FailureClass.TRANSIENT, { retryDelay: seconds(0) });
  const holder = await hand.claimNamed(suspended, { leaseDuration: seconds(60) });
  await hand.write(holder, ['first', 'second']);
  await hand.suspend(holder, { condition: allOf(named('one'), named('two')) });
  await hand.signal(suspended, 'one', { payload: text('the first signal') });

  // A join with one of two slots filled; one that is decided, its downstream not claimed; a parent over its children.
  const open = await hand.flow({
    members: { a: {}, b: {}, last: {} },
    links: [
      ['a', 'last'],
      ['b', 'last'],
    ],
  });
  await open.complete('a', 'of a');
  const ready = await hand.flow({ members: { a: {}, last: {} }, links: [['a', 'last']] });
  await ready.complete('a', 'of the other a');
  const parent = await hand.createOne({ lane: 'parents', input: text('of the parent') });
  await hand.waitForChildren(await hand.claimNamed(parent), [
    { name: 'x', execution: { type: 'child', lane: 'children' } },
    { name: 'y', execution: { type: 'child', lane: 'children' } },
  ]);
  const [x] = await hand.claim({ lanes: [{ lane: 'children' }], maxExecutions: 1 });
  if (x === undefined) throw new Error('no child');
  await hand.complete(x, 'of x');

  // A reaction that nobody claims, and a batch of which one event has led to its end.
  await hand.subscribe('reacts', { filter: { eventTypes: ['happened'] } });
  await hand.publishOne({ type: 'happened', payload: text('of the event') });
  const batches = new BatchesByHand(tailrace);
  await batches.subscribe('read', 'page');
  await batches.join('collect', 'page.read');
  await batches.publish('page', 2);
  const [first, second] = await batches.members('read', 2);
  if (!first || !second) throw new Error('two were published');
  await batches.emit(first, { type: 'page.read', payload: text('the first page') });
  await hand.release(second);

  // A dead letter with two attempts; a flow whose failure has skipped what depends on it.
  const dead = await hand.createOne({ lane: 'dead', requestId: 'dead once', input: text('of the dead') });
  await hand.fail(await hand.claimNamed(dead), FailureClass.TRANSIENT, { retryDelay: seconds(0) });
  await hand.fail(await hand.claimNamed(dead), FailureClass.PERMANENT);
  const failed = await hand.flow({ members: { bad: {}, next: {} }, links: [['bad', 'next']] });
  await hand.fail(await failed.claim('bad'), FailureClass.PERMANENT);
  await failed.end('next');
  const over = await hand.createOne({ lane: 'over' });
  await hand.complete(await hand.claimNamed(over));

  await drops(tailrace);
  expect(await broken(tailrace)).toEqual([]);

  expect((await refusal(hand.execution(over))).reason).toBe('EXECUTION_NOT_FOUND');
  expect((await refusal(hand.claimNamed(over))).reason).toBe('EXECUTION_NOT_FOUND');

  expect(await hand.execution(suspended)).toMatchObject({ state: ExecutionState.SUSPENDED, tags: { is: 'suspended' } });
  await hand.signal(suspended, 'two', { payload: text('the second signal') });
  const resumed = await hand.claimNamed(suspended, { leaseDuration: seconds(60) });
  expect(inputOf(resumed)).toBe('of the suspended');
  expect((await hand.matched(resumed)).map(({ payload }) => payload?.body.value)).toEqual([
    'the first signal',
    'the second signal',
  ]);
  const { attempts } = await tailrace.admin.listAttempts({ executionId: suspended });
  expect(attempts.map(({ attemptNumber }) => attemptNumber).sort()).toEqual([1, 2]);
  await hand.write(resumed, ['third'], 2);
  await hand.complete(resumed);

  await open.complete('b', 'of b');
  expect(joinedOf(await open.claim('last'))).toEqual([
    ['a', 'of a'],
    ['b', 'of b'],
  ]);
  expect(joinedOf(await ready.claim('last'))).toEqual([['a', 'of the other a']]);
  await hand.complete(await hand.claimOne({ lanes: [{ lane: 'children' }] }), 'of y');
  const went = await hand.claimNamed(parent);
  expect(inputOf(went)).toBe('of the parent');
  expect(joinedOf(went)).toEqual([
    ['x', 'of x'],
    ['y', 'of y'],
  ]);

  expect(inputOf(await hand.claimOne({ lanes: [{ lane: 'reacts' }] }))).toBe('of the event');
  const again = only(await batches.members('read', 1));
  await batches.emit(again, { type: 'page.read', payload: text('the second page') });
  expect(slotsOf(await batches.joined('collect'))).toEqual([
    [0, 'OK', 'the first page'],
    [1, 'OK', 'the second page'],
  ]);

  const letterOf = async (executionId: string) => {
    const { deadLetters } = await tailrace.deadLetters.listDeadLetters({ filter: { executionId } });
    return only(deadLetters);
  };
  const letter = await letterOf(dead);
  expect(letter).toMatchObject({ state: DeadLetterState.OPEN, attemptCount: 2 });
  const shown = await tailrace.deadLetters.getDeadLetter({ deadLetterId: letter.deadLetterId });
  expect(shown.attempts.map(({ attemptNumber }) => attemptNumber)).toEqual([1, 2]);
  const redriven = await tailrace.deadLetters.redriveDeadLetter({ deadLetterId: letter.deadLetterId });
  const redone = await hand.claimNamed(redriven.executionId);
  expect(inputOf(redone)).toBe('of the dead');
  expect(redone.idempotencyKey).toContain(dead);
  await hand.complete(redone);

  const { deadLetterId } = await letterOf(failed.of('bad'));
  await tailrace.deadLetters.redriveDeadLetter({ deadLetterId });
  await failed.complete('bad', 'well');
  expect(joinedOf(await failed.claim('next'))).toEqual([['bad', 'well']]);
  expect(await broken(tailrace)).toEqual([]);
});
