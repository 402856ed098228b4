-- Retention of the log, and of what is remembered by keys.
--
-- Why: entries that nobody may see any more leave by whole partitions, keys row by row. The order is what makes it safe:
-- 1. A namespace's floor rises, in time (move_floors) and then in positions (raise_log_floors), no further than its consumers
--    that hold the log have read. Readers refuse what lies below from then on; events are kept from its time on.
-- 2. Consumers that stand below it are halted (prune_consumers).
-- 3. A partition that can get no entry any more is closed (close_log_partition): what it held is counted, and the run of
--    positions that reaches over its end is cut in two there. That happens as soon as the next one is in use, and thus long
--    before it may go: no snapshot that still knows the uncut run lives as long.
-- 4. The oldest closed one is dropped when all of it lies below everybody's floor and nobody inside the engine needs it
--    (drop_log_partition). The log's own floor rises in the same transaction.
-- 5. Runs that number only what is gone are deleted in batches (sweep_log_runs).
-- A crash between any two leaves what the next call goes on from; two at once: the later one finds the lock taken.
-- Lock order of 4: log_body, log, log_flow, as append_log takes them, each with everybody locked out.
-- Locks: short ACCESS EXCLUSIVE on namespace, log_incarnation, log_partition, consumer_part, without rewriting them.
-- older-servers: allowed

alter table {schema}.namespace
  -- Where the floor would be if no consumer held the log: its time, its position, and of which time that was found.
  add column log_due_at timestamptz,
  add column log_wanted bigint not null default 0,
  add column log_wanted_at timestamptz;
alter table {schema}.log_incarnation
  add column floor_seq bigint not null default 0, -- rows with a lower seq are gone
  add column gone_at timestamptz; -- nothing that is gone was recorded later
alter table {schema}.log_partition
  add column tallied_to bigint, -- rows before it stand in log_tally
  add column newest_at timestamptz, -- of those
  add column closed_at timestamptz, -- no row of it will get a position any more
  add column last_position bigint; -- of its entries
-- Its generation was left behind: what comes next is gone.
alter table {schema}.consumer_part add column pruned boolean not null default false;

-- What closed partitions hold, by kind of entry; under lo 0 what those held that are gone: so that what the log told can
-- still be added up. purged, until: letters purged, as entries of that kind say, and the latest closing among them.
create table {schema}.log_tally (
  lo bigint not null,
  namespace int not null,
  kind smallint not null,
  n bigint not null check (n > 0),
  purged bigint not null default 0,
  until timestamptz,
  primary key (lo, namespace, kind)
);

-- Which block of a table of keys is looked at next.
create table {schema}.key_walk (
  name text not null primary key check (name in ('request_key', 'flow_request', 'event_key')),
  block bigint not null default 0,
  ended_at timestamptz -- the last walk through all of it
);
insert into {schema}.key_walk (name) values ('request_key'), ('flow_request'), ('event_key');

-- One at a time does what retention of the log does.
create function {schema}.try_retire_log() returns boolean language plpgsql volatile as $$
begin
  return pg_try_advisory_xact_lock(1953656653, '{schema}'::regnamespace::oid::int);
end $$;

-- Up to where a namespace's log is not shown.
create function {schema}.log_floor_of(p_namespace int) returns bigint language plpgsql stable as $$
begin
  return (select greatest(i.floor, coalesce((select n.log_floor from {schema}.namespace n where n.id = p_namespace), 0))
    from {schema}.log_incarnation i);
end $$;

-- The least that consumers of a namespace which hold the log have read; null when there are none.
create function {schema}.log_read_by_holders(p_namespace int) returns bigint language plpgsql stable as $$
begin
  return (select min(p.position) from {schema}.consumer c join {schema}.consumer_part p on p.consumer = c.id
    where c.namespace = p_namespace and c.hold_log and not p.pruned);
end $$;

-- From when on a namespace's log is held by its consumers; null when it is not. What is recorded late may be a minute older than
-- what it comes after.
create function {schema}.log_held_at(p_namespace int) returns timestamptz language plpgsql stable as $$
begin
  return {schema}.recorded_at({schema}.log_read_by_holders(p_namespace) + 1) - interval '1 min';
end $$;

-- As before (0049), and the log's floor waits for consumers that hold the log.
create or replace function {schema}.move_floors(p_executions_ms bigint, p_log_ms bigint, p_namespace int default null) returns int
language plpgsql volatile as $$
declare
  v_now timestamptz := clock_timestamp();
  v_moved int;
begin
  with due as (
      select n.id, f.floor_at, f.log_due_at from {schema}.namespace n
      cross join lateral (
        select coalesce(n.keep_executions_ms, p_executions_ms) as keep_ms, coalesce(n.keep_log_ms, p_log_ms) as log_ms) k
      cross join lateral (
        select v_now - k.keep_ms * interval '1 millisecond' as floor_at, v_now - k.log_ms * interval '1 millisecond' as log_due_at) f
      where (n.id = p_namespace or p_namespace is null) and (
        f.floor_at >= coalesce(n.floor_at + least(k.keep_ms / 100, 60000) * interval '1 millisecond', '-infinity')
        or f.log_due_at >= coalesce(n.log_due_at + least(k.log_ms / 100, 60000) * interval '1 millisecond', '-infinity'))
      order by n.id for no key update of n skip locked),
    moved as (
      update {schema}.namespace n set floor_at = greatest(n.floor_at, d.floor_at),
          log_due_at = greatest(n.log_due_at, d.log_due_at),
          log_floor_at = greatest(n.log_floor_at, least(d.log_due_at, {schema}.log_held_at(n.id)))
        from due d where n.id = d.id returning n.id)
    select count(*) into v_moved from moved;
  return v_moved;
end $$;

-- Raises the floors of namespaces to where their times stand in the log. Finding a place looks through a minute of it, so it is
-- done once the time has moved by a five-hundredth of its age. Answers how many rose. It never lowers one.
create function {schema}.raise_log_floors() returns int language plpgsql volatile as $$
declare
  v_now timestamptz := clock_timestamp();
  v_due record;
  v_position bigint;
  v_raised int := 0;
begin
  if not {schema}.try_retire_log() then return 0; end if;
  for v_due in
    select d.at, array_agg(n.id order by n.id) ids
    from {schema}.namespace n cross join lateral (select coalesce(n.log_due_at, n.log_floor_at) at) d
    where d.at is not null and (n.log_wanted_at is null or d.at > n.log_wanted_at + (v_now - d.at) / 500)
    group by d.at order by d.at
  loop
    v_position := ({schema}.position_at(v_due.at))."position";
    update {schema}.namespace n set log_wanted = greatest(n.log_wanted, v_position), log_wanted_at = v_due.at
      where n.id = any (v_due.ids);
  end loop;
  update {schema}.namespace n set log_floor = x.floor
    from (
      select y.id, least(y.log_wanted, {schema}.log_read_by_holders(y.id)) floor from {schema}.namespace y
      where y.log_wanted > y.log_floor) x
    where n.id = x.id and x.floor > n.log_floor;
  get diagnostics v_raised = row_count;
  return v_raised;
end $$;

-- Halts what stands below its namespace's floor: parts lose their owners, of the live generation the consumer is halted, and an
-- entry tells it. One that holds the log comes here only if it was put below the floor while that rose. Who is locked by
-- somebody is met next time. Answers how many consumers. A repeat finds none.
create function {schema}.prune_consumers(p_limit int) returns int language plpgsql volatile as $$
declare
  v_id int;
  v_is {schema}.consumer;
  v_floor bigint;
  v_left record;
  v_items {schema}.log_item[];
  v_reason text;
  v_pruned int := 0;
