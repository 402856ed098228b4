-- What is due is found without reading what is not due yet, nor what has long been done.
--
-- Why: sweeps asked for `due_at <= clock_timestamp()`, which no index can answer, for that clock goes on while it is read: each
-- read all that waits for its time. With a million timers, suspensions or running leases that is a million rows, up to fifty times
-- a second. And they began at the very first row, as the pulse did: what was done with lies there until vacuum removes it, and it
-- cannot while somebody holds a snapshot. With 2,000 leases of 2 s and a snapshot held for five minutes a sweep took 260 ms, the
-- pulse 320, and leases were lost because their renewals came too late.
-- Now a sweep is told how far back it must look (p_behind_ms, before this moment; null: everything), which each process knows from
-- what it found last; and for a twentieth of the time everything is looked at, for rows that were committed late or made with a
-- time long past. When something is due is told for the next three seconds alone: the pulse asks again each second, and between now
-- and what is due in an hour lies what was done with long before its time. And of the heads of lines, what lies below a known bound
-- is not read.
-- Locks: creates only.
-- older-servers: allowed

create function {schema}.looked_at_from(p_behind_ms double precision) returns timestamptz language sql volatile as $$
  select coalesce(clock_timestamp() - p_behind_ms * interval '1 ms', '-infinity')
$$;

drop function {schema}.promote_scheduled(int);
drop function {schema}.sweep_leases(int);
drop function {schema}.sweep_timers(int);
drop function {schema}.sweep_follow_ups(int);
drop function {schema}.time_out_suspensions(int);
drop function {schema}.expire_waitpoints(int);
drop function {schema}.sweep_suspensions(int);
drop function {schema}.expire_joins(int);
drop function {schema}.sweep_budgets(int);
drop function {schema}.pulse(int[], smallint[], bigint[], smallint[]);

-- Work whose time has come enters line, or waits for its concurrency key.
create function {schema}.promote_scheduled(p_limit int, p_behind_ms double precision default null,
  out taken int, out classes int[], out next_ms double precision, out follows boolean)
language plpgsql volatile set enable_bitmapscan = off as $$
declare
  v_from timestamptz := {schema}.looked_at_from(p_behind_ms);
  v_ahead timestamptz := clock_timestamp() + interval '3 seconds';
  v_now timestamptz := clock_timestamp();
  v_rows {schema}.scheduled[];
  v_entered uuid[];
begin
  with due as materialized (
      select s.ctid from {schema}.scheduled s where s.run_at between v_from and v_now
      order by s.run_at limit p_limit for update skip locked),
    gone as (delete from {schema}.scheduled s where s.ctid = any (array(select due.ctid from due)) returning s)
    select array_agg(gone.s order by (gone.s).run_at, (gone.s).execution) into v_rows from gone;
  taken := coalesce(cardinality(v_rows), 0);
  follows := false;
  select extract(epoch from s.run_at - clock_timestamp()) * 1000 into next_ms
    from {schema}.scheduled s where s.run_at between v_from and v_ahead order by s.run_at limit 1;
  if taken = 0 then return; end if;
  insert into {schema}.ready (class, priority, seq, execution, ready_at, kind, attempt, failures, reclaims, timeout_ms,
      start_by, deadline, redrive, flow, linked, resume)
    select x.class, -x.priority, nextval('{schema}.ready_seq'), x.execution, v_now, x.kind, x.attempt, x.failures,
      x.reclaims, x.timeout_ms, x.start_by, x.deadline, x.redrive, x.flow, x.linked, x.resume
    from unnest(v_rows) x where x.gate is null;
  if exists (select from unnest(v_rows) x where x.gate is not null) then
    select e.queued into v_entered from {schema}.enter_line(array(
      select row(x.class, -x.priority, 0, x.execution, v_now, x.kind, x.attempt, x.failures, x.reclaims, x.timeout_ms,
        x.start_by, x.deadline, x.redrive, x.flow, x.linked, x.resume, x.gate)::{schema}.ready
      from unnest(v_rows) x where x.gate is not null), v_now, true) e;
    follows := true;
  end if;
  classes := array(select distinct x.class from unnest(v_rows) x where x.gate is null or x.execution = any (v_entered));
  perform {schema}.append_log(array_agg(c.namespace), array_agg(2::smallint), array_agg(x.execution), array_agg(x.flow),
      array_agg(x.class), array_agg(2::smallint),
      array_agg((case when x.gate is null or x.execution = any (v_entered) then 3 else 1 end)::smallint), array_agg(x.attempt),
      array_agg('{"cause":"due"}'::text))
    from unnest(v_rows) x join {schema}.claim_class c on c.id = x.class;
end $$;

create function {schema}.sweep_leases(p_limit int, p_behind_ms double precision default null,
  out taken int, out classes int[], out next_ms double precision, out follows boolean)
