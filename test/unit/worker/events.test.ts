/** Handlers of events: what they are given, what they may return, what is emitted with which end, and what they subscribe to. */
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { Code, ConnectError } from '@connectrpc/connect';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { FailureClass } from '../../../gen/tailrace/v1/attempt_pb.js';
import { DeadLetterReason } from '../../../gen/tailrace/v1/dead_letter_reason_pb.js';
import { ErrorDetailSchema } from '../../../gen/tailrace/v1/error_pb.js';
import { DeadHeadPolicy } from '../../../gen/tailrace/v1/execution_pb.js';
import { JoinMode, OnJoinTimeout, SlotOutcome } from '../../../gen/tailrace/v1/join_pb.js';
import { Content, text, toPayload } from '../../../src/client/content.js';
import { Client, type NewEvent } from '../../../src/client/index.js';
import {
  type BatchMember,
  EventContentError,
  type HandlerContext,
  type Reaction,
  type ReceivedEvent,
  Worker,
} from '../../../src/worker/index.js';
import { claimOf } from './claims.js';
import { FakeEngine } from './fake-engine.js';

const events = {
  'order.placed': z.object({ order: z.string(), amount: z.number().positive(), at: z.coerce.date().optional() }),
  'order.paid': z.object({ order: z.string(), attempts: z.number().default(1) }),
  'order.failed': z.object({ execution_id: z.string(), message: z.string() }),
  'stock.low': z.object({ sku: z.string() }),
};
type Events = typeof events;

let engine: FakeEngine;
let worker: Worker<Events> | undefined;
beforeEach(() => {
  engine = new FakeEngine();
});
afterEach(() => worker?.stop());

/** Without schemas at run time, where a test wants to say what does not compile. */
function newWorker(schemas: Events | undefined = events): Worker<Events> {
  const options = { url: '', transport: engine.transport, log: () => {}, drainMs: 0, lanes: ['shop', 'other'] };
  worker = new Worker<Events>({ ...options, ...(schemas && { events: schemas }) });
  return worker;
}

async function until(holds: () => boolean): Promise<void> {
  for (let turn = 0; !holds(); turn++) {
    if (turn > 20_000) throw new Error('it did not come about');
    await new Promise(setImmediate);
  }
}

const eventOf = (type: string) => {
  const event = { eventId: 'ev-1', type, flowId: 'f', hops: 2, publishTime: timestampFromMs(5_000) };
  return { subscription: 's', subscriptionVersion: 3n, subject: { case: 'event' as const, value: event } };
};
const placed = (payload: unknown = { order: 'a', amount: 1 }, type = 'order.placed') =>
  claimOf('e1', { type, trigger: eventOf(type), input: toPayload(payload) ?? {}, flowId: 'f', hops: 2 });

/** What the engine is told by a handler of `order.placed` that does this. */
async function told(
  react: (event: ReceivedEvent<Events, 'order.placed'>, context: HandlerContext<Events>) => unknown,
  payload?: unknown,
) {
  newWorker().on('order.placed', async (event, context) => (await react(event, context)) as Reaction<Events>);
  await worker?.start();
  engine.offer(placed(payload));
  await until(() => engine.completions.length + engine.failures.length === 1);
  return { completion: engine.completions[0], failure: engine.failures[0] };
}

const paid = { type: 'order.paid', payload: { order: 'a' } } as const;
const emitted = (list: readonly { type: string; payload?: Parameters<typeof textOf>[0] }[] = []) =>
  list.map(({ type, payload }) => `${type} ${textOf(payload)}`);
const textOf = (payload: ConstructorParameters<typeof Content>[0]) => new Content(payload).text();

