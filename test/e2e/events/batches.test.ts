/** Batches of events that come back together: one execution with all members, by place, whatever became of each. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { FailureClass } from '../../../gen/tailrace/v1/attempt_pb.js';
import { ExecutionState } from '../../../gen/tailrace/v1/execution_state_pb.js';
import { JoinKind, JoinMode, JoinState, OnJoinTimeout } from '../../../gen/tailrace/v1/join_pb.js';
import { StartPosition } from '../../../gen/tailrace/v1/log_pb.js';
import { only, seconds, text } from '../../support/by-hand.js';
import { BatchesByHand, slotsOf } from '../../support/events/batches-by-hand.js';
import { Recorded } from '../../support/history/recorded.js';

let recorded: Recorded;
let hand: BatchesByHand;
beforeAll(async () => {
  recorded = await Recorded.start();
  hand = new BatchesByHand(recorded.clients);
});
afterAll(() => recorded.stop());

test('members come by place, over several hops, whatever the order in which they came', async () => {
  await hand.subscribe('read', 'page');
  await hand.subscribe('index', 'page.read');
  await hand.join('collect', 'page.read');
  await hand.join('report', 'page.indexed', { eventType: 'page.indexed' });
  const { flow, batch, events } = await hand.publish('page', 3);
  const readers = await hand.members('read', 3);
  expect(
    readers.map(({ trigger }) => (trigger?.subject.case === 'event' ? trigger.subject.value.eventId : '')),
  ).toEqual(events);
  for (const reader of readers.toReversed()) {
    await hand.emit(reader, { type: 'page.read', payload: text(`read ${reader.batch?.index}`) });
  }
  const collected = await hand.joined('collect');
  expect(slotsOf(collected)).toEqual([
    [0, 'OK', 'read 0'],
    [1, 'OK', 'read 1'],
    [2, 'OK', 'read 2'],
  ]);
  expect(collected.joinedInputs.map(({ executionId, type }) => [executionId, type])).toEqual(
    readers.map(({ executionId }) => [executionId, 'read']),
  );
  expect(collected).toMatchObject({ flowId: flow, hops: 1 });
  expect(collected.trigger).toMatchObject({ subscription: 'collect', subject: { case: undefined } });
  expect(collected.batch).toBeUndefined();
  // Of several events the one takes the slot that joins are made of.
  const indexers = await hand.members('index', 3);
  const [last] = indexers;
  for (const indexer of indexers.slice(1)) {
    await hand.emit(indexer, { type: 'noted' }, { type: 'page.indexed', payload: text(`${indexer.batch?.index}`) });
  }
  const open = await hand.joinOf('report', ({ okCount }) => okCount === 2);
  expect(open).toMatchObject({ kind: JoinKind.BATCH, batchId: batch, flowId: flow, slotCount: 3 });
  const { subscription } = await recorded.clients.admin.getSubscription({ subscription: 'report' });
  expect(subscription?.openJoinCount).toBe(1n);
  const { execution } = await recorded.clients.admin.getExecution({ executionId: open.downstreamExecutionId });
  expect(execution).toMatchObject({ state: ExecutionState.BLOCKED, block: { subject: open.joinId } });
  await hand.emit(last, { type: 'page.indexed', payload: text('0') });
  expect(slotsOf(await hand.joined('report'))).toEqual([0, 1, 2].map((i) => [i, 'OK', `${i}`]));
  const emitted = await hand.emit(collected, { type: 'done' });
  const { event } = await recorded.clients.engine.getEvent({ eventId: emitted.eventIds[0] ?? '' });
  expect(event).toMatchObject({ hops: 2, causeEventId: '', flowId: flow });
  expect(event?.batch).toBeUndefined();
});

test('27: a failed member counts as failed and one without an event as empty; nothing is published for them again', async () => {
  await hand.subscribe('try', 'job');
  const quorum = { policy: { mode: JoinMode.QUORUM, quorum: 3 } };
  await hand.join('gather', 'job.done', quorum);
  await hand.join('all', 'job.done');
  const { batch } = await hand.publish('job', 4);
  const [bad, empty, good, better] = await hand.members('try', 4);
  if (!bad || !empty || !good || !better) throw new Error('four were published');
  // They have left before there is a join, and are counted when it is there.
  await hand.fail(bad, FailureClass.PERMANENT);
  await hand.emit(empty);
  await hand.emit(good, { type: 'job.done', payload: text('good') });
  await hand.joinOf('gather', ({ failedCount, okCount }) => failedCount === 1 && okCount === 2);
  await hand.emit(better, { type: 'job.done', payload: text('better') });
  const gathered = await hand.joined('gather');
  expect(slotsOf(gathered)).toEqual([
    [0, 'FAILED', 'it broke'],
    [1, 'OK', undefined],
    [2, 'OK', 'good'],
    [3, 'OK', 'better'],
  ]);
  expect(gathered.joinedInputs.map(({ eventId }) => eventId === '')).toEqual([true, true, false, false]);
  // Run again, the execution gets the same.
  const { deadLetterId } = await hand.fail(gathered, FailureClass.PERMANENT);
  await recorded.clients.deadLetters.redriveDeadLetter({ deadLetterId });
  const again = await hand.joined('gather');
  expect(slotsOf(again)).toEqual(slotsOf(gathered));
  await hand.complete(again);
  const skipped = await hand.joinOf('all', ({ state }) => state === JoinState.IMPOSSIBLE);
  expect(skipped.failedCount).toBe(1);
  expect(await hand.end(skipped.downstreamExecutionId)).toMatchObject({ state: ExecutionState.SKIPPED });
  const { events } = await recorded.clients.admin.listEvents({ batchId: batch });
  expect(events.map(({ type }) => type).sort()).toEqual(['job', 'job', 'job', 'job', 'job.done', 'job.done']);
});

test('27: a new run of a failed member takes its slot again while the join is open', async () => {
  await hand.subscribe('fetch', 'file');
  await hand.join('merge', 'file.got', { policy: { mode: JoinMode.QUORUM, quorum: 3 } });
  await hand.publish('file', 4);
  const [first, bad, slow, worse] = await hand.members('fetch', 4);
  if (!first || !bad || !slow || !worse) throw new Error('four were published');
  await hand.emit(first, { type: 'file.got', payload: text('first') });
  await hand.fail(bad, FailureClass.PERMANENT);
  await hand.joinOf('merge', ({ failedCount }) => failedCount === 1);
  const deadLetterId = (await hand.look(bad.executionId)).outcome?.deadLetterId ?? '';
  await recorded.clients.deadLetters.redriveDeadLetter({ deadLetterId });
  const again = only(await hand.members('fetch', 1));
  expect(again).toMatchObject({ batch: { index: 1, size: 4 }, redriveOfExecutionId: bad.executionId });
  await hand.emit(again, { type: 'file.got', payload: text('again') });
  await hand.emit(slow, { type: 'file.got', payload: text('slow') });
  const merged = await hand.joined('merge');
  expect(slotsOf(merged)).toEqual([
    [0, 'OK', 'first'],
    [1, 'OK', 'again'],
    [2, 'OK', 'slow'],
    [3, 'UNSPECIFIED', undefined],
  ]);
  await hand.fail(worse, FailureClass.PERMANENT);
  const late = await hand.joinOf('merge', ({ lateCount }) => lateCount === 1);
  expect(late).toMatchObject({ okCount: 3, failedCount: 1 });
  await hand.complete(merged);
});

test('4: when its time is up a batch passes with what is there, or fails and names what is missing', async () => {
  await hand.subscribe('ask', 'question');
  const timeout = seconds(1);
  await hand.join('some', 'answer', { policy: { timeout, onTimeout: OnJoinTimeout.RELEASE_PARTIAL } });
  await hand.join('every', 'answer', { policy: { timeout } });
  await hand.publish('question', 2);
  const [slow, quick] = await hand.members('ask', 2);
  const { eventIds } = await hand.emit(quick, { type: 'answer', payload: text('quick') });
  const partial = await hand.joined('some');
  expect(slotsOf(partial)).toEqual([
    [0, 'UNSPECIFIED', undefined],
    [1, 'OK', 'quick'],
  ]);
  const failed = await hand.joinOf('every', ({ state }) => state === JoinState.EXPIRED);
  const { outcome } = await hand.end(failed.downstreamExecutionId);
  const { deadLetter } = await recorded.clients.deadLetters.getDeadLetter({
    deadLetterId: outcome?.deadLetterId ?? '',
  });
  const seen = JSON.parse(`${deadLetter?.failure?.details?.body.value}`);
  expect(seen).toMatchObject({ arrived: [{ index: 1, event: eventIds[0] }], missing: [{ index: 0 }] });
  // What comes later is recorded and not acted on.
  await hand.emit(slow, { type: 'answer' });
  for (const name of ['some', 'every']) {
    const join = await hand.joinOf(name, ({ lateCount }) => lateCount === 1);
    expect(join).toMatchObject({ state: JoinState.EXPIRED, okCount: 2 });
  }
  await hand.complete(partial);
});

test('a subscription that reads the past joins its batches too', async () => {
  const { flow, events } = await hand.publish('old', 3, (place) => (place === 1 ? { type: 'other' } : {}));
  const key = { concurrencyKey: { source: { case: 'header' as const, value: 'none' } }, tags: { of: 'the past' } };
  await hand.join('late', 'old', {}, { start: StartPosition.EARLIEST, ...key });
  const claim = await hand.joined('late');
  expect(claim).toMatchObject({ flowId: flow, tags: { of: 'the past' }, concurrencyKey: '' });
  expect(claim.joinedInputs.map(({ eventId }) => eventId)).toEqual([events[0], '', events[2]]);
  await hand.complete(claim);
});

test('of a deleted subscription open joins get nothing more and expire', async () => {
  await hand.subscribe('work', 'task');
  await hand.join('leave', 'task.done', { policy: { timeout: seconds(1) } });
  await hand.publish('task', 3);
  const [a, b, c] = await hand.members('work', 3);
  await hand.emit(a, { type: 'task.done' });
  const { downstreamExecutionId } = await hand.joinOf('leave', ({ okCount }) => okCount === 1);
  await recorded.clients.admin.deleteSubscription({ subscription: 'leave' });
  await hand.emit(b, { type: 'task.done' });
  await hand.emit(c);
  expect(await hand.end(downstreamExecutionId)).toMatchObject({ state: ExecutionState.FAILED });
  const expired = await hand.joinOf('leave', ({ state }) => state === JoinState.EXPIRED);
  expect(expired).toMatchObject({ okCount: 1, lateCount: 0 });
});

test('two servers that route at once make one execution per batch, narrow or wide', async () => {
  const [BATCHES, NARROW, WIDE] = [30, 3, 200];
  const other = await recorded.another();
  const hands = [hand, new BatchesByHand(other.clients, 'other')];
  await hand.join('sum', 'number', {}, { concurrencyKey: { source: { case: 'flow', value: true } } });
  const sizes = Array.from({ length: BATCHES }, (_, i) => (i === 0 ? WIDE : NARROW));
  const published = await Promise.all(sizes.map((size, i) => hands[i % 2]?.publish('number', size)));
  const claims = await hand.members('sum', BATCHES);
  const flows = claims.map(({ flowId }) => flowId);
  expect(flows.sort()).toEqual(published.map((batch) => batch?.flow).sort());
  for (const claim of claims) {
    const { events } = published.find((batch) => batch?.flow === claim.flowId) ?? { events: [] };
    expect(claim.joinedInputs.map(({ eventId }) => eventId)).toEqual(events);
    await hand.complete(claim);
  }
  expect(await hand.claim({ lanes: [{ lane: 'sum' }], wait: seconds(0) })).toEqual([]);
});
