/**
 * The log lets go of its past: each namespace's in its own time, and the disk's when nobody sees it any more. Whoever was left
 * behind is told so and told where to go on; whoever asked to be waited for is waited for, and that is told too.
 */
import pg from 'pg';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { FailureClass } from '../../gen/tailrace/v1/attempt_pb.js';
import { ConsumerState } from '../../gen/tailrace/v1/consumer_pb.js';
import { type LogEntry, LogEntryKind, StartPosition } from '../../gen/tailrace/v1/log_pb.js';
import { decodeCursor } from '../../src/domain/cursor.js';
import { sweepKeys } from '../../src/repository/retention/index.js';
import { verify } from '../../src/repository/verification/index.js';
import { pause, wallMs } from '../../src/runtime/clock.js';
import { refusal, seconds, text } from '../support/by-hand.js';
import { ConsumersByHand, entriesOf, payloadsOf } from '../support/consumers-by-hand.js';
import { eventually } from '../support/eventually.js';
import { startTailrace, type TestTailrace } from '../support/tailrace.js';

let tailrace: TestTailrace;
let hand: ConsumersByHand;
let following: Following;

beforeAll(async () => {
  tailrace = await startTailrace({
    environment: { TAILRACE_RETENTION: '1h', TAILRACE_LEAST_RETENTION: '1s', TAILRACE_LOG_PARTITION_ROWS: '1000' },
  });
  hand = new ConsumersByHand(tailrace);
  following = new Following(tailrace);
});
afterAll(async () => {
  await following.stop();
  await tailrace.stop();
});

const positionOf = (cursor: string) => decodeCursor(cursor).positions[0]?.position ?? -1n;

/** A watch of everything, from the beginning, that stays open over all of this. */
class Following {
  readonly positions: bigint[] = [];
  readonly #stop = new AbortController();
  readonly #done: Promise<unknown>;

