-- The sweepers and the pulse, with keys, suspensions and budgets.
-- Locks: creates only. older-servers: refused

-- Work whose time has come enters line, or waits for its concurrency key.
drop function {schema}.promote_scheduled(int);
create or replace function {schema}.promote_scheduled(p_limit int, out taken int, out classes int[], out next_ms double precision,
  out follows boolean)
language plpgsql volatile as $$
declare
  v_now timestamptz := clock_timestamp();
  v_rows {schema}.scheduled[];
  v_entered uuid[];
begin
  with due as materialized (
      select s.ctid from {schema}.scheduled s where s.run_at <= v_now order by s.run_at limit p_limit for update skip locked),
    gone as (delete from {schema}.scheduled s where s.ctid = any (array(select due.ctid from due)) returning s)
    select array_agg(gone.s order by (gone.s).run_at, (gone.s).execution) into v_rows from gone;
  taken := coalesce(cardinality(v_rows), 0);
  follows := false;
  select extract(epoch from s.run_at - clock_timestamp()) * 1000 into next_ms
    from {schema}.scheduled s order by s.run_at limit 1;
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
      from unnest(v_rows) x where x.gate is not null), v_now) e;
    follows := true;
  end if;
  classes := array(select distinct x.class from unnest(v_rows) x where x.gate is null or x.execution = any (v_entered));
  perform {schema}.append_log(array_agg(c.namespace), array_agg(2::smallint), array_agg(x.execution), array_agg(x.flow),
      array_agg(x.class), array_agg(2::smallint),
      array_agg((case when x.gate is null or x.execution = any (v_entered) then 3 else 1 end)::smallint), array_agg(x.attempt),
      array_agg('{"cause":"due"}'::text))
    from unnest(v_rows) x join {schema}.claim_class c on c.id = x.class;
end $$;

-- Timers that fired: work that waited past its time to start or its deadline expires. Looked up anew under the phase
-- row's lock; work that runs is watched by its lease, so its timer moves on to the deadline or goes.
-- The time to start only counts before the first attempt. NO_HANDLER: it passed and no worker ever declared the type.
create or replace function {schema}.sweep_timers(p_limit int, out taken int, out classes int[], out next_ms double precision,
  out follows boolean)
language plpgsql volatile as $$
declare
  v_now timestamptz;
  v_due uuid[];
  v_expired uuid[];
  v_over {schema}.ending[];
  v_gone uuid[];
  v_begun uuid[];
begin
  select array_agg(x.execution) into v_due from (
    select t.execution from {schema}.timer t where t.due_at <= clock_timestamp() order by t.due_at limit p_limit
    for update skip locked) x;
  taken := coalesce(cardinality(v_due), 0);
  follows := false;
  if taken = 0 then
    select extract(epoch from t.due_at - clock_timestamp()) * 1000 into next_ms
      from {schema}.timer t order by t.due_at limit 1;
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
    from {schema}.timer t where not t.execution = any (v_gone) order by t.due_at limit 1;
  if v_over is not null then
    select s.woken, s.follows into classes, follows from {schema}.settle(v_over, v_now) s;
  end if;
end $$;

-- What is due of `follow_up`, and flows that seal themselves. taken: something was done, look again at once. next_ms: until
-- something is due. lease_ms: holders were asked to stop, and have so long. Fillings and joins whose time is up are swept by
-- statements of their own: one that cannot be done must not hold up the others.
create or replace function {schema}.sweep_follow_ups(p_limit int, out taken int, out classes int[], out next_ms double precision,
  out lease_ms bigint) language plpgsql volatile as $$
declare
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
      select f.id from {schema}.flow f where f.seal_at <= v_now order by f.seal_at limit p_limit for update skip locked),
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
  select array_agg(x.u order by (x.u).seq) into v_due from (
    select u from {schema}.follow_up u where u.due_at <= clock_timestamp() and u.kind <= 7 order by u.due_at, u.seq limit p_limit
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
    from {schema}.follow_up u where u.kind <= 7 order by u.due_at limit 1;
  select least(next_ms, extract(epoch from u.seal_at - clock_timestamp()) * 1000) into next_ms
    from (select min(y.seal_at) seal_at from (select f.seal_at from {schema}.flow f where f.seal_at is not null
      order by f.seal_at limit 1) y) u;
end $$;

-- Everything that the loops of one process need to know, in one statement a second.
-- non_empty: which of the given segments (of classes that somebody waits for) have something to claim.
drop function {schema}.pulse(int[], smallint[], bigint[], smallint[]);
create or replace function {schema}.pulse(p_class int[], p_from_priority smallint[], p_from_seq bigint[],
  p_to_priority smallint[], out registry bigint, out scheduled_ms double precision, out lease_ms double precision,
  out timer_ms double precision, out join_ms double precision, out follow_ms double precision,
  out suspension_ms double precision, out budget_ms double precision, out non_empty int[], out head bigint,
  out unnumbered boolean) language plpgsql stable as $$
declare
  v_now timestamptz := clock_timestamp();
begin
  select version into registry from {schema}.registry;
  select extract(epoch from s.run_at - v_now) * 1000 into scheduled_ms from {schema}.scheduled s order by s.run_at limit 1;
  select extract(epoch from l.check_at - v_now) * 1000 into lease_ms from {schema}.lease l order by l.check_at limit 1;
  select extract(epoch from t.due_at - v_now) * 1000 into timer_ms from {schema}.timer t order by t.due_at limit 1;
  select least((select 0 from {schema}.filling limit 1),
      (select extract(epoch from u.due_at - v_now) * 1000 from {schema}.follow_up u
        where u.kind <= 7 order by u.due_at limit 1),
      (select extract(epoch from f.seal_at - v_now) * 1000 from {schema}.flow f
        where f.seal_at is not null order by f.seal_at limit 1)) into follow_ms;
  select extract(epoch from b.due_at - v_now) * 1000 into join_ms from {schema}.barrier b
    where b.due_at is not null order by b.due_at limit 1;
  select least((select extract(epoch from s.due_at - v_now) * 1000 from {schema}.suspension s
        where s.due_at is not null order by s.due_at limit 1),
      (select extract(epoch from w.expires_at - v_now) * 1000 from {schema}.waitpoint w
        where w.state <> 3 order by w.expires_at limit 1)) into suspension_ms;
  select least((select extract(epoch from b.reset_at - v_now) * 1000 from {schema}.budget b
        where b.exhausted and b.reset_at is not null order by b.reset_at limit 1),
      (select extract(epoch from u.due_at - v_now) * 1000 from {schema}.follow_up u
        where u.kind in (8, 9) order by u.due_at limit 1)) into budget_ms;
  select array_agg(distinct s.class) into non_empty
    from unnest(p_class, p_from_priority, p_from_seq, p_to_priority) s (class, from_priority, from_seq, to_priority)
    where exists (select 1 from {schema}.ready r where r.class = s.class
      and (r.priority, r.seq) >= (s.from_priority, s.from_seq) and r.priority < s.to_priority);
  select h.head, h.unnumbered into head, unnumbered from {schema}.log_head() h;
end $$;
