/** Every rule across tables holds after ordinary work, and each finds what breaks it, planted into rows that were fine. */
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { FailureClass } from '../../gen/tailrace/v1/attempt_pb.js';
import { ExecutionState } from '../../gen/tailrace/v1/execution_state_pb.js';
import { JoinMode } from '../../gen/tailrace/v1/join_pb.js';
import { render } from '../../src/repository/statement.js';
import { INVARIANTS } from '../../src/repository/verification/index.js';
import { seconds } from '../support/by-hand.js';
import { CONSUMER_PLANTS, makeConsumers } from '../support/consumers-planted.js';
import { type Desk, startDesk } from '../support/desk.js';
import { BATCH_PLANTS, EVENT_PLANTS, makeBatches, makeEvents } from '../support/events/planted.js';
import { eventually } from '../support/eventually.js';
import { FlowsByHand } from '../support/flows-by-hand.js';
import { FramesByHand, json, text } from '../support/frames-by-hand.js';
import { HANDLER_PLANTS, makeHandlers } from '../support/handlers-planted.js';
import { closeLog, LOG_PLANTS } from '../support/log-planted.js';
import { makeRedrives, REDRIVE_PLANTS } from '../support/redrives-planted.js';
import { RETIREMENT_PLANTS } from '../support/retirement-planted.js';
import { allOf, named, WaitsByHand } from '../support/waits-by-hand.js';

let desk: Desk;
let client: pg.Client;

beforeAll(async () => {
  desk = await startDesk();
  client = new pg.Client({ connectionString: desk.database.url });
  await client.connect();
  await client.query("set enable_seqscan = on; set lock_timeout = '20s'");
  const { hand } = desk;
  await makeEvents(desk);
  await closeLog(desk);
  await hand.createOne({ requestId: 'waits' });
  await hand.createOne({ lane: 'later', delay: seconds(600), ttl: seconds(600) });
  await hand.createOne({ lane: 'running' });
  await hand.claimOne({ lanes: [{ lane: 'running' }], leaseDuration: seconds(600) });
  await hand.complete(await hand.claimNamed(await hand.createOne({ lane: 'done' })));
  const retried = await hand.createOne({ lane: 'retried' });
  await hand.fail(await hand.claimNamed(retried), FailureClass.TRANSIENT, { retryDelay: seconds(0) });
  await hand.fail(await hand.claimNamed(retried), FailureClass.TRANSIENT, { retryDelay: seconds(600) });
  for (const succeeds of [true, false]) {
    const dead = await hand.createOne({ lane: 'dead' });
    await hand.fail(await hand.claimNamed(dead), FailureClass.PERMANENT);
    const { deadLetters } = await desk.deadLetters.listDeadLetters({ filter: { executionId: dead } });
    const deadLetterId = deadLetters[0]?.deadLetterId ?? '';
    const { executionId } = await desk.deadLetters.redriveDeadLetter({ deadLetterId });
    if (succeeds) await hand.complete(await hand.claimNamed(executionId));
  }
  await makeFlows();
  await makeWaits();
  await makeFrames();
  await makeBatches(desk);
  await makeConsumers(desk);
  await makeRedrives(desk);
  await makeHandlers(desk);
  await desk.caughtUp();
});
afterAll(async () => {
  await client.end();
  await desk.stop();
});

