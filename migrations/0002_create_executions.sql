-- Executions: the core row, the phase tables, what is kept of attempts and outcomes, and their partitions.
--
-- An execution's phase is the table it stands in: ready (QUEUED), scheduled (SCHEDULED), lease (RUNNING), outcome
-- (terminal). A transition deletes one narrow row and inserts another; the core row is written once and never updated.
-- Tables that grow with history are range-partitioned by execution id, which is a UUIDv7 and therefore time.
-- No foreign keys from hot or append-only tables: they cost 37 % and multixact storms (design/protocols.md E4).
-- Locks: creates only. older-servers: refused
create table {schema}.execution (
  id uuid not null primary key,
  namespace int not null,
  class int not null,
  request_id text,
  priority smallint not null check (priority between -1000 and 1000), -- as asked; the present one stands in the phase row
  run_at timestamptz,
  start_by timestamptz,
  deadline timestamptz,
  timeout_ms bigint check (timeout_ms > 0),
  retry_max int check (retry_max >= 1), -- null: the engine's default; the lane's was filled in at creation
  retry_initial_ms bigint check (retry_initial_ms >= 0),
  retry_factor real check (retry_factor >= 1),
  retry_cap_ms bigint check (retry_cap_ms >= 0),
  reclaims_max int check (reclaims_max >= 0),
  count_lost boolean,
  tags jsonb not null default '{}',
  input_type text,
  input bytea,
  flow uuid,
  letter uuid, -- the dead letter this execution redrives
  redrive_of uuid, -- the run before it
  root uuid, -- the execution whose idempotency key its handler shows to the world; null: itself
  created_at timestamptz not null
) partition by range (id);
create index execution_tags on {schema}.execution using gin (tags jsonb_path_ops) where tags <> '{}';
create index execution_letter on {schema}.execution (letter) where letter is not null;

create sequence {schema}.ready_seq as bigint cache 1;
create sequence {schema}.fencing_token as bigint cache 1; -- a cached range would let a later grant carry a lower token

create table {schema}.ready (
  class int not null,
  priority smallint not null check (priority between -1000 and 1000), -- negated, so that the index runs from most urgent
  seq bigint not null, -- order of becoming claimable; never reused, drawn after the transaction has its xid
  execution uuid not null unique,
  ready_at timestamptz not null,
  kind smallint not null, -- of the attempt that comes next
  attempt int not null, -- number of the last attempt, 0 before the first
  failures int not null,
  reclaims int not null,
  timeout_ms bigint,
  start_by timestamptz,
  deadline timestamptz,
  redrive boolean not null,
  primary key (class, priority, seq)
) with (autovacuum_vacuum_cost_delay = 0, vacuum_truncate = off);

create table {schema}.scheduled (
  execution uuid not null primary key,
  run_at timestamptz not null,
  class int not null,
  priority smallint not null check (priority between -1000 and 1000),
  kind smallint not null,
  attempt int not null,
  failures int not null,
  reclaims int not null,
  timeout_ms bigint,
  start_by timestamptz,
  deadline timestamptz,
  redrive boolean not null
) with (autovacuum_vacuum_cost_delay = 0, vacuum_truncate = off);
create index scheduled_due on {schema}.scheduled (run_at);

-- The lease row is the open attempt. Renewing writes only columns without an index (HOT); check_at, which is indexed,
-- is moved lazily by the sweeper, so it may lie before the true due time, never after it.
create table {schema}.lease (
  execution uuid not null primary key,
  lease uuid not null, -- random: whoever does not hold it cannot guess it
  token bigint not null,
  namespace int not null,
  class int not null,
  priority smallint not null check (priority between -1000 and 1000),
  worker text not null,
  worker_name text not null,
  kind smallint not null,
  attempt int not null check (attempt >= 1),
  failures int not null,
  reclaims int not null,
  ready_at timestamptz not null,
  started_at timestamptz not null,
  length_ms bigint not null, -- as granted: what a renewal extends by when it names no length
  expires_at timestamptz not null,
  check_at timestamptz not null,
  begin_by timestamptz, -- start_within: cleared by the first renewal or report
  timeout_ms bigint,
  timeout_at timestamptz,
  start_by timestamptz,
  deadline timestamptz,
  redrive boolean not null,
  cancel_at timestamptz, -- when a cooperative cancel was asked for
  cancel_until timestamptz,
  cancel_accepts_late boolean,
  cancel_reason text,
  progress_percent double precision,
  progress_message text,
  progress_at timestamptz,
  check ((cancel_at is null) = (cancel_until is null) and (cancel_at is null) = (cancel_accepts_late is null)),
  check (expires_at > started_at)
) with (fillfactor = 60, autovacuum_vacuum_cost_delay = 0, vacuum_truncate = off);
create index lease_check on {schema}.lease (check_at);
create index lease_worker on {schema}.lease (worker);

