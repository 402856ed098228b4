/** Every rule across tables holds after ordinary work, and each finds what breaks it, planted into rows that were fine. */
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { FailureClass } from '../../gen/tailrace/v1/attempt_pb.js';
import { verifyCommand } from '../../src/cli/verify.js';
import { render } from '../../src/repository/statement.js';
import { INVARIANTS, verify } from '../../src/repository/verification/index.js';
import { seconds } from '../support/by-hand.js';
import { type Desk, startDesk } from '../support/desk.js';

let desk: Desk;
let client: pg.Client;

beforeAll(async () => {
  desk = await startDesk();
  client = new pg.Client({ connectionString: desk.database.url });
  await client.connect();
  await client.query('set enable_seqscan = on');
  const { hand } = desk;
  await hand.createOne({ requestId: 'waits' });
  await hand.createOne({ lane: 'later', delay: seconds(600), ttl: seconds(600) });
  await hand.createOne({ lane: 'running' });
  await hand.claimOne({ lanes: [{ lane: 'running' }], leaseDuration: seconds(600) });
  await hand.complete(await hand.claimNamed(await hand.createOne({ lane: 'done' })));
  const retried = await hand.createOne({ lane: 'retried' });
  await hand.fail(await hand.claimNamed(retried), FailureClass.TRANSIENT, { retryDelay: seconds(0) });
  await hand.fail(await hand.claimNamed(retried), FailureClass.TRANSIENT, { retryDelay: seconds(600) });
  for (const succeeds of [true, false]) {
    const dead = await hand.createOne({ lane: 'dead' });
    await hand.fail(await hand.claimNamed(dead), FailureClass.PERMANENT);
    const { deadLetters } = await desk.deadLetters.listDeadLetters({ filter: { executionId: dead } });
    const deadLetterId = deadLetters[0]?.deadLetterId ?? '';
    const { executionId } = await desk.deadLetters.redriveDeadLetter({ deadLetterId });
    if (succeeds) await hand.complete(await hand.claimNamed(executionId));
  }
  await desk.caughtUp();
});
afterAll(async () => {
  await client.end();
  await desk.stop();
});

const ANY = "'0198a0a0-0000-7000-8000-000000000001'";
/** A namespace that has no number: whatever carries it is not where it belongs. */
const WRONG = 77;

