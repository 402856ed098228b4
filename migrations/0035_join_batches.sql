-- Batch joins: one execution for all events of a batch that a subscription takes, by the mechanism of all joins.
--
-- The first event of a batch that a joining subscription takes makes the join, with as many slots as the batch has places, and
-- the execution that waits for it. Each event fills the slot of its place. A slot that none can fill any more (no execution that
-- owns its place lives, no event of it waits for the router) is filled for those that left it: whoever may be the last to leave
-- a place says so by a row of `follow_up` (kind 10), and whoever opens a join has all its places looked at once (step 1).
-- Whether a place is left is told by one statement: owners and events make each other in one transaction, so a snapshot never
-- misses both. A crash delays what `follow_up` and `filling` say, and loses none of it.
-- Locks: creates only. older-servers: refused

-- Slots that failed, but are filled after all by a new run, while their join is open: the join counts them as open again. The
-- caller has locked the slots. Where somebody else folds the join just now, the transaction is tried again (lock not available).
create function {schema}.reopen_slots(p_barrier uuid[], p_idx int[]) returns void language plpgsql volatile as $$
begin
  perform 1 from {schema}.barrier b where b.id = any (p_barrier) order by b.id for update nowait;
  with again as (
      update {schema}.slot s set outcome = null
        from unnest(p_barrier, p_idx) u (barrier, idx)
        cross join lateral (
          select x.ctid, x.outcome, x.optional from {schema}.slot x where x.barrier = u.barrier and x.idx = u.idx offset 0) x
        cross join lateral (select y.state from {schema}.barrier y where y.id = u.barrier offset 0) b
        where s.ctid = x.ctid and x.outcome <> 1 and b.state = 1
        returning u.barrier, x.outcome, x.optional),
    sums as (
      select a.barrier, count(*) filter (where a.outcome = 2) failed, count(*) filter (where a.outcome = 3) skipped,
        count(*) filter (where not a.optional) lost
      from again a group by a.barrier)
    update {schema}.barrier b set failed = b.failed - s.failed, skipped = b.skipped - s.skipped, lost = b.lost - s.lost
      from sums s where b.id = any (p_barrier) and b.id = s.barrier;
end $$;

-- Fills slots of batch joins that the caller has locked: narrow joins are folded here, wide ones right after.
create function {schema}.fill_batch_slots(p_barrier uuid[], p_idx int[], p_outcome smallint[], p_now timestamptz,
  out classes int[], out items {schema}.log_item[], out endings {schema}.ending[], out follows boolean)
language plpgsql volatile as $$
declare
  c_narrow constant int := 64; -- slots of a join that is folded where one of them is filled
  v_narrow uuid[];
  v_fold record;
begin
  v_narrow := array(
    select distinct u.id from unnest(p_barrier) u (id)
    cross join lateral (select y.slots from {schema}.barrier y where y.id = u.id offset 0) b where b.slots <= c_narrow);
  insert into {schema}.filling (barrier, idx, outcome)
    select u.barrier, u.idx, u.outcome from unnest(p_barrier, p_idx, p_outcome) u (barrier, idx, outcome)
    where not u.barrier = any (v_narrow) order by 1, 2 on conflict do nothing;
  follows := found;
  if v_narrow = '{}' then return; end if;
  select f.* into v_fold from (
    select array_agg(u.barrier) barriers, array_agg(u.idx) idxs, array_agg(u.outcome) outcomes
    from unnest(p_barrier, p_idx, p_outcome) u (barrier, idx, outcome) where u.barrier = any (v_narrow)) m
    cross join lateral {schema}.fold_joins(v_narrow, m.barriers, m.idxs, m.outcomes, p_now) f;
  classes := v_fold.classes;
  items := v_fold.items;
  endings := v_fold.endings;
  follows := follows or v_fold.left_over or v_fold.endings is not null;
end $$;

-- Makes the joins of these subscriptions and batches that do not exist yet: event p_n[i] is the first for p_subscription[i].
-- Who makes the same at once waits here for whoever came first, and finds his. items: what was created.
create function {schema}.open_joins(p_events {schema}.event[], p_n int[], p_subscription int[], p_now timestamptz,
  out items {schema}.log_item[]) language plpgsql volatile as $$
