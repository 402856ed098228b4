/**
 * Work created, events published and executions completed inside transactions of clients, in SQL: with what is committed
 * beside them or not at all, seen by servers within a pulse, and in nobody's way meanwhile.
 */
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Execution } from '../../gen/tailrace/v1/execution_pb.js';
import { ExecutionState } from '../../gen/tailrace/v1/execution_state_pb.js';
import { verify } from '../../src/repository/verification/index.js';
import { uuidV7 } from '../../src/runtime/random.js';
import { ok, only, seconds, text } from '../support/by-hand.js';
import { EventsByHand } from '../support/events-by-hand.js';
import { eventually } from '../support/eventually.js';
import { FlowsByHand } from '../support/flows-by-hand.js';
import { HELD, heldBy, json, type Query, SqlClients, sqlRefusal } from '../support/sql-clients.js';
import { startTailrace, type TestTailrace } from '../support/tailrace.js';

let tailrace: TestTailrace;
let sql: SqlClients;
let hand: EventsByHand;
beforeAll(async () => {
  tailrace = await startTailrace();
  sql = await SqlClients.start(tailrace.database);
  hand = new EventsByHand(tailrace);
  await sql.transaction((query) => query('create table app.order_line (id text primary key)'));
});
afterAll(async () => {
  const broken = (await verify(tailrace.running.engine.database)).filter(({ violations }) => violations.length > 0);
  await sql.stop();
  await tailrace.stop();
  expect(broken).toEqual([]);
});

const long = { leaseDuration: seconds(60) };
const from = (lane: string) => ({ lanes: [{ lane }], wait: seconds(5), ...long });

it('what the page about it shows works', async () => {
  const page = readFileSync('docs/sql.md', 'utf8').replaceAll("'shop'", `'${sql.role}'`);
  const [order = '', grant = '', ...others] = [...page.matchAll(/```sql\n([\s\S]*?)```/g)].map(
    ([, shown]) => shown ?? '',
  );
  await sql.transaction((query) => query('create table app.orders (id int primary key, customer text)'));
  await sql.asOwner(grant);
  for (const shown of [order, ...others]) await sql.script(shown);
  const claim = await hand.claimOne(from('shipping'));
  expect(claim.type).toBe('ship-order');
  await hand.complete(claim);
  expect(await hand.event('order-17')).toMatchObject({ stream: 'orders/17', streamVersion: 1n });
  const [source] = await sql.asOwner("select prosrc from pg_proc where proname = 'refuse_call'");
  const reasons = [...String(source?.['prosrc']).matchAll(/[A-Z_]{8,}/g)].map(([reason]) => reason);
  reasons.forEach((reason, i) => {
    expect(page).toContain(`| \`TR0${10 + i}\` | \`${reason}\``);
  });
});