describe('a handler of events', () => {
  test('is given the event, its payload parsed by the schema of its type', async () => {
    let seen: ReceivedEvent<Events, 'order.placed'> | undefined;
    let context: HandlerContext<Events> | undefined;
    await told(
      (event, given) => {
        seen = event;
        context = given;
      },
      { order: 'a', amount: 2, at: '2024-01-02T03:04:05.000Z', more: 'is cut off' },
    );
    expect(seen).toMatchObject({ eventId: 'ev-1', type: 'order.placed', flowId: 'f', hops: 2, batch: undefined });
    expect(seen?.payload).toEqual({ order: 'a', amount: 2, at: new Date('2024-01-02T03:04:05Z') });
    expect(seen?.published).toEqual(new Date(5_000));
    expect(context?.trigger).toMatchObject({ subscription: 's', subscriptionVersion: 3n, event: { eventId: 'ev-1' } });
    expect(context?.hops).toBe(2);
  });

  test.each<[string, unknown, RegExp]>([
    ['does not fit', { order: 'a', amount: -1 }, /payload of order.placed does not fit its schema: amount: /],
    ['is missing', text(''), /does not fit/],
    ['is no JSON where JSON is said', text('{', 'application/json'), /not JSON/],
  ])('is not called with a payload that %s: that fails for good', async (_, payload, message) => {
    let called = false;
    const { failure } = await told(() => {
      called = true;
    }, payload);
    expect(called).toBe(false);
    expect(failure?.failure).toMatchObject({ failureClass: FailureClass.PERMANENT });
    expect(failure?.failure?.message).toMatch(message);
  });

  test('is not called for an execution that no event has started', async () => {
    newWorker().on('order.placed', () => {});
    await worker?.start();
    engine.offer(claimOf('e1', { type: 'order.placed' }));
    await until(() => engine.failures.length === 1);
    expect(engine.failures[0]?.failure?.message).toMatch(/no event has started/);
  });

  test.each<[string, unknown, string[], string]>([
    ['nothing', undefined, [], ''],
    ['an event', paid, ['order.paid {"order":"a"}'], ''],
    ['events', [paid, paid], ['order.paid {"order":"a"}', 'order.paid {"order":"a"}'], ''],
    ['no events', [], [], ''],
    ['a result', { result: { n: 1 } }, [], '{"n":1}'],
    ['both', { result: 0, events: [paid] }, ['order.paid {"order":"a"}'], '0'],
  ])('may return %s', async (_, returned, expected, result) => {
    const { completion } = await told(() => returned);
    expect(emitted(completion?.events)).toEqual(expected);
    expect(textOf(completion?.result)).toBe(result);
  });

  test.each([[42], ['done'], [{ order: 'a' }], [[paid, 1]], [{ events: paid }]])(
    'may not return %j',
    async (returned) => {
      const { failure } = await told(() => returned);
      expect(failure?.failure?.message).toMatch(/returns nothing, events, or/);
    },
  );

  test('emits with its completion, in order, what it was told to; the envelope goes along', async () => {
    const { completion } = await told((_, context) => {
      context.emit({ ...paid, stream: 's', expectedStreamVersion: 4, headers: { h: 'v' }, tags: { t: 'v' } });
      context.emitBatch([paid, { type: 'stock.low', payload: { sku: 'x' } }]);
      context.emitBatch([paid]);
      return { ...paid, schemaVersion: 2, occurred: new Date(7_000) };
    });
    const [first, second, third, fourth, last] = completion?.events ?? [];
    expect(first).toMatchObject({ stream: 's', expectedStreamVersion: 4n, headers: { h: 'v' }, tags: { t: 'v' } });
    expect(second?.batchGroup).not.toBe('');
    expect(third).toMatchObject({ type: 'stock.low', batchGroup: second?.batchGroup });
    expect([first?.batchGroup, second?.batchGroup, last?.batchGroup]).not.toContain(fourth?.batchGroup);
    expect(last).toMatchObject({ schemaVersion: 2, occurTime: { seconds: 7n } });
  });

  test('emits nothing when it fails, but what it said for that', async () => {
    const { failure, completion } = await told((_, context) => {
      context.emit(paid);
      context.emitOnFailure({ type: 'stock.low', payload: { sku: 'x' } });
      throw new Error('broken');
    });
    expect(completion).toBeUndefined();
    expect(emitted(failure?.failureEvents)).toEqual(['stock.low {"sku":"x"}']);
  });

  test.each<[string, unknown, RegExp]>([
    [
      'does not fit',
      { type: 'order.paid', payload: { order: 1 } },
      /payload of order.paid does not fit its schema: order/,
    ],
    ['has no schema', { type: 'order.sent' }, /no schema for events of type order.sent/],
    ['JSON cannot say', { type: 'order.paid', payload: { order: 1n } }, /not representable as JSON/],
  ])('fails for good with an event that %s, and publishes none', async (_, wrong, message) => {
    const { failure, completion } = await told((_, context) => context.emit(paid, wrong as NewEvent<Events>));
    expect(completion).toBeUndefined();
    expect(failure?.failure).toMatchObject({ failureClass: FailureClass.PERMANENT });
    expect(failure?.failure?.message).toMatch(message);
  });

  test('does not wait for children after it has emitted', async () => {
    const { failure } = await told((_, context) => {
      context.emit(paid);
      return context.waitForChildren([{ type: 'child' }]);
    });
    expect(failure?.failure).toMatchObject({ failureClass: FailureClass.INVALID_RESULT });
    expect(failure?.failure?.message).toMatch(/emits nothing/);
  });

  test('of beginnings of types is told which it is', async () => {
    const seen: string[] = [];
    newWorker().on('order.*', (event) => {
      seen.push(event.type === 'order.placed' ? `placed for ${event.payload.amount}` : event.type);
    });
    await worker?.start();
    const claim = placed();
    engine.offer({ ...claim, type: 'order.*' });
    await until(() => engine.completions.length === 1);
    expect(seen).toEqual(['placed for 1']);
  });
});

