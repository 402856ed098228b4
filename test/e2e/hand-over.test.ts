/** Eager hand-over: the answer to a completion carries the claims of what it released. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ClaimNextMode } from '../../gen/tailrace/v1/engine_service_pb.js';
import { FlowState } from '../../gen/tailrace/v1/flow_pb.js';
import type { Claim } from '../../gen/tailrace/v1/lease_pb.js';
import { leaseOf, ok, only, refusal, seconds, text } from '../support/by-hand.js';
import { FlowsByHand, type MadeFlow } from '../support/flows-by-hand.js';
import { Recorded } from '../support/history/recorded.js';

const { SUCCESSORS, ANY } = ClaimNextMode;

let recorded: Recorded;
let hand: FlowsByHand;
beforeAll(async () => {
  recorded = await Recorded.start();
  hand = new FlowsByHand(recorded.clients);
});
afterAll(() => recorded.stop());

async function completeAndClaim(flow: MadeFlow, claims: readonly Claim[], more: object = {}) {
  const answer = await recorded.clients.engine.completeExecutions({
    completions: claims.map((claim) => ({ lease: leaseOf(claim), result: text(`result of ${claim.type}`) })),
    claimNext: { mode: SUCCESSORS, worker: hand.worker, lanes: [{ lane: flow.lane }], maxExecutions: 10, ...more },
  });
  for (const result of answer.results) ok(result);
  return answer.claims;
}

test('a chain of ten costs one call per hop, and every hop gets the result before it', async () => {
  const names = Array.from({ length: 10 }, (_, i) => `step ${i}`);
  const flow = await hand.flow({
    members: Object.fromEntries(names.map((name) => [name, {}])),
    links: names.slice(1).map((name, i) => [`step ${i}`, name]),
  });
  let claim = await flow.claim('step 0');
  for (const [i, name] of names.entries()) {
    expect(claim).toMatchObject({ type: name, flowId: flow.id, attemptNumber: 1 });
    if (i > 0) {
      expect(claim.joinedInputs).toMatchObject([
        { name: `step ${i - 1}`, payload: { body: { value: `result of step ${i - 1}` } } },
      ]);
    }
    const claims = await completeAndClaim(flow, [claim]);
    if (i < names.length - 1) claim = only(claims);
    else expect(claims).toEqual([]);
  }
  expect((await flow.ended()).state).toBe(FlowState.SUCCEEDED);
});

test('only what these completions released is handed over; the mode ANY takes what else is there', async () => {
  const flow = await hand.flow({ members: { a: {}, b: {}, other: {} }, links: [['a', 'b']] });
  const first = await completeAndClaim(flow, [await flow.claim('a')]);
  expect(first.map(({ type }) => type)).toEqual(['b']);
  const second = await completeAndClaim(flow, first, { mode: ANY });
  expect(second.map(({ type }) => type)).toEqual(['other']);
  await hand.complete(only(second));
});

test('a fan is handed over as far as was asked; the rest stays claimable', async () => {
  const fans = Array.from({ length: 5 }, (_, i) => `fan ${i}`);
  const flow = await hand.flow({
    members: { root: {}, ...Object.fromEntries(fans.map((name) => [name, {}])) },
    links: fans.map((name) => ['root', name]),
  });
  const claims = await completeAndClaim(flow, [await flow.claim('root')], { maxExecutions: 3 });
  expect(claims).toHaveLength(3);
  const rest = await hand.claim({ lanes: [{ lane: flow.lane }], maxExecutions: 10 });
  expect(rest).toHaveLength(2);
  expect(new Set([...claims, ...rest].map(({ type }) => type))).toEqual(new Set(fans));
  for (const claim of [...claims, ...rest]) await hand.complete(claim);
});

test('what the worker does not handle, or may not, is left to others', async () => {
  const flow = await hand.flow({
    members: { a: {}, known: {}, unknown: {}, special: { requiredCapabilities: ['gpu'] }, elsewhere: { lane: 'far' } },
    links: ['known', 'unknown', 'special', 'elsewhere'].map((name) => ['a', name]),
  });
  const types = ['a', 'known', 'special', 'elsewhere'];
  const claims = await completeAndClaim(flow, [await flow.claim('a')], { types });
  expect(claims.map(({ type }) => type)).toEqual(['known']);
  await hand.complete(only(claims));
  await flow.complete('unknown');
  await hand.complete(await flow.claim('special', { capabilities: ['gpu'] }));
  await hand.complete(await hand.claimOne({ lanes: [{ lane: 'far' }] }));
});

test('a claim that was handed over is fenced as any', async () => {
  const flow = await hand.flow({ members: { a: {}, b: {} }, links: [['a', 'b']] });
  const claims = await completeAndClaim(flow, [await flow.claim('a')], { leaseDuration: seconds(1) });
  const old = only(claims);
  const next = await flow.claim('b', { wait: seconds(10) });
  expect(next).toMatchObject({ executionId: old.executionId, attemptNumber: 2 });
  expect(next.lease?.fencingToken ?? 0n).toBeGreaterThan(old.lease?.fencingToken ?? 0n);
  expect((await refusal(hand.complete(old))).reason).toBe('LEASE_LOST');
  await hand.complete(next);
});

test('two completions of one call release their join together', async () => {
  const flow = await hand.flow({
    members: { a: {}, b: {}, last: {} },
    links: [
      ['a', 'last'],
      ['b', 'last'],
    ],
  });
  const claims = await completeAndClaim(flow, [await flow.claim('a'), await flow.claim('b')]);
  expect(only(claims)).toMatchObject({ type: 'last', joinedInputs: [{ name: 'a' }, { name: 'b' }] });
  await hand.complete(only(claims));
});
