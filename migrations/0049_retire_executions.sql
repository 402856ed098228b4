-- Retention of what is partitioned by id: executions with their attempts, outcomes and output, and events.
--
-- Why: old partitions are dropped, so that space goes back to the disk at once and no row is deleted one by one; what is still
-- needed of them is carried over. Each table has one lowest partition, `<table>_kept`, for everything below its frontier, so
-- whoever reads by id finds what was carried over where it always was. To retire the partitions from the frontier to p:
--   1. begin:  plain tables, `<table>_staged`, are made for what is still needed;
--   2. copy:   batch by batch it is copied there, without a lock on anything;
--   3. swap:   one short transaction locks the tables, copies what has changed since, detaches the old partitions and the kept
--              one, attaches the kept one again with p as its end, and moves the staged rows in. Nobody sees a row missing;
--   4. drop:   the detached tables go.
-- Where it stands is a row of `retirement`; every step is a transaction that reads and writes it, so a process that is killed
-- between any two leaves the rest to the next one. `needed_executions` and `needed_events` are the one place that says what
-- stays. What is kept and not needed any more is deleted in batches, and what stands in other tables about executions and flows
-- that are gone goes by walks over those tables, a few pages at a time.
-- Locks: short SHARE UPDATE EXCLUSIVE on the partitioned tables, to attach an empty partition to each; SHARE on dead_letter
-- while a small index is built.
-- older-servers: allowed

-- Of executions and of events. What goes next is [frontier_ms, to_ms), in milliseconds since 1970.
create table {schema}.retirement (
  subject text not null primary key check (subject in ('executions', 'events')),
  frontier_ms bigint not null, -- what lies below it stands in the kept partitions
  standard_ms bigint, -- how long things are kept where a namespace says nothing else; null: for ever
  to_ms bigint check (to_ms > frontier_ms), -- null: nothing goes at present
  position uuid not null default '00000000-0000-0000-0000-000000000000', -- ids up to it were looked at
  looked bigint not null default 0,
  copied boolean not null default false, -- all were looked at
  staged bigint not null default 0, -- of them, how many are still needed
  most int, -- partitions to try at once, after more of them held too much
  full_until timestamptz, -- when to try again what holds too much by itself
  dropping text[] not null default '{}', -- suffixes of detached partitions that are to be dropped
  walked uuid not null default '00000000-0000-0000-0000-000000000000', -- of what is kept, looked at in this round
  round_at timestamptz not null default '-infinity', -- the last round came to its end
  waits_since timestamptz, -- it waits for readers that hold the tables, or for ids that may still come
  waits_for text not null default '',
  check (copied or to_ms is not null or position = '00000000-0000-0000-0000-000000000000')
);

-- Of the executions that go next, how many ended how.
create table {schema}.retiring (
  class int not null,
  state smallint not null,
  n bigint not null,
  primary key (class, state)
);

-- Use of budgets by executions that are gone, as far as it still counts.
create table {schema}.retired_usage (
  budget uuid not null,
  dimension text not null,
  epoch bigint not null,
  amount bigint not null,
  primary key (budget, dimension, epoch)
);

-- How far the walks over the other tables have come: the next page.
create table {schema}.side_walk (
  side text not null primary key,
  page bigint not null default 0,
  round_at timestamptz not null default '-infinity'
);

-- An entry of a consumer that was parked names the execution it is about.
create index dead_letter_entry_execution on {schema}.dead_letter (entry_execution) where entry_execution is not null;

-- The partitioned tables of a subject, in the order in which they are locked: the column that partitions them, their keys.
create function {schema}.partitioned(p_subject text) returns table (parent text, part_key text, row_key text)
language plpgsql immutable as $$
begin
  if p_subject = 'executions' then
    return query values ('execution', 'id', 'id'), ('attempt', 'execution', 'execution, number'),
      ('outcome', 'execution', 'execution'), ('frame_head', 'execution', 'execution, attempt'),
      ('frame', 'execution', 'execution, attempt, mode, number');
  else
    return query values ('event', 'id', 'id');
  end if;
end $$;

-- How far ahead partitions of that width are made: two weeks for wide ones, eight of them for narrow ones.
create function {schema}.partition_horizon(p_width_ms bigint) returns bigint language sql immutable as $$
  select least(14 * 86400000::bigint, greatest(8 * p_width_ms, 20000))
$$;

-- Drops a partition of every table, if it holds nothing and nobody reads the tables at the moment; answers whether it did.
create function {schema}.drop_empty_partition(p_from_ms bigint, p_suffix text) returns boolean language plpgsql volatile as $$
declare
  c_parents constant text[] := array['execution', 'attempt', 'outcome', 'frame_head', 'frame', 'event'];
  v_parent text;
  v_filled boolean;
  v_timeout text := current_setting('lock_timeout');
begin
  -- Without the locks first: a partition that holds something stays what it is.
  for v_look in 1 .. 2 loop
    foreach v_parent in array c_parents loop
      execute format('select exists (select from {schema}.%I)', v_parent || '_' || p_suffix) into v_filled;
      if v_filled then return false; end if;
    end loop;
    if v_look = 1 then
      perform set_config('lock_timeout', '100ms', true);
      foreach v_parent in array c_parents loop
        execute format('lock table only {schema}.%I in access exclusive mode', v_parent);
      end loop;
    end if;
  end loop;
  foreach v_parent in array c_parents loop
    execute format('drop table {schema}.%I', v_parent || '_' || p_suffix);
  end loop;
  delete from {schema}.execution_partition p where p.from_ms = p_from_ms;
  perform set_config('lock_timeout', v_timeout, true);
  return true;
exception when lock_not_available then
  return false; -- with the lock's limit as it was
end $$;

-- Makes the partitions ahead, each p_width_ms wide, without gaps: a standstill is covered by one wide partition, for ids may be
-- a day old. p_reach_ms: cover at least so much, with one wide partition beyond the horizon; ids may lie five minutes ahead.
-- Those at the end that are wider than asked for and hold nothing are cut anew, when nobody reads them at the moment.
-- Answers how far they reach, and how far they should. Each is built as a plain table with the CHECK that its bounds imply and
-- attached then: PARTITION OF would wait, and make every insert wait, behind one open reader.
-- Repeating it changes nothing; of two at once the later one leaves it to the other, unless nothing is left ahead.
create function {schema}.extend_partitions(p_width_ms bigint, p_reach_ms bigint, out ahead_ms bigint, out wanted_ms bigint)
language plpgsql volatile as $$
declare
  c_parents constant text[] := array['execution', 'attempt', 'outcome', 'frame_head', 'frame', 'event'];
  v_now bigint := extract(epoch from clock_timestamp()) * 1000;
  v_last {schema}.execution_partition;
  v_from bigint;
  v_to bigint;
  v_end bigint;
  v_parent text;
