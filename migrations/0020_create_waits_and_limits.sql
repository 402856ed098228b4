-- Waits for signals, limits and budgets: the tables, and the columns they bring to the phase tables.
--
-- A parked execution stands in `suspension`, its open attempt in `parked`, as for children. A concurrency key is a row whose
-- lock decides how many of its executions stand in line or run; the rest wait in `blocked`. A quota is a row whose lock
-- serialises the claims of its lane; what it counts are the leases themselves, so a crash leaks nothing. A budget's use is
-- a base and deltas after it, so that no row is rewritten per report.
-- Lock order: phase row → join → flow → concurrency key → quota → budget → dead letter. A claim takes quotas first, and
-- everything after them with SKIP LOCKED.
-- Locks: short ACCESS EXCLUSIVE locks on the phase tables, to add columns. older-servers: refused

-- The concurrency keys that were ever used or given a limit. id: {schema}.gate_of(lane, key).
create table {schema}.concurrency_key (
  id uuid not null primary key,
  namespace int not null,
  lane int not null,
  key text not null check (octet_length(key) between 1 and 200),
  max_running int check (max_running > 0), -- null: the lane's default
  weight int not null default 1 check (weight between 1 and 100),
  declared boolean not null default false -- by an operator, in the lane's settings
) with (fillfactor = 90);
create index concurrency_key_declared on {schema}.concurrency_key (lane, key) where declared;

-- The id of a key's row: it follows from lane and key, so nothing is looked up to name it.
create function {schema}.gate_of(p_lane int, p_key text) returns uuid language sql immutable strict as $$
  select md5(p_lane || '/' || p_key)::uuid
$$;

-- Limits of a lane, or of a namespace (lane 0): how many run at once, how many start per window.
create table {schema}.quota (
  namespace int not null,
  lane int not null default 0,
  max_running int check (max_running > 0),
  max_starts int check (max_starts > 0),
  window_ms bigint check (window_ms > 0),
  started_at timestamptz[] not null default '{}', -- the last start of each bucket of the window, oldest first
  started int[] not null default '{}', -- how many those were
  changed_at timestamptz not null default clock_timestamp(),
  primary key (namespace, lane),
  check ((max_starts is null) = (window_ms is null)),
  check (cardinality(started_at) = cardinality(started))
) with (fillfactor = 50, autovacuum_vacuum_cost_delay = 0);

alter table {schema}.lane add column default_key_limit int check (default_key_limit > 0);

create table {schema}.budget (
  id uuid not null primary key,
  namespace int not null,
  name text not null check (octet_length(name) between 1 and 200),
  breach_policy smallint not null default 1 check (breach_policy in (1, 2, 3)), -- refuse, fail, suspend
  window_ms bigint check (window_ms > 0),
  window_start timestamptz not null,
  reset_at timestamptz, -- end of the present window
  epoch bigint not null default 1, -- raised by every reset: use of an earlier one cannot be given back
  folded bigint not null default 0, -- deltas up to this number are in the bases
  exhausted boolean not null default false, -- a dimension is used up
  version bigint not null default 1,
  created_at timestamptz not null,
  changed_at timestamptz not null,
  unique (namespace, name),
  check ((window_ms is null) = (reset_at is null))
) with (fillfactor = 70);
-- A budget that is used up comes back by itself at the end of its window; others are reset when they are next looked at.
create index budget_reset on {schema}.budget (reset_at) where exhausted and reset_at is not null;

create table {schema}.budget_dimension (
  budget uuid not null,
  dimension text not null check (octet_length(dimension) between 1 and 64),
  hard_limit bigint not null check (hard_limit >= 0),
  soft_limit bigint not null default 0 check (soft_limit between 0 and hard_limit),
  used bigint not null default 0, -- base: without the deltas above budget.folded
  epoch bigint not null default 1, -- of the budget, when this use last began at 0
  primary key (budget, dimension)
) with (fillfactor = 70);

