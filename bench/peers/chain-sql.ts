/**
 * Chains by hand: one statement, and so one transaction, per hop. It ends a member, fills the slot of the next one,
 * releases it and leases it to the same worker, in the narrowest tables that could hold what Tailrace keeps, in this
 * process, without a server. Nothing is checked and nothing can go wrong.
 */
import { randomUUID } from 'node:crypto';
import type pg from 'pg';
import { inputOf, NO_ORDINAL } from '../content.js';
import { type ChainContestant, type Chains, type ChainsOptions, LENGTH } from './chains.js';
import { openPool } from './pool.js';

/** As many as Tailrace's server has by default. More would only queue for the same disk and cores. */
const CONNECTIONS = 10;

const TABLES = `
  create sequence token;
  create table flow (id uuid primary key, settled_at timestamptz);
  create table execution (id uuid primary key, flow uuid not null, input bytea, created_at timestamptz not null);
  create table slot (downstream uuid primary key, upstream uuid not null unique, outcome smallint) with (fillfactor = 85);
  create table blocked (execution uuid primary key, blocked_at timestamptz not null);
  create table lease (execution uuid primary key, lease uuid not null, token bigint not null, worker text not null,
    started_at timestamptz not null, expires_at timestamptz not null);
  create index lease_expires on lease (expires_at);
  create table attempt (execution uuid, number int, lease uuid not null, token bigint not null, worker text not null,
    started_at timestamptz not null, ended_at timestamptz not null, primary key (execution, number));
  create table outcome (execution uuid primary key, state smallint not null, result bytea, ended_at timestamptz not null);
  create table log (seq bigint generated always as identity primary key, at timestamptz not null, kind smallint not null,
    flow uuid not null, execution uuid[] not null);
`;

const MAKE = `
  with grown as (insert into flow select $1),
    made as (insert into execution
      select id, $1, case when ordinal = 1 then $3::bytea end, clock_timestamp()
      from unnest($2::uuid[]) with ordinality u (id, ordinal) returning id),
    edges as (insert into slot select ($2::uuid[])[i + 1], ($2::uuid[])[i] from generate_series(1, ${LENGTH - 1}) i),
    waiting as (insert into blocked select id, clock_timestamp() from unnest(($2::uuid[])[2:]) id),
    logged as (insert into log (at, kind, flow, execution) select clock_timestamp(), 1, $1, array_agg(id) from made)
  insert into lease select ($2::uuid[])[1], gen_random_uuid(), nextval('token'), 'bench', clock_timestamp(),
    clock_timestamp() + interval '30 s' returning execution, token, $3::bytea as input`;

const HOP = `
  with gone as (delete from lease where execution = $2 and token = $3 and expires_at > clock_timestamp() returning *),
    tried as (insert into attempt select execution, 1, lease, token, worker, started_at, clock_timestamp() from gone),
    ended as (insert into outcome select execution, 7, $4, clock_timestamp() from gone),
    filled as (update slot s set outcome = 1 from gone where s.upstream = gone.execution returning s.downstream),
    freed as (delete from blocked b using filled where b.execution = filled.downstream returning b.execution),
    granted as (insert into lease select execution, gen_random_uuid(), nextval('token'), 'bench', clock_timestamp(),
      clock_timestamp() + interval '30 s' from freed returning execution, token),
    settled as (update flow set settled_at = clock_timestamp() where id = $1 and not exists (select from freed)
      returning id),
    logged as (insert into log (at, kind, flow, execution)
      select clock_timestamp(), 3, $1, array[execution] from gone
      union all select clock_timestamp(), 50, $1, array[execution] from freed
      union all select clock_timestamp(), 2, $1, array[execution] from granted
      union all select clock_timestamp(), 43, $1, '{}' from settled)
  select execution, token, $4::bytea as input from granted`;

const SETTINGS = { enable_seqscan: 'off', jit: 'off' };
const RESULT = Buffer.from(inputOf(NO_ORDINAL));

interface Held {
  readonly execution: string;
  readonly token: string;
  readonly input: Buffer;
}

async function start({ ground, onHop }: ChainsOptions): Promise<Chains> {
  const { pool, end } = openPool(ground.url, CONNECTIONS, SETTINGS);
  await pool.query(TABLES);
  return { run: () => runChain(pool, onHop), stop: end };
}

async function runChain(pool: pg.Pool, onHop: (ms: number) => void): Promise<void> {
  const flow = randomUUID();
  const members = Array.from({ length: LENGTH }, () => randomUUID());
  const { rows } = await pool.query<Held>({ name: 'make', text: MAKE, values: [flow, members, RESULT] });
  for (let [held] = rows; held; ) {
    const sentMs = performance.now();
    const values = [flow, held.execution, held.token, RESULT];
    const { rows: next } = await pool.query<Held>({ name: 'hop', text: HOP, values });
    if (next.length > 0) onHop(performance.now() - sentMs);
    [held] = next;
  }
}

export const chainSql: ChainContestant = { name: 'SQL by hand, a transaction per hop', start };
