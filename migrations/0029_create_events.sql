-- Events, subscriptions and ordering keys: the tables, and the columns they bring.
--
-- An event is a row of `event`, written with its place in the log by the transaction that publishes it. That transaction also
-- asks which subscriptions match, in one statement with the version of all subscriptions (`subscription_registry`), which is
-- kept with the event: whether a subscription existed for an event is decided once, by that number, and never by time.
-- What can start at once starts there. What cannot (ordered reactions wait for the log's order, slots of batches for their
-- join, halted subscriptions for a person, wide events for a transaction of their own) stands in `unrouted`, and whoever
-- deletes such a row makes what it stands for in the same transaction: exactly once, whatever crashes.
-- Lock order: event key → phase row → join → flow → stream → concurrency key → quota → budget → dead letter.
-- Locks: short ACCESS EXCLUSIVE locks on the execution and phase tables, to add columns. older-servers: refused

-- Ids that publishers gave, with a hash of what they stand for. Ids that the engine made need no row.
create table {schema}.event_key (
  namespace int not null,
  event_id text not null check (octet_length(event_id) between 1 and 200),
  event uuid not null,
  hash bytea not null,
  created_at timestamptz not null,
  primary key (namespace, event_id)
);

create table {schema}.event (
  id uuid not null, -- UUIDv7
  namespace int not null,
  event_id text, -- as its publisher named it; null: its id
  seq bigint not null, -- its place in the log: the row, and the entry in it from 1
  idx int not null,
  type text not null,
  stream int, -- {schema}.stream
  version bigint,
  flow uuid not null,
  cause uuid, -- event
  cause_execution uuid, -- the execution that emitted it
  hops int not null check (hops >= 0),
  batch uuid,
  batch_index int,
  batch_size int,
  schema_version int not null default 0,
  tags jsonb not null default '{}',
  headers jsonb not null default '{}',
  occurred_at timestamptz, -- data: nothing is decided by it
  published_at timestamptz not null,
  subscriptions bigint not null, -- version of subscription_registry when its subscriptions were looked up
  payload_type text,
  payload bytea,
  primary key (id),
  check ((stream is null) = (version is null)),
  check ((batch is null) = (batch_index is null) and (batch is null) = (batch_size is null)),
  check (batch is null or (batch_index >= 0 and batch_index < batch_size))
) partition by range (id);
create index event_flow on {schema}.event (flow, id);
create index event_type on {schema}.event (namespace, type, id);
create index event_stream on {schema}.event (stream, version) where stream is not null;
create index event_cause on {schema}.event (cause, id) where cause is not null;
-- What was published for it other than by what it started, and what an execution has emitted, in the order of ids.
create index event_caused on {schema}.event (cause, id) where cause is not null and cause_execution is null;
create index event_cause_execution on {schema}.event (cause_execution, id) where cause_execution is not null;
create index event_batch on {schema}.event (batch, batch_index) where batch is not null;
create index event_tags on {schema}.event using gin (tags jsonb_path_ops) where tags <> '{}';

do $$
begin
  if exists (select from pg_settings where name = 'default_toast_compression' and 'lz4' = any (enumvals)) then
    alter table {schema}.event alter column payload set compression lz4;
  end if;
end $$;

-- Named sequences of events. Its row is locked by whoever appends, and says the version it has.
create table {schema}.stream (
  id int generated always as identity primary key,
  namespace int not null,
  name text not null check (octet_length(name) between 1 and 200),
  version bigint not null default 0 check (version >= 0),
  unique (namespace, name)
) with (fillfactor = 70);

-- One row: raised by every change of a subscription, under its row lock.
create table {schema}.subscription_registry (
  version bigint not null
);
insert into {schema}.subscription_registry values (1);