describe('what a client commits', () => {
  it('is claimed within a pulse, and what it rolls back was never there', async () => {
    const order = async (end: 'commit' | 'rollback') => {
      const transaction = await sql.begin();
      await transaction.query('insert into app.order_line values ($1)', ['line 1']);
      const options = { lane: 'orders', request_id: 'ship line 1', tags: { a: 'b' } };
      const call = 'select tailrace.create_execution($1, $2, $3, $4) as id';
      const [row] = await transaction.query(call, ['default', 'ship', '{"line": 1}', json(options)]);
      const event = `select tailrace.publish_event('default', 'line.added', '{"line": 1}', '{"event_id": "line 1"}')`;
      await transaction.query(event);
      await transaction[end]();
      return row?.['id'] as string;
    };
    const none = await order('rollback');
    await expect(hand.look(none)).rejects.toThrow('there is no execution');
    await expect(hand.event('line 1')).rejects.toThrow('no event');

    const id = await order('commit');
    const claim = await hand.claimOne(from('orders'));
    expect(claim).toMatchObject({ executionId: id, type: 'ship', tags: { a: 'b' } });
    expect(claim.input?.body).toEqual({ case: 'text', value: '{"line": 1}' });
    await eventually(async () => (await hand.event('line 1')).cursor !== '');
    await hand.complete(claim);
  });

  it('is taken up although its time had long come when it was committed, and others were taken up meanwhile', async () => {
    const created = async (query: Query, lane: string, options: object) => {
      const call = `select tailrace.create_execution('default', 'late', null, $1) as id`;
      const [row] = await query(call, [json({ lane, ...options })]);
      return row?.['id'] as string;
    };
    // Who is first to use a lane holds up others that are first to use one, until it commits.
    for (const lane of ['late to run', 'late to expire', 'meanwhile']) {
      await sql.transaction((query) => created(query, lane, {}));
      await hand.complete(await hand.claimOne(from(lane)));
    }
    const transaction = await sql.begin();
    const scheduled = await created(transaction.query, 'late to run', { delay: '100ms' });
    const expiring = await created(transaction.query, 'late to expire', { ttl: '100ms' });
    // The transaction lasts longer than servers look back; what others make due has been dealt with by then.
    await transaction.query('select pg_sleep(4)');
    const meanwhile = await sql.transaction((query) => created(query, 'meanwhile', { delay: '10ms' }));
    await hand.complete(await hand.claimOne(from('meanwhile')));
    await transaction.commit();
    expect(meanwhile).not.toBe(scheduled);
    expect((await hand.claimOne({ ...from('late to run'), wait: seconds(20) })).executionId).toBe(scheduled);
    await eventually(async () => (await hand.look(expiring)).state === ExecutionState.EXPIRED);
  });

  it('dies with its backend', async () => {
    const transaction = await sql.begin();
    const [row] = await transaction.query(`select tailrace.create_execution('default', 'doomed') as id`);
    await sql.kill(transaction);
    await expect(transaction.commit()).rejects.toThrow();
    await expect(hand.look(row?.['id'] as string)).rejects.toThrow('there is no execution');
  });

  it('has one backend and then another, which know nothing of each other', async () => {
    const [one, two] = [await sql.begin(), await sql.begin()];
    expect(one.backend).not.toBe(two.backend);
    await Promise.all([one.commit(), two.commit()]);
    const before = await sql.transaction((query) => query('select pg_backend_pid() as pid'));
    expect(await sql.transaction((query) => query('select pg_backend_pid() as pid'))).not.toEqual(before);
  });

  it('is safe from a crash of the database whatever the session says of waiting for that', async () => {
    const shown = await sql.transaction(async (query) => {
      await query('set local synchronous_commit = off');
      await query(`select tailrace.create_execution('default', 'durable')`);
      return await query('show synchronous_commit');
    });
    expect(shown).toEqual([{ synchronous_commit: 'on' }]);
  });
});

