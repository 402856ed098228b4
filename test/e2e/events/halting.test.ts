/** A subscription that cannot be evaluated, or makes what cannot be stored, stops nobody but itself, and loses nothing. */
import pg from 'pg';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { FlowMilestone } from '../../../gen/tailrace/v1/completion_service_pb.js';
import type { Execution } from '../../../gen/tailrace/v1/execution_pb.js';
import { FlowState } from '../../../gen/tailrace/v1/flow_pb.js';
import { LogEntryKind, StartPosition } from '../../../gen/tailrace/v1/log_pb.js';
import type { KeySource, Subscription, SubscriptionSpec } from '../../../gen/tailrace/v1/subscription_pb.js';
import { type Init, seconds } from '../../support/by-hand.js';
import { EventsByHand } from '../../support/events-by-hand.js';
import { eventually } from '../../support/eventually.js';
import { startTailrace, type TestTailrace } from '../../support/tailrace.js';

let tailrace: TestTailrace;
let hand: EventsByHand;
let client: pg.Client;
beforeAll(async () => {
  tailrace = await startTailrace();
  hand = new EventsByHand(tailrace);
  client = new pg.Client({ connectionString: tailrace.database.url });
  await client.connect();
  const { schema } = tailrace.database;
  // What no filter or spec that is accepted can bring about: rows of one kind cannot be stored.
  await client.query(
    `create function ${schema}.fail() returns trigger language plpgsql as $$
     begin raise exception using errcode = '22003', message = 'a number is out of range'; end $$`,
  );
  await client.query(
    `create trigger fail before insert on ${schema}.execution for each row
     when (new.tags ->> 'bad' = new.tags ->> 'by') execute function ${schema}.fail()`,
  );
});
afterAll(async () => {
  await client.end();
  await tailrace.stop();
});

const triggers = (executions: readonly Execution[]) => executions.map(({ triggerEventId }) => triggerEventId);

const subscribe = (name: string, more: Omit<Init<SubscriptionSpec>, 'name'>) =>
  hand.subscribe(name, { tags: { by: name }, ...more });

/** The events of what is handed out, one after the other. Ids that were made in one millisecond tell no order. */
async function taken(lane: string, count: number): Promise<(string | undefined)[]> {
  const ids: (string | undefined)[] = [];
  while (ids.length < count) {
    const claim = await hand.claimOne({ lanes: [{ lane }] });
    ids.push(claim.trigger?.subject.case === 'event' ? claim.trigger.subject.value.eventId : undefined);
    await hand.complete(claim);
  }
  return ids;
}

async function look(subscription: string): Promise<Subscription> {
  const answer = await tailrace.admin.getSubscription({ subscription });
  if (answer.subscription === undefined) throw new Error('an answer without a subscription');
  return answer.subscription;
}

async function publish(type: string, tags: Record<string, string>[], flowId = ''): Promise<string[]> {
  const made = await hand.publish(...tags.map((each) => ({ type, tags: each, flowId })));
  return made.map(({ eventId }) => eventId);
}

it('halts the one at fault alone; put again, it goes on where it was', async () => {
  const filter = { eventTypes: ['order'] };
  const orderingKey = { source: { case: 'tag' as const, value: 'key' } };
  await subscribe('sound', { filter });
  await subscribe('faulty', { filter });
  await subscribe('sound in order', { filter, orderingKey });
  await subscribe('faulty in order', { filter, orderingKey });
  const key = 'one';
  const ids = await publish('order', [
    { key },
    { key, bad: 'faulty' },
    { key },
    { key, bad: 'faulty in order' },
    { key },
  ]);
  for (const name of ['sound', 'sound in order']) {
    await eventually(async () => (await hand.reactionsOf(name)).length === ids.length);
    expect(await look(name)).toMatchObject({ haltReason: '', unroutedEventCount: 0n });
  }
  const faulty = ['faulty', 'faulty in order'];
  for (const name of faulty) {
    await eventually(async () => (await look(name)).haltTime !== undefined);
    const halted = await look(name);
    expect(halted.haltReason).toContain('out of range');
    expect(halted.unroutedEventCount).toBe(BigInt(ids.length - (await hand.reactionsOf(name)).length));
  }
  const [more] = await publish('order', [{ key }]);
  await eventually(async () => triggers(await hand.reactionsOf('sound')).includes(more ?? ''));
  await client.query(`alter table ${tailrace.database.schema}.execution disable trigger fail`);
  for (const name of faulty) {
    const { version } = await look(name);
    const resumed = await subscribe(name, { filter, ...(name.endsWith('order') && { orderingKey }) });
    expect(resumed).toMatchObject({ version, haltReason: '' });
    await eventually(async () => (await look(name)).unroutedEventCount === 0n);
    const made = triggers(await hand.reactionsOf(name));
    expect([...made].sort()).toEqual([...ids, more].sort());
    if (name.endsWith('order')) expect(await taken(name, made.length)).toEqual([...ids, more]);
  }
  const filters = { kinds: [LogEntryKind.ADMIN_SUBSCRIPTION_UPDATED] };
  const { entries } = await tailrace.admin.listLogEntries({ filter: filters, oldestFirst: true });
  const told = entries.filter(({ subject }) => subject === 'faulty');
  expect(told.map(({ reason }) => reason)).toEqual(['', expect.stringContaining('out of range'), '']);
  await client.query(`alter table ${tailrace.database.schema}.execution enable trigger fail`);
});

