/** Events for giving up: declared with an execution or a subscription, or told with the failure. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { ListEventsRequest } from '../../../gen/tailrace/v1/admin_service_pb.js';
import { FailureClass } from '../../../gen/tailrace/v1/attempt_pb.js';
import { DeadLetterReason } from '../../../gen/tailrace/v1/dead_letter_reason_pb.js';
import type { Event } from '../../../gen/tailrace/v1/event_pb.js';
import { EndReason, ExecutionState } from '../../../gen/tailrace/v1/execution_state_pb.js';
import type { Claim } from '../../../gen/tailrace/v1/lease_pb.js';
import { type Init, ok, only, refusal, seconds, text } from '../../support/by-hand.js';
import { eventually } from '../../support/eventually.js';
import { FlowsByHand } from '../../support/flows-by-hand.js';
import { Recorded } from '../../support/history/recorded.js';
import { KNOWN_TYPES, PATHS, walk } from '../../support/terminal-paths.js';

const { FAILED, EXPIRED } = ExecutionState;
const { PERMANENT, TRANSIENT } = FailureClass;
/** One path to each. */
const OTHER_ENDS = [
  'completed',
  'canceled now',
  'lost while it was running',
  'skipped when its join became impossible',
];
const long = { leaseDuration: seconds(60) };

let recorded: Recorded;
let hand: FlowsByHand;
beforeAll(async () => {
  recorded = await Recorded.start();
  hand = new FlowsByHand(recorded.clients);
  await recorded.clients.engine.heartbeatWorker({ worker: hand.worker, types: [...KNOWN_TYPES] });
});
afterAll(() => recorded.stop());

async function subscribe(name: string, more: object = {}): Promise<void> {
  await recorded.clients.admin.putSubscription({
    subscription: { name, filter: { eventTypes: [name] }, lane: name, type: name, ...more },
  });
}

/** Oldest first. */
async function events(asked: Init<ListEventsRequest>): Promise<Event[]> {
  const answer = await recorded.clients.admin.listEvents({ includePayloads: true, pageSize: 1000, ...asked });
  return answer.events.reverse();
}

const claim = (lane: string, more: object = {}) => hand.claim({ lanes: [{ lane }], ...long, ...more });
const running = async (spec: object) => await hand.claimNamed(await hand.createOne(spec), long);
const described = (of: { payload?: Event['payload'] } | undefined) =>
  JSON.parse(String(of?.payload?.body.value)) as Record<string, unknown>;

test('26: exactly one for every reason of giving up, whoever or whatever ended it, and none for another end', async () => {
  await subscribe('gave.up');
  const failureEvents = [{ event: { type: 'gave.up' } }];
  const ids = new Map<string, string>();
  const given = Object.entries(PATHS).filter(([, { state }]) => state === FAILED || state === EXPIRED);
  await Promise.all(
    [...given.map(([name]) => name), ...OTHER_ENDS].map(async (name) => {
      ids.set(name, await walk(hand, name, 'paths', {}, { failureEvents }));
    }),
  );
  const published = await events({ types: ['gave.up'] });
  const told = published.map((event) => {
    const { execution_id: id, type, lane, reason, attempts, ...rest } = described(event);
    // Text for whoever reads it by a schema, also where nothing failed.
    expect(Object.values(rest).map((value) => typeof value)).toEqual(['string', 'string', 'string']);
    return [id, type, lane, reason, attempts, event.causeExecutionId === id, event.flowId !== '', event.hops];
  });
  expect(told.sort()).toEqual(
    given
      .map(([name, { reason, attempts }]) => {
        const of = [ids.get(name), name, 'paths', EndReason[reason], attempts];
        return [...of, true, true, 1];
      })
      .sort(),
  );
  expect(new Set(given.map(([, { reason }]) => reason)).size).toBe(11);
  // Each reaches its subscription once; a redrive that gives up again tells so again.
  const notices: Claim[] = [];
  await eventually(async () => {
    notices.push(...(await claim('gave.up', { maxExecutions: 100, wait: seconds(0) })));
    return notices.length >= given.length;
  });
  expect(notices.map((notice) => described({ payload: notice.input })['execution_id']).sort()).toEqual(
    given.map(([name]) => ids.get(name)).sort(),
  );
  for (const notice of notices) await hand.complete(notice);
  const { deadLetters } = await recorded.clients.deadLetters.listDeadLetters({
    filter: { types: ['failed for good'] },
  });
  const { executionId } = await recorded.clients.deadLetters.redriveDeadLetter({
    deadLetterId: only(deadLetters).deadLetterId,
  });
  await hand.fail(await hand.claimNamed(executionId, long), PERMANENT);
  expect((await events({ types: ['gave.up'] })).map(({ causeExecutionId: by }) => by)).toContain(executionId);
  await hand.complete(only(await claim('gave.up')));
});

