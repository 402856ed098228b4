/** Entries that cannot be handled: backoff, halt, parking with followers, and delivering parked ones again. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { FailureClass } from '../../../gen/tailrace/v1/attempt_pb.js';
import type { FetchEntriesResponse } from '../../../gen/tailrace/v1/completion_service_pb.js';
import {
  type ConsumerDelivery,
  ConsumerState,
  FailEntryEffect,
  PoisonPolicy,
  SplitKey,
} from '../../../gen/tailrace/v1/consumer_pb.js';
import { DeadLetterResolution, DeadLetterState } from '../../../gen/tailrace/v1/dead_letter_pb.js';
import { LogEntryKind, StartPosition } from '../../../gen/tailrace/v1/log_pb.js';
import { verify } from '../../../src/repository/verification/index.js';
import { refusal, seconds, text } from '../../support/by-hand.js';
import { ConsumersByHand, entriesOf, type Owner, payloadsOf } from '../../support/consumers-by-hand.js';
import { startTailrace, type TestTailrace } from '../../support/tailrace.js';

const { RETRY, HALTED, PARKED } = FailEntryEffect;
const { OPEN, REDRIVING, CLOSED } = DeadLetterState;
const { IGNORED, REDRIVEN } = DeadLetterResolution;
const permanent = { failure: { failureClass: FailureClass.PERMANENT, message: 'never', code: 'Poison' } };

let tailrace: TestTailrace;
let hand: ConsumersByHand;
beforeAll(async () => {
  tailrace = await startTailrace();
  hand = new ConsumersByHand(tailrace);
});
afterAll(async () => {
  const broken = (await verify(tailrace.running.engine.database)).filter(({ violations }) => violations.length > 0);
  await tailrace.stop();
  expect(broken).toEqual([]);
});

let made = 0;
const quick = { initialBackoff: seconds(0.02), maxBackoff: seconds(0.05) };
const parking = { ...quick, poisonPolicy: PoisonPolicy.PARK, splitKey: SplitKey.STREAM };
/** A consumer of its own events, and who holds its only part. */
const consumer = async (more = {}) => {
  const name = `failing ${++made}`;
  await hand.consumer(name, { filter: { eventTypes: [name] }, ...quick, ...more });
  return { name, owner: await hand.owner(name, { leaseDuration: seconds(60) }) };
};
/** `a1` is the payload, and its letter with the consumer's name the stream. */
const publish = (type: string, ...payloads: string[]) =>
  hand.publish(...payloads.map((value) => ({ type, stream: `${type} ${value[0]}`, payload: text(value) })));
const seen = (answer: FetchEntriesResponse) => payloadsOf(entriesOf(answer));
const reasonOf = async (call: Promise<unknown>) => (await refusal(call)).reason;
const soon = { wait: seconds(20) };
const next = async (owner: Owner): Promise<ConsumerDelivery> => {
  for (;;) {
    const [delivery] = (await owner.fetch(soon)).deliveries;
    if (delivery) return delivery;
  }
};
/** By payload, oldest first. */
const lettersOf = async (name: string) => {
  const { deadLetters } = await tailrace.deadLetters.listDeadLetters({
    filter: { consumers: [name] },
    includePayloads: true,
  });
  return new Map(deadLetters.reverse().map((letter) => [String(letter.input?.body.value), letter] as const));
};
const letterOf = async (name: string, payload: string) => {
  const letter = (await lettersOf(name)).get(payload);
  if (letter === undefined) throw new Error(`no letter of ${payload}`);
  return letter;
};
const statesOf = async (name: string) =>
  Object.fromEntries([...(await lettersOf(name))].map(([payload, { state }]) => [payload, state]));
const redrive = (deadLetterId: string, more = {}) => tailrace.deadLetters.redriveDeadLetter({ deadLetterId, ...more });
const resolve = async (deadLetterId: string, resolution = IGNORED) =>
  await tailrace.deadLetters.resolveDeadLetters({ deadLetters: [{ deadLetterId }], resolution });

