/** `tailrace explain`, which is also `tailrace executions explain`. */
import {
  type ExplainExecutionResponse,
  ExplainExecutionResponseSchema,
} from '../../../gen/tailrace/v1/admin_service_pb.js';
import { ExecutionStateSchema } from '../../../gen/tailrace/v1/execution_state_pb.js';
import { type Hold, HoldKindSchema, TimerKindSchema } from '../../../gen/tailrace/v1/explain_pb.js';
import { command } from '../command.js';
import { nameOf } from '../enum-words.js';
import { messageDocument } from '../json.js';
import { type Output, plain } from '../output.js';
import { argument } from '../rules.js';
import { type Column, colored, tableOf } from '../table.js';
import { WATCH, watching } from '../watching.js';

const COLUMNS: readonly Column<Hold>[] = [
  { title: 'held by', of: ({ kind }) => nameOf(HoldKindSchema, kind) },
  { title: 'subject', spare: true, flexible: true, of: ({ subject }) => subject },
  { title: 'used', spare: true, right: true, of: ({ current, limit }) => (limit > 0n ? `${current}/${limit}` : '') },
  { title: 'until', spare: true, of: ({ untilTime }, output) => output.time(untilTime) },
  { title: 'message', flexible: true, of: ({ message }) => message },
];

const explainAs = (line: string) =>
  command({
    name: 'explain',
    about: 'Say why an execution is where it is and what would move it.',
    arguments: { execution: argument('execution', 'Id of the execution.') },
    options: WATCH,
    examples: [['Why does it not start?', `tailrace ${line} 01890a5d-…`]],
    run: (session, { execution, watch }) =>
      watching(session, watch, async () => {
        const asked = { namespace: session.namespace, executionId: execution };
        const answer = await session.api.admin.explainExecution(asked, session.bounds());
        return session.output.json
          ? messageDocument(ExplainExecutionResponseSchema, answer)
          : explained(answer, session.output);
      }),
  });

export const explain = explainAs('explain');

export const explainExecution = explainAs('executions explain');

function explained(answer: ExplainExecutionResponse, output: Output): string {
  const { state, summary, holds, nextTimer, aheadInLane, aheadInLaneCapped, eligibleWorkerCount } = answer;
  return [
    `${colored(nameOf(ExecutionStateSchema, state), output)}: ${plain(summary)}`,
    ...(holds.length > 0 ? ['', tableOf(COLUMNS, holds, output), ''] : []),
    ...(aheadInLane > 0n ? [`ahead in its lane: ${aheadInLane}${aheadInLaneCapped ? ' or more' : ''}`] : []),
    ...(eligibleWorkerCount > 0 ? [`workers that could claim it: ${eligibleWorkerCount}`] : []),
    ...(nextTimer ? [`next timer: ${nameOf(TimerKindSchema, nextTimer.kind)} ${output.time(nextTimer.fireTime)}`] : []),
  ].join('\n');
}
