/** Bulk redrives: a canary first, then at a rate; stopped, passed over, edited, and told as they go. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { PoisonPolicy } from '../../gen/tailrace/v1/consumer_pb.js';
import { DeadLetterResolution, DeadLetterState } from '../../gen/tailrace/v1/dead_letter_pb.js';
import { DeadLetterReason } from '../../gen/tailrace/v1/dead_letter_reason_pb.js';
import { FlowState } from '../../gen/tailrace/v1/flow_pb.js';
import { LaneState } from '../../gen/tailrace/v1/lane_pb.js';
import { LogEntryKind } from '../../gen/tailrace/v1/log_pb.js';
import { RedriveState } from '../../gen/tailrace/v1/redrive_pb.js';
import { only, refusal, seconds, text } from '../support/by-hand.js';
import { ConsumersByHand } from '../support/consumers-by-hand.js';
import { type Desk, startDesk } from '../support/desk.js';
import { eventually } from '../support/eventually.js';
import { FlowsByHand } from '../support/flows-by-hand.js';
import { HeldRows } from '../support/held-rows.js';
import { RedrivesByHand } from '../support/redrives-by-hand.js';

const { OPEN, REDRIVING, CLOSED } = DeadLetterState;
const { CANARY, STOPPED, FINISHED } = RedriveState;
const { IGNORED, REDRIVEN } = DeadLetterResolution;

let desk: Desk;
let hand: RedrivesByHand;
beforeAll(async () => {
  desk = await startDesk();
  hand = new RedrivesByHand(desk);
});
afterEach(async () => {
  expect(await desk.broken()).toEqual([]);
});
afterAll(async () => {
  await desk.stop();
});

const json = (value: string, contentType = 'application/json') => ({
  contentType,
  body: { case: 'text' as const, value },
});
const NONE = { canaryCount: 0 };

/** Of the bulk redrive, oldest first. */
async function told(redriveId: string) {
  await desk.caughtUp();
  const kinds = [80, 81, 82, 83];
  const { entries } = await desk.admin.listLogEntries({ filter: { kinds }, pageSize: 1_000 });
  return entries.filter(({ subject }) => subject === redriveId).reverse();
}