describe('A failing entry', () => {
  it('is offered again after a growing backoff, once per try, and success resets it (proof 29)', async () => {
    const { name, owner } = await consumer({ maxTries: 10 });
    await publish(name, 'a1', 'a2');
    const delays: number[] = [];
    for (let tries = 0; tries < 4; tries++) {
      const delivery = await next(owner);
      expect(delivery.previousTries).toBe(tries);
      const answer = await owner.fail(delivery);
      expect(answer).toMatchObject({ effect: RETRY, tryCount: tries + 1, cursor: owner.cursor });
      delays.push(Math.round((answer.retryDelay?.nanos ?? 0) / 1e6));
      expect(await owner.fail(delivery)).toMatchObject({ effect: RETRY, tryCount: tries + 1 });
    }
    expect(delays).toEqual([20, 40, 50, 50]);
    const parts = (await tailrace.admin.getConsumer({ consumer: name })).consumer?.parts;
    expect(parts).toMatchObject([{ tryCount: 4, lastFailure: { message: 'it does not work' } }]);

    await next(owner);
    const answer = await owner.fetch();
    expect(answer.deliveries.map(({ previousTries }) => previousTries)).toEqual([4, 0]);
    await owner.commit(answer, { toCursor: entriesOf(answer)[0]?.cursor ?? '' });
    const second = await next(owner);
    expect(second).toMatchObject({ previousTries: 0 });
    expect(await owner.fail(second)).toMatchObject({ effect: RETRY, tryCount: 1 });
  });

  it('keeps everything behind it back while it backs off', async () => {
    const { name, owner } = await consumer({ initialBackoff: seconds(600), maxBackoff: seconds(600) });
    await publish(name, 'a1', 'b1');
    await owner.fail(await next(owner));
    const answer = await owner.fetch(soon);
    expect(answer).toMatchObject({ deliveries: [], toCursor: answer.fromCursor });
    expect(Number(answer.retryDelay?.seconds)).toBeGreaterThan(500);
  });

  it('halts the consumer at the limit, and is tried again when that is resumed', async () => {
    const { name, owner } = await consumer({ maxTries: 2 });
    const [, event] = await publish(name, 'a1', 'a2');
    const answer = await owner.fetch(soon);
    await owner.commit(answer, { toCursor: entriesOf(answer)[0]?.cursor ?? '' });
    await owner.fail(await next(owner));
    const delivery = await next(owner);
    expect(await owner.fail(delivery)).toMatchObject({ effect: HALTED, tryCount: 2 });
    expect(await owner.fail(delivery)).toMatchObject({ effect: HALTED });
    for (const call of [() => owner.fetch(), () => owner.member.acquire(), () => hand.member(name).acquire()]) {
      const detail = await refusal(call());
      expect(detail).toMatchObject({ reason: 'CONSUMER_HALTED', metadata: { state_reason: 'it does not work' } });
      expect(detail.metadata['cursor']).toBe(event?.cursor);
    }
    expect(await reasonOf(owner.commit(answer))).toBe('EPOCH_CONFLICT');
    const coming = hand.member(name).acquire(soon);
    await tailrace.admin.resumeConsumer({ consumer: name });
    const [anew] = await coming;
    expect(await anew?.fetch(soon)).toMatchObject({
      deliveries: [{ previousTries: 0, entry: { cursor: event?.cursor } }],
    });
  });

  it('leaves a consumer paused that an operator has paused, also when its owner halts it', async () => {
    const { name, owner } = await consumer();
    await publish(name, 'a1');
    const delivery = await next(owner);
    await tailrace.admin.pauseConsumer({ consumer: name, reason: 'a look' });
    expect(await owner.fail(delivery, permanent)).toMatchObject({ effect: HALTED });
    const paused = { state: ConsumerState.PAUSED, stateReason: 'a look' };
    expect((await tailrace.admin.getConsumer({ consumer: name })).consumer).toMatchObject(paused);
    const { consumer: moved } = await tailrace.admin.resetConsumer({ consumer: name, start: StartPosition.LATEST });
    expect(moved).toMatchObject(paused);
  });

  it('halts at once when it is permanent, and waits uncounted for a rate limit', async () => {
    const { name, owner } = await consumer();
    await publish(name, 'a1');
    const delivery = await next(owner);
    const retryTime = { seconds: BigInt(Math.floor(Date.now() / 1000) + 3600), nanos: 0 };
    const failure = { failureClass: FailureClass.RATE_LIMITED, message: 'slow down' };
    expect(await reasonOf(owner.fail(delivery, { failure }))).toBe('INVALID_FIELD');
    expect(await reasonOf(owner.fail(delivery, { retryTime }))).toBe('INVALID_FIELD');
    const limited = await owner.fail(delivery, { failure, retryTime });
    expect(limited).toMatchObject({ effect: RETRY, tryCount: 0 });
    expect(Number(limited.retryDelay?.seconds)).toBeGreaterThan(3000);
    expect(await owner.fail(delivery, permanent)).toMatchObject({ effect: HALTED });
  });

  it('must be the first one that is left: all else is refused, and nothing is counted', async () => {
    const { name, owner } = await consumer();
    const [stranger] = await publish(`${name} stranger`, 'x1');
    const [, , third] = await publish(name, 'a1', 'a2', 'a3');
    const answer = await owner.fetch(soon);
    const [first, second] = answer.deliveries as [ConsumerDelivery, ConsumerDelivery];
    await owner.commit(answer, { toCursor: first.entry?.cursor ?? '' });
    const foreign = (await tailrace.admin.putConsumer({ namespace: 'elsewhere', consumer: { name } })).consumer;
    const cases: [string, Parameters<Owner['fail']>[1]][] = [
      ['VERSION_CONFLICT', { entryCursor: first.entry?.cursor ?? '' }],
      ['VERSION_CONFLICT', { entryCursor: third?.cursor ?? '' }],
      ['VERSION_CONFLICT', { entryCursor: stranger?.cursor ?? '' }],
      ['BAD_CURSOR', { entryCursor: foreign?.parts[0]?.cursor ?? '' }],
      ['BAD_CURSOR', { entryCursor: 'nothing' }],
      ['INVALID_FIELD', { entryCursor: '' }],
      ['INVALID_FIELD', { previousTries: -1 }],
      ['DEAD_LETTER_NOT_FOUND', { deadLetterId: owner.member.ownerId }],
      ['EPOCH_CONFLICT', { part: { ...owner.held.part, epoch: 9n } }],
      ['EPOCH_CONFLICT', { ownerId: 'somebody else' }],
      ['CONSUMER_NOT_FOUND', { consumer: `${name} that is not` }],
    ];
    for (const [reason, more] of cases) expect(await reasonOf(owner.fail(second, more)), reason).toBe(reason);
    await owner.commit(await owner.fetch());
    const [, behind] = await publish(`${name} stranger`, 'x2', 'x3');
    await publish(name, 'a4');
    await next(owner);
    expect(await reasonOf(owner.fail(second, { entryCursor: behind?.cursor ?? '' }))).toBe('BAD_CURSOR');
    expect(await next(owner)).toMatchObject({ previousTries: 0 });
  });
});