language plpgsql volatile set enable_bitmapscan = off as $$
declare
  v_from timestamptz := {schema}.looked_at_from(p_behind_ms);
  v_ahead timestamptz := clock_timestamp() + interval '3 seconds';
  v_until timestamptz := clock_timestamp();
  v_now timestamptz;
  v_locked {schema}.lease[];
  v_executions uuid[];
  v_over {schema}.ending[];
begin
  select array_agg(x.l) into v_locked from (
    select l from {schema}.lease l where l.check_at between v_from and v_until order by l.check_at limit p_limit
    for update skip locked) x (l);
  taken := coalesce(cardinality(v_locked), 0);
  follows := false;
  if taken = 0 then
    select extract(epoch from l.check_at - clock_timestamp()) * 1000 into next_ms
      from {schema}.lease l where l.check_at between v_from and v_ahead order by l.check_at limit 1;
    return;
  end if;
  v_now := clock_timestamp();
  v_executions := array(select x.execution from unnest(v_locked) x);
  select array_agg(case
      when x.deadline <= v_now and x.cancel_at is null then {schema}.ending_by_engine(x, 10::smallint, 10::smallint,
        10::smallint, 6::smallint, null, 'the execution''s deadline passed while it was running')
      when x.deadline <= v_now or x.cancel_until <= v_now then {schema}.ending_by_engine(x, 10::smallint, 8::smallint,
        9::smallint, coalesce(x.cancel_cause, 20)::smallint, null, x.cancel_reason)
      when x.timeout_at <= v_now then {schema}.ending_of(x, 10::smallint, null, 3::smallint, d.state, d.reason, d.run_at,
        2::smallint, d.failures, d.reclaims, 4::smallint, null,
        coalesce(nullif(x.cancel_reason, ''), 'the attempt took longer than its timeout'), null, null)
      when x.begin_by <= v_now then {schema}.ending_by_engine(x, 10::smallint, 11::smallint,
        (case when x.cancel_at is null then 3 else 9 end)::smallint,
        (case when x.cancel_at is not null then coalesce(x.cancel_cause, 20) end)::smallint, 4::smallint,
        coalesce(nullif(x.cancel_reason, ''), 'the worker did not begin in time'))
      else {schema}.ending_of(x, 10::smallint, null, 4::smallint, d.state, d.reason, d.run_at, 3::smallint, d.failures,
        d.reclaims, null, null, coalesce(nullif(x.cancel_reason, ''), 'the lease expired'), null, null)
      end order by x.execution)
    into v_over
    from unnest(v_locked) x
    cross join lateral (select e from {schema}.execution e where e.id = x.execution offset 0) e
    cross join lateral {schema}.after_failure(x, e.e, (case when x.timeout_at <= v_now then 4 end)::smallint, null, v_now) d
    where least(x.deadline, x.cancel_until, x.timeout_at, x.begin_by, x.expires_at) <= v_now;
  update {schema}.lease l set check_at = least(l.deadline, l.cancel_until, l.timeout_at, l.begin_by, l.expires_at)
    where l.execution = any (v_executions)
      and least(l.deadline, l.cancel_until, l.timeout_at, l.begin_by, l.expires_at) > v_now;
  if v_over is not null then
    delete from {schema}.lease l where l.execution = any (array(select y.execution from unnest(v_over) y));
    classes := array(select distinct y.class from unnest(v_over) y where y.state = 3);
  end if;
  select extract(epoch from l.check_at - clock_timestamp()) * 1000 into next_ms
    from {schema}.lease l where l.check_at between v_from and v_ahead order by l.check_at limit 1;
  if v_over is not null then
    select classes || s.woken, s.follows into classes, follows from {schema}.settle(v_over, v_now) s;
  end if;
end $$;

-- Timers that fired: work that waited past its time to start or its deadline expires. Looked up anew under the phase
-- row's lock; work that runs is watched by its lease, so its timer moves on to the deadline or goes.
-- The time to start only counts before the first attempt. NO_HANDLER: it passed and no worker ever declared the type.
create function {schema}.sweep_timers(p_limit int, p_behind_ms double precision default null,
  out taken int, out classes int[], out next_ms double precision, out follows boolean)
language plpgsql volatile set enable_bitmapscan = off as $$
declare
  v_from timestamptz := {schema}.looked_at_from(p_behind_ms);
  v_ahead timestamptz := clock_timestamp() + interval '3 seconds';
  v_until timestamptz := clock_timestamp();
  v_now timestamptz;
  v_due uuid[];
  v_expired uuid[];
  v_over {schema}.ending[];
  v_gone uuid[];
  v_begun uuid[];
  v_behind uuid[]; -- of those that expire: who stood behind others of its ordering key, and where
  v_place bigint[];
