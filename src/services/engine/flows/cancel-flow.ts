/** CancelFlow: decided in the call; the members end in batches right after. */
import { create } from '@bufbuild/protobuf';
import type { HandlerContext } from '@connectrpc/connect';
import { z } from 'zod';
import { CancelEffect } from '../../../../gen/tailrace/v1/cancel_pb.js';
import {
  type CancelFlowRequest,
  type CancelFlowResponse,
  CancelFlowResponseSchema,
} from '../../../../gen/tailrace/v1/engine_service_pb.js';
import { FlowCancelScope, FlowCancelScopeSchema } from '../../../../gen/tailrace/v1/flow_pb.js';
import { ExecutionState } from '../../../domain/states.js';
import type { LiveLog } from '../../../log/live-log.js';
import { canceledMembers, cancelFlow } from '../../../repository/flows/index.js';
import { withEither } from '../../../runtime/either-signal.js';
import { actorOf } from '../../caller.js';
import { toTimestamp } from '../../conversion/times.js';
import { drainingOf } from '../../draining.js';
import { namespaceIn } from '../../namespace-in.js';
import { refuseHiddenFlow } from '../../shown.js';
import {
  duration,
  enumNumber,
  id,
  MINUTE_MS,
  namespace,
  requestId,
  type Shape,
  text,
  validate,
} from '../../validation.js';
import { cancelPolicy } from '../cancel-policy.js';
import type { EngineServiceDeps } from '../deps.js';
import { flowNotFound } from './refusals.js';

const REASON_BYTES = 1_024;
const MEMBERS_SHOWN = 1_000;

const NOTHING_NEW: Awaited<ReturnType<LiveLog['awaitEnds']>> = new Map();

const request = z.object({
  namespace,
  requestId,
  flowId: id,
  reason: text(REASON_BYTES),
  scope: enumNumber(FlowCancelScopeSchema).transform((scope) => scope || FlowCancelScope.ALL),
  policy: cancelPolicy,
  wait: duration(0, MINUTE_MS).transform((ms) => ms ?? 0),
} satisfies Shape<CancelFlowRequest>);

type Member = Awaited<ReturnType<typeof canceledMembers>>['members'][number];

export function cancelFlowCall({ database, registry, log, after }: EngineServiceDeps) {
  return async (message: CancelFlowRequest, context: HandlerContext): Promise<CancelFlowResponse> => {
    const { flowId: flow, scope, policy, reason, wait, ...asked } = validate(request, message);
    const namespaceId = await namespaceIn(registry, asked.namespace);
    const { verdict } = await cancelFlow(database, {
      namespace: namespaceId,
      flow,
      scope,
      policy: policy ?? null,
      actor: actorOf(context),
      reason,
    });
    if (verdict === 'missing') throw flowNotFound(flow);
    if (verdict === 'already') await refuseHiddenFlow(database, namespaceId, flow);
    const isNews = verdict === 'decided';
    if (isNews) {
      after.committed(1);
      after.due('followUps', 0);
    }
    const decided = await canceledMembers(database, namespaceId, flow, MEMBERS_SHOWN);
    const wanted = { namespace: namespaceId, flow, until: 'ended' as const, timeoutMs: wait };
    // A server that drains answers with what is known by then.
    const { state, settled } = await withEither([context.signal, drainingOf(context)], (signal) =>
      log.awaitFlow(wanted, signal),
    );
    const ids = decided.members.map(({ execution }) => execution);
    const now = { namespace: namespaceId, ids, any: false, timeoutMs: 0 };
    const present = wait > 0 ? await log.awaitEnds(now, context.signal) : NOTHING_NEW;
    return create(CancelFlowResponseSchema, {
      state,
      settled,
      members: decided.members.map((member) => {
        const known = present.get(member.execution);
        const stands = known?.state ?? member.state;
        const endedAt = known?.outcome?.endedAt ?? member.ended_at;
        // What ended canceled within the wait was ended by the call; what ended otherwise was not.
        const isEnded = stands === ExecutionState.CANCELED;
        return {
          executionId: member.execution,
          effect: effectOn(isEnded ? { ...member, ended_at: endedAt } : member, scope, isNews),
          state: stands,
          ...(endedAt && { endTime: toTimestamp(endedAt) }),
        };
      }),
      memberCount: decided.total,
    });
  };
}

/** What the call did to a member by the end of its wait. */
function effectOn(member: Member, scope: FlowCancelScope, isNews: boolean): CancelEffect {
  if (member.ended_at !== null) return isNews ? CancelEffect.ENDED : CancelEffect.ALREADY_TERMINAL;
  if (member.state !== ExecutionState.RUNNING) return CancelEffect.PENDING;
  if (member.cancel_requested) return isNews ? CancelEffect.REQUESTED : CancelEffect.ALREADY_REQUESTED;
  return scope === FlowCancelScope.PENDING_ONLY ? CancelEffect.LEFT_RUNNING : CancelEffect.PENDING;
}
