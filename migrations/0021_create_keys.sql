-- Concurrency keys: who stands in line, and who waits for the others of his key. And the functions of earlier files that every
-- phase row passes through, now that a row carries its key's gate and may stand in `suspension`.
--
-- At most as many executions of a key as its limit stand in `ready` or `lease`; the rest wait in `blocked`, so a saturated key
-- never stands at the head of a line. The slots are those rows themselves: a crash leaks none. Everything that puts a keyed row
-- in line, or takes one out, does so under the row lock of the key, taken with SKIP LOCKED, or leaves a row of `follow_up`
-- (kind 7) and waits; so who holds the lock never misses anybody for good. Moves between ready and lease keep the slot and
-- need no lock.
-- Locks: creates only. older-servers: refused
alter type {schema}.ending add attribute gate uuid, add attribute usage jsonb;
alter type {schema}.waiting add attribute gate uuid;

-- The phase an execution stands in, in one statement: a mover is never missed.
create or replace function {schema}.state_of(p_execution uuid) returns smallint language sql stable as $$
  select coalesce(
    (select 3 from {schema}.ready where execution = p_execution),
    (select 4 from {schema}.lease where execution = p_execution),
    (select 2 from {schema}.scheduled where execution = p_execution),
    (select state from {schema}.blocked where execution = p_execution),
    (select 5 from {schema}.suspension where execution = p_execution),
    (select state from {schema}.outcome where execution = p_execution))::smallint
$$;

-- The lease's columns of an ending, with what was decided. p_content: the result of a success, else the failure's details.
create or replace function {schema}.ending_of(l {schema}.lease, p_call smallint, p_hash bytea, p_attempt_outcome smallint,
  p_state smallint, p_reason smallint, p_run_at timestamptz, p_next_kind smallint, p_failures int, p_reclaims int,
  p_failure_class smallint, p_failure_code text, p_message text, p_content_type text, p_content bytea)
returns {schema}.ending language sql immutable as $$
  select row(l.execution, l.namespace, l.class, l.priority, 4::smallint, l.kind, l.attempt, p_failures, p_reclaims,
    l.timeout_ms, l.start_by, l.deadline, l.redrive, l.lease, l.token, l.worker, l.worker_name, l.ready_at, l.started_at,
    l.progress_percent, l.progress_message, l.progress_at, p_call, p_hash, p_attempt_outcome, p_state, p_reason, p_run_at,
    p_next_kind, p_failure_class, p_failure_code, p_message, p_content_type, p_content, l.flow, l.linked, false,
    null, l.gate, l.usage)::{schema}.ending
$$;

-- For work without a lease. One that is to be resumed has an open attempt: settle closes it.
create or replace function {schema}.ending_of_waiting(w {schema}.waiting, p_namespace int, p_state smallint, p_reason smallint,
  p_message text, p_content_type text default null, p_content bytea default null)
returns {schema}.ending language sql immutable as $$
  select row(w.execution, p_namespace, w.class, w.priority, w.from_state, null, w.attempt, w.failures, w.reclaims, null,
    w.start_by, w.deadline, w.redrive, null, null, null, null, null, null, null, null, null, null, null, null, p_state,
    p_reason, null, null, null, null, p_message, p_content_type, p_content, w.flow, w.linked, w.resume,
    w.barrier, w.gate, null)::{schema}.ending
$$;

-- Deletes the waiting rows of these executions and answers them. Passes over what others have locked; whoever has locked
-- the row itself gets it.
create or replace function {schema}.take_waiting(p_execution uuid[], p_blocked_only boolean default false)
returns {schema}.waiting[] language plpgsql volatile as $$
declare
  v_blocked {schema}.waiting[];
  v_ready {schema}.waiting[];
  v_scheduled {schema}.waiting[];
  v_suspended {schema}.waiting[];
begin
  with held as materialized (
      select x.ctid from unnest(p_execution) u (id)
      cross join lateral (select b.ctid from {schema}.blocked b where b.execution = u.id for update skip locked) x),
    gone as (delete from {schema}.blocked b where b.ctid = any (array(select held.ctid from held)) returning b.*)
    select array_agg(row(g.execution, g.state, g.class, g.priority, g.attempt, g.failures, g.reclaims, g.start_by,
        g.deadline, g.redrive, g.flow, g.linked, g.resume, g.barrier, g.gate)::{schema}.waiting)
      into v_blocked from gone g;
  if p_blocked_only then return v_blocked; end if;
  with held as materialized (
      select x.ctid from unnest(p_execution) u (id)
      cross join lateral (select r.ctid from {schema}.ready r where r.execution = u.id for update skip locked) x),
    gone as (delete from {schema}.ready r where r.ctid = any (array(select held.ctid from held)) returning r.*)
    select array_agg(row(g.execution, 3, g.class, -g.priority, g.attempt, g.failures, g.reclaims, g.start_by,
        g.deadline, g.redrive, g.flow, g.linked, g.resume, null, g.gate)::{schema}.waiting)
      into v_ready from gone g;
  with held as materialized (
      select x.ctid from unnest(p_execution) u (id)
      cross join lateral (select s.ctid from {schema}.scheduled s where s.execution = u.id for update skip locked) x),
    gone as (delete from {schema}.scheduled s where s.ctid = any (array(select held.ctid from held)) returning s.*)
    select array_agg(row(g.execution, 2, g.class, g.priority, g.attempt, g.failures, g.reclaims, g.start_by,
        g.deadline, g.redrive, g.flow, g.linked, g.resume, null, g.gate)::{schema}.waiting)
      into v_scheduled from gone g;
  with held as materialized (
      select x.ctid from unnest(p_execution) u (id)
      cross join lateral (select s.ctid from {schema}.suspension s where s.execution = u.id for update skip locked) x),
    gone as (delete from {schema}.suspension s where s.ctid = any (array(select held.ctid from held)) returning s.*)
    select array_agg(row(g.execution, 5, g.class, g.priority, g.attempt, g.failures, g.reclaims, g.start_by,
        g.deadline, g.redrive, g.flow, g.linked, true, null, g.gate)::{schema}.waiting)
      into v_suspended from gone g;
  return v_blocked || v_ready || v_scheduled || v_suspended;
