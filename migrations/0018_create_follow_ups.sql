-- What follows a commit: folds that were left over, joins whose time is up, flows that have settled, members to cancel.
--
-- Everything here was due when the transaction before it committed, so a crash between the two delays it and loses nothing.
-- Any process does it, in batches, SKIP LOCKED throughout, and each row of `follow_up` goes in the transaction that did
-- what it says. Also the other sweepers and the pulse, with the columns that flows brought.
-- Locks: creates only. older-servers: refused

-- Folds what stands in `filling`, of up to p_limit joins.
create function {schema}.fold_fillings(p_limit int, out taken int, out classes int[], out next_ms double precision)
language plpgsql volatile as $$
declare
  v_now timestamptz;
  v_barriers uuid[];
  v_fold record;
begin
  -- One probe per join, however many fillings it has.
  with recursive due as (
      (select f.barrier from {schema}.filling f order by f.barrier limit 1)
      union all
      select (select f.barrier from {schema}.filling f where f.barrier > d.barrier order by f.barrier limit 1)
      from due d where d.barrier is not null)
    select array_agg(x.barrier) into v_barriers from (select d.barrier from due d where d.barrier is not null limit p_limit) x;
  taken := 0;
  if v_barriers is null then return; end if;
  v_now := clock_timestamp();
  select f.* into v_fold from {schema}.fold_joins(v_barriers, '{}', '{}', '{}', v_now) f;
  taken := v_fold.folded;
  classes := v_fold.classes;
  if v_fold.left_over or cardinality(v_barriers) >= p_limit then next_ms := 5; end if;
  perform {schema}.append_folded(v_fold.items, v_fold.endings, v_now);
end $$;

-- The entries of a fold that no other entry leads, and the ends it brought.
create function {schema}.append_folded(p_items {schema}.log_item[], p_endings {schema}.ending[], p_now timestamptz)
returns void language plpgsql volatile as $$
begin
  if p_items is not null then
    perform {schema}.append_items('{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', p_items);
  end if;
  if p_endings is not null then perform {schema}.settle(p_endings, p_now, true); end if;
end $$;

-- Joins whose time is up: what is filled by then still counts.
create function {schema}.expire_joins(p_limit int, out taken int, out classes int[], out next_ms double precision)
language plpgsql volatile as $$
declare
  v_now timestamptz := clock_timestamp();
  v_barriers uuid[];
  v_fold record;
begin
  v_barriers := array(select b.id from {schema}.barrier b where b.due_at <= v_now order by b.due_at
    limit p_limit);
  taken := 0;
  if v_barriers <> '{}' then
    select f.* into v_fold from {schema}.fold_joins(v_barriers, '{}', '{}', '{}', v_now) f;
    taken := v_fold.folded;
    classes := v_fold.classes;
    perform {schema}.append_folded(v_fold.items, v_fold.endings, v_now);
  end if;
  select extract(epoch from b.due_at - clock_timestamp()) * 1000 into next_ms from {schema}.barrier b
    where b.due_at is not null order by b.due_at limit 1;
end $$;

-- Fills the slots of executions that ended as a consequence, or that many wait for. Answers those that are done with.
create function {schema}.fan_out(p_execution uuid[], p_now timestamptz, out done uuid[], out woken int[])
language plpgsql volatile as $$
declare
  c_slots constant int := 500;
  v_barrier uuid[];
  v_idx int[];
  v_outcome smallint[];
  v_execution uuid[];
  v_fold record;
begin
  select array_agg(x.barrier), array_agg(x.idx), array_agg(x.outcome), array_agg(x.id)
    into v_barrier, v_idx, v_outcome, v_execution
    from (
      select s.barrier, s.idx, {schema}.slot_outcome(o.state) outcome, u.id
      from unnest(p_execution) u (id)
      cross join lateral (select y.state from {schema}.outcome y where y.execution = u.id offset 0) o
      cross join lateral (
        select y.barrier, y.idx from {schema}.slot y where y.upstream = u.id and y.outcome is null
          and not exists (select from {schema}.filling f where f.barrier = y.barrier and f.idx = y.idx)
        limit c_slots) s
      limit c_slots) x;
  if coalesce(cardinality(v_barrier), 0) < c_slots then
    done := p_execution;
  end if;
  if v_barrier is null then return; end if;
  select f.* into v_fold from {schema}.fold_joins(v_barrier, v_barrier, v_idx, v_outcome, p_now) f;
  woken := v_fold.classes;
  perform {schema}.append_folded(v_fold.items, v_fold.endings, p_now);
end $$;

