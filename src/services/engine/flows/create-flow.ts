/** CreateFlow. */
import { create } from '@bufbuild/protobuf';
import type { HandlerContext } from '@connectrpc/connect';
import { z } from 'zod';
import {
  type CreateFlowRequest,
  type CreateFlowResponse,
  CreateFlowResponseSchema,
} from '../../../../gen/tailrace/v1/engine_service_pb.js';
import { FlowFailurePolicy, FlowFailurePolicySchema, type FlowSpec } from '../../../../gen/tailrace/v1/flow_pb.js';
import { createFlow, isRefusedFlow, type NewFlow } from '../../../repository/flows/index.js';
import { uuidV7 } from '../../../runtime/random.js';
import { traceOf } from '../../call-trace.js';
import { namespaceFor } from '../../namespace-in.js';
import { sized } from '../../payload-limits.js';
import {
  DAY_MS,
  duration,
  enumNumber,
  namespace,
  refuse,
  requestId,
  SECOND_MS,
  type Shape,
  tags,
  text,
  validate,
} from '../../validation.js';
import { cancelPolicy, DEFAULT_CANCELLATION } from '../cancel-policy.js';
import { contentHash, sortedEntries } from '../content-hash.js';
import type { EngineServiceDeps } from '../deps.js';
import { required } from '../required.js';
import { clientId } from '../spec.js';
import { tellMade, tellTimeouts } from './follow-up.js';
import { graphSpec } from './graph-spec.js';
import { membersOf } from './members.js';
import { contentOf, joinsOf, NOTHING_AROUND, nameIn, planGraph } from './plan.js';
import { flowLimitExceeded, refusalOf } from './refusals.js';

const NAME_BYTES = 200;

const flowSpec = z
  .object({
    flowId: clientId,
    requestId,
    name: text(NAME_BYTES),
    tags,
    failurePolicy: enumNumber(FlowFailurePolicySchema).transform((policy) => policy || FlowFailurePolicy.CONTINUE),
    cancelPolicy: cancelPolicy.transform((policy) => policy ?? DEFAULT_CANCELLATION),
    open: z.boolean(),
    sealAfterIdle: duration(SECOND_MS, 30 * DAY_MS),
  } satisfies Shape<FlowSpec>)
  .check((context) => {
    const { open, sealAfterIdle } = context.value;
    if (open || sealAfterIdle === null) return;
    refuse(context.issues, sealAfterIdle, 'must be absent: the flow is not open', ['sealAfterIdle']);
  });

export function createFlowCall(deps: EngineServiceDeps) {
  const { database, registry, after, flowLimits } = deps;
  const requestFor = sized(deps, (mostBytes) =>
    z
      .object({
        namespace,
        flow: required(flowSpec),
        ...graphSpec(mostBytes, flowLimits.edges, false),
      } satisfies Shape<CreateFlowRequest>)
      .check((context) => {
        const { members, flow } = context.value;
        if (members.length > 0 || flow.open) return;
        refuse(context.issues, members, 'must have at least 1 item: the flow is not open', ['members']);
      }),
  );
  return async (message: CreateFlowRequest, context: HandlerContext): Promise<CreateFlowResponse> => {
    const asked = validate(await requestFor(message.namespace), message);
    const { flow } = asked;
    const graph = { ...asked, sealJoins: [], sealed: !flow.open };
    const plan = planGraph(graph, flowLimits);
    if (plan.ids.length > flowLimits.members) throw flowLimitExceeded(flowLimits.members);
    const joins = joinsOf(graph, plan, NOTHING_AROUND, flowLimits);

    const namespaceId = await namespaceFor(registry, asked.namespace, context);
    const id = flow.flowId ?? uuidV7();
    const members = await membersOf(registry, namespaceId, id, asked.members, plan.ids, traceOf(context));
    const made: NewFlow = {
      id,
      namespace: namespaceId,
      requestId: flow.requestId ?? flow.flowId,
      hash: contentHash([settingsOf(flow), contentOf(graph)], null),
      name: flow.name,
      tags: flow.tags,
      failurePolicy: flow.failurePolicy,
      cancel: flow.cancelPolicy,
      open: flow.open,
      sealAfterIdleMs: flow.sealAfterIdle,
    };
    const answer = await createFlow(database, made, members, joins);
    if (isRefusedFlow(answer)) {
      throw refusalOf(answer, {
        flow: id,
        limits: flowLimits,
        nameOf: (execution) => nameIn(plan, execution),
        quorumField: () => 'joins',
      });
    }
    if (answer.verdict === 'done') {
      tellMade(
        after,
        answer,
        members.map(({ execution }) => execution),
      );
      tellTimeouts(after, joins);
    }
    return create(CreateFlowResponseSchema, {
      flowId: answer.flow,
      executionIds: { ...answer.members },
      revision: answer.revision,
      state: answer.state,
      duplicate: answer.verdict === 'duplicate',
    });
  };
}

/** In one order, for the hash. The request id is not content. */
function settingsOf(flow: z.output<typeof flowSpec>): unknown[] {
  const { flowId, name, failurePolicy, cancelPolicy: cancel, open, sealAfterIdle } = flow;
  return [
    flowId,
    name,
    sortedEntries(flow.tags),
    failurePolicy,
    [cancel.now, cancel.graceMs, cancel.acceptsLate],
    open,
    sealAfterIdle,
  ];
}