begin
  select array_agg(x.execution) into v_due from (
    select t.execution from {schema}.timer t where t.due_at between v_from and v_until order by t.due_at limit p_limit
    for update skip locked) x;
  taken := coalesce(cardinality(v_due), 0);
  follows := false;
  if taken = 0 then
    select extract(epoch from t.due_at - clock_timestamp()) * 1000 into next_ms
      from {schema}.timer t where t.due_at between v_from and v_ahead order by t.due_at limit 1;
    return;
  end if;
  v_now := clock_timestamp();
  v_expired := array(
    select r.execution from {schema}.ready r where r.execution = any (v_due)
      and (r.deadline <= v_now or (r.start_by <= v_now and r.attempt = 0))
    union all select s.execution from {schema}.scheduled s where s.execution = any (v_due)
      and (s.deadline <= v_now or (s.start_by <= v_now and s.attempt = 0))
    union all select b.execution from {schema}.blocked b where b.execution = any (v_due)
      and (b.deadline <= v_now or (b.start_by <= v_now and b.attempt = 0))
    union all select s.execution from {schema}.suspension s where s.execution = any (v_due) and s.deadline <= v_now);
  select array_agg(b.execution), array_agg(b.place) into v_behind, v_place
    from {schema}.blocked b where b.execution = any (v_expired) and b.waits_for = 4;
  -- What moved between the two statements has the same times where it stands now.
  select array_agg({schema}.ending_of_waiting(w, c.namespace, 10::smallint,
      (case when w.deadline <= v_now then 6
        when exists (select 1 from {schema}.worker k where k.namespace = c.namespace
          and (k.types = '{}' or c.type = any (k.types))) then 5 else 7 end)::smallint,
      case when w.deadline <= v_now then 'the execution''s deadline passed while it waited'
        else 'it was not started within its time to live' end) order by w.execution)
    into v_over
    from unnest({schema}.take_waiting(v_expired)) w join {schema}.claim_class c on c.id = w.class;
  v_gone := array(select y.execution from unnest(v_over) y);
  -- What does not expire has begun: its time to start is over and done with, and only the deadline is left. Or it is held
  -- by somebody at this moment, who may roll back: then a second look.
  -- Scalar subqueries, for they are answered by key: of "exists … or exists …" the planner may make hash tables, and read
  -- all that waits to fill them.
  v_begun := array(select x.execution from unnest(v_due) x (execution)
    where not x.execution = any (v_gone)
      and coalesce((select true from {schema}.lease l where l.execution = x.execution),
        (select r.attempt > 0 from {schema}.ready r where r.execution = x.execution),
        (select s.attempt > 0 from {schema}.scheduled s where s.execution = x.execution),
        (select b.attempt > 0 from {schema}.blocked b where b.execution = x.execution),
        (select true from {schema}.suspension s where s.execution = x.execution)));
  delete from {schema}.timer t using {schema}.execution e
    where t.execution = any (v_begun) and e.id = any (v_begun) and e.id = t.execution and e.deadline is null;
  update {schema}.timer t set due_at = greatest(e.deadline, v_now + interval '1 second')
    from {schema}.execution e
    where t.execution = any (v_begun) and e.id = any (v_begun) and e.id = t.execution and e.deadline is not null;
  update {schema}.timer t set due_at = v_now + interval '1 second'
    where t.execution = any (v_due) and not t.execution = any (v_gone) and not t.execution = any (v_begun);
  select extract(epoch from t.due_at - clock_timestamp()) * 1000 into next_ms
    from {schema}.timer t where t.due_at between v_from and v_ahead and not t.execution = any (v_gone) order by t.due_at limit 1;
  if v_over is not null then
    select s.woken, s.follows into classes, follows from {schema}.settle(v_over, v_now) s;
    -- One that gave up in line holds up those behind it only.
    if v_behind is not null then
      with placed as (
          update {schema}.dead_letter d set gate_place = u.place from unnest(v_behind, v_place) u (execution, place)
          where d.execution = any (v_behind) and d.execution = u.execution and d.gate is not null returning d.gate)
        insert into {schema}.follow_up (kind, subject) select distinct 7, p.gate from placed p;
      follows := follows or found;
    end if;
  end if;
end $$;

-- What is due of `follow_up`, and flows that seal themselves. taken: something was done, look again at once. next_ms: until
-- something is due. lease_ms: holders were asked to stop, and have so long. Fillings and joins whose time is up are swept by
-- statements of their own: one that cannot be done must not hold up the others.
create function {schema}.sweep_follow_ups(p_limit int, p_behind_ms double precision default null,
  out taken int, out classes int[], out next_ms double precision, out lease_ms bigint, out routes boolean)
language plpgsql volatile set enable_bitmapscan = off as $$
declare
  v_from timestamptz := {schema}.looked_at_from(p_behind_ms);
  v_ahead timestamptz := clock_timestamp() + interval '3 seconds';
  c_executions constant int := 500; -- canceled by one sweep
  v_now timestamptz;
  v_part record;
  v_due {schema}.follow_up[];
  v_item {schema}.follow_up;
  v_looked uuid[];
  v_handled int := 0;