begin
  for v_id in
    select distinct c.id from {schema}.consumer c
    cross join lateral (select {schema}.log_floor_of(c.namespace) floor offset 0) f
    join {schema}.consumer_part p on p.consumer = c.id and p.position < f.floor and not p.pruned
    order by c.id limit p_limit
  loop
    select c.* into v_is from {schema}.consumer c where c.id = v_id for update skip locked;
    continue when not found;
    v_floor := {schema}.log_floor_of(v_is.namespace);
    v_reason := 'CURSOR_PRUNED: entries up to position ' || v_floor || ' are gone, and it had not read all of them';
    perform 1 from {schema}.consumer_part p where p.consumer = v_id and p.position < v_floor and not p.pruned
      order by p.generation, p.part for update;
    -- What has halted at an entry that is still there has missed nothing before it.
    update {schema}.consumer_part p set position = v_floor
      where p.consumer = v_id and p.position < v_floor and not p.pruned and p.halted and p.failed_position > v_floor;
    for v_left in
      with left_behind as (
        update {schema}.consumer_part p set halted = true, pruned = true, failed_position = v_floor, tries = 0, retry_at = null,
            owner = null, lease_ms = null, expires_at = null, wanted_at = null, epoch = p.epoch + 1
          where p.consumer = v_id and p.position < v_floor and not p.pruned
          returning p.generation, p.part, p.position)
      select l.generation, count(*) parts, min(l.position) stood from left_behind l group by l.generation order by l.generation
    loop
      v_items := v_items || row(v_is.namespace, 94, null, null, null, null, null, null, jsonb_build_object('subject', v_is.name,
        'generation', v_left.generation, 'parts', v_left.parts, 'position', v_left.stood, 'floor', v_floor,
        'reason', v_reason))::{schema}.log_item;
      if v_left.generation = v_is.generation then
        update {schema}.consumer c set state = case when c.state = 2 then 2 else 3 end,
            state_reason = case when c.state = 2 then c.state_reason else v_reason end, version = c.version + 1,
            changed_at = clock_timestamp(), actor = ''
          where c.id = v_id;
      end if;
    end loop;
    v_pruned := v_pruned + 1;
  end loop;
  if v_items is not null then
    perform {schema}.wake_consumers();
    perform {schema}.append_items('{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', v_items);
  end if;
  return v_pruned;
end $$;

-- Where the next partition begins, if it is to begin early: when the one in use has p_rows, or its first entry is older than a
-- sixth of the longest retention, so that little used logs are given back too. Null: not yet.
create function {schema}.log_cut(p_rows bigint) returns bigint language plpgsql stable as $$
declare
  v_used bigint := (select s.last_value from {schema}.log_seq s);
  v_lo bigint;
  v_hi bigint;
  v_first timestamptz;
  v_oldest timestamptz;
begin
  select p.lo, p.hi into v_lo, v_hi from {schema}.log_partition p where p.lo <= v_used and p.hi > v_used + 1
    and exists (select from {schema}.log_partition y where y.lo = p.hi);
  select l.at into v_first from {schema}.log l where l.seq >= v_lo and l.seq < v_hi order by l.seq limit 1;
  if v_first is null then return null; end if;
  if v_used - v_lo + 1 >= p_rows then return v_hi; end if;
  select min(coalesce(n.log_due_at, n.log_floor_at, '-infinity')) into v_oldest from {schema}.namespace n;
  return case when v_oldest > '-infinity' and v_first < clock_timestamp() - (clock_timestamp() - v_oldest) / 6 then v_hi end;
end $$;

-- Begins the next partition early. The sequence jumps to where it begins: whoever has drawn from it holds its lock until the
-- end, and whoever wants to waits for the moment that this takes. Answers whether it was done.
create function {schema}.cut_log(p_rows bigint) returns boolean language plpgsql volatile set lock_timeout = '100ms' as $$
declare
  v_hi bigint;
  v_used bigint;
begin
  if not {schema}.try_retire_log() then return false; end if;
  v_hi := {schema}.log_cut(p_rows);
  if v_hi is null or exists (select from {schema}.log_users(array['{schema}.log_seq'::regclass])) then return false; end if;
  alter sequence {schema}.log_seq no cycle; -- changes nothing, and keeps everybody from drawing until the commit
  select s.last_value into v_used from {schema}.log_seq s;
  if v_used < v_hi - 1 then
    execute format('alter sequence {schema}.log_seq restart with %s', v_hi);
  end if;
  return true;
exception when lock_not_available then
  return false;
end $$;

-- Transactions that have used these relations for so long that waiting for them would be felt: a backup, a person's session.
create function {schema}.log_users(p_relations regclass[]) returns table (pid int, name text, since timestamptz)
language plpgsql stable as $$
#variable_conflict use_column
begin
  return query
    select distinct on (a.pid) a.pid, coalesce(nullif(a.application_name, ''), 'a session'), a.xact_start
    from pg_locks k join pg_stat_activity a on a.pid = k.pid
    where k.locktype = 'relation' and k.granted and k.pid <> pg_backend_pid()
      and k.database = (select d.oid from pg_database d where d.datname = current_database())
      and k.relation = any (p_relations::oid[]) and a.xact_start < clock_timestamp() - interval '250 ms'
    order by a.pid;
end $$;

-- Closes the oldest partition that is open and can get no position any more: everything that was drawn in it is numbered or
-- rolled back. Before that what it holds is counted, about p_rows rows at a time. more: call again.
create function {schema}.close_log_partition(p_rows int, out closed boolean, out more boolean) language plpgsql volatile as $$
declare
  v_last {schema}.log_run;
  v_part {schema}.log_partition;
  v_to bigint;
  v_run {schema}.log_run;
  v_n bigint;
begin
  closed := false;
  more := false;
  if not {schema}.try_retire_log() then return; end if;
  select r.* into v_last from {schema}.log_run r order by r.base desc limit 1;
  select p.* into v_part from {schema}.log_partition p where p.closed_at is null order by p.lo limit 1;
  if v_part.lo is null or v_last.base is null or v_last.lo < v_part.hi
    or exists (select from unnest(v_last.holes) h where lower(h) < v_part.hi)
  then
    return;
  end if;
  more := true;
  v_part.tallied_to := coalesce(v_part.tallied_to, v_part.lo);
  select max(x.seq) + 1 into v_to from (
    select l.seq from {schema}.log l where l.seq >= v_part.tallied_to and l.seq < v_part.hi order by l.seq limit p_rows) x;
  if v_to is not null then
    insert into {schema}.log_tally as t (lo, namespace, kind, n, purged, until)
      select v_part.lo, x.namespace, x.kind, count(*),
        coalesce(sum((s.said ->> 'purged')::bigint), 0), max((s.said ->> 'closed_until')::timestamptz)
      from {schema}.log l
      cross join lateral unnest(l.namespace, l.kind, l.body) with ordinality x (namespace, kind, body, idx)
      left join lateral (
        select coalesce(x.body, (select b.body from {schema}.log_body b where b.seq = l.seq and b.idx = x.idx))::json said
        where x.kind = 139 offset 0) s on true
      where l.seq >= v_part.tallied_to and l.seq < v_to
      group by x.namespace, x.kind
      on conflict (lo, namespace, kind) do update set n = t.n + excluded.n, purged = t.purged + excluded.purged,
        until = greatest(t.until, excluded.until);
    update {schema}.log_partition p set tallied_to = v_to, newest_at = greatest(p.newest_at, (
        select max(l.at) from {schema}.log l where l.seq >= v_part.tallied_to and l.seq < v_to))
      where p.lo = v_part.lo;
    return;
  end if;
  -- A run reaches over the end at most once: late rows have one of their own.
  select r.* into v_run from {schema}.log_run r where r.hi >= v_part.hi order by r.hi limit 1;
  if v_run.lo < v_part.hi then
    select sum(l.n) into v_n from {schema}.log l
      where l.seq >= v_run.lo and l.seq < v_part.hi and not l.seq <@ any (v_run.holes);
    insert into {schema}.log_run (base, n, lo, hi, top, holes, hxid)
      values (v_run.base + v_n, v_run.n - v_n, v_part.hi, v_run.hi, v_run.top, v_run.holes, v_run.hxid);
    update {schema}.log_run r set n = v_n, hi = v_part.hi - 1, top = v_part.hi - 1 where r.base = v_run.base;
    -- Whoever stands in the part that has another base now.
    update {schema}.subscription s set past_base = v_run.base + v_n
      where s.past_base = v_run.base and s.past_seq >= v_part.hi;
  end if;
  update {schema}.log_partition p set closed_at = clock_timestamp(), tallied_to = p.hi,
      last_position = coalesce((
        select r.base + r.n - 1 from {schema}.log_run r where r.hi < p.hi order by r.base desc limit 1), 0)
    where p.lo = v_part.lo;
  closed := true;
