-- Looking at events: flows that are not settled while an event waits, counts of events, and the tree of causes with them.
-- Locks: a short ACCESS EXCLUSIVE lock on flow_count. older-servers: refused

-- Events ever published, folded from the log as state_count is. Those of a flow stand in flow_count, under 12.
create table {schema}.event_count (
  namespace int primary key,
  n bigint not null
) with (fillfactor = 50, autovacuum_vacuum_cost_delay = 0);
alter table {schema}.flow_count drop constraint flow_count_state_check,
  add constraint flow_count_state_check check (state between 0 and 12);

-- Looks whether flows have settled, under their locks; answers those it could look at. It is settled when, in one snapshot,
-- nothing of it is live and no event of it waits for what it starts: whoever routes deletes the one and inserts the other in
-- one transaction, and whoever creates or publishes holds its row, so none slips in. A failure of a required member may
-- cancel the rest.
create or replace function {schema}.check_flows(p_flow uuid[], p_now timestamptz, out looked uuid[], out seal_ms double precision)
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
          and coalesce((select false from {schema}.flow_live y where y.flow = f.id limit 1), true)
          -- What is unrouted of a canceled flow starts nothing any more, whoever it waits for.
          and (f.canceled_at is not null or f.failing_at is not null
            or coalesce((select false from {schema}.unrouted y where y.flow = f.id limit 1), true))) f
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
      select l.namespace, l.kind, l.class, l.flow, l.from_state, l.to_state, l.n,
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
      cross join lateral (values (e.from_state, -1), (e.to_state, 1),
        (case e.kind when 1 then 0::smallint when 30 then 12::smallint end, 1)) m (state, n)
      where e.flow is not null and m.state is not null
      group by e.flow, m.state having sum(m.n) <> 0),
    published as (
      select e.namespace, count(*) n
      from fresh x cross join lateral unnest(x.namespace, x.kind) e (namespace, kind)
      where 30 = any (x.kind) and e.kind = 30 group by e.namespace),
    counted as (
      insert into {schema}.flow_count as k (flow, state, n) select * from members order by flow, state
      on conflict (flow, state) do update set n = k.n + excluded.n),
    added as (
      insert into {schema}.state_count as k (class, state, n) select * from moved order by class, state
      on conflict (class, state) do update set n = k.n + excluded.n),
    told as (
      insert into {schema}.event_count as k (namespace, n) select * from published order by namespace
      on conflict (namespace) do update set n = k.n + excluded.n)
    select coalesce(sum(x.n), 0), coalesce(max(x.position + x.n - 1), upto) into folded, upto from fresh x;
  if folded > 0 then
    update {schema}.counted set position = upto;
  end if;
end $$;

-- Below any id of a child of this node: clients may make ids that are a day older than their row, and 5 min younger. So only
-- the partitions since then are looked into.
create function {schema}.child_ids_after(p_id uuid) returns uuid language sql immutable strict as $$
  select {schema}.uuid_at(('x' || left(replace(p_id::text, '-', ''), 12))::bit(48)::bigint - 87000000)
$$;

-- A node of a flow's tree: what it is, and its cause as far as that stands in the flow. An event comes from the execution that
-- emitted it, else from its cause; an execution from its trigger, else from its parent. Null: no node of this flow.
create function {schema}.tree_node(p_flow uuid, p_id uuid, out is_event boolean, out above uuid)
language plpgsql stable as $$
begin
  select true, coalesce(e.cause_execution, e.cause) into is_event, above
    from {schema}.event e where e.id = p_id and e.flow = p_flow;
  if is_event is null then
    select false, coalesce(e.event, e.parent) into is_event, above
      from {schema}.execution e where e.id = p_id and e.flow = p_flow;
  end if;
  if above is not null and not coalesce(
      (select x.flow = p_flow from {schema}.event x where x.id = above),
      (select x.flow = p_flow from {schema}.execution x where x.id = above), false) then
    above := null;
  end if;