begin
  classes := '{}';
  taken := 0;
  v_now := clock_timestamp();
  with idle as (
      select f.id from {schema}.flow f where f.seal_at between v_from and v_now
      order by f.seal_at limit p_limit for update skip locked),
    sealed as (
      update {schema}.flow f set sealed_at = v_now, seal_at = null, revision = f.revision + 1
        where f.id = any (array(select idle.id from idle)) returning f.*),
    told as (insert into {schema}.follow_up (kind, subject) select 1, s.id from sealed s)
    select array_agg(s.namespace) namespaces, array_agg(s.id) ids, array_agg(s.revision) revisions into v_part from sealed s;
  if v_part.ids is not null then
    taken := taken + cardinality(v_part.ids);
    perform {schema}.append_log(array_agg(u.namespace), array_agg(42::smallint), array_agg(null::uuid), array_agg(u.id),
        array_agg(null::int), array_agg(null::smallint), array_agg(null::smallint), array_agg(null::int),
        array_agg('{"revision":' || u.revision || '}'))
      from unnest(v_part.namespaces, v_part.ids, v_part.revisions) u (namespace, id, revision);
  end if;
  v_now := clock_timestamp();
  select array_agg(x.u order by (x.u).seq) into v_due from (
    select u from {schema}.follow_up u where u.due_at between v_from and v_now and u.kind not in (8, 9)
    order by u.due_at, u.seq limit p_limit
    for update skip locked) x (u);
  v_now := clock_timestamp();
  if exists (select from unnest(v_due) u where u.kind = 5) then
    perform {schema}.abandon_joins(array(select distinct u.subject from unnest(v_due) u where u.kind = 5), v_now);
    delete from {schema}.follow_up u where u.seq = any (array(select y.seq from unnest(v_due) y where y.kind = 5));
    taken := taken + 1;
  end if;
  if exists (select from unnest(v_due) u where u.kind = 6) then
    v_looked := array(select b.id from {schema}.barrier b
      where b.id = any (array(select u.subject from unnest(v_due) u where u.kind = 6)) order by b.id for update skip locked);
    select f.* into v_part from {schema}.fold_joins(v_looked, '{}', '{}', '{}', v_now) f;
    classes := classes || v_part.classes;
    perform {schema}.append_folded(v_part.items, v_part.endings, v_now);
    delete from {schema}.follow_up u
      where u.seq = any (array(select y.seq from unnest(v_due) y where y.kind = 6 and y.subject = any (v_looked)));
    update {schema}.follow_up u set due_at = v_now + interval '5 ms'
      where u.seq = any (array(select y.seq from unnest(v_due) y where y.kind = 6 and not y.subject = any (v_looked)));
    taken := taken + v_part.folded;
  end if;
  if exists (select from unnest(v_due) u where u.kind = 4) then
    select f.* into v_part from {schema}.fan_out(
      array(select distinct u.subject from unnest(v_due) u where u.kind = 4), v_now) f;
    classes := classes || v_part.woken;
    delete from {schema}.follow_up u
      where u.seq = any (array(select y.seq from unnest(v_due) y where y.kind = 4 and y.subject = any (v_part.done)));
    taken := taken + 1;
  end if;
  foreach v_item in array coalesce(v_due, '{}') loop
    continue when v_item.kind not in (2, 3);
    exit when v_handled >= c_executions;
    select c.* into v_part from {schema}.cancel_batch(v_item) c;
    v_handled := v_handled + v_part.handled;
    classes := classes || v_part.woken;
    lease_ms := least(lease_ms, v_part.asked_ms);
    taken := taken + 1;
  end loop;
  if exists (select from unnest(v_due) u where u.kind = 7) then
    select b.classes, b.items into v_part from {schema}.balance_keys(
      array(select distinct u.subject from unnest(v_due) u where u.kind = 7), clock_timestamp()) b;
    classes := classes || v_part.classes;
    delete from {schema}.follow_up u where u.seq = any (array(select y.seq from unnest(v_due) y where y.kind = 7));
    if v_part.items is not null then
      perform {schema}.append_items('{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', v_part.items);
      taken := taken + 1;
    end if;
  end if;
  if exists (select from unnest(v_due) u where u.kind = 10) then
    select s.done, s.classes into v_part from {schema}.fill_left_slots(
      array(select u from unnest(v_due) u where u.kind = 10), clock_timestamp()) s;
    classes := classes || v_part.classes;
    delete from {schema}.follow_up u where u.seq = any (v_part.done);
    taken := taken + coalesce(cardinality(v_part.done), 0);
  end if;
  -- Last, so that it sees what was ended above; locks of flows come after all others.
  if exists (select from unnest(v_due) u where u.kind = 1) then
    select c.* into v_part from {schema}.check_flows(
      array(select distinct u.subject from unnest(v_due) u where u.kind = 1), v_now) c;
    v_looked := v_part.looked;
    delete from {schema}.follow_up u
      where u.seq = any (array(select y.seq from unnest(v_due) y where y.kind = 1
        and (y.subject = any (v_looked) or not exists (select from {schema}.flow f where f.id = y.subject))));
    taken := taken + coalesce(cardinality(v_looked), 0);
  end if;
  select extract(epoch from u.due_at - clock_timestamp()) * 1000 into next_ms
    from {schema}.follow_up u where u.due_at between v_from and v_ahead and u.kind not in (8, 9) order by u.due_at limit 1;
  select least(next_ms, extract(epoch from u.seal_at - clock_timestamp()) * 1000) into next_ms
    from (select min(y.seal_at) seal_at from (select f.seal_at from {schema}.flow f where f.seal_at between v_from and v_ahead
      order by f.seal_at limit 1) y) u;
  -- Whoever gives up, or cancels what waits, leaves a follow_up too.
  routes := coalesce((select true from {schema}.unrouted u limit 1), false);