/** Every way in which something waits for, has waited for, or never gets what it depends on. */
async function makeFlows(): Promise<void> {
  const hand = new FlowsByHand(desk);
  const chain = { members: { a: {}, b: {}, c: {} }, links: [['a', 'b'] as const, ['b', 'c'] as const] };
  const open = await hand.flow(chain, { open: true });
  await open.complete('a');
  const failed = await hand.flow(chain, { requestId: 'failed' });
  await failed.fail('a');
  await failed.ended();
  const done = await hand.flow(chain, { requestId: 'done' });
  for (const member of ['a', 'b', 'c']) await done.complete(member);
  await done.ended();
  const race = await hand.flow({
    members: { a: {}, b: {}, c: {}, any: {}, some: {}, all: {} },
    links: ['any', 'some', 'all'].flatMap((to) => ['a', 'b', 'c'].map((from) => [from, to, { source: from }] as const)),
    joins: {
      any: { mode: JoinMode.ANY },
      some: { mode: JoinMode.QUORUM, quorum: 3, distinctSources: true },
      all: { mode: JoinMode.ALL },
    },
  });
  await race.complete('a');
  await race.complete('b');
  await eventually(async () => {
    const { okCount, lateCount } = await hand.joinOf(race.of('any'));
    return okCount === 2 && lateCount === 1;
  });
  for (const completes of [false, true]) {
    const parent = await hand.claimNamed(await hand.createOne({ lane: 'parents' }));
    const child = { name: 'child', execution: { type: 'child', lane: 'children' } };
    const { childExecutionIds } = await hand.waitForChildren(parent, [child]);
    if (completes) await hand.complete(await hand.claimNamed(childExecutionIds[0] ?? ''));
  }
}

/** Parked, resumed and ended; behind a key; behind a budget. */
async function makeWaits(): Promise<void> {
  const hand = new WaitsByHand(desk);
  const from = { lanes: [{ lane: 'parked' }], leaseDuration: seconds(600) };
  const [done, resumed, parked] = await hand.create({ lane: 'parked' }, { lane: 'parked' }, { lane: 'parked' });
  for (const id of [done, resumed]) {
    await hand.suspend(await hand.claimOne(from));
    await hand.signal(id ?? '');
  }
  const last = await hand.claimOne(from);
  await hand.waitpoint(last, 'desk');
  await hand.suspend(last, { condition: allOf(named('a'), named('b', 'desk')) });
  await hand.signal(parked ?? '', 'b', { waitpointKey: 'desk' });
  await hand.complete(await hand.claimNamed(done ?? ''));

  await hand.setLane('keyed', { defaultKeyLimit: 2 });
  await hand.create(...Array.from({ length: 4 }, () => ({ lane: 'keyed', concurrencyKey: 'k' })));
  await hand.claimOne({ lanes: [{ lane: 'keyed' }], leaseDuration: seconds(600) });
  const ordered = { lane: 'ordered', orderingKey: 'k' };
  await hand.create(
    ordered,
    ordered,
    ordered,
    { ...ordered, orderingKey: 'dead' },
    { ...ordered, orderingKey: 'dead' },
  );
  await hand.claimOne({ lanes: [{ lane: 'ordered' }], leaseDuration: seconds(600) });
  await hand.fail(await hand.claimOne({ lanes: [{ lane: 'ordered' }] }), FailureClass.PERMANENT);

  for (const [lane, hardLimit] of [
    ['spending', 10n],
    ['saving', 100n],
  ] as const) {
    await hand.putBudget({
      name: lane,
      limits: { tokens: { hardLimit } },
      attachments: [{ subject: { case: 'lane', value: lane } }],
    });
    const [, second] = await hand.create({ lane }, { lane });
    const claim = await hand.claimOne({ lanes: [{ lane }], leaseDuration: seconds(600) });
    await hand.report(claim, { tokens: 10n });
    const held = hardLimit === 10n ? ExecutionState.BLOCKED : ExecutionState.QUEUED;
    await eventually(async () => (await hand.state(second ?? '')) === held);
  }
}

/** Of an attempt that runs, and of one that has ended. */
async function makeFrames(): Promise<void> {
  const { hand } = desk;
  const frames = new FramesByHand(desk);
  for (const ends of [false, true]) {
    const claim = await hand.claimNamed(await hand.createOne({ lane: 'output' }), { leaseDuration: seconds(600) });
    await frames.append(claim, [text('a'), json({ a: 1 }), text('b')]);
    if (ends) await hand.complete(claim);
  }
  const silent = await hand.claimNamed(await hand.createOne({ lane: 'output' }), { leaseDuration: seconds(600) });
  await frames.append(silent, [text('no summary')]);
}

/** Nothing of the time it tells is gone. */
const ANY = "'fe98a0a0-0000-7000-8000-000000000001'";
/** A namespace that has no number: whatever carries it is not where it belongs. */
const WRONG = 77;

