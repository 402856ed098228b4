/** AwaitFlow: a question that is answered when a flow has got somewhere. */
import { create } from '@bufbuild/protobuf';
import type { HandlerContext } from '@connectrpc/connect';
import {
  type AwaitFlowRequest,
  type AwaitFlowResponse,
  AwaitFlowResponseSchema,
  FlowMilestone,
} from '../../../gen/tailrace/v1/completion_service_pb.js';
import { isFlowEnd } from '../../domain/states.js';
import { monotonicMs } from '../../runtime/clock.js';
import { withEither } from '../../runtime/either-signal.js';
import { drainingOf } from '../draining.js';
import { validate } from '../validation.js';
import { presentFlow } from './flow.js';
import type { CompletionDependencies } from './index.js';
import { awaitFlowRequest } from './requests.js';

export function awaitFlow({ live, database, namespaceId }: CompletionDependencies) {
  return async (request: AwaitFlowRequest, context: HandlerContext): Promise<AwaitFlowResponse> => {
    const asked = validate(awaitFlowRequest, request);
    const namespace = { id: await namespaceId(asked.namespace, context), name: asked.namespace };
    const until = asked.until === FlowMilestone.SETTLED ? 'settled' : 'ended';
    const untilMs = monotonicMs() + asked.timeout;
    // A server that drains answers with what is known by then; the caller asks on elsewhere.
    return await withEither([context.signal, drainingOf(context)], async (signal) => {
      for (;;) {
        const timeoutMs = untilMs - monotonicMs();
        const wanted = { namespace: namespace.id, flow: asked.flowId, until, timeoutMs } as const;
        const { reached, incarnation } = await live.awaitFlow(wanted, signal);
        const flow = await presentFlow(database, { namespace, flow: asked.flowId, incarnation });
        const done = until === 'settled' ? flow.settled : isFlowEnd(flow.state);
        // One that went on before it was read again is not shown as done; what is left of the time is waited on.
        if (done || !reached || signal.aborted) return create(AwaitFlowResponseSchema, { done, flow });
      }
    });
  };
}