end $$;

-- Suspensions whose time is up. A suspension dies with what ends it, so there is none here that went on before; whoever has
-- one locked decides about it.
create function {schema}.time_out_suspensions(p_limit int, p_behind_ms double precision default null,
  out taken int, out classes int[], out follows boolean, out items {schema}.log_item[])
language plpgsql volatile as $$
declare
  v_from timestamptz := {schema}.looked_at_from(p_behind_ms);
  v_until timestamptz := clock_timestamp();
  v_now timestamptz;
  v_due {schema}.suspension[];
  v_resumed {schema}.suspension[];
  v_ids uuid[];
  v_numbers int[];
  v_endings {schema}.ending[];
  v_left record;
  v_settled record;
begin
  follows := false;
  select array_agg(x.s) into v_due from (
    select s from {schema}.suspension s where s.due_at between v_from and v_until order by s.due_at limit p_limit
    for update skip locked) x (s);
  v_now := clock_timestamp();
  taken := coalesce(cardinality(v_due), 0);
  if taken = 0 then return; end if;
  -- Who goes on is told so by a signal, which counts against no limit.
  select array_agg(s), array_agg({schema}.uuid_v7()), array_agg(coalesce(y.number, 0) + 1) into v_resumed, v_ids, v_numbers
    from unnest(v_due) s
    left join lateral (
      select z.number from {schema}.signal z where z.execution = s.execution order by z.number desc limit 1) y on true
    where s.behavior = 4;
  if v_resumed is not null then
    insert into {schema}.signal (execution, number, id, name, source, attempt, matched, by_resume, received_at)
      select s.execution, v_numbers[s.ordinality], v_ids[s.ordinality], 'timeout', 5, s.attempt, s.number, true, v_now
      from unnest(v_resumed) with ordinality s;
    delete from {schema}.suspension s where s.execution = any (array(select y.execution from unnest(v_resumed) y));
    select g.* into v_left from {schema}.leave_suspension(v_resumed, 2::smallint, v_now) g;
    classes := v_left.classes;
    follows := 1 = any (v_left.states);
    select array_agg({schema}.signal_item(s.namespace, s.execution, s.flow, s.class, s.attempt, v_ids[s.ordinality],
        'timeout', 5::smallint, '', null, 'satisfied') order by s.ordinality) || v_left.items into items
      from unnest(v_resumed) with ordinality s;
  end if;
  -- Escalated: from now on only people end it, or its deadline. Body of the entry: cause, escalated.
  update {schema}.suspension s set due_at = null, escalated = true, reason = 5
    where s.execution = any (array(select y.execution from unnest(v_due) y where y.behavior = 5));
  if found then
    select items || array_agg(row(s.namespace, 2, s.execution, s.flow, s.class, 5, 5, s.attempt,
        '{"cause":"timeout","escalated":true}')::{schema}.log_item) into items
      from unnest(v_due) s where s.behavior = 5;
  end if;
  select array_agg({schema}.ending_of_waiting(row(s.execution, 5, s.class, s.priority, s.attempt, s.failures, s.reclaims,
        s.start_by, s.deadline, s.redrive, s.flow, s.linked, true, null, s.gate)::{schema}.waiting, s.namespace,
      (case s.behavior when 1 then 8 when 2 then 9 else 10 end)::smallint, (case s.behavior when 2 then 25 else 8 end)::smallint,
      'nothing ended its suspension in time') order by s.execution)
    into v_endings from unnest(v_due) s where s.behavior < 4;
  if v_endings is null then return; end if;
  delete from {schema}.suspension s where s.execution = any (array(select y.execution from unnest(v_endings) y));
  select t.woken, t.follows into v_settled from {schema}.settle(v_endings, v_now) t;
  classes := classes || v_settled.woken;
  follows := follows or v_settled.follows;