test('any handler emits', async () => {
  newWorker().handle('plain', (context) => {
    context.emit(paid);
    return 'done';
  });
  await worker?.start();
  engine.offer(claimOf('e1', { type: 'plain' }));
  await until(() => engine.completions.length === 1);
  expect(emitted(engine.completions[0]?.events)).toEqual(['order.paid {"order":"a"}']);
  expect(textOf(engine.completions[0]?.result)).toBe('"done"');
});

test('what does not compile is refused, too', async () => {
  const any = newWorker();
  // @ts-expect-error no such type
  any.on('order.lost', () => {});
  // @ts-expect-error no type begins so
  any.on('oder.*', () => {});
  // @ts-expect-error the payload lacks an order
  any.on('order.placed', () => ({ type: 'order.paid', payload: {} }), { type: '1' });
  // @ts-expect-error a result is returned as one
  any.on('order.placed', () => 42, { type: '2' });
  // @ts-expect-error an order has no price
  any.on('order.placed', ({ payload }) => void payload.price, { type: '3' });
  // @ts-expect-error the engine's description does not say which stock is low
  expect(() => any.on('order.placed', () => {}, { type: '4', failureEvents: [{ type: 'stock.low' }] })).not.toThrow();
  const wrong = { type: 'stock.low', payload: { sku: 1 } };
  // @ts-expect-error a stock keeping unit is no number
  const declare = () => any.on('order.placed', () => {}, { type: '5', failureEvents: [wrong] });
  expect(declare).toThrow(EventContentError);
  const client = new Client({ url: '', transport: engine.transport, events });
  // @ts-expect-error no such type
  await expect(client.publish({ type: 'order.lost' })).rejects.toThrow(EventContentError);
  // @ts-expect-error an amount is a number
  await expect(client.publish({ type: 'order.placed', payload: { order: 'a', amount: '1' } })).rejects.toThrow(
    /amount/,
  );
});

