/** `tailrace executions await` */
import { durationMs } from '@bufbuild/protobuf/wkt';
import {
  AwaitExecutionsResponseSchema,
  type AwaitedExecution,
  AwaitMode,
} from '../../../gen/tailrace/v1/completion_service_pb.js';
import { EndReasonSchema, ExecutionState, ExecutionStateSchema } from '../../../gen/tailrace/v1/execution_state_pb.js';
import { awaiting } from '../../client/awaiting.js';
import { command } from '../command.js';
import { nameOf } from '../enum-words.js';
import { EXIT } from '../exit-codes.js';
import { messageDocument } from '../json.js';
import { argumentList, flag, span } from '../rules.js';
import { type Column, tableOf } from '../table.js';

const COLUMNS: readonly Column<AwaitedExecution>[] = [
  { title: 'execution', of: ({ executionId }) => executionId },
  { title: 'type', flexible: true, of: ({ type }) => type },
  { title: 'state', state: true, of: ({ state }) => nameOf(ExecutionStateSchema, state) },
  { title: 'reason', spare: true, of: ({ outcome }) => nameOf(EndReasonSchema, outcome?.reason ?? 0) },
  { title: 'ended', spare: true, of: ({ outcome }, output) => output.time(outcome?.endTime) },
  { title: 'failure', flexible: true, spare: true, of: ({ outcome }) => outcome?.failure?.message ?? '' },
];

/** While a server restarts. */
const RETRY_MS = 30_000;

export const awaitExecutions = command({
  name: 'await',
  about: 'Wait until executions have ended.',
  details: 'Ends with 0 if they succeeded, with 1 if one ended otherwise or the time was over first.',
  arguments: { executions: argumentList('execution', 'Ids of 1 to 1000 executions.') },
  options: {
    any: flag('Until one of them has ended.'),
    for: span('Wait no longer than this. Default: without end.'),
  },
  examples: [
    ['Wait for two at most ten minutes', 'tailrace executions await 01890a5d-… 01890a5e-… --for 10m'],
    ['The result of one', "tailrace executions await 01890a5d-… --json | jq '.executions[0].outcome.result'"],
  ],
  async run(session, { executions, any, for: longest }) {
    const { output, signal, api } = session;
    const asked = {
      namespace: session.namespace,
      executionIds: [...executions],
      mode: any ? AwaitMode.ANY : AwaitMode.ALL,
      omitResults: !output.json,
    };
    // One quick look first: what is wrong with the question, or the connection, is to be told at once.
    const first = await api.completions.awaitExecutions({ ...asked, timeout: { seconds: 0n } }, session.bounds());
    const bounds = { signal, ...(longest && { timeoutMs: durationMs(longest) }) };
    const answer = first.done
      ? first
      : await awaiting(
          (timeout, call) => api.completions.awaitExecutions({ ...asked, timeout }, call),
          bounds,
          RETRY_MS,
        );
    const { executions: found } = answer;
    await output.write(
      output.json ? messageDocument(AwaitExecutionsResponseSchema, answer) : tableOf(COLUMNS, found, output),
    );
    if (!answer.done) output.note('the time was over first');
    const ended = found.filter(({ outcome }) => outcome);
    return answer.done && ended.every(({ state }) => state === ExecutionState.SUCCEEDED) ? EXIT.ok : EXIT.refused;
  },
});