end $$;

-- Closes waitpoints whose time is up. A suspension without a timeout that nothing can satisfy any more without them has its
-- own time up with them. Its row is held first, so that a signal on its way is waited for by the next sweep, not by this one.
create function {schema}.expire_waitpoints(p_limit int, p_behind_ms double precision default null,
  out taken int, out items {schema}.log_item[])
language plpgsql volatile as $$
declare
  v_from timestamptz := {schema}.looked_at_from(p_behind_ms);
  v_until timestamptz := clock_timestamp();
  v_now timestamptz;
  v_due {schema}.waitpoint[];
  v_held uuid[];
begin
  select array_agg(x.w) into v_due from (
    select w from {schema}.waitpoint w where w.expires_at between v_from and v_until and w.state <> 3 order by w.expires_at
    limit p_limit for update skip locked) x (w);
  taken := 0;
  if v_due is null then return; end if;
  v_held := array(
    select s.execution from {schema}.suspension s
    where s.execution = any (array(select distinct w.execution from unnest(v_due) w)) and s.timeout_at is null
    order by s.execution for update skip locked);
  v_now := clock_timestamp();
  select array_agg(w) into v_due from unnest(v_due) w
    where w.execution = any (v_held) or coalesce((
      select false from {schema}.suspension s where s.execution = w.execution and s.timeout_at is null), true);
  if v_due is null then return; end if;
  taken := cardinality(v_due);
  update {schema}.waitpoint w set state = 3 where w.id = any (array(select y.id from unnest(v_due) y));
  if v_held <> '{}' then
    update {schema}.suspension s set timeout_at = v_now, due_at = v_now
      where s.execution = any (v_held) and not s.escalated
        and not {schema}.condition_possible(s.execution, s.condition, '{}', v_now);
  end if;
  -- Body of waitpoint.expired: subject (its key). One whose execution has ended was closed by that.
  select array_agg(row(w.namespace, 61, w.execution, e.flow, e.class, null, null, null,
      json_build_object('subject', w.key)::text)::{schema}.log_item order by w.expires_at) into items
    from unnest(v_due) w
    cross join lateral (select x.flow, x.class from {schema}.execution x where x.id = w.execution offset 0) e
    where coalesce((select false from {schema}.outcome o where o.execution = w.execution), true);
end $$;

-- What time does to suspensions and to waitpoints, which come last: who holds one waits for nothing after that.
create function {schema}.sweep_suspensions(p_limit int, p_behind_ms double precision default null,
  out taken int, out classes int[], out next_ms double precision, out follows boolean)
language plpgsql volatile set enable_bitmapscan = off as $$
declare
  v_from timestamptz := {schema}.looked_at_from(p_behind_ms);
  v_ahead timestamptz := clock_timestamp() + interval '3 seconds';
  v_ended record;
  v_closed record;
begin
  select t.* into v_ended from {schema}.time_out_suspensions(p_limit, p_behind_ms) t;
  select e.* into v_closed from {schema}.expire_waitpoints(p_limit, p_behind_ms) e;
  taken := v_ended.taken + v_closed.taken;
  classes := v_ended.classes;
  follows := v_ended.follows;
  select least(
      (select extract(epoch from s.due_at - clock_timestamp()) * 1000 from {schema}.suspension s
        where s.due_at between v_from and v_ahead order by s.due_at limit 1),
      (select extract(epoch from w.expires_at - clock_timestamp()) * 1000 from {schema}.waitpoint w
        where w.expires_at between v_from and v_ahead and w.state <> 3 order by w.expires_at limit 1)) into next_ms;
  if v_ended.items is not null or v_closed.items is not null then
    perform {schema}.append_items('{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', v_ended.items || v_closed.items);
  end if;
end $$;

-- Joins whose time is up: what is filled by then still counts.
create function {schema}.expire_joins(p_limit int, p_behind_ms double precision default null,
  out taken int, out classes int[], out next_ms double precision)
language plpgsql volatile set enable_bitmapscan = off as $$
declare
  v_from timestamptz := {schema}.looked_at_from(p_behind_ms);
  v_ahead timestamptz := clock_timestamp() + interval '3 seconds';
  v_now timestamptz := clock_timestamp();
  v_barriers uuid[];
  v_fold record;
begin
  v_barriers := array(select b.id from {schema}.barrier b where b.due_at between v_from and v_now order by b.due_at
    limit p_limit);
  taken := 0;
  if v_barriers <> '{}' then
    select f.* into v_fold from {schema}.fold_joins(v_barriers, '{}', '{}', '{}', v_now) f;
    taken := v_fold.folded;
    classes := v_fold.classes;
    perform {schema}.append_folded(v_fold.items, v_fold.endings, v_now);
  end if;
  select extract(epoch from b.due_at - clock_timestamp()) * 1000 into next_ms from {schema}.barrier b
    where b.due_at between v_from and v_ahead order by b.due_at limit 1;
