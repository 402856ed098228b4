/** `tailrace flows watch`: how a flow stands, then what happens to it, until it has ended. */
import { EndReasonSchema } from '../../../gen/tailrace/v1/execution_state_pb.js';
import { type Flow, FlowSchema, FlowState, FlowStateSchema } from '../../../gen/tailrace/v1/flow_pb.js';
import { LogEntrySchema } from '../../../gen/tailrace/v1/log_pb.js';
import { FlowWatch } from '../../client/flow-watch.js';
import { command } from '../command.js';
import { nameOf } from '../enum-words.js';
import { EXIT } from '../exit-codes.js';
import { line } from '../json.js';
import { type Output, plain } from '../output.js';
import { argument } from '../rules.js';
import { entryLine } from './entry-line.js';
import { countsOf } from './flows-read.js';

export const watchFlow = command({
  name: 'watch',
  about: 'Follow a flow until it has ended.',
  details:
    'Ends with 0 if it succeeded, else with 1. With --json the first line is the flow as it stands, the last one as it ended, ' +
    'those between are entries of the log.',
  arguments: { flow: argument('flow', 'Id of the flow.') },
  examples: [['From now to its end', 'tailrace flows watch 01890a5d-…']],
  async run(session, { flow }) {
    const { output, signal, api } = session;
    const asked = { namespace: session.namespace, flowId: flow, omitPayloads: !output.json };
    const onInterruption = ({ message }: Error) => output.note(`the connection is lost (${message}); trying again`);
    const watch = await FlowWatch.open(
      (cursor, aborted) => api.completions.watchFlow({ ...asked, cursor }, { signal: aborted }),
      { signal, onInterruption },
      0,
    );
    await output.write(flowLine(watch.flow, output, countsOf(watch.flow)));
    for await (const entry of watch)
      await output.write(output.json ? line(LogEntrySchema, entry) : entryLine(entry, output));
    if (signal.aborted) return undefined;
    // Counts follow a little later, and would contradict the state.
    await output.write(flowLine(watch.flow, output, ''));
    return watch.flow.state === FlowState.SUCCEEDED ? EXIT.ok : EXIT.refused;
  },
});

function flowLine(flow: Flow, output: Output, counts: string): string {
  if (output.json) return line(FlowSchema, flow);
  const { flowId, state, lastFailure } = flow;
  const failure = lastFailure
    ? `; last failure: ${nameOf(EndReasonSchema, lastFailure.reason)} ${plain(lastFailure.failure?.message ?? '')}`
    : '';
  return `flow ${flowId} is ${nameOf(FlowStateSchema, state)}${counts && `: ${counts}`}${failure}`;
}
