/**
 * CompletionService: what is watched, awaited or followed. Every reader shares the process's one reader of the log, and
 * a record that goes to a hundred watchers is converted once.
 */
import { create } from '@bufbuild/protobuf';
import type { HandlerContext, ServiceImpl } from '@connectrpc/connect';
import {
  CompletionService,
  type WatchCompletionsRequest,
  type WatchCompletionsResponse,
  WatchCompletionsResponseSchema,
  type WatchLogRequest,
  type WatchLogResponse,
  WatchLogResponseSchema,
} from '../../../gen/tailrace/v1/completion_service_pb.js';
import type { AfterCommit } from '../../dispatch/after-commit.js';
import type { ConsumerWakes } from '../../dispatch/consumer-wakes.js';
import { ALL_NAMESPACES } from '../../domain/cursor.js';
import type { FrameHub } from '../../frames/hub.js';
import type { FrameSource } from '../../frames/source.js';
import { RecordFilter } from '../../log/filter.js';
import type { LiveLog } from '../../log/live-log.js';
import type { LogPages } from '../../log/pages.js';
import type { WatchMessage } from '../../log/watcher.js';
import type { Runner } from '../../repository/database.js';
import { toTimestamp } from '../conversion/times.js';
import type { PayloadLimits } from '../payload-limits.js';
import { withUnimplemented } from '../unimplemented.js';
import { validate } from '../validation.js';
import { awaitExecutions } from './await.js';
import { awaitFlow } from './await-flow.js';
import { acquireConsumerCall } from './consumers/acquire.js';
import { awaitConsumerCall } from './consumers/await.js';
import { commitEntriesCall } from './consumers/commit.js';
import { failEntryCall } from './consumers/fail.js';
import { fetchEntriesCall } from './consumers/fetch.js';
import { releaseConsumerCall } from './consumers/release.js';
import { remembering, toCompletionEntry, toLogEntry } from './entries.js';
import { readFramesCall } from './frames/read.js';
import { getFrameSummaryCall } from './frames/summary.js';
import { tailFramesCall } from './frames/tail.js';
import { startOf, watchCompletionsRequest, watchLogRequest } from './requests.js';
import { watchFlow } from './watch-flow.js';

export interface CompletionDependencies {
  readonly live: LiveLog;
  /** What consumers read the log through. */
  readonly pages: LogPages;
  /** Makes it where the caller may, and refuses where it is not there. */
  readonly namespaceId: (name: string, context: Pick<HandlerContext, 'values'>) => Promise<number>;
  readonly database: Runner;
  readonly frames: FrameHub;
  readonly frameSource: FrameSource;
  readonly after: AfterCommit;
  readonly consumerWakes: ConsumerWakes;
  /** Knows the limits of namespaces. */
  readonly registry: PayloadLimits['registry'];
  /** Largest details of a failure. */
  readonly maxPayloadBytes: number;
}

export function completionService(dependencies: CompletionDependencies): ServiceImpl<typeof CompletionService> {
  const { live, namespaceId } = dependencies;
  const completionEntry = remembering(toCompletionEntry);
  const logEntry = remembering(toLogEntry);
  const scopeOf = async (name: string, context: HandlerContext) =>
    name === '*' ? ALL_NAMESPACES : await namespaceId(name, context);
  const heartbeat = (message: WatchMessage) => ({ cursor: message.cursor, serverTime: toTimestamp(live.now()) });

  async function* watchCompletions(
    request: WatchCompletionsRequest,
    context: HandlerContext,
  ): AsyncGenerator<WatchCompletionsResponse> {
    const asked = validate(watchCompletionsRequest, request);
    const namespace = await scopeOf(asked.namespace, context);
    const { flowId: flow, ...fields } = asked.filter ?? {};
    const filter = new RecordFilter({ ...fields, namespace, flow, terminal: true });
    for await (const message of live.watch({ namespace, start: startOf(asked), filter }, context.signal)) {
      const shown = { namespace, message, omitPayloads: asked.omitResults };
      const entries = message.records.map((record) => completionEntry(record, shown));
      yield create(
        WatchCompletionsResponseSchema,
        entries.length > 0 ? { entries } : { heartbeat: heartbeat(message) },
      );
    }
  }

  async function* watchLog(request: WatchLogRequest, context: HandlerContext): AsyncGenerator<WatchLogResponse> {
    const asked = validate(watchLogRequest, request);
    const namespace = await scopeOf(asked.namespace, context);
    const { flowId: flow, executionId: execution, ...fields } = asked.filter ?? {};
    const filter = new RecordFilter({ ...fields, namespace, flow, execution });
    for await (const message of live.watch({ namespace, start: startOf(asked), filter }, context.signal)) {
      const shown = { namespace, message, omitPayloads: asked.omitPayloads };
      const entries = message.records.map((record) => logEntry(record, shown));
      yield create(WatchLogResponseSchema, entries.length > 0 ? { entries } : { heartbeat: heartbeat(message) });
    }
  }

  return withUnimplemented(CompletionService, {
    watchCompletions,
    watchLog,
    awaitExecutions: awaitExecutions(dependencies),
    watchFlow: watchFlow(dependencies, logEntry),
    awaitFlow: awaitFlow(dependencies),
    awaitConsumer: awaitConsumerCall(dependencies),
    acquireConsumer: acquireConsumerCall(dependencies),
    fetchEntries: fetchEntriesCall(dependencies, logEntry),
    commitEntries: commitEntriesCall(dependencies),
    failEntry: failEntryCall(dependencies),
    releaseConsumer: releaseConsumerCall(dependencies),
    tailFrames: tailFramesCall(dependencies),
    readFrames: readFramesCall(dependencies),
    getFrameSummary: getFrameSummaryCall(dependencies),
  });
}