end $$;

-- How many executions of these keys may stand in line or run, and how many do; the caller holds the keys' rows.
create function {schema}.key_room(p_gate uuid[]) returns table (gate uuid, namespace int, room int)
language plpgsql stable as $$
#variable_conflict use_column
begin
  return query select k.id, k.namespace,
    (coalesce(k.max_running, l.default_key_limit, 16 * k.weight)
      - (select count(*) from {schema}.ready r where r.gate = k.id)
      - (select count(*) from {schema}.lease y where y.gate = k.id))::int
  from unnest(p_gate) u (id)
  cross join lateral (select x.* from {schema}.concurrency_key x where x.id = u.id offset 0) k
  cross join lateral (select x.default_key_limit from {schema}.lane x where x.id = k.lane offset 0) l;
end $$;

-- Locks the rows of these keys, passing over what somebody else has; whoever decides about a key holds it until the commit. Nor does
-- the default limit of its lane change until then: while somebody changes that, the lane's keys are his.
create function {schema}.hold_keys(p_gate uuid[]) returns uuid[] language plpgsql volatile as $$
declare
  v_held uuid[];
  v_lanes int[];
begin
  select array_agg(x.id), array_agg(distinct x.lane) into v_held, v_lanes from (
    select k.id, k.lane from {schema}.concurrency_key k where k.id = any (p_gate) order by k.id for update skip locked) x;
  v_lanes := array(
    select u from unnest(v_lanes) u where not pg_try_advisory_xact_lock_shared(hashtext('tailrace key limit'), u));
  if v_lanes <> '{}' then
    v_held := array(select k.id from {schema}.concurrency_key k where k.id = any (v_held) and not k.lane = any (v_lanes));
  end if;
  return v_held;
end $$;

-- Puts rows in line: into ready, or behind the others of their key. What waits there already goes first. A key that somebody
-- else decides about at this moment is looked at right after: until then its rows wait.
create function {schema}.enter_line(p_rows {schema}.ready[], p_now timestamptz, out states smallint[], out queued uuid[])
language plpgsql volatile as $$
declare
  v_gates uuid[] := array(select distinct r.gate from unnest(p_rows) r where r.gate is not null);
  v_held uuid[];
begin
  perform pg_current_xact_id(); -- before any ready_seq is drawn
  v_held := {schema}.hold_keys(v_gates);
  with asked as materialized (
      select r.gate, r.ordinality n, row_number() over (partition by r.gate order by r.priority, r.ordinality) nth
      from unnest(p_rows) with ordinality r),
    free as materialized (
      select k.gate, case when coalesce((
          select true from {schema}.blocked b where b.gate = k.gate and b.waits_for = 2 limit 1), false)
        then 0 else k.room end room
      from {schema}.key_room(v_held) k)
    select array_agg((case when a.gate is null or a.nth <= f.room then 3 else 1 end)::smallint order by a.n) into states
      from asked a left join free f on f.gate = a.gate;
  insert into {schema}.ready (class, priority, seq, execution, ready_at, kind, attempt, failures, reclaims, timeout_ms,
      start_by, deadline, redrive, flow, linked, resume, gate)
    select r.class, r.priority, nextval('{schema}.ready_seq'), r.execution, r.ready_at, r.kind, r.attempt, r.failures,
      r.reclaims, r.timeout_ms, r.start_by, r.deadline, r.redrive, r.flow, r.linked, r.resume, r.gate
    from unnest(p_rows) with ordinality r where states[r.ordinality] = 3;
  if 1 = any (states) then
    insert into {schema}.blocked (execution, state, waits_for, blocked_at, class, priority, kind, attempt, failures, reclaims,
        timeout_ms, start_by, deadline, redrive, flow, linked, resume, gate, place)
      select r.execution, 1, 2, p_now, r.class, -r.priority, r.kind, r.attempt, r.failures, r.reclaims, r.timeout_ms,
        r.start_by, r.deadline, r.redrive, r.flow, r.linked, r.resume, r.gate, nextval('{schema}.ready_seq')
      from unnest(p_rows) with ordinality r where states[r.ordinality] = 1;
    insert into {schema}.follow_up (kind, subject)
      select 7, u from (select u from unnest(v_gates) u except select u from unnest(v_held) u) x (u);
  end if;
  queued := array(select r.execution from unnest(p_rows) with ordinality r where states[r.ordinality] = 3);
end $$;

-- Fills the free slots of these keys with those that wait, most urgent first; and takes out of line what is too many there,
-- after a limit was lowered. Slots that the caller has freed count as free. gates: one per element of classes.
-- p_surplus false: nobody has lowered a limit, so only keys that somebody waits for are looked at.
-- left_over: a key was somebody else's, or a row that should move was locked; a follow_up comes back to it.
create function {schema}.balance_keys(p_gate uuid[], p_now timestamptz, p_surplus boolean default true, out classes int[],
  out gates uuid[], out items {schema}.log_item[], out left_over boolean) language plpgsql volatile as $$
declare
  v_held uuid[];
  v_namespace int[];
  v_room int[];
  v_rows {schema}.blocked[];
  v_surplus {schema}.ready[];
  v_late uuid[];
