/**
 * Cycles, depth and width of a flow's graph. Everything here takes time linear in members and edges, and no recursion: a
 * call may bring ten thousand members in one chain.
 */

export interface GraphEdge {
  readonly upstream: string;
  readonly downstream: string;
}

/** Of a member without edges to it the depth is 0; of others that of the longest path to them, in edges. */
export type Depths = { readonly depths: ReadonlyMap<string, number> } | { readonly cycle: readonly string[] };

/**
 * The depth of every downstream. `known` are depths that members have already by edges which are not among these. With a
 * cycle there are no depths: it is answered instead, a short one, as the members on it in order, each once, from the one
 * that was named first.
 */
export function depthsOf(edges: readonly GraphEdge[], known: ReadonlyMap<string, number> = new Map()): Depths {
  const graph = new Graph(edges);
  const { size } = graph;
  const depth = new Int32Array(size);
  const waiting = new Int32Array(size);
  const order = new Int32Array(size);
  let found = 0;
  for (let node = 0; node < size; node++) {
    depth[node] = known.get(graph.name(node)) ?? 0;
    waiting[node] = graph.upstreamCount(node);
    if (waiting[node] === 0) order[found++] = node;
  }
  for (let next = 0; next < found; next++) {
    const node = order[next] ?? 0;
    for (const downstream of graph.downstreams(node)) {
      depth[downstream] = Math.max(depth[downstream] ?? 0, (depth[node] ?? 0) + 1);
      waiting[downstream] = (waiting[downstream] ?? 0) - 1;
      if (waiting[downstream] === 0) order[found++] = downstream;
    }
  }
  if (found < size) return { cycle: cycleAmong(graph, (node) => (waiting[node] ?? 0) > 0).map((n) => graph.name(n)) };
  const depths = new Map<string, number>();
  for (let node = 0; node < size; node++) {
    if (graph.upstreamCount(node) > 0) depths.set(graph.name(node), depth[node] ?? 0);
  }
  return { depths };
}

/** The first edge whose ends are one. */
export function selfEdge(edges: readonly GraphEdge[]): GraphEdge | undefined {
  return edges.find(({ upstream, downstream }) => upstream === downstream);
}

/** What exceeds a limit most, and by how much it is there. */
export interface Excess {
  readonly member: string;
  readonly size: number;
}

/** The downstream with the most edges, if it has more than `most`. */
export function tooWide(edges: readonly GraphEdge[], most: number): Excess | undefined {
  const widths = new Map<string, number>();
  for (const { downstream } of edges) widths.set(downstream, (widths.get(downstream) ?? 0) + 1);
  return above(widths, most);
}

/** The deepest downstream, if a path to it has more edges than `most`. */
export function tooDeep(depths: ReadonlyMap<string, number>, most: number): Excess | undefined {
  return above(depths, most);
}

function above(sizes: ReadonlyMap<string, number>, most: number): Excess | undefined {
  let worst: Excess | undefined;
  for (const [member, size] of sizes) if (size > (worst?.size ?? most)) worst = { member, size };
  return worst;
}

const SHOWN = 12;

/** `a → b → a`. Of a long cycle the middle is counted instead of named. */
export function printCycle(cycle: readonly string[]): string {
  const [first = ''] = cycle;
  const half = SHOWN / 2;
  const names =
    cycle.length <= SHOWN
      ? cycle
      : [...cycle.slice(0, half), `… ${cycle.length - SHOWN} more …`, ...cycle.slice(-half)];
  return [...names, first].join(' → ');
}

/** Names as numbers, and each node's downstreams side by side in one array. */
class Graph {
  readonly #names: string[] = [];
  readonly #starts: Int32Array;
  readonly #downstreams: Int32Array;
  readonly #upstreamCounts: Int32Array;

  constructor(edges: readonly GraphEdge[]) {
    const numbers = new Map<string, number>();
    const numberOf = (name: string): number => {
      const known = numbers.get(name);
      if (known !== undefined) return known;
      numbers.set(name, this.#names.length);
      return this.#names.push(name) - 1;
    };
    const from = new Int32Array(edges.length);
    const to = new Int32Array(edges.length);
    edges.forEach(({ upstream, downstream }, i) => {
      from[i] = numberOf(upstream);
      to[i] = numberOf(downstream);
    });
    this.#starts = new Int32Array(this.size + 1);
    this.#upstreamCounts = new Int32Array(this.size);
    for (const node of from) this.#starts[node + 1] = (this.#starts[node + 1] ?? 0) + 1;
    for (const node of to) this.#upstreamCounts[node] = (this.#upstreamCounts[node] ?? 0) + 1;
    for (let node = 0; node < this.size; node++) {
      this.#starts[node + 1] = (this.#starts[node + 1] ?? 0) + (this.#starts[node] ?? 0);
    }
    const free = this.#starts.slice();
    this.#downstreams = new Int32Array(edges.length);
    from.forEach((node, i) => {
      const place = free[node] ?? 0;
      this.#downstreams[place] = to[i] ?? 0;
      free[node] = place + 1;
    });
  }

  get size(): number {
    return this.#names.length;
  }

  name(node: number): string {
    return this.#names[node] ?? '';
  }

  upstreamCount(node: number): number {
    return this.#upstreamCounts[node] ?? 0;
  }

  downstreams(node: number): Int32Array {
    return this.#downstreams.subarray(this.#starts[node], this.#starts[node + 1]);
  }
}

/**
 * Of the nodes that wait for each other, or for a cycle, those on one. Each of them has an upstream among them, so going
 * upstream comes back to a node seen before, which is on a cycle; the shortest way from it back to it is the answer.
 */
function cycleAmong(graph: Graph, waits: (node: number) => boolean): number[] {
  const upstream = new Int32Array(graph.size).fill(-1);
  let node = -1;
  for (let from = 0; from < graph.size; from++) {
    if (!waits(from)) continue;
    for (const to of graph.downstreams(from)) upstream[to] = from;
    node = from;
  }
  const seen = new Uint8Array(graph.size);
  while (seen[node] === 0) {
    seen[node] = 1;
    node = upstream[node] ?? 0;
  }
  const cycle = wayBack(graph, node, waits);
  const first = cycle.indexOf(cycle.reduce((least, other) => Math.min(least, other)));
  return [...cycle.slice(first), ...cycle.slice(0, first)];
}

function wayBack(graph: Graph, start: number, within: (node: number) => boolean): number[] {
  const cameFrom = new Int32Array(graph.size).fill(-1);
  const queue = [start];
  for (const node of queue) {
    for (const next of graph.downstreams(node)) {
      if (next === start) {
        const way = [node];
        for (let at = node; at !== start; ) {
          at = cameFrom[at] ?? start;
          way.push(at);
        }
        return way.reverse();
      }
      if (cameFrom[next] !== -1 || !within(next)) continue;
      cameFrom[next] = node;
      queue.push(next);
    }
  }
  return [start];
}
