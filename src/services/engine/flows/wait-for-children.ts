/** WaitForChildren: the holder parks its open attempt until the join of the children it spawns decides. */
import { create } from '@bufbuild/protobuf';
import type { HandlerContext } from '@connectrpc/connect';
import { z } from 'zod';
import {
  type WaitForChildrenRequest,
  type WaitForChildrenResponse,
  WaitForChildrenResponseSchema,
} from '../../../../gen/tailrace/v1/engine_service_pb.js';
import { ExecutionState } from '../../../domain/states.js';
import {
  areRefusedChildren,
  DEFAULT_POLICY,
  readKeptOrders,
  waitForChildren,
} from '../../../repository/flows/index.js';
import { isRefused } from '../../../repository/leases/index.js';
import { uuidV7 } from '../../../runtime/random.js';
import { traceOf } from '../../call-trace.js';
import { sized } from '../../payload-limits.js';
import { list, namespace, refuse, type Shape, validate } from '../../validation.js';
import { contentHash } from '../content-hash.js';
import type { EngineServiceDeps } from '../deps.js';
import { heldLease, leaseRef } from '../lease-ref.js';
import { executionNotFound, refusalOf } from '../refusals.js';
import { required } from '../required.js';
import { specHash } from '../spec.js';
import { childrenOf, childSpec, MAX_CHILDREN } from './children.js';
import { tellMade, tellTimeouts } from './follow-up.js';
import { joinPolicy } from './join-policy.js';
import { childRefusal, joinLimitExceeded, keptOrders } from './refusals.js';

export function waitForChildrenCall(deps: EngineServiceDeps) {
  const { database, registry, after, flowLimits } = deps;
  const requestFor = sized(deps, (mostBytes) =>
    z
      .object({
        namespace,
        lease: required(leaseRef),
        children: list(childSpec(mostBytes), MAX_CHILDREN, 1),
        policy: joinPolicy,
      } satisfies Shape<WaitForChildrenRequest>)
      .check((context) => {
        const { children, policy } = context.value;
        const { quorum = 0, distinctSources = false } = policy ?? {};
        // A child without a declared source is a source of its own.
        const sources = new Set(children.map(({ source }, i) => source ?? i));
        const chances = distinctSources ? sources.size : children.length;
        if (quorum <= chances) return;
        const what = distinctSources ? 'distinct sources' : 'children';
        refuse(context.issues, quorum, `must be at most the number of ${what}, ${chances}; it is ${quorum}`, [
          'policy',
          'quorum',
        ]);
      }),
  );

  return async (message: WaitForChildrenRequest, context: HandlerContext): Promise<WaitForChildrenResponse> => {
    const asked = validate(await requestFor(message.namespace), message);
    const { lease, children, policy = DEFAULT_POLICY } = asked;
    const { executionId: parent } = lease;
    if (children.length > flowLimits.slots) {
      throw joinLimitExceeded(flowLimits.slots, { member: parent, size: children.length });
    }
    const namespaceId = await registry.namespace(asked.namespace);
    if (namespaceId === undefined) throw executionNotFound(parent);
    const made = await childrenOf(
      registry,
      namespaceId,
      parent,
      children.map(({ execution }) => execution),
      traceOf(context),
    );
    const kept = await readKeptOrders(database, parent, made);
    if (kept.length > 0) throw keptOrders(kept);
    const join = {
      id: uuidV7(),
      downstream: parent,
      policy,
      sealed: true,
      depth: 0,
      slots: children.map(({ name, execution, optional, source }, i) => ({
        upstream: made[i]?.id ?? '',
        name: name ?? execution.type,
        optional,
        source,
      })),
    };
    const content = children.map(({ name, execution, optional, source }) => [
      name,
      specHash(execution).toString('base64'),
      optional,
      source,
    ]);
    const answer = await waitForChildren(database, {
      ...heldLease(lease, namespaceId),
      hash: contentHash(['children', content, policy], null),
      children: made,
      join,
      limits: flowLimits,
    });
    if (isRefused(answer)) throw refusalOf(answer, parent);
    if (areRefusedChildren(answer)) throw childRefusal(answer, parent, flowLimits.members);
    if (answer.verdict === 'waiting') {
      tellMade(after, answer, made);
      tellTimeouts(after, [join]);
      after.freed();
    }
    return create(WaitForChildrenResponseSchema, {
      childExecutionIds: [...answer.children],
      joinId: answer.join,
      state: ExecutionState.WAITING_CHILDREN,
      duplicate: answer.verdict === 'duplicate',
    });
  };
}