begin
  perform pg_current_xact_id();
  v_held := {schema}.hold_keys(p_gate);
  v_late := array(select u from unnest(p_gate) u except select u from unnest(v_held) u);
  left_over := v_late <> '{}';
  if left_over then
    insert into {schema}.follow_up (kind, subject, due_at)
      select 7, u, clock_timestamp() + interval '3 ms' from unnest(v_late) u;
  end if;
  if not p_surplus then
    v_held := array(select u from unnest(v_held) u where coalesce((
      select true from {schema}.blocked b where b.gate = u and b.waits_for = 2 limit 1), false));
  end if;
  if coalesce(v_held, '{}') = '{}' then return; end if;
  select array_agg(k.gate), array_agg(k.namespace), array_agg(k.room) into v_held, v_namespace, v_room
    from {schema}.key_room(v_held) k where k.room <> 0;
  if v_held is null then return; end if;
  with picked as materialized (
      select x.ctid from unnest(v_held, v_room) u (id, room)
      cross join lateral (
        select b.ctid from {schema}.blocked b where b.gate = u.id and b.waits_for = 2
        order by b.priority desc, b.place limit greatest(u.room, 0) for update skip locked) x),
    gone as (delete from {schema}.blocked b where b.ctid = any (array(select p.ctid from picked p)) returning b)
    select array_agg(gone.b order by (gone.b).priority desc, (gone.b).place) into v_rows from gone;
  if v_rows is not null then
    insert into {schema}.ready (class, priority, seq, execution, ready_at, kind, attempt, failures, reclaims, timeout_ms,
        start_by, deadline, redrive, flow, linked, resume, gate)
      select r.class, -r.priority, nextval('{schema}.ready_seq'), r.execution, p_now, r.kind, r.attempt, r.failures,
        r.reclaims, r.timeout_ms, r.start_by, r.deadline, r.redrive, r.flow, r.linked, r.resume, r.gate
      from unnest(v_rows) r;
  end if;
  if exists (select from unnest(v_room) u where u < 0) then
    with picked as materialized (
        select x.ctid from unnest(v_held, v_room) u (id, room)
        cross join lateral (
          select r.ctid from {schema}.ready r where r.gate = u.id
          order by r.priority desc, r.seq desc limit greatest(-u.room, 0) for update skip locked) x),
      gone as (delete from {schema}.ready r where r.ctid = any (array(select p.ctid from picked p)) returning r)
      select array_agg(gone.r) into v_surplus from gone;
    insert into {schema}.blocked (execution, state, waits_for, blocked_at, class, priority, kind, attempt, failures, reclaims,
        timeout_ms, start_by, deadline, redrive, flow, linked, resume, gate, place)
      select r.execution, 1, 2, p_now, r.class, -r.priority, r.kind, r.attempt, r.failures, r.reclaims, r.timeout_ms,
        r.start_by, r.deadline, r.redrive, r.flow, r.linked, r.resume, r.gate, r.seq
      from unnest(v_surplus) r;
  end if;
  select array_agg(r.class), array_agg(r.gate) into classes, gates from unnest(v_rows) r;
  select array_agg(row(u.namespace, 2, y.execution, y.flow, y.class, y.from_state, y.to_state, y.attempt,
      '{"cause":"key"}')::{schema}.log_item) into items
    from unnest(v_held, v_namespace) u (id, namespace)
    cross join lateral (
      select r.execution, r.flow, r.class, 1::smallint from_state, 3::smallint to_state, r.attempt
        from unnest(v_rows) r where r.gate = u.id
      union all
      select r.execution, r.flow, r.class, 3, 1, r.attempt from unnest(v_surplus) r where r.gate = u.id) y;
  -- Somebody may roll back what he has locked: then it has to move after all.
  v_late := array(
    select u.id from unnest(v_held, v_room) u (id, room)
    where case when u.room > 0 then u.room > (select count(*) from unnest(v_rows) r where r.gate = u.id)
        and coalesce((select true from {schema}.blocked b where b.gate = u.id and b.waits_for = 2 limit 1), false)
      else -u.room > (select count(*) from unnest(v_surplus) r where r.gate = u.id)
        and coalesce((select true from {schema}.ready r where r.gate = u.id limit 1), false) end);
  if v_late <> '{}' then
    insert into {schema}.follow_up (kind, subject, due_at)
      select 7, u, clock_timestamp() + interval '20 ms' from unnest(v_late) u;
    left_over := true;
  end if;
end $$;

-- The attempt of a lease that its caller deletes stays open without one. p_barrier: the join it waits for, if it is one.
create function {schema}.park_attempt(l {schema}.lease, p_barrier uuid, p_call smallint, p_hash bytea, p_now timestamptz)
returns void language plpgsql volatile as $$
begin
  insert into {schema}.parked (execution, barrier, number, kind, worker, worker_name, lease, token, ready_at, started_at,
      timeout_ms, progress_percent, progress_message, progress_at, call, hash, parked_at, waits, usage)
    values (l.execution, p_barrier, l.attempt, l.kind, l.worker, l.worker_name, l.lease, l.token, l.ready_at, l.started_at,
      case when l.timeout_at is not null then greatest(1, extract(epoch from l.timeout_at - p_now) * 1000) end,
      l.progress_percent, l.progress_message, l.progress_at, p_call, p_hash, p_now, l.waits + 1, l.usage);
end $$;

-- Parks a running execution until somebody lets it go on. The caller holds the lease's row and writes the log.
create function {schema}.enter_suspension(l {schema}.lease, p_reason smallint, p_condition jsonb, p_note text,
  p_timeout_ms bigint, p_behavior smallint, p_resume_delay_ms bigint, p_budget uuid, p_call smallint, p_hash bytea,
  p_now timestamptz, out classes int[], out items {schema}.log_item[], out left_over boolean) language plpgsql volatile as $$
begin
  delete from {schema}.lease y where y.execution = l.execution;
  insert into {schema}.suspension (execution, namespace, number, reason, condition, note, suspended_at, timeout_at, due_at,
      behavior, resume_delay_ms, budget, class, priority, kind, attempt, failures, reclaims, timeout_ms, start_by, deadline,
      redrive, flow, linked, gate)
    values (l.execution, l.namespace, l.waits + 1, p_reason, p_condition, coalesce(p_note, ''), p_now,
      p_now + p_timeout_ms * interval '1 ms', p_now + p_timeout_ms * interval '1 ms', p_behavior,
      coalesce(p_resume_delay_ms, 0), p_budget, l.class, l.priority, l.kind, l.attempt, l.failures, l.reclaims, l.timeout_ms,
      l.start_by, l.deadline, l.redrive, l.flow, l.linked, l.gate);
  perform {schema}.park_attempt(l, null, p_call, p_hash, p_now);
  left_over := false;
  if l.gate is not null then
    select b.classes, b.items, b.left_over into classes, items, left_over
      from {schema}.balance_keys(array[l.gate], p_now, false) b;
  end if;