describe('proof 6: repeats, by SQL and by gRPC', () => {
  it('of a creation answer the first one, and are refused with other content', async () => {
    const options = {
      request_id: 'both ways',
      lane: 'läne "1"',
      priority: 3,
      delay: '90.5s',
      ttl: '1 hour',
      attempt_timeout: '00:00:30',
      deadline_time: '2090-01-02T03:04:05.678912+02:00',
      retry_policy: { max_attempts: 3, initial_backoff: '1s', backoff_factor: 1.5, count_lost_leases: false },
      tags: { b: '2\n', a: '1' },
      required_capabilities: ['y', 'x', 'y'],
      ordering_key: 'key',
      dead_head_policy: 'DEAD_HEAD_POLICY_SKIP',
      content_type: 'text/plain; charset=utf-8',
      failure_events: [
        {
          reasons: ['DEAD_LETTER_REASON_TTL', 'DEAD_LETTER_REASON_PERMANENT'],
          event: { type: 'gave.up', payload: 'so', content_type: 'text/plain; charset=utf-8', tags: { t: '1' } },
        },
        { event: { type: 'whatever', stream: 'lost', batch_group: 'g', schema_version: 2 } },
      ],
    };
    const spec = {
      type: 'twice',
      requestId: 'both ways',
      lane: 'läne "1"',
      priority: 3,
      delay: seconds(90.5),
      ttl: seconds(3_600),
      attemptTimeout: seconds(30),
      deadlineTime: { seconds: 3_787_002_245n, nanos: 678_000_000 },
      retryPolicy: { maxAttempts: 3, initialBackoff: seconds(1), backoffFactor: 1.5, countLostLeases: false },
      tags: { a: '1', b: '2\n' },
      requiredCapabilities: ['x', 'y'],
      orderingKey: 'key',
      deadHeadPolicy: 2,
      input: text('hello'),
      failureEvents: [
        { reasons: [5, 2], event: { type: 'gave.up', payload: text('so'), tags: { t: '1' } } },
        { event: { type: 'whatever', stream: 'lost', batchGroup: 'g', schemaVersion: 2 } },
      ],
    };
    const id = await sql.create('twice', 'hello', options);
    expect(await sql.create('twice', 'hello', options)).toBe(id);
    expect(ok(only((await tailrace.engine.createExecutions({ executions: [spec] })).results))).toMatchObject({
      executionId: id,
      duplicate: true,
    });
    const { execution } = await tailrace.admin.getExecution({ executionId: id });
    const { executionId } = ok(
      only((await tailrace.engine.createExecutions({ executions: [{ ...spec, requestId: 'another' }] })).results),
    );
    const made = await tailrace.admin.getExecution({ executionId });
    const asked = ({ lane, type, ttl, deadlineTime, retryPolicy, tags, input, failureEvents, ...more }: Execution) => {
      const { priority, attemptTimeout, requiredCapabilities, orderingKey, deadHeadPolicy } = more;
      const rest = { priority, attemptTimeout, requiredCapabilities, orderingKey, deadHeadPolicy };
      return { lane, type, ttl, deadlineTime, retryPolicy, tags, input, failureEvents, ...rest };
    };
    expect(execution && asked(execution)).toEqual(made.execution && asked(made.execution));
    const other = await sqlRefusal(sql.create('twice', 'hello', { ...options, priority: 4 }));
    expect(other).toMatchObject({ code: 'TR013', reason: 'REQUEST_ID_REUSED', metadata: { execution_id: id } });
  });

  it('of an id of the client, and of nothing but the type', async () => {
    const id = uuidV7();
    expect(await hand.createOne({ type: 'named', executionId: id })).toBe(id);
    expect(await sql.create('named', null, { execution_id: id })).toBe(id);
    const first = await sql.create('bare', null, { request_id: 'bare' });
    expect(await hand.createOne({ type: 'bare', requestId: 'bare' })).toBe(first);
  });

  it('of a publication', async () => {
    const flow = (await hand.publishOne({ type: 'root', eventId: 'root' })).flowId;
    const event = { eventId: 'child', type: 'child', stream: 'twice', flowId: flow, causeEventId: 'root' };
    const more = { schemaVersion: 2, headers: { b: '2', a: '1' }, occurTime: { seconds: 1n, nanos: 5_000_000 } };
    const payload = { contentType: 'application/json', ...text('{"a":1}') };
    const options = {
      ...{ event_id: 'child', stream: 'twice', flow_id: flow.toUpperCase(), cause_event_id: 'root', schema_version: 2 },
      ...{ headers: { a: '1', b: '2' }, occur_time: '1970-01-01T00:00:01.005Z', content_type: 'application/json' },
    };
    expect(await sql.publish('child', '{"a":1}', options)).toBe('child');
    expect(await sql.publish('child', '{"a":1}', options)).toBe('child');
    const again = await hand.publishOne({ ...event, ...more, payload });
    expect(again).toMatchObject({ duplicate: true, streamVersion: 1n, hops: 1, flowId: flow });
    expect(await sqlRefusal(sql.publish('child', 1, options))).toMatchObject({
      reason: 'INVALID_FIELD',
    });
    expect(await sqlRefusal(sql.publish('child', '{"a":2}', options))).toMatchObject({ reason: 'EVENT_ID_REUSED' });
    expect(await sqlRefusal(sql.publish('next', null, { stream: 'twice', expected_stream_version: 0 }))).toMatchObject({
      reason: 'STREAM_VERSION_CONFLICT',
      metadata: { stream: 'twice', current_version: '1' },
    });
  });

  it('of a completion are refused: what was written beside the first is not to be written twice', async () => {
    await sql.create('once', null, { lane: 'once' });
    const claim = await hand.claimOne(from('once'));
    await sql.complete(claim, { done: true });
    expect(await sqlRefusal(sql.complete(claim, { done: true }))).toMatchObject({
      code: 'TR022',
      reason: 'EXECUTION_TERMINAL',
      metadata: { duplicate: 'true' },
    });
    expect(await sqlRefusal(sql.complete(claim, { done: false }))).not.toHaveProperty('metadata.duplicate');
    const completions = [
      { lease: claim.lease, result: { contentType: 'application/json', ...text('{"done": true}') } },
    ];
    const leases = completions.map(({ lease, result }) => {
      const { executionId = '', leaseId = '', fencingToken = 0n } = lease ?? {};
      return { lease: { executionId, leaseId, fencingToken }, result };
    });
    const [answer] = (await tailrace.engine.completeExecutions({ completions: leases })).results;
    expect(answer && ok(answer)).toMatchObject({ duplicate: true });
  });
});

