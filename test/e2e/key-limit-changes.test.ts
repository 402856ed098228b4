/** The default limit of a lane's keys is changed while executions of them are being made: whoever comes second knows of the first. */
import pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ExecutionState } from '../../gen/tailrace/v1/execution_state_pb.js';
import { uuidV7 } from '../../src/runtime/random.js';
import { seconds } from '../support/by-hand.js';
import { eventually } from '../support/eventually.js';
import { HeldRows } from '../support/held-rows.js';
import { Recorded } from '../support/history/recorded.js';
import { from, KeyedByHand } from '../support/keyed-by-hand.js';
import { freshDatabase, type TestDatabase } from '../support/postgres.js';

const { BLOCKED, QUEUED } = ExecutionState;

let database: TestDatabase;
let recorded: Recorded;
let hand: KeyedByHand;
beforeAll(async () => {
  database = await freshDatabase();
  recorded = await Recorded.start({ database });
  hand = new KeyedByHand(recorded.clients);
});
afterAll(async () => {
  await recorded.stop();
  await database.drop();
});

/** Creates so many of key `k` and changes the lane's default while their transaction is under way. */
async function createdWhile(lane: string, count: number, changed: number): Promise<string[]> {
  const beside = new pg.Client({ connectionString: database.url });
  await beside.connect();
  const watch = await HeldRows.start(database);
  const last = uuidV7();
  // Their timers come after their places in line: whoever makes a timer of the same id first holds them up there.
  await beside.query('begin');
  await beside.query(`insert into ${database.schema}.timer (execution, due_at) values ($1, now())`, [last]);
  const specs = Array.from({ length: count }, () => ({ lane, concurrencyKey: 'k', ttl: seconds(600) }));
  const creating = hand.create(...specs.slice(1), { ...specs[0], executionId: last });
  await eventually(() => watch.keepsWaiting('create_executions'));
  let isChanged = false;
  const changing = hand.setLane(lane, { defaultKeyLimit: changed }).finally(() => {
    isChanged = true;
  });
  await eventually(async () => isChanged || (await watch.keepsWaiting('change_lane')));
  await beside.query('rollback');
  await beside.end();
  await watch.release();
  await changing;
  return await creating;
}

const queued = async (ids: readonly string[]) => (await hand.statesOf(ids)).filter((state) => state === QUEUED).length;

test('a limit that is raised lets in who was sent to wait at that moment', async () => {
  const lane = 'raised';
  await hand.setLane(lane, { defaultKeyLimit: 1 });
  await hand.keyed(lane, 1);
  const running = await hand.claimOne(from(lane));
  const ids = await createdWhile(lane, 2, 2);
  await eventually(async () => (await queued(ids)) === 1);
  await hand.complete(running);
  await hand.drain(lane, 2);
});

test('a limit that is lowered counts who entered the line at that moment', async () => {
  const lane = 'lowered';
  await hand.setLane(lane, { defaultKeyLimit: 3 });
  const ids = await createdWhile(lane, 3, 1);
  await eventually(async () => (await queued(ids)) === 1);
  expect((await hand.statesOf(ids)).filter((state) => state === BLOCKED)).toHaveLength(2);
  await hand.drain(lane, 3);
});