end $$;

-- What keeps the oldest partition, or floors, from where retention would have them. count: entries not read, as far as they
-- were counted.
create function {schema}.log_holds() returns table (holder text, namespace text, count bigint, since timestamptz)
language plpgsql stable as $$
#variable_conflict use_column
declare
  v_head bigint := (select h.head from {schema}.log_head() h);
  v_wanted bigint := (select coalesce(min(n.log_wanted), 0) from {schema}.namespace n);
  v_part {schema}.log_partition;
  v_counted bigint;
begin
  return query
    select 'consumer ' || c.name, n.name, v_head - x.position, {schema}.recorded_at(x.position + 1)
    from {schema}.namespace n
    join {schema}.consumer c on c.namespace = n.id and c.hold_log
    cross join lateral (
      select min(p.position) "position" from {schema}.consumer_part p where p.consumer = c.id and not p.pruned) x
    where x.position < n.log_wanted order by n.name, c.name;
  select p.* into v_part from {schema}.log_partition p where p.closed_at is not null order by p.lo limit 1;
  if v_part.lo is null or v_part.last_position > v_wanted then return; end if;
  select c.position into v_counted from {schema}.counted c;
  if v_counted < v_part.last_position then
    return query select 'the counts of executions', '', v_head - v_counted, {schema}.recorded_at(v_counted + 1);
  end if;
  return query
    select coalesce(case when s.state = 3 then 'halted ' else '' end || 'subscription ' || s.name, 'the router'),
      coalesce(n.name, ''), u.n, e.published_at
    from {schema}.log_unrouted(v_part.hi) u
    left join {schema}.subscription s on s.id = u.subscription
    left join {schema}.namespace n on n.id = s.namespace
    left join lateral (select x.published_at from {schema}.event x where x.id = u.event offset 0) e on true order by 2, 1;
  return query
    select 'subscription ' || s.name || ' reads the past', n.name, v_part.last_position - {schema}.past_position(s),
      {schema}.recorded_at({schema}.past_position(s) + 1)
    from {schema}.subscription s join {schema}.namespace n on n.id = s.namespace
    where s.past_from is not null and {schema}.past_position(s) < v_part.last_position order by n.name, s.name;
  return query
    select u.name || ' (process ' || u.pid || ' of the database) has not ended its transaction', '', 0::bigint, u.since
    from {schema}.log_users({schema}.log_relations(v_part.lo)) u;
end $$;

-- The tables of a partition with the ones that they are parts of, in the order of locks.
create function {schema}.log_relations(p_lo bigint) returns regclass[] language plpgsql stable as $$
begin
  return array(
    select to_regclass(format('%I.%I', '{schema}', u.name)) -- null: it went meanwhile
    from unnest(array['log_body', 'log', 'log_flow']) with ordinality t (name, n)
    cross join lateral (values (1, t.name), (2, t.name || '_' || p_lo)) u (part, name) order by u.part, t.n);
end $$;

-- Up to where a subscription that reads the past is done with the log. One that goes by ids asks the log only which events
-- come after the place it began at.
create function {schema}.past_position(p_sub {schema}.subscription) returns bigint language plpgsql stable as $$
begin
  return case when p_sub.past_from is null or (not p_sub.ordered and p_sub.past_from = 0) then 9223372036854775807
    when p_sub.ordered then greatest(p_sub.past_from, p_sub.past_base - 1) else p_sub.past_from end;
end $$;

-- Of subscriptions (0: any) that have events of the log before this row which are not routed: how many, up to a thousand of each
-- part, and the first. What is gone already is not asked for: it was sent on by a person, and comes before all that is there.
create function {schema}.log_unrouted(p_before bigint) returns table (subscription int, n bigint, event uuid)
language plpgsql stable as $$
#variable_conflict use_column
declare
  v_from bigint := (select i.floor_seq from {schema}.log_incarnation i);
begin
  return query
    with recursive waited (id) as (
      (select u.subscription from {schema}.unrouted u order by u.subscription limit 1)
      union all
      select x.subscription from waited w cross join lateral (
        select u.subscription from {schema}.unrouted u where u.subscription > w.id order by u.subscription limit 1) x)
    select w.id, sum(x.n)::bigint, (array_agg(x.event order by x.seq))[1]
    from waited w cross join generate_series(0, 15) g
    cross join lateral (
      select count(*) n, min(y.seq) seq, (array_agg(y.event order by y.seq))[1] event from (
        select u.seq, u.event from {schema}.unrouted u
        where u.subscription = w.id and u.part = g and u.seq >= v_from and u.seq < p_before
        order by u.seq limit 1000) y) x
    where x.n > 0 group by w.id;
end $$;

-- When the entry at a position was recorded; null when it is not there.
create function {schema}.recorded_at(p_position bigint) returns timestamptz language plpgsql stable as $$
declare
  v_run {schema}.log_run;
begin
  select r.* into v_run from {schema}.log_run r where r.base <= p_position order by r.base desc limit 1;
  return (
    select x.at from (
      select l.at, v_run.base + sum(l.n) over (order by l.seq) upto from {schema}.log l
      where l.seq >= v_run.lo and l.seq <= v_run.hi and (v_run.lo = v_run.hi or not l.seq <@ any (v_run.holes))) x
    where x.upto > p_position order by x.upto limit 1);
end $$;

-- What drop_log_partition would drop by now, called again and again.
create function {schema}.log_partitions_due(out partitions int, out entries bigint, out bytes bigint)
language plpgsql volatile as $$
declare
  v_part {schema}.log_partition;
begin
  partitions := 0;
  entries := 0;
  bytes := 0;
  for v_part in select p.* from {schema}.log_partition p order by p.lo loop
    exit when {schema}.log_partition_due(v_part) <> 'due';
    partitions := partitions + 1;
    entries := entries + (select coalesce(sum(t.n), 0) from {schema}.log_tally t where t.lo = v_part.lo);
    bytes := bytes + (select coalesce(sum(pg_total_relation_size(u)), 0) from unnest(({schema}.log_relations(v_part.lo))[4:]) u);
  end loop;
end $$;

-- Drops the oldest partition if all of it is to go. verdict: dropped | none (nothing is due) | held (log_holds tells by whom) |
-- busy (somebody else is at it, or uses the log at this moment: try again later).
-- Everything is looked at again once everybody is locked out.
create function {schema}.drop_log_partition(out verdict text, out entries bigint, out bytes bigint)
language plpgsql volatile set lock_timeout = '100ms' as $$
declare
  v_part {schema}.log_partition;
  v_relations regclass[];
