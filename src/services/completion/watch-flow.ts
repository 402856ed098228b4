/**
 * WatchFlow: a flow's state, what happens to it from there on, and its state when it has ended.
 *
 * The head is read before the state that is shown first, so whatever that state lacks comes as an entry: a state younger
 * than its cursor shows what comes again, an older one would leave a gap. The state is shown as the last only when
 * everything the log says of the flow was handed out: the flow's row and its last entry are looked at in one snapshot,
 * and a flow that was reopened since is followed on.
 */
import { create } from '@bufbuild/protobuf';
import { timestampMs } from '@bufbuild/protobuf/wkt';
import type { HandlerContext } from '@connectrpc/connect';
import {
  type WatchFlowRequest,
  type WatchFlowResponse,
  WatchFlowResponseSchema,
} from '../../../gen/tailrace/v1/completion_service_pb.js';
import type { Flow } from '../../../gen/tailrace/v1/flow_pb.js';
import type { LogEntry } from '../../../gen/tailrace/v1/log_pb.js';
import { cursorAt } from '../../domain/cursor.js';
import { isFlowEnd } from '../../domain/states.js';
import { RecordFilter } from '../../log/filter.js';
import type { LogRecord } from '../../log/record.js';
import type { WatchMessage } from '../../log/watcher.js';
import { toTimestamp } from '../conversion/times.js';
import { validate } from '../validation.js';
import type { Shown } from './entries.js';
import { presentFlow } from './flow.js';
import type { CompletionDependencies } from './index.js';
import { watchFlowRequest } from './requests.js';

type Standing = Awaited<ReturnType<CompletionDependencies['live']['flow']>>;

export function watchFlow(
  { live, database, namespaceId }: CompletionDependencies,
  logEntry: (record: LogRecord, shown: Shown) => LogEntry,
) {
  const heartbeat = ({ cursor }: WatchMessage) => ({ cursor, serverTime: toTimestamp(live.now()) });

  return async function* (
    request: WatchFlowRequest,
    context: Pick<HandlerContext, 'signal' | 'values'>,
  ): AsyncGenerator<WatchFlowResponse> {
    const { flowId, cursor, omitPayloads, ...asked } = validate(watchFlowRequest, request);
    const namespace = await namespaceId(asked.namespace, context);
    const stand = () => live.flow(namespace, flowId);
    // A cursor is looked at before the flow is, so that a foreign one tells nothing of flows.
    let standing = cursor === '' ? await stand() : undefined;
    const start = { cursor: standing ? cursorAt(standing, standing.head) : cursor };
    const read = ({ incarnation }: Standing) =>
      presentFlow(database, { namespace: { id: namespace, name: asked.namespace }, flow: flowId, incarnation });
    const filter = new RecordFilter({ namespace, flow: flowId });
    let first: Flow | undefined;
    for await (const message of live.watch({ namespace, start, filter }, context.signal)) {
      const { records } = message;
      standing ??= await stand();
      let flow: Flow | undefined;
      if (first === undefined) {
        first = flow = await read(standing);
        yield create(WatchFlowResponseSchema, { flow, heartbeat: heartbeat(message) });
        if (cursor === '' && isFlowEnd(flow.state)) return;
      } else if (records.length > 0) {
        const shown = { namespace, message, omitPayloads };
        yield create(WatchFlowResponseSchema, { entries: records.map((record) => logEntry(record, shown)) });
      } else {
        yield create(WatchFlowResponseSchema, { heartbeat: heartbeat(message) });
      }
      if (records.some(({ milestone }) => milestone) || isUnnumbered(standing)) standing = await stand();
      while (isComplete(standing, message)) {
        flow ??= await read(standing);
        if (isFinal(flow, standing)) {
          if (flow !== first) yield create(WatchFlowResponseSchema, { flow, heartbeat: heartbeat(message) });
          return;
        }
        flow = undefined;
        standing = await stand();
      }
    }
  };
}

/** It has ended, and its last entry has no position yet. */
function isUnnumbered({ state, lastPosition }: Standing): boolean {
  return isFlowEnd(state) && lastPosition === undefined;
}

/** It has ended, and what the log says of it was handed out. */
function isComplete({ state, lastPosition }: Standing, { upTo }: WatchMessage): boolean {
  return isFlowEnd(state) && lastPosition !== undefined && lastPosition <= upTo;
}

/** The end is still the one that was looked at: the flow was not reopened since. */
function isFinal({ state, settleTime }: Flow, { settledAt }: Standing): boolean {
  return isFlowEnd(state) && settleTime !== undefined && timestampMs(settleTime) === settledAt?.getTime();
}
