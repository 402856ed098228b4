/** Subscriptions to dead letters: what is given up is handed to a handler, once, and its own failure breeds nothing. */
import { fromJson } from '@bufbuild/protobuf';
import { afterAll, beforeAll, describe, expect, it, test } from 'vitest';
import { FailureClass } from '../../gen/tailrace/v1/attempt_pb.js';
import { PoisonPolicy, SplitKey } from '../../gen/tailrace/v1/consumer_pb.js';
import {
  type DeadLetter,
  DeadLetterResolution,
  DeadLetterSchema,
  DeadLetterState,
} from '../../gen/tailrace/v1/dead_letter_pb.js';
import { BlockKind } from '../../gen/tailrace/v1/execution_pb.js';
import { ExecutionState } from '../../gen/tailrace/v1/execution_state_pb.js';
import type { Claim } from '../../gen/tailrace/v1/lease_pb.js';
import { LogEntryKind, StartPosition } from '../../gen/tailrace/v1/log_pb.js';
import type { SubscriptionSpec } from '../../gen/tailrace/v1/subscription_pb.js';
import { type Init, leaseOf, ok, refusal, seconds, text } from '../support/by-hand.js';
import { ConsumersByHand, entriesOf, payloadsOf } from '../support/consumers-by-hand.js';
import { crashAt } from '../support/crash-point.js';
import { eventually } from '../support/eventually.js';
import { FlowsByHand } from '../support/flows-by-hand.js';
import { Recorded } from '../support/history/recorded.js';

const { OPEN, REDRIVING, CLOSED } = DeadLetterState;
const { HANDLER_FAILED, IGNORED, REDRIVEN } = DeadLetterResolution;
const { PERMANENT, TRANSIENT } = FailureClass;
const kinds = [LogEntryKind.DEAD_LETTER_OPENED];
const long = { leaseDuration: seconds(600) };

let recorded: Recorded;
let hand: ConsumersByHand;
beforeAll(async () => {
  recorded = await Recorded.start();
  hand = new ConsumersByHand(recorded.clients);
});
afterAll(() => recorded.stop());

let made = 0;
/** A lane of its own, and a subscription to the letters of that lane, whose handlers stand in another. */
async function handled(more: Omit<Init<SubscriptionSpec>, 'name'> = {}) {
  const lane = `failing ${++made}`;
  const subscription = `handler ${made}`;
  await hand.subscribe(subscription, { filter: { kinds, lanes: [lane] }, ...more });
  return { lane, subscription };
}

const handlerOf = (subscription: string) => hand.claimOne({ lanes: [{ lane: subscription }], ...long });
const inputOf = ({ input }: Claim): DeadLetter => fromJson(DeadLetterSchema, JSON.parse(String(input?.body.value)));

async function letter(deadLetterId: string): Promise<DeadLetter> {
  const { deadLetter } = await recorded.clients.deadLetters.getDeadLetter({ deadLetterId });
  if (deadLetter === undefined) throw new Error('an answer without a letter');
  return deadLetter;
}

const giveUp = async (claim: Claim, message = 'no') =>
  (await hand.fail(claim, PERMANENT, { failure: { failureClass: PERMANENT, message } })).deadLetterId;

const giveUpOne = async (lane: string, more = {}) =>
  await giveUp(await hand.claimNamed(await hand.createOne({ lane, ...more })));

