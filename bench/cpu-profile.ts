/** Reads a CPU profile of Node: self time by file of ours, by package, and by what the machine itself does. */

export interface Spent {
  /** Such as `src/server`, a package, or `(garbage collector)`. */
  readonly place: string;
  readonly ms: number;
  readonly share: number;
}

interface CpuProfile {
  readonly nodes: readonly {
    readonly id: number;
    readonly callFrame: { readonly functionName: string; readonly url: string };
  }[];
  readonly samples: readonly number[];
  /** Microseconds before each sample. */
  readonly timeDeltas: readonly number[];
}

export async function readCpuProfile(text: string): Promise<Spent[]> {
  const { nodes, samples, timeDeltas } = JSON.parse(text) as CpuProfile;
  const places = new Map(nodes.map(({ id, callFrame }) => [id, placeOf(callFrame.functionName, callFrame.url)]));
  const spent = new Map<string, number>();
  samples.forEach((id, i) => {
    const place = places.get(id) ?? '(unknown)';
    if (place !== '(idle)') spent.set(place, (spent.get(place) ?? 0) + (timeDeltas[i] ?? 0) / 1_000);
  });
  const total = [...spent.values()].reduce((sum, ms) => sum + ms, 0);
  return [...spent].map(([place, ms]) => ({ place, ms, share: ms / total })).sort((a, b) => b.ms - a.ms);
}

function placeOf(functionName: string, url: string): string {
  if (url === '') return functionName.startsWith('(') ? functionName : `${functionName} (native)`;
  const file = /\/node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(url)?.[1] ?? /\/((?:src|gen)\/.*?)\.[jt]s$/.exec(url)?.[1];
  return file ?? url;
}