test('what is declared is published as it is, for the reasons that it names', async () => {
  const flow = await hand.flow({
    members: {
      a: {
        failureEvents: [
          { reasons: [DeadLetterReason.TTL], event: { type: 'declared.ttl' } },
          {
            reasons: [DeadLetterReason.TTL, DeadLetterReason.PERMANENT],
            event: {
              type: 'declared',
              payload: text('as declared'),
              stream: 'declared',
              tags: { a: 'b' },
              headers: { c: 'd' },
              schemaVersion: 4,
              occurTime: { seconds: 1_700_000_000n, nanos: 0 },
            },
          },
          { event: { type: 'declared', stream: 'declared', batchGroup: 'g' } },
          { event: { type: 'declared', stream: 'declared', batchGroup: 'g' } },
        ],
      },
    },
  });
  const { execution } = await recorded.clients.admin.getExecution({ executionId: flow.of('a') });
  expect(execution?.failureEvents.map(({ reasons, event }) => [reasons, event?.payload?.body.value])).toEqual([
    [[DeadLetterReason.TTL], undefined],
    [[DeadLetterReason.PERMANENT, DeadLetterReason.TTL], 'as declared'],
    [[], undefined],
    [[], undefined],
  ]);
  await hand.fail(await flow.claim('a'), PERMANENT, {
    failure: { failureClass: PERMANENT, message: 'no', code: 'No' },
  });
  const published = await events({ flowId: flow.id });
  expect(published.map(({ type, streamVersion }) => [type, streamVersion])).toEqual([
    ['declared', 1n],
    ['declared', 2n],
    ['declared', 3n],
  ]);
  const [first, second, third] = published;
  expect(first).toMatchObject({
    payload: { body: { value: 'as declared' } },
    tags: { a: 'b' },
    headers: { c: 'd' },
    schemaVersion: 4,
    occurTime: { seconds: 1_700_000_000n },
  });
  expect(first?.batch).toBeUndefined();
  expect([second?.batch, third?.batch]).toMatchObject([0, 1].map((index) => ({ index, size: 2 })));
  expect(second?.payload?.contentType).toBe('application/json');
  expect(described(second)).toEqual({
    ...{ execution_id: flow.of('a'), type: 'a', lane: flow.lane, reason: 'PERMANENT' },
    ...{ failure_class: 'PERMANENT', message: 'no', code: 'No', attempts: 1 },
  });
});

test('what is told with a failure that gives up stands in place of what was declared', async () => {
  const failureEvents = [{ event: { type: 'in.place.declared' } }];
  const retryPolicy = { maxAttempts: 2 };
  const first = await running({ failureEvents, retryPolicy, lane: 'in place' });
  const told = {
    failureEvents: [{ type: 'in.place.told', payload: text('by its handler') }, { type: 'in.place.told' }],
  };
  await hand.fail(first, TRANSIENT, { ...told, retryDelay: seconds(0) });
  expect(await events({ types: ['in.place.told'] })).toEqual([]);
  const last = only(await claim('in place'));
  const answer = await hand.fail(last, TRANSIENT, told);
  expect(await hand.fail(last, TRANSIENT, told)).toMatchObject({ duplicate: true, deadLetterId: answer.deadLetterId });
  expect(await refusal(hand.fail(last, TRANSIENT))).toMatchObject({ reason: 'EXECUTION_TERMINAL' });
  const [one, two] = await events({ types: ['in.place.told', 'in.place.declared'] });
  expect(one).toMatchObject({ type: 'in.place.told', payload: { body: { value: 'by its handler' } } });
  expect([two?.type, described(two)['reason']]).toEqual(['in.place.told', 'RETRIES_EXHAUSTED']);
  expect(await events({ types: ['in.place.told', 'in.place.declared'] })).toHaveLength(2);
});

