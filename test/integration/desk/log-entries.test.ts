/** ListLogEntries: both directions, from anywhere, filtered, and nothing twice or left out. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { FailureClass } from '../../../gen/tailrace/v1/attempt_pb.js';
import { ExecutionState } from '../../../gen/tailrace/v1/execution_state_pb.js';
import { type LogEntry, LogEntryKind, StartPosition } from '../../../gen/tailrace/v1/log_pb.js';
import { RecordFilter } from '../../../src/log/filter.js';
import { DatabaseLogSource } from '../../../src/log/source.js';
import { LogPages } from '../../../src/services/admin/log-pages.js';
import { refusal } from '../../support/by-hand.js';
import { type Desk, startDesk } from '../../support/desk.js';

let desk: Desk;
const ids: string[] = [];

beforeAll(async () => {
  desk = await startDesk();
  for (let i = 0; i < 6; i++) {
    const lane = i % 2 ? 'odd' : 'even';
    ids.push(await desk.hand.createOne({ lane, type: `type-${i}`, tags: { parity: lane } }));
  }
  await desk.hand.complete(await desk.hand.claimNamed(ids[0] ?? ''), 'a result');
  await desk.hand.fail(await desk.hand.claimNamed(ids[1] ?? ''), FailureClass.PERMANENT);
  await desk.handIn('elsewhere').createOne({ lane: 'odd' });
  await desk.caughtUp();
});
afterAll(async () => {
  await desk.stop();
});

async function all(request: object, pageSize = 3): Promise<LogEntry[]> {
  const entries: LogEntry[] = [];
  let pageToken = '';
  do {
    const page = await desk.admin.listLogEntries({ ...request, pageSize, pageToken });
    expect(page.entries.length).toBeLessThanOrEqual(pageSize);
    entries.push(...page.entries);
    pageToken = page.nextPageToken;
  } while (pageToken !== '');
  return entries;
}

const cursors = (entries: readonly LogEntry[]) => entries.map(({ cursor }) => cursor);

describe('ListLogEntries', () => {
  it('goes forth and back over the same entries', async () => {
    const forth = await all({ oldestFirst: true });
    const back = await all({});
    expect(cursors(back)).toEqual(cursors(forth).reverse());
    expect(new Set(cursors(forth)).size).toBe(forth.length);
    expect(
      forth.filter(({ kind }) => kind === LogEntryKind.EXECUTION_CREATED).map(({ executionId }) => executionId),
    ).toEqual(ids);
    expect(forth.every(({ namespace }) => namespace === 'default')).toBe(true);
    expect((await all({ namespace: 'elsewhere' })).map(({ kind, lane }) => [kind, lane])).toEqual([
      [LogEntryKind.EXECUTION_CREATED, 'odd'],
    ]);
    expect(await all({ namespace: 'never used' })).toEqual([]);
  });

  it('begins at a cursor, at the earliest, or after the latest', async () => {
    const entries = await all({ oldestFirst: true });
    const middle = entries[4]?.cursor ?? '';
    expect(cursors(await all({ oldestFirst: true, cursor: middle }))).toEqual(cursors(entries.slice(5)));
    expect(cursors(await all({ cursor: middle }))).toEqual(cursors(entries.slice(0, 4)).reverse());
    expect(await all({ oldestFirst: true, start: StartPosition.LATEST })).toEqual([]);
    expect(await all({ start: StartPosition.EARLIEST })).toEqual([]);
    const { headCursor } = await desk.admin.listLogEntries({ pageSize: 1 });
    expect(await all({ oldestFirst: true, cursor: headCursor })).toEqual([]);
  });

  it('filters by kind, lane, type, tags, execution and time', async () => {
    const ended = await all({ filter: { kinds: [LogEntryKind.EXECUTION_SUCCEEDED, LogEntryKind.EXECUTION_FAILED] } });
    expect(ended.map(({ executionId, toState }) => [executionId, toState])).toEqual([
      [ids[1], ExecutionState.FAILED],
      [ids[0], ExecutionState.SUCCEEDED],
    ]);
    expect(ended[1]?.body).toMatchObject({ case: 'outcome', value: { result: { body: { value: 'a result' } } } });
    const created = { kinds: [LogEntryKind.EXECUTION_CREATED] };
    const createdIds = async (filter: object) =>
      (await all({ oldestFirst: true, filter: { ...created, ...filter } })).map(({ executionId }) => executionId);
    expect(await createdIds({ lanes: ['odd'] })).toEqual([ids[1], ids[3], ids[5]]);
    expect(await createdIds({ types: ['type-2', 'type-3'] })).toEqual([ids[2], ids[3]]);
    expect(await createdIds({ tags: { parity: 'even' } })).toEqual([ids[0], ids[2], ids[4]]);
    const own = await all({ oldestFirst: true, filter: { executionId: ids[1] } }, 2);
    expect(own.map(({ kind }) => kind)).toEqual([
      LogEntryKind.EXECUTION_CREATED,
      LogEntryKind.ATTEMPT_STARTED,
      LogEntryKind.ATTEMPT_ENDED,
      LogEntryKind.EXECUTION_FAILED,
      LogEntryKind.DEAD_LETTER_OPENED,
    ]);
    expect(cursors(await all({ filter: { executionId: ids[1] } }, 2))).toEqual(cursors(own).reverse());
    expect(await all({ namespace: 'elsewhere', filter: { executionId: ids[1] } })).toEqual([]);
    const [, second] = own;
    const since = await all({ oldestFirst: true, filter: { executionId: ids[1] }, minCreateTime: second?.createTime });
    expect(cursors(since)).toEqual(cursors(own.slice(1)));
    const before = await all({ filter: { executionId: ids[1] }, maxCreateTime: second?.createTime });
    expect(cursors(before)).toEqual(cursors(own.slice(0, 1)));
  });

  it('refuses two beginnings and foreign cursors', async () => {
    const { headCursor } = await desk.admin.listLogEntries({});
    const both = { cursor: headCursor, start: StartPosition.LATEST };
    expect(await refusal(desk.admin.listLogEntries(both))).toMatchObject({ fieldViolations: [{ field: 'start' }] });
    const foreign = { namespace: 'elsewhere', cursor: headCursor };
    expect(await refusal(desk.admin.listLogEntries(foreign))).toMatchObject({ reason: 'BAD_CURSOR' });
  });

  it('reads stretches that are smaller than a transaction, and cuts pages inside one', async () => {
    const { database } = desk.core;
    const source = new DatabaseLogSource(database, { pageEntries: 2 });
    const pages = new LogPages(database, source);
    const { floor, head } = await source.head();
    for (const oldestFirst of [true, false]) {
      const seen: bigint[] = [];
      let next: { position: bigint; afterSeq: bigint } | undefined = {
        position: oldestFirst ? 1n : head,
        afterSeq: 0n,
      };
      while (next !== undefined) {
        const page: Awaited<ReturnType<LogPages['read']>> = await pages.read({
          history: undefined,
          filter: new RecordFilter({ namespace: 1 }),
          oldestFirst,
          first: next.position,
          afterSeq: undefined,
          bounds: { floor, head },
          since: null,
          before: null,
          size: 1,
        });
        seen.push(...page.records.map(({ entry }) => entry.position));
        ({ next } = page);
      }
      const inOrder = [...seen].sort((a, b) => Number(a - b));
      expect(seen).toEqual(oldestFirst ? inOrder : inOrder.reverse());
      expect(seen.length).toBe(Number(head) - 1); // all but the other namespace's entry
    }
  });
});
