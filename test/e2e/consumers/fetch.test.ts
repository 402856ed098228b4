/** Fetching what a consumer follows: in order, in bounds, in parts, and waiting at the end of the log. */
import { createHash } from 'node:crypto';
import { timestampMs } from '@bufbuild/protobuf/wkt';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { SplitKey } from '../../../gen/tailrace/v1/consumer_pb.js';
import type { LogEntry } from '../../../gen/tailrace/v1/log_pb.js';
import { monotonicMs, pause, wallMs } from '../../../src/runtime/clock.js';
import { refusal, seconds, text } from '../../support/by-hand.js';
import { ConsumersByHand, entriesOf, Member, type Owner, payloadsOf } from '../../support/consumers-by-hand.js';
import { eventually } from '../../support/eventually.js';
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

/** Follows events of its own type. */
async function follower(name: string, more: Parameters<ConsumersByHand['consumer']>[1] = {}): Promise<Owner> {
  await hand.consumer(name, { filter: { eventTypes: [name] }, ...more });
  return await hand.owner(name);
}

const publish = (type: string, count: number, more = {}) =>
  hand.publish(...Array.from({ length: count }, (_, i) => ({ type, payload: text(String(i)), ...more })));
/** Everything published before has its position then, and this type is none that a consumer of a test follows. */
const settled = () => hand.publish({ type: 'nobody follows this' });
const numbers = (count: number) => Array.from({ length: count }, (_, i) => String(i));
const waitsAt = ({ running }: TestTailrace, count = 1) =>
  eventually(() => running.engine.consumerWakes.waiting === count);

describe('A fetch', () => {
  it('answers the same until it is committed, and moves over what is not selected', async () => {
    const owner = await follower('batches');
    await publish('batches', 5);
    await publish('something else', 3);
    await settled();
    const first = await owner.fetch({ maxEntries: 2 });
    expect(payloadsOf(entriesOf(first))).toEqual(['0', '1']);
    expect(first).toMatchObject({
      fromCursor: owner.cursor,
      toCursor: entriesOf(first)[1]?.cursor,
      releaseWanted: false,
    });
    const { deliveries, toCursor } = first;
    expect(await owner.fetch({ maxEntries: 2 })).toMatchObject({ deliveries, toCursor });
    await owner.commit(first);
    const rest = await owner.fetch();
    expect(payloadsOf(entriesOf(rest))).toEqual(['2', '3', '4']);
    expect(rest.toCursor).not.toBe(entriesOf(rest)[2]?.cursor);
    await owner.commit(rest);
    // Nothing is selected, and yet there is something to move over.
    await publish('something else', 3);
    await settled();
    const empty = await owner.fetch();
    expect(empty.deliveries).toEqual([]);
    await owner.commit(empty);
    expect(owner.cursor).not.toBe(rest.toCursor);
  });

  it('is no larger than clients take by default, but one entry always comes', async () => {
    const owner = await follower('large');
    const value = 'x'.repeat(60_000);
    await hand.publish(...numbers(90).map((n) => ({ type: 'large', payload: text(`${n} ${value}`) })));
    await settled();
    const sizes: number[] = [];
    const seen: unknown[] = [];
    for (let answer = await owner.fetch({ wait: LONG }); answer.deliveries.length > 0; answer = await owner.fetch()) {
      const payloads = payloadsOf(entriesOf(answer)) as string[];
      sizes.push(payloads.reduce((sum, { length }) => sum + length, 0));
      seen.push(...payloads.map((payload) => payload.split(' ')[0]));
      await owner.commit(answer);
    }
    expect(seen).toEqual(numbers(90));
    expect(Math.max(...sizes)).toBeLessThan(3.2 * 1024 * 1024);
    expect(sizes.length).toBeLessThan(5);
  });

  it('shows entries as a watch does, whatever they tell of', async () => {
    const executionId = await hand.createOne({ type: 'shown', lane: 'shown' });
    const [claim] = await hand.claim({ lanes: [{ lane: 'shown' }] });
    if (claim) await hand.completeWith(claim, { type: 'shown', payload: text('by a handler') });
    await settled();
    await hand.consumer('everything', { filter: {} });
    const fetched = await (await hand.owner('everything')).drain();
    const listed: LogEntry[] = [];
    for (let pageToken = ''; ; ) {
      const page = await tailrace.admin.listLogEntries({ pageSize: 500, pageToken });
      listed.unshift(...page.entries.reverse());
      pageToken = page.nextPageToken;
      if (pageToken === '') break;
    }
    const own = ({ executionId: of }: LogEntry) => of === executionId;
    expect(fetched.filter(own).length).toBeGreaterThan(3);
    expect(fetched).toEqual(listed.slice(0, fetched.length));
  });
});

describe('Parts', () => {
  it.each([
    ['flow', SplitKey.FLOW],
    ['stream', SplitKey.STREAM],
  ] as const)('by %s have each entry once, and whole keys in order', async (by, splitKey) => {
    const name = `split by ${by}`;
    await hand.consumer(name, { filter: { eventTypes: [name] }, splitKey, partCount: 8 });
    const flows = await Promise.all(numbers(12).map(async () => (await hand.flow({}, { open: true })).id));
    const events = numbers(120).map((n, i) => ({
      type: name,
      payload: text(n),
      flowId: flows[i % flows.length] ?? '',
      stream: i % 3 === 0 ? '' : `${name} ${i % 7}`,
    }));
    for (let i = 0; i < events.length; i += 30) await hand.publish(...events.slice(i, i + 30));
    await settled();
    const owners = await hand.member(name).acquire();
    expect(owners).toHaveLength(8);
    const drained = await Promise.all(owners.map((owner) => owner.drain({ maxEntries: 7 })));
    expect(
      drained
        .flatMap(payloadsOf)
        .map(Number)
        .sort((a, b) => a - b),
    ).toEqual(events.map((_, i) => i));
    drained.forEach((entries, part) => {
      const payloads = payloadsOf(entries).map(Number);
      expect(payloads).toEqual(payloads.toSorted((a, b) => a - b));
      for (const { body, flowId } of entries) {
        const stream = body.case === 'event' && splitKey === SplitKey.STREAM ? body.value.stream : '';
        const [byte = 0] = createHash('sha256')
          .update(stream || flowId)
          .digest();
        expect(Math.floor((byte * 8) / 256)).toBe(part);
      }
    });
  });
});