begin
  entries := 0;
  bytes := 0;
  verdict := 'busy';
  if not {schema}.try_retire_log() then return; end if;
  select p.* into v_part from {schema}.log_partition p order by p.lo limit 1;
  verdict := {schema}.log_partition_due(v_part);
  if verdict <> 'due' then return; end if;
  v_relations := {schema}.log_relations(v_part.lo);
  if exists (select from {schema}.log_users(v_relations)) then
    verdict := 'held';
    return;
  end if;
  begin
    for i in 1 .. 3 loop
      execute format('lock table only %s in access exclusive mode', v_relations[i]);
    end loop;
    verdict := {schema}.log_partition_due(v_part);
    if verdict <> 'due' then return; end if;
    bytes := (select sum(pg_total_relation_size(u)) from unnest(v_relations[4:]) u);
    for i in 4 .. 6 loop
      execute format('drop table %s', v_relations[i]);
    end loop;
  exception when lock_not_available then
    verdict := 'busy';
    bytes := 0;
    return;
  end;
  entries := (select coalesce(sum(t.n), 0) from {schema}.log_tally t where t.lo = v_part.lo);
  update {schema}.log_incarnation i set floor = greatest(i.floor, v_part.last_position), floor_seq = v_part.hi,
    gone_at = greatest(i.gone_at, v_part.newest_at);
  with gone as (delete from {schema}.log_tally t where t.lo = v_part.lo returning t.*)
    insert into {schema}.log_tally as t (lo, namespace, kind, n, purged, until)
      select 0, g.namespace, g.kind, g.n, g.purged, g.until from gone g
      on conflict (lo, namespace, kind) do update set n = t.n + excluded.n, purged = t.purged + excluded.purged,
        until = greatest(t.until, excluded.until);
  delete from {schema}.log_partition p where p.lo = v_part.lo;
  verdict := 'dropped';
end $$;

-- due | none | held.
create function {schema}.log_partition_due(p_part {schema}.log_partition) returns text language plpgsql volatile as $$
begin
  return case when p_part.closed_at is null
      or p_part.last_position > (select coalesce(min(n.log_wanted), 0) from {schema}.namespace n) then 'none'
    when p_part.last_position > (select min(n.log_floor) from {schema}.namespace n)
      or p_part.last_position > (select c.position from {schema}.counted c)
      or exists (select from {schema}.subscription s
        where s.past_from is not null and {schema}.past_position(s) < p_part.last_position)
      or exists (select from {schema}.log_unrouted(p_part.hi)) then 'held'
    else 'due' end;
end $$;

-- Deletes runs that number only what is gone. The last one stays, for it is what the sequencer goes on from. Answers how many.
create function {schema}.sweep_log_runs(p_limit int) returns int language plpgsql volatile as $$
declare
  v_gone int;
begin
  delete from {schema}.log_run r where r.base = any (array(
      select x.base from {schema}.log_run x
      where x.hi < (select i.floor_seq from {schema}.log_incarnation i) order by x.hi limit p_limit for update skip locked))
    and r.base < (select y.base from {schema}.log_run y order by y.base desc limit 1);
  get diagnostics v_gone = row_count;
  return v_gone;
end $$;

-- What there is to do: namespaces' floors to be raised, consumers to be halted, a partition to be begun, closed or dropped, runs
-- to be deleted. held: something keeps floors or the oldest partition from where retention would have them.
create function {schema}.log_work(p_rows bigint, out floors boolean, out consumers boolean, out cut boolean,
  out closing boolean, out dropping boolean, out runs boolean, out held boolean) language plpgsql volatile as $$
declare
  v_now timestamptz := clock_timestamp();
  v_part {schema}.log_partition;
  v_due text;
begin
  floors := exists (
    select from {schema}.namespace n cross join lateral (select coalesce(n.log_due_at, n.log_floor_at) at) d
    where n.log_wanted > n.log_floor
      or (d.at is not null and (n.log_wanted_at is null or d.at > n.log_wanted_at + (v_now - d.at) / 500)));
  consumers := exists (select from {schema}.consumer_part p where not p.pruned
    and p.position < {schema}.log_floor_of((select c.namespace from {schema}.consumer c where c.id = p.consumer)));
  cut := {schema}.log_cut(p_rows) is not null;
  select p.* into v_part from {schema}.log_partition p where p.closed_at is null order by p.lo limit 1;
  closing := exists (select from (select r.lo, r.holes from {schema}.log_run r order by r.base desc limit 1) r
    where r.lo >= v_part.hi and not exists (select from unnest(r.holes) h where lower(h) < v_part.hi));
  select p.* into v_part from {schema}.log_partition p order by p.lo limit 1;
  v_due := {schema}.log_partition_due(v_part);
  dropping := v_due = 'due';
  runs := exists (
    select from (select r.hi, r.base from {schema}.log_run r order by r.hi limit 1) r, {schema}.log_incarnation i
    where r.hi < i.floor_seq and r.base < (select y.base from {schema}.log_run y order by y.base desc limit 1));
  held := v_due = 'held' or exists (select from {schema}.namespace n where n.log_wanted > n.log_floor);
end $$;

-- Where rows of the log stand, now that some are gone ------------------------------------------------------------------------

-- The position of the first entry of a row of the log; null while it has none, 0 when it is gone. A late row has a run of its own.
create or replace function {schema}.position_of(p_seq bigint) returns bigint language plpgsql stable as $$
declare
  v_run record;
begin
  if p_seq < (select i.floor_seq from {schema}.log_incarnation i) then return 0; end if;
  select r.base, r.lo, r.hi, r.holes into v_run from {schema}.log_run r
    where r.hi >= p_seq and r.lo <= p_seq and (r.lo = r.hi or not p_seq <@ any (r.holes)) order by r.hi limit 1;
  return v_run.base + (
    select coalesce(sum(l.n), 0) from {schema}.log l
    where l.seq >= v_run.lo and l.seq < p_seq and not l.seq <@ any (v_run.holes));
end $$;

-- Where a row of the log stands: null while it has no position; what is gone comes before all that is there. late: others that
-- were drawn after it stand before it.
create or replace function {schema}.place_of(p_seq bigint, out base bigint, out late boolean) language plpgsql stable as $$
#variable_conflict use_column
begin
  if p_seq < (select i.floor_seq from {schema}.log_incarnation i) then
    base := 0;
    late := false;
    return;
  end if;
  select r.base, coalesce((select y.top > r.hi from {schema}.log_run y where y.base < r.base order by y.base desc limit 1), false)
    into base, late
    from {schema}.log_run r
    where r.hi >= p_seq and r.lo <= p_seq and (r.lo = r.hi or not p_seq <@ any (r.holes)) order by r.hi limit 1;
end $$;

-- Events as they are shown, in the order asked for. A payload of more than p_inline bytes is left out. position: null while
-- its place is not final, when it is gone from the log, and when it is not wanted: it is added up from there.
create or replace function {schema}.events_by_id(p_id uuid[], p_inline int, p_placed boolean default true)
returns table (id uuid, namespace text, event_id text, type text, stream text, version bigint, flow uuid, cause text,
  cause_execution uuid, hops int, batch uuid, batch_index int, batch_size int, schema_version int, tags jsonb, headers jsonb,
  occurred_at timestamptz, published_at timestamptz, payload_type text, payload bytea, omitted boolean, "position" bigint)
