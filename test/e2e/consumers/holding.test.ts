/** Who holds parts: shares among members, takeover, release, and what fences those who lost one. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { verify } from '../../../src/repository/verification/index.js';
import { refusal, seconds, text } from '../../support/by-hand.js';
import { ConsumersByHand, entriesOf, Member, type Owner, payloadsOf } from '../../support/consumers-by-hand.js';
import { eventually } from '../../support/eventually.js';
import { clientsOf, startTailrace, type TestTailrace } from '../../support/tailrace.js';

let tailrace: TestTailrace;
let other: TestTailrace;
let hand: ConsumersByHand;
beforeAll(async () => {
  tailrace = await startTailrace();
  other = await startTailrace({ database: tailrace.database });
  hand = new ConsumersByHand(tailrace);
});
afterAll(async () => {
  const broken = (await verify(tailrace.running.engine.database)).filter(({ violations }) => violations.length > 0);
  await other.stop();
  await tailrace.stop();
  expect(broken).toEqual([]);
});

let made = 0;
const fresh = () => `held ${++made}`;
/** A consumer of its own events. */
const consumer = async (more = {}) => {
  const name = fresh();
  await hand.consumer(name, { filter: { eventTypes: [name] }, ...more });
  return name;
};
const publish = (type: string, count: number) =>
  hand.publish(...Array.from({ length: count }, (_, i) => ({ type, payload: text(String(i)) })));
const partsOf = (owners: readonly Owner[]) => owners.map(({ held }) => held.part.part);
const reasonOf = async (call: Promise<unknown>) => (await refusal(call)).reason;
const waitersAt = ({ running }: TestTailrace, count: number) =>
  eventually(() => running.engine.consumerWakes.waiting === count);

