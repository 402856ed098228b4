/** Which conditions are refused, and which waitpoints one names. */
import { describe, expect, it } from 'vitest';
import { CountDistinct as Contract } from '../../../gen/tailrace/v1/signal_pb.js';
import {
  type Condition,
  CountDistinct,
  countsWaitpoints,
  nodeFault,
  waitpointsIn,
} from '../../../src/domain/condition.js';

const most = { perExecution: 10_000, waitpoints: 1_000 };
const signal = (name = '', waitpoint = ''): Condition => ({ kind: 'signal', name, waitpoint });
const all = (...members: Condition[]): Condition => ({ kind: 'all_of', members });
const count = (n: number, distinct: number, ...among: string[]): Condition => ({
  kind: 'count',
  count: n,
  distinct,
  among: among.map((waitpoint) => ({ name: '', waitpoint })),
});
const { SIGNALS, WAITPOINTS, SOURCES } = CountDistinct;

it('has the numbers of the contract', () => {
  const { SIGNALS: signals, WAITPOINTS: waitpoints, SOURCES: sources } = Contract;
  expect({ ...CountDistinct }).toEqual({ SIGNALS: signals, WAITPOINTS: waitpoints, SOURCES: sources });
});

describe('a node', () => {
  it.each<[string, Condition, number]>([
    ['a signal', signal('go'), 1],
    ['any signal, at the last level', signal(), 4],
    ['all of 64', all(...Array.from({ length: 64 }, () => signal())), 3],
    ['a count', count(1, SIGNALS), 4],
    ['a count of as many waitpoints as it names', count(2, WAITPOINTS, 'a', 'b', 'a'), 1],
    ['a count of any waitpoints', count(1_000, WAITPOINTS, 'a', ''), 1],
    ['a count of all sources there can be', count(10_000, SOURCES), 1],
    ['an operator at the root', { kind: 'operator_only' }, 1],
    ['a timeout at the root', { kind: 'timeout_only' }, 1],
  ])('is well formed: %s', (_, condition, depth) => {
    expect(nodeFault(condition, depth, most)).toBeUndefined();
  });

  it.each<[string, Condition, number, string]>([
    ['below the last level', signal(), 5, 'nested too deeply'],
    ['without members', all(), 1, '1 to 64 items; it has 0'],
    ['with 65 members', all(...Array.from({ length: 65 }, () => signal())), 1, 'it has 65'],
    ['counting to nothing', count(0, SIGNALS), 1, 'from 1 to 10000; it is 0'],
    ['counting backwards', count(-1, SOURCES), 1, 'it is -1'],
    ['counting to more signals than are kept', count(10_001, SIGNALS), 1, 'from 1 to 10000'],
    ['counting to more waitpoints than it names', count(3, WAITPOINTS, 'a', 'b', 'a'), 1, 'from 1 to 2'],
    ['counting to more waitpoints than there can be', count(1_001, WAITPOINTS), 1, 'from 1 to 1000'],
    ['an operator among others', { kind: 'operator_only' }, 2, 'only stand at the root'],
    ['a timeout among others', { kind: 'timeout_only' }, 2, 'only stand at the root'],
  ])('is refused: %s', (_, condition, depth, message) => {
    expect(nodeFault(condition, depth, most)?.message).toContain(message);
  });
});

it('names its waitpoints once, wherever they stand', () => {
  expect(waitpointsIn(all(signal('x', 'a'), count(1, SIGNALS, 'b', 'a', ''), all(signal('', 'c'))))).toEqual([
    'a',
    'b',
    'c',
  ]);
  expect(waitpointsIn({ kind: 'operator_only' })).toEqual([]);
});

it('may count waitpoints that it does not name', () => {
  expect(countsWaitpoints(all(signal(), all(count(2, WAITPOINTS))))).toBe(true);
  expect(countsWaitpoints(all(signal(), count(2, WAITPOINTS, 'a', 'b'), count(2, SOURCES)))).toBe(false);
});