create table {schema}.subscription (
  id int generated always as identity primary key,
  namespace int not null,
  name text not null check (octet_length(name) between 1 and 200),
  version bigint not null default 1,
  since bigint not null, -- version of the registry that made it: events of an earlier one are the past to it
  state smallint not null default 1 check (state in (1, 2, 3, 4)), -- live, reading the past, halted, deleted
  -- What it matches: lists are alternatives, an empty one admits everything; the fields must all hold.
  event_types text[] not null default '{}',
  type_prefixes text[] not null default '{}', -- further alternatives to event_types
  streams text[] not null default '{}',
  stream_prefixes text[] not null default '{}',
  match_flow uuid,
  match_tags jsonb not null default '{}',
  match_headers jsonb not null default '{}',
  payload_matches jsonb not null default '[]', -- of {path: text[], values: text[]}
  -- What it makes.
  class int not null,
  priority smallint not null default 0 check (priority between -1000 and 1000),
  delay_ms bigint not null default 0 check (delay_ms >= 0),
  ttl_ms bigint check (ttl_ms > 0),
  deadline_ms bigint check (deadline_ms > 0),
  timeout_ms bigint check (timeout_ms > 0),
  retry_max int check (retry_max >= 1), -- null: the lane's when it starts something, else the engine's
  retry_initial_ms bigint check (retry_initial_ms >= 0),
  retry_factor real check (retry_factor >= 1),
  retry_cap_ms bigint check (retry_cap_ms >= 0),
  reclaims_max int check (reclaims_max >= 0),
  count_lost boolean,
  tags jsonb not null default '{}',
  optional boolean not null default false,
  key_source smallint check (key_source between 1 and 5), -- flow, stream, tag, header, payload
  key_name text, -- of the tag or header
  key_path text[], -- in the payload
  ordered boolean not null default false, -- the key is an ordering key, else a concurrency key
  dead_head smallint check (dead_head in (1, 2)), -- block, skip
  failure_events jsonb,
  joins boolean not null default false, -- one execution per batch
  join_type text, -- type of the events that fill slots; null: whichever is single
  join_policy jsonb,
  spec jsonb not null, -- as asked for
  -- Reading the past: after this place of the log, in its order. past_end: whether all of the past can be seen by now.
  past_from bigint, -- position to begin after
  past_base bigint not null default 0,
  past_seq bigint not null default 0,
  past_idx int not null default 0,
  past_id uuid not null default '00000000-0000-0000-0000-000000000000',
  past_xid xid8, -- transactions before it may still publish into its past
  past_top bigint, -- no row of the log above it is of its past
  parted boolean not null default false, -- its flows are routed side by side: always ordered by them
  halted_reason text,
  halted_at timestamptz,
  actor text not null default '',
  created_at timestamptz not null,
  changed_at timestamptz not null,
  check (not ordered or key_source is not null),
  check (ordered = (dead_head is not null)),
  check (joins = (join_policy is not null)),
  check ((state = 3) = (halted_at is not null))
);

-- A deleted one keeps its row, for what it started names it; another one may take its name.
create unique index subscription_name on {schema}.subscription (namespace, name) where state <> 4;
create index subscription_named on {schema}.subscription (namespace, name, id);
create index subscription_past on {schema}.subscription (id) where state = 2;

-- Under which event types a subscription is looked up: each exact one, or '' when others may match too.
create table {schema}.subscription_lead (
  namespace int not null,
  lead text not null,
  subscription int not null,
  primary key (namespace, lead, subscription)
);
create index subscription_lead_subscription on {schema}.subscription_lead (subscription);
-- Types that joins take from several emitted events.
create index subscription_joins on {schema}.subscription (namespace, join_type) where joins;

-- Events whose reactions are not all made. subscription 0: its subscriptions are to be looked up first.
-- part: what may be routed side by side; in it, in the log's order.
create table {schema}.unrouted (
  event uuid not null,
  subscription int not null default 0,
  part smallint not null default 0 check (part between 0 and 15),
  seq bigint not null,
  idx int not null,
  flow uuid not null,
  forgiven boolean not null default false, -- its hops count from 0: a person sent it on
  primary key (event, subscription)
) with (autovacuum_vacuum_cost_delay = 0, vacuum_truncate = off);
create index unrouted_order on {schema}.unrouted (subscription, part, seq, idx);
create index unrouted_flow on {schema}.unrouted (flow);

-- The join of a subscription over a batch.
create table {schema}.batch_join (
  subscription int not null,
  batch uuid not null,
  barrier uuid not null,
  execution uuid not null,
  primary key (subscription, batch)
);
create index batch_join_batch on {schema}.batch_join (batch);

alter table {schema}.namespace add column max_hops int not null default 64 check (max_hops between 1 and 1000);

-- event: what it reacts to; its input is that event's payload where it has none of its own. hops: of what it emits, less
-- one. batch: the slot it owns.
alter table {schema}.execution add column subscription int, add column subscription_version bigint, add column event uuid,
  add column hops int not null default 0, add column batch uuid, add column batch_index int, add column batch_size int,
  add column ordering_key text, add column dead_head smallint, add column failure_events jsonb;
create index execution_subscription on {schema}.execution (subscription, id) where subscription is not null;
create index execution_event on {schema}.execution (event, id) where event is not null;
create index execution_batch on {schema}.execution (batch, batch_index) where batch is not null;

