-- Ordering keys: executions of one key run strictly one after the other.
--
-- A key has one place to run. Whoever has it keeps it in every phase until it has ended: in line, running, scheduled, suspended,
-- while it waits for children or a budget. Everybody else stands in `blocked` (waits_for 4), by place: the number drawn when
-- it came, or when the join it waited for let it go. The place is passed on under the key's row lock, as slots of a
-- concurrency key are, in the transaction that ends its holder or right after it; who moves from one phase that keeps the place
-- to another needs no lock. What a crash leaves is the same: rows that say who has the place, and a follow_up (kind 7).
--
-- An execution that gave up under the policy BLOCK goes on holding up those behind it: its letter carries the key's gate and
-- the place it had, until the letter is closed. Its redrive stands in line at that place, which is before all that wait.
-- Locks: creates only. older-servers: refused

-- How it stands with the ordering keys among these; the caller holds the keys' rows. taken: somebody has the place. head, place:
-- who waits first. dead: place of the first dead head, which holds up those behind it. All of it in one snapshot, so
-- that nobody who moves between phases is missed.
create function {schema}.key_order(p_gate uuid[])
returns table (gate uuid, namespace int, taken boolean, head uuid, place bigint, dead bigint) language plpgsql stable as $$
#variable_conflict use_column
begin
  return query select k.id, k.namespace,
    coalesce((select true from {schema}.ready r where r.gate = k.id limit 1),
      (select true from {schema}.lease y where y.gate = k.id limit 1),
      (select true from {schema}.scheduled s where s.gate = k.id limit 1),
      (select true from {schema}.suspension s where s.gate = k.id limit 1),
      (select true from {schema}.blocked b where b.gate = k.id and (b.waits_for = 3 or b.state = 6) limit 1), false),
    h.execution, h.place,
    (select d.gate_place from {schema}.dead_letter d where d.gate = k.id and d.state <> 3 order by d.gate_place limit 1)
  from unnest(p_gate) u (id)
  cross join lateral (
    select x.id, x.namespace from {schema}.concurrency_key x where x.id = u.id and x.ordered offset 0) k
  left join lateral (
    select b.execution, b.place from {schema}.blocked b where b.gate = k.id and b.waits_for = 4
    order by b.place limit 1) h on true;
end $$;

drop function {schema}.enter_line({schema}.ready[], timestamptz);
-- Puts rows in line: into ready, or behind the others of their key. What waits there already goes first. A key that somebody
-- else decides about at this moment is looked at right after: until then its rows wait.
-- p_run_at: when each is to run; one whose time has not come is scheduled, once nobody of its ordering key is before it.
-- p_kept: those with an ordering key have its place already, as has whoever ran before. seq: the place it had there; 0: a new
-- one. queued: those that stand in ready.
create function {schema}.enter_line(p_rows {schema}.ready[], p_now timestamptz, p_kept boolean default false,
  p_run_at timestamptz[] default null, out states smallint[], out queued uuid[])
language plpgsql volatile as $$
declare
  v_gates uuid[] := array(select distinct r.gate from unnest(p_rows) r where r.gate is not null);
  v_ordered uuid[];
  v_held uuid[];
begin
  perform pg_current_xact_id(); -- before any ready_seq is drawn
  v_ordered := array(
    select k.id from unnest(v_gates) u (id)
    cross join lateral (select x.id from {schema}.concurrency_key x where x.id = u.id and x.ordered offset 0) k);
  v_held := {schema}.hold_keys(array(
    select distinct r.gate from unnest(p_rows) r
    where r.gate is not null and not (r.gate = any (v_ordered) and (p_kept or r.attempt > 0 or r.resume))));
  with asked as materialized (
      select r.gate, r.ordinality n, nullif(r.seq, 0) place, o.ordered, o.kept, o.later,
        row_number() over (partition by r.gate, case when o.ordered then o.kept else o.later end
          order by case when not o.ordered then r.priority end, case when o.ordered then nullif(r.seq, 0) end, r.ordinality) nth
      from unnest(p_rows) with ordinality r
      cross join lateral (select r.gate = any (v_ordered) ordered) k
      cross join lateral (
        select coalesce(k.ordered, false) ordered, k.ordered and (p_kept or r.attempt > 0 or r.resume) kept,
          coalesce(p_run_at[r.ordinality] > p_now, false) later) o),
    free as materialized (
      select k.gate, case when coalesce((
          select true from {schema}.blocked b where b.gate = k.gate and b.waits_for = 2 limit 1), false)
        then 0 else k.room end room
      from {schema}.key_room(v_held) k where not k.gate = any (v_ordered)),
    before as materialized (select k.* from {schema}.key_order(case when v_ordered <> '{}' then v_held end) k)
    select array_agg((case
        when a.ordered and not a.kept and not coalesce(a.nth = 1 and not b.taken and (b.place is null or a.place < b.place)
          and (b.dead is null or a.place <= b.dead), false) then 1
        when a.later then 2
        when a.gate is null or a.ordered or a.nth <= f.room then 3
        else 1 end)::smallint order by a.n) into states
      from asked a left join free f on f.gate = a.gate left join before b on b.gate = a.gate;
  insert into {schema}.ready (class, priority, seq, execution, ready_at, kind, attempt, failures, reclaims, timeout_ms,
      start_by, deadline, redrive, flow, linked, resume, gate)
    select r.class, r.priority, nextval('{schema}.ready_seq'), r.execution, r.ready_at, r.kind, r.attempt, r.failures,
      r.reclaims, r.timeout_ms, r.start_by, r.deadline, r.redrive, r.flow, r.linked, r.resume, r.gate
    from unnest(p_rows) with ordinality r where states[r.ordinality] = 3;
  if 2 = any (states) then
    insert into {schema}.scheduled (execution, run_at, class, priority, kind, attempt, failures, reclaims, timeout_ms,
        start_by, deadline, redrive, flow, linked, resume, gate)
      select r.execution, p_run_at[r.ordinality], r.class, -r.priority, r.kind, r.attempt, r.failures, r.reclaims,
        r.timeout_ms, r.start_by, r.deadline, r.redrive, r.flow, r.linked, r.resume, r.gate
      from unnest(p_rows) with ordinality r where states[r.ordinality] = 2;
  end if;
  if 1 = any (states) then
    insert into {schema}.blocked (execution, state, waits_for, blocked_at, run_at, class, priority, kind, attempt, failures,
        reclaims, timeout_ms, start_by, deadline, redrive, flow, linked, resume, gate, place)
      select r.execution, 1, case when r.gate = any (v_ordered) then 4 else 2 end, p_now,
        case when r.gate = any (v_ordered) then p_run_at[r.ordinality] end, r.class, -r.priority, r.kind, r.attempt, r.failures,
        r.reclaims, r.timeout_ms, r.start_by, r.deadline, r.redrive, r.flow, r.linked, r.resume, r.gate,
        case when r.seq <> 0 then r.seq else nextval('{schema}.ready_seq') end
      from unnest(p_rows) with ordinality r where states[r.ordinality] = 1;
    insert into {schema}.follow_up (kind, subject)
      select 7, u from (
        select r.gate from unnest(p_rows) with ordinality r where states[r.ordinality] = 1
        except select u from unnest(v_held) u) x (u);
  end if;
  queued := array(select r.execution from unnest(p_rows) with ordinality r where states[r.ordinality] = 3);
end $$;

-- Gives the free places of the ordering keys among these to whoever is first; the caller holds the keys' rows. It is the first
-- or nobody: one that is locked may be canceled, or roll back, and is looked at again (late).
create function {schema}.pass_places(p_held uuid[], p_now timestamptz, out ordered uuid[], out classes int[], out gates uuid[],
  out items {schema}.log_item[], out late uuid[]) language plpgsql volatile as $$
declare
  v_free uuid[];
  v_heads uuid[];
  v_rows {schema}.blocked[];