begin
  wanted_ms := {schema}.partition_horizon(p_width_ms);
  select p.* into v_last from {schema}.execution_partition p order by p.from_ms desc limit 1;
  ahead_ms := v_last.to_ms - v_now;
  if ahead_ms >= greatest(wanted_ms, p_reach_ms) and v_last.to_ms - v_last.from_ms <= p_width_ms then return; end if;
  if ahead_ms <= 0 or p_reach_ms > 0 then
    perform pg_advisory_xact_lock(hashtext('tailrace partitions'), '{schema}.execution'::regclass::oid::int);
  elsif not pg_try_advisory_xact_lock(hashtext('tailrace partitions'), '{schema}.execution'::regclass::oid::int) then
    return; -- another process is at it
  end if;
  select min(p.from_ms) into v_end from {schema}.execution_partition p;
  while p_reach_ms = 0 loop
    select p.* into v_last from {schema}.execution_partition p order by p.from_ms desc limit 1;
    exit when not found or v_last.to_ms - v_last.from_ms <= p_width_ms or v_last.to_ms <= v_now
      or v_last.from_ms < (select max(r.frontier_ms) from {schema}.retirement r)
      or not {schema}.drop_empty_partition(v_last.from_ms, v_last.suffix);
  end loop;
  v_end := coalesce((select max(p.to_ms) from {schema}.execution_partition p), v_end);
  while v_end < v_now + greatest(wanted_ms, p_reach_ms) loop
    v_from := v_end;
    v_to := case
      -- Of what has passed, one partition up to lately.
      when v_from + 2 * p_width_ms <= v_now then v_now / p_width_ms * p_width_ms
      when v_from >= v_now + wanted_ms then v_now + p_reach_ms
      else v_from + p_width_ms end;
    foreach v_parent in array c_parents loop
      perform {schema}.make_partition(v_parent, case when v_parent in ('execution', 'event') then 'id' else 'execution' end,
        {schema}.partition_suffix(v_from), v_from, v_to);
    end loop;
    insert into {schema}.execution_partition values (v_from, v_to, {schema}.partition_suffix(v_from));
    v_end := v_to;
  end loop;
  ahead_ms := v_end - v_now;
end $$;

create function {schema}.partition_suffix(p_from_ms bigint) returns text language sql stable as $$
  select to_char(to_timestamp(p_from_ms / 1000.0) at time zone 'UTC',
    case when p_from_ms % 86400000 = 0 then 'YYYYMMDD' else 'YYYYMMDDHH24MISSMS' end)
$$;

-- As older servers call it: they make no wider partitions than there are, and hear of two weeks ahead when all is well.
create or replace function {schema}.ensure_partitions(p_days int) returns double precision language plpgsql volatile as $$
declare
  v_width bigint;
  v record;
begin
  select least(p_days * 86400000::bigint, min(x.width)) into v_width from (
    select p.to_ms - p.from_ms as width from {schema}.execution_partition p order by p.from_ms desc limit 2) x;
  v := {schema}.extend_partitions(v_width, 0);
  return case when v.ahead_ms >= v.wanted_ms / 7 then greatest(14, v.ahead_ms / 86400000::double precision)
    else v.ahead_ms / 86400000::double precision end;
end $$;

-- Which of these executions the engine may still ask for, whoever is shown what: those that have not ended; whatever a dead
-- letter names, or is a redrive or a handler of; members of a flow that goes on, or has a dead letter, for its redrive makes
-- what was skipped anew; and what reacted to an event that is not routed to its end, for it may react but once.
-- Every lookup is by key and stops at the first row: OR and EXISTS might be turned into walks over whole tables.
create function {schema}.held_executions(p_id uuid[]) returns uuid[] language plpgsql stable as $$
begin
  return array(
    select e.id from unnest(p_id) i (id)
    cross join lateral (
      select x.id, x.flow, x.letter, x.handles, x.event from {schema}.execution x where x.id = i.id offset 0) e
    where case
      when (select true from {schema}.outcome o where o.execution = e.id limit 1) is null then true
      when (select true from {schema}.dead_letter d where d.execution = e.id limit 1) then true
      when e.letter is not null and (select true from {schema}.dead_letter d where d.id = e.letter limit 1) then true
      when e.handles is not null and (select true from {schema}.dead_letter d where d.id = e.handles limit 1) then true
      when (select true from {schema}.dead_letter d where d.entry_execution = e.id limit 1) then true
      when e.flow is not null and (
        select true from {schema}.flow f where f.id = e.flow and f.settled_at is null and f.ended_at is null limit 1) then true
      when e.flow is not null and (select true from {schema}.dead_letter d where d.flow = e.flow limit 1) then true
      when e.event is not null and (select true from {schema}.unrouted u where u.event = e.event limit 1) then true
      else false end);
end $$;

-- Which of these executions stay: those that are held; whose results a held one takes in; the run before a held one; and those
-- that ended within the time that their namespace keeps them.
create function {schema}.needed_executions(p_id uuid[]) returns uuid[] language plpgsql stable as $$
declare
  v_needed uuid[];
  v_rest uuid[];
  v_for uuid[];
  v_of uuid[];
  v_held uuid[];
begin
  v_needed := {schema}.held_executions(p_id);
  v_rest := array(select i.id from unnest(p_id) i (id) except select n.id from unnest(v_needed) n (id));
  v_needed := v_needed || array(
    select o.execution from unnest(v_rest) i (id)
    cross join lateral (select x.execution, x.namespace, x.ended_at from {schema}.outcome x where x.execution = i.id offset 0) o
    cross join lateral (select x.floor_at from {schema}.namespace x where x.id = o.namespace offset 0) n
    where o.ended_at >= coalesce(n.floor_at, '-infinity'));
  v_rest := array(select i.id from unnest(p_id) i (id) except select n.id from unnest(v_needed) n (id));
  select array_agg(x.id), array_agg(x.by) into v_of, v_for from (
    select i.id, s.downstream as by from unnest(v_rest) i (id)
    cross join lateral (select y.downstream from {schema}.slot y where y.upstream = i.id offset 0) s
    union
    select i.id, r.id from unnest(v_rest) i (id)
    cross join lateral (select y.id from {schema}.execution y where y.redrive_of = i.id offset 0) r) x;
  if v_for is null then return v_needed; end if;
  v_held := {schema}.held_executions(array(select distinct u from unnest(v_for) u));
  return v_needed || array(
    select distinct x.id from unnest(v_of, v_for) x (id, by) join unnest(v_held) h (id) on h.id = x.by);