describe('a batch', () => {
  const slots = [
    { index: 2, outcome: SlotOutcome.FAILED, executionId: 'x2', failure: { message: 'broken' } },
    { index: 1, outcome: SlotOutcome.OK, eventId: 'ev-1', payloadOmitted: true },
    {
      index: 0,
      outcome: SlotOutcome.OK,
      eventId: 'ev-0',
      executionId: 'x0',
      payload: toPayload({ order: 'zero' }) ?? {},
    },
    { index: 3, outcome: SlotOutcome.OK, executionId: 'x3' },
  ];

  test('is handed over by index, with what filled each slot', async () => {
    const payload = toPayload({ order: 'one', attempts: 3 }) ?? {};
    engine = new FakeEngine({ getEvent: ({ eventId }) => ({ event: { eventId, payload } }) });
    let members: readonly BatchMember<{ order: string; attempts: number }>[] = [];
    let read: unknown;
    newWorker().join('order.paid', async (given) => {
      members = given;
      read = await given[1]?.read();
      return { result: given.length };
    });
    await worker?.start();
    engine.offer(claimOf('e1', { type: 'order.paid/batch', joinedInputs: slots }));
    await until(() => engine.completions.length === 1);
    expect(members.map(({ index, outcome, eventId }) => `${index} ${outcome} ${eventId}`)).toEqual([
      '0 ok ev-0',
      '1 ok ev-1',
      '2 failed ',
      '3 ok ',
    ]);
    expect(members[0]?.payload).toEqual({ order: 'zero', attempts: 1 });
    expect(() => members[1]?.payload).toThrow(/left out/);
    expect(read).toEqual({ order: 'one', attempts: 3 });
    expect(members[2]).toMatchObject({ failure: { message: 'broken' }, payload: undefined, executionId: 'x2' });
    expect(members[3]?.payload).toBeUndefined();
  });

  test('with a member that does not fit fails for good', async () => {
    newWorker().join('order.paid', () => {});
    await worker?.start();
    const wrong = { index: 0, outcome: SlotOutcome.OK, eventId: 'ev-0', payload: toPayload({ order: 0 }) ?? {} };
    engine.offer(claimOf('e1', { type: 'order.paid/batch', joinedInputs: [wrong] }));
    await until(() => engine.failures.length === 1);
    expect(engine.failures[0]?.failure?.failureClass).toBe(FailureClass.PERMANENT);
  });
});