describe('Shares', () => {
  it('move to members that come, part by part, and nobody holds one twice', async () => {
    const name = await consumer({ partCount: 4 });
    const [first, second] = [hand.member(name), new Member(other, name)];
    const held = await first.acquire();
    expect(partsOf(held)).toEqual([0, 1, 2, 3]);

    const fetches = held.map((owner) => owner.fetch({ wait: seconds(20) }));
    const wanted: Owner[] = [];
    fetches.forEach((fetch, i) => {
      void fetch.then(({ releaseWanted }) => releaseWanted && wanted.push(held[i] as Owner));
    });
    // Its wait tells the first, whose fetches wait at the other server, that two parts are wanted.
    const coming = second.acquire({ wait: seconds(20) });
    await eventually(() => wanted.length === 2);
    await publish(name, 60); // for the others, which wait on
    expect((await Promise.all(fetches)).filter(({ releaseWanted }) => releaseWanted)).toHaveLength(2);
    const [given, kept] = wanted as [Owner, Owner];
    const release = (owner: Owner) => tailrace.completion.releaseConsumer({ ...owner.held, parts: [owner.held.part] });
    expect(await release(given)).toMatchObject({ releasedCount: 1 });
    expect(partsOf(await coming)).toEqual(partsOf([given]));
    await release(kept);
    expect(partsOf(await second.acquire()).sort()).toEqual(partsOf(wanted).sort());
    const rest = partsOf(held).filter((part) => !partsOf(wanted).includes(part));
    expect(partsOf(await first.acquire())).toEqual(rest);
    expect(await release(given)).toMatchObject({ releasedCount: 0 });
    expect(await reasonOf(given.fetch())).toBe('EPOCH_CONFLICT');

    // When one goes, the other may have them all.
    expect(await second.release()).toBe(2);
    expect(partsOf(await first.acquire())).toEqual([0, 1, 2, 3]);
  });

  it('are not kept for somebody who waited and went away', async () => {
    const name = await consumer({ partCount: 2 });
    const first = hand.member(name);
    const [one] = await first.acquire();
    const gone = new AbortController();
    const ask = { consumer: name, ownerId: 'gone', wait: seconds(60) };
    const waiting = tailrace.completion.acquireConsumer(ask, { signal: gone.signal }).catch(() => undefined);
    const wanted = async () =>
      (await Promise.all((await first.acquire()).map((owner) => owner.fetch()))).some((it) => it.releaseWanted);
    await eventually(wanted);
    gone.abort();
    await waiting;
    // A look that was under way could still be given what becomes free now.
    await waitersAt(tailrace, 0);
    await tailrace.completion.releaseConsumer({ ...one?.held, parts: one ? [one.held.part] : [] });
    await eventually(async () => (await first.acquire()).length === 2);
  });

  it('move to those who wait even where there are more of them than parts', async () => {
    const name = await consumer({ partCount: 2 });
    const held = await hand.member(name).acquire();
    const second = hand.member(name).acquire({ wait: seconds(20) });
    const wanted = async () => (await Promise.all(held.map((owner) => owner.fetch()))).map((it) => it.releaseWanted);
    await eventually(async () => (await wanted()).includes(true));
    expect(await reasonOf(hand.member(name).acquire())).toBe('CONSUMER_HELD');
    expect((await wanted()).filter(Boolean)).toHaveLength(1);
    await held[0]?.member.release();
    expect(await second).toHaveLength(1);
  });

  it('are refused with the holder while all parts are held (proof 11)', async () => {
    const name = await consumer();
    const [owner] = await hand.member(name).acquire();
    // What two processes on one host, or with one pid in two containers, tell of themselves differs by nothing but chance.
    const members = Array.from({ length: 6 }, (_, i) => new Member(i % 2 ? other : tailrace, name));
    for (const detail of await Promise.all(members.map((member) => refusal(member.acquire())))) {
      expect(detail).toMatchObject({ reason: 'CONSUMER_HELD', metadata: { owner_id: owner?.member.ownerId } });
      expect(Date.parse(detail.metadata['expire_time'] ?? '')).toBeGreaterThan(0);
    }
    await owner?.member.release();
    const answers = await Promise.allSettled(members.map((member) => member.acquire()));
    expect(answers.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
  });

  it('are told when there is no such consumer or generation', async () => {
    const name = await consumer();
    expect(await reasonOf(hand.member(fresh()).acquire())).toBe('CONSUMER_NOT_FOUND');
    expect(await reasonOf(hand.member(fresh()).release())).toBe('CONSUMER_NOT_FOUND');
    expect(await reasonOf(hand.member(name).acquire({ generation: 2n, wait: seconds(5) }))).toBe(
      'GENERATION_NOT_FOUND',
    );
    expect(await hand.member(name).release()).toBe(0);
  });
});

describe('A lease', () => {
  it('that runs out passes the part on, and fences whoever had it', async () => {
    const [name, alone] = [await consumer(), await consumer()];
    await publish(name, 3);
    const lease = { leaseDuration: seconds(1) };
    const [lost, late] = [await hand.owner(name, lease), await hand.owner(alone, lease)];
    const before = await lost.fetch({ wait: seconds(5) });
    const [owner] = await new Member(other, name).acquire({ wait: seconds(10) });
    if (owner === undefined) throw new Error('nothing was taken over');
    expect(owner.held.part.epoch).toBeGreaterThan(lost.held.part.epoch);

    const [first] = before.deliveries;
    if (first === undefined) throw new Error('nothing was delivered');
    for (const call of [() => lost.fetch(), () => lost.commit(before), () => lost.fail(first)]) {
      expect(await refusal(call())).toMatchObject({ reason: 'EPOCH_CONFLICT', metadata: { part: '0' } });
    }
    expect(await lost.member.release()).toBe(0);
    expect(await owner.fetch()).toMatchObject({ fromCursor: before.fromCursor, deliveries: before.deliveries });
    await owner.commit(before);

    // Nobody took the other one, so it counts on although it has run out.
    const empty = await late.fetch();
    expect((await late.commit(empty)).expireTime).toBeDefined();
    const [again] = await late.member.acquire(lease);
    expect(again?.held.part.epoch).toBe(late.held.part.epoch);
  });

  it('waits while its consumer is paused, and is given as soon as that ends', async () => {
    const name = await consumer();
    const { version } = (await tailrace.admin.pauseConsumer({ consumer: name, reason: 'a look' })).consumer ?? {};
    expect(version).toBe(2n);
    const paused = await refusal(hand.member(name).acquire());
    expect(paused).toMatchObject({ reason: 'CONSUMER_PAUSED', metadata: { state_reason: 'a look' } });
    const coming = hand.member(name).acquire({ wait: seconds(30) });
    await waitersAt(tailrace, 1);
    await other.admin.resumeConsumer({ consumer: name });
    expect(partsOf(await coming)).toEqual([0]);
  });

  it('is not waited for by a server that goes away', async () => {
    const name = await consumer();
    await hand.owner(name);
    const third = await startTailrace({ database: tailrace.database });
    const coming = refusal(new Member(clientsOf(third.url), name).acquire({ wait: seconds(60) }));
    await waitersAt(third, 1);
    await third.stop();
    expect((await coming).reason).toBe('DRAINING');
  });
});

describe('CommitEntries', () => {
  it('moves by compare-and-set: of two at once one wins (proof 8), and a repeat is told apart', async () => {
    const name = await consumer();
    await publish(name, 4);
    const owner = await hand.owner(name);
    const answer = await owner.fetch({ wait: seconds(5) });
    const cursors = entriesOf(answer).map(({ cursor }) => cursor);
    expect(cursors).toHaveLength(4);
    const commit = (fromCursor: string, toCursor = '') =>
      tailrace.completion.commitEntries({ ...owner.held, fromCursor, toCursor });

    const raced = await Promise.allSettled(cursors.map((cursor) => commit(answer.fromCursor, cursor)));
    const [won] = raced.flatMap((one) => (one.status === 'fulfilled' ? [one.value.cursor] : []));
    expect(raced.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    for (const one of raced) {
      if (one.status === 'fulfilled') continue;
      const detail = await refusal(Promise.reject(one.reason));
      expect(detail).toMatchObject({ reason: 'VERSION_CONFLICT', metadata: { current_cursor: won } });
    }
    expect(await commit(answer.fromCursor, won)).toMatchObject({ cursor: won, duplicate: true });
    const left = await owner.fetch();
    expect(payloadsOf(entriesOf(left))).toEqual(['0', '1', '2', '3'].slice(cursors.indexOf(won ?? '') + 1));
    expect((await commit(left.fromCursor, left.toCursor)).duplicate).toBe(false);
  });

  it('refuses what does not join on, and changes nothing', async () => {
    const [name, stranger] = [await consumer(), await consumer()];
    await publish(name, 3);
    const owner = await hand.owner(name);
    const answer = await owner.fetch({ wait: seconds(5) });
    const [first, second] = entriesOf(answer).map(({ cursor }) => cursor) as [string, string];
    await owner.commit(answer, { toCursor: first });
    const standing = await owner.fetch();
    const foreign = await tailrace.admin.putConsumer({ namespace: 'elsewhere', consumer: { name } });
    const cases: [string, Parameters<Owner['commit']>[1]][] = [
      ['VERSION_CONFLICT', { fromCursor: second, toCursor: answer.toCursor }], // a gap
      ['VERSION_CONFLICT', { fromCursor: answer.fromCursor, toCursor: second }], // an overlap
      ['BAD_CURSOR', { fromCursor: first, toCursor: answer.fromCursor }], // backward
      ['BAD_CURSOR', { fromCursor: first, toCursor: foreign.consumer?.parts[0]?.cursor ?? '' }],
      ['BAD_CURSOR', { fromCursor: first, toCursor: `${second}x` }],
      ['INVALID_FIELD', { fromCursor: first, toCursor: '' }],
      ['DEAD_LETTER_NOT_FOUND', { fromCursor: first, toCursor: second, deadLetterIds: [owner.member.ownerId] }],
      ['EPOCH_CONFLICT', { fromCursor: first, toCursor: second, part: { ...owner.held.part, epoch: 0n } }],
      ['EPOCH_CONFLICT', { fromCursor: first, toCursor: second, part: { ...owner.held.part, part: 7 } }],
      ['EPOCH_CONFLICT', { fromCursor: first, toCursor: second, consumer: stranger }],
      ['CONSUMER_NOT_FOUND', { fromCursor: first, toCursor: second, consumer: fresh() }],
    ];
    for (const [reason, more] of cases) expect(await reasonOf(owner.commit(standing, more)), reason).toBe(reason);
    expect(await owner.fetch()).toMatchObject({ fromCursor: first, deliveries: standing.deliveries });
  });
});