end $$;

-- The first child of a node between two ids, events and executions in one order. Each is one probe of an index; what belongs to
-- another flow is passed over outside of it, or all of the flow would be read to find one child.
create function {schema}.tree_child(p_flow uuid, p_above uuid, p_is_event boolean, p_after uuid, p_before uuid, out id uuid,
  out is_event boolean) language plpgsql stable as $$
declare
  v_execution uuid;
begin
  if p_is_event then
    select y.id into id from (
      select x.id, x.flow from {schema}.event x where x.cause = p_above and x.cause_execution is null
        and x.id > p_after and x.id < p_before order by x.id offset 0) y
      where y.flow = p_flow limit 1;
    select y.id into v_execution from (
      select x.id, x.flow from {schema}.execution x
      where x.event = p_above and x.id > p_after and x.id < p_before order by x.id offset 0) y
      where y.flow = p_flow limit 1;
  else
    select y.id into id from (
      select x.id, x.flow from {schema}.event x
      where x.cause_execution = p_above and x.id > p_after and x.id < p_before order by x.id offset 0) y
      where y.flow = p_flow limit 1;
    select y.id into v_execution from (
      select x.id, x.flow, x.event from {schema}.execution x
      where x.parent = p_above and x.id > p_after and x.id < p_before order by x.id offset 0) y
      where y.flow = p_flow and y.event is null limit 1;
  end if;
  is_event := id is not null and (v_execution is null or id < v_execution);
  if not is_event then id := v_execution; end if;
end $$;

-- The first root after an id: of the events, or of the executions. About p_budget rows are looked at: `looked` of them were,
-- up to `upto` where none was a root. A few at a time: with so many at once they would be sorted instead of read in order.
create function {schema}.tree_root(p_flow uuid, p_is_event boolean, p_after uuid, p_budget int, out id uuid, out looked int,
  out upto uuid) language plpgsql stable as $$
declare
  v_rows refcursor;
  v_id uuid;
  v_root boolean;
  v_read int;
begin
  looked := 0;
  upto := p_after;
  while looked < p_budget loop
    if p_is_event then
      open v_rows for select x.id, not coalesce(
          (select y.flow = p_flow from {schema}.execution y where y.id = x.cause_execution),
          (select y.flow = p_flow from {schema}.event y where y.id = x.cause and x.cause_execution is null), false)
        from {schema}.event x where x.flow = p_flow and x.id > upto order by x.id limit 20;
    else
      open v_rows for select x.id, not coalesce(
          (select y.flow = p_flow from {schema}.event y where y.id = x.event),
          (select y.flow = p_flow from {schema}.execution y where y.id = x.parent and x.event is null), false)
        from {schema}.execution x where x.flow = p_flow and x.flow is not null and x.id > upto order by x.id limit 20;
    end if;
    v_read := 0;
    loop
      fetch v_rows into v_id, v_root;
      exit when not found;
      v_read := v_read + 1;
      if v_root then
        id := v_id;
        exit;
      end if;
      upto := v_id;
    end loop;
    close v_rows;
    looked := looked + v_read;
    exit when id is not null or v_read < 20;
  end loop;
end $$;

-- A page of the tree of causes of a flow, parents before children: each node is followed by its first child, else by the next
-- sibling of the nearest of itself and its ancestors that has one, else by the next root; roots that are events come first.
-- A page costs what it shows and at most p_budget rows that are no roots, wherever it begins.
-- p_root: the id of an event or execution, as it is known outside. p_after: what the page before ended with; p_scan: 1, 2: no
-- node of the tree, but how far events, executions were looked at for a root.
-- No row: there is no such flow in this namespace. The first one tells, with n 0, whether the root is known; the last one,
-- with n -1, where to go on if no node does.
create function {schema}.flow_tree(p_namespace int, p_flow uuid, p_root text, p_depth int, p_after uuid, p_scan int, p_size int,
  p_budget int) returns table (n int, id uuid, is_event boolean, above uuid, depth int) language plpgsql stable as $$