create sequence {schema}.budget_seq as bigint cache 1; -- drawn under the budget's lock
create table {schema}.budget_delta (
  budget uuid not null,
  seq bigint not null,
  dimension text not null,
  amount bigint not null,
  primary key (budget, seq, dimension)
) with (autovacuum_vacuum_cost_delay = 0, vacuum_truncate = off);

-- Whose use a budget bounds. kind: 1 the namespace, 2 a lane, 3 a flow, 4 an execution.
create table {schema}.budget_attachment (
  namespace int not null,
  kind smallint not null check (kind between 1 and 4),
  lane int not null default 0 check ((kind = 2) = (lane <> 0)),
  subject uuid not null default '00000000-0000-0000-0000-000000000000',
  budget uuid not null,
  primary key (namespace, kind, lane, subject, budget)
);
create index budget_attachment_budget on {schema}.budget_attachment (budget);

-- The attachments of budgets that are used up: what a claim looks at, and nearly always empty.
create table {schema}.spent (
  namespace int not null,
  kind smallint not null,
  lane int not null default 0,
  subject uuid not null default '00000000-0000-0000-0000-000000000000',
  budget uuid not null,
  primary key (namespace, kind, lane, subject, budget)
) with (autovacuum_vacuum_cost_delay = 0, vacuum_truncate = off);
create index spent_budget on {schema}.spent (budget);

-- What an execution has reported, net of what it gave back; and what of it counts in which budget.
create table {schema}.execution_usage (
  execution uuid not null,
  dimension text not null,
  amount bigint not null check (amount >= 0),
  primary key (execution, dimension)
) with (fillfactor = 70);
create table {schema}.applied_usage (
  execution uuid not null,
  budget uuid not null,
  dimension text not null,
  epoch bigint not null,
  amount bigint not null check (amount >= 0),
  primary key (execution, budget, dimension)
) with (fillfactor = 70);
-- Idempotency keys of reports (kind 1) and give-backs (kind 2). 3: what a breach answered that took the execution from its
-- holder; its key is the lease.
create table {schema}.usage_report (
  execution uuid not null,
  kind smallint not null check (kind in (1, 2, 3)),
  key text not null,
  hash bytea not null,
  answer jsonb not null,
  created_at timestamptz not null default clock_timestamp(),
  primary key (execution, kind, key)
);

-- Parked: waits for signals. Phase columns as everywhere; the open attempt stands in `parked`.
create table {schema}.suspension (
  execution uuid not null primary key,
  namespace int not null,
  number int not null check (number >= 1), -- how often this attempt was parked
  reason smallint not null check (reason between 1 and 7),
  condition jsonb not null,
  note text not null default '',
  suspended_at timestamptz not null,
  timeout_at timestamptz,
  due_at timestamptz, -- timeout_at until it has passed
  behavior smallint not null check (behavior between 1 and 5), -- fail, cancel, expire, resume, escalate
  resume_delay_ms bigint not null default 0 check (resume_delay_ms >= 0),
  escalated boolean not null default false,
  budget uuid, -- parked by the breach of this budget, and let go on by its return
  class int not null,
  priority smallint not null check (priority between -1000 and 1000),
  kind smallint not null,
  attempt int not null check (attempt >= 1),
  failures int not null,
  reclaims int not null,
  timeout_ms bigint,
  start_by timestamptz,
  deadline timestamptz,
  redrive boolean not null,
  flow uuid,
  linked boolean not null,
  gate uuid,
  check (due_at is null or due_at = timeout_at),
  check (not escalated or (timeout_at is not null and due_at is null))
) with (autovacuum_vacuum_cost_delay = 0, vacuum_truncate = off);
create index suspension_due on {schema}.suspension (due_at) where due_at is not null;
create index suspension_order on {schema}.suspension (namespace, suspended_at, execution);
create index suspension_budget on {schema}.suspension (budget, execution) where budget is not null;

