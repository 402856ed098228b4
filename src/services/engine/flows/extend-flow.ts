/**
 * ExtendFlow. The graph is checked here, against what was read of it just before; a graph that changed in between is
 * read again. Only edges to members that were made before can close a cycle, so only they need the whole graph.
 */
import { create } from '@bufbuild/protobuf';
import type { HandlerContext } from '@connectrpc/connect';
import { z } from 'zod';
import {
  type ExtendFlowRequest,
  type ExtendFlowResponse,
  ExtendFlowResponseSchema,
} from '../../../../gen/tailrace/v1/engine_service_pb.js';
import type { Database } from '../../../repository/database.js';
import {
  extendFlow,
  type FlowAnswer,
  isRefusedFlow,
  type NewJoin,
  type NewMember,
  readDefaultNames,
  readDepths,
  readGraph,
} from '../../../repository/flows/index.js';
import { traceOf } from '../../call-trace.js';
import { sized } from '../../payload-limits.js';
import { refuseHiddenFlow } from '../../shown.js';
import { counter, id, list, namespace, refuse, requestId, type Shape, validate } from '../../validation.js';
import { contentHash } from '../content-hash.js';
import type { EngineServiceDeps } from '../deps.js';
import { leaseRef } from '../lease-ref.js';
import { tellMade, tellTimeouts } from './follow-up.js';
import { graphSpec, memberRef } from './graph-spec.js';
import { membersOf } from './members.js';
import {
  contentOf,
  type GraphAround,
  type GraphAsked,
  type GraphPlan,
  joinsOf,
  NOTHING_AROUND,
  nameIn,
  planGraph,
} from './plan.js';
import { flowNotFound, refusalOf } from './refusals.js';
import { Turns } from './turns.js';

const MAX_SEALED = 10_000;
const ATTEMPTS = 5;
const ANY_REVISION = 0n;

export function extendFlowCall(deps: EngineServiceDeps) {
  const { database, registry, after, flowLimits } = deps;
  const turns = new Turns();
  const requestFor = sized(deps, (mostBytes) =>
    z
      .object({
        namespace,
        requestId,
        flowId: id,
        expectedRevision: counter,
        ...graphSpec(mostBytes, flowLimits.edges, true),
        sealJoins: list(memberRef(true), MAX_SEALED),
        seal: z.boolean(),
        lease: leaseRef.optional(),
      } satisfies Shape<ExtendFlowRequest>)
      .check((context) => {
        const { members, edges, joins, sealJoins, seal } = context.value;
        if (seal || [members, edges, joins, sealJoins].some(({ length }) => length > 0)) return;
        refuse(context.issues, members, 'or edges, joins, seal_joins or seal is required', ['members']);
      }),
  );

  return async (message: ExtendFlowRequest, context: HandlerContext): Promise<ExtendFlowResponse> => {
    const asked = validate(await requestFor(message.namespace), message);
    const { flowId: flow, lease } = asked;
    const graph = { ...asked, sealed: asked.seal };
    const plan = planGraph(graph, flowLimits);
    const namespaceId = await registry.namespace(asked.namespace);
    if (namespaceId === undefined) throw flowNotFound(flow);

    let members: readonly NewMember[] | undefined;
    const extend = async (): Promise<Extended> => {
      const { revision, around } = await look(deps, namespaceId, flow, graph, plan);
      const joins = joinsOf(graph, plan, around, flowLimits);
      members ??= await membersOf(registry, namespaceId, flow, asked.members, plan.ids, traceOf(context));
      const answer = await extendFlow(database, {
        namespace: namespaceId,
        flow,
        requestId: asked.requestId,
        hash: contentHash([flow, asked.expectedRevision.toString(), contentOf(graph)], null),
        expectedRevision: asked.expectedRevision,
        seenRevision: revision,
        members,
        joins,
        sealJoins: plan.sealJoins,
        seal: asked.seal,
        lease: lease ? { execution: lease.executionId, id: lease.leaseId, token: lease.fencingToken } : null,
        limits: flowLimits,
      });
      return { answer, joins };
    };
    const { answer, joins } = await (readsGraph(plan) ? turns.take(flow, () => untilStill(extend)) : extend());

    if (isRefusedFlow(answer)) {
      await refuseHiddenFlow(database, namespaceId, flow);
      throw refusalOf(answer, {
        flow,
        limits: flowLimits,
        nameOf: (execution) => nameIn(plan, execution),
        quorumField: (downstream) => quorumField(plan, downstream),
      });
    }
    if (answer.verdict === 'done') {
      tellMade(
        after,
        answer,
        (members ?? []).map(({ execution }) => execution),
      );
      tellTimeouts(after, joins);
    }
    return create(ExtendFlowResponseSchema, {
      executionIds: { ...answer.members },
      revision: answer.revision,
      state: answer.state,
      duplicate: answer.verdict === 'duplicate',
    });
  };
}

interface Extended {
  readonly answer: FlowAnswer;
  readonly joins: readonly NewJoin[];
}

/** Until nobody changed the graph between reading and extending it, or it was tried often enough. */
async function untilStill(extend: () => Promise<Extended>): Promise<Extended> {
  let extended = await extend();
  for (let attempt = 1; extended.answer.verdict === 'moved' && attempt < ATTEMPTS; attempt++) extended = await extend();
  return extended;
}

/** A member that was made before becomes a downstream, so that the call can close a cycle. */
function readsGraph({ edges, madeHere }: GraphPlan): boolean {
  return edges.some(({ downstream }) => !madeHere.has(downstream));
}

/** What the new edges meet. Revision 0: it does not matter what else is done to the graph meanwhile. */
async function look(
  { database }: EngineServiceDeps,
  namespace: number,
  flow: string,
  asked: GraphAsked,
  plan: GraphPlan,
): Promise<{ revision: bigint; around: GraphAround }> {
  const isOld = (execution: string) => !plan.madeHere.has(execution);
  const types = await typesOf(database, namespace, flow, unnamedIn(asked, plan).filter(isOld));
  const upstreams = [...new Set(plan.edges.map(({ upstream }) => upstream))].filter(isOld);
  if (readsGraph(plan)) {
    const found = await readGraph(database, namespace, flow);
    if (found === undefined) throw flowNotFound(flow);
    return { revision: found.revision, around: { ...NOTHING_AROUND, types, edges: found.edges } };
  }
  if (upstreams.length === 0) return { revision: ANY_REVISION, around: NOTHING_AROUND };
  const found = await readDepths(database, namespace, flow, upstreams);
  if (found === undefined) throw flowNotFound(flow);
  return { revision: ANY_REVISION, around: { ...NOTHING_AROUND, types, depths: found.depths } };
}

/** Upstreams whose own name is that of a slot. */
function unnamedIn({ edges }: GraphAsked, plan: GraphPlan): string[] {
  return [...new Set(plan.edges.filter((_, i) => edges[i]?.name === null).map(({ upstream }) => upstream))];
}

async function typesOf(
  database: Database,
  namespace: number,
  flow: string,
  members: readonly string[],
): Promise<ReadonlyMap<string, string>> {
  return members.length === 0 ? new Map() : await readDefaultNames(database, namespace, flow, members);
}

/** Of the part of the call that makes a join which its slots cannot satisfy. */
function quorumField(plan: GraphPlan, downstream: string): string {
  const join = plan.joins.indexOf(downstream);
  if (join >= 0) return `joins[${join}].policy.quorum`;
  const sealed = plan.sealJoins.indexOf(downstream);
  return sealed >= 0 ? `seal_joins[${sealed}]` : 'edges';
}