begin
  select array_agg(k.gate),
      array_agg(k.gate) filter (where k.head is not null and not k.taken and (k.dead is null or k.place <= k.dead)),
      array_agg(k.head) filter (where k.head is not null and not k.taken and (k.dead is null or k.place <= k.dead))
    into ordered, v_free, v_heads from {schema}.key_order(p_held) k;
  if v_free is null then return; end if;
  with picked as materialized (
      select x.ctid from unnest(v_heads) u (id)
      cross join lateral (
        select b.ctid from {schema}.blocked b where b.execution = u.id and b.waits_for = 4 for update skip locked) x),
    gone as (delete from {schema}.blocked b where b.ctid = any (array(select p.ctid from picked p)) returning b)
    select array_agg(gone.b) into v_rows from gone;
  if coalesce(cardinality(v_rows), 0) < cardinality(v_free) then
    late := array(select u from unnest(v_free) u except select r.gate from unnest(v_rows) r);
  end if;
  if v_rows is null then return; end if;
  insert into {schema}.ready (class, priority, seq, execution, ready_at, kind, attempt, failures, reclaims, timeout_ms,
      start_by, deadline, redrive, flow, linked, resume, gate)
    select r.class, -r.priority, nextval('{schema}.ready_seq'), r.execution, p_now, r.kind, r.attempt, r.failures, r.reclaims,
      r.timeout_ms, r.start_by, r.deadline, r.redrive, r.flow, r.linked, r.resume, r.gate
    from unnest(v_rows) r where r.run_at is null or r.run_at <= p_now;
  insert into {schema}.scheduled (execution, run_at, class, priority, kind, attempt, failures, reclaims, timeout_ms, start_by,
      deadline, redrive, flow, linked, resume, gate)
    select r.execution, r.run_at, r.class, r.priority, r.kind, r.attempt, r.failures, r.reclaims, r.timeout_ms, r.start_by,
      r.deadline, r.redrive, r.flow, r.linked, r.resume, r.gate
    from unnest(v_rows) r where r.run_at > p_now;
  select array_agg(r.class) filter (where r.run_at is null or r.run_at <= p_now),
      array_agg(r.gate) filter (where r.run_at is null or r.run_at <= p_now),
      array_agg(row(k.namespace, 2, r.execution, r.flow, r.class, 1, case when r.run_at > p_now then 2 else 3 end, r.attempt,
        '{"cause":"key"}')::{schema}.log_item)
    into classes, gates, items
    from unnest(v_rows) r
    cross join lateral (select x.namespace from {schema}.concurrency_key x where x.id = r.gate offset 0) k;
end $$;

-- Fills the free slots of these keys with those that wait, most urgent first; and takes out of line what is too many there,
-- after a limit was lowered. Passes on the free places of ordering keys. Slots that the caller has freed count as free.
-- gates: one per element of classes.
-- p_surplus false: nobody has lowered a limit, so only keys that somebody waits for are looked at.
-- left_over: a key was somebody else's, or a row that should move was locked; a follow_up comes back to it.
create or replace function {schema}.balance_keys(p_gate uuid[], p_now timestamptz, p_surplus boolean default true, out classes int[],
  out gates uuid[], out items {schema}.log_item[], out left_over boolean) language plpgsql volatile as $$
declare
  v_held uuid[];
  v_namespace int[];
  v_room int[];
  v_rows {schema}.blocked[];
  v_surplus {schema}.ready[];
  v_late uuid[];
  v_passed record;
