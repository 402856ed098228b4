/** ListLogEntries. */
import { create } from '@bufbuild/protobuf';
import { z } from 'zod';
import {
  type ListLogEntriesRequest,
  type ListLogEntriesResponse,
  ListLogEntriesResponseSchema,
} from '../../../gen/tailrace/v1/admin_service_pb.js';
import { StartPosition, StartPositionSchema } from '../../../gen/tailrace/v1/log_pb.js';
import { type CursorScope, cursorAt, resolveCursor } from '../../domain/cursor.js';
import { EngineError } from '../../domain/errors.js';
import { RecordFilter } from '../../log/filter.js';
import type { LogSource } from '../../log/source.js';
import { WatchMessage } from '../../log/watcher.js';
import { type LogHead, stepLog } from '../../repository/log/index.js';
import { monotonicMs, pause } from '../../runtime/clock.js';
import { toLogEntry } from '../completion/entries.js';
import { logFilter } from '../log-filter.js';
import { namespaceIn } from '../namespace-in.js';
import { Pages } from '../paging.js';
import {
  enumNumber,
  namespace,
  pageSize,
  pageToken,
  refuse,
  type Shape,
  text,
  timestamp,
  validate,
} from '../validation.js';
import type { AdminServiceDeps } from './deps.js';
import { type HistoryWanted, LogPages } from './log-pages.js';

const CURSOR_BYTES = 1_000;
/** Transactions numbered by one step, and the most steps. */
const STEP_ROWS = 512;
const MOST_STEPS = 20;
/** How long, and how often, it is tried while somebody else is at it. */
const SETTLE_MS = 2_000;
const BUSY_MS = 2;

const request = z
  .object({
    namespace,
    filter: z.object(logFilter).optional(),
    oldestFirst: z.boolean(),
    start: enumNumber(StartPositionSchema),
    cursor: text(CURSOR_BYTES),
    pageSize,
    pageToken,
    minCreateTime: timestamp,
    maxCreateTime: timestamp,
  } satisfies Shape<ListLogEntriesRequest>)
  .check((context) => {
    const { start, cursor } = context.value;
    if (cursor === '' || start === StartPosition.UNSPECIFIED) return;
    refuse(context.issues, start, 'must be absent when cursor is given', ['start']);
  });

export function listLogEntriesCall(deps: AdminServiceDeps) {
  const reader = new LogPages(deps.database, deps.source);
  return async (message: ListLogEntriesRequest): Promise<ListLogEntriesResponse> => {
    const { pageSize: size, pageToken: token, ...asked } = validate(request, message);
    const pages = new Pages('ListLogEntries', asked, ['position', 'position']);
    const [seq, position] = pages.keys(token) ?? [];
    const id = await namespaceIn(deps.registry, asked.namespace);
    const scope: CursorScope = {
      namespace: id,
      ...(token === '' ? await settledHead(deps, id) : await deps.source.head(id)),
    };
    if (position !== undefined && asked.oldestFirst && BigInt(position) <= scope.floor) throw pruned(scope);
    const { flowId: flow, executionId: execution, ...fields } = asked.filter ?? {};
    const page = await reader.read({
      history: await historyOf(deps.source, flow, execution),
      filter: new RecordFilter({ ...fields, namespace: id, flow, execution }),
      oldestFirst: asked.oldestFirst,
      first: position === undefined ? firstPosition(asked, scope) : BigInt(position),
      afterSeq: seq === undefined || seq === '0' ? undefined : BigInt(seq),
      bounds: { floor: scope.floor, head: scope.head },
      since: asked.minCreateTime,
      before: asked.maxCreateTime,
      size,
    });
    const shown = new WatchMessage(page.records, scope, scope.head);
    return create(ListLogEntriesResponseSchema, {
      entries: page.records.map((record) => toLogEntry(record, { namespace: id, message: shown, omitPayloads: false })),
      nextPageToken: pages.token(page.next && [page.next.afterSeq, page.next.position]),
      headCursor: cursorAt(scope, scope.head),
    });
  };
}

/** What the next page begins with has gone meanwhile. */
function pruned(scope: CursorScope): EngineError {
  return new EngineError('CURSOR_PRUNED', 'entries after this page are gone', {
    metadata: { earliest_cursor: cursorAt(scope, scope.floor) },
  });
}

/** With places for what was committed before the call: who has just changed something finds it in the log. */
async function settledHead({ database, source }: AdminServiceDeps, id: number): Promise<LogHead> {
  let head = await source.head(id);
  const untilMs = monotonicMs() + SETTLE_MS;
  for (let steps = 0; head.unnumbered && steps < MOST_STEPS && monotonicMs() < untilMs; ) {
    const step = await stepLog(database, STEP_ROWS);
    if (step.busy) await pause(BUSY_MS);
    else steps++;
    head = await source.head(id);
    if (!step.busy && !step.more) break;
  }
  return head;
}

/** The entries of a flow's members stand under the flow. */
async function historyOf(
  source: LogSource,
  flow: string | null | undefined,
  execution: string | null | undefined,
): Promise<HistoryWanted | undefined> {
  if (!execution) return flow ? { of: flow } : undefined;
  const of = flow ?? (await source.executions([execution])).get(execution)?.flow;
  return of ? { of, execution } : { of: execution };
}

type Start = Pick<z.output<typeof request>, 'oldestFirst' | 'start' | 'cursor'>;

/** A cursor stands right behind an entry that was seen: forwards the next one is the first, backwards the one before. */
function firstPosition({ oldestFirst, start, cursor }: Start, scope: CursorScope): bigint {
  if (cursor !== '') {
    const seen = resolveCursor(cursor, scope);
    return oldestFirst ? seen + 1n : seen - 1n;
  }
  const fromEarliest = start === StartPosition.EARLIEST || (start === StartPosition.UNSPECIFIED && oldestFirst);
  if (fromEarliest) return oldestFirst ? scope.floor + 1n : scope.floor;
  return oldestFirst ? scope.head + 1n : scope.head;
}
