/** Events whose place in the log becomes known late are routed all the same. */
import pg from 'pg';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { EventsByHand } from '../../support/events-by-hand.js';
import { eventually } from '../../support/eventually.js';
import { HeldRows } from '../../support/held-rows.js';
import { startTailrace, type TestTailrace } from '../../support/tailrace.js';

let tailrace: TestTailrace;
let hand: EventsByHand;
let client: pg.Client;
beforeAll(async () => {
  tailrace = await startTailrace();
  hand = new EventsByHand(tailrace);
  client = new pg.Client({ connectionString: tailrace.database.url });
  await client.connect();
});
afterAll(async () => {
  await client.end();
  await tailrace.stop();
});

async function routed(subscription: string): Promise<void> {
  await eventually(async () => {
    const { subscription: now } = await tailrace.admin.getSubscription({ subscription });
    return now?.backfilling === false && now.unroutedEventCount === 0n;
  });
}

it('25 an ordered subscription takes a publication that committed late, however large it is', async () => {
  const filter = { eventTypes: ['late'] };
  await hand.subscribe('in order', { filter, orderingKey: { source: { case: 'tag', value: 'key' } } });
  const held = await HeldRows.start(tailrace.database);
  await held.holdTable('unrouted');
  const events = Array.from({ length: 1_200 }, (_, n) => ({
    type: 'late',
    batchGroup: 'all',
    tags: { key: `${n % 3}`, n: `${n}` },
  }));
  const publishing = hand.publish(...events);
  await eventually(() => held.keepsWaiting('publish_events'));
  // Drawn later, it has its position before.
  const created = await hand.createOne();
  await eventually(async () => {
    const { entries } = await tailrace.admin.listLogEntries({});
    return entries.some(({ executionId }) => executionId === created);
  });
  await held.release();
  await publishing;
  await routed('in order');
  const seen: (string | undefined)[] = [];
  while (seen.length < 30) {
    for (const claim of await hand.claim({ lanes: [{ lane: 'in order' }], maxExecutions: 3 })) {
      seen.push(claim.tags['n']);
      await hand.complete(claim);
    }
  }
  for (const key of [0, 1, 2]) {
    const line = seen.filter((n) => Number(n) % 3 === key);
    expect(line).toEqual(line.map((_, i) => `${3 * i + key}`));
  }
});

it('2 a subscription that begins behind a cursor reads what has no position yet', async () => {
  const type = 'paid';
  const { eventId } = await hand.publishOne({ type });
  await eventually(async () => (await hand.event(eventId)).cursor !== '');
  const { cursor } = await hand.event(eventId);
  const { schema } = tailrace.database;
  const sequencer = `1953656651, '${schema}'::regnamespace::oid::int`;
  await client.query(`select pg_advisory_lock(${sequencer})`);
  const publishing = hand.publishOne({ type });
  await eventually(async () => {
    const { rows } = await client.query(`select from ${schema}.event where type = $1`, [type]);
    return rows.length === 2;
  });
  await hand.subscribe('behind', { filter: { eventTypes: [type] }, cursor });
  await routed('behind');
  await client.query(`select pg_advisory_unlock(${sequencer})`);
  const made = await hand.reactionsOf('behind');
  expect(made.map(({ triggerEventId }) => triggerEventId)).toEqual([(await publishing).eventId]);
});