describe('a letter', () => {
  it('is handed out as it was opened, to an execution in no flow and one hop further', async () => {
    const { lane, subscription } = await handled({ tags: { by: 'handler' }, priority: 7 });
    const details = {
      contentType: 'application/octet-stream',
      body: { case: 'data' as const, value: new Uint8Array([255, 0]) },
    };
    const flow = await new FlowsByHand(recorded.clients).flow(
      { members: { only: { tags: { who: 'me' }, input: text('what it was given'), optionalInFlow: true } } },
      {},
      lane,
    );
    const failed = await hand.claimNamed(flow.of('only'));
    const failure = { failureClass: PERMANENT, message: 'it does "not" work', code: 'Broken', details };
    const { deadLetterId } = await hand.fail(failed, PERMANENT, { failure });
    const claim = await handlerOf(subscription);
    const { $typeName: _, ...opened } = await letter(deadLetterId);
    expect(inputOf(claim)).toMatchObject(opened);
    expect(claim).toMatchObject({
      ...{ type: subscription, hops: 1, flowId: '', priority: 7, tags: { who: 'me', by: 'handler' } },
      trigger: { subscription, subscriptionVersion: 1n },
    });
    expect(claim.trigger?.subject.value).toMatchObject({
      kind: kinds[0],
      subject: deadLetterId,
      lane,
      flowId: flow.id,
    });
    expect(await hand.execution(claim.executionId)).toMatchObject({ handledDeadLetterId: deadLetterId, flowId: '' });
    // What it does about it is its own affair.
    const redriven = await recorded.clients.deadLetters.redriveDeadLetter({ deadLetterId });
    await hand.complete(claim);
    expect(await letter(deadLetterId)).toMatchObject({ state: REDRIVING });
    await hand.complete(await hand.claimNamed(redriven.executionId));
    expect(await letter(deadLetterId)).toMatchObject({ state: CLOSED, resolution: REDRIVEN });
    await flow.ended();
  });

  it('is handed to whom it concerns: by lane, type, tags and flow, and only what is opened from then on', async () => {
    const lane = 'many concern it';
    const flow = await new FlowsByHand(recorded.clients).flow({ members: { a: {}, b: {} } }, { open: true }, lane);
    await giveUpOne(lane);
    const filters = {
      lane: { lanes: [lane] },
      type: { types: ['one', 'two'], lanes: [lane] },
      tag: { tags: { colour: 'red' } },
      flow: { flowId: flow.id },
    };
    const names = Object.keys(filters);
    for (const [name, filter] of Object.entries(filters)) await hand.subscribe(name, { filter: { kinds, ...filter } });
    const letters = {
      plain: await giveUpOne(lane),
      'of a type': await giveUpOne(lane, { type: 'two' }),
      'of a colour': await giveUpOne('elsewhere', { tags: { colour: 'red' } }),
      'of the flow': await giveUp(await hand.claimNamed(flow.of('a'))),
      'of no concern': await giveUpOne('elsewhere', { tags: { colour: 'blue' } }),
    };
    const told = () =>
      Promise.all(
        names.map(async (name) => {
          const ids = (await hand.reactionsOf(name)).map(({ handledDeadLetterId }) => handledDeadLetterId);
          return [name, Object.entries(letters).flatMap(([what, id]) => (ids.includes(id) ? [what] : []))] as const;
        }),
      );
    const expected = {
      lane: ['plain', 'of a type', 'of the flow'],
      type: ['of a type'],
      tag: ['of a colour'],
      flow: ['of the flow'],
    };
    await eventually(async () => (await told()).reduce((sum, [, found]) => sum + found.length, 0) >= 6);
    expect(Object.fromEntries(await told())).toEqual(expected);
    for (const name of names) await recorded.clients.admin.deleteSubscription({ subscription: name });
    await flow.cancel();
  });

  it('with too many hops behind it waits for a person, as does one that was dealt with in time', async () => {
    const subscription = 'of events and others';
    await hand.subscribe(subscription, { filter: { kinds, types: ['last', 'canary'] } });
    const chain = Array.from({ length: 65 }, (_, i) => ({
      ...{ type: 'step', eventId: `step ${i}` },
      ...(i > 0 && { causeEventId: `step ${i - 1}` }),
    }));
    await hand.publish(...chain, { type: 'last', eventId: 'last', causeEventId: 'step 64' });
    const canary = await giveUpOne('anywhere', { type: 'canary' });
    const claim = await handlerOf(subscription);
    expect(inputOf(claim).deadLetterId).toBe(canary);
    await hand.complete(claim);
    expect(await hand.reactionsOf(subscription)).toHaveLength(1);
    const { deadLetters } = await recorded.clients.deadLetters.listDeadLetters({ filter: { types: ['last'] } });
    expect(deadLetters).toMatchObject([{ state: OPEN, eventId: 'last' }]);
  });
});

