-- What time does: due work becomes claimable, leases run out, work expires. And the pulse that tells when to look.
--
-- Every process sweeps, all the time, in small batches that lock with SKIP LOCKED and look again under the lock; two at
-- once share the work, a crash leaves it due. Each answers how many due rows it took (the limit: look again at once), the
-- classes that got claimable work, and in how many milliseconds the next row is due.
-- Locks: creates only. older-servers: refused
create function {schema}.promote_scheduled(p_limit int, out taken int, out classes int[], out next_ms double precision)
language plpgsql volatile as $$
declare
  v_now timestamptz := clock_timestamp();
  v_rows {schema}.scheduled[];
begin
  with due as materialized (
      select s.ctid from {schema}.scheduled s where s.run_at <= v_now order by s.run_at limit p_limit for update skip locked),
    gone as (delete from {schema}.scheduled s where s.ctid = any (array(select due.ctid from due)) returning s)
    select array_agg(gone.s order by (gone.s).run_at, (gone.s).execution) into v_rows from gone;
  taken := coalesce(cardinality(v_rows), 0);
  select extract(epoch from s.run_at - clock_timestamp()) * 1000 into next_ms
    from {schema}.scheduled s order by s.run_at limit 1;
  if taken = 0 then return; end if;
  classes := array(select distinct x.class from unnest(v_rows) x);
  insert into {schema}.ready (class, priority, seq, execution, ready_at, kind, attempt, failures, reclaims, timeout_ms,
      start_by, deadline, redrive)
    select x.class, -x.priority, nextval('{schema}.ready_seq'), x.execution, v_now, x.kind, x.attempt, x.failures,
      x.reclaims, x.timeout_ms, x.start_by, x.deadline, x.redrive
    from unnest(v_rows) x;
  perform {schema}.append_log(array_agg(c.namespace), array_agg(2::smallint), array_agg(x.execution), array_agg(null::uuid),
      array_agg(x.class), array_agg(2::smallint), array_agg(3::smallint), array_agg(x.attempt),
      array_agg('{"cause":"due"}'::text))
    from unnest(v_rows) x join {schema}.claim_class c on c.id = x.class;
end $$;

-- Leases whose check_at has come. Most were renewed meanwhile and are only armed again.
create function {schema}.sweep_leases(p_limit int, out taken int, out classes int[], out next_ms double precision)
language plpgsql volatile as $$
declare
  v_now timestamptz;
  v_locked {schema}.lease[];
  v_executions uuid[];
  v_over {schema}.ending[];