describe('A bulk redrive', () => {
  it('runs a canary, then the rest, and links each letter with its run', async () => {
    const lane = 'whole';
    const ids = await hand.givenUp(lane, 30, () => ({ priority: 5 }));
    const redrive = await hand.start(lane, { canaryCount: 4, actor: 'ann', note: 'the api is back' });
    expect(redrive).toMatchObject({ state: CANARY, selectedCount: 30n, actor: 'ann', filter: { lanes: [lane] } });
    const canary = await hand.claim(lane, 4);
    expect(await hand.look(redrive)).toMatchObject({ state: CANARY, startedCount: 4n, runningCount: 4n });
    await hand.complete(canary);
    expect(await hand.finished(redrive)).toMatchObject({ startedCount: 30n, succeededCount: 4n, runningCount: 26n });
    const rest = await hand.claim(lane, 26);
    // Behind live work of the same priority.
    expect(new Set(rest.map(({ priority }) => priority))).toEqual(new Set([4]));
    await hand.complete(rest);
    const done = await hand.look(redrive);
    expect(done).toMatchObject({ succeededCount: 30n, failedCount: 0n, skippedCount: 0n, runningCount: 0n });
    const letters = await hand.letters(lane);
    expect(letters.map(({ subject }) => subject?.subject.value)).toEqual(expect.arrayContaining(ids));
    for (const letter of letters) {
      expect(letter).toMatchObject({ state: CLOSED, resolution: REDRIVEN, redriveCount: 1 });
      expect(letter).toMatchObject({ redriveId: redrive.redriveId, actor: 'ann', note: 'the api is back' });
    }
    const runs = [...canary, ...rest].map(({ executionId }) => executionId);
    expect(letters.map(({ redriveExecutionId }) => redriveExecutionId).sort()).toEqual(runs.sort());
    const entries = await told(redrive.redriveId);
    expect(entries[0]).toMatchObject({ kind: LogEntryKind.REDRIVE_STARTED, actor: 'ann', reason: 'the api is back' });
    expect(entries.at(-1)).toMatchObject({
      kind: LogEntryKind.REDRIVE_FINISHED,
      body: { value: { selected: 30, started: 30, succeeded: 4, failed: 0, skipped: 0 } },
    });
  });

  it('stops when its canary fails, and leaves the rest as it is (proof 9)', async () => {
    const lane = 'sick';
    await hand.givenUp(lane, 12);
    const redrive = await hand.start(lane, { canaryCount: 4, canaryMaxFailures: 2 });
    const [first, second, ...others] = await hand.claim(lane, 4);
    await hand.fail([first as never]);
    await hand.complete(others);
    await hand.until(redrive, ({ failedCount, succeededCount }) => failedCount === 1n && succeededCount === 2n);
    await hand.fail([second as never]);
    await hand.until(redrive, ({ state }) => state === STOPPED);
    const stopped = await hand.look(redrive);
    expect(stopped).toMatchObject({ startedCount: 4n, failedCount: 2n, stopReason: '2 of the first 4 failed again' });
    const letters = await hand.letters(lane);
    expect(letters.map(({ state }) => state)).toEqual([OPEN, OPEN, CLOSED, CLOSED, ...Array(8).fill(OPEN)]);
    const [failed] = letters;
    expect(failed).toMatchObject({ redriveCount: 1, attemptCount: 2, version: 3n });
    const { attempts } = await desk.deadLetters.getDeadLetter({ deadLetterId: failed?.deadLetterId ?? '' });
    expect(attempts).toHaveLength(2);
    const kinds = (await told(redrive.redriveId)).map(({ kind }) => kind);
    expect(kinds.at(-1)).toBe(LogEntryKind.REDRIVE_STOPPED);
    // What is open can be taken by another one, that belongs to it from then on.
    const again = await hand.start(lane, NONE);
    expect(again.selectedCount).toBe(10n);
    await hand.finished(again);
    await hand.complete(await hand.claim(lane, 10));
    expect(await hand.look(again)).toMatchObject({ succeededCount: 10n });
    expect(await hand.look(redrive)).toMatchObject({ failedCount: 2n, succeededCount: 2n });
  });

  it('passes over what somebody else changed meanwhile, and does not touch what opens later (proof 8)', async () => {
    const lane = 'changed';
    await hand.givenUp(lane, 6);
    const redrive = await hand.start(lane, { canaryCount: 1 });
    const canary = [await hand.hand.claimOne({ lanes: [{ lane }], leaseDuration: seconds(60) })];
    const [, resolved, redriven, again] = (await hand.letters(lane)).map(({ deadLetterId }) => deadLetterId);
    for (const deadLetterId of [resolved, again]) {
      await desk.deadLetters.resolveDeadLetters({
        deadLetters: [{ deadLetterId: deadLetterId ?? '' }],
        resolution: IGNORED,
      });
    }
    await desk.deadLetters.reopenDeadLetter({ deadLetterId: again ?? '' });
    await desk.deadLetters.redriveDeadLetter({ deadLetterId: redriven ?? '' });
    await hand.hand.complete(await hand.hand.claimOne({ lanes: [{ lane }] }));
    await hand.givenUp(lane, 1);
    await hand.complete(canary);
    expect(await hand.finished(redrive)).toMatchObject({ selectedCount: 6n, startedCount: 3n, skippedCount: 3n });
    await hand.complete(await hand.claim(lane, 2));
    const letters = await hand.letters(lane);
    expect(letters.map(({ state }) => state)).toEqual([CLOSED, CLOSED, CLOSED, OPEN, CLOSED, CLOSED, OPEN]);
    // One that was redriven by hand belongs to none.
    expect(letters.map((letter) => letter.redriveId !== '')).toEqual([true, false, false, false, true, true, false]);
  });

  it('keeps its rate without bursts, stops when it is told to, and starts nothing after that', async () => {
    const lane = 'paced';
    await hand.givenUp(lane, 400);
    const asked = { ...NONE, ratePerSecond: 40, requestId: 'paced' };
    const redrive = await hand.start(lane, asked);
    await hand.until(redrive, ({ startedCount }) => startedCount >= 60n);
    const stopped = await hand.stop(redrive, 'enough');
    expect(stopped).toMatchObject({ state: STOPPED, stopReason: 'enough' });
    expect(stopped.startedCount).toBeLessThan(400n);
    expect(await hand.stop(redrive, 'once more')).toMatchObject({ state: STOPPED, stopReason: 'enough' });
    const times = (await hand.letters(lane)).flatMap(({ redriveTime: at }) => {
      return at ? [Number(at.seconds) * 1_000 + at.nanos / 1e6] : [];
    });
    expect(BigInt(times.length)).toBe(stopped.startedCount);
    // Never more than twice the rate, beside what one step may take.
    for (const [i, time] of times.entries()) {
      const second = times.slice(i).filter((other) => other < time + 1_000);
      expect(second.length).toBeLessThanOrEqual(2 * 40 + 12);
    }
    expect((times.at(-1) ?? 0) - (times[0] ?? 0)).toBeGreaterThan(((times.length / 2) * 1_000) / 80);
    const { redrive: repeated, duplicate } = await desk.deadLetters.startRedrive({
      filter: { lanes: [lane] },
      ...asked,
    });
    expect([duplicate, repeated]).toEqual([true, await hand.look(redrive)]);
    const other = desk.deadLetters.startRedrive({ ...asked, filter: { lanes: ['other'] } });
    expect(await refusal(other)).toMatchObject({ reason: 'REQUEST_ID_REUSED' });
    expect((await hand.look(redrive)).startedCount).toBe(stopped.startedCount);
    // What it started goes on.
    await hand.complete(await hand.claim(lane, times.length));
    expect(await hand.look(redrive)).toMatchObject({ state: STOPPED, succeededCount: stopped.startedCount });
    expect((await told(redrive.redriveId)).at(-1)).toMatchObject({
      kind: LogEntryKind.REDRIVE_STOPPED,
      reason: 'enough',
    });
  });

  it('edits inputs that are JSON, and passes over the others', async () => {
    const lane = 'edited';
    const inputs = [
      json('{"id": 12345678901234567890, "to": {"name": "a", "retry": true}}'),
      json('[1]'),
      text('{}'),
      json('{'),
      undefined,
    ];
    const large = json(`{"text":"${'x'.repeat(4_070)}"}`);
    const ids = await hand.givenUp(lane, 6, (i) => ({
      ...(i === 5 ? { input: large } : inputs[i] && { input: inputs[i] }),
    }));
    const redrive = await hand.start(lane, {
      ...NONE,
      inputPatch: json('{"to":{"name":"b","retry":null},"more":[null]}'),
    });
    expect(redrive.inputPatch?.body.value).toContain('"more"');
    expect(await hand.finished(redrive)).toMatchObject({ startedCount: 2n, skippedCount: 4n });
    const made = ['{"id":12345678901234567890,"to":{"name":"b"},"more":[null]}', '{"to":{"name":"b"},"more":[null]}'];
    const claims = await hand.claim(lane, 2);
    expect(claims.map(({ input }) => input?.body.value).sort()).toEqual(made);
    const found = await hand.letters(lane);
    const letters = ids.flatMap((id) => found.filter(({ subject }) => subject?.subject.value === id));
    expect(letters.map(({ state }) => state)).toEqual([REDRIVING, REDRIVING, OPEN, OPEN, OPEN, OPEN]);
    const { deadLetter } = await desk.deadLetters.getDeadLetter({ deadLetterId: letters[0]?.deadLetterId ?? '' });
    expect(deadLetter?.input).toMatchObject(inputs[0] as object);
    expect(deadLetter?.editedInput).toMatchObject(json(made[0] ?? ''));
    await hand.complete(claims);

    // One alone, the same way.
    const [, , plain, , , big] = letters.map(({ deadLetterId }) => deadLetterId);
    const one = (deadLetterId = '', more = {}) =>
      desk.deadLetters.redriveDeadLetter({ deadLetterId, inputPatch: json('{"b":2}'), ...more });
    const named = (field: string) => ({ reason: 'INVALID_FIELD', fieldViolations: [{ field }] });
    expect(await refusal(one(plain))).toMatchObject(named('input_patch'));
    expect(await refusal(one(plain, { input: text('x') }))).toMatchObject(named('input_patch'));
    for (const patch of ['[]', 'null', '{"a":}', '{"a":1e999}']) {
      expect(await refusal(one(plain, { inputPatch: json(patch) }))).toMatchObject(named('input_patch'));
    }
    expect(await refusal(one(big, { inputPatch: json('{"b":"and more than there is room for"}') }))).toMatchObject({
      reason: 'PAYLOAD_TOO_LARGE',
    });
    expect(await one(big, { requestId: 'big' })).toMatchObject({ deadLetter: { state: REDRIVING }, duplicate: false });
    expect(await one(big, { requestId: 'big' })).toMatchObject({ duplicate: true });
    expect(await refusal(one(big, { requestId: 'big', inputPatch: json('{}') }))).toMatchObject({
      reason: 'REQUEST_ID_REUSED',
    });
  });

  it('runs members in their flows, and leaves out what is canceled or closed', async () => {
    const flows = new FlowsByHand(desk);
    const lane = 'members';
    const chain = { members: { bad: {}, after: {} }, links: [['bad', 'after'] as const] };
    const made = await Promise.all([1, 2].map(() => flows.flow(chain, {}, lane)));
    for (const flow of made) await flow.fail('bad');
    for (const flow of made) expect((await flow.ended()).state).toBe(FlowState.FAILED);
    const canceled = await flows.flow({ members: { bad: {}, aside: {} } }, {}, lane);
    await canceled.fail('bad');
    await desk.engine.cancelFlow({ flowId: canceled.id });
    await canceled.ended(); // nobody is to claim what waits in it
    const redrive = await hand.start(lane, NONE);
    expect(await hand.finished(redrive)).toMatchObject({ startedCount: 2n, skippedCount: 1n });
    for (const _ of Array(4)) await hand.complete(await hand.claim(lane, 1));
    for (const flow of made) expect((await flow.ended()).state).toBe(FlowState.SUCCEEDED);
    const outside = await hand.start(lane, { ...NONE, detached: true });
    expect(await hand.finished(outside)).toMatchObject({ startedCount: 1n, detached: true });
    const [claim] = await hand.claim(lane, 1);
    expect(claim?.flowId).toBe('');
    await hand.complete(claim ? [claim] : []);

    await hand.givenUp('shut', 2);
    await desk.admin.updateLane({ lane: 'shut target' });
    await desk.admin.updateLane({ lane: 'shut target', state: LaneState.DRAINING });
    const shut = await hand.start('shut', { ...NONE, lane: 'shut target' });
    expect(await hand.finished(shut)).toMatchObject({ startedCount: 0n, skippedCount: 2n, lane: 'shut target' });
    const moved = await hand.start('shut', { ...NONE, lane: 'elsewhere' });
    expect(await hand.finished(moved)).toMatchObject({ startedCount: 2n });
    await hand.complete(await hand.claim('elsewhere', 2));
  });

  it('goes on with the others while somebody holds a letter, a flow, or what one waits for', async () => {
    const lane = 'held';
    await hand.givenUp(lane, 4);
    const flows = new FlowsByHand(desk);
    const graph = {
      members: { bad: {}, good: {}, after: {} },
      links: [['bad', 'after'] as const, ['good', 'after'] as const],
    };
    const made = await Promise.all([1, 2, 3].map(() => flows.flow(graph, {}, lane)));
    for (const flow of made) await flow.fail('bad');
    await eventually(async () => {
      const states = await Promise.all(made.map((flow) => flow.states('after')));
      return states.every(({ after }) => after === 'SKIPPED');
    });
    const held = await HeldRows.start(desk.database);
    await held.hold('dead_letter', 'id', (await hand.letters(lane))[1]?.deadLetterId ?? '');
    await held.hold('flow', 'id', made[0]?.id ?? '');
    await held.hold('ready', 'execution', made[1]?.of('good') ?? '');
    const redrive = await hand.start(lane, NONE);
    await hand.until(redrive, ({ startedCount }) => startedCount === 4n);
    expect(await hand.look(redrive)).toMatchObject({
      state: RedriveState.RUNNING,
      selectedCount: 7n,
      skippedCount: 0n,
    });
    await held.release();
    expect(await hand.finished(redrive)).toMatchObject({ startedCount: 7n, skippedCount: 0n });
    await hand.complete(await hand.claim(lane, 7 + 3));
    await hand.complete(await hand.claim(lane, 3));
    for (const flow of made) expect((await flow.ended()).state).toBe(FlowState.SUCCEEDED);
  });

  it('routes events again, and offers parked entries again', async () => {
    const by = new ConsumersByHand(desk);
    await by.subscribe('far', { filter: { eventTypes: ['far'] } });
    const chain = Array.from({ length: 66 }, (_, n) => ({
      type: n === 65 ? 'far' : 'near',
      eventId: `chain ${n}`,
      ...(n > 0 && { causeEventId: `chain ${n - 1}` }),
    }));
    await by.publish(...chain);
    const events = await hand.start('', { ...NONE, filter: { reasons: [DeadLetterReason.HOP_LIMIT] } });
    await hand.until(events, ({ state, succeededCount }) => state === FINISHED && succeededCount === 1n);
    await eventually(async () => (await by.reactionsOf('far')).length === 1);

    await by.consumer('reader', { filter: { eventTypes: ['read'] }, poisonPolicy: PoisonPolicy.PARK, maxTries: 1 });
    await by.publish({ type: 'read', flowId: '' }, { type: 'read' });
    const owner = await by.owner('reader', { leaseDuration: seconds(600) });
    for (const _ of [1, 2]) {
      await eventually(async () => (await owner.fetch()).deliveries.length > 0);
      await owner.fail(only((await owner.fetch({ maxEntries: 1 })).deliveries));
    }
    const edited = await hand.start('', { ...NONE, filter: { consumers: ['reader'] }, inputPatch: json('{}') });
    expect(await hand.finished(edited)).toMatchObject({ startedCount: 0n, skippedCount: 2n });
    const entries = await hand.start('', { ...NONE, filter: { consumers: ['reader'] } });
    expect(await hand.finished(entries)).toMatchObject({ startedCount: 2n });
    await eventually(async () => {
      const answer = await owner.fetch();
      if (answer.deliveries.length > 0) await owner.commit(answer);
      return (await hand.look(entries)).succeededCount === 2n;
    });
  });
});