end $$;

-- Parked executions go on: their suspension is over, its rows are deleted by the caller. classes: of those that are claimable.
create function {schema}.leave_suspension(p_gone {schema}.suspension[], p_cause smallint, p_now timestamptz, out classes int[],
  out executions uuid[], out states smallint[], out items {schema}.log_item[]) language plpgsql volatile as $$
declare
  v_entered record;
begin
  executions := array(select g.execution from unnest(p_gone) g);
  update {schema}.parked p set cause = p_cause, released_at = p_now where p.execution = any (executions);
  update {schema}.waitpoint w set state = 3 where w.execution = any (executions) and w.state = 2;
  states := array(select case when g.resume_delay_ms > 0 then 2 else 3 end::smallint from unnest(p_gone) g);
  if 2 = any (states) then
    insert into {schema}.scheduled (execution, run_at, class, priority, kind, attempt, failures, reclaims, timeout_ms,
        start_by, deadline, redrive, flow, linked, resume, gate)
      select g.execution, p_now + g.resume_delay_ms * interval '1 ms', g.class, g.priority, g.kind, g.attempt, g.failures,
        g.reclaims, g.timeout_ms, g.start_by, g.deadline, g.redrive, g.flow, g.linked, true, g.gate
      from unnest(p_gone) g where g.resume_delay_ms > 0;
  end if;
  if 3 = any (states) then
    select e.states, e.queued into v_entered from {schema}.enter_line(array(
      select row(g.class, -g.priority, 0, g.execution, p_now, g.kind, g.attempt, g.failures, g.reclaims, g.timeout_ms,
          g.start_by, g.deadline, g.redrive, g.flow, g.linked, true, g.gate)::{schema}.ready
      from unnest(p_gone) g where g.resume_delay_ms = 0), p_now) e;
    states := array(
      select case when g.resume_delay_ms > 0 then 2 when g.execution = any (v_entered.queued) then 3 else 1 end::smallint
      from unnest(p_gone) g);
  end if;
  classes := array(select g.class from unnest(p_gone) with ordinality g where states[g.ordinality] = 3);
  select array_agg(row(g.namespace, 4, g.execution, g.flow, g.class, 5, states[g.ordinality], g.attempt,
      '{"cause":' || p_cause || ',"suspension":' || g.number || '}')::{schema}.log_item) into items
    from unnest(p_gone) with ordinality g;
end $$;

-- Folds fillings into their joins: those of earlier transactions that stand in `filling`, and the caller's own. Joins that
-- somebody else is folding are passed over, and the caller's own fillings for them are stored.
--
-- Answers what must follow in this transaction: `released`, with their classes, flows and causing joins, whose rows stand
-- in ready already; endings of downstreams that were skipped or failed, whose blocked rows are gone; entries for the log.
-- `left_over`: something was stored or passed over and has to be folded later.
create or replace function {schema}.fold_joins(p_barrier uuid[], p_own_barrier uuid[], p_own_idx int[], p_own_outcome smallint[],
  p_now timestamptz, out released uuid[], out classes int[], out flows uuid[], out causes uuid[], out endings {schema}.ending[],
  out items {schema}.log_item[], out left_over boolean, out folded int) language plpgsql volatile as $$
declare
  c_batch constant int := 5000;
  v_locked {schema}.barrier[];
  v_ids uuid[];
  v_places tid[];
  v_barrier uuid[];
  v_idx int[];
  v_outcome smallint[];
  v_sums {schema}.folded[];
  v_blocked {schema}.blocked[];
  v_busy uuid[];
  v_satisfied uuid[];
  v_deciding int;
  v_whole boolean; -- every join that decides got its downstream
  v_cancels boolean;
  v_keyed boolean;
  v_entered uuid[]; -- of those with a key: who stands in line
