/** Flows, changed from outside. */
import { randomUUID } from 'node:crypto';
import { CancelFlowResponseSchema, SealFlowResponseSchema } from '../../../gen/tailrace/v1/engine_service_pb.js';
import { FlowCancelScope, FlowStateSchema } from '../../../gen/tailrace/v1/flow_pb.js';
import { command } from '../command.js';
import { nameOf } from '../enum-words.js';
import { fields } from '../fields.js';
import { REASON, WAIT, waitMs } from '../recurring-options.js';
import { argument, flag, large } from '../rules.js';
import { done } from '../showing.js';
import { CANCEL, cancelPolicy } from './executions-steer.js';

const FLOW = { flow: argument('flow', 'Id of the flow.') };

export const cancelFlow = command({
  name: 'cancel',
  about: 'Cancel a flow with its members.',
  arguments: FLOW,
  options: {
    pendingOnly: flag('Only what has not begun; running members may end.'),
    ...CANCEL,
    ...WAIT,
    ...REASON,
  },
  examples: [
    [
      'All of it, and wait for its end',
      'tailrace flows cancel 01890a5d-… --wait 60s --reason "the order was withdrawn"',
    ],
  ],
  async run(session, { flow, pendingOnly, wait, reason, ...how }) {
    const asked = fields({
      namespace: session.namespace,
      requestId: randomUUID(),
      flowId: flow,
      reason,
      scope: pendingOnly ? FlowCancelScope.PENDING_ONLY : FlowCancelScope.ALL,
      policy: cancelPolicy(how),
      wait,
    });
    const answer = await session.api.engine.cancelFlow(asked, session.bounds(waitMs(wait)));
    const { state, settled, memberCount } = answer;
    const sentence = `flow ${flow} is ${nameOf(FlowStateSchema, state)}${settled ? '' : ', not settled yet'}; ${memberCount} members`;
    return await done(session, CancelFlowResponseSchema, answer, sentence);
  },
});

export const sealFlow = command({
  name: 'seal',
  about: 'Close a flow to additions, so that it can end.',
  arguments: FLOW,
  options: { expectedRevision: large('revision', 'Refuse if it is no longer at this revision.') },
  examples: [['Nothing more will come', 'tailrace flows seal 01890a5d-…']],
  async run(session, { flow, expectedRevision }) {
    const asked = fields({ namespace: session.namespace, flowId: flow, expectedRevision });
    const answer = await session.api.engine.sealFlow(asked, session.bounds());
    const sentence = `flow ${flow} is sealed: ${nameOf(FlowStateSchema, answer.state)}, revision ${answer.revision}`;
    return await done(session, SealFlowResponseSchema, answer, sentence);
  },
});
