/** What sample requests say of flows: every field that can be set. */
import type { MessageInitShape } from '@bufbuild/protobuf';
import { CancelMode, LateCompletion } from '../../gen/tailrace/v1/cancel_pb.js';
import type {
  CancelFlowRequestSchema,
  CreateFlowRequestSchema,
  ExtendFlowRequestSchema,
  WaitForChildrenRequestSchema,
} from '../../gen/tailrace/v1/engine_service_pb.js';
import type { ExecutionSpecSchema } from '../../gen/tailrace/v1/execution_pb.js';
import { FlowCancelScope, FlowFailurePolicy } from '../../gen/tailrace/v1/flow_pb.js';
import { JoinMode, OnJoinTimeout, OnSatisfied } from '../../gen/tailrace/v1/join_pb.js';
import { type Estate, seconds } from './estate.js';

const local = (value: string) => ({ member: { case: 'localName' as const, value } });
const made = (value: string) => ({ member: { case: 'executionId' as const, value } });

const policy = {
  mode: JoinMode.QUORUM,
  quorum: 1,
  distinctSources: true,
  onSatisfied: OnSatisfied.CANCEL_REST,
  timeout: seconds(600),
  onTimeout: OnJoinTimeout.RELEASE_PARTIAL,
};

export const cancelPolicy = {
  mode: CancelMode.COOPERATIVE,
  grace: seconds(5),
  lateCompletion: LateCompletion.ACCEPTED,
};

/** `execution`: as a member or child of a flow may be. */
export function flowSamples(
  { namespace, mark, flow, member }: Estate,
  execution: Exclude<MessageInitShape<typeof ExecutionSpecSchema>, { $typeName: string }>,
) {
  return {
    create: {
      namespace,
      flow: {
        requestId: `create-flow-${mark}`,
        name: 'a flow',
        tags: { team: 'a' },
        failurePolicy: FlowFailurePolicy.CANCEL_REST,
        cancelPolicy,
        open: true,
        sealAfterIdle: seconds(600),
      },
      members: ['a', 'b'].map((localName) => ({ localName, execution })),
      edges: [{ upstream: local('a'), downstream: local('b'), name: 'needed', optional: true, source: 'here' }],
      joins: [{ downstream: local('b'), policy, open: true }],
    } satisfies MessageInitShape<typeof CreateFlowRequestSchema>,
    extend: {
      namespace,
      requestId: `extend-flow-${mark}`,
      flowId: flow.id,
      members: [{ localName: 'c', execution }],
      edges: [
        { upstream: made(flow.upstream), downstream: local('c'), name: 'needed', optional: true, source: 'here' },
      ],
      joins: [{ downstream: local('c'), policy, open: true }],
      sealJoins: [made(flow.downstream)],
      lease: member,
    } satisfies MessageInitShape<typeof ExtendFlowRequestSchema>,
    cancel: {
      namespace,
      requestId: `cancel-flow-${mark}`,
      flowId: flow.id,
      reason: 'enough',
      scope: FlowCancelScope.PENDING_ONLY,
      policy: cancelPolicy,
      wait: seconds(0),
    } satisfies MessageInitShape<typeof CancelFlowRequestSchema>,
    waitForChildren: {
      namespace,
      lease: member,
      children: [{ name: 'child', execution, optional: true, source: 'here' }],
      policy,
    } satisfies MessageInitShape<typeof WaitForChildrenRequestSchema>,
  };
}