language plpgsql stable as $$
#variable_conflict use_column
begin
  return query
    select e.id, n.name, coalesce(e.event_id, e.id::text), e.type, s.name, e.version, e.flow,
      coalesce(c.event_id, c.id::text, e.cause::text), e.cause_execution, e.hops, e.batch, e.batch_index, e.batch_size,
      e.schema_version, e.tags, e.headers, e.occurred_at, e.published_at, e.payload_type,
      case when octet_length(e.payload) <= p_inline then e.payload end,
      coalesce(octet_length(e.payload) > p_inline, false),
      case when p_placed then nullif({schema}.position_of(e.seq), 0) + e.idx - 1 end
    from unnest(p_id) with ordinality u (id, n)
    cross join lateral (select x.* from {schema}.event x where x.id = u.id offset 0) e
    cross join lateral (select x.name from {schema}.namespace x where x.id = e.namespace offset 0) n
    left join lateral (select x.name from {schema}.stream x where x.id = e.stream offset 0) s on true
    left join lateral (select x.event_id, x.id from {schema}.event x where x.id = e.cause offset 0) c on true
    order by u.n;
end $$;

-- Consumers, below whose places the log may go ------------------------------------------------------------------------------

-- Where to begin: p_from is a position, -1 for what is shown, null for the head. Null: entries after it are gone.
create function {schema}.begin_at(p_namespace int, p_from bigint) returns bigint language plpgsql stable as $$
declare
  v_floor bigint := {schema}.log_floor_of(p_namespace);
begin
  return case when p_from is null then (select h.head from {schema}.log_head() h) when p_from < 0 then v_floor
    when p_from >= v_floor then p_from end;
end $$;

-- Makes or changes a consumer; p_rule: its columns. p_from: where a new one begins, as begin_at takes it. p_parts: of a new one;
-- of another one what it must have, 0 whatever it has.
-- verdict: put | same | conflict (with the present version) | split_key | part_count (which cannot be changed) | pruned.
-- Two that make one at once: the later one waits at the name, and then changes it. A repeat changes nothing; of a crash
-- nothing is left.
create or replace function {schema}.put_consumer(p_namespace int, p_name text, p_rule jsonb, p_parts int, p_from bigint, p_expected bigint,
  p_actor text, out verdict text, out version bigint) language plpgsql volatile as $$
#variable_conflict use_column
declare
  v_is {schema}.consumer := jsonb_populate_record(null::{schema}.consumer, p_rule);
  v_was {schema}.consumer;
  v_from bigint;
  v_now timestamptz;
  v_id int;
begin
  version := 0;
  if p_expected = 0 and not coalesce((
    select true from {schema}.consumer c where c.namespace = p_namespace and c.name = p_name limit 1), false)
  then
    v_from := {schema}.begin_at(p_namespace, p_from);
    if v_from is null then
      verdict := 'pruned';
      return;
    end if;
    v_now := clock_timestamp();
    insert into {schema}.consumer (namespace, name, spec, split_key, max_tries, initial_backoff_ms, max_backoff_ms, parks,
        max_parked, hold_log, actor, created_at, changed_at)
      values (p_namespace, p_name, v_is.spec, v_is.split_key, v_is.max_tries, v_is.initial_backoff_ms, v_is.max_backoff_ms,
        v_is.parks, v_is.max_parked, v_is.hold_log, p_actor, v_now, v_now)
      on conflict (namespace, name) do nothing returning id into v_id;
    if v_id is not null then
      perform {schema}.make_generation(v_id, 1, greatest(p_parts, 1), v_from, v_now);
      version := 1;
    end if;
  end if;
  if v_id is null then
    select c.* into v_was from {schema}.consumer c where c.namespace = p_namespace and c.name = p_name for update;
    v_now := clock_timestamp();
    version := coalesce(v_was.version, 0);
    verdict := case when p_expected not in (0, version) then 'conflict'
      when v_was.split_key <> v_is.split_key then 'split_key'
      when p_parts <> 0 and not coalesce((
        select true from {schema}.consumer_generation g
        where g.consumer = v_was.id and g.generation in (v_was.generation, v_was.rebuilding) and g.part_count = p_parts
        limit 1), false) then 'part_count'
      when v_was.spec = v_is.spec then 'same' end;
    if verdict is not null then return; end if;
    update {schema}.consumer c set version = c.version + 1, spec = v_is.spec, max_tries = v_is.max_tries,
        initial_backoff_ms = v_is.initial_backoff_ms, max_backoff_ms = v_is.max_backoff_ms, parks = v_is.parks,
        max_parked = v_is.max_parked, hold_log = v_is.hold_log, actor = p_actor, changed_at = v_now
      where c.id = v_was.id returning c.version into version;
  end if;
  verdict := 'put';
  perform {schema}.wake_consumers();
  perform {schema}.append_items('{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', array[
    row(p_namespace, 97, null, null, null, null, null, null,
      jsonb_build_object('subject', p_name, 'version', version, 'actor', p_actor))::{schema}.log_item]);
end $$;

-- Stops a consumer where it stands, or lets it go on: then what was halted is tried from its first try. verdict: changed | same |
-- conflict (with the present version) | not_found | pruned (what comes next is gone). A repeat, also one that names the
-- version before, changes nothing.
create or replace function {schema}.pause_consumer(p_namespace int, p_name text, p_pause boolean, p_expected bigint, p_actor text,
  p_reason text, out verdict text, out version bigint) language plpgsql volatile as $$
#variable_conflict use_column
declare
  v_is {schema}.consumer;
  v_same boolean;
begin
  select c.* into v_is from {schema}.consumer c where c.namespace = p_namespace and c.name = p_name for update;
  version := v_is.version;
  if v_is.id is null then
    verdict := 'not_found';
    return;
  end if;
  v_same := case when p_pause then v_is.state = 2 else v_is.state = 1 and not exists (
    select from {schema}.consumer_part p where p.consumer = v_is.id and p.halted) end;
  verdict := case when p_expected not in (0, version) and not (v_same and p_expected = version - 1) then 'conflict'
    when v_same then 'same'
    when not p_pause and exists (
      select from {schema}.consumer_part p
      where p.consumer = v_is.id and (p.halted or p.generation = v_is.generation)
        and p.position < {schema}.log_floor_of(p_namespace)) then 'pruned'
    else 'changed' end;
  if verdict <> 'changed' then return; end if;
  if not p_pause then
    update {schema}.consumer_part p set halted = false, tries = 0, retry_at = null, failed_position = null
      where p.consumer = v_is.id and p.halted;
  end if;
  version := {schema}.changed_consumer(v_is.id, p_pause, p_reason, p_actor, case when p_pause then 95 else 96 end::smallint,
    jsonb_build_object('reason', p_reason), null, clock_timestamp());
end $$;

-- Moves every part of the live generation; p_to as begin_at takes it. Whoever owns one has lost it. Letters of entries that
-- come again by that are closed as ignored; those of earlier ones stay, and hold their keys.
-- verdict: changed | conflict | not_found | pruned. A repeat moves it again; of a crash nothing is left.
create or replace function {schema}.reset_consumer(p_namespace int, p_name text, p_to bigint, p_expected bigint, p_actor text, p_reason text,
  out verdict text, out version bigint) language plpgsql volatile as $$
#variable_conflict use_column
declare
  v_is {schema}.consumer;
  v_to bigint;
  v_now timestamptz;
  v_items {schema}.log_item[];