describe('what follows a commit', () => {
  it('reactions run, and a stream is versioned', async () => {
    await hand.subscribe('reacts', { filter: { eventTypes: ['sql.published'] } });
    await sql.publish('sql.published', { n: 1 }, { stream: 'sql', expected_stream_version: 0 });
    const claim = await hand.claimOne(from('reacts'));
    expect(claim.trigger?.subject.value).toMatchObject({ type: 'sql.published', stream: 'sql', streamVersion: 1n });
    await hand.complete(claim);
  });

  it('what a completion publishes is published with it, in its flow, and is repeated by gRPC', async () => {
    await hand.subscribe('goes on', { filter: { eventTypes: ['sql.done'] } });
    const { flowId } = await hand.publishOne({ type: 'sql.begun', eventId: 'begun' });
    await hand.subscribe('emits', { filter: { eventTypes: ['sql.go'] } });
    await hand.publishOne({ type: 'sql.go', causeEventId: 'begun' });
    const claim = await hand.claimOne(from('emits'));
    const completed = (events: unknown) => sql.complete(claim, null, { events });
    const conflict = completed([{ type: 'a', stream: 'done', expected_stream_version: 5 }]);
    expect(await sqlRefusal(conflict)).toMatchObject({ reason: 'STREAM_VERSION_CONFLICT' });
    expect(await sqlRefusal(completed([{ type: '' }, { type: 'a', nothing: 1 }]))).toMatchObject({
      violations: [{ field: 'events[0].type' }, { field: 'events[1].nothing' }],
    });
    await completed([
      {
        type: 'sql.done',
        payload: '{"n":1}',
        content_type: 'application/json',
        stream: 'done',
        expected_stream_version: 0,
      },
      { type: 'in batch', batch_group: 'g', tags: { a: 'b' }, headers: { c: 'd' }, schema_version: 3 },
      { type: 'in batch', batch_group: 'g', stream: 'done', occur_time: '1970-01-01T00:00:01Z' },
    ]);
    const again = await hand.completeWith(
      claim,
      {
        type: 'sql.done',
        payload: { contentType: 'application/json', ...text('{"n":1}') },
        stream: 'done',
        expectedStreamVersion: 0n,
      },
      { type: 'in batch', batchGroup: 'g', tags: { a: 'b' }, headers: { c: 'd' }, schemaVersion: 3 },
      { type: 'in batch', batchGroup: 'g', stream: 'done', occurTime: { seconds: 1n, nanos: 0 } },
    );
    expect(again).toMatchObject({ duplicate: true });
    const emitted = await Promise.all(again.eventIds.map((id) => hand.event(id)));
    const common = { flowId, causeExecutionId: claim.executionId, hops: 2 };
    expect(emitted).toMatchObject([
      { ...common, type: 'sql.done', streamVersion: 1n },
      { ...common, batch: { index: 0, size: 2 }, tags: { a: 'b' }, headers: { c: 'd' }, schemaVersion: 3 },
      { ...common, batch: { index: 1, size: 2 }, streamVersion: 2n, occurTime: { seconds: 1n } },
    ]);
    await hand.complete(await hand.claimOne(from('goes on')));
  });

  it('downstreams are released, and slots of concurrency keys given on, but not before', async () => {
    const flow = await new FlowsByHand(tailrace).flow({
      members: { one: {}, two: {}, joined: {} },
      links: [
        ['one', 'joined'],
        ['two', 'joined'],
      ],
    });
    const [one, two] = [await flow.claim('one', long), await flow.claim('two', long)];
    const lane = 'sql keys';
    await tailrace.admin.updateLane({
      lane,
      settings: { defaultKeyLimit: 1 },
      updateMask: { paths: ['default_key_limit'] },
    });
    const keyed = await hand.createOne({ lane, concurrencyKey: 'k' });
    const next = await hand.createOne({ lane, concurrencyKey: 'k' });
    const holder = await hand.claimNamed(keyed, long);

    // While it is open nobody waits for it: not who ends beside it, nor who creates in the same line.
    const open = await sql.begin();
    await open.query(`select tailrace.complete_execution(${HELD})`, heldBy(one));
    await open.query(`select tailrace.complete_execution(${HELD})`, heldBy(holder));
    await open.query(`select tailrace.create_execution('default', 'work', null, $1)`, [
      json({ lane, concurrency_key: 'k', request_id: 'third' }),
    ]);
    await hand.complete(two);
    const last = await hand.createOne({ lane, concurrencyKey: 'k' });
    expect(await hand.state(next)).toBe(ExecutionState.BLOCKED);
    expect(await hand.state(flow.of('joined'))).toBe(ExecutionState.BLOCKED);
    await open.commit();

    await hand.complete(await flow.claim('joined'));
    const third = await sql.create('work', null, { lane, concurrency_key: 'k', request_id: 'third' });
    const order: string[] = [];
    while (order.length < 3) {
      const claim = await hand.claimOne(from(lane));
      order.push(claim.executionId);
      await sql.complete(claim);
    }
    expect([...order].sort()).toEqual([next, last, third].sort());
  });

  it('the next of an ordering key follows, in the order in which they were committed', async () => {
    const lane = 'sql order';
    const options = { lane, ordering_key: 'o' };
    const order = [await sql.create('work', 1, options), await sql.create('work', 2, options)];
    order.push(await hand.createOne({ lane, orderingKey: 'o' }));
    for (const id of order) {
      const claim = await hand.claimOne(from(lane));
      expect(claim.executionId).toBe(id);
      await sql.complete(claim);
    }
  });

  it('is nothing where it was rolled back: the lease stands as it stood', async () => {
    await sql.create('kept', null, { lane: 'kept' });
    const claim = await hand.claimOne(from('kept'));
    const open = await sql.begin();
    await open.query(`select tailrace.complete_execution(${HELD})`, heldBy(claim));
    await open.rollback();
    await hand.renew(claim);
    await sql.complete(claim);
    const ended = await hand.end(claim.executionId);
    expect(ended.outcome).toMatchObject({ state: ExecutionState.SUCCEEDED, fencingToken: claim.lease?.fencingToken });
  });
});
