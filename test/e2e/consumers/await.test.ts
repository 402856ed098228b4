/** Waiting until a consumer has passed a cursor, and proof 2: what many write at once reaches its consumers once, in order. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { SplitKey } from '../../../gen/tailrace/v1/consumer_pb.js';
import type { Event } from '../../../gen/tailrace/v1/event_pb.js';
import { pause } from '../../../src/runtime/clock.js';
import { refusal, seconds } from '../../support/by-hand.js';
import { Chance } from '../../support/chance.js';
import { ConsumersByHand, entriesOf, Member, type Owner } from '../../support/consumers-by-hand.js';
import { SqlClients } from '../../support/sql-clients.js';
import { startTailrace, type TestTailrace } from '../../support/tailrace.js';

const LONG = seconds(20);

let tailrace: TestTailrace;
let other: TestTailrace;
let hand: ConsumersByHand;
beforeAll(async () => {
  tailrace = await startTailrace();
  other = await startTailrace({ database: tailrace.database });
  hand = new ConsumersByHand(tailrace);
});
afterAll(async () => {
  await other.stop();
  await tailrace.stop();
});

async function follower(name: string, more: Parameters<ConsumersByHand['consumer']>[1] = {}): Promise<Owner> {
  await hand.consumer(name, { filter: { eventTypes: [name] }, ...more });
  return await hand.owner(name);
}

const wait = (consumer: string, cursor: string, timeout = LONG, { completion } = tailrace) =>
  completion.awaitConsumer({ consumer, cursor, timeout });

describe('Waiting for a consumer', () => {
  it('ends once it has passed what was written, wherever that is committed', async () => {
    const owner = await follower('awaited');
    const { cursor } = await hand.publishOne({ type: 'awaited' });
    expect(await wait('awaited', cursor, seconds(0))).toMatchObject({ done: false, cursor: owner.cursor });
    expect(await wait('awaited', cursor, seconds(0.3))).toMatchObject({ done: false, cursor: owner.cursor });
    const waiting = [wait('awaited', cursor), wait('awaited', cursor, LONG, other)];
    await owner.commit(await owner.fetch({ wait: LONG }));
    for (const answer of await Promise.all(waiting)) expect(answer).toMatchObject({ done: true, cursor: owner.cursor });
  });

  it('ends at once when none of its entries is left before the cursor, part by part', async () => {
    const name = 'nothing left';
    await hand.consumer(name, { filter: { eventTypes: [name] }, splitKey: SplitKey.STREAM, partCount: 8 });
    const owners = await hand.member(name).acquire();
    const [first, last] = await hand.publish({ type: name, stream: name }, { type: name, stream: name });
    const after = await hand.publishOne({ type: 'of no interest' });
    for (const { cursor = '' } of [first ?? {}, after]) {
      expect(await wait(name, cursor, seconds(0))).toMatchObject({ done: false });
    }
    const answers = await Promise.all(owners.map((owner) => owner.fetch()));
    const [answer] = answers.filter(({ deliveries }) => deliveries.length > 0);
    const owner = owners[answer ? answers.indexOf(answer) : -1];
    if (answer === undefined || owner === undefined) throw new Error('no part has it');
    expect(entriesOf(answer)).toHaveLength(2);
    await owner.commit(answer, { toCursor: first?.cursor ?? '' });
    // The other parts stand where they began, and have nothing to do.
    expect(await wait(name, first?.cursor ?? '', seconds(0))).toMatchObject({ done: true });
    expect(await wait(name, last?.cursor ?? '', seconds(0))).toMatchObject({ done: false });
    await owner.commit(answer, { fromCursor: first?.cursor ?? '', toCursor: last?.cursor ?? '' });
    const least = owners.find((one) => one !== owner)?.cursor;
    expect(await wait(name, after.cursor, seconds(0))).toMatchObject({ done: true, cursor: least });
  });

  it('is refused when that cannot come, unless it has come', async () => {
    const owner = await follower('stands', { maxTries: 1 });
    const passed = await hand.publishOne({ type: 'stands' });
    await owner.commit(await owner.fetch({ wait: LONG }));
    const { cursor } = await hand.publishOne({ type: 'stands' });
    const waiting = refusal(wait('stands', cursor));
    await tailrace.admin.pauseConsumer({ consumer: 'stands' });
    expect(await waiting).toMatchObject({ reason: 'CONSUMER_PAUSED' });
    expect(await wait('stands', passed.cursor)).toMatchObject({ done: true });
    await tailrace.admin.resumeConsumer({ consumer: 'stands' });
    const [delivery] = (await owner.fetch({ wait: LONG })).deliveries;
    if (delivery) await owner.fail(delivery);
    expect(await refusal(wait('stands', cursor))).toMatchObject({ reason: 'CONSUMER_HALTED' });
    expect(await wait('stands', passed.cursor)).toMatchObject({ done: true });
    expect(await refusal(wait('nobody', cursor))).toMatchObject({ reason: 'CONSUMER_NOT_FOUND' });
    expect(await refusal(wait('stands', 'AAAA'))).toMatchObject({ reason: 'BAD_CURSOR' });
    const abroad = { namespace: 'abroad', consumer: 'stands', cursor };
    expect(await refusal(tailrace.completion.awaitConsumer(abroad))).toMatchObject({ reason: 'BAD_CURSOR' });
    const wrong = { consumer: '', cursor: '', timeout: seconds(61) };
    const { fieldViolations } = await refusal(tailrace.completion.awaitConsumer(wrong));
    expect(fieldViolations.map(({ field }) => field)).toEqual(['consumer', 'cursor', 'timeout']);
  });
});

const WRITERS = 50;
const CALLS = 4;
const STREAMS = 9;

it('proof 2: fifty write at once, one stays open meanwhile, and every entry comes once, in the order of its stream', async () => {
  const name = 'busy';
  const sql = await SqlClients.start(tailrace.database);
  const split = { splitKey: SplitKey.STREAM, partCount: 4 };
  await hand.consumer(name, { filter: { eventTypes: [name] }, ...split });
  const members = [hand.member(name), new Member(other, name)];
  const owners = (await Promise.all(members.map((member) => member.acquire({ maxParts: 2 })))).flat();
  expect(owners).toHaveLength(4);

  const open = await sql.begin();
  await open.query(`select ${tailrace.database.schema}.publish_event('default', $1, '"late"')`, [name]);
  const seen: Event[][] = owners.map(() => []);
  const enough = () => seen.flat().length >= published.length;
  const published: string[] = [];
  const follow = async (owner: Owner, i: number) => {
    while (!stop.signal.aborted) {
      const answer = await owner.fetch({ maxEntries: 7, wait: seconds(1) });
      for (const { body } of entriesOf(answer)) if (body.case === 'event') seen[i]?.push(body.value);
      if (answer.fromCursor !== answer.toCursor) await owner.commit(answer);
    }
  };
  const stop = new AbortController();
  const following = Promise.all(owners.map(follow));
  const write = async (writer: number, dice: Chance) => {
    const by = new ConsumersByHand(writer % 2 === 0 ? tailrace : other);
    for (let call = 0; call < CALLS; call++) {
      await pause(dice.below(20));
      const events = Array.from({ length: 1 + dice.below(3) }, () => ({
        type: name,
        stream: `${dice.below(STREAMS)}`,
      }));
      published.push(...(await by.publish(...events)).map(({ eventId }) => eventId));
    }
  };
  const dice = new Chance(11);
  await Promise.all(Array.from({ length: WRITERS }, (_, writer) => write(writer, dice.fork())));
  const last = await hand.publishOne({ type: 'of no interest' });
  // Nobody waits for the writer that is still open.
  expect(await wait(name, last.cursor)).toMatchObject({ done: true });
  expect(enough()).toBe(true);
  await open.commit();
  const behind = await hand.publishOne({ type: 'of no interest' });
  expect(await wait(name, behind.cursor, LONG, other)).toMatchObject({ done: true });
  stop.abort();
  await following;
  await sql.stop();

  const events = seen.flat();
  const late = events.filter(({ eventId }) => !published.includes(eventId));
  expect(late.map(({ payload }) => payload?.body.value)).toEqual(['"late"']);
  expect(events.map(({ eventId }) => eventId).sort()).toEqual([...published, late[0]?.eventId].sort());
  for (const part of seen) {
    for (const stream of new Set(part.map((event) => event.stream))) {
      if (stream === '') continue;
      const versions = part
        .filter((event) => event.stream === stream)
        .map(({ streamVersion }) => Number(streamVersion));
      expect(versions).toEqual(versions.map((_, i) => i + 1));
    }
  }
});