create table {schema}.attempt (
  execution uuid not null,
  number int not null check (number >= 1),
  namespace int not null,
  class int not null,
  kind smallint not null,
  worker text not null,
  worker_name text not null,
  lease uuid not null,
  token bigint not null,
  ready_at timestamptz not null,
  started_at timestamptz not null,
  ended_at timestamptz not null,
  outcome smallint not null,
  call smallint not null, -- what ended it; with hash, so that the same call again gets the first answer
  hash bytea,
  state smallint not null, -- of the execution after it
  run_at timestamptz,
  failure_class smallint,
  failure_code text,
  message text,
  details_type text,
  details bytea,
  progress_percent double precision,
  progress_message text,
  progress_at timestamptz,
  primary key (execution, number)
) partition by range (execution);

create table {schema}.outcome (
  execution uuid not null primary key,
  namespace int not null,
  class int not null,
  state smallint not null check (state between 7 and 11),
  reason smallint, -- null for success, else an EndReason
  ended_at timestamptz not null,
  attempt int not null, -- the ending attempt, 0 when it never ran
  token bigint,
  started_at timestamptz,
  failure_class smallint,
  failure_code text,
  message text,
  details_type text,
  details bytea,
  result_type text,
  result bytea,
  check ((state = 7) or (result is null and reason is not null))
) partition by range (execution);
create index outcome_unsuccessful on {schema}.outcome (namespace, state, execution) where state <> 7;

-- At most one row per execution: the earliest of its time to start and its deadline, looked at anew when it fires.
-- A running execution's deadline also stands in its lease's check_at.
create table {schema}.timer (
  execution uuid not null primary key,
  due_at timestamptz not null
) with (autovacuum_vacuum_cost_delay = 0, vacuum_truncate = off);
create index timer_due on {schema}.timer (due_at);

create table {schema}.request_key (
  namespace int not null,
  request_id text not null,
  execution uuid not null,
  hash bytea not null,
  created_at timestamptz not null,
  primary key (namespace, request_id)
);

-- What was made by ensure_partitions, in milliseconds since 1970: [from_ms, to_ms).
create table {schema}.execution_partition (
  from_ms bigint not null primary key,
  to_ms bigint not null,
  suffix text not null,
  check (to_ms > from_ms)
);

create function {schema}.uuid_at(p_ms bigint) returns uuid language sql immutable strict as $$
  select (lpad(to_hex(p_ms), 12, '0') || '00000000000000000000')::uuid
$$;

create function {schema}.uuid_v7() returns uuid language sql volatile as $$
  select encode(set_byte(overlay(u placing substring(int8send((extract(epoch from clock_timestamp()) * 1000)::bigint) from 3)
    from 1 for 6), 6, (get_byte(u, 6) & 15) | 112), 'hex')::uuid
  from (select uuid_send(gen_random_uuid()) u) random
$$;

-- lz4 where the server was built with it; partitions copy the setting.
do $$
begin
  if exists (select from pg_settings where name = 'default_toast_compression' and 'lz4' = any (enumvals)) then
    alter table {schema}.execution alter column input set compression lz4;
    alter table {schema}.outcome alter column result set compression lz4;
  end if;
end $$;

-- Makes the partitions from two days ago to two weeks ahead, each p_days wide; answers how many days are ahead.
-- Each is built as a plain table with the CHECK that its bounds imply and attached then: PARTITION OF would wait, and
-- make every insert wait, behind one open reader. After a long standstill it starts anew near today and leaves a gap,
-- which no accepted id can fall into. Repeating it changes nothing; two at once queue on the advisory lock.
create function {schema}.ensure_partitions(p_days int) returns double precision language plpgsql volatile as $$
declare
  c_day constant bigint := 86400000;
  v_now bigint := extract(epoch from clock_timestamp()) * 1000;
  v_to bigint;
  v_from bigint;
  v_suffix text;
  v_parent text;
  v_key text;
  v_table text;
begin
  select max(to_ms) into v_to from {schema}.execution_partition;
  if v_to >= v_now + 14 * c_day then return (v_to - v_now) / c_day::double precision; end if;
  perform pg_advisory_xact_lock(hashtext('tailrace partitions'), '{schema}.execution'::regclass::oid::int);
  select coalesce(max(to_ms), 0) into v_to from {schema}.execution_partition;
  v_to := greatest(v_to, (v_now / c_day - 2) * c_day);
  while v_to < v_now + 14 * c_day loop
    v_from := v_to;
    v_to := v_from + p_days * c_day;
    v_suffix := to_char(to_timestamp(v_from / 1000) at time zone 'UTC', 'YYYYMMDD');
    foreach v_parent in array array['execution', 'attempt', 'outcome'] loop
      v_table := v_parent || '_' || v_suffix;
      v_key := case v_parent when 'execution' then 'id' else 'execution' end;
      execute format('create table {schema}.%I (like {schema}.%I including all)', v_table, v_parent);
      execute format('alter table {schema}.%I add constraint bounds check (%I >= %L and %I < %L)', v_table, v_key,
        {schema}.uuid_at(v_from), v_key, {schema}.uuid_at(v_to));
      execute format('alter table {schema}.%I attach partition {schema}.%I for values from (%L) to (%L)', v_parent,
        v_table, {schema}.uuid_at(v_from), {schema}.uuid_at(v_to));
    end loop;
    insert into {schema}.execution_partition values (v_from, v_to, v_suffix);
  end loop;
  return (v_to - v_now) / c_day::double precision;
end $$;

select {schema}.ensure_partitions(7);
