/** The oracle is itself checked: it follows what may happen, and objects to each thing that may not. */
import fc from 'fast-check';
import { describe, expect, it, test } from 'vitest';
import { type Observation, Oracle, possibleEnds, verdictOf } from '../../support/flow-oracle/oracle.js';
import { type Plan, type PlanJoin, type PlanMember, plans, type Script } from '../../support/flow-oracle/plan.js';

const input = (from: string, optional = false, source = from) => ({ from, optional, source });

const join = (inputs: PlanJoin['inputs'], more: Partial<PlanJoin> = {}): PlanJoin => ({
  ...{ mode: 'all', quorum: 0, distinctSources: false, cancelRest: false, inputs },
  ...more,
});

const member = (name: string, script: Script = 'succeeds', waits?: PlanJoin, optional = false): PlanMember => ({
  ...{ name, script, optional, join: waits },
});

const plan = (members: PlanMember[], more: Partial<Plan> = {}): Plan => ({
  ...{ members, failFast: false, cancel: undefined, seed: 0 },
  ...more,
});

const started = (name: string): Observation => ({ what: 'started', member: name });
const ended = (name: string, end: Extract<Observation, { what: 'ended' }>['end']): Observation => ({
  ...{ what: 'ended', member: name, end },
});
const decided = (name: string, verdict: 'satisfied' | 'impossible'): Observation => ({
  ...{ what: 'decided', member: name, verdict },
});
const ran = (name: string) => [started(name), ended(name, 'succeeded')];
const failed = (name: string) => [started(name), ended(name, 'failed')];

const CHAIN = plan([member('a'), member('b', 'succeeds', join([input('a')]))]);
const DEAD = plan([member('a', 'fails'), member('b', 'succeeds', join([input('a')]))]);
const RACE = plan([
  member('a'),
  member('b'),
  member('c', 'succeeds', join([input('a'), input('b')], { mode: 'any', cancelRest: true })),
]);

function objections(of: Plan, observations: readonly Observation[]): string[] {
  const oracle = new Oracle(of);
  const found = observations.flatMap((observation) => oracle.observe(observation) ?? []);
  return [...found, ...oracle.unfinished()];
}

describe('what may happen', () => {
  it.each<[string, Plan, Observation[], string]>([
    ['a chain', CHAIN, [...ran('a'), decided('b', 'satisfied'), ...ran('b')], 'SUCCEEDED'],
    ['a failure', DEAD, [...failed('a'), decided('b', 'impossible'), ended('b', 'skipped')], 'FAILED'],
    [
      'a loser',
      RACE,
      [...ran('b'), decided('c', 'satisfied'), started('a'), ended('a', 'lost'), ...ran('c')],
      'SUCCEEDED',
    ],
    ['a late slot', RACE, [...ran('b'), decided('c', 'satisfied'), ...ran('a'), ...ran('c')], 'SUCCEEDED'],
    [
      'a cancellation',
      { ...CHAIN, cancel: { afterEnds: 0, scope: 'all' } },
      [started('a'), { what: 'canceled' }, ended('a', 'canceled'), ended('b', 'canceled')],
      'CANCELED',
    ],
    [
      'a flow that fails fast',
      plan([member('a', 'fails'), member('b')], { failFast: true }),
      [...failed('a'), ended('b', 'canceled')],
      'FAILED',
    ],
  ])('%s', (_, of, observations, state) => {
    expect(objections(of, observations)).toEqual([]);
    const oracle = new Oracle(of);
    for (const observation of observations) oracle.observe(observation);
    expect(oracle.flowState()).toBe(state);
  });
});

describe('what may not', () => {
  it.each<[string, Plan, Observation[]]>([
    ['it runs before its join', CHAIN, [started('b'), ...ran('a'), decided('b', 'satisfied'), ended('b', 'succeeded')]],
    ['its join decides before its slot', CHAIN, [decided('b', 'satisfied'), ...ran('a'), ...ran('b')]],
    ['its join decides twice', CHAIN, [...ran('a'), decided('b', 'satisfied'), decided('b', 'satisfied'), ...ran('b')]],
    ['it ends twice', CHAIN, [...ran('a'), decided('b', 'satisfied'), ...ran('b'), ended('b', 'succeeded')]],
    ['it never ends', CHAIN, [...ran('a'), decided('b', 'satisfied')]],
    ['it is skipped for nothing', CHAIN, [...ran('a'), ended('b', 'skipped')]],
    ['it ends against its script', CHAIN, [...failed('a'), decided('b', 'impossible'), ended('b', 'skipped')]],
    ['it runs though its join is impossible', DEAD, [...failed('a'), decided('b', 'impossible'), ...ran('b')]],
    ['it loses before anybody won', RACE, [ended('a', 'lost'), ...ran('b'), decided('c', 'satisfied'), ...ran('c')]],
    ['it is canceled for nothing', CHAIN, [...ran('a'), ended('b', 'canceled')]],
  ])('%s', (_, of, observations) => {
    expect(objections(of, observations)).not.toEqual([]);
  });
});

test('a cancellation of what is pending leaves alone what runs', () => {
  const of: Plan = { ...plan([member('a'), member('b')]), cancel: { afterEnds: 0, scope: 'pending' } };
  const before: Observation[] = [started('a'), { what: 'canceled' }, ended('b', 'canceled')];
  expect(objections(of, [...before, ended('a', 'succeeded')])).toEqual([]);
  expect(objections(of, [...before, ended('a', 'canceled')])).not.toEqual([]);
  const back: Observation = { what: 'went back', member: 'a' };
  expect(objections(of, [...before, back, ended('a', 'canceled')])).toEqual([]);
});

test.each<[string, Partial<PlanJoin>, string, string | undefined]>([
  ['all, optional ones may fail', {}, 'succeeded succeeded failed', 'satisfied'],
  ['all, and one is open', {}, 'succeeded succeeded', undefined],
  ['all, and a required one failed', {}, 'failed', 'impossible'],
  ['any, at the first success', { mode: 'any' }, 'failed succeeded', 'satisfied'],
  ['any, when none is left', { mode: 'any' }, 'failed skipped lost', 'impossible'],
  ['two of three', { mode: 'quorum', quorum: 2 }, 'succeeded failed', undefined],
  ['two of three, and two failed', { mode: 'quorum', quorum: 2 }, 'failed failed', 'impossible'],
  [
    'two sources, twice the same',
    { mode: 'quorum', quorum: 2, distinctSources: true },
    'succeeded succeeded',
    undefined,
  ],
])('a join decides: %s', (_, policy, ends, verdict) => {
  const three = [input('0', false, 'same'), input('1', false, 'same'), input('2', true, 'other')];
  const list = ends.split(' ');
  expect(verdictOf(join(three, policy), (name) => list[Number(name)] as never)).toBe(verdict);
});

test('where nothing races, each member has one possible end', () => {
  const isCalm = (of: Plan) => !of.failFast && !of.cancel && of.members.every((each) => !each.join?.cancelRest);
  fc.assert(
    fc.property(plans(20).filter(isCalm), (of) => {
      for (const ends of possibleEnds(of).values()) expect(ends.size).toBe(1);
    }),
  );
});