begin
  select array_agg(x.l) into v_locked from (
    select l from {schema}.lease l where l.check_at <= clock_timestamp() order by l.check_at limit p_limit
    for update skip locked) x (l);
  taken := coalesce(cardinality(v_locked), 0);
  if taken = 0 then
    select extract(epoch from l.check_at - clock_timestamp()) * 1000 into next_ms
      from {schema}.lease l order by l.check_at limit 1;
    return;
  end if;
  v_now := clock_timestamp();
  v_executions := array(select x.execution from unnest(v_locked) x);
  select array_agg(case
      when x.deadline <= v_now and x.cancel_at is null then {schema}.ending_by_engine(x, 10::smallint, 10::smallint,
        10::smallint, 6::smallint, null, 'the execution''s deadline passed while it was running')
      when x.deadline <= v_now or x.cancel_until <= v_now then {schema}.ending_by_engine(x, 10::smallint, 8::smallint,
        9::smallint, 20::smallint, null, x.cancel_reason)
      when x.timeout_at <= v_now then {schema}.ending_of(x, 10::smallint, null, 3::smallint, d.state, d.reason, d.run_at,
        2::smallint, d.failures, d.reclaims, 4::smallint, null,
        coalesce(nullif(x.cancel_reason, ''), 'the attempt took longer than its timeout'), null, null)
      when x.begin_by <= v_now then {schema}.ending_by_engine(x, 10::smallint, 11::smallint,
        (case when x.cancel_at is null then 3 else 9 end)::smallint,
        (case when x.cancel_at is not null then 20 end)::smallint, 4::smallint,
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
    from {schema}.lease l order by l.check_at limit 1;
  if v_over is not null then perform {schema}.settle(v_over, v_now); end if;
end $$;

-- Timers that fired: work that waited past its time to start or its deadline expires. Looked up anew under the phase
-- row's lock; work that runs is watched by its lease, so its timer moves on to the deadline or goes.
-- The time to start only counts before the first attempt. NO_HANDLER: it passed and no worker ever declared the type.
create function {schema}.sweep_timers(p_limit int, out taken int, out next_ms double precision)
language plpgsql volatile as $$
declare
  v_now timestamptz;
  v_due uuid[];
  v_over {schema}.ending[];
  v_gone uuid[];
  v_begun uuid[];
begin
  select array_agg(x.execution) into v_due from (
    select t.execution from {schema}.timer t where t.due_at <= clock_timestamp() order by t.due_at limit p_limit
    for update skip locked) x;
  taken := coalesce(cardinality(v_due), 0);
  if taken = 0 then
    select extract(epoch from t.due_at - clock_timestamp()) * 1000 into next_ms
      from {schema}.timer t order by t.due_at limit 1;
    return;
  end if;
  v_now := clock_timestamp();
  with waiting as materialized (
      select r.execution, r.class, -r.priority priority, 3 state, r.attempt, r.failures, r.reclaims, r.start_by, r.deadline,
        r.redrive
      from {schema}.ready r where r.execution = any (v_due) and (r.deadline <= v_now or (r.start_by <= v_now and r.attempt = 0))
      order by r.execution for update skip locked),
    later as materialized (
      select s.execution, s.class, s.priority, 2 state, s.attempt, s.failures, s.reclaims, s.start_by, s.deadline, s.redrive
      from {schema}.scheduled s
      where s.execution = any (v_due) and (s.deadline <= v_now or (s.start_by <= v_now and s.attempt = 0))
      order by s.execution for update skip locked)
    select array_agg({schema}.ending_of_waiting(w.execution, c.namespace, w.class, w.priority::smallint, w.state::smallint,
        w.attempt, w.failures, w.reclaims, w.start_by, w.deadline, w.redrive, 10::smallint,
        (case when w.deadline <= v_now then 6
          when exists (select 1 from {schema}.worker k where k.namespace = c.namespace
            and (k.types = '{}' or c.type = any (k.types))) then 5 else 7 end)::smallint,
        case when w.deadline <= v_now then 'the execution''s deadline passed while it waited'
          else 'it was not started within its time to live' end) order by w.execution)
      into v_over
      from (select * from waiting union all select * from later) w join {schema}.claim_class c on c.id = w.class;
  v_gone := array(select y.execution from unnest(v_over) y);
  -- What does not expire has begun: its time to start is over and done with, and only the deadline is left. Or it is held
  -- by somebody at this moment, who may roll back: then a second look.
  -- Scalar subqueries, for they are answered by key: of "exists … or exists …" the planner may make hash tables, and read
  -- all that waits to fill them.
  v_begun := array(select x.execution from unnest(v_due) x (execution)
    where not x.execution = any (v_gone)
      and coalesce((select true from {schema}.lease l where l.execution = x.execution),
        (select r.attempt > 0 from {schema}.ready r where r.execution = x.execution),
        (select s.attempt > 0 from {schema}.scheduled s where s.execution = x.execution)));
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
    delete from {schema}.ready r where r.execution = any (v_gone);
    delete from {schema}.scheduled s where s.execution = any (v_gone);
    perform {schema}.settle(v_over, v_now);
  end if;
end $$;

-- Everything that the loops of one process need to know, in one statement a second.
-- non_empty: which of the given segments (of classes that somebody waits for) have something to claim.
create function {schema}.pulse(p_class int[], p_from_priority smallint[], p_from_seq bigint[], p_to_priority smallint[],
  out registry bigint, out scheduled_ms double precision, out lease_ms double precision, out timer_ms double precision,
  out non_empty int[], out head bigint, out unnumbered boolean) language plpgsql stable as $$
declare
  v_now timestamptz := clock_timestamp();
begin
  select version into registry from {schema}.registry;
  select extract(epoch from s.run_at - v_now) * 1000 into scheduled_ms from {schema}.scheduled s order by s.run_at limit 1;
  select extract(epoch from l.check_at - v_now) * 1000 into lease_ms from {schema}.lease l order by l.check_at limit 1;
  select extract(epoch from t.due_at - v_now) * 1000 into timer_ms from {schema}.timer t order by t.due_at limit 1;
  select array_agg(distinct s.class) into non_empty
    from unnest(p_class, p_from_priority, p_from_seq, p_to_priority) s (class, from_priority, from_seq, to_priority)
    where exists (select 1 from {schema}.ready r where r.class = s.class
      and (r.priority, r.seq) >= (s.from_priority, s.from_seq) and r.priority < s.to_priority);
  select h.head, h.unnumbered into head, unnumbered from {schema}.log_head() h;
end $$;