begin
  v_is := {schema}.hold_consumer(p_namespace, p_name, false);
  version := v_is.version;
  v_to := {schema}.begin_at(p_namespace, p_to);
  v_now := clock_timestamp();
  verdict := case when v_is.id is null then 'not_found' when p_expected not in (0, version) then 'conflict'
    when v_to is null then 'pruned' else 'changed' end;
  if verdict <> 'changed' then return; end if;
  update {schema}.consumer_part p set position = v_to, came_from = -1, epoch = p.epoch + 1, owner = null, lease_ms = null,
      expires_at = null, wanted_at = null, tries = 0, failed_position = null, retry_at = null,
      halted = false, pruned = false
    where p.consumer = v_is.id and p.generation = v_is.generation;
  v_items := {schema}.close_entry_letters(v_is, v_is.generation, v_to, p_actor,
    'the consumer was reset to before this entry, which comes again', v_now);
  -- What was parked ahead of the position may have its turn by this.
  insert into {schema}.consumer_release (consumer, generation, part)
    select distinct d.consumer, d.generation, d.part from {schema}.dead_letter d
    where d.consumer = v_is.id and d.generation = v_is.generation and d.holds;
  version := {schema}.changed_consumer(v_is.id, v_is.state = 2, null, p_actor, 92::smallint,
    jsonb_build_object('generation', v_is.generation, 'position', v_to, 'reason', p_reason), v_items, v_now);
end $$;

-- Starts a generation beside the live one, in place of one that is being rebuilt already. p_from as begin_at takes it; p_parts 0: as
-- the live one. verdict: changed | conflict | not_found | pruned. A repeat begins again, if it does not name the version
-- that it saw; of a crash nothing is left.
create or replace function {schema}.rebuild_consumer(p_namespace int, p_name text, p_from bigint, p_parts int, p_promotes boolean,
  p_expected bigint, p_actor text, p_reason text, out verdict text, out version bigint, out generation bigint)
language plpgsql volatile as $$
#variable_conflict use_column
declare
  v_is {schema}.consumer;
  v_from bigint;
  v_now timestamptz;
  v_items {schema}.log_item[];
begin
  v_is := {schema}.hold_consumer(p_namespace, p_name, true);
  version := v_is.version;
  v_from := {schema}.begin_at(p_namespace, p_from);
  v_now := clock_timestamp();
  verdict := case when v_is.id is null then 'not_found' when p_expected not in (0, version) then 'conflict'
    when v_from is null then 'pruned' else 'changed' end;
  if verdict <> 'changed' then return; end if;
  if v_is.rebuilding is not null then
    v_items := {schema}.drop_generation(v_is, v_is.rebuilding, p_actor, 'the generation was replaced by another one', v_now);
  end if;
  generation := v_is.newest + 1;
  perform {schema}.make_generation(v_is.id, generation, case when p_parts > 0 then p_parts else (
    select g.part_count from {schema}.consumer_generation g where g.consumer = v_is.id and g.generation = v_is.generation)
    end, v_from, v_now);
  update {schema}.consumer c set rebuilding = v_is.newest + 1, newest = v_is.newest + 1, promotes = p_promotes where c.id = v_is.id;
  version := {schema}.changed_consumer(v_is.id, v_is.state = 2, null, p_actor, 98::smallint,
    jsonb_build_object('generation', generation, 'position', v_from, 'reason', p_reason), v_items, v_now);
end $$;

-- Publishing, where what is too old is told by the floor of the log -------------------------------------------------------------

