/** The oracle of conditions is itself checked, on cases so small that one sees what is right. */
import { describe, expect, it } from 'vitest';
import {
  type Distinct,
  namedIn,
  type OracleCondition,
  type SentSignal,
  takes,
  WaitOracle,
} from '../../support/condition-oracle.js';

/** `approved@door by ann #key`: all but the name may be left out. */
function signal(told: string): SentSignal {
  const [, name = '', waitpoint, source = '', key] = /^(\w*)(?:@(\w+))?(?: by (\w+))?(?: #(\w+))?$/.exec(told) ?? [];
  return { name, waitpoint, source, key, content: told };
}
const one = (name = '', waitpoint = ''): OracleCondition => ({ kind: 'signal', name, waitpoint });
const all = (...members: OracleCondition[]): OracleCondition => ({ kind: 'all', members });
const count = (count: number, distinct: Distinct, ...names: string[]): OracleCondition => ({
  ...{ kind: 'count', count, distinct },
  among: names.map((name) => ({ name, waitpoint: '' })),
});

describe('what a condition takes', () => {
  it.each([
    ['the earliest that fits', one('a'), ['b', 'a by x', 'a by y'], ['a by x']],
    ['any', one(), ['b', 'a'], ['b']],
    ['one at a waitpoint', one('', 'door'), ['a', 'a@gate', 'b@door'], ['b@door']],
    ['one of that name at that waitpoint', one('a', 'door'), ['b@door', 'a'], undefined],
    ['all members share', all(one('a'), one()), ['a by x', 'b'], ['a by x']],
    ['all members, in any order', all(one('b'), one('a')), ['a', 'c', 'b'], ['a', 'b']],
    ['not all members', all(one('a'), one('b')), ['a', 'a by x'], undefined],
    ['so many signals', count(2, 'signals'), ['a', 'a by x', 'b'], ['a', 'a by x']],
    ['so many of those named', count(2, 'signals', 'a', 'b'), ['c', 'b', 'c by x', 'a'], ['b', 'a']],
    ['too few', count(3, 'signals', 'a'), ['a', 'a by x', 'b'], undefined],
    ['the first of each source', count(2, 'sources'), ['a by x', 'b by x', 'c by y'], ['a by x', 'c by y']],
    ['one source only', count(2, 'sources'), ['a by x', 'b by x'], undefined],
    ['the first of each waitpoint', count(2, 'waitpoints'), ['a', 'a@door', 'b@door', 'b@gate'], ['a@door', 'b@gate']],
    ['waitpoints, not the execution', count(1, 'waitpoints'), ['a'], undefined],
    ['nothing ever', { kind: 'never' } as const, ['a'], undefined],
    ['deep', all(all(one('a'), count(1, 'sources', 'b'))), ['b', 'b by x', 'a'], ['b', 'a']],
  ])('%s', (_, condition, told, expected) => {
    const taken = takes(condition, told.map(signal));
    const inOrder = told.map(signal).filter(({ content }) => [...(taken ?? [])].some((x) => x.content === content));
    expect(taken && inOrder.map(({ content }) => content)).toEqual(expected);
  });

  it('knows the waitpoints a condition names', () => {
    const among = [{ name: 'a', waitpoint: 'gate' }];
    const counted: OracleCondition = { kind: 'count', count: 1, distinct: 'signals', among };
    expect(namedIn(all(one('a', 'door'), one(), counted))).toEqual(new Set(['door', 'gate']));
  });
});

describe('what becomes of signals', () => {
  it('keeps those that come early, and holds at once', () => {
    const oracle = new WaitOracle();
    expect(oracle.receives(signal('b'))).toBe('BUFFERED');
    expect(oracle.receives(signal('a'))).toBe('BUFFERED');
    expect(oracle.suspends(one('a'))).toBe(false);
    expect(oracle.taken.map(({ name }) => name)).toEqual(['a']);
    expect(oracle.kept.map(({ name }) => name)).toEqual(['b']);
  });

  it('uses none twice', () => {
    const oracle = new WaitOracle();
    oracle.receives(signal('a'));
    expect(oracle.suspends(one('a'))).toBe(false);
    expect(oracle.suspends(one('a'))).toBe(true);
    expect(oracle.receives(signal('b'))).toBe('APPENDED');
    expect(oracle.receives(signal('a'))).toBe('SATISFIED');
    expect(oracle.suspends(one())).toBe(false);
    expect(oracle.taken.map(({ name }) => name)).toEqual(['b']);
  });

  it('knows a key again, also of a signal that was used', () => {
    const oracle = new WaitOracle();
    oracle.suspends(one('a'));
    expect(oracle.receives(signal('a #k'))).toBe('SATISFIED');
    expect(oracle.receives(signal('a #k'))).toBe('DUPLICATE');
    expect(oracle.receives(signal('b #k'))).toBe('REQUEST_ID_REUSED');
  });

  it('closes a waitpoint with its suspension, and refuses there', () => {
    const oracle = new WaitOracle();
    expect(oracle.receives(signal('a@door'))).toBe('WAITPOINT_NOT_FOUND');
    oracle.makes('door');
    oracle.makes('gate');
    expect(oracle.suspends(one('', 'door'))).toBe(true);
    expect([oracle.stateOf('door'), oracle.stateOf('gate')]).toEqual(['active', 'pending']);
    expect(oracle.receives(signal('a@door'))).toBe('SATISFIED');
    expect([oracle.stateOf('door'), oracle.stateOf('gate')]).toEqual(['closed', 'pending']);
    expect(oracle.receives(signal('b@door'))).toBe('WRONG_STATE');
  });

  it('goes on by a word that is no signal', () => {
    const oracle = new WaitOracle();
    oracle.suspends({ kind: 'never' });
    oracle.receives(signal('a'));
    oracle.resumesBy(signal('resume'));
    expect(oracle.suspended).toBe(false);
    expect(oracle.taken.map(({ name }) => name)).toEqual(['resume']);
    expect(oracle.kept.map(({ name }) => name)).toEqual(['a']);
  });

  it('begins anew with an attempt, once that waits', () => {
    const oracle = new WaitOracle();
    oracle.makes('door');
    oracle.suspends(one('a', 'door'));
    expect(oracle.receives(signal('a@door'))).toBe('SATISFIED');
    oracle.beginsAnew();
    expect(oracle.receives(signal('b@door'))).toBe('WRONG_STATE');
    expect(oracle.suspends(one('b', 'door'))).toBe(true);
    expect(oracle.receives(signal('b@door'))).toBe('SATISFIED');
    expect(oracle.suspends(one('a'))).toBe(false);
  });
});
