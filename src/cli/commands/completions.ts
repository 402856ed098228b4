/** `tailrace completions …` */
import { timestampMs } from '@bufbuild/protobuf/wkt';
import { EndReasonSchema, ExecutionState, ExecutionStateSchema } from '../../../gen/tailrace/v1/execution_state_pb.js';
import { type CompletionEntry, CompletionEntrySchema } from '../../../gen/tailrace/v1/log_pb.js';
import { command, group } from '../command.js';
import { nameOf } from '../enum-words.js';
import { fields } from '../fields.js';
import { FOLLOW, followed } from '../following.js';
import { type Output, plain } from '../output.js';
import { choices, flag, pairs, text, texts } from '../rules.js';
import { timeText } from '../spans.js';
import { colored } from '../table.js';
import { UsageError } from '../usage-error.js';

const tail = command({
  name: 'tail',
  about: 'Follow executions as they end.',
  details: 'Resumes by itself after a lost connection, without a gap and without a repeat.',
  options: {
    lane: texts('lane', 'Only those of this lane.', { names: 'lanes' }),
    type: texts('type', 'Only those of this type.'),
    flow: text('flow', 'Only members of this flow.'),
    tag: pairs('Only those with this tag.'),
    state: choices(ExecutionStateSchema, 'Only those that end in this state.'),
    results: flag('With results up to 64 KiB each (seen with --json).'),
    ...FOLLOW,
  },
  examples: [
    ['What does not end well', 'tailrace completions tail --state failed,expired,canceled'],
    [
      'The next result of a type',
      "tailrace completions tail --type report --limit 1 --results --json | jq '.outcome.result'",
    ],
  ],
  async run(session, given) {
    if (given.state.some((state) => state < ExecutionState.SUCCEEDED)) {
      throw new UsageError('--state must be one that executions end in: succeeded, failed, canceled, expired, skipped');
    }
    const filter = fields({
      lanes: [...given.lane],
      types: [...given.type],
      flowId: given.flow,
      tags: { ...given.tag },
      outcomes: [...given.state],
    });
    const asked = { namespace: session.namespace, filter, omitResults: !given.results };
    return await followed<typeof CompletionEntrySchema>(
      session,
      given,
      CompletionEntrySchema,
      (start, signal) => session.api.completions.watchCompletions({ ...asked, ...start }, { signal }),
      (entry) => lineOf(entry, session.output),
    );
  },
});

function lineOf({ executionId, type, lane, flowId, outcome }: CompletionEntry, output: Output): string {
  const parts = [
    output.style('dim', outcome?.endTime ? timeText(timestampMs(outcome.endTime)) : ''),
    colored(nameOf(ExecutionStateSchema, outcome?.state ?? 0), output),
    plain(type),
    executionId,
    `lane=${plain(lane)}`,
    flowId && `flow=${flowId}`,
    nameOf(EndReasonSchema, outcome?.reason ?? 0),
    plain(outcome?.failure?.message ?? outcome?.cancelReason ?? ''),
  ];
  return parts.filter((part) => part !== '').join(' ');
}

export const completions = group('completions', 'Follow executions as they end.', [tail]);