#variable_conflict use_variable
declare
  c_first constant uuid := '00000000-0000-0000-0000-000000000000';
  v_uuid uuid := case when p_root ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then p_root end;
  v_root uuid;
  v_way uuid[] := '{}';
  v_events boolean[] := '{}';
  v_node record;
  v_next uuid;
  v_next_event boolean;
  v_at uuid;
  v_last uuid := case when p_scan > 0 then p_after end; -- roots after it
  v_of_events boolean := p_scan is distinct from 2; -- roots that are events
  v_budget int := p_budget;
  v_before uuid := {schema}.uuid_at((extract(epoch from clock_timestamp()) * 1000)::bigint + 600000); -- made since
begin
  if not exists (select from {schema}.flow f where f.id = p_flow and f.namespace = p_namespace) then return; end if;
  if p_root is not null then
    v_root := coalesce((select f.event from {schema}.find_events(array[p_namespace], array[p_root]) f), v_uuid);
    select t.* into v_node from {schema}.tree_node(p_flow, v_root) t;
    if v_node.is_event is null then v_root := null; end if;
  end if;
  n := 0;
  depth := case when p_root is null or v_root is not null then 0 end;
  return next;
  if depth is null then return; end if;
  if p_after is not null and coalesce(p_scan, 0) = 0 then
    v_at := p_after;
    loop
      select t.* into v_node from {schema}.tree_node(p_flow, v_at) t;
      if v_node.is_event is null then return; end if;
      v_way := v_at || v_way;
      v_events := v_node.is_event || v_events;
      exit when v_at = v_root or v_node.above is null;
      v_at := v_node.above;
    end loop;
    if v_root is not null and v_way[1] <> v_root then return; end if;
    v_last := v_way[1];
    v_of_events := v_events[1];
  end if;
  while n < p_size loop
    v_next := null;
    if v_way <> '{}' and cardinality(v_way) <= p_depth then
      select c.id, c.is_event into v_next, v_next_event
        from {schema}.tree_child(p_flow, v_way[cardinality(v_way)], v_events[cardinality(v_way)],
          {schema}.child_ids_after(v_way[cardinality(v_way)]), v_before) c;
    end if;
    while v_next is null and cardinality(v_way) > 1 loop
      v_at := v_way[cardinality(v_way)];
      v_way := v_way[:cardinality(v_way) - 1];
      v_events := v_events[:cardinality(v_way)];
      select c.id, c.is_event into v_next, v_next_event
        from {schema}.tree_child(p_flow, v_way[cardinality(v_way)], v_events[cardinality(v_way)], v_at, v_before) c;
    end loop;
    if v_next is null then
      exit when v_root is not null and v_way <> '{}';
      v_way := '{}';
      v_events := '{}';
      if v_root is not null then
        v_next := v_root;
        v_next_event := v_node.is_event;
      else
        select r.* into v_node from {schema}.tree_root(p_flow, v_of_events, coalesce(v_last, c_first), v_budget) r;
        v_budget := v_budget - v_node.looked;
        if v_node.id is null and v_budget <= 0 then
          n := -1;
          id := coalesce(v_node.upto, v_last, c_first);
          depth := case when v_of_events then 1 else 2 end;
          return next;
          return;
        end if;
        exit when v_node.id is null and not v_of_events;
        v_last := v_node.id;
        v_next := v_node.id;
        v_next_event := v_of_events;
        v_of_events := v_of_events and v_node.id is not null;
        continue when v_next is null;
      end if;
    end if;
    v_way := v_way || v_next;
    v_events := v_events || v_next_event;
    n := n + 1;
    id := v_next;
    is_event := v_next_event;
    above := v_way[cardinality(v_way) - 1];
    depth := cardinality(v_way) - 1;
    return next;
  end loop;
end $$;