it('takes a completion whose event somebody at fault wants, and halts that one', async () => {
  await subscribe('unsound', { filter: { eventTypes: ['emitted'] } });
  await hand.create({ lane: 'emitting' });
  const claim = await hand.claimOne({ lanes: [{ lane: 'emitting' }] });
  const { eventIds } = await hand.completeWith(claim, { type: 'emitted', tags: { bad: 'unsound' } });
  expect(eventIds).toHaveLength(1);
  await eventually(async () => (await look('unsound')).haltReason.includes('out of range'));
});

it('25 what waited by one key is taken in order by another one, after that was put', async () => {
  const filter = { eventTypes: ['moved'] };
  const by = (source: NonNullable<Init<KeySource>['source']>) =>
    subscribe('rekeyed', { filter, orderingKey: { source } });
  await by({ case: 'flow', value: true });
  const n = Array.from({ length: 12 }, (_, i) => `${i}`);
  await publish(
    'moved',
    n.map((each) => ({ n: each, key: 'one', bad: 'rekeyed' })),
  );
  await eventually(async () => (await look('rekeyed')).haltReason !== '');
  await client.query(`alter table ${tailrace.database.schema}.execution disable trigger fail`);
  await by({ case: 'tag', value: 'key' });
  const taken: (string | undefined)[] = [];
  while (taken.length < n.length) {
    for (const claim of await hand.claim({ lanes: [{ lane: 'rekeyed' }], maxExecutions: 5 })) {
      if (claim.tags['key'] === 'one') taken.push(claim.tags['n']);
      await hand.complete(claim);
    }
  }
  expect(taken).toEqual(n);
  await client.query(`alter table ${tailrace.database.schema}.execution enable trigger fail`);
});

it('keeps flows unsettled by what waits, until that is canceled, deleted or not wanted any more', async () => {
  const names = ['canceled', 'deleted', 'unwanted'];
  const flows = new Map<string, string>();
  for (const name of names) {
    const filter = { eventTypes: [name] };
    await subscribe(name, { filter });
    const flow = await hand.flow({}, { open: true });
    flows.set(name, flow.id);
    await publish(name, [{ bad: name }, {}], flow.id);
    await flow.seal();
    await eventually(async () => (await look(name)).haltReason !== '');
    expect(await flow.get()).toMatchObject({ settled: false, unroutedEventCount: 2n });
  }
  await tailrace.engine.cancelFlow({ flowId: flows.get('canceled') ?? '' });
  await subscribe('canceled', { filter: { eventTypes: ['canceled'] } });
  await tailrace.admin.deleteSubscription({ subscription: 'deleted' });
  await subscribe('unwanted', { filter: { eventTypes: ['another'] } });
  for (const [name, flowId] of flows) {
    const { flow } = await tailrace.completion.awaitFlow({ flowId, until: FlowMilestone.ENDED, timeout: seconds(20) });
    expect(flow?.state).toBe(name === 'canceled' ? FlowState.CANCELED : FlowState.SUCCEEDED);
    expect(await hand.reactionsOf(name)).toEqual([]);
  }
});

it('leaves nothing open behind a subscription that is deleted, by whomever, or that reads its past', async () => {
  const { schema } = tailrace.database;
  const names = ['live', 'past'];
  for (const name of names) {
    const flow = await hand.flow({}, { open: true });
    const filter = { eventTypes: [name] };
    const start = name === 'past' ? StartPosition.EARLIEST : StartPosition.LATEST;
    const subscribed = () => subscribe(name, { filter, start });
    if (name === 'live') await subscribed();
    await publish(name, [{ bad: name }], flow.id);
    if (name === 'past') {
      await flow.settled();
      await subscribed();
    }
    await eventually(async () => (await look(name)).haltReason !== '');
    // As a server does that tells nobody of it.
    await client.query(`select from ${schema}.delete_subscription(1, $1, 0, '')`, [name]);
    await flow.settled();
  }
});
