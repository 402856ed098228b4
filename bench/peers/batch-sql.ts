/**
 * The same writes by hand: three statements of 500 items each that leave what Tailrace leaves (execution, attempt,
 * outcome, log) in the narrowest tables that could hold it, in this process, without a server. Nothing is checked and
 * nothing can go wrong: it is how far this Postgres goes, not an engine.
 */
import { randomUUID } from 'node:crypto';
import type pg from 'pg';
import { inputOf, NO_ORDINAL } from '../content.js';
import type { Contestant, Running, StartOptions, Tally } from './contestant.js';
import { openPool } from './pool.js';

const LOOPS = 4;
const BATCH = 500;
const CONNECTIONS = 10;

const TABLES = `
  create sequence token;
  create table execution (id uuid primary key, class int not null, input bytea not null, created_at timestamptz not null);
  create table ready (class int, seq bigint generated always as identity, execution uuid not null unique,
    ready_at timestamptz not null, primary key (class, seq));
  create table lease (execution uuid primary key, lease uuid not null, token bigint not null, worker text not null,
    started_at timestamptz not null, expires_at timestamptz not null);
  create index lease_expires on lease (expires_at);
  create table attempt (execution uuid, number int, lease uuid not null, token bigint not null, worker text not null,
    started_at timestamptz not null, ended_at timestamptz not null, primary key (execution, number));
  create table outcome (execution uuid primary key, state smallint not null, ended_at timestamptz not null);
  create table log (seq bigint generated always as identity primary key, at timestamptz not null, kind smallint not null,
    execution uuid[] not null);
`;

const CREATE = `
  with made as (insert into execution select id, 1, $2, clock_timestamp() from unnest($1::uuid[]) id returning id),
    queued as (insert into ready (class, execution, ready_at) select 1, id, clock_timestamp() from made)
  insert into log (at, kind, execution) select clock_timestamp(), 1, array_agg(id) from made`;

const CLAIM = `
  with gone as (delete from ready where ctid = any (array(
      select ctid from ready where class = 1 order by seq limit ${BATCH} for update skip locked)) returning execution),
    granted as (insert into lease select execution, gen_random_uuid(), nextval('token'), $1, clock_timestamp(),
      clock_timestamp() + interval '30 s' from gone returning execution, lease, token),
    logged as (insert into log (at, kind, execution) select clock_timestamp(), 2, array_agg(execution) from granted
      having count(*) > 0)
  select granted.*, e.input from granted join execution e on e.id = granted.execution`;

const COMPLETE = `
  with gone as (delete from lease l using unnest($1::uuid[], $2::bigint[]) u (execution, token)
      where l.execution = any ($1) and l.execution = u.execution and l.token = u.token
        and l.expires_at > clock_timestamp() returning l.*),
    tried as (insert into attempt select execution, 1, lease, token, worker, started_at, clock_timestamp() from gone),
    ended as (insert into outcome select execution, 7, clock_timestamp() from gone)
  insert into log (at, kind, execution) select clock_timestamp(), 3, array_agg(execution) from gone`;

const SEE = `select seq, case kind when 3 then cardinality(execution) else 0 end as ends from log where seq > $1
  order by seq`;

/** Reads as the engine's role does: these plans must not wait for an ANALYZE either. */
const SETTINGS = { enable_seqscan: 'off', jit: 'off' };

async function start({ ground, ended, workers }: StartOptions): Promise<Running> {
  const { pool, end } = openPool(ground.url, CONNECTIONS, SETTINGS);
  await pool.query(TABLES);
  let stopping = false;
  const input = Buffer.from(inputOf(NO_ORDINAL));
  const working = Array.from({ length: workers ? LOOPS : 0 }, async () => {
    while (!stopping) await workOnce(pool);
  });
  const watching = watch(pool, ended, () => stopping);
  return {
    createMany: async (count) => {
      const ids = Array.from({ length: count }, () => randomUUID());
      await pool.query({ name: 'create', text: CREATE, values: [ids, input] });
    },
    createOne: async () => {
      await pool.query({ name: 'create', text: CREATE, values: [[randomUUID()], input] });
    },
    stop: async () => {
      stopping = true;
      await Promise.all([...working, watching]);
      await end();
    },
  };
}

interface Claimed {
  readonly execution: string;
  readonly token: string;
}

async function workOnce(pool: pg.Pool): Promise<void> {
  const { rows } = await pool.query<Claimed>({ name: 'claim', text: CLAIM, values: ['bench'] });
  if (rows.length === 0) return await breathe();
  const values = [rows.map(({ execution }) => execution), rows.map(({ token }) => token)];
  await pool.query({ name: 'complete', text: COMPLETE, values });
}

/**
 * Commits do not come in the order of their seq, so it goes on behind the last one without a gap and skips what it has
 * seen beyond. One that rolled back would stop it for ever: one more thing that an engine has to pay for.
 */
async function watch(pool: pg.Pool, ended: Tally, stopping: () => boolean): Promise<void> {
  let gapless = 0n;
  const beyond = new Set<bigint>();
  while (!stopping()) {
    const { rows } = await pool.query<Seen>({ name: 'see', text: SEE, values: [gapless] });
    const fresh = rows.filter(({ seq }) => !beyond.has(BigInt(seq)));
    if (fresh.length === 0) await breathe();
    for (const { seq, ends } of fresh) {
      beyond.add(BigInt(seq));
      if (ends > 0) ended.add(ends);
    }
    while (beyond.delete(gapless + 1n)) gapless++;
  }
}

interface Seen {
  readonly seq: string;
  readonly ends: number;
}

function breathe(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 2));
}

export const batchSql: Contestant = { name: 'SQL by hand, batches of 500', pace: 'fast', start };