end $$;

-- Which of these events stay: those that their namespace still shows; that are not routed to their end; that are the input of
-- a needed execution; that a dead letter names; and that fill a slot of a batch whose join a held execution waits for.
create function {schema}.needed_events(p_id uuid[]) returns uuid[] language plpgsql stable as $$
declare
  v_needed uuid[];
  v_rest uuid[];
  v_for uuid[];
  v_of uuid[];
  v_held uuid[];
begin
  v_needed := array(
    select e.id from unnest(p_id) i (id)
    cross join lateral (
      select x.id, x.namespace, x.published_at from {schema}.event x where x.id = i.id offset 0) e
    cross join lateral (select x.log_floor_at from {schema}.namespace x where x.id = e.namespace offset 0) n
    where case
      when e.published_at >= coalesce(n.log_floor_at, '-infinity') then true
      when (select true from {schema}.unrouted u where u.event = e.id limit 1) then true
      when (select true from {schema}.dead_letter d where d.event = e.id limit 1) then true
      else false end);
  v_rest := array(select i.id from unnest(p_id) i (id) except select n.id from unnest(v_needed) n (id));
  select array_agg(x.id), array_agg(x.by) into v_of, v_for from (
    select i.id, r.id as by from unnest(v_rest) i (id)
    cross join lateral (select y.id from {schema}.execution y where y.event = i.id offset 0) r) x;
  if v_for is not null then
    v_held := {schema}.needed_executions(array(select distinct u from unnest(v_for) u));
    v_needed := v_needed || array(
      select distinct x.id from unnest(v_of, v_for) x (id, by) join unnest(v_held) h (id) on h.id = x.by);
    v_rest := array(select i.id from unnest(p_id) i (id) except select n.id from unnest(v_needed) n (id));
  end if;
  select array_agg(x.id), array_agg(x.by) into v_of, v_for from (
    select i.id, j.execution as by from unnest(v_rest) i (id)
    cross join lateral (select y.batch from {schema}.event y where y.id = i.id offset 0) e
    cross join lateral (select y.execution from {schema}.batch_join y where y.batch = e.batch offset 0) j) x;
  if v_for is null then return v_needed; end if;
  v_held := {schema}.held_executions(array(select distinct u from unnest(v_for) u));
  return v_needed || array(
    select distinct x.id from unnest(v_of, v_for) x (id, by) join unnest(v_held) h (id) on h.id = x.by);
end $$;

create function {schema}.needed_of(p_subject text, p_id uuid[]) returns uuid[] language plpgsql stable as $$
begin
  if p_subject = 'executions' then return {schema}.needed_executions(p_id); end if;
  return {schema}.needed_events(p_id);
end $$;

-- Writes down how long the server keeps things where a namespace says nothing else; null: for ever.
create function {schema}.keep_standard(p_executions_ms bigint, p_log_ms bigint) returns void language plpgsql volatile as $$
begin
  update {schema}.retirement r set standard_ms = s.ms
    from (values ('executions', p_executions_ms), ('events', p_log_ms)) s (subject, ms)
    where r.subject = s.subject and r.standard_ms is distinct from s.ms;
end $$;

-- Moves the floors of all namespaces, or of one, up to where their settings let them: what ended, or was published, earlier is
-- shown no more. The arguments are the server's settings, for namespaces without their own; null: for ever. A floor moves when
-- that is worth a write, and passes over a namespace that somebody changes. Answers how many moved.
create function {schema}.move_floors(p_executions_ms bigint, p_log_ms bigint, p_namespace int default null) returns int
language plpgsql volatile as $$
declare
  v_now timestamptz := clock_timestamp();
  v_moved int;
begin
  with due as (
      select n.id, f.floor_at, f.log_floor_at from {schema}.namespace n
      cross join lateral (
        select coalesce(n.keep_executions_ms, p_executions_ms) as keep_ms, coalesce(n.keep_log_ms, p_log_ms) as log_ms) k
      cross join lateral (
        select v_now - k.keep_ms * interval '1 millisecond' as floor_at, v_now - k.log_ms * interval '1 millisecond' as log_floor_at) f
      where (n.id = p_namespace or p_namespace is null) and (
        f.floor_at >= coalesce(n.floor_at + least(k.keep_ms / 100, 60000) * interval '1 millisecond', '-infinity')
        or f.log_floor_at >= coalesce(n.log_floor_at + least(k.log_ms / 100, 60000) * interval '1 millisecond', '-infinity'))
      order by n.id for no key update of n skip locked),
    moved as (
      update {schema}.namespace n set floor_at = greatest(n.floor_at, d.floor_at),
          log_floor_at = greatest(n.log_floor_at, d.log_floor_at)
        from due d where n.id = d.id returning n.id)
    select count(*) into v_moved from moved;
  return v_moved;
end $$;

-- One process at a time: for the length of the transaction.
create function {schema}.try_retiring() returns boolean language sql volatile as $$
  select pg_try_advisory_xact_lock(hashtext('tailrace retention'), '{schema}.execution'::regclass::oid::int)
$$;

-- What can go of a subject: at most p_most partitions from the frontier on, each past the longest time that a namespace keeps
-- things, and by a margin, so that little of it has ended only since. What namespaces keep for ever is carried over. to_ms: null:
-- nothing can.
create function {schema}.retirable(p_subject text, p_most int, out frontier_ms bigint, out to_ms bigint, out partitions int,
  out bytes bigint) language plpgsql stable as $$
#variable_conflict use_column
declare
  c_margin constant bigint := 3600000;
  v_from bigint;
  v_to bigint;
  v_floor bigint;
begin
  select r.frontier_ms into v_from from {schema}.retirement r where r.subject = p_subject;
  select extract(epoch from min(case p_subject when 'executions' then n.floor_at else n.log_floor_at end)) * 1000 into v_floor
    from {schema}.retirement r cross join {schema}.namespace n
    where r.subject = p_subject
      and coalesce(case p_subject when 'executions' then n.keep_executions_ms else n.keep_log_ms end, r.standard_ms) is not null;
  select max(x.to_ms) into v_to from (
    select p.to_ms, bool_and(p.to_ms + least(p.width, p.next, c_margin) <= v_floor) over (order by p.from_ms) as past
    from (
      select y.from_ms, y.to_ms, y.to_ms - y.from_ms as width, lead(y.to_ms - y.from_ms) over (order by y.from_ms) as next
      from {schema}.execution_partition y where y.from_ms >= v_from) p
    order by p.from_ms limit p_most) x where x.past;
  frontier_ms := v_from;
  to_ms := v_to;
  select count(*), coalesce(sum(pg_total_relation_size(format('{schema}.%I', t.parent || '_' || p.suffix)::regclass)), 0)
    into partitions, bytes
    from {schema}.execution_partition p cross join {schema}.partitioned(p_subject) t
    where p.from_ms >= v_from and p.to_ms <= v_to;
