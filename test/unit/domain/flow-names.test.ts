/** What can be wrong with the names of a call: all of it is told at once, by the paths of the contract. */
import { describe, expect, it } from 'vitest';
import {
  type DeclaredEdge,
  type DeclaredGraph,
  type DeclaredJoin,
  resolveNames,
} from '../../../src/domain/flow-names.js';

const local = (name: string) => ({ local: name });
const edge = (upstream: string, downstream: string, source: string | null = null): DeclaredEdge => ({
  upstream: local(upstream),
  downstream: local(downstream),
  source,
});
const join = (downstream: string, more: Partial<DeclaredJoin> = {}): DeclaredJoin => ({
  downstream: local(downstream),
  ...{ quorum: 0, distinctSources: false, open: false, timed: false },
  ...more,
});

/** Members a, b, c and d have the ids `id of a` and so on. */
function declared(more: Partial<DeclaredGraph>): DeclaredGraph {
  const members = ['a', 'b', 'c', 'd'].map((localName) => ({ localName, id: `id of ${localName}` }));
  return { members, edges: [], joins: [], sealJoins: [], sealed: false, ...more };
}

function wrong(more: Partial<DeclaredGraph>): [string, string][] {
  const answer = resolveNames(declared(more));
  if ('graph' in answer) return [];
  return answer.violations.map(({ field, description }) => [field, description]);
}

describe('names', () => {
  it('become execution ids, in order', () => {
    const old = { id: 'old' };
    const graph = {
      edges: [edge('a', 'b'), { upstream: old, downstream: local('b'), source: 's' }, edge('b', 'c')],
      joins: [join('c'), join('d', { open: true, timed: true })],
      sealJoins: [old, local('c')],
    };
    expect(resolveNames(declared(graph))).toEqual({
      graph: {
        edges: [
          { upstream: 'id of a', downstream: 'id of b' },
          { upstream: 'old', downstream: 'id of b' },
          { upstream: 'id of b', downstream: 'id of c' },
        ],
        joins: ['id of c', 'id of d'],
        sealJoins: ['old', 'id of c'],
      },
    });
  });

  it('that nobody has, or two have, are all told', () => {
    const twice = [
      { localName: 'a', id: '1' },
      { localName: 'a', id: '2' },
      { localName: 'b', id: '1' },
    ];
    expect(
      wrong({
        members: twice,
        edges: [edge('a', 'x'), edge('y', 'b')],
        joins: [join('z')],
        sealJoins: [local('w')],
      }),
    ).toEqual([
      ['members[1].local_name', 'occurs more than once in this call'],
      ['members[2].execution.execution_id', 'occurs more than once in this call'],
      ['edges[0].downstream.local_name', 'names no member of this call'],
      ['edges[1].upstream.local_name', 'names no member of this call'],
      ['joins[0].downstream.local_name', 'names no member of this call'],
      ['seal_joins[0].local_name', 'names no member of this call'],
    ]);
  });

  it('may stand once only where twice says nothing', () => {
    const edges = [edge('a', 'b'), edge('b', 'c'), edge('a', 'b')];
    expect(wrong({ edges, joins: [join('b'), join('b')], sealJoins: [local('b'), local('b')] })).toEqual([
      ['edges[2]', 'repeats edges[0]'],
      ['joins[1].downstream', 'occurs more than once in this call'],
      ['seal_joins[1]', 'occurs more than once in this call'],
    ]);
  });
});

describe('a join', () => {
  const edges = [edge('a', 'd'), edge('b', 'd', 'same'), edge('c', 'd', 'same')];

  it('that is open needs a timeout, and a flow that is open', () => {
    expect(wrong({ joins: [join('d', { open: true })] })).toEqual([
      ['joins[0].policy.timeout', 'is required for a join that is open'],
    ]);
    expect(wrong({ joins: [join('d', { open: true, timed: true })], sealed: true })).toEqual([
      ['joins[0].open', 'must be false: this call seals the flow'],
    ]);
  });

  it('that is not open needs something to wait for', () => {
    expect(wrong({ edges, joins: [join('a')] })).toEqual([
      ['joins[0].downstream', 'has no edge in this call, and its join is not open'],
    ]);
    expect(wrong({ joins: [{ ...join('a'), downstream: { id: 'old' } }] })).toHaveLength(1);
  });

  it('cannot wait for more than it has', () => {
    expect(wrong({ edges, joins: [join('d', { quorum: 3 })] })).toEqual([]);
    expect(wrong({ edges, joins: [join('d', { quorum: 4 })] })).toEqual([
      ['joins[0].policy.quorum', 'must be at most the number of slots, 3; it is 4'],
    ]);
    expect(wrong({ edges, joins: [join('d', { quorum: 3, distinctSources: true })] })).toEqual([
      ['joins[0].policy.quorum', 'must be at most the number of distinct sources, 2; it is 3'],
    ]);
    expect(wrong({ edges, joins: [join('d', { quorum: 4, open: true, timed: true })] })).toEqual([]);
  });

  it('of a member that was made before may have more slots than this call shows', () => {
    const downstream = { id: 'old' };
    expect(
      wrong({ edges: [{ ...edge('a', 'b'), downstream }], joins: [{ ...join('a', { quorum: 9 }), downstream }] }),
    ).toEqual([]);
  });
});
