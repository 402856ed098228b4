/**
 * Retention step by step: what a dry run foresees is what a run does; a long reader makes it wait and nobody else; and it is
 * told what is stored, and what holds.
 */
import { timestampMs } from '@bufbuild/protobuf/wkt';
import pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { FailureClass } from '../../../gen/tailrace/v1/attempt_pb.js';
import { DeadLetterResolution } from '../../../gen/tailrace/v1/dead_letter_pb.js';
import { monotonicMs } from '../../../src/runtime/clock.js';
import { only, refusal, seconds, text } from '../../support/by-hand.js';
import { eventually } from '../../support/eventually.js';
import { broken, drops, frontiers } from '../../support/retiring.js';
import { startTailrace, type TestTailrace } from '../../support/tailrace.js';
import { WaitsByHand } from '../../support/waits-by-hand.js';

let tailrace: TestTailrace;
let hand: WaitsByHand;

// For ever where nothing else is said: only what these tests ask for goes.
beforeAll(async () => {
  tailrace = await startTailrace({
    environment: {
      TAILRACE_RETENTION: 'forever',
      TAILRACE_LEAST_RETENTION: '1s',
      TAILRACE_PARTITION_WIDTH: '1s',
      TAILRACE_DEAD_LETTER_DAYS: '0',
    },
  });
  hand = new WaitsByHand(tailrace);
});
afterAll(async () => await tailrace.stop());

async function keep(secondsKept: number): Promise<void> {
  const retention = { executions: seconds(secondsKept), log: seconds(secondsKept) };
  await tailrace.admin.putNamespace({ namespace: 'default', settings: { retention } });
}

test('nothing goes while everything is to be kept', async () => {
  const id = await hand.createOne();
  await hand.complete(await hand.claimNamed(id));
  const before = await frontiers(tailrace);
  const { more, droppedPartitionCount, retiredExecutionCount } = await tailrace.admin.runRetention({ namespace: '*' });
  expect({ more, droppedPartitionCount, retiredExecutionCount }).toEqual({
    more: false,
    droppedPartitionCount: 0n,
    retiredExecutionCount: 0n,
  });
  expect(await frontiers(tailrace)).toEqual(before);
  expect(await hand.execution(id)).toMatchObject({ executionId: id });
});