-- ordered: one at a time, and whoever has begun keeps the place in every phase until it has ended.
alter table {schema}.concurrency_key add column ordered boolean not null default false;
-- 4: its ordering key.
alter table {schema}.blocked drop constraint blocked_waits_for_check, drop constraint blocked_by_what,
  add constraint blocked_waits_for_check check (waits_for in (1, 2, 3, 4)),
  add constraint blocked_by_what check ((waits_for = 1) = (barrier is not null) and (waits_for = 3) = (budget is not null)
    and (waits_for not in (2, 4) or (gate is not null and place is not null)) and (state = 1 or waits_for = 1));
create index blocked_line on {schema}.blocked (gate, place) where waits_for = 4;
-- Who keeps the place of an ordering key while it neither stands in line nor runs.
-- Members that wait for their join keep no place yet, and may be many of one key.
create index blocked_holder on {schema}.blocked (gate) where gate is not null and (waits_for = 3 or state = 6);
create index scheduled_gate on {schema}.scheduled (gate) where gate is not null;
create index suspension_gate on {schema}.suspension (gate) where gate is not null;

-- Of heads: below every place in line, later ones above earlier ones.
create sequence {schema}.dead_head_place as bigint minvalue -4611686018427387904 maxvalue -1 start -4611686018427387904;
-- gate: of the ordering key that it blocks while it is not closed; gate_place: the place it had there.
alter table {schema}.dead_letter add column event uuid, add column event_id text, add column event_type text,
  add column subscription text, add column gate uuid, add column gate_place bigint;
-- In a statement of its own: letters that there are get none.
alter table {schema}.dead_letter alter column gate_place set default nextval('{schema}.dead_head_place');
create index dead_letter_gate on {schema}.dead_letter (gate, gate_place) where gate is not null and state <> 3;
create index dead_letter_event on {schema}.dead_letter (event) where event is not null;

-- A slot of a batch is filled by an event, or by the execution that owned it and left none.
alter table {schema}.slot add column event uuid, alter column upstream drop not null; -- of a batch: who left it
alter table {schema}.barrier add column subscription int, add column batch uuid;
create index barrier_subscription on {schema}.barrier (subscription, id) where subscription is not null;
create index barrier_open on {schema}.barrier (subscription) where subscription is not null and due_at is not null;

-- 10: see whether slot `place` of the batch `subject` can still be filled.
alter table {schema}.follow_up drop constraint follow_up_kind_check,
  add constraint follow_up_kind_check check (kind between 1 and 10), add column place int not null default 0;

-- Makes the partitions from two days ago to two weeks ahead, each p_days wide; answers how many days are ahead.
-- Each is built as a plain table with the CHECK that its bounds imply and attached then: PARTITION OF would wait, and
-- make every insert wait, behind one open reader. After a long standstill it starts anew near today and leaves a gap,
-- which no accepted id can fall into. Repeating it changes nothing; two at once queue on the advisory lock.
create or replace function {schema}.ensure_partitions(p_days int) returns double precision language plpgsql volatile as $$
declare
  c_day constant bigint := 86400000;
  v_now bigint := extract(epoch from clock_timestamp()) * 1000;
  v_to bigint;
  v_from bigint;
  v_suffix text;
  v_parent text;
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
    foreach v_parent in array array['execution', 'attempt', 'outcome', 'frame_head', 'frame', 'event'] loop
      perform {schema}.make_partition(v_parent, case when v_parent in ('execution', 'event') then 'id' else 'execution' end, v_suffix,
        v_from, v_to);
    end loop;
    insert into {schema}.execution_partition values (v_from, v_to, v_suffix);
  end loop;
  return (v_to - v_now) / c_day::double precision;
end $$;

select {schema}.make_partition('event', 'id', p.suffix, p.from_ms, p.to_ms) from {schema}.execution_partition p;

-- n UUIDv7, in ascending order as far as the clock tells. PL/pgSQL, because a function in SQL is planned at every call.
create function {schema}.uuids_v7(p_n int) returns uuid[] language plpgsql volatile as $$
declare
  v_ms bytea := substring(int8send((extract(epoch from clock_timestamp()) * 1000)::bigint) from 3);
begin
  return array(
    select encode(set_byte(overlay(r.u placing v_ms from 1 for 6), 6, (get_byte(r.u, 6) & 15) | 112), 'hex')::uuid id
    from (select uuid_send(gen_random_uuid()) u from generate_series(1, p_n)) r order by id);
end $$;