begin
  select array_agg(x.b order by (x.b).id), array_agg((x.b).id) into v_locked, v_ids from (
    select b from {schema}.barrier b where b.id = any (p_barrier) order by b.id for update skip locked) x (b);
  v_ids := coalesce(v_ids, '{}');
  left_over := cardinality(v_ids) < (select count(distinct u) from unnest(p_barrier) u);
  folded := 0;
  -- From here on statements see what was committed before the locks were taken.
  select array_agg(f.ctid), array_agg(f.barrier), array_agg(f.idx), array_agg(f.outcome)
    into v_places, v_barrier, v_idx, v_outcome
    from unnest(v_ids) u (id)
    cross join lateral (
      select y.ctid, y.barrier, y.idx, y.outcome from {schema}.filling y where y.barrier = u.id limit c_batch) f;
  left_over := left_over or coalesce(cardinality(v_places), 0) >= c_batch;
  select v_barrier || array_agg(o.barrier), v_idx || array_agg(o.idx), v_outcome || array_agg(o.outcome)
    into v_barrier, v_idx, v_outcome
    from unnest(p_own_barrier, p_own_idx, p_own_outcome) o (barrier, idx, outcome) where o.barrier = any (v_ids);
  -- A slot that is filled already is passed over, so that folding the same twice changes nothing.
  with fresh as materialized (
      select f.barrier, f.idx, f.outcome, s.optional, s.source
      from (select distinct on (y.barrier, y.idx) y.* from unnest(v_barrier, v_idx, v_outcome) y (barrier, idx, outcome)) f
      cross join lateral (
        select y.optional, y.source from {schema}.slot y
        where y.barrier = f.barrier and y.idx = f.idx and y.outcome is null offset 0) s),
    sums as (
      select f.barrier, count(*) filter (where f.outcome = 1) ok, count(*) filter (where f.outcome = 2) failed,
        count(*) filter (where f.outcome = 3) skipped, count(*) filter (where f.outcome <> 1 and not f.optional) lost
      from fresh f group by f.barrier),
    -- Of joins over distinct sources: which gained their first success, and which have no chance left. Per source, by sets.
    told as (
      select g.barrier, count(*) filter (where g.ok > 0 and not o.ok) gained,
        count(*) filter (where g.ok = 0 and not o.ok and o.open = g.n) lost
      from (
        select f.barrier, f.source, count(*) n, count(*) filter (where f.outcome = 1) ok
        from fresh f join unnest(v_locked) b on b.id = f.barrier and b.distinct_sources group by f.barrier, f.source) g
      cross join lateral (
        select coalesce(bool_or(y.outcome = 1), false) ok, count(*) filter (where y.outcome is null) open
        from {schema}.slot y where y.barrier = g.barrier and y.source = g.source offset 0) o
      group by g.barrier),
    counted as (
      select b.*, coalesce(s.ok, 0)::int new_ok, coalesce(s.failed, 0)::int new_failed,
        coalesce(s.skipped, 0)::int new_skipped, coalesce(s.lost, 0)::int new_lost, coalesce(t.gained, 0)::int new_sources,
        coalesce(t.lost, 0)::int lost_sources
      from unnest(v_locked) b left join sums s on s.barrier = b.id left join told t on t.barrier = b.id),
    judged as (
      select c.*, c.slots - c.ok - c.failed - c.skipped - c.new_ok - c.new_failed - c.new_skipped open_slots,
        case when c.distinct_sources then c.sources + c.new_sources else c.ok + c.new_ok end have,
        case when c.mode = 3 then c.quorum else 1 end need
      from counted c)
    select array_agg(row(j.id, j.new_ok, j.new_failed, j.new_skipped, j.new_lost, j.new_sources, j.lost_sources,
        case when j.state = 1 then 0 else j.new_ok + j.new_failed + j.new_skipped end,
        case when j.state <> 1 then 0
          when j.mode = 1 and j.lost + j.new_lost > 0 then 3
          when j.mode = 1 and j.sealed and j.open_slots = 0 then 2
          when j.mode <> 1 and j.have >= j.need then 2
          when j.mode <> 1 and j.sealed and j.need > case when j.distinct_sources then j.chances - j.lost_sources
            else j.have + j.open_slots end then 3
          when j.expires_at <= p_now then 4
          else 1 end)::{schema}.folded order by j.id)
      into v_sums from judged j;
  select count(*) filter (where s.verdict >= 2), count(*) filter (where s.ok + s.failed + s.skipped > 0 or s.verdict >= 2)
    into v_deciding, folded from unnest(v_sums) s;
  -- Who decides needs the downstream's phase row. What is locked there is somebody's who may end it: later, then.
  if v_deciding > 0 then
    select array_agg(x.w) into v_blocked from (
      select w from unnest(v_sums) s join unnest(v_locked) b on b.id = s.id and s.verdict >= 2
      cross join lateral (
        select y from {schema}.blocked y where y.execution = b.downstream and y.barrier = b.id for update skip locked) x (w)
      ) x (w);
  end if;
  v_whole := coalesce(cardinality(v_blocked), 0) = v_deciding;
  if not v_whole then
    select array_agg(b.id) into v_busy
      from unnest(v_sums) s join unnest(v_locked) b on b.id = s.id and s.verdict >= 2
      left join unnest(v_blocked) w on w.barrier = b.id
      where w.barrier is null
        and exists (select from {schema}.blocked y where y.execution = b.downstream and y.barrier = b.id);
    left_over := left_over or v_busy is not null;
  end if;
  v_busy := coalesce(v_busy, '{}');
  if left_over then
    insert into {schema}.filling (barrier, idx, outcome)
      select o.barrier, o.idx, o.outcome from unnest(p_own_barrier, p_own_idx, p_own_outcome) o (barrier, idx, outcome)
      where o.barrier = any (v_busy) or not o.barrier = any (v_ids)
      on conflict do nothing;
    -- One that has nothing left to fold still has to decide.
    insert into {schema}.follow_up (kind, subject, due_at)
      select 6, u, clock_timestamp() + interval '5 ms' from unnest(v_busy) u join unnest(v_sums) s on s.id = u and s.verdict < 4
      where coalesce((select false from {schema}.filling f where f.barrier = u limit 1), true);
  end if;
  if v_sums is null then return; end if;
  if v_places is not null then
    delete from {schema}.filling f where f.ctid = any (v_places) and not f.barrier = any (v_busy);
  end if;
  with fresh as materialized (
      select x.ctid, f.outcome, b.state <> 1 late
      from (select distinct on (y.barrier, y.idx) y.* from unnest(v_barrier, v_idx, v_outcome) y (barrier, idx, outcome)) f
      join unnest(v_locked) b on b.id = f.barrier
      cross join lateral (
        select s.ctid from {schema}.slot s where s.barrier = f.barrier and s.idx = f.idx and s.outcome is null offset 0) x
      where not f.barrier = any (v_busy))
    update {schema}.slot s set outcome = f.outcome, late = f.late from fresh f where s.ctid = f.ctid;
  if not v_whole then
    -- 5: it would decide, but its downstream is gone.
    select array_agg(case when s.verdict >= 2 and w.barrier is null
        then row(s.id, s.ok, s.failed, s.skipped, s.lost, s.sources, s.lost_sources, s.late, 5)::{schema}.folded
        else s end), count(*) filter (where s.ok + s.failed + s.skipped > 0 or s.verdict >= 2)
      into v_sums, folded
      from unnest(v_sums) s left join unnest(v_blocked) w on w.barrier = s.id where not s.id = any (v_busy);
  end if;
  update {schema}.barrier b set ok = b.ok + s.ok, failed = b.failed + s.failed, skipped = b.skipped + s.skipped,
      lost = b.lost + s.lost, sources = b.sources + s.sources, chances = b.chances - s.lost_sources, late = b.late + s.late,
      state = case when s.verdict >= 2 then s.verdict else b.state end,
      decided_at = case when s.verdict >= 2 then p_now else b.decided_at end,
      due_at = case when s.verdict < 2 then b.due_at end
    from unnest(v_sums) s
    where b.id = any (array(select y.id from unnest(v_sums) y)) and b.id = s.id
      and (s.ok + s.failed + s.skipped > 0 or s.verdict >= 2);
  if v_blocked is null then return; end if;
  delete from {schema}.blocked w where w.execution = any (array(select y.execution from unnest(v_blocked) y));
  -- Satisfied, or its time is up and it passes with what is there; an impossible wait for children resumes the parent.
  select coalesce(array_agg(b.id) filter (
        where s.verdict = 2 or (s.verdict = 4 and b.on_timeout = 2) or (s.verdict = 3 and b.kind = 2)), '{}'),
      bool_or((s.verdict = 2 and b.cancel_rest) or (s.verdict = 4 and b.kind = 2 and b.on_timeout = 1))
    into v_satisfied, v_cancels
    from unnest(v_sums) s join unnest(v_locked) b on b.id = s.id where s.verdict between 2 and 4;
  insert into {schema}.ready (class, priority, seq, execution, ready_at, kind, attempt, failures, reclaims, timeout_ms,
      start_by, deadline, redrive, flow, linked, resume)
    select w.class, -w.priority, nextval('{schema}.ready_seq'), w.execution, p_now, w.kind, w.attempt, w.failures,
      w.reclaims, w.timeout_ms, w.start_by, w.deadline, w.redrive, w.flow, w.linked, w.resume
    from unnest(v_blocked) w where w.barrier = any (v_satisfied) and (w.run_at is null or w.run_at <= p_now) and w.gate is null;
  v_keyed := exists (select from unnest(v_blocked) w where w.gate is not null and w.barrier = any (v_satisfied));
  if v_keyed then
    select e.queued into v_entered from {schema}.enter_line(array(
      select row(w.class, -w.priority, 0, w.execution, p_now, w.kind, w.attempt, w.failures, w.reclaims, w.timeout_ms,
          w.start_by, w.deadline, w.redrive, w.flow, w.linked, w.resume, w.gate)::{schema}.ready
      from unnest(v_blocked) w
      where w.gate is not null and w.barrier = any (v_satisfied) and (w.run_at is null or w.run_at <= p_now)), p_now) e;
    left_over := true; -- perhaps: a key that was somebody else's is looked at again
  end if;
  select array_agg(w.execution), array_agg(w.class), array_agg(w.flow), array_agg(w.barrier)
    into released, classes, flows, causes
    from unnest(v_blocked) w where w.barrier = any (v_satisfied) and (w.run_at is null or w.run_at <= p_now)
      and (w.gate is null or w.execution = any (v_entered));
  if coalesce(cardinality(released), 0) < cardinality(v_satisfied) then
    insert into {schema}.scheduled (execution, run_at, class, priority, kind, attempt, failures, reclaims, timeout_ms,
        start_by, deadline, redrive, flow, linked, resume, gate)
      select w.execution, w.run_at, w.class, w.priority, w.kind, w.attempt, w.failures, w.reclaims, w.timeout_ms,
        w.start_by, w.deadline, w.redrive, w.flow, w.linked, w.resume, w.gate
      from unnest(v_blocked) w where w.barrier = any (v_satisfied) and w.run_at > p_now;
  end if;
  -- Upstreams that are not needed any more, and children whose parent gives up waiting.
  if v_cancels then
    insert into {schema}.follow_up (kind, subject, reason, policy)
      select 3, b.id, case s.verdict when 2 then 23 else 24 end, case s.verdict when 2 then '{"now":true}' else '{}' end::jsonb
      from unnest(v_sums) s join unnest(v_locked) b on b.id = s.id
      where ((s.verdict = 2 and b.cancel_rest) or (s.verdict = 4 and b.kind = 2 and b.on_timeout = 1))
        and b.slots > b.ok + b.failed + b.skipped + s.ok + s.failed + s.skipped;
    left_over := left_over or found;
  end if;
  if cardinality(v_satisfied) < cardinality(v_blocked) then
    select array_agg({schema}.ending_of_waiting(row(w.execution, w.state, w.class, w.priority, w.attempt, w.failures,
          w.reclaims, w.start_by, w.deadline, w.redrive, w.flow, w.linked, w.resume, null, w.gate)::{schema}.waiting, b.namespace,
        (case when s.verdict <> 3 then 8 when f.canceled then 9 else 11 end)::smallint,
        (case when s.verdict <> 3 then 9 when f.canceled then 22 else 30 end)::smallint,
        case s.verdict when 3 then 'the join it waited for became impossible' || coalesce((
            select ': upstream ' || to_json(y.name)::text || case y.outcome when 3 then ' was skipped' else ' did not succeed' end
            from {schema}.slot y where y.barrier = b.id and y.outcome > 1 order by y.optional, y.idx limit 1), '')
          else 'the join it waited for was not satisfied in time' end,
        case when s.verdict = 4 then 'application/json' end,
        case when s.verdict = 4 then convert_to({schema}.slots_seen(b.id), 'UTF8') end) order by w.execution)
      into endings
      from unnest(v_blocked) w join unnest(v_sums) s on s.id = w.barrier join unnest(v_locked) b on b.id = w.barrier
      -- Of a flow that is being canceled members end canceled, whichever of them comes first.
      cross join lateral (select exists (
        select from {schema}.flow y where y.id = w.flow and (y.canceled_at is not null or y.failing_at is not null)) canceled) f
      where not w.barrier = any (v_satisfied);
  end if;
  select array_agg(row(b.namespace, y.kind, w.execution, w.flow, w.class, y.from_state, y.to_state, w.attempt,
      y.body)::{schema}.log_item order by w.execution, y.kind desc)
    into items
    from unnest(v_blocked) w join unnest(v_sums) s on s.id = w.barrier join unnest(v_locked) b on b.id = w.barrier
    cross join lateral (values
      ((48 + s.verdict)::smallint, null::smallint, null::smallint,
        '{"join":"' || b.id || '","slots":' || b.slots || ',"ok":' || b.ok + s.ok || ',"failed":' || b.failed + s.failed
          || ',"skipped":' || b.skipped + s.skipped || '}'),
      (2::smallint, w.state, (case when w.run_at > p_now then 2 when w.gate is null or w.execution = any (v_entered) then 3
          else 1 end)::smallint,
        '{"cause":"join","join":"' || b.id || '"}')
    ) y (kind, from_state, to_state, body)
    where y.kind > 2 or w.barrier = any (v_satisfied);