describe('A parked entry', () => {
  /** a1 is parked; b1 is handled. */
  const parked = async (more = {}, ...payloads: string[]) => {
    const { name, owner } = await consumer({ ...parking, ...more });
    await publish(name, ...(payloads.length > 0 ? payloads : ['a1', 'b1', 'a2', 'b2', 'a3']));
    const answer = await owner.fail(await next(owner), permanent);
    expect(answer.effect).toBe(PARKED);
    return { name, owner, letter: answer.deadLetterId };
  };
  /** What is handed out until nothing is left, all of it handled. */
  const handled = async (owner: Owner) => {
    const all: unknown[] = [];
    for (;;) {
      const answer = await owner.fetch();
      all.push(...seen(answer));
      if (answer.deliveries.length === 0 && answer.toCursor === answer.fromCursor) return all;
      await owner.commit(answer);
    }
  };

  it('keeps its followers back, and is a letter that says what it is', async () => {
    const { name, owner, letter } = await parked();
    expect(await handled(owner)).toEqual(['b1', 'b2']);
    expect(await statesOf(name)).toEqual({ a1: OPEN, a2: OPEN, a3: OPEN });
    const { deadLetter } = await tailrace.deadLetters.getDeadLetter({ deadLetterId: letter });
    const entry = { consumer: name, generation: 1n, part: 0, key: `stream:${name} a`, follower: false };
    expect(deadLetter).toMatchObject({
      subject: { subject: { case: 'consumerEntry', value: entry } },
      state: OPEN,
      consumer: name,
      type: name,
      eventType: name,
      attemptCount: 1,
      failure: { failureClass: FailureClass.PERMANENT, message: 'never', code: 'Poison' },
    });
    expect((await letterOf(name, 'a2')).subject?.subject.value).toMatchObject({ follower: true, key: entry.key });
    const { entries } = await tailrace.admin.listLogEntries({ filter: { kinds: [LogEntryKind.DEAD_LETTER_OPENED] } });
    const opened = entries.filter(({ body }) => body.case === 'details' && body.value['consumer'] === name);
    expect(opened).toHaveLength(3);
    const counted = await tailrace.deadLetters.countDeadLetters({ filter: { consumers: [name] } });
    expect(counted).toMatchObject({ count: 3n });
  });

  it('is delivered again alone and flagged, and touches no other (proof 13); then its followers come in order', async () => {
    const { name, owner, letter } = await parked();
    await handled(owner);
    const [before, beside] = [await lettersOf(name), await letterOf(name, 'a3')];
    const detail = await refusal(redrive(beside.deadLetterId));
    expect(detail).toMatchObject({ reason: 'WRONG_STATE', metadata: { state: 'FOLLOWER' } });
    expect(await reasonOf(redrive(letter, { detached: true }))).toBe('INVALID_FIELD');

    const waiting = owner.fetch(soon);
    const { deadLetter } = await redrive(letter, { requestId: name, actor: 'an operator', note: 'it is mended' });
    expect(deadLetter).toMatchObject({ state: REDRIVING, redriveCount: 1, version: 2n, actor: 'an operator' });
    expect(await redrive(letter, { requestId: name })).toMatchObject({ duplicate: true });
    const answer = await waiting;
    expect(seen(answer)).toEqual(['a1']);
    expect(answer).toMatchObject({ deliveries: [{ deadLetterId: letter }], toCursor: answer.fromCursor });
    // Answered until it is committed.
    expect((await owner.fetch()).deliveries).toEqual(answer.deliveries);
    for (const payload of ['a2', 'a3']) expect(await letterOf(name, payload)).toEqual(before.get(payload));

    expect(await owner.commit(answer)).toMatchObject({ duplicate: false });
    expect(await owner.commit(answer)).toMatchObject({ duplicate: true });
    expect(await letterOf(name, 'a1')).toMatchObject({ state: CLOSED, resolution: REDRIVEN, version: 3n });
    await publish(name, 'a4', 'b3');
    expect(await handled(owner)).toEqual(['a2', 'a3', 'a4', 'b3']);
    expect(await statesOf(name)).toEqual({ a1: CLOSED, a2: CLOSED, a3: CLOSED });
  });

  it('lets its followers go when it is resolved, whatever way (proof 29)', async () => {
    const { name, owner, letter } = await parked();
    await handled(owner);
    const waiting = owner.fetch(soon);
    await resolve(letter);
    const answer = await waiting;
    expect(seen(answer)).toEqual(['a2', 'a3']);
    // A follower that is on its way cannot be resolved; once it fails for good, it is the one that keeps the others back.
    const [second] = answer.deliveries as [ConsumerDelivery];
    expect(await owner.fail(second, permanent)).toMatchObject({ effect: PARKED, deadLetterId: second.deadLetterId });
    expect((await owner.fetch()).deliveries).toEqual([]);
    expect(await statesOf(name)).toEqual({ a1: CLOSED, a2: OPEN, a3: OPEN });
    expect((await letterOf(name, 'a2')).subject?.subject.value).toMatchObject({ follower: false });
    // One in between may be resolved without the first: it is not delivered, and holds nothing any more.
    await resolve((await letterOf(name, 'a3')).deadLetterId);
    await resolve(second.deadLetterId, DeadLetterResolution.HANDLED_BY_SCRIPT);
    await publish(name, 'a4');
    expect(seen(await owner.fetch(soon))).toEqual(['a4']);
  });

  it('backs off when it fails again, and is open again at the limit, its followers behind it', async () => {
    const { name, owner, letter } = await parked({
      maxTries: 2,
      initialBackoff: seconds(600),
      maxBackoff: seconds(600),
    });
    await handled(owner);
    await redrive(letter);
    const delivery = await next(owner);
    expect(await owner.fail(delivery)).toMatchObject({ effect: RETRY, tryCount: 1 });
    expect(await owner.fail(delivery)).toMatchObject({ effect: RETRY, tryCount: 1 });
    // Others are not held up by it.
    await publish(name, 'b3');
    const other = await owner.fetch(soon);
    expect(seen(other)).toEqual(['b3']);
    await owner.commit(other);
    const last = { ...delivery, previousTries: 1 };
    expect(await owner.fail(last)).toMatchObject({ effect: PARKED, deadLetterId: letter });
    expect(await owner.fail(last)).toMatchObject({ effect: PARKED, deadLetterId: letter });
    expect(await statesOf(name)).toEqual({ a1: OPEN, a2: OPEN, a3: OPEN });
    expect(await letterOf(name, 'a1')).toMatchObject({ attemptCount: 3, redriveCount: 1 });
    expect((await owner.fetch()).deliveries).toEqual([]);
  });

  it('is redriven by one of two operators (proof 8)', async () => {
    const { name, owner, letter } = await parked();
    const asked = await Promise.allSettled(
      Array.from({ length: 6 }, (_, i) => redrive(letter, { expectedVersion: i % 2 ? 1n : 0n })),
    );
    const won = asked.filter(({ status }) => status === 'fulfilled');
    expect(won).toHaveLength(1);
    for (const one of asked) {
      if (one.status === 'fulfilled') continue;
      expect(['WRONG_STATE', 'VERSION_CONFLICT']).toContain(await reasonOf(Promise.reject(one.reason)));
    }
    const commits = await owner.fetch(soon);
    expect(seen(commits)).toEqual(['a1']);
    const both = await Promise.all([owner.commit(commits), owner.commit(commits)]);
    expect(both.map(({ duplicate }) => duplicate).sort()).toEqual([false, true]);
    expect(await letterOf(name, 'a1')).toMatchObject({ state: CLOSED, version: 3n });
  });

  it('does not hide the one that fails after it, though the cursor stands before both', async () => {
    const { name, owner } = await parked({}, 'a1', 'a2', 'b1', 'a3', 'b2');
    const answer = await owner.fetch();
    expect(seen(answer)).toEqual(['b1', 'b2']);
    const [first, second] = answer.deliveries as [ConsumerDelivery, ConsumerDelivery];
    expect(await reasonOf(owner.fail(second))).toBe('VERSION_CONFLICT');
    expect(await owner.fail(first, permanent)).toMatchObject({ effect: PARKED, cursor: first.entry?.cursor });
    expect(await owner.fail(first, permanent)).toMatchObject({ effect: PARKED });
    expect(await handled(owner)).toEqual([]);
    expect(await statesOf(name)).toEqual({ a1: OPEN, a2: OPEN, b1: OPEN, a3: OPEN, b2: OPEN });
  });

  it('comes to whoever holds the part next, until it is handled; opened again it keeps nobody back', async () => {
    const { name, owner, letter } = await parked();
    await handled(owner);
    await redrive(letter);
    expect(seen(await owner.fetch(soon))).toEqual(['a1']);
    await owner.member.release();
    const anew = await hand.owner(name);
    const delivery = await next(anew);
    expect(delivery).toMatchObject({ deadLetterId: letter, previousTries: 0 });
    await anew.fail(delivery);
    expect(await next(anew)).toMatchObject({ deadLetterId: letter, previousTries: 1 });
    const answer = await anew.fetch();
    expect(await reasonOf(owner.commit(answer))).toBe('EPOCH_CONFLICT');
    await anew.commit(answer);
    expect(await handled(anew)).toEqual(['a2', 'a3']);

    await tailrace.deadLetters.reopenDeadLetter({ deadLetterId: letter });
    await publish(name, 'a4');
    expect(seen(await anew.fetch(soon))).toEqual(['a4']);
    await redrive(letter);
    const [again] = (await anew.fetch(soon)).deliveries as [ConsumerDelivery];
    expect(again.deadLetterId).toBe(letter);
    expect(await anew.fail(again, permanent)).toMatchObject({ effect: PARKED, deadLetterId: letter });
    expect(seen(await anew.fetch())).toEqual(['a4']);
    await redrive(letter);
    await anew.commit(await anew.fetch(soon));
    expect(await handled(anew)).toEqual(['a4']);
    expect(await letterOf(name, 'a1')).toMatchObject({ state: CLOSED, resolution: REDRIVEN, redriveCount: 3 });
  });

  it('without a key keeps nobody back', async () => {
    const lane = `lane ${made}`;
    const filter = { kinds: [LogEntryKind.LANE_PAUSED, LogEntryKind.LANE_RESUMED], lanes: [lane] };
    const { name, owner } = await consumer({ ...parking, filter, partCount: 3 });
    await hand.createOne({ lane });
    await tailrace.admin.pauseLane({ lane });
    await tailrace.admin.resumeLane({ lane });
    const { deadLetterId } = await owner.fail(await next(owner), permanent);
    const answer = await owner.fetch(soon);
    expect(entriesOf(answer)).toMatchObject([{ kind: LogEntryKind.LANE_RESUMED }]);
    await owner.commit(answer);
    await redrive(deadLetterId);
    const again = await owner.fetch(soon);
    expect(entriesOf(again)).toMatchObject([{ kind: LogEntryKind.LANE_PAUSED, lane }]);
    await owner.commit(again);
    const { deadLetter } = await tailrace.deadLetters.getDeadLetter({ deadLetterId });
    expect(deadLetter).toMatchObject({ state: CLOSED, consumer: name, subject: { subject: { value: { key: '' } } } });
  });

  it('whose turn it is comes, though a fetch that takes fewer was answered with others that failed', async () => {
    const { name, owner, letter } = await parked({}, 'a1', 'b1', 'a2', 'b2');
    const { deadLetterId } = await owner.fail(await next(owner), permanent);
    expect(await handled(owner)).toEqual([]);
    await resolve(letter);
    await resolve(deadLetterId);
    const few = { maxEntries: 1 };
    const [first] = (await owner.fetch({ ...soon, ...few })).deliveries as [ConsumerDelivery];
    expect(await owner.fail(first, permanent)).toMatchObject({ effect: PARKED });
    expect(await statesOf(name)).toEqual({ a1: CLOSED, b1: CLOSED, a2: OPEN, b2: OPEN });
    expect(seen(await owner.fetch(few))).toEqual(['b2']);
  });

  it('was let go before the cursor had passed it: it comes though the one that moves the cursor is parked', async () => {
    const { owner, letter } = await parked({}, 'a1', 'a2', 'b1');
    expect(seen(await owner.fetch())).toEqual(['b1']);
    await resolve(letter);
    const delivery = await next(owner);
    expect(delivery.deadLetterId).toBe('');
    expect(await owner.fail(delivery, permanent)).toMatchObject({ effect: PARKED, cursor: delivery.entry?.cursor });
    expect(seen(await owner.fetch())).toEqual(['a2']);
  });

  it('that was opened again and fails keeps nobody of its key from being delivered', async () => {
    const { name, owner, letter } = await parked({}, 'a1', 'a2');
    await handled(owner);
    await resolve(letter);
    const { deadLetterId } = await owner.fail(await next(owner), permanent);
    await tailrace.deadLetters.reopenDeadLetter({ deadLetterId: letter });
    await redrive(letter);
    await redrive(deadLetterId);
    const answer = await owner.fetch(soon);
    expect(seen(answer)).toEqual(['a1', 'a2']);
    expect(await owner.fail(answer.deliveries[0] as ConsumerDelivery, permanent)).toMatchObject({ effect: PARKED });
    expect(await statesOf(name)).toEqual({ a1: OPEN, a2: REDRIVING });
    expect(seen(await owner.fetch())).toEqual(['a2']);
  });

  it('halts the consumer when there are more of them than it may park', async () => {
    const { name, owner } = await parked({ maxParked: 2 }, 'a1', 'b1', 'a2', 'a3', 'c1');
    expect((await refusal(owner.fetch())).reason).toBe('CONSUMER_HALTED');
    expect(await statesOf(name)).toEqual({ a1: OPEN });
    await resolve((await letterOf(name, 'a1')).deadLetterId);
    await tailrace.admin.resumeConsumer({ consumer: name });
    expect(await handled(await hand.owner(name))).toEqual(['b1', 'a2', 'a3', 'c1']);
  });
});
