/** Cycles, depth and width: against small graphs by hand, random ones by brute force, and large ones by the clock. */
import { describe, expect, it } from 'vitest';
import { depthsOf, type GraphEdge, printCycle, selfEdge, tooDeep, tooWide } from '../../../src/domain/flow-graph.js';
import { Chance } from '../../support/chance.js';

/** `a>b b>c`. */
function graph(text: string): GraphEdge[] {
  return text.split(' ').map((edge) => {
    const [upstream = '', downstream = ''] = edge.split('>');
    return { upstream, downstream };
  });
}

function depths(text: string, known: Record<string, number> = {}): Record<string, number> {
  const answer = depthsOf(graph(text), new Map(Object.entries(known)));
  if ('cycle' in answer) throw new Error(`a cycle: ${answer.cycle}`);
  return Object.fromEntries(answer.depths);
}

function cycle(edges: readonly GraphEdge[]): readonly string[] {
  const answer = depthsOf(edges);
  if ('depths' in answer) throw new Error('no cycle');
  return answer.cycle;
}

describe('depth', () => {
  it('is that of the longest path, and told of downstreams alone', () => {
    expect(depths('a>b b>c a>c')).toEqual({ b: 1, c: 2 });
    expect(depths('a>d b>c c>d d>e x>e')).toEqual({ c: 1, d: 2, e: 3 });
    expect(depthsOf([])).toEqual({ depths: new Map() });
  });

  it('goes on from what members have already', () => {
    expect(depths('old>new new>newer other>newer', { old: 7, other: 2 })).toEqual({ new: 8, newer: 9 });
    expect(depths('a>joined', { joined: 5 })).toEqual({ joined: 5 });
  });
});

describe('a cycle', () => {
  it('is told as its members, from the one that was named first', () => {
    expect(cycle(graph('a>b b>a'))).toEqual(['a', 'b']);
    expect(cycle(graph('a>a'))).toEqual(['a']);
    expect(cycle(graph('start>b b>c c>d d>b d>end end>further'))).toEqual(['b', 'c', 'd']);
  });

  it('is the shortest through one of its members', () => {
    expect(cycle(graph('a>b b>c c>d d>a a>c'))).toEqual(['a', 'c', 'd']);
  });

  it('is printed so that it can be read', () => {
    expect(printCycle(['a', 'b'])).toBe('a → b → a');
    expect(printCycle(['a'])).toBe('a → a');
    const printed = printCycle(Array.from({ length: 10_000 }, (_, i) => `m${i}`));
    expect(printed).toBe(
      'm0 → m1 → m2 → m3 → m4 → m5 → … 9988 more … → m9994 → m9995 → m9996 → m9997 → m9998 → m9999 → m0',
    );
  });
});

describe('edges', () => {
  it('to themselves are found', () => {
    expect(selfEdge(graph('a>b b>b c>c'))).toEqual({ upstream: 'b', downstream: 'b' });
    expect(selfEdge(graph('a>b b>c'))).toBeUndefined();
  });

  it('are counted per downstream, and the worst excess is told', () => {
    const edges = graph('a>x b>x c>x a>y b>y a>z');
    expect(tooWide(edges, 3)).toBeUndefined();
    expect(tooWide(edges, 1)).toEqual({ member: 'x', size: 3 });
    expect(tooDeep(new Map([['x', 2]]), 2)).toBeUndefined();
    expect(tooDeep(new Map(Object.entries({ x: 2, y: 3 })), 1)).toEqual({ member: 'y', size: 3 });
  });
});

describe('random graphs', () => {
  it.each(Array.from({ length: 200 }, (_, i) => i))('seed %i: as brute force sees them', (seed) => {
    const chance = new Chance(seed);
    const nodes = 2 + chance.below(8);
    const edges = Array.from({ length: 1 + chance.below(14) }, () => ({
      upstream: `n${chance.below(nodes)}`,
      downstream: `n${chance.below(nodes)}`,
    }));
    const answer = depthsOf(edges);
    const longest = bruteForce(edges);
    if ('cycle' in answer) {
      expect(longest).toBeUndefined();
      const { cycle: members } = answer;
      expect(new Set(members).size).toBe(members.length);
      members.forEach((upstream, i) => {
        expect(edges).toContainEqual({ upstream, downstream: members[(i + 1) % members.length] });
      });
    } else {
      expect(Object.fromEntries(answer.depths)).toEqual(longest);
    }
  });

  /** Walks every path; undefined when one comes back. */
  function bruteForce(edges: readonly GraphEdge[]): Record<string, number> | undefined {
    const found: Record<string, number> = {};
    const walk = (path: readonly string[]): boolean => {
      const at = path.at(-1);
      return edges
        .filter(({ upstream }) => upstream === at)
        .every(({ downstream }) => {
          if (path.includes(downstream)) return false;
          found[downstream] = Math.max(found[downstream] ?? 0, path.length);
          return walk([...path, downstream]);
        });
    };
    return edges.every(({ upstream }) => walk([upstream])) ? found : undefined;
  }
});

describe('the largest call', () => {
  const MEMBERS = 10_000;
  const chain = Array.from({ length: MEMBERS - 1 }, (_, i) => ({ upstream: `m${i}`, downstream: `m${i + 1}` }));
  const skips = Array.from({ length: 4 }, (_, skip) =>
    Array.from({ length: MEMBERS - 10 }, (_, i) => ({ upstream: `m${i}`, downstream: `m${i + 2 + skip}` })),
  ).flat();

  it('takes well under a second, deep as it is', () => {
    const edges = [...chain, ...skips];
    const started = process.cpuUsage();
    const answer = depthsOf(edges);
    expect(process.cpuUsage(started).user).toBeLessThan(500_000);
    if ('cycle' in answer) throw new Error('no cycle was there');
    expect(tooDeep(answer.depths, 1_000)).toEqual({ member: `m${MEMBERS - 1}`, size: MEMBERS - 1 });
  });

  it('also with a cycle through all of it', () => {
    const started = process.cpuUsage();
    expect(cycle([...chain, { upstream: `m${MEMBERS - 1}`, downstream: 'm0' }])).toHaveLength(MEMBERS);
    expect(process.cpuUsage(started).user).toBeLessThan(500_000);
  });
});