end $$;

-- Decides what goes next of a subject: at most p_most partitions. False: nothing does.
create function {schema}.retire_begin(p_subject text, p_most int) returns boolean language plpgsql volatile as $$
declare
  v {schema}.retirement;
  v_to bigint;
  t record;
begin
  select r.* into v from {schema}.retirement r where r.subject = p_subject for update;
  if v.to_ms is not null or v.dropping <> '{}' then return true; end if;
  select b.to_ms into v_to from {schema}.retirable(p_subject, least(p_most, v.most)) b;
  if v_to is null then return false; end if;
  for t in select * from {schema}.partitioned(p_subject) loop
    execute format('create table {schema}.%I (like {schema}.%I, primary key (%s))', t.parent || '_staged', t.parent, t.row_key);
  end loop;
  if p_subject = 'executions' then delete from {schema}.retiring; end if;
  update {schema}.retirement r set to_ms = v_to where r.subject = p_subject;
  return true;
end $$;

-- Copies what is needed of these to the staged tables, unless it is there. Outcomes first, for whoever has one has done everything
-- else before: of those without, what they did since is copied once more.
create function {schema}.stage(p_subject text, p_id uuid[], p_from uuid, p_to uuid) returns bigint language plpgsql volatile as $$
declare
  t record;
  v_n bigint;
  v_copied bigint := 0;
begin
  if p_id = '{}' then return 0; end if;
  for t in select * from {schema}.partitioned(p_subject) y order by y.parent <> 'outcome' loop
    execute format('insert into {schema}.%1$I select x.* from {schema}.%2$I x where x.%3$I = any ($1) and x.%3$I >= %4$L
      and x.%3$I < %5$L on conflict do nothing', t.parent || '_staged', t.parent, t.part_key, p_from, p_to) using p_id;
    get diagnostics v_n = row_count;
    v_copied := v_copied + v_n;
  end loop;
  return v_copied;
end $$;

-- Looks at the next p_limit rows of what goes next, and copies what is needed of them. Answers whether that was all.
create function {schema}.retire_copy(p_subject text, p_limit int) returns boolean language plpgsql volatile as $$
declare
  v {schema}.retirement;
  v_from uuid;
  v_to uuid;
  v_ids uuid[];
  v_needed uuid[];
begin
  select r.* into v from {schema}.retirement r where r.subject = p_subject for update;
  if v.to_ms is null or v.copied then return true; end if;
  v_from := {schema}.uuid_at(v.frontier_ms);
  v_to := {schema}.uuid_at(v.to_ms);
  execute format('select array(select x.id from {schema}.%I x where x.id > %L and x.id >= %L and x.id < %L order by x.id limit %s)',
    case p_subject when 'executions' then 'execution' else 'event' end, v.position, v_from, v_to, p_limit) into v_ids;
  v_needed := {schema}.needed_of(p_subject, v_ids);
  perform {schema}.stage(p_subject, v_needed, v_from, v_to);
  if p_subject = 'executions' then
    insert into {schema}.retiring as y (class, state, n)
      select o.class, o.state, count(*) from (select i from unnest(v_ids) i except select i from unnest(v_needed) i) g (id)
      cross join lateral (select x.class, x.state from {schema}.outcome x where x.execution = g.id offset 0) o
      group by 1, 2 order by 1, 2
      on conflict (class, state) do update set n = y.n + excluded.n;
  end if;
  update {schema}.retirement r set position = coalesce(v_ids[cardinality(v_ids)], r.position),
      looked = r.looked + cardinality(v_ids), staged = r.staged + cardinality(v_needed), copied = cardinality(v_ids) < p_limit
    where r.subject = p_subject returning r.copied into v.copied;
  return v.copied;
end $$;

-- The transactions that hold a table of this subject at the moment, beside this one: one that is still there a while later is
-- a long reader, which nobody should queue behind.
create function {schema}.partition_holders(p_subject text) returns text[] language sql volatile as $$
  select coalesce(array_agg(distinct l.virtualtransaction || ' of process ' || l.pid), '{}')
  from pg_locks l join {schema}.partitioned(p_subject) t on l.relation = ('{schema}.' || t.parent)::regclass
  where l.locktype = 'relation' and l.granted and l.pid <> pg_backend_pid()
    and l.database = (select d.oid from pg_database d where d.datname = current_database())
$$;

-- p_subject waits for somebody; '': it does not.
create function {schema}.retirement_waits(p_subject text, p_for text) returns void language sql volatile as $$
  update {schema}.retirement r set waits_for = p_for,
      waits_since = case when p_for <> '' then coalesce(r.waits_since, clock_timestamp()) end
    where r.subject = p_subject and (r.waits_for <> p_for or p_for <> '')
$$;

-- Exchanges the old partitions for the kept one that reaches up to p. Answers swapped | busy: somebody holds the tables longer
-- than everybody else may be made to wait | young: ids may still come to partitions that are too large to be looked through.
-- kept: rows that were carried over. gone: executions that went, per namespace.
create function {schema}.retire_swap(p_subject text, p_wait_ms int, p_most_rows bigint, out verdict text, out kept bigint,
  out namespaces int[], out gone bigint[]) language plpgsql volatile as $$
declare
  -- Ids may be a day old, and clocks differ.
  c_late constant bigint := 25 * 3600000;
  v {schema}.retirement;
  v_from uuid;
  v_to uuid;
  v_live uuid[];
  v_ids uuid[];
  v_n bigint;
  v_suffix text;
  v_bounds text;
  v_timeout text := current_setting('lock_timeout');
  t record;
begin
  select r.* into v from {schema}.retirement r where r.subject = p_subject for update;
  if v.to_ms is null or not v.copied then return; end if;
  v_from := {schema}.uuid_at(v.frontier_ms);
  v_to := {schema}.uuid_at(v.to_ms);
  if v.looked > p_most_rows and v.to_ms > extract(epoch from clock_timestamp()) * 1000 - c_late then
    verdict := 'young';
    return;
  end if;
  -- Partitions are not made meanwhile: that locks the tables in turns.
  if not pg_try_advisory_xact_lock(hashtext('tailrace partitions'), '{schema}.execution'::regclass::oid::int) then
    verdict := 'busy';
    return;
  end if;
  begin
    perform set_config('lock_timeout', p_wait_ms || 'ms', true);
    for t in select * from {schema}.partitioned(p_subject) loop
      execute format('lock table only {schema}.%I in access exclusive mode', t.parent);
    end loop;
    for t in select y.parent, p.suffix from {schema}.partitioned(p_subject) y cross join (
        select x.suffix from {schema}.execution_partition x where x.from_ms >= v.frontier_ms and x.to_ms <= v.to_ms
        union all select 'kept') p loop
      execute format('lock table {schema}.%I in access exclusive mode', t.parent || '_' || t.suffix);
    end loop;
  exception when lock_not_available then
    verdict := 'busy';
    return;
  end;
  perform set_config('lock_timeout', v_timeout, true);

  -- Whatever came since the copying began, of a transaction that was open for very long too where that is quickly seen.
  if v.to_ms > extract(epoch from clock_timestamp()) * 1000 - c_late or v.looked <= p_most_rows then
    execute format('select count(*) from {schema}.%I x where x.id >= %L and x.id < %L',
      case p_subject when 'executions' then 'execution' else 'event' end, v_from, v_to) into v_n;
    if v_n <> v.looked then
      execute format('select array(select x.id from {schema}.%I x where x.id >= %L and x.id < %L
        and not exists (select from {schema}.%I s where s.id = x.id))',
        case p_subject when 'executions' then 'execution' else 'event' end, v_from, v_to,
        case p_subject when 'executions' then 'execution_staged' else 'event_staged' end) into v_ids;
      perform {schema}.stage(p_subject, {schema}.needed_of(p_subject, v_ids), v_from, v_to);
      if p_subject = 'executions' then
        delete from {schema}.retiring;
        execute format('insert into {schema}.retiring (class, state, n)
          select o.class, o.state, count(*) from {schema}.outcome o where o.execution >= %L and o.execution < %L
            and not exists (select from {schema}.execution_staged s where s.id = o.execution) group by 1, 2', v_from, v_to);
      end if;
    end if;
  end if;
  -- What those did that went on meanwhile: attempts and ends are appended, output has a head that moves.
  if p_subject = 'executions' then
    execute 'select array(select s.id from {schema}.execution_staged s
      where not exists (select from {schema}.outcome_staged o where o.execution = s.id))' into v_live;
    if v_live <> '{}' then
      execute format('select array(select distinct h.execution from {schema}.frame_head h
        left join {schema}.frame_head_staged s on s.execution = h.execution and s.attempt = h.attempt
        where h.execution = any ($1) and h.execution >= %L and h.execution < %L and h is distinct from s)', v_from, v_to)
        into v_ids using v_live;
      delete from {schema}.frame_head_staged s where s.execution = any (v_ids);
      delete from {schema}.frame_staged s where s.execution = any (v_ids);
      perform {schema}.stage(p_subject, v_live, v_from, v_to);
    end if;
  end if;

  kept := 0;
  for t in select * from {schema}.partitioned(p_subject) loop
    execute format('alter table {schema}.%I detach partition {schema}.%I', t.parent, t.parent || '_kept');
    for v_suffix in select x.suffix from {schema}.execution_partition x
        where x.from_ms >= v.frontier_ms and x.to_ms <= v.to_ms loop
      execute format('alter table {schema}.%I detach partition {schema}.%I', t.parent, t.parent || '_' || v_suffix);
    end loop;
    -- Its CHECK says that it ends before the old frontier, and so before the new one: nothing is looked through.
    execute format('alter table {schema}.%I attach partition {schema}.%I for values from (minvalue) to (%L)', t.parent,
      t.parent || '_kept', v_to);
    select c.conname into v_bounds from pg_constraint c
      where c.conrelid = format('{schema}.%I', t.parent || '_kept')::regclass and c.contype = 'c' and c.conname like 'bounds%';
    execute format('alter table {schema}.%I drop constraint %I, add constraint %I check (%I < %L) not valid',
      t.parent || '_kept', v_bounds, 'bounds_' || v.to_ms, t.part_key, v_to);
    execute format('insert into {schema}.%I select * from {schema}.%I', t.parent || '_kept', t.parent || '_staged');
    get diagnostics v_n = row_count;
    kept := kept + v_n;
  end loop;
  if p_subject = 'executions' then
    insert into {schema}.retired as d (class, state, n) select y.class, y.state, y.n from {schema}.retiring y where y.n > 0
      order by 1, 2 on conflict (class, state) do update set n = d.n + excluded.n;
    select array_agg(x.namespace), array_agg(x.n) into namespaces, gone from (
      select c.namespace, sum(y.n)::bigint as n from {schema}.retiring y join {schema}.claim_class c on c.id = y.class group by 1) x;
  end if;
  update {schema}.retirement r set frontier_ms = v.to_ms, to_ms = null, looked = 0, staged = 0, copied = false, most = null,
      position = '00000000-0000-0000-0000-000000000000', waits_for = '', waits_since = null,
      dropping = array(select x.suffix from {schema}.execution_partition x
        where x.from_ms >= v.frontier_ms and x.to_ms <= v.to_ms order by x.from_ms)
    where r.subject = p_subject;
  delete from {schema}.execution_partition p where p.to_ms <= (select min(r.frontier_ms) from {schema}.retirement r);
  verdict := 'swapped';
