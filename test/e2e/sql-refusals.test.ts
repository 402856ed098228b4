/** What the engine's functions in SQL refuse, of what is asked, and to whom: by name, and nothing is changed. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { uuidV7 } from '../../src/runtime/random.js';
import { seconds } from '../support/by-hand.js';
import { EventsByHand } from '../support/events-by-hand.js';
import { HELD, heldBy, SqlClients, sqlRefusal } from '../support/sql-clients.js';
import { startTailrace, type TestTailrace } from '../support/tailrace.js';

let tailrace: TestTailrace;
let sql: SqlClients;
let hand: EventsByHand;
beforeAll(async () => {
  tailrace = await startTailrace();
  sql = await SqlClients.start(tailrace.database);
  hand = new EventsByHand(tailrace);
});
afterAll(async () => {
  await sql.stop();
  await tailrace.stop();
});

const from = (lane: string) => ({ lanes: [{ lane }], wait: seconds(5), leaseDuration: seconds(60) });

describe('what a client asks for', () => {
  const malformed: [string, () => Promise<unknown>, string[]][] = [
    ['no type', () => sql.create(''), ['type']],
    ['a long type', () => sql.create('x'.repeat(201)), ['type']],
    ['options that are no object', () => sql.call("create_execution('', 'a', null, '[]')"), ['options']],
    ['no options', () => sql.call("create_execution('', 'a', null, null)"), ['options']],
    ['every namespace', () => sql.call("publish_event('*', 'a')"), ['namespace']],
    [
      'values of other kinds, and what is no option',
      () =>
        sql.create('a', null, {
          ...{ request_id: 5, lane: {}, priority: 1.5, run_time: 'yesterday', delay: 'soon', ttl: '-1 s', tags: ['a'] },
          ...{ deadline_time: '2026-01-01', attempt_timeout: 5, execution_id: 'a', optional_in_flow: 'yes', Lane: 'a' },
          ...{
            required_capabilities: ['', 5],
            dead_head_policy: 'BLOCK',
            retry_policy: { tries: 1, max_attempts: -1 },
          },
        }),
      [
        ...['Lane', 'attempt_timeout', 'dead_head_policy', 'deadline_time', 'delay', 'execution_id', 'lane'],
        ...['optional_in_flow', 'priority', 'request_id', 'required_capabilities[0]', 'required_capabilities[1]'],
        ...['retry_policy.max_attempts', 'retry_policy.tries', 'run_time', 'tags', 'ttl'],
      ],
    ],
    [
      'too much',
      () =>
        sql.create('a', null, {
          request_id: 'x'.repeat(201),
          lane: 'x'.repeat(65),
          priority: 1001,
          run_time: '9999-01-01T00:00:00Z',
          tags: { ['k'.repeat(65)]: 'a', '': 'a', a: 'x'.repeat(257) },
          required_capabilities: Array.from({ length: 65 }, (_, i) => `c${i}`),
          retry_policy: { initial_backoff: '2 days', backoff_factor: 101 },
        }),
      [
        ...['lane', 'priority', 'request_id', 'required_capabilities', 'retry_policy.backoff_factor'],
        ...['retry_policy.initial_backoff', 'run_time', 'tags[""]', 'tags["a"]', `tags["${'k'.repeat(60)}"]`],
      ],
    ],
    [
      'what contradicts itself',
      () =>
        sql.create(
          'a',
          { no: 'text' },
          {
            ...{ content_type: 'text/plain', execution_id: '0190b5a0-0000-4000-8000-000000000000', delay: '1s' },
            ...{ run_time: '2030-01-01T00:00:00Z', deadline_time: '2029-01-01T00:00:00Z', optional_in_flow: true },
            ...{
              concurrency_key: 'k',
              ordering_key: 'k',
              retry_policy: { initial_backoff: '1s', max_backoff: '0.5s' },
            },
          },
        ),
      [
        ...['input', 'execution_id', 'concurrency_key', 'optional_in_flow', 'delay', 'deadline_time'],
        'retry_policy.max_backoff',
      ],
    ],
    [
      'an event that cannot be',
      () =>
        sql.publish('', null, {
          ...{ batch_group: 'a', expected_stream_version: -1, schema_version: 1e10, headers: { a: 1 }, flow_id: 'a' },
          ...{ occur_time: '2026-02-30T00:00:00Z' },
        }),
      ['type', 'batch_group', 'expected_stream_version', 'flow_id', 'headers["a"]', 'occur_time', 'schema_version'],
    ],
    [
      'a version of no stream',
      () => sql.publish('a', null, { expected_stream_version: 0 }),
      ['expected_stream_version'],
    ],
    ['an event from the future', () => sql.publish('a', null, { event_id: uuidV7(4e12) }), ['event_id']],
    [
      'a completion of nothing',
      () => sql.call("complete_execution('', null, null, null, null, '{\"frames\": []}')"),
      ['execution', 'lease', 'token', 'frames'],
    ],
  ];
  it.each(malformed)('%s is refused by name', async (_, call, fields) => {
    const refusal = await sqlRefusal(call());
    expect(refusal).toMatchObject({ code: 'TR010', reason: 'INVALID_FIELD' });
    expect(refusal.violations.map(({ field }) => field)).toEqual(fields);
  });

  const OTHER = '0190b5a0-0000-7000-8000-000000000000';
  it.each<[string, () => Promise<unknown>, string]>([
    ['a flow that is not there', () => sql.create('a', null, { flow_id: OTHER }), 'FLOW_NOT_FOUND'],
    ['a cause that is not there', () => sql.publish('a', null, { cause_event_id: OTHER }), 'EVENT_NOT_FOUND'],
    ['an id that may be forgotten', () => sql.publish('a', null, { event_id: OTHER }), 'EVENT_ID_TOO_OLD'],
    [
      'an execution that is not there',
      () => sql.call(`complete_execution(${HELD})`, [OTHER, OTHER, 1]),
      'EXECUTION_NOT_FOUND',
    ],
    ['more than a payload may be', () => sql.create('a', 'x'.repeat(1_048_576)), 'PAYLOAD_TOO_LARGE'],
  ])('%s is refused', async (_, call, reason) => {
    expect(await sqlRefusal(call())).toMatchObject({ reason });
  });

  it('from a lease that is lost, or of another namespace, is refused and changes nothing', async () => {
    await sql.create('lost', null, { lane: 'lost' });
    const claim = await hand.claimOne(from('lost'));
    const [execution, lease, token] = heldBy(claim);
    const elsewhere = sql.call("complete_execution('elsewhere', $1, $2, $3)", [execution, lease, token]);
    expect(await sqlRefusal(elsewhere)).toMatchObject({ reason: 'EXECUTION_NOT_FOUND' });
    const forged = sql.call(`complete_execution(${HELD})`, [execution, uuidV7(), token]);
    expect(await sqlRefusal(forged)).toMatchObject({ reason: 'LEASE_LOST', metadata: { why: 'superseded' } });
    await hand.release(claim);
    expect(await sqlRefusal(sql.complete(claim))).toMatchObject({ reason: 'LEASE_LOST' });
    await sql.complete(await hand.claimOne(from('lost')));
    expect(await sqlRefusal(sql.complete(claim))).toMatchObject({ reason: 'EXECUTION_TERMINAL' });
  });

  it('outside of read committed is refused', async () => {
    for (const level of ['repeatable read', 'serializable']) {
      const open = await sql.begin(`begin isolation level ${level}`);
      const refusal = await sqlRefusal(open.query("select tailrace.publish_event('default', 'a')"));
      expect(refusal).toMatchObject({ code: 'TR031', reason: 'ISOLATION_LEVEL' });
      await open.rollback();
    }
  });
});

describe('a role', () => {
  const calls = [
    "create_execution('default', 'a')",
    "publish_event('default', 'a')",
    `complete_execution('default', '${uuidV7()}', '${uuidV7()}', 1)`,
    "commit_entries('default', 'a', 'a', 1, 0, 1, '', '')",
  ];
  const denied = { code: '42501' };

  it('that was granted nothing may do nothing, and one from whom it was taken', async () => {
    const stranger = await SqlClients.start(tailrace.database, false);
    for (const call of calls) await expect(stranger.call(call)).rejects.toMatchObject(denied);
    await sql.asOwner(`select tailrace.grant_sql_client($1)`, [stranger.role]);
    await stranger.call(calls[0] ?? '');
    await sql.asOwner(`select tailrace.revoke_sql_client($1)`, [stranger.role]);
    for (const call of calls) await expect(stranger.call(call)).rejects.toMatchObject(denied);
    await stranger.stop();
  });

  it('that was granted them may do nothing else', async () => {
    for (const statement of [
      'select from tailrace.execution',
      'select from tailrace.namespace',
      'insert into tailrace.follow_up (kind, subject) values (1, gen_random_uuid())',
      'create table tailrace.mine ()',
      `select tailrace.grant_sql_client('${sql.role}')`,
      'select * from tailrace.log_step(1)',
    ]) {
      await expect(sql.transaction((query) => query(statement))).rejects.toMatchObject(denied);
    }
    // What runs with the rights of its owner is theirs by name, and looks for names nowhere else.
    const open = await sql.asOwner<{ name: string; settings: string[]; everybody: boolean }>(
      `select p.proname as name, p.proconfig as settings, has_function_privilege('public', p.oid, 'execute') as everybody
       from pg_proc p where p.pronamespace = 'tailrace'::regnamespace and p.prosecdef order by 1`,
    );
    expect(open.map(({ name }) => name)).toEqual([
      ...['commit_entries', 'complete_execution', 'create_execution', 'publish_event'],
    ]);
    for (const { settings, everybody } of open) {
      expect(everybody).toBe(false);
      expect(settings).toEqual(
        expect.arrayContaining([
          'search_path=pg_catalog, pg_temp',
          'plan_cache_mode=force_generic_plan',
          'enable_seqscan=off',
          'jit=off',
        ]),
      );
    }
  });
});
