/** Publishing: in its flow, caused by what it says, decided in order, alone or together; and reading it again. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DeadLetterReason } from '../../../gen/tailrace/v1/dead_letter_reason_pb.js';
import { FlowState } from '../../../gen/tailrace/v1/flow_pb.js';
import { LogEntryKind } from '../../../gen/tailrace/v1/log_pb.js';
import { verify } from '../../../src/repository/verification/index.js';
import { wallMs } from '../../../src/runtime/clock.js';
import { uuidV7 } from '../../../src/runtime/random.js';
import { ok, refusal, seconds, text } from '../../support/by-hand.js';
import { Publications, type Published, verdictOf } from '../../support/events/publications.js';
import { HeldRows } from '../../support/held-rows.js';
import { startTailrace, type TestTailrace } from '../../support/tailrace.js';

const NOBODY = '0198a0a0-0000-7000-8000-000000000001';

let tailrace: TestTailrace;
let events: Publications;
beforeAll(async () => {
  tailrace = await startTailrace();
  events = new Publications(tailrace);
});
afterAll(async () => {
  const rules = await verify(tailrace.running.engine.database);
  await tailrace.stop();
  expect(rules.filter(({ violations }) => violations.length > 0)).toEqual([]);
});

describe('PublishEvents', () => {
  it('keeps everything that was asked for, and answers its final place', async () => {
    const cause = await events.one({ eventId: 'the cause' });
    const spec = {
      eventId: 'whole',
      type: 'order.paid',
      payload: {
        contentType: 'application/json',
        body: { case: 'json' as const, value: { kind: { case: 'numberValue' as const, value: 7 } } },
      },
      stream: 'orders/7',
      expectedStreamVersion: 0n,
      causeEventId: 'the cause',
      tags: { a: 'b' },
      schemaVersion: 3,
      headers: { source: 'é'.repeat(512) },
      occurTime: { seconds: 12n, nanos: 345_000_000 },
    };
    const made = await events.one(spec);
    expect(made).toMatchObject({
      eventId: 'whole',
      streamVersion: 1n,
      flowId: cause.flowId,
      duplicate: false,
      hops: 1,
    });
    const event = await events.get('whole');
    expect(event).toMatchObject({
      namespace: 'default',
      type: 'order.paid',
      stream: 'orders/7',
      streamVersion: 1n,
      flowId: cause.flowId,
      causeEventId: 'the cause',
      causeExecutionId: '',
      hops: 1,
      tags: { a: 'b' },
      schemaVersion: 3,
      headers: spec.headers,
      occurTime: { seconds: 12n, nanos: 345_000_000 },
      cursor: made.cursor,
    });
    expect(event.payload).toMatchObject({ contentType: 'application/json', body: { case: 'text', value: '7' } });
    expect(await tailrace.engine.getEvent({ eventId: 'never' })).toMatchObject({ accepted: false });
    expect(await tailrace.engine.getEvent({ eventId: 'whole', namespace: 'elsewhere' })).toMatchObject({
      accepted: false,
    });
  });

  it('goes on in the log after its answer', async () => {
    const { cursor, flowId } = await events.one();
    const later = await events.one({ flowId });
    const kinds = [LogEntryKind.FLOW_CREATED, LogEntryKind.EVENT_PUBLISHED];
    const { entries } = await tailrace.admin.listLogEntries({ oldestFirst: true, filter: { flowId, kinds } });
    expect(entries.map(({ kind }) => kind)).toEqual([kinds[0], kinds[1], kinds[1]]);
    expect(entries.slice(1).map((entry) => entry.cursor)).toEqual([cursor, later.cursor]);
  });

  it('shares commits between calls of one event', async () => {
    // Loops in the background send statements of their own, more of them the longer it takes.
    const { meters } = tailrace.running.engine.database;
    const sent = () => meters.find(({ name }) => name === 'events.publish')?.times.count ?? 0;
    const before = sent();
    await Promise.all(Array.from({ length: 150 }, () => events.one()));
    expect(sent() - before).toBeLessThan(50);
  });

  it('takes a thousand, and more as one batch group only', async () => {
    const many = (length: number, spec: Published = {}) => Array.from({ length }, () => spec);
    expect(await refusal(events.ask(many(1_001)))).toMatchObject({
      reason: 'INVALID_FIELD',
      fieldViolations: [{ field: 'events' }],
    });
    expect(await refusal(events.ask(many(10_001, { batchGroup: 'g' })))).toMatchObject({ reason: 'INVALID_FIELD' });
    const results = (await events.ask(many(1_020, { batchGroup: 'g' }))).map(ok);
    expect(new Set(results.map(({ batch }) => batch?.batchId)).size).toBe(1);
    expect(new Set(results.map(({ flowId }) => flowId)).size).toBe(1);
    expect(results.map(({ batch }) => batch?.index)).toEqual(results.map((_, i) => i));
  });

  it.each<[string, string, Published]>([
    ['no type', 'events[0].type', { type: '' }],
    ['a type that is too long', 'events[0].type', { type: 'x'.repeat(201) }],
    ['an event id that is too long', 'events[0].event_id', { eventId: 'x'.repeat(201) }],
    ['an event id of the future', 'events[0].event_id', { eventId: uuidV7(wallMs() + 6 * 60_000) }],
    ['a version without a stream', 'events[0].expected_stream_version', { expectedStreamVersion: 1n }],
    ['a negative version', 'events[0].expected_stream_version', { stream: 's', expectedStreamVersion: -1n }],
    ['a flow that is no id', 'events[0].flow_id', { flowId: 'flow' }],
    ['a header that is too long', 'events[0].headers["h"]', { headers: { h: 'x'.repeat(1_025) } }],
    [
      'too many headers',
      'events[0].headers',
      { headers: Object.fromEntries(Array.from({ length: 33 }, (_, i) => [i, ''])) },
    ],
    ['a negative schema version', 'events[0].schema_version', { schemaVersion: -1 }],
    ['NUL in its cause', 'events[0].cause_event_id', { causeEventId: 'a\0' }],
  ])('refuses %s', async (_, field, spec) => {
    const { reason, fieldViolations } = await refusal(events.ask([spec]));
    expect([reason, fieldViolations.map((violation) => violation.field)]).toEqual(['INVALID_FIELD', [field]]);
  });

  it('refuses an event that is too large, and its group with it, and leaves the others alone', async () => {
    const large = { payload: text('x'.repeat(1_048_577)) };
    const group = { batchGroup: 'with a large one' };
    expect(await events.verdicts([large, {}, group, { ...group, ...large }])).toEqual([
      'PAYLOAD_TOO_LARGE',
      'published',
      'BATCH_REFUSED',
      'PAYLOAD_TOO_LARGE',
    ]);
    expect(await refusal(events.ask([{}, large], { atomic: true }))).toMatchObject({ reason: 'PAYLOAD_TOO_LARGE' });
  });
});

describe('its flow and its cause', () => {
  it('a root starts a flow that is open, and settles', async () => {
    const { flowId } = await events.one();
    const settled = await tailrace.completion.awaitFlow({ flowId, until: 1, timeout: seconds(10) });
    expect(settled).toMatchObject({ done: true, flow: { state: FlowState.IDLE } });
    const { flow } = await tailrace.admin.getFlow({ flowId });
    expect(flow).toMatchObject({ sealed: false, sealAfterIdle: { seconds: 86_400n } });
    // What comes later is of the same flow, which is looked at again.
    const later = await events.one({ flowId });
    expect(later.flowId).toBe(flowId);
    expect(await tailrace.completion.awaitFlow({ flowId, until: 1, timeout: seconds(10) })).toMatchObject({
      done: true,
    });
  });

  it('causes may stand earlier in the call', async () => {
    const [root, child, grandchild, foreign] = await events.publish(
      { eventId: 'root' },
      { eventId: 'child', causeEventId: 'root' },
      { causeEventId: 'child' },
      { causeEventId: 'child', flowId: (await events.one()).flowId },
    );
    expect([root?.hops, child?.hops, grandchild?.hops, foreign?.hops]).toEqual([0, 1, 2, 2]);
    expect(new Set([root, child, grandchild].map((event) => event?.flowId)).size).toBe(1);
    expect(foreign?.flowId).not.toBe(root?.flowId);
    // Again, with one that is new: the others are known by what is stored.
    const again = [
      { eventId: 'root' },
      { eventId: 'child', causeEventId: 'root' },
      { eventId: 'new', causeEventId: 'child' },
    ];
    const results = (await events.ask(again)).map(ok);
    expect(results.map(({ duplicate, hops }) => [duplicate, hops])).toEqual([
      [true, 0],
      [true, 1],
      [false, 2],
    ]);
    expect(results[2]?.flowId).toBe(root?.flowId);
  });

  it('nothing is caused by what is not stored', async () => {
    expect(await events.refused({ causeEventId: 'unheard' })).toEqual({
      reason: 'EVENT_NOT_FOUND',
      metadata: { event_id: 'unheard' },
    });
    const after = { eventId: 'stands behind', causeEventId: 'falls' };
    expect(
      await events.verdicts([{ eventId: 'falls', flowId: NOBODY }, after, { causeEventId: 'stands behind' }, {}]),
    ).toEqual(['FLOW_NOT_FOUND', 'EVENT_NOT_FOUND', 'EVENT_NOT_FOUND', 'published']);
    const strange = await events.ask([{ eventId: 'of a stranger' }], { namespace: 'strange' });
    expect(strange.map(verdictOf)).toEqual(['published']);
    expect(await events.refused({ causeEventId: 'of a stranger' })).toMatchObject({ reason: 'EVENT_NOT_FOUND' });
  });

  it('takes nothing into a flow that is sealed, canceled or another namespace’s', async () => {
    const flow = async () => (await events.one()).flowId;
    const [sealed, canceled] = [await flow(), await flow()];
    await tailrace.engine.sealFlow({ flowId: sealed });
    await tailrace.engine.cancelFlow({ flowId: canceled });
    expect(await events.refused({ flowId: sealed })).toMatchObject({ reason: 'FLOW_SEALED' });
    expect(await events.refused({ flowId: canceled })).toMatchObject({ reason: 'WRONG_STATE' });
    expect(await events.verdicts([{ flowId: await flow() }], { namespace: 'elsewhere' })).toEqual(['FLOW_NOT_FOUND']);
  });

  it('waits for a flow that somebody decides about, and others do not wait with it', async () => {
    const { flowId } = await events.one({ eventId: 'of a held flow' });
    const held = await HeldRows.start(tailrace.database);
    await held.hold('flow', 'id', flowId);
    const waiting = events.ask([{ eventId: 'beside a held flow' }, { flowId }]);
    expect(await events.verdicts([{}])).toEqual(['published']);
    // Nothing of a call is stored before all of it is decided.
    expect(await tailrace.engine.getEvent({ eventId: 'beside a held flow' })).toMatchObject({ accepted: false });
    await held.release();
    expect((await waiting).map(verdictOf)).toEqual(['published', 'published']);
  });

  it('ends a chain of causes at the limit of hops: stored, a dead letter, and not routed', async () => {
    const chain = await events.publish(
      ...Array.from({ length: 66 }, (_, i) => ({
        eventId: `hop ${i}`,
        type: `hop.${i}`,
        payload: text(`${i}`),
        ...(i > 0 && { causeEventId: `hop ${i - 1}` }),
      })),
    );
    expect(chain.map(({ hops }) => hops)).toEqual(chain.map((_, i) => i));
    const { deadLetters } = await tailrace.deadLetters.listDeadLetters({
      filter: { reasons: [DeadLetterReason.HOP_LIMIT] },
    });
    expect(deadLetters).toMatchObject([{ eventId: 'hop 65', eventType: 'hop.65', flowId: chain[0]?.flowId }]);
    expect(await events.get('hop 65')).toMatchObject({ hops: 65, causeEventId: 'hop 64' });
  });
});

describe('streams', () => {
  it('decides the events of a call in their order, a group where its first event stands', async () => {
    const stream = 'in order';
    const results = await events.ask([
      { stream, expectedStreamVersion: 0n },
      { stream, expectedStreamVersion: 0n },
      { stream, batchGroup: 'g', expectedStreamVersion: 1n },
      { stream, expectedStreamVersion: 3n },
      { stream, batchGroup: 'g' },
      { stream, batchGroup: 'falls' },
      { stream, expectedStreamVersion: 4n },
      { stream, batchGroup: 'falls', flowId: NOBODY },
    ]);
    expect(
      results.map((result) => (result.result.case === 'ok' ? result.result.value.streamVersion : verdictOf(result))),
    ).toEqual([1n, 'STREAM_VERSION_CONFLICT', 2n, 4n, 3n, 'BATCH_REFUSED', 5n, 'FLOW_NOT_FOUND']);
    expect(await events.versionsOf(stream)).toEqual([1n, 2n, 3n, 4n, 5n]);
  });

  it('are read forward and backward, from any version, by pages', async () => {
    const made = await events.publish(
      ...Array.from({ length: 7 }, (_, i) => ({ stream: 'read', payload: text(`${i + 1}`) })),
    );
    const read = async (request: object) => {
      const page = await tailrace.engine.readStream({ stream: 'read', ...request });
      expect(page.streamVersion).toBe(7n);
      return page.events.map((event) => Number(event.streamVersion));
    };
    expect(await read({})).toEqual([1, 2, 3, 4, 5, 6, 7]);
    expect(await read({ fromVersion: 3n, pageSize: 2 })).toEqual([3, 4]);
    expect(await read({ fromVersion: 8n })).toEqual([]);
    expect(await read({ backward: true, pageSize: 3 })).toEqual([7, 6, 5]);
    expect(await read({ backward: true, fromVersion: 2n })).toEqual([2, 1]);
    const whole = await tailrace.engine.readStream({ stream: 'read' });
    expect(whole.events.map(({ cursor }) => cursor)).toEqual(made.map(({ cursor }) => cursor));
    expect(whole.events.map(({ payload }) => payload?.body.value)).toEqual(['1', '2', '3', '4', '5', '6', '7']);
    expect(await refusal(tailrace.engine.readStream({ stream: 'unheard' }))).toMatchObject({
      reason: 'STREAM_NOT_FOUND',
    });
    const large = { stream: 'large', payload: text('x'.repeat(1_000_000)) };
    await events.publish(...Array.from({ length: 6 }, () => large));
    expect(await events.versionsOf('large')).toEqual([1n, 2n, 3n, 4n, 5n]);
  });
});

describe('a batch group', () => {
  const group = (...ids: string[]): Published[] => ids.map((eventId) => ({ eventId, batchGroup: 'group' }));

  it('has places in one batch and one flow, and a repeat answers them', async () => {
    const specs = group('first', 'second', 'third');
    const made = await events.publish(...specs);
    expect(made.map(({ batch }) => [batch?.index, batch?.size])).toEqual([
      [0, 3],
      [1, 3],
      [2, 3],
    ]);
    expect(new Set(made.map(({ batch, flowId }) => `${batch?.batchId} ${flowId}`)).size).toBe(1);
    const renamed = specs.map((spec) => ({ ...spec, batchGroup: 'whatever it is called' }));
    expect(await events.publish(...renamed)).toEqual(made.map((event) => ({ ...event, duplicate: true })));
    // In other company an event is another one.
    expect(await events.verdicts(group('first', 'second'))).toEqual(['EVENT_ID_REUSED', 'EVENT_ID_REUSED']);
    expect(await events.verdicts(group('first', 'new one'))).toEqual(['EVENT_ID_REUSED', 'BATCH_REFUSED']);
  });

  it('that comes again in part keeps its batch', async () => {
    const half = [{ eventId: 'known half', batchGroup: 'half' }, { batchGroup: 'half' }];
    const [first, second] = await events.publish(...half);
    const [again, anew] = await events.publish(...half);
    expect(again).toEqual({ ...first, duplicate: true });
    expect(anew).toMatchObject({ duplicate: false, flowId: first?.flowId, batch: second?.batch });
    expect(anew?.eventId).not.toBe(second?.eventId);
  });

  it('stands or falls together, beside others that do not', async () => {
    const told = await events.verdicts([
      ...group('falls 1', 'falls 2'),
      { flowId: NOBODY, batchGroup: 'group' },
      { eventId: 'stands' },
    ]);
    expect(told).toEqual(['BATCH_REFUSED', 'BATCH_REFUSED', 'FLOW_NOT_FOUND', 'published']);
    expect(await tailrace.engine.getEvent({ eventId: 'falls 1' })).toMatchObject({ accepted: false });
    expect(await events.verdicts(group('falls 1', 'falls 2'))).toEqual(['published', 'published']);
  });

  it('atomic: all of the call or nothing, refused as its first refused event is', async () => {
    const specs = [
      { eventId: 'atomic 1', stream: 'atomic' },
      { stream: 'atomic', batchGroup: 'g' },
      { eventId: 'atomic 2' },
    ];
    const wrong = { stream: 'atomic', expectedStreamVersion: 9n };
    expect(await refusal(events.ask([...specs, wrong, { flowId: NOBODY }], { atomic: true }))).toMatchObject({
      reason: 'STREAM_VERSION_CONFLICT',
      metadata: { current_version: '2' },
    });
    expect(await refusal(tailrace.engine.readStream({ stream: 'atomic' }))).toMatchObject({
      reason: 'STREAM_NOT_FOUND',
    });
    expect(await events.verdicts(specs, { atomic: true })).toEqual(['published', 'published', 'published']);
    expect(await events.verdicts([...specs.slice(0, 1), { eventId: 'atomic 3' }], { atomic: true })).toEqual([
      'duplicate',
      'published',
    ]);
    expect(await events.versionsOf('atomic')).toEqual([1n, 2n]);
  });
});