-- Looks whether flows have settled, under their locks; answers those it could look at. It is settled when, in one snapshot,
-- nothing of it is live; creators hold its row, so none slips in. A failure of a required member may cancel the rest.
create function {schema}.check_flows(p_flow uuid[], p_now timestamptz, out looked uuid[], out seal_ms double precision)
language plpgsql volatile as $$
declare
  v_locked {schema}.flow[];
  v_settled {schema}.flow[];
begin
  select array_agg(x.f), array_agg((x.f).id) into v_locked, looked from (
    select f from {schema}.flow f where f.id = any (p_flow) order by f.id for update skip locked) x (f);
  if v_locked is null then return; end if;
  -- Flows that know no failure later than the one they know of already are left alone.
  with failed as materialized (
      select f.id, f.failure_policy, x.at, f.failing_at is null and f.canceled_at is null and f.ended_at is null
          and f.failure_policy = 2 and coalesce((
            select true from {schema}.flow_failed y where y.flow = f.id and y.state in (8, 9, 10) limit 1), false) fails
      from unnest(v_locked) f
      cross join lateral (
        select y.ended_at at from {schema}.flow_failed y where y.flow = f.id order by y.ended_at desc limit 1) x
      where x.at is distinct from f.failed_at),
    marked as (
      update {schema}.flow f set failed_at = x.at, failing_at = case when x.fails then p_now else f.failing_at end
        from failed x where f.id = any (array(select y.id from failed y)) and f.id = x.id)
    insert into {schema}.follow_up (kind, subject, reason, step, policy)
      select 2, f.id, 22, 10, jsonb_build_object('now', f.cancel_now, 'grace_ms', f.cancel_grace_ms, 'accepts_late',
        f.cancel_accepts_late, 'text', 'a required member of its flow did not succeed')
      from failed x join unnest(v_locked) f on f.id = x.id where x.fails;
  with quiet as materialized (
      select f.*, x.fails from (
        select f.id, f.canceled_at is not null canceled, f.sealed_at is not null or f.failing_at is not null closed,
          f.state was, f.seal_after_idle_ms
        from unnest(v_locked) l join {schema}.flow f on f.id = l.id
        where f.id = any (looked) and f.began and f.ended_at is null
          and coalesce((select false from {schema}.flow_live y where y.flow = f.id limit 1), true)) f
      cross join lateral (
        select coalesce((select true from {schema}.flow_failed y where y.flow = f.id limit 1), false) fails) x),
    ended as (
      update {schema}.flow f set
          state = case when q.canceled then 6 when not q.closed then 2 when q.fails then 4 else 3 end,
          settled_at = coalesce(f.settled_at, p_now),
          sealed_at = case when q.closed then coalesce(f.sealed_at, p_now) else f.sealed_at end,
          ended_at = case when q.canceled or q.closed then p_now end,
          seal_at = case when not q.canceled and not q.closed then p_now + q.seal_after_idle_ms * interval '1 ms' end
        from quiet q
        where f.id = any (array(select y.id from quiet y)) and f.id = q.id and f.state <> case when q.canceled then 6 when not q.closed then 2 when q.fails then 4 else 3 end
        returning f)
    select array_agg(ended.f) into v_settled from ended;
  select min(extract(epoch from f.seal_at - p_now)) * 1000 into seal_ms from unnest(v_settled) f;
  if v_settled is not null then
    perform {schema}.append_log(array_agg(f.namespace), array_agg(43::smallint), array_agg(null::uuid), array_agg(f.id),
        array_agg(null::int), array_agg(null::smallint), array_agg(null::smallint), array_agg(null::int),
        array_agg('{"state":' || f.state || '}'))
      from unnest(v_settled) f;
  end if;
end $$;

-- One batch of a cancellation. A flow's members in two rounds: first those that are BLOCKED, then the rest (step 0 and 1;
-- 10 and 11 when running ones are concerned too). What was locked is tried in a new pass, a little later.
create function {schema}.cancel_batch(p_item {schema}.follow_up, out woken int[], out asked_ms bigint, out handled int)
language plpgsql volatile as $$
declare
  c_batch constant int := 250;
  v_executions uuid[];
  v_done record;
  v_full boolean;
  v_last uuid;
