/** What a reaction is given: the event it reacts to, its payload as input, its place in a batch, its hops. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { FailureClass } from '../../../gen/tailrace/v1/attempt_pb.js';
import type { EventSpec } from '../../../gen/tailrace/v1/event_pb.js';
import type { Claim } from '../../../gen/tailrace/v1/lease_pb.js';
import { type Init, leaseOf, ok, only, seconds, text } from '../../support/by-hand.js';
import { FlowsByHand } from '../../support/flows-by-hand.js';
import { Recorded } from '../../support/history/recorded.js';

const long = { leaseDuration: seconds(60) };

let recorded: Recorded;
let hand: FlowsByHand;
beforeAll(async () => {
  recorded = await Recorded.start();
  hand = new FlowsByHand(recorded.clients);
});
afterAll(() => recorded.stop());

async function subscribe(name: string, more: object = {}): Promise<void> {
  await recorded.clients.admin.putSubscription({
    subscription: { name, filter: { eventTypes: [name] }, lane: name, type: name, ...more },
  });
}

async function publish(...events: Init<EventSpec>[]): Promise<string[]> {
  const { results } = await recorded.clients.engine.publishEvents({ events });
  return results.map((result) => ok(result).eventId);
}

const claim = (lane: string, more: object = {}) => hand.claim({ lanes: [{ lane }], ...long, ...more });

async function complete(claimed: Claim, more: object): Promise<{ childExecutionIds: string[]; eventIds: string[] }> {
  const completions = [{ lease: leaseOf(claimed), ...more }];
  return ok(only((await recorded.clients.engine.completeExecutions({ completions })).results));
}

test('a claim tells what it reacts to, at every attempt, and the desk shows the same', async () => {
  await subscribe('told', { tags: { team: 'a' }, orderingKey: { source: { case: 'header', value: 'account' } } });
  const group = (payload: string) => ({ type: 'told', payload: text(payload), batchGroup: 'both' });
  const [first] = await publish(
    {
      ...group('one'),
      eventId: 'told/1',
      tags: { country: 'at' },
      headers: { account: '7' },
      stream: 'told',
      schemaVersion: 2,
    },
    { ...group('two'), headers: { account: '8' } },
  );
  const claims = await claim('told', { maxExecutions: 2 });
  const one = claims.find(({ orderingKey }) => orderingKey === '7') ?? only([]);
  expect(one).toMatchObject({
    input: { body: { value: 'one' } },
    batch: { index: 0, size: 2 },
    hops: 0,
    tags: { country: 'at', team: 'a' },
    trigger: {
      subscription: 'told',
      subscriptionVersion: 1n,
      subject: {
        case: 'event',
        value: {
          eventId: first,
          type: 'told',
          payloadOmitted: true,
          stream: 'told',
          streamVersion: 1n,
          flowId: one.flowId,
          batch: { index: 0, size: 2 },
          headers: { account: '7' },
          schemaVersion: 2,
        },
      },
    },
  });
  const shown = {
    triggerEventId: 'told/1',
    subscription: 'told',
    subscriptionVersion: 1n,
    batch: one.batch,
    hops: 0,
    input: { body: { value: 'one' } },
  };
  const { execution } = await recorded.clients.admin.getExecution({ executionId: one.executionId });
  expect(execution).toMatchObject(shown);
  const filter = { subscription: 'told' };
  const listed = await recorded.clients.admin.listExecutions({ filter, includePayloads: true });
  expect(listed.executions.map(({ executionId }) => executionId).sort()).toEqual(
    claims.map(({ executionId }) => executionId).sort(),
  );
  expect(listed.executions.find(({ executionId }) => executionId === one.executionId)).toMatchObject(shown);
  expect((await recorded.clients.admin.listExecutions({ filter: { subscription: 'none' } })).executions).toEqual([]);
  await hand.fail(one, FailureClass.TRANSIENT, { retryDelay: seconds(0) });
  const again = only(await claim('told'));
  expect([again.attemptNumber, again.trigger, again.input]).toEqual([2, one.trigger, one.input]);
  for (const held of [again, ...claims.filter((other) => other !== one)]) await hand.complete(held);
});

test('a redrive reacts to the same event, with the input that it is given', async () => {
  await subscribe('redone');
  const [event] = await publish({ type: 'redone', payload: text('as published') });
  const { deadLetterId } = await hand.fail(only(await claim('redone')), FailureClass.PERMANENT);
  await recorded.clients.deadLetters.redriveDeadLetter({ deadLetterId, input: text('edited') });
  const again = only(await claim('redone'));
  expect(again).toMatchObject({
    input: { body: { value: 'edited' } },
    trigger: { subject: { value: { eventId: event } }, subscription: 'redone' },
  });
  await hand.complete(again);
});

test('children count the hops of their parent, and what they emit one more', async () => {
  await subscribe('far');
  const [root] = await publish({ type: 'far' });
  const near = only(await claim('far'));
  await complete(near, { events: [{ type: 'far' }] });
  const next = only(await claim('far'));
  expect([next.hops, next.trigger?.subject.value]).toMatchObject([1, { causeEventId: root, hops: 1 }]);
  const child = { type: 'child', lane: 'far children' };
  const { childExecutionIds } = await complete(next, { children: [child] });
  const made = await hand.claimNamed(only(childExecutionIds), long);
  expect([made.hops, made.trigger]).toEqual([1, undefined]);
  await hand.waitForChildren(made, [{ execution: { ...child, type: 'grandchild' } }]);
  const grandchild = only(await claim('far children'));
  const { eventIds } = await complete(grandchild, { events: [{ type: 'end' }] });
  const { event } = await recorded.clients.engine.getEvent({ eventId: only(eventIds) });
  expect([grandchild.hops, event?.hops, event?.causeEventId]).toEqual([1, 2, '']);
  await hand.complete(only(await claim('far children')));
});

test('the payloads of one answer stay within what clients take', async () => {
  await subscribe('large');
  await publish(...Array.from({ length: 4 }, () => ({ type: 'large', payload: text('x'.repeat(1_000_000)) })));
  const first = await claim('large', { maxExecutions: 4 });
  const rest = await claim('large', { maxExecutions: 4 });
  expect([first.length, rest.length]).toEqual([3, 1]);
  for (const held of [...first, ...rest]) {
    expect(held.input?.body.value).toHaveLength(1_000_000);
    await hand.complete(held);
  }
});