end $$;

-- Drops what was detached, after a last look: members of a flow that went on again while the partitions were exchanged come
-- back. It goes by flows that go on, by index: what was detached is too large to be read through. Answers how many partitions
-- went, and their bytes.
create function {schema}.retire_drop(p_subject text, out partitions int, out bytes bigint)
language plpgsql volatile set enable_seqscan = off as $$
declare
  -- Ids may be a day old, and clocks differ: no member of a flow that was made later lies below the frontier.
  c_late constant bigint := 2 * 86400000;
  v {schema}.retirement;
  v_flows uuid[];
  v_suffix text;
  v_ids uuid[];
  v_bounds text;
  t record;
begin
  partitions := 0;
  bytes := 0;
  select r.* into v from {schema}.retirement r where r.subject = p_subject for update;
  if p_subject = 'executions' then
    -- Only active ones and those being canceled are not settled.
    v_flows := array(
      select f.id from {schema}.flow f
      where f.namespace = any (array(select n.id from {schema}.namespace n)) and f.state in (1, 5)
        and f.settled_at is null and f.ended_at is null
        and f.created_at < to_timestamp((v.frontier_ms + c_late) / 1000.0));
  end if;
  foreach v_suffix in array v.dropping loop
    if p_subject = 'executions' then
      execute format('select array(select e.id from unnest($1) f (id)
        cross join lateral (select x.id from {schema}.%I x where x.flow = f.id offset 0) e
        where (select true from {schema}.execution_kept k where k.id = e.id limit 1) is null)', 'execution_' || v_suffix)
        into v_ids using v_flows;
      if v_ids <> '{}' then
        for t in select * from {schema}.partitioned(p_subject) loop
          execute format('insert into {schema}.%I select x.* from {schema}.%I x where x.%I = any ($1)', t.parent || '_kept',
            t.parent || '_' || v_suffix, t.part_key) using v_ids;
        end loop;
        update {schema}.retired d set n = d.n - b.n from (
            select o.class, o.state, count(*) as n from {schema}.outcome_kept o where o.execution = any (v_ids) group by 1, 2) b
          where d.class = b.class and d.state = b.state;
      end if;
    end if;
    for t in select * from {schema}.partitioned(p_subject) loop
      bytes := bytes + pg_total_relation_size(format('{schema}.%I', t.parent || '_' || v_suffix)::regclass);
      partitions := partitions + 1;
      execute format('drop table {schema}.%I', t.parent || '_' || v_suffix);
    end loop;
  end loop;
  for t in select * from {schema}.partitioned(p_subject) loop
    if to_regclass(format('{schema}.%I', t.parent || '_staged')) is not null then
      execute format('drop table {schema}.%I', t.parent || '_staged');
    end if;
    for v_bounds in select c.conname from pg_constraint c
        where c.conrelid = format('{schema}.%I', t.parent || '_kept')::regclass and c.contype = 'c' and not c.convalidated loop
      execute format('alter table {schema}.%I validate constraint %I', t.parent || '_kept', v_bounds);
    end loop;
  end loop;
  update {schema}.retirement r set dropping = '{}' where r.subject = p_subject;