describe('proof 28: a handler that gives up', () => {
  it('closes its letter with its message, whoever it held up goes on, and no second one is opened', async () => {
    const { lane, subscription } = await handled({ retryPolicy: { maxAttempts: 2, initialBackoff: seconds(0.01) } });
    const [a = '', b = ''] = await hand.create({ lane, orderingKey: 'k' }, { lane, orderingKey: 'k' });
    const deadLetterId = await giveUp(await hand.claimNamed(a));
    expect(await hand.execution(b)).toMatchObject({ block: { kind: BlockKind.ORDERING_KEY } });
    const failing = { failure: { failureClass: TRANSIENT, message: 'the handler fails too' } };
    await hand.fail(await handlerOf(subscription), TRANSIENT, failing);
    expect(await letter(deadLetterId)).toMatchObject({ state: OPEN, version: 1n });
    const claim = await handlerOf(subscription);
    expect(await hand.fail(claim, TRANSIENT, failing)).toMatchObject({
      state: ExecutionState.FAILED,
      deadLetterId: '',
    });
    expect(await letter(deadLetterId)).toMatchObject({
      ...{ state: CLOSED, resolution: HANDLER_FAILED, version: 2n },
      ...{ note: 'the handler fails too', actor: subscription, failure: { message: 'no' } },
    });
    await hand.complete(await hand.claimOne({ lanes: [{ lane }], wait: seconds(10) }));
    expect(await hand.state(b)).toBe(ExecutionState.SUCCEEDED);
    const { deadLetters } = await recorded.clients.deadLetters.listDeadLetters({
      filter: { lanes: [lane, subscription] },
    });
    expect(deadLetters).toHaveLength(1);
    expect(await hand.reactionsOf(subscription)).toHaveLength(1);
    const { count } = await recorded.clients.deadLetters.countDeadLetters({ filter: { lanes: [subscription] } });
    expect(count).toBe(0n);
  });

  it('leaves what somebody else has decided; of several the first one closes it', async () => {
    const { lane, subscription } = await handled();
    const first = await giveUpOne(lane);
    const late = await handlerOf(subscription);
    const resolved = { deadLetters: [{ deadLetterId: first }], resolution: IGNORED, note: 'mine' };
    await recorded.clients.deadLetters.resolveDeadLetters(resolved);
    await giveUp(late, 'late');
    expect(await letter(first)).toMatchObject({ state: CLOSED, resolution: IGNORED, note: 'mine', version: 2n });
    await hand.subscribe(`${subscription} too`, { filter: { kinds, lanes: [lane] } });
    const second = await giveUpOne(lane);
    const claims = [await handlerOf(subscription), await handlerOf(`${subscription} too`)];
    await Promise.all(claims.map((claim, i) => giveUp(claim, `number ${i}`)));
    expect(await letter(second)).toMatchObject({ state: CLOSED, resolution: HANDLER_FAILED, version: 2n });
  });

  it('of time, or canceled: the one closes it, the other leaves it open', async () => {
    const { lane, subscription } = await handled({ ttl: seconds(0.1) });
    const expired = await giveUpOne(lane);
    await eventually(async () => (await letter(expired)).state === CLOSED);
    expect(await letter(expired)).toMatchObject({ resolution: HANDLER_FAILED, actor: subscription });
    const other = await handled();
    const open = await giveUpOne(other.lane);
    await hand.cancel((await handlerOf(other.subscription)).executionId);
    expect(await letter(open)).toMatchObject({ state: OPEN, version: 1n });
  });
});