test('a dry run tells what a run does, of a namespace or of all', async () => {
  const ended = await hand.create(...Array.from({ length: 5 }, () => ({ lane: 'ended', input: text('of the ended') })));
  for (const id of ended) await hand.complete(await hand.claimNamed(id));
  const open = await hand.createOne({ lane: 'open', input: text('of the open') });
  const given = await hand.createOne({ lane: 'given up' });
  await hand.fail(await hand.claimNamed(given), FailureClass.PERMANENT);
  const { deadLetters } = await tailrace.deadLetters.listDeadLetters({ filter: { executionId: given } });
  const { deadLetterId } = only(deadLetters);
  await tailrace.deadLetters.resolveDeadLetters({
    deadLetters: [{ deadLetterId }],
    resolution: DeadLetterResolution.IGNORED,
  });

  // The loop does not come into it: what nothing was dropped of yet goes with the floors, which a run moves first.
  const other = await tailrace.admin.runRetention({ namespace: 'elsewhere', dryRun: true });
  expect(other).toMatchObject({ retiredExecutionCount: 0n, purgedDeadLetterCount: 0n });

  const client = new pg.Client({ connectionString: tailrace.database.url });
  await client.connect();
  try {
    // As another process would: nobody else retires meanwhile.
    await client.query(
      `select pg_advisory_lock(hashtext('tailrace retention'), 'tailrace.execution'::regclass::oid::int)`,
    );
    await keep(1);
    const { serverTime } = await tailrace.admin.getServerInfo({});
    const now = serverTime ? timestampMs(serverTime) : 0;
    await eventually(async () => {
      const { floorTime } = await tailrace.admin.runRetention({ namespace: 'default' });
      return floorTime !== undefined && timestampMs(floorTime) > now + 3_000;
    });
    // It goes no further for now, for floors do not move back either.
    await keep(3_600);
    const foreseen = await tailrace.admin.runRetention({ namespace: 'default', dryRun: true });
    expect(foreseen.retiredExecutionCount).toBeGreaterThanOrEqual(6n);
    expect(foreseen.droppedPartitionCount).toBeGreaterThanOrEqual(6n);
    expect(foreseen.keptRowCount).toBeGreaterThanOrEqual(1n);
    const { retired } = await counted(client);
    await client.query('select pg_advisory_unlock_all()');
    const total = { retired: 0n, dropped: 0n, kept: 0n };
    await eventually(async () => {
      const done = await tailrace.admin.runRetention({ namespace: 'default', maxDuration: seconds(30) });
      total.retired += done.retiredExecutionCount;
      total.dropped += done.droppedPartitionCount;
      total.kept += done.keptRowCount;
      // A transaction that takes its time on a busy machine is waited for.
      return !done.more && done.holds.length === 0;
    });
    // The loop may have taken a part of it.
    await eventually(async () => (await counted(client)).retired >= Number(foreseen.retiredExecutionCount) + retired);
    expect((await counted(client)).retired - retired).toBe(Number(foreseen.retiredExecutionCount));
    expect(total.retired).toBeLessThanOrEqual(foreseen.retiredExecutionCount);
    expect(total.dropped).toBeLessThanOrEqual(foreseen.droppedPartitionCount);
    expect(total.kept).toBeLessThanOrEqual(foreseen.keptRowCount);
    const after = await tailrace.admin.runRetention({ namespace: 'default', dryRun: true });
    expect(after).toMatchObject({ retiredExecutionCount: 0n, droppedPartitionCount: 0n, keptRowCount: 0n });
  } finally {
    await client.end();
  }
  expect((await refusal(hand.execution(ended[0] ?? ''))).reason).toBe('EXECUTION_NOT_FOUND');
  expect((await hand.claimNamed(open)).input?.body.value).toBe('of the open');
  expect(await broken(tailrace)).toEqual([]);
});

async function counted(client: pg.Client): Promise<{ readonly retired: number }> {
  const { rows } = await client.query<{ n: string }>('select coalesce(sum(n), 0) as n from tailrace.retired');
  return { retired: Number(rows[0]?.n) };
}

test('a long reader makes it wait, which is told, and hurts nobody', async () => {
  const reader = new pg.Client({ connectionString: tailrace.database.url });
  await reader.connect();
  try {
    await reader.query('begin');
    await reader.query('select count(*) from tailrace.execution');
    await reader.query('select count(*) from tailrace.event');
    const before = await frontiers(tailrace);
    await keep(1);
    const isHeldUp = async () => {
      const { holds } = await tailrace.admin.getStorage({});
      return holds.some(({ holder }) => holder.startsWith('the transaction'));
    };
    let slowest = 0;
    await eventually(async () => {
      const began = monotonicMs();
      await hand.complete(await hand.claimNamed(await hand.createOne({ lane: 'meanwhile' })));
      slowest = Math.max(slowest, monotonicMs() - began);
      return await isHeldUp();
    });
    expect(await frontiers(tailrace)).toEqual(before);
    // Three calls, each of which might queue once behind a try to lock the tables, but not until the reader is done.
    expect(slowest).toBeLessThan(15_000);
    await reader.query('commit');
    await drops(tailrace, 1);
    await eventually(async () => !(await isHeldUp()));
  } finally {
    await reader.end();
  }
});

test('storage is told by table, the largest first, with the partitions of each', async () => {
  const { tables, byteCount } = await tailrace.admin.getStorage({ namespace: '*' });
  const sizes = tables.map(({ byteCount: bytes }) => bytes);
  expect(sizes).toEqual(sizes.toSorted((a, b) => (a < b ? 1 : a > b ? -1 : 0)));
  expect(byteCount).toBe(sizes.reduce((sum, bytes) => sum + bytes, 0n));
  const execution = tables.find(({ table }) => table === 'execution');
  expect(execution?.partitionCount).toBeGreaterThan(5);
  expect(execution?.indexByteCount).toBeLessThan(execution?.byteCount ?? 0n);
  expect(tables.find(({ table }) => table === 'dead_letter')).toMatchObject({ partitionCount: 0 });
});
