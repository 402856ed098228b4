/** Events for the rules to hold over, and what breaks each rule that is about them. */
import { leaseOf, ok, only, seconds, text } from '../by-hand.js';
import type { Desk } from '../desk.js';
import { eventually } from '../eventually.js';

/** Published with and without ids, into streams, for a cause; reacted to, with an event that is emitted; and to nobody. */
export async function makeEvents({ admin, engine, hand }: Desk): Promise<void> {
  await admin.putSubscription({
    subscription: { name: 'reacts', filter: { eventTypes: ['made'] }, type: 'react', lane: 'reacts' },
  });
  const { results } = await engine.publishEvents({
    events: [
      { type: 'made', eventId: 'first', stream: 'made', payload: text('first') },
      { type: 'made', stream: 'made', causeEventId: 'first' },
      { type: 'unwanted', eventId: 'last' },
    ],
  });
  results.map(ok);
  const claim = await hand.claimOne({ lanes: [{ lane: 'reacts' }], leaseDuration: seconds(600) });
  const completions = [{ lease: leaseOf(claim), events: [{ type: 'unwanted', stream: 'made' }] }];
  ok(only((await engine.completeExecutions({ completions })).results));
}

/** A batch of which two places are filled by events, and the third is owned by an execution that runs. */
export async function makeBatches({ admin, engine, hand }: Desk): Promise<void> {
  const own = { type: 'own', lane: 'owns', name: 'owns', filter: { eventTypes: ['owned'] } };
  const join = { type: 'join', lane: 'joins', name: 'joins', filter: { eventTypes: ['piece'] }, batchJoin: {} };
  for (const subscription of [own, join]) await admin.putSubscription({ subscription });
  const events = ['piece', 'piece', 'owned'].map((type) => ({ type, batchGroup: 'all' }));
  (await engine.publishEvents({ events })).results.map(ok);
  await hand.claimOne({ lanes: [{ lane: 'owns' }], leaseDuration: seconds(600) });
  await eventually(async () => {
    const { joins } = await admin.listJoins({ subscription: 'joins' });
    return joins.length === 1 && joins[0]?.okCount === 2;
  });
}

const ANY = "'fe98a0a0-0000-7000-8000-000000000001'";
const WRONG = 77;

const UNROUTED = 'insert into tailrace.unrouted (event, subscription, seq, idx, flow)';

export const BATCH_PLANTS: Readonly<Record<string, readonly string[]>> = {
  'batch-has-join': [
    'delete from tailrace.batch_join',
    `update tailrace.batch_join set execution = ${ANY}`,
    'update tailrace.execution set subscription = null where id in (select execution from tailrace.batch_join)',
  ],
  'batch-slot-tells': [
    'update tailrace.slot set outcome = 2 where event is not null',
    `update tailrace.event set batch = ${ANY} where batch is not null`,
    'update tailrace.slot set event = null, outcome = 2 where event is not null',
  ],
  'batch-slot-is-due': [
    'update tailrace.execution set batch = null where batch is not null',
    'update tailrace.slot s set event = (select id from tailrace.event where batch_index = s.idx) where outcome is null',
  ],
};

export const EVENT_PLANTS: Readonly<Record<string, readonly string[]>> = {
  'event-is-logged': [
    'update tailrace.event set seq = seq + 1000',
    'update tailrace.event set idx = idx + 1',
    "delete from tailrace.event where type = 'unwanted'",
    `update tailrace.event set namespace = ${WRONG}`,
    'update tailrace.event set cause_execution = null where cause_execution is not null',
    'update tailrace.event set flow = (select id from tailrace.flow order by id limit 1)',
  ],
  'event-key': [
    `update tailrace.event_key set event = ${ANY}`,
    "update tailrace.event set event_id = null where event_id = 'first'",
  ],
  'streams-without-gaps': [
    'update tailrace.stream set version = version + 1',
    'update tailrace.event set version = version + 1 where version = 2',
    `update tailrace.stream set namespace = ${WRONG}`,
    'delete from tailrace.stream',
  ],
  'event-has-cause': [
    'update tailrace.event set hops = hops + 1 where cause is null',
    'update tailrace.execution set hops = hops + 1 where event is not null',
    `update tailrace.event set cause = ${ANY} where cause_execution is null`,
    `update tailrace.flow set namespace = ${WRONG}`,
  ],
  'unrouted-has-event': [
    `${UNROUTED} values (${ANY}, 0, 1, 1, ${ANY})`,
    `${UNROUTED} select id, 0, seq, idx + 1, flow from tailrace.event`,
    `${UNROUTED} select id, ${WRONG}, seq, idx, flow from tailrace.event`,
    `${UNROUTED} select e.id, x.subscription, e.seq, e.idx, e.flow
       from tailrace.execution x join tailrace.event e on e.id = x.event`,
  ],
  'reacts-once': [
    `insert into tailrace.execution
       select (jsonb_populate_record(x, jsonb_build_object('id', tailrace.uuid_v7()))).*
       from tailrace.execution x where x.event is not null limit 1`,
    'update tailrace.execution set flow = (select id from tailrace.flow order by id limit 1) where event is not null',
  ],
  'reacts-to-all': [
    'update tailrace.execution set event = null where event is not null',
    'update tailrace.execution set redrive_of = id where event is not null',
    "update tailrace.event set type = 'made' where type = 'unwanted'",
  ],
};
