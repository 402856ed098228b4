/** `tailrace retention …` */
import { durationFromMs, durationMs } from '@bufbuild/protobuf/wkt';
import { type RunRetentionResponse, RunRetentionResponseSchema } from '../../../gen/tailrace/v1/admin_service_pb.js';
import { monotonicMs } from '../../runtime/clock.js';
import { byteText } from '../byte-text.js';
import { command, group } from '../command.js';
import { messageDocument } from '../json.js';
import { ProgressLine } from '../progress.js';
import { flag, span } from '../rules.js';
import { tableOf } from '../table.js';
import { HOLDS } from './storage.js';

/** One call; the server permits 60 s. */
const STEP_MS = 5_000;

const run = command({
  name: 'run',
  about: 'Run retention now, until nothing more can go.',
  details: 'The server does the same by itself every few seconds; this is for when the disk is needed at once.',
  options: {
    dryRun: flag('Only say what would go.'),
    for: span('Stop after so long. Default: when nothing more can go.'),
  },
  examples: [
    ['What would go', 'tailrace retention run --dry-run -n "*"'],
    ['For half a minute', 'tailrace retention run --for 30s -n "*"'],
  ],
  async run(session, { dryRun, for: longest }) {
    const { output, signal, api, namespace } = session;
    const endMs = monotonicMs() + (longest ? durationMs(longest) : Number.POSITIVE_INFINITY);
    const progress = new ProgressLine(output);
    let sum: RunRetentionResponse | undefined;
    do {
      const stepMs = Math.max(100, Math.min(STEP_MS, endMs - monotonicMs()));
      const asked = { namespace, dryRun, maxDuration: durationFromMs(Math.floor(stepMs)) };
      sum = together(sum, await api.admin.runRetention(asked, session.bounds(stepMs)));
      progress.tell(undefined, sentence(sum));
    } while (sum.more && !dryRun && !signal.aborted && monotonicMs() < endMs);
    progress.end();
    if (output.json) await output.write(messageDocument(RunRetentionResponseSchema, sum));
    else {
      await output.write(
        `${dryRun ? 'would go: ' : ''}${sentence(sum)}${sum.more && !dryRun ? '; there is more to do' : ''}`,
      );
      if (sum.holds.length > 0) await output.write(`\n${tableOf(HOLDS, sum.holds, output)}`);
    }
    return undefined;
  },
});

/** Counts add up; what holds is as the last one says. */
function together(before: RunRetentionResponse | undefined, now: RunRetentionResponse): RunRetentionResponse {
  if (!before) return now;
  return {
    ...now,
    retiredExecutionCount: before.retiredExecutionCount + now.retiredExecutionCount,
    droppedPartitionCount: before.droppedPartitionCount + now.droppedPartitionCount,
    keptRowCount: before.keptRowCount + now.keptRowCount,
    purgedDeadLetterCount: before.purgedDeadLetterCount + now.purgedDeadLetterCount,
    droppedEntryCount: before.droppedEntryCount + now.droppedEntryCount,
    freedByteCount: before.freedByteCount + now.freedByteCount,
  };
}

function sentence(is: RunRetentionResponse): string {
  return [
    `${is.retiredExecutionCount} executions`,
    `${is.droppedEntryCount} log entries`,
    `${is.purgedDeadLetterCount} dead letters`,
    `${is.droppedPartitionCount} partitions`,
    byteText(is.freedByteCount),
    `${is.keptRowCount} rows kept`,
  ].join(', ');
}

export const retention = group('retention', 'Run retention now.', [run]);