declare
  v_barriers uuid[] := {schema}.uuids_v7(cardinality(p_n));
  v_ids uuid[] := {schema}.uuids_v7(cardinality(p_n));
  v_rows {schema}.reaction[];
  v_made boolean[];
begin
  select array_agg(row(v_ids[u.n], e.namespace, s.id, s.version, s.class, c.lane, e.id, e.flow, 1, s.priority, t.run_at,
        greatest(t.run_at, p_now) + coalesce(s.ttl_ms, l.ttl_ms) * interval '1 ms', p_now + s.deadline_ms * interval '1 ms',
        coalesce(s.timeout_ms, l.timeout_ms), k.key,
        case when s.ordered then {schema}.order_gate_of(c.lane, k.key) else {schema}.gate_of(c.lane, k.key) end,
        s.ordered and k.key is not null)::{schema}.reaction order by u.n)
    into v_rows
    from unnest(p_n, p_subscription) with ordinality u (event, subscription, n)
    cross join lateral (select p_events[u.event] x offset 0) p
    cross join lateral (select (p.x).id, (p.x).namespace, (p.x).flow, (p.x).stream, (p.x).tags, (p.x).headers,
      (p.x).published_at, (p.x).payload_type, (p.x).payload) e
    cross join lateral (select x.* from {schema}.subscription x where x.id = u.subscription offset 0) s
    cross join lateral (select x.lane from {schema}.claim_class x where x.id = s.class offset 0) c
    cross join lateral (select x.ttl_ms, x.timeout_ms from {schema}.lane x where x.id = c.lane offset 0) l
    cross join lateral (
      select case when s.delay_ms > 0 then e.published_at + s.delay_ms * interval '1 ms' end run_at) t
    cross join lateral (
      select {schema}.key_of(case s.key_source when 1 then e.flow::text
        when 2 then (select x.name from {schema}.stream x where x.id = e.stream)
        when 3 then e.tags ->> s.key_name when 4 then e.headers ->> s.key_name
        when 5 then {schema}.json_of(e.payload_type, e.payload) #>> s.key_path end) key) k;
  insert into {schema}.concurrency_key (id, namespace, lane, key, ordered)
    select distinct on (r.gate) r.gate, r.namespace, r.lane, r.key, r.ordered from unnest(v_rows) r
    where r.gate is not null order by r.gate on conflict do nothing;
  with made as (
      insert into {schema}.batch_join (subscription, batch, barrier, execution)
        select r.subscription, e.batch, v_barriers[r.ordinality], r.id
        from unnest(v_rows) with ordinality r cross join lateral (select (p_events[p_n[r.ordinality]]).batch) e
        order by 1, 2 on conflict do nothing returning execution)
    select array_agg(m.execution is not null order by u.n) into v_made
      from unnest(v_ids) with ordinality u (id, n) left join made m on m.execution = u.id;
  if not true = any (v_made) then return; end if;
  insert into {schema}.execution (id, namespace, class, priority, run_at, start_by, deadline, timeout_ms, retry_max,
      retry_initial_ms, retry_factor, retry_cap_ms, reclaims_max, count_lost, tags, created_at, flow, optional,
      concurrency_key, ordering_key, dead_head, failure_events, subscription, subscription_version, hops)
    select r.id, r.namespace, r.class, r.priority, r.run_at, r.start_by, r.deadline, r.timeout_ms,
      coalesce(s.retry_max, l.retry_max), coalesce(s.retry_initial_ms, l.retry_initial_ms),
      coalesce(s.retry_factor, l.retry_factor), coalesce(s.retry_cap_ms, l.retry_cap_ms),
      coalesce(s.reclaims_max, l.reclaims_max), coalesce(s.count_lost, l.count_lost), s.tags, p_now, r.flow, s.optional,
      case when not r.ordered then r.key end, case when r.ordered then r.key end, case when r.ordered then s.dead_head end,
      s.failure_events, r.subscription, r.version, e.hops
    from unnest(v_rows) with ordinality r cross join lateral (select (p_events[p_n[r.ordinality]]).hops) e
    cross join lateral (select x.* from {schema}.subscription x where x.id = r.subscription offset 0) s
    cross join lateral (select x.* from {schema}.lane x where x.id = r.lane offset 0) l
    where v_made[r.ordinality];
  insert into {schema}.slot (barrier, idx, downstream, flow, is_edge, name, optional)
    select v_barriers[r.ordinality], g, r.id, r.flow, false, g::text, false
    from unnest(v_rows) with ordinality r cross join lateral (select (p_events[p_n[r.ordinality]]).batch_size) e
    cross join lateral generate_series(0, e.batch_size - 1) g
    where v_made[r.ordinality];
  insert into {schema}.barrier (id, namespace, kind, downstream, flow, mode, quorum, on_timeout, timeout_ms, sealed, slots,
      created_at, expires_at, due_at, subscription, batch)
    select v_barriers[r.ordinality], r.namespace, 3, r.id, r.flow, j.mode, j.quorum, j.on_timeout, j.timeout_ms, true,
      e.batch_size, p_now, p_now + j.timeout_ms * interval '1 ms', p_now + j.timeout_ms * interval '1 ms', r.subscription, e.batch
    from unnest(v_rows) with ordinality r
    cross join lateral (select (p_events[p_n[r.ordinality]]).batch, (p_events[p_n[r.ordinality]]).batch_size) e
    cross join lateral (select x.join_policy from {schema}.subscription x where x.id = r.subscription offset 0) s
    cross join lateral jsonb_to_record(s.join_policy) j (mode smallint, quorum int, on_timeout smallint, timeout_ms bigint)
    where v_made[r.ordinality];
  insert into {schema}.blocked (execution, state, barrier, blocked_at, run_at, class, priority, kind, attempt, failures,
      reclaims, timeout_ms, start_by, deadline, redrive, flow, linked, resume, gate)
    select r.id, 1, v_barriers[r.ordinality], p_now, r.run_at, r.class, r.priority, 1, 0, 0, 0, r.timeout_ms, r.start_by,
      r.deadline, false, r.flow, true, false, r.gate
    from unnest(v_rows) with ordinality r where v_made[r.ordinality];
  insert into {schema}.flow_live (flow, execution)
    select r.flow, r.id from unnest(v_rows) with ordinality r where v_made[r.ordinality];
  insert into {schema}.timer (execution, due_at)
    select r.id, least(r.start_by, r.deadline) from unnest(v_rows) with ordinality r
    where v_made[r.ordinality] and (r.start_by is not null or r.deadline is not null);
  -- Places that were left before there was a join.
  insert into {schema}.follow_up (kind, subject, step)
    select distinct 10, e.batch, 1 from unnest(p_n, v_made) u (event, made)
    cross join lateral (select (p_events[u.event]).batch) e where u.made;
  select array_agg(row(r.namespace, 1, r.id, r.flow, r.class, null, 1, 0, null)::{schema}.log_item order by r.ordinality)
    into items from unnest(v_rows) with ordinality r where v_made[r.ordinality];
end $$;

-- The nth pair is event p_n[n] of p_events and a joining subscription that takes it: opens the joins there are not, and fills
-- the slots. The caller holds the events' flows and appends to the log: `items`, then `endings` by settle, as consequences.
-- classes: one per execution that is claimable. A slot that an event has is not filled twice: several may claim one place,
-- and the first stays. Batch ids and their sizes are the engine's own, so no batch comes with two sizes; if one did, the
-- size that opened the join would stand, and events with another one would be passed over.
create function {schema}.open_slots(p_events {schema}.event[], p_n int[], p_subscription int[], p_now timestamptz,
  out classes int[], out items {schema}.log_item[], out endings {schema}.ending[], out follows boolean)
language plpgsql volatile as $$
declare
  v_first int[]; -- pairs
  v_barrier uuid[];
  v_idx int[];
  v_event uuid[];
  v_failed boolean[];
  v_part record;
begin
  follows := false;
  if coalesce(cardinality(p_n), 0) = 0 then return; end if;
  perform pg_current_xact_id(); -- before any ready_seq is drawn
  v_first := array(
    select x.n::int from (
      select distinct on (u.subscription, e.batch) u.subscription, e.batch, u.n
      from unnest(p_n, p_subscription) with ordinality u (event, subscription, n)
      cross join lateral (select (p_events[u.event]).batch) e order by u.subscription, e.batch, u.n) x
    where coalesce((
      select false from {schema}.batch_join j where j.subscription = x.subscription and j.batch = x.batch limit 1), true));
  if v_first <> '{}' then
    items := {schema}.open_joins(p_events, array(select p_n[u] from unnest(v_first) u),
      array(select p_subscription[u] from unnest(v_first) u), p_now);
    follows := true;
  end if;
  -- From here on statements see joins that others have made.
  select array_agg(x.barrier), array_agg(x.idx), array_agg(x.event) into v_barrier, v_idx, v_event
    from (
      select distinct on (j.barrier, e.batch_index) j.barrier, e.batch_index idx, e.id event
      from unnest(p_n, p_subscription) with ordinality u (event, subscription, n)
      cross join lateral (select (p_events[u.event]).id, (p_events[u.event]).batch, (p_events[u.event]).batch_index,
        (p_events[u.event]).batch_size) e
      cross join lateral (
        select y.barrier from {schema}.batch_join y where y.subscription = u.subscription and y.batch = e.batch offset 0) j
      cross join lateral (select y.slots from {schema}.barrier y where y.id = j.barrier offset 0) b
      where b.slots = e.batch_size order by j.barrier, e.batch_index, u.n) x;
  -- Who holds a slot is filling it, or comes back to fill it should that come to nothing: so it is not free.
  select array_agg(x.barrier), array_agg(x.idx), array_agg(u.event), array_agg(x.outcome is not null)
    into v_barrier, v_idx, v_event, v_failed
    from unnest(v_barrier, v_idx, v_event) u (barrier, idx, event)
    cross join lateral (
      select s.barrier, s.idx, s.outcome from {schema}.slot s
      where s.barrier = u.barrier and s.idx = u.idx and s.event is null and (s.outcome is null or (s.outcome > 1 and not s.late))
        and (s.outcome is null or (select b.state from {schema}.barrier b where b.id = s.barrier) = 1)
        and coalesce((select false from {schema}.filling f where f.barrier = s.barrier and f.idx = s.idx), true)
      for update of s skip locked) x;
  if true = any (v_failed) then
    perform {schema}.reopen_slots(
      array(select u.barrier from unnest(v_barrier, v_failed) u (barrier, failed) where u.failed),
      array(select u.idx from unnest(v_idx, v_failed) u (idx, failed) where u.failed));
    -- Joins that have decided meanwhile keep what they decided by.
    select array_agg(u.barrier), array_agg(u.idx), array_agg(u.event) into v_barrier, v_idx, v_event
      from unnest(v_barrier, v_idx, v_event) u (barrier, idx, event)
      cross join lateral (
        select s.outcome from {schema}.slot s where s.barrier = u.barrier and s.idx = u.idx offset 0) s where s.outcome is null;
  end if;
  if v_barrier is not null then
    update {schema}.slot s set event = x.event, upstream = null from (
      select y.ctid, u.event from unnest(v_barrier, v_idx, v_event) u (barrier, idx, event)
      cross join lateral (select z.ctid from {schema}.slot z where z.barrier = u.barrier and z.idx = u.idx offset 0) y) x
      where s.ctid = x.ctid;
    select f.* into v_part
      from {schema}.fill_batch_slots(v_barrier, v_idx, array_fill(1::smallint, array[cardinality(v_barrier)]), p_now) f;
    classes := v_part.classes;
    items := items || v_part.items;
    endings := v_part.endings;
    follows := follows or v_part.follows;
  end if;
  -- Other joins may have waited for this event, which was not theirs; and its flow for the end of its routing.
  with told as (
      insert into {schema}.follow_up (kind, subject, place)
        select distinct 10, e.batch, e.batch_index from unnest(p_n) u (event)
        cross join lateral (select (p_events[u.event]).batch, (p_events[u.event]).batch_index) e
        where coalesce((
          select true from {schema}.batch_join j
          cross join lateral (
            select from {schema}.slot s where s.barrier = j.barrier and s.idx = e.batch_index and s.event is null
              and s.outcome is null offset 0) s
          where j.batch = e.batch limit 1), false)
        returning 1),
    asked as (
      insert into {schema}.follow_up (kind, subject)
        select distinct 1, e.flow from unnest(p_n, p_subscription) u (event, subscription)
        cross join lateral (select (p_events[u.event]).flow, (p_events[u.event]).batch) e
        cross join lateral (select y.execution from {schema}.batch_join y
          where y.subscription = u.subscription and y.batch = e.batch offset 0) j
        where coalesce((
          select false from {schema}.flow_live l where l.flow = e.flow and l.execution = j.execution limit 1), true)
        returning 1)
    select follows or exists (select from told) or exists (select from asked) into follows;
end $$;

-- Those that have ended may have been the last to own their slots. True: there are some.
create function {schema}.leave_slots(p_endings {schema}.ending[]) returns boolean language plpgsql volatile as $$
begin
  insert into {schema}.follow_up (kind, subject, place)
    select distinct 10, e.batch, e.batch_index from unnest(p_endings) x
    cross join lateral (
      select y.batch, y.batch_index from {schema}.execution y where y.id = x.execution and y.batch is not null offset 0) e
    where x.linked and x.state >= 7;
  return found;
end $$;

-- No execution or event of a batch has a lower id than this: clocks do not differ by a day.
create function {schema}.batch_floor(p_batch uuid) returns uuid language sql immutable as $$
  select (lpad(to_hex(('x' || left(replace(p_batch::text, '-', ''), 12))::bit(48)::bigint - 86400000), 12, '0')
    || '00000000000000000000')::uuid
$$;

-- Fills the slots of these rows of follow_up that none can fill any more: failed, if a required one that owned them failed and
-- was not run again, else ok and empty. Joins of a deleted subscription get nothing more; those of one that reads the past
-- wait until it has (`look_at_batches`). A row of step 1 stands for all places from its own, some at a time.
-- done: rows that are done with; what somebody else has locked stands in new ones.
create function {schema}.fill_left_slots(p_due {schema}.follow_up[], p_now timestamptz, out done bigint[], out classes int[])
language plpgsql volatile as $$
declare
  c_places constant int := 500; -- of one row of step 1; and of all, twice as many
  v_batch uuid[];
  v_place int[];
  v_barrier uuid[];
  v_idx int[];
  v_outcome smallint[];
  v_upstream uuid[];
  v_failed boolean[];
  v_held boolean[];
  v_part record;
begin
  with wide as materialized (
      select d.seq, d.subject batch, d.place, b.slots, least(b.slots - d.place, c_places) n
      from unnest(p_due) d
      cross join lateral (
        select max(x.slots) slots from {schema}.batch_join j
        cross join lateral (select y.slots from {schema}.barrier y where y.id = j.barrier offset 0) x where j.batch = d.subject) b
      where d.step = 1),
    chosen as materialized (
      select x.* from (select w.*, sum(w.n) over (order by w.seq) total from wide w) x
      where coalesce(x.total <= 2 * c_places or x.n = x.total, true)),
    rest as (
      insert into {schema}.follow_up (kind, subject, step, place)
        select 10, c.batch, 1, c.place + c.n from chosen c where c.place + c.n < c.slots),
    asked as (
      select d.subject batch, d.place from unnest(p_due) d where d.step = 0
      union select c.batch, g from chosen c cross join lateral generate_series(c.place, c.place + c.n - 1) g)
    select array(select d.seq from unnest(p_due) d where d.step = 0 union all select c.seq from chosen c),
        array_agg(a.batch), array_agg(a.place)
      into done, v_batch, v_place from asked a;
  -- One snapshot for all of it.
  with left_ones as materialized (
      select j.barrier, u.place, coalesce(f.outcome, 1::smallint) outcome, coalesce(f.id, o.id) upstream,
        s.outcome is not null failed
      from unnest(v_batch, v_place) u (batch, place)
      cross join lateral (
        select y.barrier, y.subscription from {schema}.batch_join y where y.batch = u.batch offset 0) j
      cross join lateral (select from {schema}.subscription y where y.id = j.subscription and y.state <> 4 and y.past_from is null offset 0) p
      cross join lateral (
        select y.outcome from {schema}.slot y where y.barrier = j.barrier and y.idx = u.place and y.event is null
          and (y.outcome is null or (y.outcome > 1 and not y.late)) offset 0) s
      cross join lateral (select y.state from {schema}.barrier y where y.id = j.barrier offset 0) b
      left join lateral (
        select y.id from {schema}.execution y
        where y.batch = u.batch and y.batch_index = u.place and y.id >= {schema}.batch_floor(u.batch)
        order by y.id desc limit 1) o on true
      left join lateral (
        select y.id, {schema}.slot_outcome(k.state) outcome from {schema}.execution y
        cross join lateral (select z.state, z.reason from {schema}.outcome z where z.execution = y.id offset 0) k
        where y.batch = u.batch and y.batch_index = u.place and y.id >= {schema}.batch_floor(u.batch)
          and not y.optional and k.state > 7 and k.reason <> 23
          and coalesce((
            select false from {schema}.execution z where z.redrive_of = y.id and z.batch = y.batch limit 1), true)
        order by y.id desc limit 1) f on true
      where (s.outcome is null or (b.state = 1 and f.id is null))
        and coalesce((select false from {schema}.filling x where x.barrier = j.barrier and x.idx = u.place), true)
        and coalesce((
          select false from {schema}.execution y
          where y.batch = u.batch and y.batch_index = u.place and y.id >= {schema}.batch_floor(u.batch)
            and coalesce((select false from {schema}.outcome z where z.execution = y.id), true) limit 1), true)
        and coalesce((
          select false from {schema}.event y
          cross join lateral (select from {schema}.unrouted z where z.event = y.id limit 1) z
          where y.batch = u.batch and y.batch_index = u.place and y.id >= {schema}.batch_floor(u.batch) limit 1), true))
    select array_agg(x.barrier), array_agg(x.place), array_agg(x.outcome), array_agg(x.upstream), array_agg(x.failed)
      into v_barrier, v_idx, v_outcome, v_upstream, v_failed
      from (select * from left_ones l order by l.barrier, l.place) x;
  if v_barrier is null then return; end if;
  -- Whoever has a slot fills it; and whoever folds a join that is to count a slot anew lets it go soon.
  select array_agg(x.idx is not null and (not u.failed or y.id is not null) order by u.n) into v_held
    from unnest(v_barrier, v_idx, v_failed) with ordinality u (barrier, idx, failed, n)
    left join lateral (
      select s.idx from {schema}.slot s where s.barrier = u.barrier and s.idx = u.idx and s.event is null
        and (s.outcome is not null) = u.failed for update skip locked) x on true
    left join lateral (
      select b.id from {schema}.barrier b where b.id = case when u.failed then u.barrier end for update skip locked) y on true;
  if false = any (v_held) then
    insert into {schema}.follow_up (kind, subject, place, due_at)
      select 10, b.batch, u.idx, clock_timestamp() + interval '20 ms'
      from unnest(v_barrier, v_idx, v_held) u (barrier, idx, held)
      cross join lateral (select y.batch from {schema}.barrier y where y.id = u.barrier offset 0) b where not u.held;
    select array_agg(u.barrier), array_agg(u.idx), array_agg(u.outcome), array_agg(u.upstream), array_agg(u.failed)
      into v_barrier, v_idx, v_outcome, v_upstream, v_failed
      from unnest(v_barrier, v_idx, v_outcome, v_upstream, v_failed, v_held) u (barrier, idx, outcome, upstream, failed, held)
      where u.held;
    if v_barrier is null then return; end if;
  end if;
  if true = any (v_failed) then
    perform {schema}.reopen_slots(
      array(select u.barrier from unnest(v_barrier, v_failed) u (barrier, failed) where u.failed),
      array(select u.idx from unnest(v_idx, v_failed) u (idx, failed) where u.failed));
  end if;
  update {schema}.slot s set upstream = x.upstream from (
    select y.ctid, u.upstream from unnest(v_barrier, v_idx, v_upstream) u (barrier, idx, upstream)
    cross join lateral (
      select z.ctid from {schema}.slot z where z.barrier = u.barrier and z.idx = u.idx and z.outcome is null offset 0) y
    where u.upstream is not null) x
    where s.ctid = x.ctid;
  select f.* into v_part from {schema}.fill_batch_slots(v_barrier, v_idx, v_outcome, p_now) f;
  classes := v_part.classes;
  perform {schema}.append_folded(v_part.items, v_part.endings, p_now);
end $$;

-- This subscription has read its past: events of its open joins that have not come so far do not come any more.
create function {schema}.look_at_batches(p_subscription int) returns void language plpgsql volatile as $$
begin
  insert into {schema}.follow_up (kind, subject, step)
    select 10, b.batch, 1 from {schema}.barrier b where b.subscription = p_subscription and b.due_at is not null;
end $$;

-- What to show of a join that gave up or passed: how many slots, and the first hundred that arrived and that are missing.
create or replace function {schema}.slots_seen(p_barrier uuid) returns text language sql stable as $$
  select json_build_object('join', b.id, 'slots', b.slots, 'ok', b.ok, 'failed', b.failed, 'skipped', b.skipped,
      'arrived', coalesce((
        select json_agg(case when b.kind = 3 then json_build_object('index', a.idx, 'event', (
              select coalesce(v.event_id, v.id::text) from {schema}.event v where v.id = a.event),
            'execution', a.upstream, 'outcome', a.outcome)
          else json_build_object('name', a.name, 'execution', a.upstream, 'outcome', a.outcome) end)
        from (select s.* from {schema}.slot s where s.barrier = b.id and s.outcome is not null order by s.idx limit 100) a),
        '[]'),
      'missing', coalesce((
        select json_agg(case when b.kind = 3 then json_build_object('index', m.idx)
          else json_build_object('name', m.name, 'execution', m.upstream) end)
        from (select s.* from {schema}.slot s where s.barrier = b.id and s.outcome is null order by s.idx limit 100) m),
        '[]'))::text
  from {schema}.barrier b where b.id = p_barrier
$$;

-- What a claim hands over of the join before it: its slots in order. Contents stand where the upstreams ended, or in the event
-- that filled the slot; they are left out when larger than p_inline, or when those before them in this answer make p_total.
drop function {schema}.joined_inputs(uuid[], int, bigint);
create function {schema}.joined_inputs(p_barrier uuid[], p_inline int, p_total bigint)
returns table (barrier uuid, name text, idx int, outcome smallint, upstream uuid, type text, source text, event text,
  payload_type text, payload bytea, omitted boolean, failure_class smallint, failure_code text, message text)
language sql stable as $$
  select s.barrier, case when s.kind = 3 then '' else s.name end, s.idx, s.outcome, e.id, c.type, s.source,
    coalesce(v.event_id, v.id::text), p.type, case when s.fits then p.content end, p.type is not null and not s.fits,
    o.failure_class, o.failure_code, case when s.outcome <> 1 then o.message end
  from (
    select y.barrier, b.kind, y.name, y.idx, case when y.late then null else y.outcome end outcome, y.upstream, y.source,
      case when y.outcome = 1 and not y.late then y.event end event,
      coalesce(z.size, 0) <= p_inline
        and sum(case when coalesce(z.size, 0) <= p_inline then coalesce(z.size, 0) else 0 end)
          over (order by u.n, y.idx) <= p_total fits
    from unnest(p_barrier) with ordinality u (id, n)
    cross join lateral (select x.kind from {schema}.barrier x where x.id = u.id offset 0) b
    cross join lateral (select * from {schema}.slot x where x.barrier = u.id order by x.idx offset 0) y
    left join lateral (
      select octet_length(x.result) size from {schema}.outcome x
      where x.execution = case when y.outcome = 1 and not y.late and b.kind <> 3 then y.upstream end
      union all
      select octet_length(x.payload) from {schema}.event x
      where x.id = case when y.outcome = 1 and not y.late then y.event end offset 0) z on true) s
  left join lateral (select x.* from {schema}.event x where x.id = s.event offset 0) v on true
  left join lateral (
    select x.id, x.class from {schema}.execution x where x.id = coalesce(s.upstream, v.cause_execution) offset 0) e on true
  left join lateral (select k.type from {schema}.claim_class k where k.id = e.class offset 0) c on true
  left join lateral (
    select x.* from {schema}.outcome x where x.execution = case when s.outcome is not null then s.upstream end offset 0) o on true
  cross join lateral (
    select case when s.kind = 3 then v.payload_type else o.result_type end type,
      case when s.kind = 3 then v.payload else o.result end "content") p
  order by s.barrier, s.idx
$$;
