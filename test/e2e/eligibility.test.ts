/** A worker gets nothing but what it declared: namespace, lanes, types, capabilities (E3). */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ClaimNextMode } from '../../gen/tailrace/v1/engine_service_pb.js';
import type { Claim } from '../../gen/tailrace/v1/lease_pb.js';
import { ByHand, leaseOf, ok, only, refusal, seconds, text } from '../support/by-hand.js';
import { Recorded } from '../support/history/recorded.js';

const LANES = ['default', 'slow'];
const TYPES = ['pack', 'ship', 'bill'];
const CAPABILITIES = [[], ['gpu'], ['eu', 'gpu']];
const MATRIX = LANES.flatMap((lane) =>
  TYPES.flatMap((type) => CAPABILITIES.map((requiredCapabilities) => ({ lane, type, requiredCapabilities }))),
);

interface Declared {
  readonly lanes?: readonly string[];
  readonly types?: readonly string[];
  readonly capabilities?: readonly string[];
}

const WORKERS: Readonly<Record<string, Declared>> = {
  'nothing: the lane default, every type, no capability': {},
  'a lane': { lanes: ['slow'] },
  'a type': { types: ['ship'] },
  'types in several lanes': { lanes: LANES, types: ['ship', 'bill'] },
  'a capability': { lanes: LANES, capabilities: ['gpu'] },
  'more capabilities than needed': { lanes: LANES, capabilities: ['eu', 'gpu', 'ssd'] },
  'another capability': { lanes: LANES, types: ['pack'], capabilities: ['eu'] },
  'a type that does not exist': { lanes: LANES, types: ['none'], capabilities: ['eu', 'gpu'] },
  'a lane that does not exist': { lanes: ['none'] },
  everything: { lanes: LANES, types: TYPES, capabilities: ['eu', 'gpu'] },
};

let recorded: Recorded;
let hand: ByHand;
beforeAll(async () => {
  recorded = await Recorded.start();
  hand = recorded.hand();
});
afterAll(() => recorded.stop());

function mayRun(
  { lanes = ['default'], types = [], capabilities = [] }: Declared,
  spec: (typeof MATRIX)[number],
): boolean {
  return (
    lanes.includes(spec.lane) &&
    (types.length === 0 || types.includes(spec.type)) &&
    spec.requiredCapabilities.every((required) => capabilities.includes(required))
  );
}

function askOf({ lanes = [], types = [], capabilities = [] }: Declared) {
  return { lanes: lanes.map((lane) => ({ lane })), types: [...types], capabilities: [...capabilities] };
}

/** Claims until nothing is left that it may have. */
async function drain(worker: ByHand, declared: Declared): Promise<Claim[]> {
  const all: Claim[] = [];
  for (;;) {
    const claims = await worker.claim({ ...askOf(declared), maxExecutions: 4, wait: seconds(0) });
    if (claims.length === 0) return all;
    all.push(...claims);
  }
}

test.each(Object.entries(WORKERS))('proof 17: a worker that declares %s', async (name, declared) => {
  const ids = await hand.create(...MATRIX);
  const claims = await drain(recorded.hand(name), declared);
  const expected = ids.filter((_, i) =>
    mayRun(declared, MATRIX[i] ?? { lane: '', type: '', requiredCapabilities: [] }),
  );
  expect(claims.map(({ executionId }) => executionId).sort()).toEqual(expected.sort());
  for (const { executionId, lane, type } of claims)
    expect(MATRIX[ids.indexOf(executionId)]).toMatchObject({ lane, type });
  for (const id of ids) await hand.cancel(id, { policy: { mode: 2 } });
});

test('proof 17: many workers at once never get what they did not declare, and together all of it', async () => {
  const ids = await hand.create(...Array.from({ length: 20 }, () => MATRIX).flat());
  const specs = new Map(ids.map((id, i) => [id, MATRIX[i % MATRIX.length]]));
  const workers = Object.entries(WORKERS);
  const claimed = await Promise.all(
    workers.map(async ([name, declared]) => ({ declared, claims: await drain(recorded.hand(name), declared) })),
  );
  for (const { declared, claims } of claimed) {
    for (const { executionId } of claims) {
      const spec = specs.get(executionId);
      expect(spec && mayRun(declared, spec)).toBe(true);
    }
  }
  const all = claimed.flatMap(({ claims }) => claims);
  expect(all.map(({ executionId }) => executionId).sort()).toEqual(ids.sort());
  await Promise.all(all.map((claim) => hand.complete(claim)));
});

test('proof 17: what is claimed with a completion is declared too', async () => {
  const [done, , wanted] = await hand.create({ lane: 'next' }, { lane: 'next', type: 'other' }, { lane: 'next' });
  const claim = await hand.claimNamed(done ?? '');
  const answer = await recorded.clients.engine.completeExecutions({
    completions: [{ lease: leaseOf(claim), result: text('done') }],
    claimNext: {
      mode: ClaimNextMode.ANY,
      worker: hand.worker,
      lanes: [{ lane: 'next' }],
      types: ['work'],
      maxExecutions: 10,
    },
  });
  ok(only(answer.results));
  expect(only(answer.claims).executionId).toBe(wanted);
});

test('proof 17: another namespace is never handed out', async () => {
  const stranger = new ByHand(recorded.clients, 'stranger', 'stranger', 'elsewhere');
  const [mine, theirs] = [await hand.createOne({ lane: 'shared' }), await stranger.createOne({ lane: 'shared' })];
  const ask = { lanes: [{ lane: 'shared' }], maxExecutions: 10 };
  const [here, there] = [await hand.claim(ask), await stranger.claim(ask)];
  expect([only(here).executionId, only(there).executionId]).toEqual([mine, theirs]);
  expect(await refusal(stranger.complete(only(here)))).toMatchObject({ reason: 'EXECUTION_NOT_FOUND' });
  await hand.complete(only(here));
  await stranger.complete(only(there));
});

/** That the claim looks at none of these rows, among a hundred thousand of them, is asserted on its plan (plans.test.ts). */
test('proof 17: thousands of urgent rows that nobody declared do not keep a claim from its own', async () => {
  const lane = 'crowded';
  const undeclared = [
    { lane, type: 'other', priority: 1_000 },
    { lane, type: 'mine', priority: 1_000, requiredCapabilities: ['rare'] },
  ];
  const crowd = Array.from({ length: 500 }, () => undeclared).flat();
  await Promise.all(Array.from({ length: 5 }, () => hand.create(...crowd)));
  const id = await hand.createOne({ lane, type: 'mine', priority: -1_000 });
  const claims = await hand.claim({ lanes: [{ lane }], types: ['mine'], maxExecutions: 5, wait: seconds(0) });
  expect(only(claims).executionId).toBe(id);
});