/** What breaks each rule; the first plants of some break others too. */
const PLANTS: Readonly<Record<string, readonly string[]>> = {
  'one-place': [
    'delete from tailrace.ready',
    `insert into tailrace.scheduled select execution, now(), class, 0, 1, 0, 0, 0, null, null, null, false
       from tailrace.lease`,
  ],
  'no-orphan': [
    `insert into tailrace.scheduled values (${ANY}, now(), 1, 0, 1, 0, 0, 0, null, null, null, false)`,
    `update tailrace.ready set execution = ${ANY} where execution = (select execution from tailrace.ready limit 1)`,
  ],
  'one-class': [
    'update tailrace.ready set class = class + 1000',
    `update tailrace.attempt set namespace = ${WRONG}`,
    `update tailrace.claim_class set namespace = ${WRONG}`,
  ],
  'flow-travels': [
    'update tailrace.ready set flow = null where flow is not null',
    'update tailrace.blocked set linked = false where flow is not null',
  ],
  'parked-waits': [
    'delete from tailrace.parked',
    'update tailrace.parked set number = number + 1',
    'update tailrace.ready set resume = false where resume',
  ],
  'timer-has-subject': [
    `insert into tailrace.timer values (${ANY}, now())`,
    'insert into tailrace.timer select execution, now() from tailrace.lease',
    'insert into tailrace.timer select execution, now() from tailrace.outcome limit 1',
  ],
  'timer-is-set': ['delete from tailrace.timer', "update tailrace.ready set deadline = now() + interval '1 hour'"],
  'lease-is-watched': [
    "update tailrace.lease set check_at = expires_at + interval '1 ms'",
    "update tailrace.lease set begin_by = check_at - interval '1 ms'",
  ],
  'request-key': ['delete from tailrace.request_key', `update tailrace.request_key set execution = ${ANY}`],
  'attempts-without-gaps': [
    'delete from tailrace.attempt where number = 1 and execution in (select execution from tailrace.scheduled)',
    'update tailrace.attempt set number = 3 where number = 2',
  ],
  'attempt-number-travels': [
    'update tailrace.scheduled set attempt = attempt + 1',
    'update tailrace.lease set attempt = 2',
    'update tailrace.outcome set attempt = 0',
  ],
  'counters-travel': [
    'update tailrace.scheduled set failures = failures + 1',
    'update tailrace.ready set reclaims = 1',
    'update tailrace.attempt set failure_class = 3 where number = 2',
  ],
  'one-success': ['update tailrace.attempt set outcome = 2', 'update tailrace.attempt set outcome = 1'],
  'tokens-rise': [
    'update tailrace.lease set token = (select min(token) from tailrace.attempt)',
    'update tailrace.attempt set token = -token',
  ],
  'given-up-has-letter': [
    'delete from tailrace.dead_letter',
    `insert into tailrace.dead_letter select (jsonb_populate_record(d, '{"id": ${ANY.replaceAll("'", '"')}}')).*
       from tailrace.dead_letter d limit 1`,
  ],
  'letters-conserved': [
    'delete from tailrace.dead_letter where state = 3',
    'delete from tailrace.log where 70 = any (kind)',
  ],
  'letter-has-subject': [
    'update tailrace.dead_letter set execution = (select execution from tailrace.ready limit 1)',
    'update tailrace.dead_letter set execution = last_execution',
  ],
  'redriving-has-redrive': [
    'update tailrace.dead_letter set state = 1 where state = 2',
    'update tailrace.dead_letter set state = 2, resolution = null, closed_at = null where state = 3',
    'update tailrace.dead_letter set last_execution = execution where state = 2',
  ],
  'redriven-succeeded': ['update tailrace.dead_letter set last_execution = execution where resolution = 1'],
  'redrive-is-linked': [
    'update tailrace.execution set root = id where letter is not null',
    'update tailrace.execution set redrive_of = null where letter is not null',
    `update tailrace.execution set letter = ${ANY} where letter is not null`,
  ],
  ...HANDLER_PLANTS,
  ...REDRIVE_PLANTS,
  'blocked-has-join': [
    'update tailrace.barrier set state = 2, decided_at = now(), due_at = null where state = 1',
    `update tailrace.blocked set barrier = ${ANY} where waits_for = 1`,
    'update tailrace.barrier set kind = 3 - kind where kind in (1, 2)',
  ],
  'open-join-has-downstream': ['delete from tailrace.blocked'],
  'one-open-join': [
    `update tailrace.barrier set downstream = (select execution from tailrace.blocked limit 1) where state = 1`,
  ],
  'slots-in-order': [
    'update tailrace.slot set idx = idx + 5 where idx = 0',
    'update tailrace.barrier set slots = slots + 1',
    `update tailrace.slot set downstream = ${ANY}`,
    `update tailrace.barrier set id = ${ANY} where id = (select barrier from tailrace.slot limit 1)`,
  ],
  'slots-are-counted': [
    'update tailrace.barrier set ok = ok + 1 where ok + failed + skipped < slots',
    'update tailrace.slot set outcome = 1 where outcome is null',
    'update tailrace.barrier set late = late + 1',
    'update tailrace.barrier set chances = chances - 1 where distinct_sources',
  ],
  'slot-tells-outcome': [
    'update tailrace.slot set outcome = 2 where outcome = 1',
    'update tailrace.slot set outcome = 1 where outcome is null',
    'insert into tailrace.filling select barrier, idx, 1 from tailrace.slot where outcome is null',
  ],
  'ended-fills-slots': ['update tailrace.slot set outcome = null where outcome = 1'],
  'late-after-decision': [
    'update tailrace.slot set late = true where barrier in (select id from tailrace.barrier where state = 1)',
  ],
  'verdict-follows-slots': [
    'update tailrace.slot set outcome = null where not late',
    'update tailrace.barrier set quorum = 1 where mode = 3',
    'update tailrace.slot set outcome = 2 where barrier in (select id from tailrace.barrier where state = 1 and mode = 1)',
  ],
  ...BATCH_PLANTS,
  'member-has-flow': [
    `update tailrace.execution set flow = ${ANY} where flow is not null`,
    `update tailrace.flow set namespace = ${WRONG}`,
    'update tailrace.execution set flow = (select id from tailrace.flow limit 1) where parent is not null',
  ],
  'live-members': [
    'delete from tailrace.flow_live',
    `insert into tailrace.flow_live select flow, id from tailrace.execution where flow is not null on conflict do nothing`,
  ],
  'failed-members': [
    'delete from tailrace.flow_failed',
    'update tailrace.flow_failed set state = 9',
    'update tailrace.execution set optional = true where flow is not null',
  ],
  'settled-is-settled': [
    'update tailrace.flow set settled_at = now() where settled_at is null',
    'update tailrace.flow set began = false where settled_at is not null',
    `insert into tailrace.unrouted (event, seq, idx, flow)
       select e.id, e.seq, e.idx, f.id from tailrace.event e, tailrace.flow f where f.settled_at is not null limit 1`,
  ],
  'settles-in-time': ['update tailrace.flow set state = 1, settled_at = null, ended_at = null where state in (3, 4)'],
  'flow-tells-end': [
    'delete from tailrace.flow_failed',
    'update tailrace.flow set state = 4 where state = 3',
    'update tailrace.flow set sealed_at = null where state = 3',
    'update tailrace.flow set state = 2, ended_at = null where state = 3',
  ],
  'flow-request': [
    `update tailrace.flow_request set flow = ${ANY}`,
    'update tailrace.flow_request set revision = revision + 1',
  ],
  'frames-without-gaps': [
    'delete from tailrace.frame where mode = 1 and number = 1',
    'delete from tailrace.frame where mode = 2',
    'update tailrace.frame set number = number + 1 where mode = 1 and number = 2',
    'update tailrace.frame set position = 1',
    'delete from tailrace.frame_head',
  ],
  'summaries-have-versions': [
    'update tailrace.frame_head set document = null, patched_at = null where document is not null',
    "update tailrace.frame_head set document = '{}' where document is null",
  ],
  'frames-before-the-end': [
    "update tailrace.frame set appended_at = now() + interval '1 hour'",
    "update tailrace.frame_head set patched_at = now() + interval '1 hour' where patched_at is not null",
    'update tailrace.frame_head set attempt = 2',
  ],
  'suspension-is-parked': [
    'delete from tailrace.suspension',
    'update tailrace.suspension set number = number + 1',
    'update tailrace.parked set cause = 1, released_at = now() where barrier is null and cause is null',
    'update tailrace.parked set cause = null where cause = 1',
  ],
  'condition-does-not-hold': [
    `update tailrace.suspension set condition = '{"kind":"signal","name":"","waitpoint":"desk"}'`,
    `insert into tailrace.signal (execution, number, id, name, source, received_at)
       select execution, 2, ${ANY}, 'a', 1, now() from tailrace.suspension`,
  ],
  'signals-without-gaps': [
    'update tailrace.signal set number = 2',
    `update tailrace.signal set execution = ${ANY} where matched is null`,
  ],
  'taken-by-suspension': [
    'update tailrace.signal set attempt = 9 where matched is not null',
    'update tailrace.signal set matched = 9 where execution in (select execution from tailrace.parked) and matched = 1',
  ],
  'waitpoint-counts-signals': [
    'update tailrace.waitpoint set signals = signals + 1',
    'update tailrace.signal set waitpoint = null',
    `update tailrace.waitpoint set namespace = ${WRONG}`,
  ],
  'waitpoint-has-secret': [
    'delete from tailrace.waitpoint_secret',
    'update tailrace.waitpoint_secret set namespace = namespace + 1',
  ],
  'active-while-suspended': ['delete from tailrace.suspension'],
  'key-travels': [
    'update tailrace.ready set gate = null where gate is not null',
    'delete from tailrace.concurrency_key',
    'update tailrace.concurrency_key set lane = lane + 1',
    "update tailrace.execution set concurrency_key = 'other' where concurrency_key is not null",
    "update tailrace.execution set ordering_key = 'other' where ordering_key is not null",
    'update tailrace.concurrency_key set ordered = not ordered',
  ],
  'key-within-limit': ['update tailrace.concurrency_key set max_running = 1'],
  'key-slots-are-taken': [
    'update tailrace.concurrency_key set max_running = 3',
    'delete from tailrace.ready where gate is not null',
    "update tailrace.lane set default_key_limit = null where name = 'keyed'",
  ],
  'order-one-place': [
    'update tailrace.blocked set waits_for = 3, budget = execution where waits_for = 4',
    'update tailrace.ready set gate = b.gate from tailrace.blocked b where b.waits_for = 4',
  ],
  'order-goes-on': [
    'delete from tailrace.lease where gate is not null',
    'update tailrace.dead_letter set state = 3, resolution = 1, closed_at = now() where gate is not null',
    'update tailrace.dead_letter set gate_place = 9e18 where gate is not null',
  ],
  'order-waits-in-its-line': [
    'update tailrace.blocked set waits_for = 2 where waits_for = 4',
    'update tailrace.blocked set waits_for = 4 where waits_for = 2',
  ],
  'order-blocked-by-its-own': [
    'update tailrace.execution set dead_head = 2 where dead_head = 1',
    'update tailrace.dead_letter set gate_place = null where gate is not null',
    "update tailrace.execution set ordering_key = 'other' where ordering_key is not null",
  ],
  'budget-is-kept': ['update tailrace.budget_dimension set hard_limit = 9 where hard_limit = 10'],
  'use-adds-up': [
    'update tailrace.applied_usage set amount = amount - 1',
    'update tailrace.budget_dimension set used = used + 1',
    'update tailrace.budget_delta set amount = amount + 1',
    'update tailrace.budget_dimension set epoch = epoch + 1',
  ],
  'counted-was-reported': [
    'update tailrace.execution_usage set amount = amount - 1',
    'delete from tailrace.execution_usage',
  ],
  'used-up-is-marked': [
    'update tailrace.budget set exhausted = not exhausted where exhausted',
    'update tailrace.budget set exhausted = true where not exhausted',
    'update tailrace.budget_dimension set hard_limit = hard_limit + 1 where hard_limit = 10',
  ],
  'spent-are-attachments': [
    'delete from tailrace.spent',
    'insert into tailrace.spent select * from tailrace.budget_attachment on conflict do nothing',
    'delete from tailrace.budget_attachment',
  ],
  'blocked-has-budget': [
    'delete from tailrace.spent',
    `update tailrace.blocked set budget = ${ANY} where waits_for = 3`,
    'update tailrace.spent set lane = lane + 1000',
  ],
  ...EVENT_PLANTS,
  ...CONSUMER_PLANTS,
  'positions-without-gaps': [
    'update tailrace.log_run set base = base + 1 where base = (select max(base) from tailrace.log_run)',
    'delete from tailrace.log_run where base = 1',
  ],
  'runs-hold-their-entries': [
    'update tailrace.log_run set n = n + 1',
    'delete from tailrace.log where seq = (select min(seq) from tailrace.log)',
  ],
  'one-position': [
    'delete from tailrace.log_run where base = (select min(base) from tailrace.log_run)',
    `insert into tailrace.log_run select max(base + n), 1, 1, 1, max(top), '{}', '{}' from tailrace.log_run`,
  ],
  'created-is-logged': [
    'delete from tailrace.log where 1 = any (kind)',
    'update tailrace.log set kind = array_fill(1::smallint, array[n]) where 2 = any (kind) or 20 = any (kind)',
  ],
  'end-is-logged': [
    'update tailrace.outcome set state = 9, reason = 20, result = null, result_type = null where state = 7',
    'delete from tailrace.log where 6 = any (kind)',
  ],
  'attempts-are-logged': ['delete from tailrace.log where 20 = any (kind)', 'delete from tailrace.attempt'],
  conserved: [
    'delete from tailrace.ready',
    'delete from tailrace.execution where id in (select execution from tailrace.ready)',
    'update tailrace.state_count set n = n + 1 where state = 7',
    'insert into tailrace.retired select id, 7, 1 from tailrace.claim_class',
  ],
  'counts-are-folded': [
    'update tailrace.state_count set n = n + 1 where state = 7',
    'delete from tailrace.state_count where state = 0',
    'update tailrace.counted set position = 1',
  ],
  'members-are-folded': ['update tailrace.flow_count set n = n + 1', 'delete from tailrace.flow_count where state = 0'],
  'events-are-folded': ['update tailrace.event_count set n = n + 1', 'delete from tailrace.event_count'],
  'flow-is-logged': ['delete from tailrace.log where 40 = any (kind)', 'delete from tailrace.flow where state = 3'],
  'decision-is-logged': [
    'update tailrace.barrier set state = 5 where state = 2',
    'update tailrace.barrier set state = 4 where state = 3',
    'delete from tailrace.log where 50 = any (kind)',
  ],
  ...LOG_PLANTS,
  ...RETIREMENT_PLANTS,
};

async function found(name: string): Promise<string[]> {
  const rule = INVARIANTS.find((invariant) => invariant.name === name);
  if (!rule) throw new Error(`there is no rule ${name}`);
  const { rows } = await client.query<{ sample: string }>(render(rule.query, desk.database.schema));
  return rows.map(({ sample }) => sample);
}

describe('verify', () => {
  it('finds nothing wrong after ordinary work', async () => {
    expect(await desk.broken()).toEqual([]);
  });

  it('has a planted violation for each rule', () => {
    expect(Object.keys(PLANTS)).toEqual(INVARIANTS.map(({ name }) => name));
  });

  it.each(Object.entries(PLANTS).flatMap(([name, plants]) => plants.map((plant) => [name, plant] as const)))(
    '%s: %s',
    async (name, plant) => {
      await client.query('begin');
      try {
        expect(await found(name)).toEqual([]);
        for (const { rowCount } of [await client.query(plant)].flat()) expect(rowCount).toBeGreaterThan(0);
        const samples = await found(name);
        expect(samples.length).toBeGreaterThan(0);
        expect(samples.every((sample) => sample !== null && sample !== '')).toBe(true);
      } finally {
        await client.query('rollback');
      }
    },
  );
});