describe('A fetch that waits', () => {
  it('is woken by what is published, here or at another server, and asks nothing meanwhile', async () => {
    const name = 'waits';
    await hand.consumer(name, { filter: { eventTypes: [name] }, partCount: 32 });
    const there = await new Member(other, name).acquire({ leaseDuration: seconds(60) });
    const [before, begunMs] = [other.running.engine.database.sent, monotonicMs()];
    const waiting = there.map((owner) => owner.fetch({ wait: LONG }));
    await waitsAt(other, 32);
    await pause(500);
    const { flowId } = await hand.publishOne({ type: name, payload: text('wakes one') });
    const woken = (await Promise.race(waiting)).deliveries;
    expect(woken.map(({ entry }) => entry?.flowId)).toEqual([flowId]);
    // One look for each, and what they share: their pages, and what a server asks now and then. Half a second of asking again and
    // again would be hundreds.
    const elapsed = (monotonicMs() - begunMs) / 1_000;
    expect(other.running.engine.database.sent - before).toBeLessThan(100 + 20 * elapsed);
    await hand.publish(...numbers(300).map(() => ({ type: name })));
    await Promise.all(waiting);
  });

  it('keeps its lease for longer than that is, and is answered when its time is over', async () => {
    const owner = await follower('short lease');
    const [held] = await owner.member.acquire({ leaseDuration: seconds(1) });
    const begunMs = wallMs();
    const answer = await held?.fetch({ wait: seconds(2.5) });
    expect(answer?.deliveries).toEqual([]);
    const { consumer } = await tailrace.admin.getConsumer({ consumer: 'short lease' });
    const [part] = consumer?.parts ?? [];
    expect(part).toMatchObject({ ownerId: owner.member.ownerId, epoch: owner.held.part.epoch });
    expect(part?.expireTime && timestampMs(part.expireTime)).toBeGreaterThan(begunMs + 2_500);
  });

  it('follows a changed filter, and ends when the consumer is paused or moved', async () => {
    const owner = await follower('changed');
    const waiting = owner.fetch({ wait: LONG });
    await waitsAt(tailrace);
    await publish('another type', 1);
    await hand.consumer('changed', { filter: { eventTypes: ['another type'] } });
    expect(payloadsOf(entriesOf(await waiting))).toEqual(['0']);
    await owner.commit(await waiting);
    const paused = refusal(owner.fetch({ wait: LONG }));
    await waitsAt(tailrace);
    await tailrace.admin.pauseConsumer({ consumer: 'changed' });
    expect(await paused).toMatchObject({ reason: 'CONSUMER_PAUSED' });
    await other.admin.resumeConsumer({ consumer: 'changed' });
    const reset = refusal(owner.fetch({ wait: LONG }));
    await waitsAt(tailrace);
    await other.admin.resetConsumer({ consumer: 'changed', cursor: owner.cursor });
    expect(await reset).toMatchObject({ reason: 'EPOCH_CONFLICT' });
  });

  it('answers with what there is when its server goes away', async () => {
    const leaving = await startTailrace({ database: tailrace.database });
    await hand.consumer('left');
    await hand.publish({ type: 'nobody follows this' });
    const [owner] = await new Member(leaving, 'left').acquire();
    await owner?.drain();
    const waiting = owner?.fetch({ wait: LONG });
    await waitsAt(leaving);
    await leaving.stop();
    expect((await waiting)?.deliveries).toEqual([]);
  });
});

it('calls that mean nothing are refused', async () => {
  const owner = await follower('refused');
  const { consumer, ownerId, part } = owner.held;
  const fetch = (more: object) => refusal(tailrace.completion.fetchEntries({ consumer, ownerId, part, ...more }));
  const conflicts = [
    { ownerId: 'somebody else' },
    { part: { ...part, epoch: part.epoch + 1n } },
    { part: { ...part, part: 7 } },
    { part: { ...part, generation: 9n } },
  ];
  for (const more of conflicts) expect(await fetch(more)).toMatchObject({ reason: 'EPOCH_CONFLICT' });
  expect(await fetch({ consumer: 'nobody' })).toMatchObject({ reason: 'CONSUMER_NOT_FOUND' });
  expect(await fetch({ namespace: 'elsewhere' })).toMatchObject({ reason: 'CONSUMER_NOT_FOUND' });
  const wrong = { consumer: '', ownerId: '', part: { generation: 0n, part: 256, epoch: -1n } };
  const { fieldViolations, reason } = await fetch({ ...wrong, maxEntries: 5_001, wait: seconds(61) });
  expect(reason).toBe('INVALID_FIELD');
  const fields = ['consumer', 'owner_id', 'part.generation', 'part.part', 'part.epoch', 'max_entries', 'wait'];
  expect(fieldViolations.map(({ field }) => field)).toEqual(fields);
  expect((await fetch({ part: undefined })).fieldViolations.map(({ field }) => field)).toEqual(['part']);
});
