/**
 * What a call adds to a graph, checked and written down for the repository: execution ids for names, and for each
 * downstream one join with its depth and its slots in the order of the edges.
 */
import { EngineError } from '../../../domain/errors.js';
import {
  depthsOf,
  type Excess,
  type GraphEdge,
  printCycle,
  selfEdge,
  tooDeep,
  tooWide,
} from '../../../domain/flow-graph.js';
import { type MemberName, type ResolvedGraph, resolveNames } from '../../../domain/flow-names.js';
import type { NewJoin, NewSlot } from '../../../repository/flows/index.js';
import { uuidV7 } from '../../../runtime/random.js';
import type { FlowLimits } from '../deps.js';
import { specHash } from '../spec.js';
import type { EdgeAsked, JoinAsked, MemberAsked } from './graph-spec.js';
import { depthLimitExceeded, invalidFields, joinLimitExceeded } from './refusals.js';

export interface GraphAsked {
  readonly members: readonly MemberAsked[];
  readonly edges: readonly EdgeAsked[];
  readonly joins: readonly JoinAsked[];
  readonly sealJoins: readonly MemberName[];
  /** The flow takes nothing after this call. */
  readonly sealed: boolean;
}

export interface GraphPlan extends ResolvedGraph {
  /** Execution ids of the members that the call makes, in their order. */
  readonly ids: readonly string[];
  /** The same, by local name. */
  readonly madeHere: ReadonlyMap<string, string>;
}

/** Throws INVALID_FIELD with every violation, SELF_EDGE, JOIN_LIMIT_EXCEEDED. */
export function planGraph(asked: GraphAsked, limits: FlowLimits): GraphPlan {
  const ids = asked.members.map(({ execution }) => execution.executionId ?? uuidV7());
  const resolved = resolveNames({
    members: asked.members.map(({ localName }, i) => ({ localName, id: ids[i] ?? '' })),
    edges: asked.edges,
    joins: asked.joins.map(({ downstream, policy, open }) => ({
      downstream,
      open,
      quorum: policy?.quorum ?? 0,
      distinctSources: policy?.distinctSources ?? false,
      timed: (policy?.timeoutMs ?? null) !== null,
    })),
    sealJoins: asked.sealJoins,
    sealed: asked.sealed,
  });
  if ('violations' in resolved) throw invalidFields(resolved.violations);
  const { graph } = resolved;
  const plan = { ...graph, ids, madeHere: new Map(ids.map((id, i) => [id, asked.members[i]?.localName ?? ''])) };
  const toItself = selfEdge(graph.edges);
  if (toItself) {
    const member = nameIn(plan, toItself.upstream);
    throw new EngineError('SELF_EDGE', `${member} cannot wait for itself`, { metadata: { member } });
  }
  const wide = tooWide(graph.edges, limits.slots);
  if (wide) throw joinLimitExceeded(limits.slots, named(plan, wide));
  return plan;
}

/** A member as the caller named it: by its local name if the call makes it. */
export function nameIn({ madeHere }: GraphPlan, id: string): string {
  return madeHere.get(id) ?? id;
}

export interface GraphAround {
  /** Edges that are there already, if the call can make a cycle with them. */
  readonly edges: readonly GraphEdge[];
  /** Depths that members have already, if those edges are not known. */
  readonly depths: ReadonlyMap<string, number>;
  /** Types of members that were made before: their slots' default names. */
  readonly types: ReadonlyMap<string, string>;
}

export const NOTHING_AROUND: GraphAround = { edges: [], depths: new Map(), types: new Map() };

/** Throws CYCLE, DEPTH_LIMIT_EXCEEDED. */
export function joinsOf(asked: GraphAsked, plan: GraphPlan, around: GraphAround, limits: FlowLimits): NewJoin[] {
  const answer = depthsOf([...around.edges, ...plan.edges], around.depths);
  if ('cycle' in answer) {
    const members = printCycle(answer.cycle.map((id) => nameIn(plan, id)));
    throw new EngineError('CYCLE', `these members would wait for each other: ${members}`, { metadata: { members } });
  }
  const deep = tooDeep(answer.depths, limits.depth);
  if (deep) throw depthLimitExceeded(limits.depth, named(plan, deep));

  const slots = new Map<string, NewSlot[]>();
  plan.edges.forEach(({ upstream, downstream }, i) => {
    const edge = asked.edges[i];
    const own = slots.get(downstream) ?? [];
    own.push({
      upstream,
      name: edge?.name ?? plan.madeHere.get(upstream) ?? around.types.get(upstream) ?? '',
      optional: edge?.optional ?? false,
      source: edge?.source ?? null,
    });
    slots.set(downstream, own);
  });
  const specs = new Map(plan.joins.map((downstream, i) => [downstream, asked.joins[i]]));
  return [...new Set([...slots.keys(), ...specs.keys()])].map((downstream) => {
    const spec = specs.get(downstream);
    return {
      id: uuidV7(),
      downstream,
      policy: spec?.policy ?? null,
      sealed: !spec?.open,
      depth: answer.depths.get(downstream) ?? 0,
      slots: slots.get(downstream) ?? [],
    };
  });
}

/** What the call asked for, for its hash: nothing in it is made up by the server. */
export function contentOf({ members, edges, joins, sealJoins, sealed }: GraphAsked): unknown[] {
  return [
    members.map(({ localName, execution }) => [localName, specHash(execution).toString('base64')]),
    edges.map(({ upstream, downstream, name, optional, source }) => [upstream, downstream, name, optional, source]),
    joins.map(({ downstream, policy, open }) => [downstream, policy && sortedValues(policy), open]),
    sealJoins,
    sealed,
  ];
}

function sortedValues(policy: object): unknown[] {
  return Object.entries(policy).sort(([a], [b]) => (a < b ? -1 : 1));
}

function named(plan: GraphPlan, { member, size }: Excess): Excess {
  return { member: nameIn(plan, member), size };
}