test('nothing that a failure event meets can hold up the end: it must not expect a version', async () => {
  const event = { type: 'x', stream: 's', expectedStreamVersion: 0n };
  expect((await refusal(hand.createOne({ failureEvents: [{ event }] }))).fieldViolations).toMatchObject([
    { field: 'executions[0].failure_events[0].event.expected_stream_version' },
  ]);
  const held = await running({});
  expect((await refusal(hand.fail(held, PERMANENT, { failureEvents: [event] }))).fieldViolations).toMatchObject([
    { field: 'reports[0].failure_events[0].expected_stream_version' },
  ]);
  await hand.complete(held);
});

test('7: a poison event has bounded attempts, one letter, and one failure event that stands in its slot', async () => {
  const soon = { initialBackoff: seconds(0.01), maxBackoff: seconds(0.01) };
  const failureEvents = [{ event: { type: 'poison.told' } }];
  await subscribe('poison', { retryPolicy: { maxAttempts: 3, ...soon }, failureEvents });
  const members = [{ type: 'poison' }, { type: 'poison' }];
  const { results } = await recorded.clients.engine.publishEvents({
    events: members.map((event) => ({ ...event, batchGroup: 'b' })),
  });
  const [good, bad] = results.map((result) => ok(result).eventId);
  const attempts: Claim[] = [];
  while (attempts.length < 3) {
    for (const held of await claim('poison')) {
      if (held.trigger?.subject.case === 'event' && held.trigger.subject.value.eventId === good) {
        await hand.complete(held);
        continue;
      }
      attempts.push(held);
      await hand.fail(held, TRANSIENT);
    }
  }
  expect(attempts.map(({ attemptNumber }) => attemptNumber)).toEqual([1, 2, 3]);
  const told = only(await events({ types: ['poison.told'] }));
  expect(told).toMatchObject({ causeEventId: bad, hops: 1, batch: { index: 1, size: 2 } });
  expect(told.batch).toEqual(attempts[0]?.batch);
  const { deadLetters } = await recorded.clients.deadLetters.listDeadLetters({ filter: { types: ['poison'] } });
  expect(only(deadLetters)).toMatchObject({
    reason: DeadLetterReason.RETRIES_EXHAUSTED,
    attemptCount: 3,
    eventId: bad,
  });
});

test('7: what gives up because of its own failure event ends at the limit of hops', async () => {
  await subscribe('again', { failureEvents: [{ event: { type: 'again' } }] });
  const far = Array.from({ length: 61 }, (_, i) => ({
    eventId: `far/${i}`,
    causeEventId: i > 0 ? `far/${i - 1}` : '',
  }));
  await recorded.clients.engine.publishEvents({
    events: far.map((event, i) => ({ ...event, type: i < 60 ? 'on.the.way' : 'again' })),
  });
  const hops: number[] = [];
  while (hops.at(-1) !== 64) {
    const held = only(await claim('again'));
    hops.push(held.hops);
    await hand.fail(held, PERMANENT);
  }
  expect(hops).toEqual([60, 61, 62, 63, 64]);
  const filter = { reasons: [DeadLetterReason.HOP_LIMIT] };
  await eventually(async () => {
    const { deadLetters } = await recorded.clients.deadLetters.listDeadLetters({ filter });
    return deadLetters.length === 1;
  });
  expect(await claim('again', { wait: seconds(0) })).toEqual([]);
});