end $$;

-- More is still needed of what goes next than may be moved while everybody waits. Begins anew with one partition, or, if it is
-- one that holds so much, leaves it where it is for an hour. Answers whether it is left.
create function {schema}.retire_put_off(p_subject text, p_most_kept bigint) returns boolean language plpgsql volatile as $$
declare
  v {schema}.retirement;
  v_alone boolean;
  t record;
begin
  select r.* into v from {schema}.retirement r where r.subject = p_subject for update;
  for t in select * from {schema}.partitioned(p_subject) loop
    execute format('drop table {schema}.%I', t.parent || '_staged');
  end loop;
  v_alone := (select count(*) < 2 from {schema}.execution_partition p where p.from_ms >= v.frontier_ms and p.to_ms <= v.to_ms);
  update {schema}.retirement r set to_ms = null, looked = 0, staged = 0, copied = false, most = 1,
      position = '00000000-0000-0000-0000-000000000000',
      full_until = case when v_alone then clock_timestamp() + interval '1 hour' end
    where r.subject = p_subject;
  if v_alone then
    perform {schema}.retirement_waits(p_subject, format('more than %s %s of one partition that are still needed', p_most_kept, p_subject));
  end if;
  return v_alone;
end $$;

-- The next step of retiring a subject. p_seen: who held its tables a while ago, as `ready` answered; null: nobody looked.
-- did: locked (another process is at it) | nothing (is to go) | copied (some; there is more) | ready (to swap, in a while: holders
-- may be long readers) | waits (for a reader that was there a while ago) | full (more than p_most_kept are still needed: what is
-- kept is moved in while everybody waits, so it stays where it is) | busy, young, swapped (retire_swap) | dropped.
create function {schema}.retire_step(p_subject text, p_partitions int, p_rows int, p_seen text[], p_wait_ms int,
  p_most_rows bigint, p_most_kept bigint, out did text, out holders text[], out kept bigint, out namespaces int[], out gone bigint[],
  out partitions int, out bytes bigint) language plpgsql volatile as $$
declare
  v {schema}.retirement;
  v_long text;
  v_all boolean;
begin
  did := 'locked';
  if not {schema}.try_retiring() then return; end if;
  select r.* into v from {schema}.retirement r where r.subject = p_subject for update;
  if v.dropping <> '{}' then
    select d.partitions, d.bytes into partitions, bytes from {schema}.retire_drop(p_subject) d;
    did := 'dropped';
    return;
  end if;
  did := 'full';
  if v.full_until > clock_timestamp() then return; end if;
  did := 'nothing';
  if not {schema}.retire_begin(p_subject, p_partitions) then return; end if;
  did := 'copied';
  v_all := {schema}.retire_copy(p_subject, p_rows);
  if (select r.staged > p_most_kept from {schema}.retirement r where r.subject = p_subject) then
    if {schema}.retire_put_off(p_subject, p_most_kept) then did := 'full'; end if;
    return;
  end if;
  if not v_all then return; end if;
  holders := {schema}.partition_holders(p_subject);
  did := 'ready';
  if p_seen is null and holders <> '{}' then return; end if;
  select h into v_long from unnest(holders) h where h = any (p_seen) limit 1;
  if v_long is not null then
    did := 'waits';
    perform {schema}.retirement_waits(p_subject, format('the transaction %s', v_long));
    return;
  end if;
  select s.verdict, s.kept, s.namespaces, s.gone into did, kept, namespaces, gone
    from {schema}.retire_swap(p_subject, p_wait_ms, p_most_rows) s;
  if did <> 'swapped' then
    perform {schema}.retirement_waits(p_subject, case did when 'young' then 'ids that may still come' else 'readers' end);
  end if;
end $$;

-- Looks at the next p_limit of what is kept and deletes what nobody needs any more. done: the round has come to its end.
-- A round begins p_round_ms after the one before it. A flow is held meanwhile: nobody lets it go on between the look and the deletion.
create function {schema}.forget_kept(p_subject text, p_limit int, p_round_ms bigint, out done boolean, out rows bigint, out namespaces int[],
  out gone bigint[]) language plpgsql volatile as $$
declare
  v {schema}.retirement;
  v_ids uuid[];
  v_gone uuid[];
  v_flows uuid[];
  v_held uuid[];
  v_last uuid;
  v_n bigint;
  t record;
