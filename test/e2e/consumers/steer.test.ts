/** Consumers as operators stop, move, rebuild and swap them, beside owners at work. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ConsumerState, PoisonPolicy } from '../../../gen/tailrace/v1/consumer_pb.js';
import { DeadLetterResolution, DeadLetterState } from '../../../gen/tailrace/v1/dead_letter_pb.js';
import { LogEntryKind, StartPosition } from '../../../gen/tailrace/v1/log_pb.js';
import { toTimestamp } from '../../../src/services/conversion/times.js';
import { refusal, seconds, text } from '../../support/by-hand.js';
import { ConsumersByHand, entriesOf, payloadsOf } from '../../support/consumers-by-hand.js';
import { eventually } from '../../support/eventually.js';
import { startTailrace, type TestTailrace } from '../../support/tailrace.js';

let tailrace: TestTailrace;
let hand: ConsumersByHand;
beforeAll(async () => {
  tailrace = await startTailrace();
  hand = new ConsumersByHand(tailrace);
});
afterAll(() => tailrace.stop());

const only = (type: string) => ({ filter: { eventTypes: [type] } });
const publish = (type: string, ...payloads: string[]) =>
  hand.publish(...payloads.map((payload) => ({ type, payload: text(payload) })));
const get = async (consumer: string) => {
  const answer = await tailrace.admin.getConsumer({ consumer });
  if (answer.consumer === undefined) throw new Error('an answer without a consumer');
  return answer.consumer;
};
const kindsOf = async (name: string) => {
  const { entries } = await tailrace.admin.listLogEntries({ oldestFirst: true, pageSize: 1_000 });
  return entries.filter(({ subject }) => subject === name).map(({ kind }) => LogEntryKind[kind]);
};

describe('lag', () => {
  it('counts what is selected beyond the cursors, with the age of the first of it', async () => {
    const name = 'lagging';
    await hand.consumer(name, { ...only(name), partCount: 4 });
    await publish(name, 'a', 'b', 'c');
    await publish('other', 'd');
    await eventually(async () => (await get(name)).generations[0]?.lag === 3n);
    const [behind] = (await get(name)).generations;
    expect(behind).toMatchObject({ lagCapped: false, lagAge: { nanos: expect.any(Number) } });
    for (const owner of await hand.member(name).acquire()) await owner.drain();
    const { generations, parts } = await get(name);
    expect([generations[0]?.lag, generations[0]?.lagAge]).toEqual([0n, undefined]);
    expect(parts).toHaveLength(4);
    const { consumers } = await tailrace.admin.listConsumers({});
    expect(consumers.find(({ spec }) => spec?.name === name)).toMatchObject({ parts: [], generations: [{ lag: 0n }] });
  });
});

describe('pausing', () => {
  it('stops at the present cursors, lets what is in hand be committed, and goes on', async () => {
    const name = 'paused';
    await hand.consumer(name, only(name));
    await publish(name, 'a', 'b');
    const owner = await hand.owner(name);
    const batch = await owner.fetch({ maxEntries: 1, wait: seconds(5) });
    const reason = 'a look at it';
    const paused = await tailrace.admin.pauseConsumer({ consumer: name, reason, expectedVersion: 1n });
    expect(paused.consumer).toMatchObject({ state: ConsumerState.PAUSED, stateReason: reason, version: 2n });
    const again = await tailrace.admin.pauseConsumer({ consumer: name, expectedVersion: 1n });
    expect(again.consumer).toMatchObject({ stateReason: reason, version: 2n });
    await owner.commit(batch);
    expect(await refusal(owner.fetch())).toMatchObject({ reason: 'CONSUMER_PAUSED' });
    expect(await refusal(tailrace.admin.resumeConsumer({ consumer: name, expectedVersion: 1n }))).toMatchObject({
      reason: 'VERSION_CONFLICT',
      metadata: { current_version: '2' },
    });
    const resumed = await tailrace.admin.resumeConsumer({ consumer: name });
    expect(resumed.consumer).toMatchObject({ state: ConsumerState.ACTIVE, stateReason: '', version: 3n });
    expect((await tailrace.admin.resumeConsumer({ consumer: name })).consumer?.version).toBe(3n);
    expect(payloadsOf(entriesOf(await owner.fetch()))).toEqual(['b']);
    expect(await kindsOf(name)).toEqual(['CONSUMER_UPDATED', 'CONSUMER_PAUSED', 'CONSUMER_RESUMED']);
    expect(await refusal(tailrace.admin.pauseConsumer({ consumer: 'nobody' }))).toMatchObject({
      reason: 'CONSUMER_NOT_FOUND',
    });
  });

  it('lets a halted one try its entry from the first try', async () => {
    const name = 'halted';
    await hand.consumer(name, { ...only(name), maxTries: 1 });
    await publish(name, 'a');
    const owner = await hand.owner(name);
    const [delivery] = (await owner.fetch({ wait: seconds(5) })).deliveries;
    if (delivery) await owner.fail(delivery);
    const halted = await get(name);
    expect(halted).toMatchObject({ state: ConsumerState.HALTED, parts: [{ ownerId: '', tryCount: 1 }] });
    expect(halted.parts[0]).toMatchObject({
      haltCursor: delivery?.entry?.cursor,
      lastFailure: { message: 'it does not work' },
    });
    await tailrace.admin.resumeConsumer({ consumer: name });
    expect(await get(name)).toMatchObject({ state: ConsumerState.ACTIVE, parts: [{ tryCount: 0, haltCursor: '' }] });
    const next = await hand.owner(name);
    expect((await next.fetch()).deliveries).toMatchObject([
      { previousTries: 0, entry: { cursor: delivery?.entry?.cursor } },
    ]);
  });
});

describe('generations', () => {
  it('halt each for itself, and a halted live one is replaced by one that works', async () => {
    const name = 'replaced';
    await hand.consumer(name, { ...only(name), maxTries: 1 });
    await publish(name, 'a');
    const owner = await hand.owner(name);
    const [bad] = (await owner.fetch({ wait: seconds(5) })).deliveries;
    const { generation } = await tailrace.admin.rebuildConsumer({ consumer: name });
    const builder = await hand.owner(name, { generation });
    const [worse] = (await builder.fetch()).deliveries;
    if (worse) await builder.fail(worse);
    expect(await refusal(builder.fetch())).toMatchObject({ reason: 'CONSUMER_HALTED' });
    expect(await get(name)).toMatchObject({ state: ConsumerState.ACTIVE });
    if (bad) await owner.fail(bad);
    expect(await get(name)).toMatchObject({ state: ConsumerState.HALTED });
    await tailrace.admin.resumeConsumer({ consumer: name });
    const again = await hand.owner(name);
    const [still] = (await again.fetch()).deliveries;
    if (still) await again.fail(still);
    const last = await hand.owner(name, { generation });
    expect(await last.drain()).toHaveLength(1);
    const promoted = await tailrace.admin.promoteConsumer({ consumer: name, generation });
    expect(promoted.consumer).toMatchObject({ state: ConsumerState.ACTIVE, stateReason: '' });
    expect((await last.fetch()).deliveries).toEqual([]);
  });
});

describe('a running batch', () => {
  it('cannot be committed after a reset (proof 12)', async () => {
    const name = 'reset';
    await hand.consumer(name, only(name));
    await publish(name, 'a', 'b', 'c');
    const owner = await hand.owner(name);
    await owner.commit(await owner.fetch({ maxEntries: 2, wait: seconds(5) }));
    const batch = await owner.fetch();
    const reset = await tailrace.admin.resetConsumer({
      consumer: name,
      start: StartPosition.EARLIEST,
      reason: 'again',
    });
    expect(reset.consumer).toMatchObject({ version: 2n, parts: [{ ownerId: '', tryCount: 0 }] });
    expect(await refusal(owner.commit(batch))).toMatchObject({ reason: 'EPOCH_CONFLICT' });
    expect(await refusal(owner.fetch())).toMatchObject({ reason: 'EPOCH_CONFLICT' });
    const next = await hand.owner(name);
    expect(payloadsOf(await next.drain())).toEqual(['a', 'b', 'c']);
    expect(await kindsOf(name)).toEqual(['CONSUMER_UPDATED', 'CONSUMER_RESET']);
  });

  it('cannot be committed once its generation was replaced (proof 12)', async () => {
    const name = 'rebuilt';
    await hand.consumer(name, only(name));
    await publish(name, 'a', 'b', 'c');
    const owner = await hand.owner(name);
    await owner.commit(await owner.fetch({ maxEntries: 1, wait: seconds(5) }));
    const batch = await owner.fetch({ maxEntries: 1 });
    const { generation, consumer } = await tailrace.admin.rebuildConsumer({ consumer: name, partCount: 2 });
    expect(consumer?.generations).toMatchObject([
      { generation: 1n, live: true, lag: 2n },
      { generation: 2n, live: false, lag: 3n, partCount: 2 },
    ]);
    // The live one goes on beside it.
    await owner.commit(batch);
    expect(await refusal(tailrace.admin.promoteConsumer({ consumer: name, generation }))).toMatchObject({
      reason: 'GENERATION_NOT_CAUGHT_UP',
      metadata: { lag: '3' },
    });
    const replaced = await hand.member(name).acquire({ generation });
    const stale = await Promise.all(replaced.map((part) => part.fetch()));
    const again = await tailrace.admin.rebuildConsumer({ consumer: name, partCount: 3 });
    expect([generation, again.generation]).toEqual([2n, 3n]);
    for (const [i, part] of replaced.entries()) {
      const batch = stale[i];
      if (batch) expect(await refusal(part.commit(batch))).toMatchObject({ reason: 'EPOCH_CONFLICT' });
    }
    const builders = await hand.member(name).acquire({ generation: 3n });
    const built = [];
    for (const part of builders) built.push(...payloadsOf(await part.drain()));
    expect(built.sort()).toEqual(['a', 'b', 'c']);
    const last = await owner.fetch();
    const promoted = await tailrace.admin.promoteConsumer({ consumer: name, generation: 3n, expectedVersion: 3n });
    expect(promoted.consumer).toMatchObject({
      version: 4n,
      spec: { partCount: 3 },
      generations: [{ live: true, lag: 0n }],
    });
    expect(await refusal(owner.commit(last))).toMatchObject({ reason: 'EPOCH_CONFLICT' });
    expect((await tailrace.admin.promoteConsumer({ consumer: name, generation: 3n })).consumer?.version).toBe(4n);
    expect(await refusal(tailrace.admin.promoteConsumer({ consumer: name, generation: 2n }))).toMatchObject({
      reason: 'GENERATION_NOT_FOUND',
    });
    // Whoever built it goes on with it.
    for (const part of builders) expect((await part.fetch()).deliveries).toEqual([]);
    expect((await kindsOf(name)).slice(1)).toEqual(['CONSUMER_REBUILDING', 'CONSUMER_REBUILDING', 'CONSUMER_PROMOTED']);
  });
});

it('a generation is promoted by itself once it has caught up, also when nothing is left to do', async () => {
  const name = 'swapped';
  await hand.consumer(name, only(name));
  await publish(name, 'a', 'b');
  await (await hand.owner(name)).drain({ wait: seconds(1) });
  const promoteWhenCaughtUp = true;
  const { generation } = await tailrace.admin.rebuildConsumer({ consumer: name, promoteWhenCaughtUp });
  const [builder] = await hand.member(name).acquire({ generation });
  expect(payloadsOf((await builder?.drain()) ?? [])).toEqual(['a', 'b']);
  expect((await get(name)).generations).toMatchObject([{ generation, live: true }]);
});

describe('parked entries', () => {
  it('are closed when they come again by a reset, and when their generation ends', async () => {
    const name = 'parked';
    await hand.consumer(name, { ...only(name), maxTries: 1, poisonPolicy: PoisonPolicy.PARK });
    await publish(name, 'a');
    await publish(name, 'b');
    const owner = await hand.owner(name);
    const first = await owner.fetch({ maxEntries: 1, wait: seconds(5) });
    await owner.commit(first);
    const [bad] = (await owner.fetch({ wait: seconds(5) })).deliveries;
    const { deadLetterId } = bad ? await owner.fail(bad) : { deadLetterId: '' };
    const letter = async () => (await tailrace.deadLetters.getDeadLetter({ deadLetterId })).deadLetter;
    expect(await get(name)).toMatchObject({ generations: [{ parkedCount: 1n }] });
    // It lies before the cursor: the reset does not come to it.
    await tailrace.admin.resetConsumer({ consumer: name, cursor: bad?.entry?.cursor ?? '' });
    expect(await letter()).toMatchObject({ state: DeadLetterState.OPEN });
    await tailrace.admin.resetConsumer({ consumer: name, cursor: first.toCursor });
    expect(await letter()).toMatchObject({
      state: DeadLetterState.CLOSED,
      resolution: DeadLetterResolution.IGNORED,
      note: expect.stringContaining('reset'),
    });
    const next = await hand.owner(name);
    const [worse] = (await next.fetch()).deliveries;
    expect(payloadsOf(worse?.entry ? [worse.entry] : [])).toEqual(['b']);
    const parked = worse ? await next.fail(worse) : { deadLetterId: '' };
    const { generation } = await tailrace.admin.rebuildConsumer({ consumer: name });
    const [builder] = await hand.member(name).acquire({ generation });
    expect(await builder?.drain()).toHaveLength(2);
    await tailrace.admin.promoteConsumer({ consumer: name, generation });
    const closed = await tailrace.deadLetters.getDeadLetter({ deadLetterId: parked.deadLetterId });
    expect(closed.deadLetter).toMatchObject({
      resolution: DeadLetterResolution.IGNORED,
      note: expect.stringContaining('promoted'),
    });
    expect((await get(name)).generations).toMatchObject([{ generation, parkedCount: 0n }]);
  });
});

describe('a place', () => {
  it('is a time before everything recorded from then on', async () => {
    const name = 'timed';
    await hand.consumer(name, only(name));
    await publish(name, 'a');
    const owner = await hand.owner(name);
    await owner.fetch({ wait: seconds(5) });
    await publish(name, 'b');
    await eventually(async () => (await get(name)).generations[0]?.lag === 2n);
    const [, second] = entriesOf(await owner.fetch());
    await owner.drain();
    await tailrace.admin.resetConsumer({ consumer: name, time: second?.createTime });
    expect(payloadsOf(await (await hand.owner(name)).drain())).toContain('b');
    const later = toTimestamp(new Date(Date.now() + 3_600_000));
    await tailrace.admin.resetConsumer({ consumer: name, time: later });
    expect(await (await hand.owner(name)).drain()).toEqual([]);
    await tailrace.admin.resetConsumer({ consumer: name, time: toTimestamp(new Date(0)) });
    expect(payloadsOf(await (await hand.owner(name)).drain())).toEqual(['a', 'b']);
  });

  it('is one, of this namespace, and there', async () => {
    const name = 'misplaced';
    await hand.consumer(name, only(name));
    const reset = (more: object) => refusal(tailrace.admin.resetConsumer({ consumer: name, ...more }));
    const elsewhere = await tailrace.admin.putConsumer({ namespace: 'elsewhere', consumer: { name } });
    const cursor = elsewhere.consumer?.headCursor ?? '';
    for (const wrong of [{}, { start: StartPosition.LATEST, cursor }, { cursor, time: toTimestamp(new Date()) }]) {
      expect((await reset(wrong)).fieldViolations).toMatchObject([{ field: 'start' }]);
    }
    expect(await reset({ cursor })).toMatchObject({ reason: 'BAD_CURSOR' });
    expect(await refusal(tailrace.admin.rebuildConsumer({ consumer: name, cursor }))).toMatchObject({
      reason: 'BAD_CURSOR',
    });
    expect(await reset({ start: StartPosition.LATEST, expectedVersion: 7n })).toMatchObject({
      reason: 'VERSION_CONFLICT',
    });
    expect(await get(name)).toMatchObject({ version: 1n, generations: [{ generation: 1n }] });
  });
});