end $$;

-- Phase rows of these executions are already deleted by the caller, in this transaction. Whoever calls it tells waiting
-- workers of the classes in `woken`, one per execution of `released`; `causes` are the executions whose ends released them.
-- follows: rows of filling or follow_up were written. p_cascaded: these are consequences of a fold, so their slots are
-- filled in a transaction of their own. p_policy: how children of those that waited for them are stopped.
create or replace function {schema}.settle(p_endings {schema}.ending[], p_now timestamptz, p_cascaded boolean default false,
  p_policy jsonb default null, out seq bigint, out released uuid[], out causes uuid[], out woken int[],
  out follows boolean) language plpgsql volatile as $$
declare
  c_fan_out constant int := 64; -- slots of one execution that are filled where it ends, and slots of a join folded there
  c_inline constant int := 1000; -- slots filled by one transaction
  v_attempts boolean;
  v_terminal boolean;
  v_ready boolean;
  v_scheduled boolean;
  v_letters boolean;
  v_linked boolean;
  v_resume boolean;
  v_barriers uuid[];
  v_parked {schema}.parked[];
  v_one record;
  v_at int;
  v_timers uuid[];
  v_letter_execution uuid[];
  v_letter uuid[];
  v_letter_kind smallint[];
  v_fold record;
  v_items {schema}.log_item[];
  v_skipped {schema}.ending[];
  v_log record;
  v_gates uuid[]; -- of keys that got slots back
  v_keys record;