begin
  rows := 0;
  done := true;
  if not {schema}.try_retiring() then return; end if;
  select r.* into v from {schema}.retirement r where r.subject = p_subject for update;
  if v.walked = '00000000-0000-0000-0000-000000000000'
      and v.round_at > clock_timestamp() - p_round_ms * interval '1 millisecond' then
    return;
  end if;
  execute format('select array(select x.id from {schema}.%I x where x.id > %L order by x.id limit %s)',
    case p_subject when 'executions' then 'execution_kept' else 'event_kept' end, v.walked, p_limit) into v_ids;
  v_last := v_ids[cardinality(v_ids)];
  done := cardinality(v_ids) < p_limit;
  v_gone := array(select i from unnest(v_ids) i except select i from unnest({schema}.needed_of(p_subject, v_ids)) i);
  if v_gone <> '{}' and p_subject = 'executions' then
    v_flows := array(
      select distinct e.flow from unnest(v_gone) g (id)
      cross join lateral (select x.flow from {schema}.execution x where x.id = g.id offset 0) e where e.flow is not null);
    -- The lock of extensions first: one that has found an upstream there waits for the flow's row only later.
    v_held := array(
      select f from unnest(v_flows) f where pg_try_advisory_xact_lock(hashtext('tailrace flow'), hashtext(f::text)));
    v_held := array(select f.id from {schema}.flow f where f.id = any (v_held) order by f.id for share skip locked);
    v_flows := array(select f.id from {schema}.flow f where f.id = any (v_flows) except select f from unnest(v_held) f);
    v_gone := array(
      select g.id from unnest(v_gone) g (id)
      cross join lateral (select x.flow from {schema}.execution x where x.id = g.id offset 0) e
      where e.flow is null or not e.flow = any (v_flows));
    -- In a statement after the locks.
    v_gone := array(select i from unnest(v_gone) i except select i from unnest({schema}.needed_of(p_subject, v_gone)) i);
    with told as (
        insert into {schema}.retired as d (class, state, n)
          select o.class, o.state, count(*) from unnest(v_gone) g (id)
          cross join lateral (select x.class, x.state from {schema}.outcome x where x.execution = g.id offset 0) o
          group by 1, 2 order by 1, 2
          on conflict (class, state) do update set n = d.n + excluded.n)
      select array_agg(x.namespace), array_agg(x.n) into namespaces, gone from (
        select o.namespace, count(*) as n from unnest(v_gone) g (id)
        cross join lateral (select x.namespace from {schema}.outcome x where x.execution = g.id offset 0) o group by 1) x;
  end if;
  if v_gone <> '{}' then
    for t in select * from {schema}.partitioned(p_subject) loop
      execute format('delete from {schema}.%I x where x.%I = any ($1)', t.parent || '_kept', t.part_key) using v_gone;
      get diagnostics v_n = row_count;
      rows := rows + v_n;
    end loop;
  end if;
  update {schema}.retirement r set walked = case when done then '00000000-0000-0000-0000-000000000000' else v_last end,
      round_at = case when done then clock_timestamp() else r.round_at end
    where r.subject = p_subject;
end $$;

-- What retiring would do with the next p_limit rows after p_after: those below the frontier that would be deleted, those above
-- it, up to where partitions go now, that would go or be carried over. last: null: that was all.
create function {schema}.foresee_retiring(p_subject text, p_after uuid, p_limit int, out last uuid, out kept bigint,
  out namespaces int[], out gone bigint[]) language plpgsql stable as $$
declare
  v_frontier bigint;
  v_to bigint;
  v_n bigint;
  v_ids uuid[];
  v_needed uuid[];
  t record;
begin
  kept := 0;
  select b.frontier_ms, b.to_ms into v_frontier, v_to from {schema}.retirable(p_subject, 1000000) b;
  execute format('select array(select x.id from {schema}.%I x where x.id > %L and x.id < %L order by x.id limit %s)',
    case p_subject when 'executions' then 'execution' else 'event' end, p_after, {schema}.uuid_at(coalesce(v_to, v_frontier)),
    p_limit) into v_ids;
  v_needed := {schema}.needed_of(p_subject, v_ids);
  if p_subject = 'executions' then
    select array_agg(x.namespace), array_agg(x.n) into namespaces, gone from (
      select o.namespace, count(*) as n from (select i from unnest(v_ids) i except select i from unnest(v_needed) i) g (id)
      cross join lateral (select x.namespace from {schema}.outcome x where x.execution = g.id offset 0) o group by 1) x;
  end if;
  v_needed := array(select i from unnest(v_needed) i where i >= {schema}.uuid_at(v_frontier));
  for t in select * from {schema}.partitioned(p_subject) loop
    execute format('select count(*) from unnest($1) i (id) cross join lateral (
      select 1 from {schema}.%I x where x.%I = i.id offset 0) x', t.parent, t.part_key) into v_n using v_needed;
    kept := kept + v_n;
  end loop;
  if cardinality(v_ids) = p_limit then last := v_ids[p_limit]; end if;
end $$;