begin
  handled := 0;
  -- A redrive has called off what a failure had begun.
  if p_item.kind = 2 and not exists (select from {schema}.flow f
      where f.id = p_item.subject and (f.canceled_at is not null or f.failing_at is not null)) then
    delete from {schema}.follow_up u where u.seq = p_item.seq;
    return;
  end if;
  if p_item.kind = 2 then
    v_executions := array(select l.execution from {schema}.flow_live l
      where l.flow = p_item.subject and l.execution > p_item.position order by l.execution limit c_batch);
  else
    v_executions := array(select s.upstream from {schema}.slot s
      where s.barrier = p_item.subject and s.outcome is null and s.upstream > p_item.position
      order by s.upstream limit c_batch);
  end if;
  handled := cardinality(v_executions);
  v_full := handled = c_batch;
  if v_executions <> '{}' then
    v_last := v_executions[cardinality(v_executions)];
    select c.* into v_done from {schema}.cancel_members(v_executions, p_item.reason, p_item.policy,
      p_item.kind = 2 and p_item.step in (0, 10),
      case when p_item.kind = 2 then p_item.step = 11 else coalesce((p_item.policy ->> 'running')::boolean, true) end) c;
    woken := v_done.woken;
    asked_ms := v_done.asked_ms;
    p_item.again := p_item.again or v_done.passed_over <> '{}';
  end if;
  if v_full then
    update {schema}.follow_up u set position = v_last, again = p_item.again where u.seq = p_item.seq;
  elsif p_item.kind = 2 and p_item.step in (0, 10) then
    update {schema}.follow_up u set position = default, step = p_item.step + 1, again = p_item.again where u.seq = p_item.seq;
  elsif p_item.again then
    update {schema}.follow_up u set position = default, again = false, due_at = clock_timestamp() + interval '20 ms',
        step = case when p_item.kind = 2 then p_item.step - 1 else 0 end
      where u.seq = p_item.seq;
  else
    delete from {schema}.follow_up u where u.seq = p_item.seq;
  end if;
end $$;

-- What is due of `follow_up`, and flows that seal themselves. taken: something was done, look again at once. next_ms: until
-- something is due. lease_ms: holders were asked to stop, and have so long. Fillings and joins whose time is up are swept by
-- statements of their own: one that cannot be done must not hold up the others.
create function {schema}.sweep_follow_ups(p_limit int, out taken int, out classes int[], out next_ms double precision,
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
    select u from {schema}.follow_up u where u.due_at <= clock_timestamp() order by u.due_at, u.seq limit p_limit
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
    from {schema}.follow_up u order by u.due_at limit 1;
  select least(next_ms, extract(epoch from u.seal_at - clock_timestamp()) * 1000) into next_ms
    from (select min(y.seal_at) seal_at from (select f.seal_at from {schema}.flow f where f.seal_at is not null
      order by f.seal_at limit 1) y) u;
end $$;

create or replace function {schema}.promote_scheduled(p_limit int, out taken int, out classes int[], out next_ms double precision)
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
      start_by, deadline, redrive, flow, linked, resume)
    select x.class, -x.priority, nextval('{schema}.ready_seq'), x.execution, v_now, x.kind, x.attempt, x.failures,
      x.reclaims, x.timeout_ms, x.start_by, x.deadline, x.redrive, x.flow, x.linked, x.resume
    from unnest(v_rows) x;
  perform {schema}.append_log(array_agg(c.namespace), array_agg(2::smallint), array_agg(x.execution), array_agg(x.flow),
      array_agg(x.class), array_agg(2::smallint), array_agg(3::smallint), array_agg(x.attempt),
      array_agg('{"cause":"due"}'::text))
    from unnest(v_rows) x join {schema}.claim_class c on c.id = x.class;
end $$;

-- Leases whose check_at has come. Most were renewed meanwhile and are only armed again.
drop function {schema}.sweep_leases(int);
create function {schema}.sweep_leases(p_limit int, out taken int, out classes int[], out next_ms double precision,
  out follows boolean)
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
  follows := false;
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
    from {schema}.lease l order by l.check_at limit 1;
  if v_over is not null then
    select classes || s.woken, s.follows into classes, follows from {schema}.settle(v_over, v_now) s;
  end if;
end $$;

-- Timers that fired: work that waited past its time to start or its deadline expires. Looked up anew under the phase
-- row's lock; work that runs is watched by its lease, so its timer moves on to the deadline or goes.
-- The time to start only counts before the first attempt. NO_HANDLER: it passed and no worker ever declared the type.
drop function {schema}.sweep_timers(int);
create function {schema}.sweep_timers(p_limit int, out taken int, out classes int[], out next_ms double precision,
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
      and (b.deadline <= v_now or (b.start_by <= v_now and b.attempt = 0)));
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
        (select b.attempt > 0 from {schema}.blocked b where b.execution = x.execution)));
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

