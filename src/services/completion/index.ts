/** CompletionService: what is watched, awaited or followed. Every reader shares the process's one reader of the log. */
import { create } from '@bufbuild/protobuf';
import type { HandlerContext, ServiceImpl } from '@connectrpc/connect';
import {
  type AwaitExecutionsRequest,
  AwaitExecutionsResponseSchema,
  AwaitMode,
  CompletionService,
  type WatchCompletionsRequest,
  type WatchCompletionsResponse,
  WatchCompletionsResponseSchema,
  type WatchLogRequest,
  type WatchLogResponse,
  WatchLogResponseSchema,
} from '../../../gen/tailrace/v1/completion_service_pb.js';
import { ALL_NAMESPACES } from '../../domain/cursor.js';
import { EngineError } from '../../domain/errors.js';
import { RecordFilter } from '../../log/filter.js';
import type { LiveLog } from '../../log/live-log.js';
import type { WatchMessage } from '../../log/watcher.js';
import { withEither } from '../../runtime/either-signal.js';
import { toTimestamp } from '../conversion/times.js';
import { drainingOf } from '../draining.js';
import { withUnimplemented } from '../unimplemented.js';
import { check } from './check.js';
import { remembering, toCompletionEntry, toLogEntry } from './entries.js';
import { toOutcome } from './outcome.js';
import { awaitExecutionsRules, startOf, watchCompletionsRules, watchLogRules } from './requests.js';

export interface CompletionDependencies {
  readonly live: LiveLog;
  /** Number of a namespace; refuses a name that does not exist. Empty means the caller's own. */
  readonly namespaceId: (name: string) => Promise<number>;
}

export function completionService({
  live,
  namespaceId,
}: CompletionDependencies): ServiceImpl<typeof CompletionService> {
  const completionEntry = remembering(toCompletionEntry);
  const logEntry = remembering(toLogEntry);
  const scopeOf = async (name: string) => (name === '*' ? ALL_NAMESPACES : await namespaceId(name));
  const heartbeat = ({ cursor }: WatchMessage) => ({ cursor, serverTime: toTimestamp(live.now()) });

  async function* watchCompletions(
    request: WatchCompletionsRequest,
    context: HandlerContext,
  ): AsyncGenerator<WatchCompletionsResponse> {
    const { filter, omitResults, ...begin } = check(watchCompletionsRules, request);
    const namespace = await scopeOf(begin.namespace);
    const { flowId: flow, ...fields } = filter ?? {};
    const wanted = {
      namespace,
      start: startOf(begin),
      filter: new RecordFilter({ ...fields, namespace, flow, terminal: true }),
    };
    for await (const message of live.watch(wanted, context.signal)) {
      const shown = { namespace, cursorOf: message.cursorOf, omitPayloads: omitResults };
      const entries = message.records.map((record) => completionEntry(record, shown));
      yield create(
        WatchCompletionsResponseSchema,
        entries.length > 0 ? { entries } : { heartbeat: heartbeat(message) },
      );
    }
  }

  async function* watchLog(request: WatchLogRequest, context: HandlerContext): AsyncGenerator<WatchLogResponse> {
    const { filter, omitPayloads, ...begin } = check(watchLogRules, request);
    const namespace = await scopeOf(begin.namespace);
    const { flowId: flow, executionId: execution, eventTypes = [], streams = [], ...fields } = filter ?? {};
    if (eventTypes.length > 0 || streams.length > 0) {
      throw new EngineError('UNIMPLEMENTED', 'there are no events yet, so filters on them are not built');
    }
    const wanted = {
      namespace,
      start: startOf(begin),
      filter: new RecordFilter({ ...fields, namespace, flow, execution }),
    };
    for await (const message of live.watch(wanted, context.signal)) {
      const shown = { namespace, cursorOf: message.cursorOf, omitPayloads };
      const entries = message.records.map((record) => logEntry(record, shown));
      yield create(WatchLogResponseSchema, entries.length > 0 ? { entries } : { heartbeat: heartbeat(message) });
    }
  }

  async function awaitExecutions(request: AwaitExecutionsRequest, context: HandlerContext) {
    const { executionIds: ids, mode, timeout = 0, omitResults, ...rest } = check(awaitExecutionsRules, request);
    const namespace = await namespaceId(rest.namespace);
    const any = mode === AwaitMode.ANY;
    // A server that drains answers with what is known by then; the caller asks on elsewhere.
    const known = await withEither([context.signal, drainingOf(context)], (signal) =>
      live.awaitEnds({ namespace, ids, any, timeoutMs: timeout }, signal),
    );
    const executions = ids.map((id) => {
      const found = known.get(id);
      if (found) return found;
      throw new EngineError('EXECUTION_NOT_FOUND', `there is no execution ${id}`, { metadata: { execution_id: id } });
    });
    const ended = executions.filter(({ outcome }) => outcome !== undefined).length;
    return create(AwaitExecutionsResponseSchema, {
      done: any ? ended > 0 : ended === ids.length,
      executions: executions.map(({ id, state, outcome, type, lane, createdAt }) => ({
        executionId: id,
        state,
        type,
        lane,
        createTime: toTimestamp(createdAt),
        ...(outcome && { outcome: toOutcome(outcome, omitResults) }),
      })),
    });
  }

  return withUnimplemented(CompletionService, { watchCompletions, watchLog, awaitExecutions });
}
