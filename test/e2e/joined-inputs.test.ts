/** What a join hands to the execution that it released: by name, in order, results inline up to a size. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { FailureClass } from '../../gen/tailrace/v1/attempt_pb.js';
import { JoinMode, SlotOutcome } from '../../gen/tailrace/v1/join_pb.js';
import type { Claim } from '../../gen/tailrace/v1/lease_pb.js';
import { seconds } from '../support/by-hand.js';
import { eventually } from '../support/eventually.js';
import { FlowsByHand } from '../support/flows-by-hand.js';
import { Recorded } from '../support/history/recorded.js';

const { OK, FAILED, SKIPPED, UNSPECIFIED } = SlotOutcome;
const KIB = 1_024;

let recorded: Recorded;
let hand: FlowsByHand;
beforeAll(async () => {
  recorded = await Recorded.start();
  hand = new FlowsByHand(recorded.clients);
});
afterAll(() => recorded.stop());

const valuesOf = ({ joinedInputs }: Claim) =>
  joinedInputs.map(({ name, payload, payloadOmitted }) => [name, payload?.body.value, payloadOmitted]);

test('results come by the names of the edges, in the order of their declaration', async () => {
  const flow = await hand.flow({
    members: { a: {}, b: { type: 'sort' }, c: {}, last: {} },
    links: [
      ['c', 'last', { name: 'third' }],
      ['b', 'last'],
      ['a', 'last', { source: 'north' }],
    ],
  });
  await hand.complete(await flow.claim('sort'), 'of b');
  await flow.complete('a', 'of a');
  await flow.complete('c', 'of c');
  const claim = await flow.claim('last');
  expect(claim.joinedInputs).toMatchObject([
    {
      name: 'third',
      index: 0,
      outcome: OK,
      executionId: flow.of('c'),
      type: 'c',
      payload: { body: { value: 'of c' } },
    },
    { name: 'b', index: 1, outcome: OK, executionId: flow.of('b'), type: 'sort', payload: { body: { value: 'of b' } } },
    { name: 'a', index: 2, outcome: OK, executionId: flow.of('a'), source: 'north', payloadOmitted: false },
  ]);
  await hand.complete(claim);
});

test('what failed comes as its failure, what was skipped and what is missing as that', async () => {
  const flow = await hand.flow({
    members: { good: {}, bad: {}, skipped: {}, late: {}, last: {} },
    links: [['bad', 'skipped'], ...['good', 'bad', 'skipped', 'late'].map((name) => [name, 'last'] as const)],
    joins: { last: { mode: JoinMode.ANY } },
  });
  await hand.fail(await flow.claim('bad'), FailureClass.PERMANENT, {
    failure: { failureClass: FailureClass.PERMANENT, message: 'no such page', code: 'Gone' },
  });
  // What ended by another's end is told to its joins in a transaction of its own.
  await eventually(async () => (await flow.join('last')).skippedCount === 1);
  await flow.complete('good');
  const claim = await flow.claim('last');
  const [good, bad, skipped, late] = claim.joinedInputs;
  expect(good).toMatchObject({ outcome: OK });
  expect(bad).toMatchObject({ outcome: FAILED, failure: { message: 'no such page', code: 'Gone' } });
  expect(bad?.payload).toBeUndefined();
  expect(skipped).toMatchObject({ outcome: SKIPPED });
  expect(late).toMatchObject({ outcome: UNSPECIFIED, executionId: flow.of('late') });
  expect(late?.payload).toBeUndefined();
  await hand.complete(claim);
  await flow.complete('late');
});

test('large results are left out and can be read: each over 64 KiB, and all beyond 512 KiB', async () => {
  const names = Array.from({ length: 12 }, (_, i) => `part ${String(i).padStart(2, '0')}`);
  const flow = await hand.flow({
    members: { huge: {}, last: {}, ...Object.fromEntries(names.map((name) => [name, {}])) },
    links: ['huge', ...names].map((name) => [name, 'last']),
  });
  await flow.complete('huge', 'x'.repeat(65 * KIB));
  for (const name of names) await flow.complete(name, 'y'.repeat(60 * KIB));
  const claim = await flow.claim('last');
  const omitted = claim.joinedInputs.filter(({ payloadOmitted }) => payloadOmitted).map(({ name }) => name);
  expect(omitted[0]).toBe('huge');
  const inline = claim.joinedInputs.filter(({ payload }) => payload !== undefined);
  expect(inline.length + omitted.length).toBe(13);
  const bytes = inline.reduce((sum, { payload }) => sum + String(payload?.body.value).length, 0);
  expect(bytes).toBeLessThanOrEqual(512 * KIB);
  expect(bytes).toBeGreaterThan(400 * KIB);
  const { execution } = await recorded.clients.admin.getExecution({ executionId: flow.of('huge') });
  expect(String(execution?.outcome?.result?.body.value)).toHaveLength(65 * KIB);
  await hand.complete(claim);
});

test('every attempt is handed the same, and work without a join nothing', async () => {
  const flow = await hand.flow({ members: { a: {}, b: {} }, links: [['a', 'b']] });
  expect((await flow.claim('a', { leaseDuration: seconds(1) })).joinedInputs).toEqual([]);
  await hand.complete(await flow.claim('a', { wait: seconds(10) }), 'of a');
  const first = await flow.claim('b');
  await hand.fail(first, FailureClass.TRANSIENT, { retryDelay: seconds(0) });
  const second = await flow.claim('b');
  expect(second.attemptNumber).toBe(2);
  expect(valuesOf(second)).toEqual([['a', 'of a', false]]);
  expect(valuesOf(second)).toEqual(valuesOf(first));
  await hand.complete(second);
});

test('many claims in one answer get each its own', async () => {
  const names = Array.from({ length: 20 }, (_, i) => String(i));
  const flow = await hand.flow({
    members: Object.fromEntries(
      names.flatMap((name) => [
        [`up ${name}`, {}],
        [`down ${name}`, { type: 'down' }],
      ]),
    ),
    links: names.map((name) => [`up ${name}`, `down ${name}`]),
  });
  for (const name of names) await flow.complete(`up ${name}`, `result ${name}`);
  const claims = await hand.claim({ lanes: [{ lane: flow.lane }], types: ['down'], maxExecutions: 20 });
  expect(claims).toHaveLength(20);
  for (const claim of claims) {
    const name = names.find((each) => flow.of(`down ${each}`) === claim.executionId);
    expect(valuesOf(claim)).toEqual([[`up ${name}`, `result ${name}`, false]]);
    await hand.complete(claim);
  }
});