describe('a subscription', () => {
  test('is named after lane and type', async () => {
    newWorker()
      .on('order.placed', () => {})
      .on('order.placed', () => {}, { type: 'audit', lane: 'other' })
      .on(['order.paid', 'stock.*'], () => {}, { name: 'mine' })
      .on('*', () => {})
      .join('order.paid', () => {}, { quorum: 2, timeoutMs: 9_000, onTimeout: 'release_partial' });
    await worker?.start();
    expect(engine.subscriptions.map(({ name, lane, type }) => `${name} ${lane} ${type}`)).toEqual([
      'shop/order.placed shop order.placed',
      'other/audit other audit',
      'mine shop order.paid+stock.*',
      'shop/* shop *',
      'shop/order.paid/batch shop order.paid/batch',
    ]);
    const [first, , several, all, batch] = engine.subscriptions;
    expect(first).toMatchObject({ filter: { eventTypes: ['order.placed'] }, eventTypePrefixes: [] });
    expect(several).toMatchObject({ filter: { eventTypes: ['order.paid'] }, eventTypePrefixes: ['stock.'] });
    expect(all).toMatchObject({ filter: { eventTypes: [] }, eventTypePrefixes: [] });
    expect(batch?.batchJoin).toMatchObject({
      eventType: 'order.paid',
      policy: { mode: JoinMode.QUORUM, quorum: 2, onTimeout: OnJoinTimeout.RELEASE_PARTIAL, timeout: { seconds: 9n } },
    });
    expect(first?.batchJoin).toBeUndefined();
    expect(engine.heartbeats[0]?.types).toContain('order.paid/batch');
  });

  test('says what the handler was named with', async () => {
    newWorker().on('order.placed', () => {}, {
      where: {
        streams: ['orders/*', 'orders'],
        headers: { region: 'eu' },
        tags: { shop: 'a' },
        payload: { '/order': 'a', '/kind': ['b', 'c'] },
      },
      orderingKey: { pointer: '/order' },
      deadHead: 'skip',
      delayMs: 1_000,
      deadlineMs: 2_000,
      priority: 3,
      retry: { maxAttempts: 2 },
      tags: { by: 'test' },
      failureEvents: [
        { type: 'order.failed', reasons: ['permanent', 'retries_exhausted'] },
        { type: 'stock.low', payload: { sku: 'x' }, stream: 's' },
      ],
      start: { cursor: 'c' },
    });
    await worker?.start();
    const [spec] = engine.subscriptions;
    expect(spec).toMatchObject({
      filter: { streams: ['orders'], tags: { shop: 'a' } },
      streamPrefixes: ['orders/'],
      headers: { region: 'eu' },
      payloadMatches: [
        { pointer: '/order', values: ['a'] },
        { pointer: '/kind', values: ['b', 'c'] },
      ],
      orderingKey: { source: { case: 'pointer', value: '/order' } },
      deadHeadPolicy: DeadHeadPolicy.SKIP,
      delay: { seconds: 1n },
      deadline: { seconds: 2n },
      priority: 3,
      retryPolicy: { maxAttempts: 2 },
      tags: { by: 'test' },
      cursor: 'c',
    });
    const [described, said] = spec?.failureEvents ?? [];
    expect(described?.reasons).toEqual([DeadLetterReason.PERMANENT, DeadLetterReason.RETRIES_EXHAUSTED]);
    expect(described?.event?.payload).toBeUndefined();
    expect(said?.event).toMatchObject({ type: 'stock.low', stream: 's' });
    expect(textOf(said?.event?.payload)).toBe('{"sku":"x"}');
  });

  test('of a lane that is not claimed from, or a second one of the same, is a mistake', () => {
    const busy = newWorker().on('order.placed', () => {});
    expect(() => busy.on('order.paid', () => {}, { lane: 'elsewhere' })).toThrow(
      /lane elsewhere is none of the worker's/,
    );
    expect(() => busy.on('order.placed', () => {})).toThrow(/shop\/order.placed already/);
    expect(() => busy.on('order.paid', () => {}, { type: 'order.placed', name: 'b' })).toThrow(
      /handler for order.placed/,
    );
    expect(() => busy.on([], () => {})).toThrow(/needs a type of event/);
  });

  test('that is refused stops the worker; what is odd about one is told', async () => {
    const detail = { desc: ErrorDetailSchema, value: { reason: 'INVALID_FIELD' } };
    engine.onSubscribe = () => {
      throw new ConnectError('no', Code.InvalidArgument, undefined, [detail]);
    };
    await expect(
      newWorker()
        .on('order.placed', () => {})
        .start(),
    ).rejects.toMatchObject({ reason: 'INVALID_FIELD' });
    await worker?.stopped;
    expect(engine.claimCalls).toBe(0);

    const said: string[] = [];
    const options = { url: '', transport: engine.transport, drainMs: 0 };
    engine.onSubscribe = () => ['it matches everything'];
    const odd = new Worker({ ...options, log: (_, message) => void said.push(message) }).on('*', () => {});
    await odd.start();
    expect(said).toEqual(['it matches everything']);
    await odd.stop();
  });

  test('is put as soon as the server is there', async () => {
    engine.away = Code.Unavailable;
    newWorker().on('order.placed', () => {});
    await worker?.start();
    expect(engine.subscriptions).toEqual([]);
    engine.away = undefined;
    await until(() => engine.subscriptions.length === 1);
    engine.offer(placed());
    await until(() => engine.completions.length === 1);
  });
});