begin
  select bool_or(x.lease is not null), bool_or(x.state >= 7), bool_or(x.state = 3), bool_or(x.state = 2),
      bool_or(x.state in (8, 10) or (x.redrive and x.state >= 7)), bool_or(x.linked), bool_or(x.resume and x.state >= 7),
      array_agg(x.execution) filter (where x.state >= 7 and (x.start_by is not null or x.deadline is not null)),
      array_agg(x.barrier) filter (where x.barrier is not null),
      array_agg(distinct x.gate) filter (where x.gate is not null and x.from_state in (3, 4))
    into v_attempts, v_terminal, v_ready, v_scheduled, v_letters, v_linked, v_resume, v_timers, v_barriers, v_gates
    from unnest(p_endings) x;
  follows := false;
  if v_linked then
    -- A join that was satisfied without it cancels it, and a loser is no failure, whatever it ended as.
    for v_at in
      select x.ordinality::int from unnest(p_endings) with ordinality x
      where x.linked and x.state not in (7, 9) and {schema}.is_loser(x.execution)
    loop
      p_endings[v_at].state := 9;
      p_endings[v_at].reason := 23;
      p_endings[v_at].run_at := null;
      p_endings[v_at].message := 'a join was satisfied without it';
      v_terminal := true;
    end loop;
    select bool_or(x.state = 3), bool_or(x.state = 2), bool_or(x.state in (8, 10) or (x.redrive and x.state >= 7)),
        array_agg(x.execution) filter (where x.state >= 7 and (x.start_by is not null or x.deadline is not null)),
        array_agg(distinct x.gate) filter (where x.gate is not null and x.from_state in (3, 4))
      into v_ready, v_scheduled, v_letters, v_timers, v_gates from unnest(p_endings) x;
  end if;
  if v_resume then
    with gone as (
      delete from {schema}.parked p
        where p.execution = any (array(select x.execution from unnest(p_endings) x where x.resume and x.state >= 7))
        returning p)
      select array_agg(gone.p) into v_parked from gone;
    for v_one in
      select x.ordinality::int place, p.*
      from unnest(p_endings) with ordinality x join unnest(v_parked) p on p.execution = x.execution
    loop
      p_endings[v_one.place].kind := v_one.kind;
      p_endings[v_one.place].lease := v_one.lease;
      p_endings[v_one.place].token := v_one.token;
      p_endings[v_one.place].worker := v_one.worker;
      p_endings[v_one.place].worker_name := v_one.worker_name;
      p_endings[v_one.place].ready_at := v_one.ready_at;
      p_endings[v_one.place].started_at := v_one.started_at;
      p_endings[v_one.place].progress_percent := v_one.progress_percent;
      p_endings[v_one.place].progress_message := v_one.progress_message;
      p_endings[v_one.place].progress_at := v_one.progress_at;
      p_endings[v_one.place].call := v_one.call;
      p_endings[v_one.place].hash := v_one.hash;
      p_endings[v_one.place].usage := v_one.usage;
      p_endings[v_one.place].attempt_outcome := case p_endings[v_one.place].state when 8 then 2 when 10 then 10 else 8 end;
      v_attempts := true;
    end loop;
  end if;
  if v_attempts then
    insert into {schema}.attempt (execution, number, namespace, class, kind, worker, worker_name, lease, token, ready_at,
        started_at, ended_at, outcome, call, hash, state, run_at, failure_class, failure_code, message, details_type,
        details, progress_percent, progress_message, progress_at, usage)
      select x.execution, x.attempt, x.namespace, x.class, x.kind, x.worker, x.worker_name, x.lease, x.token, x.ready_at,
        x.started_at, p_now, x.attempt_outcome, x.call, x.hash, x.state, x.run_at, x.failure_class, x.failure_code, x.message,
        case when x.state <> 7 then x.content_type end, case when x.state <> 7 then x.content end, x.progress_percent,
        x.progress_message, x.progress_at, x.usage
      from unnest(p_endings) x where x.lease is not null;
  end if;
  if v_terminal then
    insert into {schema}.outcome (execution, namespace, class, state, reason, ended_at, attempt, token, started_at,
        failure_class, failure_code, message, details_type, details, result_type, result)
      select x.execution, x.namespace, x.class, x.state, x.reason, p_now, x.attempt, x.token, x.started_at,
        x.failure_class, x.failure_code, x.message, case when x.state <> 7 then x.content_type end,
        case when x.state <> 7 then x.content end, case when x.state = 7 then x.content_type end,
        case when x.state = 7 then x.content end
      from unnest(p_endings) x where x.state >= 7;
  end if;
  if v_ready then
    insert into {schema}.ready (class, priority, seq, execution, ready_at, kind, attempt, failures, reclaims, timeout_ms,
        start_by, deadline, redrive, flow, linked, gate)
      select x.class, -x.priority, nextval('{schema}.ready_seq'), x.execution, p_now, x.next_kind, x.attempt, x.failures,
        x.reclaims, x.timeout_ms, x.start_by, x.deadline, x.redrive, x.flow, x.linked, x.gate
      from unnest(p_endings) x where x.state = 3;
  end if;
  if v_scheduled then
    insert into {schema}.scheduled (execution, run_at, class, priority, kind, attempt, failures, reclaims, timeout_ms,
        start_by, deadline, redrive, flow, linked, gate)
      select x.execution, x.run_at, x.class, x.priority, x.next_kind, x.attempt, x.failures, x.reclaims, x.timeout_ms,
        x.start_by, x.deadline, x.redrive, x.flow, x.linked, x.gate
      from unnest(p_endings) x where x.state = 2;
  end if;
  if v_timers is not null then
    delete from {schema}.timer t where t.execution = any (v_timers);
  end if;
  if v_letters then
    select array_agg(s.execution), array_agg(s.letter), array_agg(s.kind)
      into v_letter_execution, v_letter, v_letter_kind from {schema}.settle_letters(p_endings, p_now) s;
  end if;
  if v_linked and v_terminal then
    select * into v_fold from {schema}.fill_slots(p_endings, p_now, p_cascaded, c_fan_out, c_inline);
    released := v_fold.released;
    causes := v_fold.causes;
    woken := v_fold.classes;
    follows := v_fold.follows;
    v_items := v_fold.items;
    v_skipped := v_fold.endings; -- a record with any null field is not "not null"
  end if;
  -- What ended while it waited leaves its join without a downstream, and its children without a parent.
  if v_barriers is not null then
    perform {schema}.abandon_joins(v_barriers, p_now);
    insert into {schema}.follow_up (kind, subject, reason, policy)
      select 3, x.barrier, 24, coalesce(p_policy, '{}') from unnest(p_endings) x where x.from_state = 6;
    follows := true;
  end if;
  -- The slots of its key go to those that wait for them; each is told as brought about by one end of that key. What goes back in
  -- line keeps its slot, unless more were running than there are by now.
  if v_gates is not null then
    select * into v_keys from {schema}.balance_keys(v_gates, p_now, v_ready);
    v_items := v_items || v_keys.items;
    follows := follows or v_keys.left_over;
    if v_keys.classes is not null then
      released := released || array_fill(null::uuid, array[cardinality(v_keys.classes)]);
      woken := woken || v_keys.classes;
      causes := causes || array(
        select (select x.execution from unnest(p_endings) x where x.gate = u.gate limit 1)
        from unnest(v_keys.gates) with ordinality u (gate, n) order by u.n);
    end if;
  end if;
  -- Per execution: the attempt's end, the state it led to, what was written to its letter. A state change stands in one
  -- entry only: in the attempt's end when the work goes back, in the terminal entry otherwise.
  select array_agg(z.namespace) namespace, array_agg(z.kind) kind, array_agg(z.execution) execution,
      array_agg(z.flow) flow, array_agg(z.class) class, array_agg(z.from_state) from_state,
      array_agg(z.to_state) to_state, array_agg(z.attempt) attempt, array_agg(z.body) body
    into v_log
    from (
      select x.namespace, y.kind, x.execution, x.flow, x.class, y.from_state, y.to_state, x.attempt, y.body
      from unnest(p_endings) with ordinality x
      left join unnest(v_letter_execution, v_letter, v_letter_kind) s (execution, letter, kind) on s.execution = x.execution
      cross join lateral (values
        (1, 21::smallint, case when x.state < 7 then x.from_state end, case when x.state < 7 then x.state end,
          '{"outcome":' || x.attempt_outcome || coalesce(',"failure_class":' || x.failure_class, '')
            || coalesce(',"message":' || to_json(left(x.message, 1000))::text, '')
            || coalesce(',"run_at":' || to_json(x.run_at)::text, '') || '}'),
        (2, (x.state - 1)::smallint, x.from_state, x.state, '{"reason":' || x.reason || '}'),
        (3, s.kind, null, null, '{"letter":"' || s.letter || '"' || coalesce(',"reason":' || x.reason, '') || '}')
      ) y (step, kind, from_state, to_state, body)
      where case y.step when 1 then x.lease is not null when 2 then x.state >= 7 else s.letter is not null end
      order by x.ordinality, y.step) z;
  seq := {schema}.append_items(v_log.namespace, v_log.kind, v_log.execution, v_log.flow, v_log.class, v_log.from_state,
    v_log.to_state, v_log.attempt, v_log.body, v_items);
  -- What the ends decided for others, one level deeper.
  if v_skipped is not null then
    perform {schema}.settle(v_skipped, p_now, true, p_policy);
    follows := true;
  end if;
end $$;
