/** Events that are published with a completion: made once, with the one that is accepted. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { CancelMode } from '../../../gen/tailrace/v1/cancel_pb.js';
import { ClaimNextMode, type Completion } from '../../../gen/tailrace/v1/engine_service_pb.js';
import type { Event } from '../../../gen/tailrace/v1/event_pb.js';
import { ExecutionState } from '../../../gen/tailrace/v1/execution_state_pb.js';
import { FrameMode } from '../../../gen/tailrace/v1/frame_pb.js';
import type { Claim } from '../../../gen/tailrace/v1/lease_pb.js';
import { ByHand, type Init, leaseOf, ok, only, refusal, seconds, text } from '../../support/by-hand.js';
import { FlowsByHand } from '../../support/flows-by-hand.js';
import { Recorded } from '../../support/history/recorded.js';
import { startTailrace } from '../../support/tailrace.js';

const long = { leaseDuration: seconds(60) };

let recorded: Recorded;
let hand: FlowsByHand;
beforeAll(async () => {
  recorded = await Recorded.start();
  hand = new FlowsByHand(recorded.clients);
});
afterAll(() => recorded.stop());

const completing = (claim: Claim, more: Init<Completion>) => ({ lease: leaseOf(claim), result: text('done'), ...more });

async function complete(claim: Claim, more: Init<Completion>) {
  const { results } = await recorded.clients.engine.completeExecutions({ completions: [completing(claim, more)] });
  return ok(only(results));
}

async function running(spec: object = {}): Promise<Claim> {
  return await hand.claimNamed(await hand.createOne(spec), long);
}

async function subscribe(name: string, types: string[], more: object = {}): Promise<void> {
  await recorded.clients.admin.putSubscription({
    subscription: { name, filter: { eventTypes: types }, lane: name, type: name, ...more },
  });
}

async function eventOf(eventId: string): Promise<Event> {
  const { event } = await recorded.clients.engine.getEvent({ eventId });
  if (event === undefined) throw new Error('no such event');
  return event;
}

const eventsOf = (ids: readonly string[]) => Promise.all(ids.map(eventOf));

test('2: a completion and what it emits are one: once, whoever repeats, and other content is refused', async () => {
  await subscribe('bill', ['order.placed']);
  const flow = await hand.flow({ members: { shop: {} } });
  const claim = await flow.claim('shop', long);
  const events = [
    {
      type: 'order.placed',
      payload: text('order 1'),
      tags: { country: 'at' },
      headers: { trace: '1' },
      schemaVersion: 3,
    },
    { type: 'order.noted', occurTime: { seconds: 1_700_000_000n, nanos: 0 } },
  ];
  const first = await complete(claim, { events });
  const again = await complete(claim, { events });
  expect(again).toMatchObject({ duplicate: true, eventIds: first.eventIds });
  expect(await refusal(complete(claim, { events: [...events].reverse() }))).toMatchObject({
    reason: 'EXECUTION_TERMINAL',
  });
  const [placed, noted] = await eventsOf(first.eventIds);
  expect(placed).toMatchObject({
    type: 'order.placed',
    flowId: flow.id,
    causeExecutionId: claim.executionId,
    causeEventId: '',
    hops: 1,
    tags: { country: 'at' },
    headers: { trace: '1' },
    schemaVersion: 3,
  });
  expect(noted).toMatchObject({ type: 'order.noted', occurTime: { seconds: 1_700_000_000n } });
  const bill = await hand.claimOne({ lanes: [{ lane: 'bill' }] });
  expect(bill.flowId).toBe(flow.id);
  // The next hop: what it emits is caused by what it reacts to.
  const [next] = await eventsOf((await complete(bill, { events: [{ type: 'order.billed' }] })).eventIds);
  expect(next).toMatchObject({
    causeEventId: placed?.eventId,
    causeExecutionId: bill.executionId,
    hops: 2,
    flowId: flow.id,
  });
});

test('what stands in no flow starts one for all that it emits', async () => {
  const { eventIds } = await complete(await running(), { events: [{ type: 'lone.a' }, { type: 'lone.b' }] });
  const [a, b] = await eventsOf(eventIds);
  expect(a?.flowId).not.toBe('');
  expect(b?.flowId).toBe(a?.flowId);
  const { flow } = await recorded.clients.admin.getFlow({ flowId: a?.flowId ?? '' });
  expect(flow?.flowId).toBe(a?.flowId);
});

test('25: of two that expect the same version of a stream one completes, and the other goes on running', async () => {
  const claims = [await running(), await running(), await running()];
  const append = (version: bigint) => ({ events: [{ type: 'row', stream: 's', expectedStreamVersion: version }] });
  const [first, second, third] = claims;
  if (!first || !second || !third) throw new Error('three were claimed');
  const { results } = await recorded.clients.engine.completeExecutions({
    completions: [
      completing(first, {
        events: [
          { type: 'row', stream: 's', expectedStreamVersion: 0n },
          { type: 'row', stream: 's' },
        ],
      }),
      completing(second, append(1n)),
      completing(third, append(2n)),
    ],
  });
  const versions = await eventsOf(results.flatMap(({ result }) => (result.case === 'ok' ? result.value.eventIds : [])));
  expect(versions.map(({ streamVersion }) => streamVersion)).toEqual([1n, 2n, 3n]);
  expect(results[1]?.result).toMatchObject({
    case: 'error',
    value: { detail: { reason: 'STREAM_VERSION_CONFLICT', metadata: { stream: 's', current_version: '2' } } },
  });
  expect(await hand.state(second.executionId)).toBe(ExecutionState.RUNNING);
  const [fourth] = await eventsOf((await complete(second, append(3n))).eventIds);
  expect(fourth?.streamVersion).toBe(4n);
});

test('frames, children and events of one completion stand or fall together', async () => {
  const whole = {
    frames: [{ mode: FrameMode.DURABLE, type: 'last', payload: text('…') }],
    children: [{ type: 'child', lane: 'children of events' }],
  };
  const refused = await running();
  const late = { ...whole, events: [{ type: 'x', stream: 'with children', expectedStreamVersion: 7n }] };
  expect(await refusal(complete(refused, late))).toMatchObject({ reason: 'STREAM_VERSION_CONFLICT' });
  const events = [{ type: 'x', stream: 'with children', expectedStreamVersion: 0n }];
  const taken = await complete(refused, { ...whole, events });
  expect([taken.childExecutionIds.length, taken.eventIds.length]).toEqual([1, 1]);
  const streamed = await complete(await running(), {
    frames: whole.frames,
    events: [{ type: 'x', stream: 'with children' }],
  });
  expect((await eventsOf(streamed.eventIds))[0]?.streamVersion).toBe(2n);
  expect((await complete(await running(), { frames: whole.frames, events: [{ type: 'x' }] })).eventIds).toHaveLength(1);
});

test('claim_next hands over what a completion with events releases in its flow', async () => {
  const flow = await hand.flow({ members: { a: {}, b: {} }, links: [['a', 'b']] });
  const { claims } = await recorded.clients.engine.completeExecutions({
    completions: [completing(await flow.claim('a', long), { events: [{ type: 'a.done' }] })],
    claimNext: { mode: ClaimNextMode.SUCCESSORS, worker: hand.worker, lanes: [{ lane: flow.lane }] },
  });
  expect(claims.map(({ type }) => type)).toEqual(['b']);
  await hand.complete(only(claims));
});

test('events of a canceled flow are stored and start nothing', async () => {
  await subscribe('never', ['too.late']);
  const flow = await hand.flow({ members: { a: {} } });
  const claim = await flow.claim('a', long);
  await flow.cancel({ policy: { mode: CancelMode.COOPERATIVE, grace: seconds(60) } });
  const { eventIds } = await complete(claim, { events: [{ type: 'too.late' }] });
  expect(await eventOf(only(eventIds))).toMatchObject({ type: 'too.late', flowId: flow.id });
  expect(await hand.claim({ lanes: [{ lane: 'never' }], wait: seconds(0) })).toEqual([]);
});

test('a group is a batch; the one event without a group takes over the slot of who emits it', async () => {
  await subscribe('member', ['member']);
  const group = Array.from({ length: 3 }, () => ({ type: 'member', batchGroup: 'g' }));
  const { eventIds } = await complete(await running(), { events: [...group, { type: 'apart' }] });
  const [first, second, third, apart] = await eventsOf(eventIds);
  const batchId = first?.batch?.batchId;
  expect([first, second, third].map((event) => event?.batch)).toMatchObject(
    [0, 1, 2].map((index) => ({ batchId, index, size: 3 })),
  );
  expect(apart?.batch).toBeUndefined();
  const members = await hand.claim({ lanes: [{ lane: 'member' }], maxExecutions: 3, ...long });
  expect(members).toHaveLength(3);
  const place = async (claim: Claim | undefined, events: object[]) => {
    if (claim === undefined) throw new Error('three were claimed');
    return (await eventsOf((await complete(claim, { events })).eventIds)).map(({ batch }) => batch);
  };
  const slots = [
    await place(members[0], [{ type: 'any' }]),
    await place(members[1], [{ type: 'any' }, { type: 'any' }]),
  ];
  expect(slots).toMatchObject([[{ batchId, size: 3 }], [undefined, undefined]]);
  await subscribe('joined', ['counted'], { batchJoin: { eventType: 'counted' } });
  const counted = await place(members[2], [{ type: 'any' }, { type: 'counted' }, { type: 'any', batchGroup: 'own' }]);
  expect(counted).toMatchObject([undefined, { batchId }, { index: 0, size: 1 }]);
});

test('ten thousand events come with one completion', async () => {
  // On a server of its own: a history of so many takes long to judge.
  const tailrace = await startTailrace();
  const alone = new ByHand(tailrace);
  const lease = leaseOf(await alone.claimNamed(await alone.createOne(), long));
  const events = Array.from({ length: 10_000 }, (_, i) => ({ type: 'many', batchGroup: 'all', payload: text(`${i}`) }));
  const { results } = await tailrace.engine.completeExecutions({ completions: [{ lease, events }] });
  const { eventIds } = ok(only(results));
  expect(new Set(eventIds).size).toBe(10_000);
  const { event } = await tailrace.engine.getEvent({ eventId: eventIds.at(-1) ?? '' });
  expect(event).toMatchObject({ payload: { body: { value: '9999' } }, batch: { index: 9_999, size: 10_000 } });
  await tailrace.stop();
});