  constructor({ completion }: TestTailrace) {
    const watch = async () => {
      const start = { start: StartPosition.EARLIEST, namespace: '*' };
      for await (const { entries } of completion.watchLog(start, { signal: this.#stop.signal })) {
        this.positions.push(...entries.map(({ cursor }) => positionOf(cursor)));
      }
    };
    this.#done = watch().catch((error: unknown) => error);
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#done;
  }
}

const keepLog = async (namespace: string, secondsKept: number) =>
  await tailrace.admin.putNamespace({ namespace, settings: { retention: { log: seconds(secondsKept) } } });

const earliest = async (namespace: string): Promise<LogEntry | undefined> => {
  const { entries } = await tailrace.admin.listLogEntries({ namespace, oldestFirst: true, pageSize: 1 });
  return entries[0];
};

interface Retired {
  partitions: number;
  entries: number;
}

/** Runs retention, and has the log go on, until it is so. */
async function retireUntil(isSo: (retired: Retired) => Promise<boolean> | boolean): Promise<Retired> {
  const retired: Retired = { partitions: 0, entries: 0 };
  const untilMs = wallMs() + 30_000;
  for (;;) {
    const run = await tailrace.admin.runRetention({ namespace: '*' });
    retired.partitions += Number(run.droppedPartitionCount);
    retired.entries += Number(run.droppedEntryCount);
    if (await isSo(retired)) return retired;
    if (wallMs() > untilMs)
      throw new Error(
        `retention does not get there: ${JSON.stringify(run.holds, (_, value) => (typeof value === 'bigint' ? `${value}` : value))}`,
      );
    await pause(50);
    await hand.publish({ type: 'goes on' });
  }
}

const firstOf = async <T extends { readonly cursor: string }>(watch: AsyncIterable<{ entries: T[] }>): Promise<T> => {
  for await (const { entries } of watch) if (entries[0]) return entries[0];
  throw new Error('the watch has ended');
};

it('shows each namespace its own part of the past', async () => {
  await tailrace.engine.createExecutions({ namespace: 'short', executions: [{ type: 'a' }, { type: 'b' }] });
  await tailrace.engine.publishEvents({ namespace: 'short', events: [{ type: 'old' }] });
  await hand.publish({ type: 'kept' });
  const first = await earliest('short');
  const firstKept = await earliest('default');
  await keepLog('short', 1);
  const retired = await retireUntil(async () => (await earliest('short'))?.cursor !== first?.cursor);
  expect(retired).toEqual({ partitions: 0, entries: 0 }); // the other one sees all of it
  expect((await earliest('default'))?.cursor).toBe(firstKept?.cursor);
  const behind = { namespace: 'short', cursor: first?.cursor ?? '' };
  const calls = {
    watchLog: () => firstOf(tailrace.completion.watchLog(behind)),
    watchCompletions: () => firstOf(tailrace.completion.watchCompletions(behind)),
    list: () => tailrace.admin.listLogEntries({ ...behind, oldestFirst: true }),
    consumer: () =>
      tailrace.admin.putConsumer({ namespace: 'short', consumer: { name: 'late', cursor: behind.cursor } }),
    subscription: () =>
      tailrace.admin.putSubscription({
        namespace: 'short',
        subscription: { name: 'late', type: 'a', lane: 'a', cursor: behind.cursor },
      }),
  };
  for (const call of Object.values(calls)) {
    const { reason, metadata } = await refusal(call());
    expect(reason).toBe('CURSOR_PRUNED');
    expect(positionOf(metadata['earliest_cursor'] ?? '')).toBeGreaterThan(positionOf(behind.cursor));
  }
  await keepLog('short', 3_600);
  await tailrace.engine.publishEvents({ namespace: 'short', events: [{ type: 'new' }] });
  const fromEarliest = tailrace.completion.watchLog({ namespace: 'short', start: StartPosition.EARLIEST });
  expect(positionOf((await firstOf(fromEarliest)).cursor)).toBeGreaterThan(positionOf(behind.cursor));
  await keepLog('short', 1); // it is in nobody's way below
});

it('drops what nobody sees, beside readers who do not notice, and goes on without a gap', async () => {
  const asked = { namespace: '', oldestFirst: true, pageSize: 1 };
  const { nextPageToken: pageToken } = await tailrace.admin.listLogEntries(asked);
  const flow = await hand.publishOne({ type: 'of a flow', eventId: 'remembered' });
  await hand.fail(await hand.claimNamed(await hand.createOne()), FailureClass.PERMANENT);
  await keepLog('default', 1);
  const dry = await tailrace.admin.runRetention({ namespace: '*', dryRun: true });
  expect(dry).toMatchObject({ droppedPartitionCount: 0n });
  const { entries } = await retireUntil(({ partitions }) => partitions > 1);
  expect(entries).toBeGreaterThan(5);
  expect((await refusal(tailrace.admin.listLogEntries({ ...asked, pageToken }))).reason).toBe('CURSOR_PRUNED');
  // What was published is known for longer than the log tells where.
  const [again] = await hand.publish({ type: 'of a flow', eventId: 'remembered' });
  expect(again).toMatchObject({ duplicate: true, cursor: '', flowId: flow.flowId });
  const { entries: left } = await tailrace.admin.listLogEntries({ filter: { flowId: flow.flowId } });
  expect(left).toEqual([]);
  const { positions } = following;
  await eventually(() => positions.length > entries);
  expect(positions).toEqual(positions.map((_, i) => BigInt(i + 1)));
});

it('halts a consumer that it leaves behind, tells so, and lets it be reset', async () => {
  await hand.consumer('behind', { filter: { eventTypes: ['work'] } });
  const [lost] = await hand.publish({ type: 'work', payload: text('lost') });
  const owner = await hand.owner('behind', { leaseDuration: seconds(60) });
  expect(entriesOf(await owner.fetch({ wait: seconds(5) }))).toHaveLength(1);
  await tailrace.admin.rebuildConsumer({ consumer: 'behind' });
  const look = async () => (await tailrace.admin.getConsumer({ consumer: 'behind' })).consumer;
  const lostAt = positionOf(lost?.cursor ?? '');
  await keepLog('default', 3);
  await retireUntil(async () => positionOf((await earliest('default'))?.cursor ?? '') > lostAt);
  await keepLog('default', 3_600); // what tells of it is to be seen below
  expect((await look())?.state).toBe(ConsumerState.HALTED);
  expect((await look())?.stateReason).toMatch(/^CURSOR_PRUNED: entries up to position \d+ are gone/);
  const acquire = (generation: bigint) =>
    tailrace.completion.acquireConsumer({ consumer: 'behind', ownerId: 'me', generation });
  const cursor = (await earliest('default'))?.cursor ?? '';
  const calls = {
    fetch: () => owner.fetch(),
    acquire: () => acquire(0n),
    acquireRebuilt: () => acquire(2n),
    resume: () => tailrace.admin.resumeConsumer({ consumer: 'behind' }),
    await: () => tailrace.completion.awaitConsumer({ consumer: 'behind', cursor }),
  };
  for (const [name, call] of Object.entries(calls)) {
    expect([name, (await refusal(call())).reason]).toEqual([name, 'CURSOR_PRUNED']);
  }
  const filter = { kinds: [LogEntryKind.CONSUMER_PRUNED] };
  const { entries } = await tailrace.admin.listLogEntries({ filter });
  expect(entries.map(({ subject }) => subject)).toEqual(['behind', 'behind']); // both generations
  const { metadata } = await refusal(acquire(0n));
  const reset = await tailrace.admin.resetConsumer({ consumer: 'behind', cursor: metadata['earliest_cursor'] ?? '' });
  expect(reset.consumer?.state).toBe(ConsumerState.ACTIVE);
  await hand.publish({ type: 'work', payload: text('new') });
  const again = await hand.owner('behind');
  const answer = await again.fetch({ wait: seconds(5) });
  expect(payloadsOf(entriesOf(answer))).toEqual(['new']);
  await again.commit(answer);
  await again.member.release();
  await tailrace.admin.pauseConsumer({ consumer: 'behind' });
});

it('waits for a consumer that holds the log, and says how far that is behind', async () => {
  await hand.consumer('holds', { filter: { eventTypes: ['held'] }, holdLog: true, start: StartPosition.LATEST });
  await hand.publish({ type: 'held', payload: text('read me') });
  await keepLog('default', 1);
  const held = async () => {
    const { holds } = await tailrace.admin.getStorage({});
    return holds.find(({ holder }) => holder === 'consumer holds');
  };
  await retireUntil(async () => (await held()) !== undefined);
  const hold = await held();
  expect(hold).toMatchObject({ subject: 'log', namespace: 'default' });
  expect(hold?.count).toBeGreaterThan(0n);
  expect(Number(hold?.sinceTime?.seconds) * 1_000).toBeLessThan(wallMs());
  const { holds } = await tailrace.admin.runRetention({ namespace: 'default', dryRun: true });
  expect(holds.map(({ holder }) => holder)).toContain('consumer holds');
  const owner = await hand.owner('holds', { leaseDuration: seconds(60) });
  expect(payloadsOf(await owner.drain())).toEqual(['read me']);
  await retireUntil(async ({ partitions }) => {
    await owner.drain();
    return partitions > 0 && (await held()) === undefined;
  });
  await owner.member.release();
});

const v7At = (ms: number, tail = 1) => {
  const hex = ms.toString(16).padStart(12, '0');
  return `${hex.slice(0, 8)}-${hex.slice(8)}-7000-8000-${String(tail).padStart(12, '0')}`;
};

it('remembers ids as long as it says, and refuses what is too old to tell', async () => {
  const namespace = 'ids';
  const publish = async (eventId: string, type = 'once') => {
    const { results } = await tailrace.engine.publishEvents({ namespace, events: [{ type, eventId }] });
    const { result } = results[0] ?? {};
    return result?.case === 'ok' ? (result.value.duplicate ? 'duplicate' : 'published') : result?.value?.detail?.reason;
  };
  const remember = (secondsKept: number) => {
    const retention = { log: seconds(secondsKept), eventIds: seconds(secondsKept) };
    return tailrace.admin.putNamespace({ namespace, settings: { retention } });
  };
  await remember(3_600);
  const made = v7At(wallMs());
  const kept = v7At(wallMs() + 200_000, 2);
  expect([await publish(made), await publish(kept), await publish('named')]).toEqual(Array(3).fill('published'));
  expect([await publish(made), await publish('named'), await publish('named', 'other')]).toEqual([
    ...['duplicate', 'duplicate', 'EVENT_ID_REUSED'],
  ]);
  await tailrace.engine.createExecutions({ namespace, executions: [{ type: 'a', requestId: 'asked' }] });
  const { database } = tailrace.running.engine;
  const sweep = async () => {
    const keys = { keepMs: 90 * 86_400_000, blocks: 1, pauseMs: 0 };
    const swept = [await sweepKeys(database, 'eventIds', keys)];
    for (const subject of ['requests', 'flowRequests'] as const) {
      swept.push(await sweepKeys(database, subject, { ...keys, keepMs: 1 }));
    }
    return swept.reduce((sum, { gone }) => sum + gone, 0);
  };
  expect(await sweep()).toBe(0);
  await remember(2);
  let gone = 0;
  await retireUntil(async () => {
    gone += await sweep();
    return gone >= 2;
  });
  expect(gone).toBe(2);
  expect(await publish(made)).toBe('EVENT_ID_TOO_OLD');
  expect(await publish(kept)).toBe('duplicate');
  expect(await publish('named', 'other')).toBe('published'); // new again
  const asked = { namespace, executions: [{ type: 'a', requestId: 'asked' }] };
  const { results } = await tailrace.engine.createExecutions(asked);
  expect(results[0]?.result).toMatchObject({ case: 'ok', value: { duplicate: true } });
});

it('breaks no rule by any of it, and rules still find what is wrong with what is gone', async () => {
  const { database } = tailrace.running.engine;
  const broken = async () =>
    (await verify(database)).filter(({ violations }) => violations.length > 0).map(({ name }) => name);
  expect(await broken()).toEqual([]);
  const client = new pg.Client({ connectionString: tailrace.database.url });
  await client.connect();
  try {
    await client.query('update tailrace.log_tally set n = n + 1 where lo = 0 and kind in (30, 70)');
    await client.query('update tailrace.state_count set n = n + 1 where state = 8');
    await client.query(
      `update tailrace.log_run set base = base + 1 where base = (select max(base) from tailrace.log_run)`,
    );
    await client.query(
      'update tailrace.event set seq = (select max(seq) + 1 from tailrace.log) where seq = (select max(seq) from tailrace.event)',
    );
    expect(await broken()).toEqual(
      expect.arrayContaining([
        'letters-conserved',
        'conserved',
        'events-are-folded',
        'positions-without-gaps',
        'event-is-logged',
      ]),
    );
  } finally {
    await client.end();
  }
});