-- id: what a token names. state as stored: pending, active, closed; one whose execution has ended is closed too.
create table {schema}.waitpoint (
  id uuid not null primary key,
  namespace int not null,
  execution uuid not null,
  key text not null check (octet_length(key) between 1 and 200),
  state smallint not null default 1 check (state between 1 and 3),
  secret int not null, -- signs its token
  signals int not null default 0,
  created_at timestamptz not null,
  expires_at timestamptz not null,
  unique (execution, key)
) with (fillfactor = 80);
create index waitpoint_open on {schema}.waitpoint (namespace, expires_at, id) where state <> 3;
create index waitpoint_due on {schema}.waitpoint (expires_at) where state <> 3;

-- number: order of arrival at the execution, from 1. matched: the suspension of the attempt `attempt` that it satisfied.
create table {schema}.signal (
  execution uuid not null,
  number int not null check (number >= 1),
  id uuid not null,
  name text not null,
  source smallint not null check (source between 1 and 5),
  source_id text not null default '',
  payload_type text,
  payload bytea,
  waitpoint text, -- key; null: addressed to the execution
  key text, -- idempotency key
  hash bytea,
  attempt int,
  matched int,
  by_resume boolean not null default false, -- a timeout's, or an operator's who resumed: said to one suspension alone
  received_at timestamptz not null,
  primary key (execution, number),
  check ((attempt is null) = (matched is null))
);
create unique index signal_key on {schema}.signal (execution, key) where key is not null;
create index signal_unmatched on {schema}.signal (execution, name, number) where matched is null;
create index signal_matched on {schema}.signal (execution, attempt, matched, number) where matched is not null;

-- What signs waitpoint tokens, encrypted with a key that only the configuration knows.
create table {schema}.waitpoint_secret (
  id int generated always as identity primary key,
  namespace int not null,
  sealed bytea not null, -- nonce, ciphertext and tag
  created_at timestamptz not null default clock_timestamp(),
  accepted_until timestamptz, -- null: the present one
  unique (namespace, id)
);
create unique index waitpoint_secret_present on {schema}.waitpoint_secret (namespace) where accepted_until is null;

-- gate: the row of its concurrency key. It holds a slot of the key in ready and lease, and in no other phase.
alter table {schema}.execution add column concurrency_key text;
alter table {schema}.ready add column gate uuid;
alter table {schema}.scheduled add column gate uuid;
create index ready_gate on {schema}.ready (gate) where gate is not null;

-- limited: counts in a quota. usage: reported by the attempt. satisfied: key and content of the suspension that was satisfied
-- at once, so that a repeat is recognised.
alter table {schema}.lease add column gate uuid, add column limited boolean not null default false, add column usage jsonb,
  add column satisfied bytea;
create index lease_gate on {schema}.lease (gate) where gate is not null;
create index lease_limited on {schema}.lease (namespace, class) where limited;
alter table {schema}.attempt add column usage jsonb;

-- waits_for: 1 a join, 2 its concurrency key, 3 a budget. place: its order among those of its key.
alter table {schema}.blocked alter column barrier drop not null,
  add column waits_for smallint not null default 1 check (waits_for in (1, 2, 3)), add column gate uuid,
  add column budget uuid, add column place bigint,
  drop constraint blocked_check,
  add constraint blocked_by_what check ((waits_for = 1) = (barrier is not null) and (waits_for = 3) = (budget is not null)
    and (waits_for <> 2 or (gate is not null and place is not null)) and (state = 1 or waits_for = 1)),
  add constraint blocked_children_resume check (waits_for <> 1 or resume = (state = 6));
create index blocked_gate on {schema}.blocked (gate, priority desc, place) where waits_for = 2;
create index blocked_budget on {schema}.blocked (budget, execution) where budget is not null;

-- cause: why it goes on (ResumeCause), once that is decided.
alter table {schema}.parked alter column barrier drop not null, add column cause smallint check (cause between 1 and 5),
  add column released_at timestamptz, add column usage jsonb;

-- 7 balance a concurrency key; 8 move waiting work of a used-up budget out of line; 9 let go on what a budget held back.
alter table {schema}.follow_up drop constraint follow_up_kind_check,
  add constraint follow_up_kind_check check (kind between 1 and 9);
create index follow_up_budget on {schema}.follow_up (due_at) where kind in (8, 9);