test('many letters at two servers: each is handed out once, and closed once', async () => {
  const { lane, subscription } = await handled();
  await recorded.another();
  const count = 250;
  const failAll = async (of: string) => {
    const claims: Claim[] = [];
    while (claims.length < count) {
      claims.push(...(await hand.claim({ lanes: [{ lane: of }], maxExecutions: 250, wait: seconds(10), ...long })));
    }
    const reports = claims.map((claim) => ({ lease: leaseOf(claim), failure: { failureClass: PERMANENT } }));
    (await recorded.clients.engine.failExecutions({ reports })).results.map((result) => ok(result));
    return claims;
  };
  await hand.create(...Array.from({ length: count }, () => ({ lane })));
  await failAll(lane);
  const handlers = await failAll(subscription);
  expect(new Set(handlers.map((claim) => inputOf(claim).deadLetterId)).size).toBe(count);
  const states = [CLOSED];
  const filter = { lanes: [lane], states, resolutions: [HANDLER_FAILED] };
  expect((await recorded.clients.deadLetters.countDeadLetters({ filter })).count).toBe(BigInt(count));
  expect(await hand.reactionsOf(subscription)).toHaveLength(count);
});

test('a parked entry is handed out, what is parked behind it is not; a handler that gives up lets that go', async () => {
  const name = 'parks';
  await hand.subscribe('of entries', { filter: { kinds, types: [name] } });
  const parking = { poisonPolicy: PoisonPolicy.PARK, splitKey: SplitKey.STREAM, maxTries: 1 };
  await hand.consumer(name, { filter: { eventTypes: [name] }, ...parking });
  const owner = await hand.owner(name, { leaseDuration: seconds(60) });
  await hand.publish(...['poison', 'behind'].map((value) => ({ type: name, stream: 'one', payload: text(value) })));
  const [delivery] = (await owner.fetch({ wait: seconds(10) })).deliveries;
  if (delivery === undefined) throw new Error('nothing was delivered');
  await owner.fail(delivery);
  expect((await owner.fetch()).deliveries).toEqual([]); // parked behind it
  const claim = await handlerOf('of entries');
  const { $typeName: _, subject, ...opened } = inputOf(claim);
  expect(await letter(opened.deadLetterId)).toMatchObject({ ...opened, subject });
  expect(opened).toMatchObject({ consumer: name, input: { body: { value: 'poison' } } });
  await giveUp(claim, 'poison it is');
  expect(await letter(opened.deadLetterId)).toMatchObject({ state: CLOSED, resolution: HANDLER_FAILED });
  const seen: unknown[] = [];
  while (seen.length === 0) {
    const answer = await owner.fetch({ wait: seconds(10) });
    seen.push(...payloadsOf(entriesOf(answer)));
    await owner.commit(answer);
  }
  expect(seen).toEqual(['behind']);
  expect(await hand.reactionsOf('of entries')).toHaveLength(1);
});

test('of parked entries that come again together only the one that fails is handed out', async () => {
  const name = 'parks again';
  await hand.subscribe('of failed ones', { filter: { kinds, types: [name] } });
  const parking = { poisonPolicy: PoisonPolicy.PARK, splitKey: SplitKey.STREAM, maxTries: 1 };
  await hand.consumer(name, { filter: { eventTypes: [name] }, ...parking });
  const owner = await hand.owner(name, { leaseDuration: seconds(60) });
  await hand.publish(...['1', '2', '3'].map((value) => ({ type: name, stream: 'one', payload: text(value) })));
  const failFirst = async () => {
    const { deliveries } = await owner.fetch({ wait: seconds(10) });
    const [delivery] = deliveries;
    if (delivery === undefined) throw new Error('nothing was delivered');
    await owner.fail(delivery);
    return payloadsOf(deliveries.flatMap(({ entry }) => entry ?? []));
  };
  await failFirst();
  await owner.commit(await owner.fetch()); // the others are parked behind it
  await giveUp(await handlerOf('of failed ones'));
  expect(await failFirst()).toEqual(['2', '3']);
  expect(inputOf(await handlerOf('of failed ones')).input?.body.value).toBe('2');
  expect(await hand.reactionsOf('of failed ones')).toHaveLength(2);
});