/** What breaks each rule; the first plants of some break others too. */
const PLANTS: Readonly<Record<string, readonly string[]>> = {
  'one-place': [
    'delete from tailrace.ready',
    `insert into tailrace.scheduled select execution, now(), class, 0, 1, 0, 0, 0, null, null, null, false
       from tailrace.lease`,
  ],
  'no-orphan': [
    `insert into tailrace.scheduled values (${ANY}, now(), 1, 0, 1, 0, 0, 0, null, null, null, false)`,
    `update tailrace.ready set execution = ${ANY} where execution = (select execution from tailrace.ready limit 1)`,
  ],
  'one-class': [
    'update tailrace.ready set class = class + 1000',
    `update tailrace.attempt set namespace = ${WRONG}`,
    `update tailrace.claim_class set namespace = ${WRONG}`,
  ],
  'timer-has-subject': [
    `insert into tailrace.timer values (${ANY}, now())`,
    'insert into tailrace.timer select execution, now() from tailrace.lease',
    'insert into tailrace.timer select execution, now() from tailrace.outcome limit 1',
  ],
  'timer-is-set': ['delete from tailrace.timer', "update tailrace.ready set deadline = now() + interval '1 hour'"],
  'lease-is-watched': [
    "update tailrace.lease set check_at = expires_at + interval '1 ms'",
    "update tailrace.lease set begin_by = check_at - interval '1 ms'",
  ],
  'request-key': ['delete from tailrace.request_key', `update tailrace.request_key set execution = ${ANY}`],
  'attempts-without-gaps': [
    'delete from tailrace.attempt where number = 1 and execution in (select execution from tailrace.scheduled)',
    'update tailrace.attempt set number = 3 where number = 2',
  ],
  'attempt-number-travels': [
    'update tailrace.scheduled set attempt = attempt + 1',
    'update tailrace.lease set attempt = 2',
    'update tailrace.outcome set attempt = 0',
  ],
  'counters-travel': [
    'update tailrace.scheduled set failures = failures + 1',
    'update tailrace.ready set reclaims = 1',
    'update tailrace.attempt set failure_class = 3 where number = 2',
  ],
  'one-success': ['update tailrace.attempt set outcome = 2', 'update tailrace.attempt set outcome = 1'],
  'tokens-rise': [
    'update tailrace.lease set token = (select min(token) from tailrace.attempt)',
    'update tailrace.attempt set token = -token',
  ],
  'given-up-has-letter': [
    'delete from tailrace.dead_letter',
    `insert into tailrace.dead_letter select (jsonb_populate_record(d, '{"id": ${ANY.replaceAll("'", '"')}}')).*
       from tailrace.dead_letter d limit 1`,
  ],
  'letter-has-subject': [
    'update tailrace.dead_letter set execution = (select execution from tailrace.ready limit 1)',
    'update tailrace.dead_letter set execution = last_execution',
  ],
  'redriving-has-redrive': [
    'update tailrace.dead_letter set state = 1 where state = 2',
    'update tailrace.dead_letter set state = 2, resolution = null, closed_at = null where state = 3',
    'update tailrace.dead_letter set last_execution = execution where state = 2',
  ],
  'redriven-succeeded': ['update tailrace.dead_letter set last_execution = execution where resolution = 1'],
  'redrive-is-linked': [
    'update tailrace.execution set root = id where letter is not null',
    'update tailrace.execution set redrive_of = null where letter is not null',
    `update tailrace.execution set letter = ${ANY} where letter is not null`,
  ],
  'positions-without-gaps': [
    'update tailrace.log_run set base = base + 1 where base = (select max(base) from tailrace.log_run)',
    'delete from tailrace.log_run where base = 1',
  ],
  'runs-hold-their-entries': [
    'update tailrace.log_run set n = n + 1',
    'delete from tailrace.log where seq = (select min(seq) from tailrace.log)',
  ],
  'one-position': [
    'delete from tailrace.log_run where base = (select min(base) from tailrace.log_run)',
    `insert into tailrace.log_run select max(base + n), 1, 1, 1, max(top), '{}', '{}' from tailrace.log_run`,
  ],
  'created-is-logged': [
    'delete from tailrace.log where 1 = any (kind)',
    'update tailrace.log set kind = array_fill(1::smallint, array[n]) where 2 = any (kind) or 20 = any (kind)',
  ],
  'end-is-logged': [
    'update tailrace.outcome set state = 9, reason = 20, result = null, result_type = null where state = 7',
    'delete from tailrace.log where 6 = any (kind)',
  ],
  'attempts-are-logged': ['delete from tailrace.log where 20 = any (kind)', 'delete from tailrace.attempt'],
  conserved: [
    'delete from tailrace.ready',
    'delete from tailrace.execution where id in (select execution from tailrace.ready)',
    'update tailrace.log set to_state = array_fill(2::smallint, array[n]) where 1 = any (kind)',
  ],
  'counts-are-folded': [
    'update tailrace.state_count set n = n + 1 where state = 7',
    'delete from tailrace.state_count where state = 0',
    'update tailrace.counted set position = 1',
  ],
};

async function found(name: string): Promise<string[]> {
  const rule = INVARIANTS.find((invariant) => invariant.name === name);
  if (!rule) throw new Error(`there is no rule ${name}`);
  const { rows } = await client.query<{ sample: string }>(render(rule.query, desk.database.schema));
  return rows.map(({ sample }) => sample);
}

describe('verify', () => {
  it('finds nothing wrong after ordinary work', async () => {
    expect(await desk.broken()).toEqual([]);
  });

  it('has a planted violation for each rule', () => {
    expect(Object.keys(PLANTS)).toEqual(INVARIANTS.map(({ name }) => name));
  });

  it.each(Object.entries(PLANTS).flatMap(([name, plants]) => plants.map((plant) => [name, plant] as const)))(
    '%s: %s',
    async (name, plant) => {
      await client.query('begin');
      try {
        expect(await found(name)).toEqual([]);
        const { rowCount } = await client.query(plant);
        expect(rowCount).toBeGreaterThan(0);
        const samples = await found(name);
        expect(samples.length).toBeGreaterThan(0);
        expect(samples.every((sample) => sample !== null && sample !== '')).toBe(true);
      } finally {
        await client.query('rollback');
      }
    },
  );
});

describe('the command', () => {
  it('says that all is well, or what is not, to people and to programs', async () => {
    const said: string[] = [];
    const say = (text: string) => said.push(text);
    const run = (args: string[]) => verifyCommand(args, () => verify(desk.core.database), say);
    expect(await run([])).toBe(0);
    expect(said.pop()).toContain(`all ${INVARIANTS.length} rules hold`);
    expect(await run(['--json'])).toBe(0);
    expect(JSON.parse(said.pop() ?? '')).toMatchObject({ ok: true });
    const broken = [{ name: 'one-place', rule: 'stands once', violations: ['x', 'y'], more: true }];
    expect(await verifyCommand([], async () => broken, say)).toBe(1);
    expect(said.pop()).toMatch(/BROKEN one-place[\s\S]*is broken by:\n {2}x\n {2}y\n {2}and more\n\n1 of 1/);
    expect(await run(['--nonsense'])).toBe(2);
    expect(said.pop()).toContain('usage: tailrace verify [--json]');
  });
});
