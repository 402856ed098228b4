/**
 * Waits by hand: four statements, and so four transactions, per cycle. Suspending, signaling, claiming and completing, in
 * the narrowest tables that could hold what Tailrace keeps, in this process, without a server. Nothing is checked but
 * the fencing token, and whoever has signaled claims at once, so that nobody has to be woken.
 */
import { randomUUID } from 'node:crypto';
import type pg from 'pg';
import { inputOf, NO_ORDINAL } from '../content.js';
import { openPool } from './pool.js';
import { Expected, type WaitContestant, type Waits, type WaitsOptions, type WaitTimes } from './waits.js';

/** As many as Tailrace's server has by default. More would only queue for the same disk and cores. */
const CONNECTIONS = 10;

/** Taken at once: all there are, so that nobody leaves what another has just signaled. */
const MOST = 100;

const TABLES = `
  create sequence token;
  create sequence line;
  create table execution (id uuid primary key, input bytea, created_at timestamptz not null);
  create table ready (class int, priority smallint, seq bigint, execution uuid not null, attempt int not null,
    primary key (class, priority, seq));
  create table lease (execution uuid primary key, lease uuid not null, token bigint not null, worker text not null,
    attempt int not null, started_at timestamptz not null, expires_at timestamptz not null);
  create index lease_expires on lease (expires_at);
  create table suspension (execution uuid primary key, attempt int not null, condition jsonb not null,
    suspended_at timestamptz not null, due_at timestamptz);
  create index suspension_due on suspension (due_at) where due_at is not null;
  create table parked (execution uuid primary key, lease uuid not null, token bigint not null, worker text not null,
    started_at timestamptz not null);
  create table signal (execution uuid, number int, id uuid not null, name text not null, payload bytea, matched int,
    received_at timestamptz not null, primary key (execution, number));
  create table attempt (execution uuid, number int, lease uuid not null, token bigint not null, worker text not null,
    started_at timestamptz not null, ended_at timestamptz not null, primary key (execution, number));
  create table outcome (execution uuid primary key, state smallint not null, result bytea, ended_at timestamptz not null);
  create table log (seq bigint generated always as identity primary key, at timestamptz not null, kinds smallint[] not null,
    execution uuid not null);
`;

const MAKE = `
  with made as (insert into execution select id, $2, clock_timestamp() from unnest($1::uuid[]) id returning id)
  insert into lease select id, gen_random_uuid(), nextval('token'), 'bench', 1, clock_timestamp(),
    clock_timestamp() + interval '1 h' from made returning execution, token`;

const SUSPEND = `
  with gone as (delete from lease where execution = $1 and token = $2 and expires_at > clock_timestamp() returning *),
    parking as (insert into parked select execution, lease, token, worker, started_at from gone),
    waiting as (insert into suspension select execution, attempt, $3, clock_timestamp(), clock_timestamp() + interval '1 h'
      from gone)
  insert into log (at, kinds, execution) select clock_timestamp(), '{3}', execution from gone`;

const SIGNAL = `
  with gone as (delete from suspension where execution = $1 returning *),
    told as (insert into signal select execution, 1, gen_random_uuid(), $2, $3, 1, clock_timestamp() from gone),
    queued as (insert into ready select 1, 0, nextval('line'), execution, attempt from gone)
  insert into log (at, kinds, execution) select clock_timestamp(), '{30,4}', execution from gone`;

const CLAIM = `
  with next as (select ctid from ready where class = 1 order by priority, seq limit ${MOST} for update skip locked),
    gone as (delete from ready r using next where r.ctid = next.ctid returning r.*),
    granted as (insert into lease select execution, gen_random_uuid(), nextval('token'), 'bench', attempt, clock_timestamp(),
      clock_timestamp() + interval '1 h' from gone returning execution, token),
    logged as (insert into log (at, kinds, execution) select clock_timestamp(), '{2}', execution from granted)
  select g.execution, g.token, e.input, s.payload
  from granted g join execution e on e.id = g.execution left join signal s on s.execution = g.execution and s.matched = 1`;

const COMPLETE = `
  with gone as (delete from lease where execution = $1 and token = $2 and expires_at > clock_timestamp() returning *),
    unparked as (delete from parked p using gone where p.execution = gone.execution returning p.*),
    tried as (insert into attempt select g.execution, g.attempt, g.lease, g.token, g.worker, p.started_at, clock_timestamp()
      from gone g join unparked p using (execution)),
    ended as (insert into outcome select execution, 7, $3, clock_timestamp() from gone)
  insert into log (at, kinds, execution) select clock_timestamp(), '{5}', execution from gone`;

const SETTINGS = { enable_seqscan: 'off', jit: 'off' };
const CONDITION = { kind: 'signal', name: 'go', waitpoint: '' };
const PAYLOAD = Buffer.from(inputOf(NO_ORDINAL));

interface Held {
  readonly execution: string;
  readonly token: string;
}

async function start({ ground }: WaitsOptions): Promise<Waits> {
  const { pool, end } = openPool(ground.url, CONNECTIONS, SETTINGS);
  await pool.query(TABLES);
  const held: Held[] = [];
  const resumed = new Expected<Held>();
  return {
    prepare: async (count) => {
      const ids = Array.from({ length: count }, () => randomUUID());
      held.push(...(await pool.query<Held>(MAKE, [ids, PAYLOAD])).rows);
    },
    cycle: () => cycle(pool, take(held), resumed),
    stop: end,
  };
}

async function cycle(pool: pg.Pool, { execution, token }: Held, resumed: Expected<Held>): Promise<WaitTimes> {
  const goesOn = resumed.arrival(execution);
  const beganMs = performance.now();
  await send(pool, 'suspend', SUSPEND, [execution, token, CONDITION]);
  const signaledMs = performance.now();
  await send(pool, 'signal', SIGNAL, [execution, 'go', PAYLOAD]);
  // Others' too, and perhaps another has taken this one.
  const { rows } = await pool.query<Held>({ name: 'claim', text: CLAIM });
  for (const claim of rows) resumed.arrived(claim.execution, claim);
  const claim = await goesOn;
  const resumeMs = performance.now() - signaledMs;
  await send(pool, 'complete', COMPLETE, [execution, claim.token, PAYLOAD]);
  return { resumeMs, cycleMs: performance.now() - beganMs };
}

async function send(pool: pg.Pool, name: string, text: string, values: readonly unknown[]): Promise<void> {
  const { rowCount } = await pool.query({ name, text, values: [...values] });
  if (rowCount !== 1) throw new Error(`${name} found nothing`);
}

function take(held: Held[]): Held {
  const next = held.pop();
  if (next === undefined) throw new Error('more cycles than were prepared');
  return next;
}

export const waitSql: WaitContestant = { name: 'SQL by hand, four transactions', start };
