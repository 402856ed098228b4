/** What happens in the same instant happens once: ends that meet in a join, and an edge that meets the end of its upstream. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { FailureClass } from '../../gen/tailrace/v1/attempt_pb.js';
import { ExecutionState } from '../../gen/tailrace/v1/execution_state_pb.js';
import { FlowState } from '../../gen/tailrace/v1/flow_pb.js';
import type { Claim } from '../../gen/tailrace/v1/lease_pb.js';
import { LogEntryKind } from '../../gen/tailrace/v1/log_pb.js';
import { leaseOf, ok, seconds, text } from '../support/by-hand.js';
import { FlowsByHand, type Link, type MadeFlow } from '../support/flows-by-hand.js';
import { Recorded } from '../support/history/recorded.js';
import type { Clients } from '../support/tailrace.js';

const TIMES = 1_000;
const FLOWS = 10;
const EACH = TIMES / FLOWS;
/** Races that are under way at once. */
const AT_ONCE = 25;

let recorded: Recorded;
let here: FlowsByHand;
let there: FlowsByHand;
beforeAll(async () => {
  recorded = await Recorded.start();
  const other: Clients = (await recorded.another()).clients;
  here = new FlowsByHand(recorded.clients);
  there = new FlowsByHand(other);
});
afterAll(() => recorded.stop());

const numbers = Array.from({ length: EACH }, (_, i) => i);

/** By member; whatever of these types is there, in as few calls as it takes. */
async function claimAll(flow: MadeFlow, types: readonly string[], count: number): Promise<Map<string, Claim>> {
  const names = new Map([...flow.ids].map(([name, id]) => [id, name]));
  const claims = new Map<string, Claim>();
  while (claims.size < count) {
    const ask = { lanes: [{ lane: flow.lane }], types: [...types], maxExecutions: 500, leaseDuration: seconds(120) };
    const taken = await here.claim({ ...ask, wait: seconds(10) });
    if (taken.length === 0) throw new Error(`${claims.size} of ${count} became claimable`);
    for (const claim of taken) claims.set(names.get(claim.executionId) ?? claim.executionId, claim);
  }
  return claims;
}

async function completeAll(claims: Iterable<Claim>): Promise<void> {
  const all = [...claims];
  for (let i = 0; i < all.length; i += 500) {
    const completions = all.slice(i, i + 500).map((claim) => ({ lease: leaseOf(claim), result: text('done') }));
    for (const result of (await recorded.clients.engine.completeExecutions({ completions })).results) ok(result);
  }
}

async function abreast(races: readonly (() => Promise<unknown>)[]): Promise<void> {
  const left = races[Symbol.iterator]();
  const runner = async () => {
    for (const race of left) await race();
  };
  await Promise.all(Array.from({ length: AT_ONCE }, runner));
}

const of = (claims: ReadonlyMap<string, Claim>, name: string): Claim => {
  const claim = claims.get(name);
  if (claim === undefined) throw new Error(`no claim of ${name}`);
  return claim;
};

const decisions = (kind: LogEntryKind) => recorded.log.entries.filter((entry) => entry.kind === kind);

test('proof 3: the last two of three slots are filled in the same instant, a thousand times, with one release each', async () => {
  const parts = ['first', 'second', 'third'];
  const spec = Object.fromEntries(
    numbers.flatMap((i) => [...parts, 'last'].map((part) => [`${part} ${i}`, { type: part }])),
  );
  const links = numbers.flatMap((i) => parts.map((part): Link => [`${part} ${i}`, `last ${i}`]));
  const flows = await Promise.all(Array.from({ length: FLOWS }, () => here.flow({ members: spec, links })));
  const races: (() => Promise<unknown>)[] = [];
  for (const flow of flows) {
    const claims = await claimAll(flow, parts, 3 * EACH);
    await completeAll(numbers.map((i) => of(claims, `first ${i}`)));
    races.push(
      ...numbers.map(
        (i) => () => Promise.all([here.complete(of(claims, `second ${i}`)), there.complete(of(claims, `third ${i}`))]),
      ),
    );
  }
  await abreast(races);
  for (const flow of flows) {
    const claims = await claimAll(flow, ['last'], EACH);
    await completeAll(claims.values());
    expect((await flow.ended()).state).toBe(FlowState.SUCCEEDED);
  }
  for (const { id } of flows) {
    await recorded.log.entry(({ kind, flowId }) => kind === LogEntryKind.FLOW_SETTLED && flowId === id);
  }
  const released = decisions(LogEntryKind.JOIN_SATISFIED).map(({ executionId }) => executionId);
  expect(released).toHaveLength(TIMES);
  expect(new Set(released).size).toBe(TIMES);
});

test('proof 31: an edge is added in the instant its upstream ends, a thousand times, and none is lost', async () => {
  const fails = (i: number) => i % 4 === 0;
  const members = Object.fromEntries(numbers.map((i) => [`up ${i}`, { type: 'up' }]));
  const flows = await Promise.all(Array.from({ length: FLOWS }, () => here.flow({ members }, { open: true })));
  const races: (() => Promise<unknown>)[] = [];
  for (const flow of flows) {
    const claims = await claimAll(flow, ['up'], EACH);
    races.push(
      ...numbers.map((i) => () => {
        const claim = of(claims, `up ${i}`);
        return Promise.all([
          fails(i) ? there.fail(claim, FailureClass.PERMANENT) : there.complete(claim),
          flow.extend({ members: { [`down ${i}`]: { type: 'down' } }, links: [[`up ${i}`, `down ${i}`]] }),
        ]);
      }),
    );
  }
  await abreast(races);
  for (const flow of flows) {
    const runs = numbers.filter((i) => !fails(i)).map((i) => `down ${i}`);
    const claims = await claimAll(flow, ['down'], runs.length);
    expect([...claims.keys()].sort()).toEqual(runs.sort());
    await completeAll(claims.values());
    await flow.seal();
    expect((await flow.ended()).state).toBe(FlowState.FAILED);
    const states = await flow.states(...numbers.filter(fails).map((i) => `down ${i}`));
    expect(new Set(Object.values(states))).toEqual(new Set([ExecutionState[ExecutionState.SKIPPED]]));
  }
});