begin
  perform pg_current_xact_id();
  v_held := {schema}.hold_keys(p_gate);
  v_late := array(select u from unnest(p_gate) u except select u from unnest(v_held) u);
  left_over := v_late <> '{}';
  if left_over then
    insert into {schema}.follow_up (kind, subject, due_at)
      select 7, u, clock_timestamp() + interval '3 ms' from unnest(v_late) u;
  end if;
  -- Ordering keys, and then without them.
  select p.* into v_passed from {schema}.pass_places(v_held, p_now) p;
  if v_passed.ordered is not null then
    classes := v_passed.classes;
    gates := v_passed.gates;
    items := v_passed.items;
    if v_passed.late is not null then
      insert into {schema}.follow_up (kind, subject, due_at)
        select 7, u, clock_timestamp() + interval '20 ms' from unnest(v_passed.late) u;
      left_over := true;
    end if;
    v_held := array(select u from unnest(v_held) u where not u = any (v_passed.ordered));
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
  select classes || array_agg(r.class), gates || array_agg(r.gate) into classes, gates from unnest(v_rows) r;
  select items || array_agg(row(u.namespace, 2, y.execution, y.flow, y.class, y.from_state, y.to_state, y.attempt,
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
  v_keyed {schema}.blocked[];
  v_states smallint[];
  v_entered uuid[]; -- of those with a key: who stands in line
  v_later uuid[]; -- and whose time has not come
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
  v_keyed := array(select w from unnest(v_blocked) w where w.gate is not null and w.barrier = any (v_satisfied));
  if v_keyed <> '{}' then
    v_states := ({schema}.enter_line(array(
      select row(w.class, -w.priority, 0, w.execution, p_now, w.kind, w.attempt, w.failures, w.reclaims, w.timeout_ms,
          w.start_by, w.deadline, w.redrive, w.flow, w.linked, w.resume, w.gate)::{schema}.ready
      from unnest(v_keyed) w), p_now, false, array(select w.run_at from unnest(v_keyed) w))).states;
    v_entered := array(select w.execution from unnest(v_keyed) with ordinality w where v_states[w.ordinality] = 3);
    v_later := array(select w.execution from unnest(v_keyed) with ordinality w where v_states[w.ordinality] = 2);
    left_over := true; -- perhaps: a key that was somebody else's is looked at again
  end if;
  select array_agg(w.execution), array_agg(w.class), array_agg(w.flow), array_agg(w.barrier)
    into released, classes, flows, causes
    from unnest(v_blocked) w where w.barrier = any (v_satisfied)
      and case when w.gate is null then w.run_at is null or w.run_at <= p_now else w.execution = any (v_entered) end;
  if coalesce(cardinality(released), 0) < cardinality(v_satisfied) then
    insert into {schema}.scheduled (execution, run_at, class, priority, kind, attempt, failures, reclaims, timeout_ms,
        start_by, deadline, redrive, flow, linked, resume)
      select w.execution, w.run_at, w.class, w.priority, w.kind, w.attempt, w.failures, w.reclaims, w.timeout_ms,
        w.start_by, w.deadline, w.redrive, w.flow, w.linked, w.resume
      from unnest(v_blocked) w where w.barrier = any (v_satisfied) and w.run_at > p_now and w.gate is null;
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
      (2::smallint, w.state, (case when w.gate is null then case when w.run_at > p_now then 2 else 3 end
          when w.execution = any (v_entered) then 3 when w.execution = any (v_later) then 2 else 1 end)::smallint,
        '{"cause":"join","join":"' || b.id || '"}')
    ) y (kind, from_state, to_state, body)
    where y.kind > 2 or w.barrier = any (v_satisfied);
end $$;

-- One batch of kind 9: what waited for a budget that does not bound it any more, or is not used up any more, enters line again;
-- or waits for another that is used up and bounds it. Then whom its breach had parked goes on (policy `parked`): all, or as many
-- as what was given back is enough for (step 1, with what is left of it in `room`).
create or replace function {schema}.bring_back(p_item {schema}.follow_up, out handled int, out classes int[],
  out items {schema}.log_item[], out left_over boolean) language plpgsql volatile as $$
declare
  c_batch constant int := 250;
  v_now timestamptz := clock_timestamp();
  v_budget {schema}.budget;
  v_page uuid[];
  v_bound uuid[];
  v_by uuid[];
  v_rows {schema}.blocked[];
  v_gone {schema}.suspension[];
  v_entered record;
  v_room jsonb := p_item.policy -> 'room';
  v_one record;
  v_fits uuid[];
  v_moved int;
begin
  handled := 0;
  left_over := false;
  select b.* into v_budget from {schema}.budget b where b.id = p_item.subject;
  if p_item.policy is null then
    -- Who waits for work of a whole lane: what entered the line meanwhile stands there already.
    if p_item.position = '00000000-0000-0000-0000-000000000000' and not v_budget.exhausted then
      classes := array(
        select c.id from {schema}.budget_attachment a
        join {schema}.lane l on l.namespace = a.namespace and (a.kind = 1 or l.id = a.lane)
        cross join lateral (select y.id from {schema}.claim_class y where y.lane = l.id offset 0) c
        where a.budget = p_item.subject and a.kind <= 2);
    end if;
    v_page := array(
      select b.execution from {schema}.blocked b where b.budget = p_item.subject and b.execution > p_item.position
      order by b.execution limit c_batch);
    handled := cardinality(v_page);
    -- By this budget first: then nothing changes. Another one is held until the commit, as take_out_of_line does.
    if coalesce((select true from {schema}.spent s where s.namespace = v_budget.namespace limit 1), false) then
      select array_agg(x.execution), array_agg(x.budget) into v_bound, v_by from (
        select distinct on (u.id) u.id execution, s.budget from unnest(v_page) u (id)
        cross join lateral (select y.class, y.flow from {schema}.blocked y where y.execution = u.id offset 0) b
        cross join lateral {schema}.hold_spent(v_budget.namespace, b.class, b.flow, u.id) s
        order by u.id, s.budget <> p_item.subject, s.budget) x;
    end if;
    with held as materialized (
        select x.ctid from unnest(v_page) u (id)
        cross join lateral (
          select b.ctid from {schema}.blocked b where b.execution = u.id and b.budget = p_item.subject for update skip locked) x
        where v_bound is null or not u.id = any (v_bound)),
      gone as (delete from {schema}.blocked b where b.ctid = any (array(select h.ctid from held h)) returning b)
      select array_agg(gone.b order by (gone.b).execution) into v_rows from gone;
    with held as materialized (
        select x.ctid, u.budget from unnest(v_bound, v_by) u (id, budget)
        cross join lateral (
          select b.ctid from {schema}.blocked b where b.execution = u.id and b.budget = p_item.subject for update skip locked) x)
      update {schema}.blocked b set budget = h.budget from held h where b.ctid = h.ctid;
    get diagnostics v_moved = row_count;
    -- Somebody may roll back what he has locked.
    p_item.again := p_item.again or coalesce(cardinality(v_rows), 0) + v_moved < handled;
    if v_rows is not null then
      select e.states, e.queued into v_entered from {schema}.enter_line(array(
        select row(b.class, -b.priority, 0, b.execution, v_now, b.kind, b.attempt, b.failures, b.reclaims, b.timeout_ms,
            b.start_by, b.deadline, b.redrive, b.flow, b.linked, b.resume, b.gate)::{schema}.ready
        from unnest(v_rows) b), v_now, true) e;
      left_over := 1 = any (v_entered.states); -- perhaps: a key that was somebody else's is looked at again
      classes := classes || array(select b.class from unnest(v_rows) b where b.execution = any (v_entered.queued));
      select items || array_agg(row(v_budget.namespace, 2, b.execution, b.flow, b.class, 1, 3, b.attempt,
          '{"cause":"budget"}')::{schema}.log_item) into items
        from unnest(v_rows) b where b.execution = any (v_entered.queued);
    end if;
    p_item.position := v_page[handled];
    if handled < c_batch then
      p_item.position := '00000000-0000-0000-0000-000000000000';
      p_item.policy := '{"parked":true}';
    end if;
    update {schema}.follow_up u set position = p_item.position, policy = p_item.policy, again = p_item.again
      where u.seq = p_item.seq;
    return;
  end if;
  v_page := array(
    select s.execution from {schema}.suspension s where s.budget = p_item.subject and s.execution > p_item.position
    order by s.execution limit c_batch);
  handled := cardinality(v_page);
  v_fits := v_page;
  if p_item.step = 1 then
    v_fits := '{}';
    if v_room is null then
      select jsonb_object_agg(y.dimension, (y.hard - y.used)::text) into v_room
        from {schema}.budget_use(array[p_item.subject]) y;
    end if;
    for v_one in
      select u.id, coalesce(r.answer -> 'needs', '{}') needs from unnest(v_page) u (id)
      cross join lateral (select y.lease from {schema}.parked y where y.execution = u.id offset 0) p
      left join lateral (
        select y.answer from {schema}.usage_report y where y.execution = u.id and y.kind = 3 and y.key = p.lease::text) r on true
    loop
      continue when exists (
        select from jsonb_each_text(v_one.needs) y where y.value::numeric > (v_room ->> y.key)::numeric);
      v_fits := v_fits || v_one.id;
      select coalesce(jsonb_object_agg(y.key, (y.value::numeric - coalesce((v_one.needs ->> y.key)::numeric, 0))::text), '{}')
        into v_room from jsonb_each_text(v_room) y;
    end loop;
  end if;
  -- Whom it bounds, used up as it is again, waits for the next time.
  if v_budget.exhausted then
    v_fits := array(
      select u.id from unnest(v_fits) u (id)
      cross join lateral (select y.class, y.flow from {schema}.suspension y where y.execution = u.id offset 0) x
      where not p_item.subject = any (array(select {schema}.hold_spent(v_budget.namespace, x.class, x.flow, u.id))));
  end if;
  with held as materialized (
      select x.ctid from unnest(v_fits) u (id)
      cross join lateral (
        select s.ctid from {schema}.suspension s where s.execution = u.id and s.budget = p_item.subject
        for update skip locked) x),
    gone as (delete from {schema}.suspension s where s.ctid = any (array(select h.ctid from held h)) returning s)
    select array_agg(gone.s order by (gone.s).execution) into v_gone from gone;
  if v_gone is not null then
    select l.classes, l.states, l.items into v_entered from {schema}.leave_suspension(v_gone, 5::smallint, v_now) l;
    classes := classes || v_entered.classes;
    items := items || v_entered.items;
    left_over := 1 = any (v_entered.states);
  end if;
  p_item.again := p_item.again or coalesce(cardinality(v_gone), 0) < cardinality(v_fits);
  if handled = c_batch then
    update {schema}.follow_up u set position = v_page[handled], again = p_item.again,
        policy = '{"parked":true}' || case when v_room is null then '{}' else jsonb_build_object('room', v_room) end
      where u.seq = p_item.seq;
  elsif p_item.again then
    update {schema}.follow_up u set position = default, policy = null, again = false, due_at = v_now + interval '50 ms'
      where u.seq = p_item.seq;
  else
    delete from {schema}.follow_up u where u.seq = p_item.seq;
    -- What was let go after the budget was used up once more.
    if v_budget.exhausted then
      insert into {schema}.follow_up (kind, subject) values (8, p_item.subject);
    end if;
  end if;
end $$;

-- Work whose time has come enters line, or waits for its concurrency key.
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
  v_behind uuid[]; -- of those that expire: who stood behind others of its ordering key, and where
  v_place bigint[];
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
    from {schema}.timer t where not t.execution = any (v_gone) order by t.due_at limit 1;
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

-- Changes priority and run-at of waiting work: a new place in line, with a new seq.
-- verdict: changed | wrong_state | not_found. Null leaves as it is; a run-at that has passed makes it claimable. The time
-- to live of work that never started counts from the later of creation and earliest start, so it moves along.
-- classes: of those that came in line for it; follows: a key is to be looked at.
create or replace function {schema}.change_execution(p_namespace int, p_execution uuid, p_priority smallint, p_run_at timestamptz,
  p_reason text, out verdict text, out state smallint, out classes int[], out follows boolean) language plpgsql volatile as $$
declare
  v_now timestamptz;
  v_ready {schema}.ready;
  v_waiting {schema}.scheduled;
  v_blocked {schema}.blocked;
  v_from smallint;
  v_items {schema}.log_item[];
begin
  if not exists (select 1 from {schema}.execution e where e.id = p_execution and e.namespace = p_namespace) then
    verdict := 'not_found';
    return;
  end if;
  for i in 1 .. 100 loop
    v_waiting := null;
    delete from {schema}.ready r where r.execution = p_execution returning r.* into v_ready;
    v_now := clock_timestamp();
    if found then
      v_from := 3;
      v_waiting := row(v_ready.execution, coalesce(p_run_at, v_now), v_ready.class,
        coalesce(p_priority, -v_ready.priority), v_ready.kind, v_ready.attempt, v_ready.failures, v_ready.reclaims,
        v_ready.timeout_ms, v_ready.start_by, v_ready.deadline, v_ready.redrive, v_ready.flow, v_ready.linked, v_ready.resume,
        v_ready.gate);
    else
      delete from {schema}.scheduled s where s.execution = p_execution returning s.* into v_waiting;
      if found then
        v_from := 2;
        v_waiting.run_at := coalesce(p_run_at, v_waiting.run_at);
        v_waiting.priority := coalesce(p_priority, v_waiting.priority);
      else
        -- What waits for its concurrency key or a budget and is to run later leaves that line, and comes back to it then.
        if p_run_at > v_now then
          delete from {schema}.blocked b where b.execution = p_execution and b.waits_for in (2, 3) returning b.* into v_blocked;
          if found then
            v_from := 1;
            v_waiting := row(v_blocked.execution, p_run_at, v_blocked.class, coalesce(p_priority, v_blocked.priority),
              v_blocked.kind, v_blocked.attempt, v_blocked.failures, v_blocked.reclaims, v_blocked.timeout_ms,
              v_blocked.start_by, v_blocked.deadline, v_blocked.redrive, v_blocked.flow, v_blocked.linked, v_blocked.resume,
              v_blocked.gate);
          end if;
        end if;
      end if;
      if v_waiting.execution is null then
        -- What waits for a join or its ordering key keeps waiting; it is where it goes afterwards that changes.
        update {schema}.blocked b set priority = coalesce(p_priority, b.priority),
            run_at = case when b.state = 1 and b.waits_for in (1, 4) then coalesce(p_run_at, b.run_at) end,
            start_by = case when b.attempt > 0 or p_run_at is null or b.start_by is null then b.start_by else (
              select greatest(p_run_at, e.created_at) + (e.start_by - greatest(e.run_at, e.created_at))
              from {schema}.execution e where e.id = p_execution) end
          where b.execution = p_execution returning b.* into v_blocked;
        if found then
          update {schema}.timer t set due_at = least(v_blocked.start_by, v_blocked.deadline)
            where t.execution = p_execution and v_blocked.attempt = 0;
          state := v_blocked.state;
          perform {schema}.append_log(array[p_namespace], array[2::smallint], array[p_execution], array[v_blocked.flow],
            array[v_blocked.class], array[state], array[state], array[v_blocked.attempt],
            array[json_build_object('priority', v_blocked.priority, 'run_at', v_blocked.run_at, 'cause', 'operator',
              'reason', p_reason)::text]);
          verdict := 'changed';
          return;
        end if;
      end if;
    end if;
    if v_waiting.execution is not null then
      state := case when v_waiting.run_at > v_now then 2 else 3 end;
      if p_run_at is not null and v_waiting.start_by is not null and v_waiting.attempt = 0 then
        select greatest(p_run_at, e.created_at) + (e.start_by - greatest(e.run_at, e.created_at)) into v_waiting.start_by
          from {schema}.execution e where e.id = p_execution;
        update {schema}.timer t set due_at = least(v_waiting.start_by, v_waiting.deadline) where t.execution = p_execution;
      end if;
      if state = 2 then
        insert into {schema}.scheduled select v_waiting.*;
        if v_from = 3 and v_waiting.gate is not null then
          select b.items, b.classes, b.left_over into v_items, classes, follows
            from {schema}.balance_keys(array[v_waiting.gate], v_now, false) b;
        end if;
      elsif v_from = 2 and v_waiting.gate is not null then
        state := ({schema}.enter_line(array[row(v_waiting.class, -v_waiting.priority, 0, v_waiting.execution, v_now,
          v_waiting.kind, v_waiting.attempt, v_waiting.failures, v_waiting.reclaims, v_waiting.timeout_ms, v_waiting.start_by,
          v_waiting.deadline, v_waiting.redrive, v_waiting.flow, v_waiting.linked, v_waiting.resume,
          v_waiting.gate)::{schema}.ready], v_now, true)).states[1];
        follows := state = 1; -- perhaps: a key that was somebody else's is looked at again
      else
        insert into {schema}.ready (class, priority, seq, execution, ready_at, kind, attempt, failures, reclaims, timeout_ms,
            start_by, deadline, redrive, flow, linked, resume, gate)
          values (v_waiting.class, -v_waiting.priority, nextval('{schema}.ready_seq'), v_waiting.execution,
            case v_from when 3 then v_ready.ready_at else v_now end, v_waiting.kind, v_waiting.attempt, v_waiting.failures,
            v_waiting.reclaims, v_waiting.timeout_ms, v_waiting.start_by, v_waiting.deadline, v_waiting.redrive,
            v_waiting.flow, v_waiting.linked, v_waiting.resume, v_waiting.gate);
      end if;
      perform {schema}.append_items(array[p_namespace], array[2::smallint], array[p_execution], array[v_waiting.flow],
        array[v_waiting.class], array[v_from], array[state], array[v_waiting.attempt],
        array[json_build_object('priority', v_waiting.priority, 'run_at', case when state = 2 then v_waiting.run_at end,
          'cause', 'operator', 'reason', p_reason)::text], v_items);
      verdict := 'changed';
      return;
    end if;
    state := {schema}.state_of(p_execution);
    if state is not null and state not in (1, 2, 3, 6) then
      verdict := 'wrong_state';
      return;
    end if;
  end loop;
  raise exception using errcode = '55P03', message = 'the execution kept moving';
end $$;

drop function {schema}.create_executions(boolean, uuid[], int[], int[], text[], bytea[], smallint[], timestamptz[], bigint[],
  bigint[], timestamptz[], bigint[], int[], bigint[], real[], bigint[], int[], boolean[], jsonb[], text[], int[], int[],
  bytea, uuid[], uuid[], uuid[], uuid[], boolean[], uuid[], uuid[], boolean, int, text[]);

-- Creates many executions, each on its own; the nth answer belongs to the nth item.
-- verdict: created | duplicate (the execution that exists is answered) | reused | closed (its lane takes no new work) |
-- what enter_flows refuses with.
-- Items are distinct by request id and by execution id: the caller sees to that. An execution id that the client chose
-- serves as its request id when it has none. Request keys are inserted in sorted
-- order, so two calls with the same keys queue and cannot deadlock; whoever comes second reads the first one's key in a
-- statement of its own, after the wait. Inputs come as one byte string and are cut by position and length: one binary
-- parameter instead of an escaped array.
-- p_atomic: any refusal rolls everything back, and the answers travel in the error's detail.
-- p_flow, p_optional, p_parent, p_barrier (the join it waits for), p_key (the concurrency key), p_ordering (the ordering
-- key), p_dead_head, p_failure_events and p_hops may be null as a whole.
-- A run made anew inherits from the one before what it reacts to, its slot, its ordering key and its failure events; one
-- that was its key's dead head takes that place again.
-- p_entered: the caller has locked the flows and looked at them.
create function {schema}.create_executions(p_atomic boolean, p_id uuid[], p_namespace int[], p_class int[],
  p_request_id text[], p_hash bytea[], p_priority smallint[], p_run_at timestamptz[], p_delay_ms bigint[], p_ttl_ms bigint[],
  p_deadline timestamptz[], p_timeout_ms bigint[], p_retry_max int[], p_retry_initial_ms bigint[], p_retry_factor real[],
  p_retry_cap_ms bigint[], p_reclaims_max int[], p_count_lost boolean[], p_tags jsonb[], p_input_type text[],
  p_input_at int[], p_input_length int[], p_input bytea, p_letter uuid[],
  p_root uuid[], p_redrive_of uuid[], p_flow uuid[], p_optional boolean[], p_parent uuid[], p_barrier uuid[],
  p_entered boolean, p_max_members int, p_key text[], p_ordering text[] default null, p_dead_head smallint[] default null,
  p_failure_events jsonb[] default null, p_hops int[] default null)
returns table (ord int, verdict text, execution uuid, state smallint) language plpgsql volatile as $$
#variable_conflict use_column
declare
  v_now timestamptz := clock_timestamp();
  v_run_at timestamptz[];
  v_start_by timestamptz[];
  v_refused text[];
  v_keyed uuid[];
  v_fresh boolean[];
  v_made uuid[];
  v_state smallint[];
  v_timed boolean;
  v_named boolean;
  v_seq bigint;
  v_gate uuid[];
  v_at int[];
  v_entering {schema}.ready[];
  v_entered smallint[];
  v_subscription int[];
  v_subscription_version bigint[];
  v_event uuid[];
  v_batch uuid[];
  v_batch_index int[];
  v_batch_size int[];
begin
  perform pg_current_xact_id(); -- before any ready_seq is drawn: the safe lower bound of claims rests on it
  -- Spans count from the database's now; the time to start counts from the earliest start.
  select array_agg(t.run_at order by u.ordinality),
      array_agg(greatest(t.run_at, v_now) + u.ttl_ms * interval '1 ms' order by u.ordinality),
      array_agg(case when u.barrier is not null then 1 when t.run_at > v_now then 2 else 3 end::smallint order by u.ordinality),
      bool_or(u.ttl_ms is not null or u.deadline is not null), bool_or(u.request_id is not null)
    into v_run_at, v_start_by, v_state, v_timed, v_named
    from unnest(p_run_at, p_delay_ms, p_ttl_ms, p_barrier, p_deadline, p_request_id) with ordinality
      u (run_at, delay_ms, ttl_ms, barrier, deadline, request_id)
    cross join lateral (select coalesce(u.run_at, v_now + u.delay_ms * interval '1 ms') run_at) t;
  select array_agg(case when l.state = 3 then 'closed' end order by u.ordinality) into v_refused
    from unnest(p_class) with ordinality u (class) join {schema}.claim_class c on c.id = u.class
    join {schema}.lane l on l.id = c.lane;
  if p_flow is not null and not p_entered then
    select array_agg(coalesce(e.refused, u.refused) order by u.ordinality) into v_refused
      from unnest(v_refused, p_flow, p_namespace) with ordinality u (refused, flow, namespace)
      left join (select e.* from (
          select array_agg(y.flow) flows, array_agg(y.namespace) namespaces
          from unnest(p_flow, p_namespace) y (flow, namespace) where y.flow is not null) y
        cross join lateral {schema}.enter_flows(y.flows, y.namespaces, p_max_members) e) e
        on e.flow = u.flow and e.namespace = u.namespace;
  end if;
  if v_named then
    with made as (
      insert into {schema}.request_key (namespace, request_id, execution, hash, created_at)
        select u.namespace, u.request_id, u.id, u.hash, v_now
        from unnest(p_namespace, p_request_id, p_id, p_hash, v_refused) u (namespace, request_id, id, hash, refused)
        where u.request_id is not null and u.refused is null
        order by u.namespace, u.request_id on conflict do nothing
        returning request_key.execution)
      select array_agg(made.execution) into v_keyed from made;
  end if;
  select array_agg(u.refused is null and (u.request_id is null or k.id is not null) order by u.ordinality) into v_fresh
    from unnest(p_id, p_request_id, v_refused) with ordinality u (id, request_id, refused)
    left join unnest(v_keyed) k (id) on k.id = u.id;
  if cardinality(array_remove(p_redrive_of, null)) > 0 then
    select array_agg(o.subscription order by u.n), array_agg(o.subscription_version order by u.n),
        array_agg(o.event order by u.n), array_agg(coalesce(u.hops, o.hops) order by u.n), array_agg(o.batch order by u.n),
        array_agg(o.batch_index order by u.n), array_agg(o.batch_size order by u.n),
        array_agg(coalesce(u.ordering, o.ordering_key) order by u.n), array_agg(coalesce(u.dead_head, o.dead_head) order by u.n),
        array_agg(coalesce(u.failure_events, o.failure_events) order by u.n)
      into v_subscription, v_subscription_version, v_event, p_hops, v_batch, v_batch_index, v_batch_size, p_ordering,
        p_dead_head, p_failure_events
      from unnest(p_redrive_of, p_ordering, p_dead_head, p_failure_events, p_hops) with ordinality
        u (id, ordering, dead_head, failure_events, hops, n)
      left join lateral (select x.* from {schema}.execution x where x.id = u.id offset 0) o on true;
  end if;
  with made as (
    insert into {schema}.execution (id, namespace, class, request_id, priority, run_at, start_by, deadline, timeout_ms,
        retry_max, retry_initial_ms, retry_factor, retry_cap_ms, reclaims_max, count_lost, tags, input_type, input, letter,
        root, redrive_of, created_at, flow, optional, parent, concurrency_key, ordering_key, dead_head, failure_events, hops,
        subscription, subscription_version, event, batch, batch_index, batch_size)
      select u.id, u.namespace, u.class, nullif(u.request_id, u.id::text), u.priority, u.run_at, u.start_by, u.deadline,
        u.timeout_ms, u.retry_max, u.retry_initial_ms, u.retry_factor, u.retry_cap_ms, u.reclaims_max, u.count_lost, u.tags,
        u.input_type, case when u.input_type is not null then substring(p_input from u.input_at + 1 for u.input_length) end,
        u.letter, u.root, u.redrive_of, v_now, u.flow, coalesce(u.optional, false), u.parent, u.key,
        u.ordering, u.dead_head, u.failure_events, coalesce(u.hops, 0), u.subscription, u.subscription_version, u.event, u.batch,
        u.batch_index, u.batch_size
      from unnest(p_id, p_namespace, p_class, p_request_id, p_priority, v_run_at, v_start_by, p_deadline, p_timeout_ms,
        p_retry_max, p_retry_initial_ms, p_retry_factor, p_retry_cap_ms, p_reclaims_max, p_count_lost, p_tags, p_input_type,
        p_input_at, p_input_length, p_letter, p_root, p_redrive_of, p_flow, p_optional, p_parent, p_key, p_ordering,
        p_dead_head, p_failure_events, p_hops, v_subscription, v_subscription_version, v_event, v_batch, v_batch_index,
        v_batch_size, v_fresh)
        u (id, namespace, class, request_id, priority, run_at, start_by, deadline, timeout_ms, retry_max, retry_initial_ms,
          retry_factor, retry_cap_ms, reclaims_max, count_lost, tags, input_type, input_at, input_length, letter, root,
          redrive_of, flow, optional, parent, key, ordering, dead_head, failure_events, hops, subscription, subscription_version,
          event, batch, batch_index, batch_size, fresh)
      where u.fresh order by u.id on conflict do nothing returning id)
    select array_agg(made.id) into v_made from made;
  -- An execution id that somebody chose twice: the key made for the second must not stay behind.
  if coalesce(cardinality(v_made), 0) < cardinality(array_positions(v_fresh, true)) then
    delete from {schema}.request_key k using unnest(p_namespace, p_request_id, p_id, v_fresh) u (namespace, request_id, id, fresh)
      where u.fresh and k.namespace = u.namespace and k.request_id = u.request_id
        and k.execution = u.id and not u.id = any (coalesce(v_made, '{}'));
    select array_agg(f.fresh and m.id is not null order by f.ordinality) into v_fresh
      from unnest(p_id, v_fresh) with ordinality f (id, fresh) left join unnest(v_made) m (id) on m.id = f.id;
  end if;
  if p_atomic and cardinality(array_positions(v_fresh, true)) between 1 and cardinality(p_id) - 1 then
    -- Duplicates are no refusal; anything else is.
    if exists (select 1 from {schema}.creation_answers(p_id, p_namespace, p_request_id, p_hash, v_refused, v_fresh) a
        where a.verdict not in ('created', 'duplicate')) then
      raise exception using errcode = 'TR001', message = 'atomic creation refused', detail = (select json_agg(a order by a.ord)
        from {schema}.creation_answers(p_id, p_namespace, p_request_id, p_hash, v_refused, v_fresh) a);
    end if;
  end if;
  if v_made is not null then
    if p_key is not null or p_ordering is not null then
      -- A key is met for the first time once: two who do queue here, in order of the keys, and cannot deadlock.
      select array_agg(coalesce({schema}.gate_of(c.lane, u.key), {schema}.order_gate_of(c.lane, u.ordering)) order by u.n)
        into v_gate
        from unnest(p_class, p_key, p_ordering) with ordinality u (class, key, ordering, n)
        join {schema}.claim_class c on c.id = u.class;
      insert into {schema}.concurrency_key (id, namespace, lane, key, ordered)
        select distinct on (u.gate) u.gate, u.namespace, c.lane, coalesce(u.key, u.ordering), u.ordering is not null
        from unnest(v_gate, p_namespace, p_class, p_key, p_ordering, v_fresh) u (gate, namespace, class, key, ordering, fresh)
        join {schema}.claim_class c on c.id = u.class
        where u.fresh and u.gate is not null order by u.gate on conflict do nothing;
      -- One of an ordering key stands in line whenever it is to run.
      select array_agg(u.ordinality::int order by u.ordinality), array_agg(row(u.class, -u.priority, coalesce(d.gate_place, 0),
          u.id, v_now, case when u.letter is null then 1 else 5 end, 0, 0, 0, u.timeout_ms, u.start_by, u.deadline,
          u.letter is not null, u.flow, u.flow is not null or u.parent is not null, false, u.gate)::{schema}.ready
          order by u.ordinality)
        into v_at, v_entering
        from unnest(p_id, p_class, p_priority, p_timeout_ms, v_start_by, p_deadline, v_state, p_letter, v_fresh, p_flow,
          p_parent, v_gate, p_ordering) with ordinality
          u (id, class, priority, timeout_ms, start_by, deadline, state, letter, fresh, flow, parent, gate, ordering)
        left join lateral (
          select x.gate_place from {schema}.dead_letter x where x.id = u.letter and x.gate = u.gate and x.state <> 3 offset 0) d
          on true
        where u.fresh and u.gate is not null and (u.state = 3 or (u.state = 2 and u.ordering is not null));
      if v_at is not null then
        v_entered := ({schema}.enter_line(v_entering, v_now, false, array(select v_run_at[u] from unnest(v_at) u))).states;
        for i in 1 .. cardinality(v_at) loop v_state[v_at[i]] := v_entered[i]; end loop;
      end if;
    end if;
    if 3 = any (v_state) then
      insert into {schema}.ready (class, priority, seq, execution, ready_at, kind, attempt, failures, reclaims, timeout_ms,
          start_by, deadline, redrive, flow, linked)
        select u.class, -u.priority, nextval('{schema}.ready_seq'), u.id, v_now,
          case when u.letter is null then 1 else 5 end, 0, 0, 0, u.timeout_ms, u.start_by, u.deadline,
          u.letter is not null, u.flow, u.flow is not null or u.parent is not null
        from unnest(p_id, p_class, p_priority, p_timeout_ms, v_start_by, p_deadline, v_state, p_letter, v_fresh, p_flow,
          p_parent, v_gate) u (id, class, priority, timeout_ms, start_by, deadline, state, letter, fresh, flow, parent, gate)
        where u.fresh and u.state = 3 and u.gate is null;
    end if;
    if 2 = any (v_state) then
      insert into {schema}.scheduled (execution, run_at, class, priority, kind, attempt, failures, reclaims, timeout_ms,
          start_by, deadline, redrive, flow, linked, gate)
        select u.id, u.run_at, u.class, u.priority, case when u.letter is null then 1 else 5 end, 0, 0, 0, u.timeout_ms,
          u.start_by, u.deadline, u.letter is not null, u.flow, u.flow is not null or u.parent is not null, u.gate
        from unnest(p_id, p_class, p_priority, p_timeout_ms, v_start_by, p_deadline, v_run_at, v_state, p_letter, v_fresh, p_flow,
          p_parent, v_gate, p_ordering) u (id, class, priority, timeout_ms, start_by, deadline, run_at, state, letter, fresh,
          flow, parent, gate, ordering)
        where u.fresh and u.state = 2 and u.ordering is null;
    end if;
    if p_barrier is not null then
      insert into {schema}.blocked (execution, state, barrier, blocked_at, run_at, class, priority, kind, attempt, failures,
          reclaims, timeout_ms, start_by, deadline, redrive, flow, linked, resume, gate)
        select u.id, 1, u.barrier, v_now, u.run_at, u.class, u.priority, case when u.letter is null then 1 else 5 end, 0, 0,
          0, u.timeout_ms, u.start_by, u.deadline, u.letter is not null, u.flow, true, false, u.gate
        from unnest(p_id, p_barrier, p_class, p_priority, p_timeout_ms, v_start_by, p_deadline, v_run_at, p_letter, v_fresh,
          p_flow, v_gate) u (id, barrier, class, priority, timeout_ms, start_by, deadline, run_at, letter, fresh, flow, gate)
        where u.fresh and u.barrier is not null;
    end if;
    if p_flow is not null then
      insert into {schema}.flow_live (flow, execution)
        select u.flow, u.id from unnest(p_flow, p_id, v_fresh) u (flow, id, fresh) where u.fresh and u.flow is not null;
      update {schema}.flow f set began = true, settled_at = null, seal_at = null,
          state = case when f.state = 2 then 1 else f.state end
        where f.id = any (array(
            select u.flow from unnest(p_flow, v_fresh) u (flow, fresh) where u.fresh and u.flow is not null))
          and (not f.began or f.state = 2);
    end if;
    if v_timed then
      insert into {schema}.timer (execution, due_at)
        select u.id, least(u.start_by, u.deadline)
        from unnest(p_id, v_start_by, p_deadline, v_fresh) u (id, start_by, deadline, fresh)
        where u.fresh and (u.start_by is not null or u.deadline is not null);
    end if;
    select {schema}.append_log(array_agg(u.namespace), array_agg(1::smallint), array_agg(u.id), array_agg(u.flow),
        array_agg(u.class), array_agg(null::smallint), array_agg(u.state), array_agg(0), array_agg(null::text))
      into v_seq
      from unnest(p_id, p_namespace, p_class, v_state, v_fresh, p_flow) u (id, namespace, class, state, fresh, flow)
      where u.fresh;
  end if;
  if cardinality(v_made) = cardinality(p_id) then
    return query select u.ordinality::int, 'created', u.id, u.state
      from unnest(p_id, v_state) with ordinality u (id, state) order by 1;
  else
    return query select * from {schema}.creation_answers(p_id, p_namespace, p_request_id, p_hash, v_refused, v_fresh);
  end if;
end $$;

-- Makes new executions of everything that was skipped because of p_old, which p_new runs again, with fresh joins. Slots of
-- upstreams that are not made anew are filled from their recorded outcomes, or wait for them. The flow is active again.
create or replace function {schema}.redo_skipped(p_namespace int, p_flow uuid, p_old uuid, p_new uuid, out made uuid[],
  out woken int[], out follows boolean) language plpgsql volatile as $$
declare
  v_now timestamptz := clock_timestamp();
  v_old uuid[];
  v_barriers uuid[];
  v_upstreams uuid[];
  v_held uuid[];
  v_was_settled boolean;
  v_fold record;
begin
  with recursive skipped as (
      select s.downstream id from {schema}.slot s where s.upstream = p_old and s.is_edge
      union
      select s.downstream from skipped k join {schema}.slot s on s.upstream = k.id and s.is_edge
      where exists (select from {schema}.outcome o where o.execution = k.id and o.state = 11))
    select array_agg(k.id order by k.id), array_agg({schema}.uuid_v7() order by k.id) into v_old, made
      from skipped k
      where exists (select from {schema}.outcome o where o.execution = k.id and o.state = 11)
        and not exists (select from {schema}.execution e where e.redrive_of = k.id);
  v_old := coalesce(v_old, '{}');
  made := coalesce(made, '{}');
  -- Skips go a level per transaction: while some are still to come, they cannot be made anew. The caller tries again.
  if exists (select from unnest(v_old || p_old) u (id)
      cross join lateral (
        select y.barrier from {schema}.slot y where y.upstream = u.id and y.is_edge and y.outcome is null offset 0) s
      cross join lateral (select y.state from {schema}.barrier y where y.id = s.barrier offset 0) b where b.state = 1) then
    raise exception using errcode = '55P03', message = 'what the end of the member brings about is still under way';
  end if;
  insert into {schema}.execution (id, namespace, class, priority, run_at, start_by, deadline, timeout_ms, retry_max,
      retry_initial_ms, retry_factor, retry_cap_ms, reclaims_max, count_lost, tags, input_type, input, root, redrive_of,
      created_at, flow, optional, parent, concurrency_key, ordering_key, dead_head, failure_events, hops, subscription,
      subscription_version, event, batch, batch_index, batch_size)
    select u.new, e.namespace, e.class, e.priority, case when e.run_at > v_now then e.run_at end,
      greatest(v_now, e.run_at) + (e.start_by - greatest(e.run_at, e.created_at)),
      case when e.deadline > v_now then e.deadline end, e.timeout_ms, e.retry_max, e.retry_initial_ms, e.retry_factor,
      e.retry_cap_ms, e.reclaims_max, e.count_lost, e.tags, e.input_type, e.input, coalesce(e.root, e.id), e.id, v_now,
      e.flow, e.optional, e.parent, e.concurrency_key, e.ordering_key, e.dead_head, e.failure_events, e.hops, e.subscription,
      e.subscription_version, e.event, e.batch, e.batch_index, e.batch_size
    from unnest(v_old, made) u (old, new)
    cross join lateral (select y.* from {schema}.execution y where y.id = u.old offset 0) e;
  insert into {schema}.flow_live (flow, execution) select p_flow, u from unnest(made) u;
  -- Slots first, so that their sources can be counted; upstreams are those of now.
  with fresh as materialized (
      select b.id old, {schema}.uuid_v7() id, u.new downstream
      from unnest(v_old, made) u (old, new)
      cross join lateral (select y.id from {schema}.barrier y where y.downstream = u.old and y.kind = 1 limit 1) b),
    slots as (
      insert into {schema}.slot (barrier, idx, upstream, downstream, flow, is_edge, name, optional, source)
        select f.id, s.idx, case when s.upstream = p_old then p_new
            else coalesce((select u.new from unnest(v_old, made) u (old, new) where u.old = s.upstream),
              {schema}.latest_run(s.upstream, p_flow)) end,
          f.downstream, p_flow, true, s.name, s.optional, s.source
        from fresh f cross join lateral (select y.* from {schema}.slot y where y.barrier = f.old offset 0) s
        returning barrier, source),
    barriers as (
      insert into {schema}.barrier (id, namespace, kind, downstream, flow, mode, quorum, distinct_sources, cancel_rest,
          on_timeout, timeout_ms, sealed, depth, slots, chances, created_at, expires_at, due_at)
        select f.id, p_namespace, 1, f.downstream, p_flow, b.mode, b.quorum, b.distinct_sources, b.cancel_rest, b.on_timeout,
          b.timeout_ms, true, b.depth, b.slots,
          case when b.distinct_sources then (select count(distinct s.source) from slots s where s.barrier = f.id) else 0 end,
          v_now, v_now + b.timeout_ms * interval '1 ms', v_now + b.timeout_ms * interval '1 ms'
        from fresh f cross join lateral (select y.* from {schema}.barrier y where y.id = f.old offset 0) b
        returning id, downstream)
    insert into {schema}.blocked (execution, state, barrier, blocked_at, run_at, class, priority, kind, attempt, failures,
        reclaims, timeout_ms, start_by, deadline, redrive, flow, linked, resume, gate)
      select e.id, 1, b.id, v_now, e.run_at, e.class, e.priority, 5, 0, 0, 0, e.timeout_ms, e.start_by, e.deadline, false,
        p_flow, true, false, coalesce({schema}.gate_of(c.lane, e.concurrency_key), {schema}.order_gate_of(c.lane, e.ordering_key))
      from barriers b cross join lateral (select y.* from {schema}.execution y where y.id = b.downstream offset 0) e
      cross join lateral (select y.lane from {schema}.claim_class y where y.id = e.class offset 0) c;
  insert into {schema}.timer (execution, due_at)
    select e.id, least(e.start_by, e.deadline) from unnest(made) u (id)
    cross join lateral (select y.* from {schema}.execution y where y.id = u.id offset 0) e
    where e.start_by is not null or e.deadline is not null;
  delete from {schema}.flow_failed f where f.flow = p_flow and f.execution = any (v_old || p_old);
  select f.settled_at is not null into v_was_settled from {schema}.flow f where f.id = p_flow;
  update {schema}.flow f set state = 1, settled_at = null, ended_at = null, failing_at = null, seal_at = null,
      failed_at = (select max(y.ended_at) from {schema}.flow_failed y where y.flow = p_flow)
    where f.id = p_flow;
  v_barriers := array(select w.barrier from unnest(made) u (id)
    cross join lateral (select y.barrier from {schema}.blocked y where y.execution = u.id offset 0) w);
  -- Upstreams that still live must not end unseen between here and the commit, for their ends would not find these slots.
  -- Flow and letter are held already, so nothing is waited for: who is ending one has it, and the caller tries again.
  v_upstreams := array(select distinct s.upstream from unnest(v_barriers) u (id)
    cross join lateral (select y.upstream from {schema}.slot y where y.barrier = u.id offset 0) s
    where s.upstream <> p_new and not s.upstream = any (made)
      and not exists (select from {schema}.outcome o where o.execution = s.upstream));
  v_held := array(select r.execution from {schema}.ready r where r.execution = any (v_upstreams) for key share nowait);
  v_held := v_held || array(
    select r.execution from {schema}.scheduled r where r.execution = any (v_upstreams) for key share nowait);
  v_held := v_held || array(
    select r.execution from {schema}.blocked r where r.execution = any (v_upstreams) for key share nowait);
  v_held := v_held || array(
    select r.execution from {schema}.suspension r where r.execution = any (v_upstreams) for key share nowait);
  v_held := v_held || array(
    select r.execution from {schema}.lease r where r.execution = any (v_upstreams) for key share nowait);
  v_held := v_held || array(select o.execution from {schema}.outcome o where o.execution = any (v_upstreams));
  if exists (select from unnest(v_upstreams) u where not u = any (v_held)) then
    raise exception using errcode = '55P03', message = 'an upstream is moving';
  end if;
  select f.* into v_fold from (
    select array_agg(s.barrier) barriers, array_agg(s.idx) idxs, array_agg({schema}.slot_outcome(o.state)) outcomes
    from unnest(v_barriers) u (id)
    cross join lateral (select y.* from {schema}.slot y where y.barrier = u.id offset 0) s
    cross join lateral (select y.state from {schema}.outcome y where y.execution = s.upstream offset 0) o) m
    cross join lateral {schema}.fold_joins(v_barriers, m.barriers, m.idxs, m.outcomes, v_now) f;
  woken := v_fold.classes;
  follows := v_fold.left_over or v_fold.endings is not null;
  perform {schema}.append_items(
    array[p_namespace], array[44::smallint], array[null::uuid], array[p_flow], array[null::int], array[null::smallint],
    array[null::smallint], array[null::int],
    array[json_build_object('redrive', p_new, 'was_settled', v_was_settled, 'members', cardinality(made))::text],
    array(select row(p_namespace, 1, e.id, p_flow, e.class, null, 1, 0, null)::{schema}.log_item
        from unnest(made) with ordinality u (id, n)
        cross join lateral (select y.id, y.class from {schema}.execution y where y.id = u.id offset 0) e order by u.n)
      || v_fold.items);
  if v_fold.endings is not null then perform {schema}.settle(v_fold.endings, v_now, true); end if;
end $$;

-- The second half: joins and slots are added and sealed, slots of upstreams that have ended are filled, and what that
-- decides happens here. Everything it touches was locked by begin_extension; new members were created before this.
create or replace function {schema}.extend_flow(p_namespace int, p_flow uuid, p_request_id text, p_hash bytea, p_members jsonb,
  p_seal_joins uuid[], p_seal boolean, p_joins jsonb, p_barrier uuid[], p_idx int[], p_upstream uuid[], p_downstream uuid[],
  p_name text[], p_optional boolean[], p_source text[], out revision bigint, out state smallint, out woken int[],
  out follows boolean) language plpgsql volatile as $$
declare
  v_now timestamptz := clock_timestamp();
  v_added int := (select count(*) from jsonb_object_keys(p_members));
  v_downstreams uuid[] := array(select j.downstream from jsonb_to_recordset(p_joins) j (downstream uuid));
  v_known jsonb;
  v_joins jsonb;
  v_moved {schema}.log_item[];
  v_concerned uuid[];
  v_fold record;
begin
  -- Downstreams that have a join get their slots there, after those it has.
  select jsonb_object_agg(j.id, jsonb_build_object('id', b.id, 'slots', b.slots, 'distinct', b.distinct_sources)) into v_known
    from jsonb_to_recordset(p_joins) j (id uuid, downstream uuid)
    cross join lateral (
      select y.* from {schema}.barrier y where y.downstream = j.downstream and y.kind = 1 and y.state = 1 offset 0) b;
  v_known := coalesce(v_known, '{}');
  select coalesce(jsonb_agg(case when v_known ? (j ->> 'id') then j || jsonb_build_object('id', v_known -> (j ->> 'id') -> 'id',
      'distinct_sources', v_known -> (j ->> 'id') -> 'distinct') else j end), '[]')
    into v_joins from jsonb_array_elements(p_joins) j;
  select array_agg(coalesce((v_known -> u.id::text ->> 'id')::uuid, u.id) order by u.n),
      array_agg(u.idx + coalesce((v_known -> u.id::text ->> 'slots')::int, 0) order by u.n)
    into p_barrier, p_idx from unnest(p_barrier, p_idx) with ordinality u (id, idx, n);
  perform {schema}.add_joins(p_namespace, p_flow, 1::smallint, v_joins, p_barrier, p_idx, p_upstream, p_downstream, p_name,
    p_optional, p_source, v_now);
  update {schema}.barrier b set slots = b.slots + j.slots, depth = greatest(b.depth, j.depth),
      chances = case when b.distinct_sources then (select count(distinct s.source) from {schema}.slot s where s.barrier = b.id
        and (s.outcome is null or s.outcome = 1)) else 0 end
    from jsonb_to_recordset(p_joins) j (id uuid, slots int, depth int)
    where b.id = any (array(select (k.value ->> 'id')::uuid from jsonb_each(v_known) k))
      and v_known ? j.id::text and b.id = (v_known -> j.id::text ->> 'id')::uuid;
  -- Members that stood in line without a join wait from now on.
  with gone as (
      delete from {schema}.ready r where r.execution = any (v_downstreams)
      returning r.execution, null::timestamptz run_at, r.class, -r.priority priority, r.kind, r.timeout_ms, r.start_by,
        r.deadline, r.redrive, r.flow, r.gate, 3::smallint was),
    later as (
      delete from {schema}.scheduled r where r.execution = any (v_downstreams)
      returning r.execution, r.run_at, r.class, r.priority, r.kind, r.timeout_ms, r.start_by, r.deadline, r.redrive, r.flow,
        r.gate, 2::smallint was),
    behind as (
      delete from {schema}.blocked r where r.execution = any (v_downstreams) and r.waits_for <> 1
      returning r.execution, r.run_at, r.class, r.priority, r.kind, r.timeout_ms, r.start_by, r.deadline, r.redrive, r.flow,
        r.gate, 1::smallint was),
    freed as (
      insert into {schema}.follow_up (kind, subject) select distinct 7, g.gate
        from (select gate from gone union select gate from later union select gate from behind) g where g.gate is not null),
    moved as (
      insert into {schema}.blocked (execution, state, barrier, blocked_at, run_at, class, priority, kind, attempt, failures,
          reclaims, timeout_ms, start_by, deadline, redrive, flow, linked, resume, gate)
        select x.execution, 1, j.id, v_now, x.run_at, x.class, x.priority, x.kind, 0, 0, 0, x.timeout_ms, x.start_by,
          x.deadline, x.redrive, x.flow, true, false, x.gate
        from (select * from gone union all select * from later union all select * from behind) x
        join jsonb_to_recordset(v_joins) j (id uuid, downstream uuid) on j.downstream = x.execution
        returning *)
    select array_agg(row(p_namespace, 2, m.execution, p_flow, m.class,
        case when m.execution = any (array(select b.execution from behind b)) then 1 when m.run_at is null then 3 else 2 end,
        1, 0,
        '{"cause":"join","join":"' || m.barrier || '"}')::{schema}.log_item) into v_moved from moved m;
  update {schema}.barrier b set sealed = true
    where (b.downstream = any (p_seal_joins) or (p_seal and b.flow = p_flow)) and b.kind = 1 and b.state = 1 and not b.sealed;
  update {schema}.flow f set revision = f.revision + 1, began = f.began or v_added > 0,
      sealed_at = case when p_seal then v_now end, seal_at = null,
      settled_at = case when v_added > 0 then null else f.settled_at end,
      state = case when v_added > 0 then 1 else f.state end
    where f.id = p_flow returning f.revision, f.state into revision, state;
  if p_request_id is not null then
    insert into {schema}.flow_request (namespace, request_id, flow, revision, hash, members, created_at)
      values (p_namespace, p_request_id, p_flow, revision, p_hash, p_members, v_now);
  end if;
  if p_seal then
    insert into {schema}.follow_up (kind, subject) values (1, p_flow);
  end if;
  v_concerned := array(
    select b.id from {schema}.barrier b where b.downstream = any (v_downstreams || p_seal_joins) and b.kind = 1 and b.state = 1
    union select b.id from {schema}.barrier b where p_seal and b.flow = p_flow and b.kind = 1 and b.state = 1);
  select f.* into v_fold from (
    select array_agg(u.barrier) barriers, array_agg(u.idx) idxs, array_agg({schema}.slot_outcome(o.state)) outcomes
    from unnest(p_barrier, p_idx, p_upstream) u (barrier, idx, upstream)
    cross join lateral (select y.state from {schema}.outcome y where y.execution = u.upstream offset 0) o) m
    cross join lateral {schema}.fold_joins(v_concerned, m.barriers, m.idxs, m.outcomes, v_now) f;
  woken := v_fold.classes;
  perform {schema}.append_items(
    array[p_namespace] || case when p_seal then array[p_namespace] else '{}' end,
    array[41::smallint] || case when p_seal then array[42::smallint] else '{}' end,
    array_fill(null::uuid, array[1 + p_seal::int]), array_fill(p_flow, array[1 + p_seal::int]),
    array_fill(null::int, array[1 + p_seal::int]), array_fill(null::smallint, array[1 + p_seal::int]),
    array_fill(null::smallint, array[1 + p_seal::int]), array_fill(null::int, array[1 + p_seal::int]),
    array[json_build_object('revision', revision, 'members', v_added)::text]
      || case when p_seal then array[json_build_object('revision', revision)::text] else '{}' end,
    v_moved || v_fold.items);
  if v_fold.endings is not null then perform {schema}.settle(v_fold.endings, v_now, true); end if;
  follows := p_seal or v_moved is not null or v_fold.left_over or v_fold.endings is not null; -- moved: perhaps with a key
end $$;

-- Closes open letters by a person's word, each on its own. p_expected: the version the caller saw, 0 any.
-- verdict: closed | already (by the same word, at the version this call would have made) | conflict | wrong_state |
-- not_found. Letters are locked in the order of their ids, as settle_letters does, and nothing is awaited under the locks.
create or replace function {schema}.resolve_letters(p_namespace int, p_id uuid[], p_expected bigint[], p_resolution smallint,
  p_actor text, p_note text, p_request_id text)
returns table (ord int, verdict text, state smallint, version bigint) language plpgsql volatile as $$
#variable_conflict use_column
declare
  v_now timestamptz;
  v_seen {schema}.dead_letter[];
  v_closed {schema}.dead_letter[];
begin
  select array_agg(x.d) into v_seen from (
    select d from {schema}.dead_letter d where d.id = any (p_id) and d.namespace = p_namespace
    order by d.id for update) x (d);
  v_now := clock_timestamp();
  with closed as (
    update {schema}.dead_letter d set state = 3, resolution = p_resolution, closed_at = v_now, actor = p_actor,
        note = p_note, version = d.version + 1
      from unnest(p_id, p_expected) u (id, expected)
      where d.id = any (p_id) and d.namespace = p_namespace and d.id = u.id and d.state = 1
        and u.expected in (0, d.version)
      returning d)
    select array_agg(closed.d order by (closed.d).id) into v_closed from closed;
  -- Whoever it blocked goes on right after.
  insert into {schema}.follow_up (kind, subject) select distinct 7, c.gate from unnest(v_closed) c where c.gate is not null;
  return query
    select u.ord::int,
      case when d.id is null then 'not_found' when c.id is not null then 'closed'
        when d.state = 3 and d.resolution = p_resolution and u.expected in (0, d.version - 1) then 'already'
        when u.expected not in (0, d.version) then 'conflict' else 'wrong_state' end,
      coalesce(c.state, d.state), coalesce(c.version, d.version)
    from unnest(p_id, p_expected) with ordinality u (id, expected, ord)
    left join unnest(v_seen) d on d.id = u.id
    left join unnest(v_closed) c on c.id = u.id
    order by u.ord;
  perform {schema}.log_letters(72::smallint, v_closed, jsonb_build_object('resolution', p_resolution, 'actor', p_actor,
    'reason', p_note, 'request_id', p_request_id));
end $$;