end $$;

-- What is due of budgets: windows that hold anything back, and batches of kinds 8 and 9, which come in transactions of their own:
-- who ends a window waits for the rows of `spent` that batches hold, so batches wait for nothing. taken: something was done, look
-- again at once. next_ms: until something is due. follows: slots of concurrency keys have to be looked at.
create function {schema}.sweep_budgets(p_limit int, p_behind_ms double precision default null,
  out taken int, out classes int[], out next_ms double precision, out follows boolean)
language plpgsql volatile set enable_bitmapscan = off as $$
declare
  v_from timestamptz := {schema}.looked_at_from(p_behind_ms);
  v_ahead timestamptz := clock_timestamp() + interval '3 seconds';
  v_until timestamptz := clock_timestamp();
  c_executions constant int := 500; -- moved by one sweep
  v_ids uuid[];
  v_items {schema}.log_item[];
  v_item {schema}.follow_up;
  v_part record;
  v_handled int := 0;
begin
  classes := '{}';
  taken := 0;
  follows := false;
  v_ids := array(
    (select b.id from {schema}.budget b where b.exhausted and b.reset_at between v_from and v_until
      order by b.reset_at limit p_limit)
    union
    select b.id from (
      select u.subject from {schema}.follow_up u where u.kind = 9 and u.due_at between v_from and v_until
      order by u.due_at limit p_limit) u
    cross join lateral (
      select y.id from {schema}.budget y where y.id = u.subject and y.reset_at <= clock_timestamp() offset 0) b);
  v_ids := array(
    select b.id from {schema}.budget b where b.id = any (v_ids) and b.reset_at <= clock_timestamp()
    order by b.id for update skip locked);
  if v_ids <> '{}' then
    taken := cardinality(v_ids);
    select w.items into v_items from {schema}.end_windows(v_ids, clock_timestamp()) w;
  else
    for v_item in
      select u.* from {schema}.follow_up u where u.kind in (8, 9) and u.due_at between v_from and v_until
      order by u.due_at, u.seq limit p_limit for update skip locked
    loop
      if v_item.kind = 8 then
        select h.* into v_part from {schema}.take_out_of_line(v_item) h;
      else
        select h.* into v_part from {schema}.bring_back(v_item) h;
      end if;
      taken := taken + 1;
      v_handled := v_handled + v_part.handled;
      classes := classes || v_part.classes;
      v_items := v_items || v_part.items;
      follows := follows or v_part.left_over;
      exit when v_handled >= c_executions;
    end loop;
  end if;
  select least(
      (select extract(epoch from b.reset_at - clock_timestamp()) * 1000 from {schema}.budget b
        where b.exhausted and b.reset_at between v_from and v_ahead order by b.reset_at limit 1),
      (select extract(epoch from u.due_at - clock_timestamp()) * 1000 from {schema}.follow_up u
        where u.kind in (8, 9) and u.due_at between v_from and v_ahead order by u.due_at limit 1))
    into next_ms;
  if v_items is not null then
    perform {schema}.append_items('{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', v_items);
  end if;
end $$;

-- What a process looks at once a second.
create function {schema}.pulse(p_class int[], p_from_priority smallint[], p_from_seq bigint[],
  p_to_priority smallint[], p_behind_ms double precision[] default null,
  out registry bigint, out scheduled_ms double precision, out lease_ms double precision,
  out timer_ms double precision, out join_ms double precision, out follow_ms double precision,
  out suspension_ms double precision, out budget_ms double precision, out route_ms double precision, out non_empty int[], out head bigint,
  out unnumbered boolean, out consumers bigint, out letter_ms double precision,
  out redrives boolean) language plpgsql stable set enable_bitmapscan = off as $$
declare
  v_now timestamptz := clock_timestamp();
  v_ahead timestamptz := v_now + interval '3 seconds';
  v_scheduled timestamptz := {schema}.looked_at_from(p_behind_ms[1]);
  v_lease timestamptz := {schema}.looked_at_from(p_behind_ms[2]);
  v_timer timestamptz := {schema}.looked_at_from(p_behind_ms[3]);
  v_join timestamptz := {schema}.looked_at_from(p_behind_ms[4]);
  v_follow timestamptz := {schema}.looked_at_from(p_behind_ms[5]);
  v_suspension timestamptz := {schema}.looked_at_from(p_behind_ms[6]);
  v_budget timestamptz := {schema}.looked_at_from(p_behind_ms[7]);
  v_everything boolean := p_behind_ms is null;