-- What stands in other tables about executions and flows that are gone, by table: which rows go, of the table `t`; below the
-- frontier $1 of executions.
create function {schema}.side_rules() returns table (side text, goes text) language sql immutable as $$
  values
    ('waitpoint', 't.execution < $1 and (select true from {schema}.execution e where e.id = t.execution limit 1) is null'),
    ('signal', 't.execution < $1 and (select true from {schema}.execution e where e.id = t.execution limit 1) is null'),
    ('usage_report', 't.execution < $1 and (select true from {schema}.execution e where e.id = t.execution limit 1) is null'),
    ('applied_usage', 't.execution < $1 and (select true from {schema}.execution e where e.id = t.execution limit 1) is null'),
    ('execution_usage', 't.execution < $1 and (select true from {schema}.execution e where e.id = t.execution limit 1) is null
      and (select true from {schema}.applied_usage a where a.execution = t.execution limit 1) is null'),
    ('budget_attachment', 't.kind = 4 and t.subject < $1
      and (select true from {schema}.execution e where e.id = t.subject limit 1) is null
      and (select true from {schema}.spent s where s.budget = t.budget limit 1) is null'),
    -- A join goes with its downstream, unless an upstream is still to fill its slot.
    ('barrier', 't.state <> 1 and t.downstream < $1
      and (select true from {schema}.execution e where e.id = t.downstream limit 1) is null
      and (select true from {schema}.filling f where f.barrier = t.id limit 1) is null
      and (select true from {schema}.follow_up u where u.subject = t.id limit 1) is null
      and (select true from {schema}.slot s where s.barrier = t.id and s.outcome is null
        and (select true from {schema}.execution e where e.id = s.upstream limit 1) limit 1) is null'),
    ('batch_join', 't.execution < $1 and (select true from {schema}.execution e where e.id = t.execution limit 1) is null
      and (select true from {schema}.barrier b where b.id = t.barrier limit 1) is null'),
    -- A flow that never ended stays.
    ('flow', 't.ended_at < (select n.floor_at from {schema}.namespace n where n.id = t.namespace)
      and (select true from {schema}.execution e where e.flow = t.id limit 1) is null
      and (select true from {schema}.event e where e.flow = t.id limit 1) is null
      and (select true from {schema}.barrier b where b.flow = t.id limit 1) is null
      and (select true from {schema}.dead_letter d where d.flow = t.id limit 1) is null
      and (select true from {schema}.follow_up u where u.subject = t.id limit 1) is null'),
    ('flow_failed', '(select true from {schema}.flow f where f.id = t.flow limit 1) is null'),
    ('flow_count', '(select true from {schema}.flow f where f.id = t.flow limit 1) is null')
$$;

-- Walks over the next p_pages pages of a table and deletes what its rule lets go; passes over what somebody holds. Answers how
-- many rows went; done: the round has come to its end. Range scans by place need no index.
create function {schema}.sweep_side(p_side text, p_pages int, out rows bigint, out done boolean)
language plpgsql volatile as $$
declare
  v_page bigint;
  v_goes text;
  v_frontier uuid;
  v_at tid[];
  v_ids uuid[];
begin
  rows := 0;
  done := true;
  insert into {schema}.side_walk (side) values (p_side) on conflict do nothing;
  select w.page into v_page from {schema}.side_walk w where w.side = p_side for update skip locked;
  if v_page is null then return; end if;
  select {schema}.uuid_at(r.frontier_ms) into v_frontier from {schema}.retirement r where r.subject = 'executions';
  select y.goes into v_goes from {schema}.side_rules() y where y.side = p_side;
  execute format('select array(select t.ctid from {schema}.%I t where t.ctid >= %L and t.ctid < %L and %s for update skip locked)',
    p_side, format('(%s,0)', v_page), format('(%s,0)', v_page + p_pages), v_goes)
    into v_at using v_frontier;
  if v_at <> '{}' then
    -- Once more, in a statement after the locks.
    execute format('select array(select t.ctid from {schema}.%I t where t.ctid = any ($2) and %s)', p_side, v_goes)
      into v_at using v_frontier, v_at;
    if p_side = 'barrier' then
      delete from {schema}.slot s where s.barrier = any (array(select t.id from {schema}.barrier t where t.ctid = any (v_at)));
    elsif p_side = 'applied_usage' then
      -- What still counts in a budget is kept as a sum.
      insert into {schema}.retired_usage as y (budget, dimension, epoch, amount)
        select t.budget, t.dimension, t.epoch, sum(t.amount) from {schema}.applied_usage t
        join {schema}.budget_dimension d on d.budget = t.budget and d.dimension = t.dimension and d.epoch = t.epoch
        where t.ctid = any (v_at) group by 1, 2, 3 order by 1, 2, 3
        on conflict (budget, dimension, epoch) do update set amount = y.amount + excluded.amount;
    end if;
    execute format('delete from {schema}.%I t where t.ctid = any ($1)', p_side) using v_at;
    get diagnostics rows = row_count;
  end if;
  done := v_page + p_pages >= pg_relation_size(format('{schema}.%I', p_side)::regclass) / current_setting('block_size')::int;
  update {schema}.side_walk w set page = case when done then 0 else v_page + p_pages end,
      round_at = case when done then clock_timestamp() else w.round_at end where w.side = p_side;
end $$;

-- The tables that are due to be walked over: a round goes on, or is to begin, p_round_ms after the one before it.
create function {schema}.sides_due(p_round_ms bigint) returns text[] language sql volatile as $$
  select array(select y.side from {schema}.side_rules() with ordinality y (side, goes, n)
    left join {schema}.side_walk w on w.side = y.side
    where w.page > 0 or coalesce(w.round_at, '-infinity') <= clock_timestamp() - p_round_ms * interval '1 millisecond'
    order by y.n)
$$;

drop function {schema}.retire_letters(bigint, int);
-- A batch of the letters that were closed longer ago than their namespace keeps them, else p_kept_ms (null: for ever); in one
-- namespace, or any. Fewer than p_limit: that was all.
create function {schema}.retire_letters(p_kept_ms bigint, p_limit int, p_namespace int default null) returns int
language plpgsql volatile as $$
declare
  v_now timestamptz := clock_timestamp();
  v_gone int := 0;
  v record;
begin
  for v in
    select x.before, array_agg(d.id) as ids from (
      select n.id, v_now - coalesce(n.keep_letters_ms, p_kept_ms) * interval '1 millisecond' as before
      from {schema}.namespace n where n.id = p_namespace or p_namespace is null) x
    cross join lateral (
      select y.id, y.closed_at from {schema}.dead_letter y where y.namespace = x.id and y.state = 3 and y.closed_at < x.before
      order by y.closed_at limit p_limit) d
    group by x.id, x.before order by x.id
  loop
    v_gone := v_gone + {schema}.purge_letters(v.ids[1 : p_limit - v_gone], v.before, '', 'their time is up');
    exit when v_gone >= p_limit;
  end loop;
  return v_gone;
end $$;

-- What a table takes, and its indexes; 0 when it was dropped between finding and asking.
create function {schema}.stored_bytes(p_table oid, out bytes bigint, out index_bytes bigint) language plpgsql volatile as $$
begin
  bytes := coalesce(pg_total_relation_size(p_table), 0);
  index_bytes := coalesce(pg_indexes_size(p_table), 0);
exception when undefined_table or internal_error then
  bytes := 0;
  index_bytes := 0;
end $$;

-- The gaps that standstills have left, and the lowest partition of every table.
do $$
declare
  v record;
  t record;
  v_first bigint;
begin
  for v in select x.to_ms as from_ms, x.next as to_ms from (
      select p.to_ms, lead(p.from_ms) over (order by p.from_ms) as next from {schema}.execution_partition p) x
      where x.to_ms < x.next loop
    for t in select * from {schema}.partitioned('executions') union all select * from {schema}.partitioned('events') loop
      perform {schema}.make_partition(t.parent, t.part_key, {schema}.partition_suffix(v.from_ms), v.from_ms, v.to_ms);
    end loop;
    insert into {schema}.execution_partition values (v.from_ms, v.to_ms, {schema}.partition_suffix(v.from_ms));
  end loop;
  select min(p.from_ms) into v_first from {schema}.execution_partition p;
  insert into {schema}.retirement (subject, frontier_ms) values ('executions', v_first), ('events', v_first);
  for t in select * from {schema}.partitioned('executions') union all select * from {schema}.partitioned('events') loop
    execute format('create table {schema}.%I (like {schema}.%I including all)%s', t.parent || '_kept', t.parent,
      case when t.parent = 'frame_head'
        then ' with (fillfactor = 50, toast_tuple_target = 128, autovacuum_vacuum_cost_delay = 0)' else '' end);
    execute format('alter table {schema}.%I add constraint %I check (%I < %L)', t.parent || '_kept', 'bounds_' || v_first,
      t.part_key, {schema}.uuid_at(v_first));
    execute format('alter table {schema}.%I attach partition {schema}.%I for values from (minvalue) to (%L)', t.parent,
      t.parent || '_kept', {schema}.uuid_at(v_first));
  end loop;
end $$;