test('a parked entry has the hops behind it of the execution that it is about', async () => {
  const { lane, subscription } = await handled();
  await hand.subscribe('of parked ends', { filter: { kinds, types: [subscription] } });
  const filter = { kinds: [LogEntryKind.EXECUTION_SUCCEEDED], types: [subscription] };
  const parking = { poisonPolicy: PoisonPolicy.PARK, maxTries: 1 };
  await hand.consumer('parks ends', { filter, ...parking });
  await giveUpOne(lane);
  const handler = await handlerOf(subscription);
  await hand.complete(handler);
  const owner = await hand.owner('parks ends', { leaseDuration: seconds(60) });
  const [delivery] = (await owner.fetch({ wait: seconds(10) })).deliveries;
  if (delivery === undefined) throw new Error('nothing was delivered');
  expect(delivery.entry?.executionId).toBe(handler.executionId);
  await owner.fail(delivery);
  expect(await handlerOf('of parked ends')).toMatchObject({ hops: handler.hops + 1 });
});

test('a server that dies when it has handed one out does not hand it out again', async () => {
  const operation = {
    matters: /^sweeping\.letters$/,
    points: [1],
    prepare: async (there: ConsumersByHand) => {
      await there.subscribe('handler', { filter: { kinds, lanes: ['failing'] } });
      const claim = await there.claimNamed(await there.createOne({ lane: 'failing' }), long);
      return {
        act: async (caller: ConsumersByHand) => await caller.fail(claim, PERMANENT),
        finished: async (after: ConsumersByHand) => {
          await after.complete(await after.claimOne({ lanes: [{ lane: 'handler' }], ...long }));
          expect(await after.reactionsOf('handler')).toHaveLength(1);
        },
      };
    },
  };
  await crashAt(1, operation, (clients) => new ConsumersByHand(clients));
});

test('a subscription to letters refuses what only events have, and stays one', async () => {
  const { admin } = recorded.clients;
  const put = (more: Omit<Init<SubscriptionSpec>, 'name'>) =>
    refusal(admin.putSubscription({ subscription: { name: 'refused', type: 'refused', filter: { kinds }, ...more } }));
  const source = { case: 'flow' as const, value: true };
  const refused: Readonly<Record<string, Omit<Init<SubscriptionSpec>, 'name'>>> = {
    'filter.event_types': { filter: { kinds, eventTypes: ['x'] } },
    'filter.streams': { filter: { kinds, streams: ['x'] } },
    'filter.execution_id': { filter: { kinds, executionId: '0190a5a0-0000-7000-8000-000000000000' } },
    'filter.kinds': { filter: { kinds: [...kinds, LogEntryKind.EVENT_PUBLISHED] } },
    payload_matches: { payloadMatches: [{ pointer: '/a', values: ['b'] }] },
    event_type_prefixes: { eventTypePrefixes: ['x'] },
    stream_prefixes: { streamPrefixes: ['x'] },
    headers: { headers: { a: 'b' } },
    concurrency_key: { concurrencyKey: { source } },
    ordering_key: { orderingKey: { source } },
    failure_events: { failureEvents: [{ event: { type: 'x' } }] },
    batch_join: { batchJoin: {} },
    optional_in_flow: { optionalInFlow: true },
    start: { start: StartPosition.EARLIEST },
  };
  for (const [field, more] of Object.entries(refused)) {
    const { reason, fieldViolations } = await put(more);
    expect([reason, fieldViolations.map((violation) => violation.field)]).toEqual([
      'INVALID_FIELD',
      [`subscription.${field}`],
    ]);
  }
  expect(await put({ filter: { kinds: [LogEntryKind.DEAD_LETTER_CLOSED] } })).toMatchObject({
    reason: 'UNIMPLEMENTED',
  });
  await hand.subscribe('steady', { filter: { kinds, lanes: ['nowhere'] } });
  const events = { name: 'steady', type: 'steady', filter: { eventTypes: ['x'] } };
  expect(await refusal(admin.putSubscription({ subscription: events }))).toMatchObject({
    ...{ reason: 'INVALID_FIELD', fieldViolations: [{ field: 'subscription.filter.kinds' }] },
  });
  expect((await admin.listSubscriptions({ eventType: 'x' })).subscriptions).toEqual([]);
  expect((await hand.subscribe('steady', { filter: { kinds, lanes: ['somewhere'] } })).version).toBe(2n);
});