begin
  select version into registry from {schema}.registry;
  select version into consumers from {schema}.consumer_registry;
  select extract(epoch from s.run_at - v_now) * 1000 into scheduled_ms from {schema}.scheduled s
    where s.run_at between v_scheduled and v_ahead order by s.run_at limit 1;
  select extract(epoch from l.check_at - v_now) * 1000 into lease_ms from {schema}.lease l
    where l.check_at between v_lease and v_ahead order by l.check_at limit 1;
  select extract(epoch from t.due_at - v_now) * 1000 into timer_ms from {schema}.timer t
    where t.due_at between v_timer and v_ahead order by t.due_at limit 1;
  select least((select 0 from {schema}.filling where v_everything limit 1),
      (select extract(epoch from u.due_at - v_now) * 1000 from {schema}.follow_up u
        where u.due_at between v_follow and v_ahead and u.kind not in (8, 9) order by u.due_at limit 1),
      (select extract(epoch from f.seal_at - v_now) * 1000 from {schema}.flow f
        where f.seal_at between v_follow and v_ahead order by f.seal_at limit 1)) into follow_ms;
  select extract(epoch from b.due_at - v_now) * 1000 into join_ms from {schema}.barrier b
    where b.due_at between v_join and v_ahead order by b.due_at limit 1;
  select least((select extract(epoch from s.due_at - v_now) * 1000 from {schema}.suspension s
        where s.due_at between v_suspension and v_ahead order by s.due_at limit 1),
      (select extract(epoch from w.expires_at - v_now) * 1000 from {schema}.waitpoint w
        where w.expires_at between v_suspension and v_ahead and w.state <> 3 order by w.expires_at limit 1)) into suspension_ms;
  select least((select extract(epoch from b.reset_at - v_now) * 1000 from {schema}.budget b
        where b.exhausted and b.reset_at between v_budget and v_ahead order by b.reset_at limit 1),
      (select extract(epoch from u.due_at - v_now) * 1000 from {schema}.follow_up u
        where u.kind in (8, 9) and u.due_at between v_budget and v_ahead order by u.due_at limit 1)) into budget_ms;
  -- What waits for a halted subscription waits for a person.
  if v_everything and coalesce((select true from {schema}.unrouted u limit 1), false) then
    route_ms := coalesce((select 0 from {schema}.unrouted u where u.subscription = 0 limit 1), (
      select 0 from {schema}.subscription s
      cross join lateral (select from {schema}.unrouted u where u.subscription = s.id limit 1) u where s.state in (1, 4) limit 1));
  end if;
  route_ms := coalesce(route_ms, (select 0 from {schema}.subscription s where s.state = 2 limit 1));
  letter_ms := (select 0 from {schema}.letter_route where v_everything limit 1);
  redrives := coalesce((select true from {schema}.redrive r where not r.settled limit 1), false);
  select array_agg(distinct s.class) into non_empty
    from unnest(p_class, p_from_priority, p_from_seq, p_to_priority) s (class, from_priority, from_seq, to_priority)
    cross join lateral (
      select from {schema}.ready r where r.class = s.class and (r.priority, r.seq) >= (s.from_priority, s.from_seq)
        and r.priority < s.to_priority order by r.priority, r.seq limit 1) head;
  select h.head, h.unnumbered into head, unnumbered from {schema}.log_head() h;
end $$;

-- Per class: every priority that has rows, with its lowest seq at or above the known bound. Read without locks, so rows
-- that are being claimed still count. What is below a known bound is passed over, for it is dead and may be kept by a snapshot:
-- the line is read in stretches, from each known priority's bound to where the next known priority begins.
create or replace function {schema}.claim_heads(p_class int[], p_priority smallint[], p_bound bigint[])
returns table (class int, priority smallint, seq bigint) language plpgsql stable set enable_bitmapscan = off as $$
#variable_conflict use_column
declare
  c_past constant smallint := 32767;
  v_class int;
  v_priorities smallint[]; -- those known of a class, and their bounds
  v_bounds bigint[];
  v_place int; -- of the next of them
  v_priority smallint;
  v_bound bigint;
  v_next smallint;
begin
  for v_class, v_priorities, v_bounds in
    select u.class, array_agg(u.priority order by u.priority), array_agg(u.bound order by u.priority)
    from unnest(p_class, p_priority, p_bound) u (class, priority, bound) group by u.class
  loop
    v_place := 1;
    v_priority := -32768;
    v_bound := 0;
    loop
      v_next := coalesce(v_priorities[v_place], c_past);
      select r.priority, r.seq into priority, seq from {schema}.ready r
        where r.class = v_class and (r.priority, r.seq) >= (v_priority, v_bound) and r.priority < v_next
        order by r.priority, r.seq limit 1;
      if found then
        class := v_class;
        return next;
        v_priority := priority + 1;
        v_bound := 0;
        continue when v_priority < v_next;
      end if;
      exit when v_next = c_past;
      v_priority := v_next;
      v_bound := v_bounds[v_place];
      v_place := v_place + 1;
    end loop;
  end loop;
end $$;