describe('StartRedrive', () => {
  it('says what it would do, and changes nothing', async () => {
    const lane = 'dry';
    await hand.givenUp(lane, 25, (i) => ({ type: i < 5 ? 'few' : 'many' }));
    const asked = { filter: { lanes: [lane] }, dryRun: true, ratePerSecond: 10 };
    const { redrive, sample, types, reasons, estimatedDuration } = await desk.deadLetters.startRedrive(asked);
    expect(redrive).toMatchObject({ redriveId: '', selectedCount: 25n, ratePerSecond: 10, canaryCount: 10 });
    expect(types).toMatchObject([
      { value: 'many', count: 20n },
      { value: 'few', count: 5n },
    ]);
    expect(reasons).toMatchObject([{ value: 'PERMANENT', count: 25n }]);
    expect(estimatedDuration).toMatchObject({ seconds: 2n, nanos: 500_000_000 });
    const letters = await hand.letters(lane, [OPEN]);
    expect(sample.map(({ deadLetterId }) => deadLetterId)).toEqual(
      letters.slice(0, 20).map((letter) => letter.deadLetterId),
    );
    expect(letters).toHaveLength(25);
    const capped = await desk.deadLetters.startRedrive({ ...asked, maxCount: 3n });
    expect([capped.redrive?.selectedCount, capped.sample.length]).toEqual([3n, 3]);
    const some = await hand.start(lane, { ...NONE, maxCount: 3n });
    expect(await hand.finished(some)).toMatchObject({ selectedCount: 3n, startedCount: 3n, maxCount: 3n });
    await hand.complete(await hand.claim(lane, 3));
    const nothing = await hand.start('nothing there');
    expect(await hand.finished(nothing)).toMatchObject({ selectedCount: 0n, startedCount: 0n });
  });

  it('refuses what nobody may ask', async () => {
    const fields = async (request: object) => {
      const { reason, fieldViolations } = await refusal(desk.deadLetters.startRedrive({ ...request }));
      expect(reason).toBe('INVALID_FIELD');
      return fieldViolations.map(({ field }) => field).sort();
    };
    expect(await fields({})).toEqual(['filter']);
    expect(await fields({ filter: { states: [OPEN] } })).toEqual(['filter']);
    expect(await fields({ filter: { states: [CLOSED, REDRIVING], resolutions: [IGNORED] } })).toEqual([
      'filter',
      'filter.resolutions',
      'filter.states',
    ]);
    const filter = { lanes: ['x'] };
    expect(await fields({ filter, ratePerSecond: 1_001, canaryCount: -1, canaryMaxFailures: 1_001 })).toEqual([
      'canary_count',
      'canary_max_failures',
      'rate_per_second',
    ]);
    expect(await fields({ filter, maxCount: -1n, inputPatch: json('[1]') })).toEqual(['input_patch', 'max_count']);
    const redriveId = '01900000-0000-7000-8000-000000000000';
    for (const ask of [{ redriveId }, { redriveId, namespace: 'elsewhere' }]) {
      expect(await refusal(desk.deadLetters.getRedrive(ask))).toMatchObject({ reason: 'REDRIVE_NOT_FOUND' });
      expect(await refusal(desk.deadLetters.stopRedrive(ask))).toMatchObject({ reason: 'REDRIVE_NOT_FOUND' });
    }
  });
});