-- Everything that the loops of one process need to know, in one statement a second.
-- non_empty: which of the given segments (of classes that somebody waits for) have something to claim.
drop function {schema}.pulse(int[], smallint[], bigint[], smallint[]);
create function {schema}.pulse(p_class int[], p_from_priority smallint[], p_from_seq bigint[], p_to_priority smallint[],
  out registry bigint, out scheduled_ms double precision, out lease_ms double precision, out timer_ms double precision,
  out join_ms double precision, out follow_ms double precision, out non_empty int[], out head bigint, out unnumbered boolean) language plpgsql stable as $$
declare
  v_now timestamptz := clock_timestamp();
begin
  select version into registry from {schema}.registry;
  select extract(epoch from s.run_at - v_now) * 1000 into scheduled_ms from {schema}.scheduled s order by s.run_at limit 1;
  select extract(epoch from l.check_at - v_now) * 1000 into lease_ms from {schema}.lease l order by l.check_at limit 1;
  select extract(epoch from t.due_at - v_now) * 1000 into timer_ms from {schema}.timer t order by t.due_at limit 1;
  select least((select 0 from {schema}.filling limit 1),
      (select extract(epoch from u.due_at - v_now) * 1000 from {schema}.follow_up u order by u.due_at limit 1),
      (select extract(epoch from f.seal_at - v_now) * 1000 from {schema}.flow f
        where f.seal_at is not null order by f.seal_at limit 1)) into follow_ms;
  select extract(epoch from b.due_at - v_now) * 1000 into join_ms from {schema}.barrier b
    where b.due_at is not null order by b.due_at limit 1;
  select array_agg(distinct s.class) into non_empty
    from unnest(p_class, p_from_priority, p_from_seq, p_to_priority) s (class, from_priority, from_seq, to_priority)
    where exists (select 1 from {schema}.ready r where r.class = s.class
      and (r.priority, r.seq) >= (s.from_priority, s.from_seq) and r.priority < s.to_priority);
  select h.head, h.unnumbered into head, unnumbered from {schema}.log_head() h;
end $$;

-- Folds about p_limit entries on from where it stands; whole transactions only. busy: another process is at it.
-- One transaction: a crash leaves counts and position as they were. Everything is read after the lock was taken, in a
-- new statement, or a step that began before it would fold the same entries again.
create or replace function {schema}.fold_counts(p_limit int, out busy boolean, out folded int, out upto bigint)
language plpgsql volatile as $$
begin
  select c.position into upto from {schema}.counted c for update skip locked;
  busy := not found;
  folded := 0;
  if busy then return; end if;
  with run as materialized (
      select r.base, r.lo, r.hi, r.holes from {schema}.log_run r
      where r.base >= (select coalesce(max(b.base), 0) from {schema}.log_run b where b.base <= upto + 1)
        and r.base <= upto + p_limit),
    numbered as materialized (
      select l.kind, l.class, l.flow, l.from_state, l.to_state, l.n,
        (r.base + sum(l.n) over (partition by r.base order by l.seq) - l.n)::bigint as position
      from run r join {schema}.log l on l.seq between r.lo and r.hi and (r.lo = r.hi or not l.seq <@ any (r.holes))),
    fresh as materialized (
      select x.* from numbered x where x.position > upto and x.position <= upto + p_limit),
    moved as (
      select e.class, m.state, sum(m.n) n
      from fresh x
      cross join lateral unnest(x.kind, x.class, x.from_state, x.to_state) e (kind, class, from_state, to_state)
      cross join lateral (values (e.from_state, -1), (e.to_state, 1), (case when e.kind = 1 then 0::smallint end, 1))
        m (state, n)
      where e.class is not null and m.state is not null
      group by e.class, m.state having sum(m.n) <> 0),
    members as (
      select e.flow, m.state, sum(m.n) n
      from fresh x
      cross join lateral unnest(x.kind, x.flow, x.from_state, x.to_state) e (kind, flow, from_state, to_state)
      cross join lateral (values (e.from_state, -1), (e.to_state, 1), (case when e.kind = 1 then 0::smallint end, 1))
        m (state, n)
      where e.flow is not null and m.state is not null
      group by e.flow, m.state having sum(m.n) <> 0),
    counted as (
      insert into {schema}.flow_count as k (flow, state, n) select * from members order by flow, state
      on conflict (flow, state) do update set n = k.n + excluded.n),
    added as (
      insert into {schema}.state_count as k (class, state, n) select * from moved order by class, state
      on conflict (class, state) do update set n = k.n + excluded.n)
    select coalesce(sum(x.n), 0), coalesce(max(x.position + x.n - 1), upto) into folded, upto from fresh x;
  if folded > 0 then
    update {schema}.counted set position = upto;
  end if;
end $$;