-- Publishes many events; the nth answer belongs to the nth event. Columns that no event has may be null as a whole.
-- verdict: published | duplicate (the first one's place is answered) | reused | too_old | no_cause | conflict (version: the
-- stream's) | unit_refused (another of its unit was) | what enter_flows refuses with. `busy` is the whole call's: nothing of
-- it is stored.
-- p_unit: what stands or falls together, side by side and ascending; p_call likewise, over units. Event ids are distinct.
-- p_made_ms: when an id of version 7 says it was made; p_cause_at: the place of a cause that comes earlier here;
-- p_new_flow: the flow to start where there is none. p_most: as for stage_events. p_memory_ms: how old such an id may be while the
-- namespace has no floor of its log; from then on, that floor tells.
-- woken and follows stand in the first row. A crash before the commit leaves nothing; a repeat after it finds the keys.
create or replace function {schema}.publish_events(p_call int[], p_unit int[], p_namespace int[], p_event_id text[], p_made_ms bigint[],
  p_hash bytea[], p_type text[], p_stream text[], p_expected bigint[], p_flow uuid[], p_new_flow uuid[], p_cause text[],
  p_cause_at int[], p_batch uuid[], p_batch_index int[], p_batch_size int[], p_schema_version int[], p_tags jsonb[],
  p_headers jsonb[], p_occurred_at timestamptz[], p_payload_type text[], p_payload_at int[], p_payload_length int[],
  p_payload bytea, p_memory_ms bigint, p_seal_after_ms bigint, p_max_members int, p_most int)
returns table (ord int, verdict text, event uuid, seq bigint, idx int, version bigint, flow uuid, hops int, batch uuid,
  batch_index int, batch_size int, floor_at timestamptz, woken int[], follows boolean) language plpgsql volatile as $$
#variable_conflict use_column
declare
  v_n constant int := cardinality(p_type);
  v_floor timestamptz := clock_timestamp() - p_memory_ms * interval '1 ms'; -- where the namespace has none
  v_ids uuid[] := {schema}.uuids_v7(v_n);
  v_verdict text[]; -- null: nothing speaks against it
  v_old uuid[]; -- the event that has the id already
  v_cause uuid[];
  v_cause_flow uuid[];
  v_cause_hops int[];
  v_flow uuid[];
  v_new boolean[]; -- starts its flow, or follows in here one that does
  v_hops int[];
  v_batch uuid[] := p_batch;
  v_at int[]; -- place of its stream among those that are locked
  v_stream int[];
  v_stream_version bigint[];
  v_version bigint[];
  v_first int := 1;
  v_fell boolean := false;
  v_now timestamptz;
  v_events {schema}.event[];
  v_staged {schema}.staged;
  v_begun {schema}.log_item[];
  v_seq bigint;
  j int;
begin
  perform pg_current_xact_id(); -- before any ready_seq is drawn
  v_verdict := array_fill(null::text, array[v_n]);
  v_old := array_fill(null::uuid, array[v_n]);
  v_version := array_fill(null::bigint, array[v_n]);
  if p_event_id is not null then
    insert into {schema}.event_key (namespace, event_id, event, hash, created_at)
      select u.namespace, u.event_id, u.id, u.hash, clock_timestamp()
      from unnest(p_namespace, p_event_id, p_made_ms, p_hash, v_ids) u (namespace, event_id, made_ms, hash, id)
      cross join lateral (
        select coalesce(x.log_floor_at, v_floor) at from {schema}.namespace x where x.id = u.namespace offset 0) f
      where u.event_id is not null and (u.made_ms is null or to_timestamp(u.made_ms / 1000.0) >= f.at)
      order by u.namespace, u.event_id on conflict do nothing;
    -- The floor is read once more: a key whose place was free may have been forgotten since the statement before began, and
    -- the floor rises before keys go.
    select array_agg(case when u.event_id is null then null
          when to_timestamp(u.made_ms / 1000.0) < f.at then 'too_old'
          when k.event = u.id then case when e.id is not null then 'reused' end
          when k.hash = u.hash then 'duplicate' else 'reused' end order by u.ordinality),
        array_agg(case when k.event = u.id then e.id else k.event end order by u.ordinality)
      into v_verdict, v_old
      from unnest(p_namespace, p_event_id, p_made_ms, p_hash, v_ids) with ordinality
        u (namespace, event_id, made_ms, hash, id)
      cross join lateral (
        select coalesce(x.log_floor_at, v_floor) at from {schema}.namespace x where x.id = u.namespace offset 0) f
      left join lateral (
        select x.event, x.hash from {schema}.event_key x
        where x.namespace = u.namespace and x.event_id = u.event_id offset 0) k on true
      -- Nobody can give an id that the engine has made.
      left join lateral (
        select x.id from {schema}.event x
        where x.id = case when u.made_ms is not null and k.event = u.id then u.event_id::uuid end
          and x.namespace = u.namespace and x.event_id is null offset 0) e on true;
  end if;
  if p_cause is not null then
    select array_agg(e.id order by u.ordinality), array_agg(e.flow order by u.ordinality), array_agg(e.hops order by u.ordinality)
      into v_cause, v_cause_flow, v_cause_hops
      from unnest(p_cause) with ordinality u (cause)
      left join {schema}.find_events(p_namespace, p_cause) f on f.n = u.ordinality
      left join lateral (select x.id, x.flow, x.hops from {schema}.event x where x.id = f.event offset 0) e on true;
  end if;
  -- What of a batch comes again without an id, or after its id was forgotten, belongs to the batch that there is.
  if p_batch is not null and 'duplicate' = any (v_verdict) and array_position(v_verdict, null) is not null then
    with there as materialized (
        select distinct on (u.batch) u.batch, e.batch old, e.flow
        from unnest(p_batch, v_verdict, v_old) u (batch, verdict, old)
        cross join lateral (select x.batch, x.flow from {schema}.event x where x.id = u.old offset 0) e
        where u.verdict = 'duplicate' and u.batch is not null and e.batch is not null)
      select array_agg(coalesce(t.old, u.batch) order by u.ordinality), array_agg(coalesce(u.flow, t.flow) order by u.ordinality)
        into v_batch, p_flow
        from unnest(p_batch, p_flow) with ordinality u (batch, flow) left join there t on t.batch = u.batch;
  end if;
  v_flow := p_new_flow;
  v_new := array_fill(true, array[v_n]);
  v_hops := array_fill(0, array[v_n]);
  if p_flow is not null or p_cause is not null then
    for i in 1 .. v_n loop
      continue when v_verdict[i] is not null;
      j := p_cause_at[i];
      if j is not null and (v_verdict[j] is null or v_verdict[j] not in ('duplicate', 'reused')) then
        v_cause[i] := v_ids[j];
        v_flow[i] := coalesce(p_flow[i], v_flow[j]);
        v_new[i] := p_flow[i] is null and v_new[j];
        v_hops[i] := v_hops[j] + 1;
      elsif p_cause[i] is not null and v_cause[i] is null then
        v_verdict[i] := 'no_cause';
      else
        v_flow[i] := coalesce(p_flow[i], v_cause_flow[i], v_flow[i]);
        v_new[i] := p_flow[i] is null and p_cause[i] is null;
        v_hops[i] := coalesce(v_cause_hops[i] + 1, 0);
      end if;
    end loop;
    with asked as materialized (
        select array_agg(y.flow) flows, array_agg(y.namespace) namespaces from (
          select distinct u.flow, u.namespace from unnest(v_flow, p_namespace, v_new, v_verdict) u (flow, namespace, new, verdict)
          where not u.new and u.verdict is null) y)
      select array_agg(coalesce(u.verdict, e.refused) order by u.ordinality) into v_verdict
        from unnest(v_flow, p_namespace, v_new, v_verdict) with ordinality u (flow, namespace, new, verdict)
        left join (
          select e.* from asked a cross join lateral {schema}.enter_flows(a.flows, a.namespaces, p_max_members) e) e
          on e.flow = u.flow and e.namespace = u.namespace and not u.new;
    if 'busy' = any (v_verdict) then
      select array_agg(case when x.busy then 'busy' else x.verdict end order by x.ordinality) into v_verdict
        from (
          select u.*, bool_or(u.verdict is not distinct from 'busy') over (partition by u.call) busy
          from unnest(p_call, v_verdict) with ordinality u (call, verdict)) x;
    end if;
  end if;
  if p_stream is not null then
    with held as materialized (
        select s.* from {schema}.enter_streams(p_namespace, array(
          select case when u.verdict is null then u.stream end
          from unnest(p_stream, v_verdict) with ordinality u (stream, verdict) order by u.ordinality)) s),
      placed as materialized (select h.*, row_number() over (order by h.stream)::int place from held h)
      select (select array_agg(p.stream order by p.place) from placed p), (select array_agg(p.version order by p.place) from placed p),
          array_agg(p.place order by u.ordinality)
        into v_stream, v_stream_version, v_at
        from unnest(p_namespace, p_stream) with ordinality u (namespace, stream)
        left join placed p on p.namespace = u.namespace and p.name = u.stream;
  end if;
  -- In order: which version each has, and what falls with another.
  for i in 1 .. v_n loop
    if p_unit[i] is distinct from p_unit[i - 1] then
      v_first := i;
      v_fell := false;
    end if;
    j := p_cause_at[i];
    -- What would have been its flow says nothing then.
    if j is not null and v_verdict[j] not in ('duplicate', 'reused')
        and coalesce(v_verdict[i] in ('no_flow', 'flow_sealed', 'flow_canceled', 'flow_full'), true) then
      v_verdict[i] := 'no_cause';
    end if;
    if v_verdict[i] is null and v_fell then
      v_verdict[i] := 'unit_refused';
    elsif v_verdict[i] is null and p_stream[i] is not null then
      if v_at[i] is null then
        raise exception using errcode = 'serialization_failure', message = 'a stream went away';
      elsif p_expected[i] <> v_stream_version[v_at[i]] then
        v_verdict[i] := 'conflict';
        v_version[i] := v_stream_version[v_at[i]];
      else
        v_version[i] := v_stream_version[v_at[i]] + 1;
        v_stream_version[v_at[i]] := v_version[i];
      end if;
    end if;
    if v_verdict[i] <> 'duplicate' and not v_fell then
      v_fell := true;
      for k in v_first .. i - 1 loop
        continue when v_verdict[k] is not null;
        v_verdict[k] := 'unit_refused';
        if v_at[k] is not null then v_stream_version[v_at[k]] := v_stream_version[v_at[k]] - 1; end if;
      end loop;
    end if;
  end loop;
  v_now := clock_timestamp();
  if p_event_id is not null and v_n > cardinality(array_positions(v_verdict, null)) then
    delete from {schema}.event_key k using (
        select u.namespace, u.event_id, u.id
        from unnest(p_namespace, p_event_id, v_ids, v_verdict) u (namespace, event_id, id, verdict)
        where u.event_id is not null and u.verdict is not null offset 0) u
      where k.namespace = u.namespace and k.event_id = u.event_id and k.event = u.id;
  end if;
  select array_agg(row(u.id, u.namespace, u.event_id, null, null, u.type, v_stream[u.at], u.version, u.flow, u.cause, null,
        u.hops, u.batch, u.batch_index, u.batch_size, coalesce(u.schema_version, 0), coalesce(u.tags, '{}'),
        coalesce(u.headers, '{}'), u.occurred_at, v_now, null, u.payload_type,
        case when u.payload_type is not null then substring(p_payload from u.payload_at + 1 for u.payload_length) end
      )::{schema}.event order by u.ordinality)
    into v_events
    from unnest(v_ids, p_namespace, p_event_id, p_type, v_at, v_version, v_flow, v_cause, v_hops, v_batch, p_batch_index,
      p_batch_size, p_schema_version, p_tags, p_headers, p_occurred_at, p_payload_type, p_payload_at, p_payload_length,
      v_verdict) with ordinality
      u (id, namespace, event_id, type, at, version, flow, cause, hops, batch, batch_index, batch_size, schema_version, tags,
        headers, occurred_at, payload_type, payload_at, payload_length, verdict)
    where u.verdict is null;
  if v_events is not null then
    v_staged := {schema}.stage_events(v_events, v_now, p_most);
    if v_stream is not null then
      update {schema}.stream s set version = u.version from unnest(v_stream, v_stream_version) u (id, version)
        where s.id = u.id and s.version <> u.version;
    end if;
    update {schema}.flow f set began = true, settled_at = null, seal_at = null,
        state = case when f.state = 2 then 1 else f.state end
      where f.id = any (array(
          select distinct u.flow from unnest(v_flow, v_new, v_verdict) u (flow, new, verdict) where u.verdict is null and not u.new))
        and (not f.began or f.state = 2);
    with made as (
      insert into {schema}.flow (id, namespace, began, seal_after_idle_ms, created_at)
        select distinct u.flow, u.namespace, true, p_seal_after_ms, v_now
        from unnest(v_flow, p_namespace, v_new, v_verdict) u (flow, namespace, new, verdict)
        where u.verdict is null and u.new order by 1
        returning id, namespace)
      select array_agg(row(m.namespace, 40, null, m.id, null, null, null, null, '{"name":"","members":0}')::{schema}.log_item
          order by m.id) into v_begun from made m;
    v_seq := {schema}.append_staged(v_staged, v_begun);
  end if;
  if 0 = any (v_stream_version) then perform {schema}.leave_streams(v_stream); end if;
  return query
    with asked as materialized (
      select u.ordinality::int n, coalesce(u.verdict, 'published') verdict,
        coalesce(cardinality(v_begun), 0) + (count(*) filter (where u.verdict is null) over (order by u.ordinality))::int place,
        case when u.verdict is null then u.id else u.old end id, u.version, u.flow, u.hops, u.batch, u.batch_index, u.batch_size
      from unnest(v_verdict, v_ids, v_old, v_version, v_flow, v_hops, v_batch, p_batch_index, p_batch_size) with ordinality
        u (verdict, id, old, version, flow, hops, batch, batch_index, batch_size))
    select a.n, a.verdict, a.id, case when p.is then v_seq else e.seq end, case when p.is then a.place else e.idx end,
      case when p.is or a.verdict = 'conflict' then a.version else e.version end,
      case when a.verdict = 'duplicate' then e.flow else a.flow end,
      case when p.is then a.hops else e.hops end, case when p.is then a.batch else e.batch end,
      case when p.is then a.batch_index else e.batch_index end, case when p.is then a.batch_size else e.batch_size end,
      case when a.verdict = 'too_old' then coalesce((
        select x.log_floor_at from {schema}.namespace x where x.id = p_namespace[a.n]), v_floor) end,
      case when a.n = 1 then v_staged.classes end, case when a.n = 1 then v_staged.follows end
    from asked a
    cross join lateral (select a.verdict = 'published' is) p
    left join lateral (
      select x.* from {schema}.event x where x.id = case when a.verdict = 'duplicate' then a.id end offset 0) e on true
    order by 1;
end $$;

-- What is remembered by keys -------------------------------------------------------------------------------------------------

-- Stretches of a table of keys, one after the other: blocks p_from to below p_to are looked at by this call. Null: another
-- process is at it, or the last walk ended less than p_pause_ms ago. The caller's transaction holds the place.
create function {schema}.next_keys(p_name text, p_blocks int, p_pause_ms bigint, out p_from tid, out p_to tid, out done boolean)
language plpgsql volatile as $$
declare
  v_walk {schema}.key_walk;
  v_end bigint := pg_relation_size(format('%I.%I', '{schema}', p_name)) / current_setting('block_size')::int;
begin
  done := true;
  if exists (select from {schema}.key_walk w
    where w.name = p_name and w.block = 0 and w.ended_at > clock_timestamp() - p_pause_ms * interval '1 ms')
  then
    return;
  end if;
  select w.* into v_walk from {schema}.key_walk w where w.name = p_name for update skip locked;
  if not found or (v_walk.block = 0 and v_walk.ended_at > clock_timestamp() - p_pause_ms * interval '1 ms') then return; end if;
  done := v_walk.block + p_blocks >= v_end;
  p_from := format('(%s,0)', v_walk.block)::tid;
  p_to := format('(%s,0)', v_walk.block + p_blocks)::tid;
  update {schema}.key_walk w set block = case when done then 0 else w.block + p_blocks end,
      ended_at = case when done then clock_timestamp() else w.ended_at end
    where w.name = p_name;
end $$;

-- Request ids older than p_keep_ms whose subject is gone: an execution, an event, a letter, a bulk redrive.
-- A batch is short, and passes over what somebody has locked. done: nothing is left to be looked at for now.
create function {schema}.sweep_request_keys(p_keep_ms bigint, p_blocks int, p_pause_ms bigint, out gone int, out done boolean)
language plpgsql volatile as $$
declare
  v_next record;
begin
  gone := 0;
  select n.* into v_next from {schema}.next_keys('request_key', p_blocks, p_pause_ms) n;
  done := v_next.done;
  if v_next.p_from is null then return; end if;
  delete from {schema}.request_key k where k.ctid = any (array(
    select x.ctid from {schema}.request_key x
    where x.ctid >= v_next.p_from and x.ctid < v_next.p_to
      and x.created_at < clock_timestamp() - p_keep_ms * interval '1 ms'
      and not exists (select from {schema}.execution e where e.id = x.execution)
      and not exists (select from {schema}.event e where e.id = x.execution)
      and not exists (select from {schema}.dead_letter d where d.id = x.execution)
      and not exists (select from {schema}.redrive r where r.id = x.execution)
    for update skip locked));
  get diagnostics gone = row_count;
end $$;

-- The same of changes to flows.
create function {schema}.sweep_flow_requests(p_keep_ms bigint, p_blocks int, p_pause_ms bigint, out gone int, out done boolean)
language plpgsql volatile as $$
declare
  v_next record;
begin
  gone := 0;
  select n.* into v_next from {schema}.next_keys('flow_request', p_blocks, p_pause_ms) n;
  done := v_next.done;
  if v_next.p_from is null then return; end if;
  delete from {schema}.flow_request k where k.ctid = any (array(
    select x.ctid from {schema}.flow_request x
    where x.ctid >= v_next.p_from and x.ctid < v_next.p_to
      and x.created_at < clock_timestamp() - p_keep_ms * interval '1 ms'
      and not exists (select from {schema}.flow f where f.id = x.flow)
    for update skip locked));
  get diagnostics gone = row_count;
end $$;

-- Event ids: those of version 7 made before the floor of their namespace's log, for publish_events refuses them; others once
-- the namespace's memory (p_keep_ms where it says none) is over.
create function {schema}.sweep_event_keys(p_keep_ms bigint, p_blocks int, p_pause_ms bigint, out gone int, out done boolean)
language plpgsql volatile as $$
declare
  c_v7 constant text := '^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$';
  v_next record;
begin
  gone := 0;
  select n.* into v_next from {schema}.next_keys('event_key', p_blocks, p_pause_ms) n;
  done := v_next.done;
  if v_next.p_from is null then return; end if;
  delete from {schema}.event_key k where k.ctid = any (array(
    select x.ctid from {schema}.event_key x
    cross join lateral (
      select y.log_floor_at, y.event_ids_forever, y.keep_event_ids_ms from {schema}.namespace y where y.id = x.namespace offset 0) n
    where x.ctid >= v_next.p_from and x.ctid < v_next.p_to
      and case when x.event_id ~* c_v7
        then to_timestamp(('x0000' || replace(left(x.event_id, 13), '-', ''))::bit(64)::bigint / 1000.0) < n.log_floor_at
        else not n.event_ids_forever
          and x.created_at < clock_timestamp() - coalesce(n.keep_event_ids_ms, p_keep_ms) * interval '1 ms' end
    for update of x skip locked));
  get diagnostics gone = row_count;
end $$;
