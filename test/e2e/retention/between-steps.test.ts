/** What happens between two steps of retiring: whoever goes on, comes late or begins anew meanwhile loses nothing by it. */
import pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { FailureClass } from '../../../gen/tailrace/v1/attempt_pb.js';
import { wallMs } from '../../../src/runtime/clock.js';
import { seconds, text } from '../../support/by-hand.js';
import { eventually } from '../../support/eventually.js';
import { HeldRows } from '../../support/held-rows.js';
import { broken, KEEPS_LITTLE } from '../../support/retiring.js';
import { startTailrace, type TestTailrace } from '../../support/tailrace.js';
import { WaitsByHand } from '../../support/waits-by-hand.js';

let tailrace: TestTailrace;
let hand: WaitsByHand;
let client: pg.Client;

beforeAll(async () => {
  tailrace = await startTailrace({ environment: KEEPS_LITTLE });
  hand = new WaitsByHand(tailrace);
  client = new pg.Client({ connectionString: tailrace.database.url });
  await client.connect();
  await client.query('set enable_seqscan = off; set plan_cache_mode = force_generic_plan');
  // The server finds somebody at it, and leaves it to him.
  await client.query(
    `select pg_advisory_lock(hashtext('tailrace retention'), 'tailrace.execution'::regclass::oid::int)`,
  );
});
afterAll(async () => {
  await client.end();
  await tailrace.stop();
});

async function asked<T>(query: string): Promise<T | undefined> {
  const { rows } = await client.query<{ answer: T }>(`select ${query} as answer`);
  return rows[0]?.answer;
}

/** An id made at that time, whichever clock it was. */
const idAt = (ms: number) => {
  const hex = ms.toString(16).padStart(12, '0');
  return `${hex.slice(0, 8)}-${hex.slice(8)}-7000-8000-000000000001`;
};

test('who goes on between the copy and the exchange of partitions keeps everything', async () => {
  const suspended = await hand.createOne({ lane: 'waits', input: text('of the suspended') });
  const holder = await hand.claimNamed(suspended, { leaseDuration: seconds(60) });
  await hand.write(holder, ['first']);
  await hand.suspend(holder);
  const idle = await hand.flow({ members: { a: {} } }, { open: true });
  await idle.complete('a', 'of a');
  await idle.settled();
  const over = await hand.createOne({ lane: 'over' });
  await hand.complete(await hand.claimNamed(over));
  const made = wallMs();

  await eventually(
    async () => Number(await asked(`coalesce((tailrace.retirable('executions', 1000)).to_ms, 0)`)) > made + 1_000,
  );
  expect(await asked(`tailrace.retire_begin('executions', 1000)`)).toBe(true);
  // In batches of two, one of which is done over by somebody else after a crash.
  while (!(await asked(`tailrace.retire_copy('executions', 2)`)));

  await hand.signal(suspended);
  const resumed = await hand.claimNamed(suspended, { leaseDuration: seconds(60) });
  await hand.write(resumed, ['second'], 1);
  await hand.fail(resumed, FailureClass.TRANSIENT, { retryDelay: seconds(0) });
  await idle.extend({ members: { b: {} }, links: [['a', 'b']] });
  // The floor stays below its end, however long the exchange takes.
  const floor = await HeldRows.start(tailrace.database);
  await floor.hold('namespace', 'name', 'default');
  const late = idAt(made - 500);
  await hand.create({ executionId: late, lane: 'late' });
  await hand.complete(await hand.claimNamed(late));

  await eventually(
    async () => (await asked(`(tailrace.retire_swap('executions', 1000, 50000)).verdict`)) === 'swapped',
  );
  expect(await broken(tailrace)).toEqual([]);
  expect(await asked(`(tailrace.retire_drop('executions')).partitions`)).toBeGreaterThan(0);
  expect(await broken(tailrace)).toEqual([]);

  expect(await asked(`(select count(*)::int from tailrace.execution_kept where id = '${late}')`)).toBe(1);
  await floor.release();
  expect(await asked(`(select count(*)::int from tailrace.execution where id = '${over}')`)).toBe(0);
  const again = await hand.claimNamed(suspended, { leaseDuration: seconds(60) });
  expect(again).toMatchObject({ attemptNumber: 2, input: { body: { value: 'of the suspended' } } });
  const { attempts } = await tailrace.admin.listAttempts({ executionId: suspended });
  expect(attempts.map(({ attemptNumber }) => attemptNumber).sort()).toEqual([1, 2]);
  expect(await asked(`(select count(*)::int from tailrace.frame where execution = '${suspended}')`)).toBe(2);
  const claim = await idle.claim('b');
  expect(claim.joinedInputs.map(({ payload }) => payload?.body.value)).toEqual(['of a']);
  // Looked at again: what nobody needs goes from what was kept.
  await hand.complete(again);
  await eventually(async () => {
    await client.query(`select tailrace.forget_kept('executions', 100, 0)`);
    return (await asked(`(select count(*)::int from tailrace.execution_kept where id = '${late}')`)) === 0;
  });
  expect(await broken(tailrace)).toEqual([]);
});
