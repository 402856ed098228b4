/** The graph as it stands, for what is to be added to it. */
import type { Runner } from '../database.js';
import { statement } from '../statement.js';

/** The revision first: what changes after it was read is noticed by its number. */
const readRevision = statement(
  'flows.revision',
  'select revision from {schema}.flow where id = $2::uuid and namespace = $1::int',
);

const readDepthsOf = statement(
  'flows.depths',
  `select e.id, coalesce(b.depth, 0) as depth from unnest($2::uuid[]) u (id)
   cross join lateral (select x.id from {schema}.execution x where x.id = u.id and x.flow = $1::uuid offset 0) e
   left join lateral (
     select x.depth from {schema}.barrier x where x.downstream = e.id and x.kind = 1 limit 1) b on true`,
);

const readEdges = statement(
  'flows.graph',
  'select upstream, downstream from {schema}.slot where flow = $1::uuid and is_edge',
);

async function revisionOf(runner: Runner, namespace: number, flow: string): Promise<bigint | undefined> {
  const [row] = await runner.query<{ revision: bigint }>(readRevision, [namespace, flow]);
  return row?.revision;
}

/** Edges on the longest path to each of these members. Others are left out. Undefined: there is no such flow. */
export async function readDepths(
  runner: Runner,
  namespace: number,
  flow: string,
  executions: readonly string[],
): Promise<{ readonly revision: bigint; readonly depths: ReadonlyMap<string, number> } | undefined> {
  const revision = await revisionOf(runner, namespace, flow);
  if (revision === undefined) return undefined;
  const rows = await runner.query<{ id: string; depth: number }>(readDepthsOf, [flow, executions]);
  return { revision, depths: new Map(rows.map(({ id, depth }) => [id, depth])) };
}

export interface KnownEdge {
  readonly upstream: string;
  readonly downstream: string;
}

/** Undefined: there is no such flow. */
export async function readGraph(
  runner: Runner,
  namespace: number,
  flow: string,
): Promise<{ readonly revision: bigint; readonly edges: readonly KnownEdge[] } | undefined> {
  const revision = await revisionOf(runner, namespace, flow);
  if (revision === undefined) return undefined;
  return { revision, edges: await runner.query<KnownEdge>(readEdges, [flow]) };
}
