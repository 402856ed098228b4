-- Redrives of flow members: the new run takes the old one's place, and whatever was SKIPPED because of it gets another
-- chance, in the transaction that makes the run. Nothing that ran runs again.
-- Lock order: flow → letter; executions and joins made here are nobody else's yet.
-- Locks: creates only. older-servers: refused

-- The newest run in this flow of the chain of redrives that began with this one; some in between may be detached.
create function {schema}.latest_run(p_execution uuid, p_flow uuid) returns uuid language sql stable as $$
  with recursive again as (
      select p_execution id, 0 n, true inside
      union all
      select e.id, a.n + 1, coalesce(e.flow = p_flow, false) from again a
      cross join lateral (
        select x.id, x.flow from {schema}.execution x where x.redrive_of = a.id order by x.id desc limit 1) e
      where a.n < 1000)
    select a.id from again a where a.inside order by a.n desc limit 1
$$;

-- Holds the flow for a redrive. verdict: held | canceled (only a detached redrive is possible) | missing.
create function {schema}.hold_flow(p_namespace int, p_flow uuid, out verdict text) language plpgsql volatile as $$
begin
  select case when f.canceled_at is not null then 'canceled' else 'held' end into verdict
    from {schema}.flow f where f.id = p_flow and f.namespace = p_namespace for update;
  verdict := coalesce(verdict, 'missing');
end $$;

-- Makes new executions of everything that was skipped because of p_old, which p_new runs again, with fresh joins. Slots of
-- upstreams that are not made anew are filled from their recorded outcomes, or wait for them. The flow is active again.
create function {schema}.redo_skipped(p_namespace int, p_flow uuid, p_old uuid, p_new uuid, out made uuid[], out woken int[],
  out follows boolean) language plpgsql volatile as $$
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
      cross join lateral (select y.barrier from {schema}.slot y where y.upstream = u.id and y.is_edge and y.outcome is null offset 0) s
      cross join lateral (select y.state from {schema}.barrier y where y.id = s.barrier offset 0) b where b.state = 1) then
    raise exception using errcode = '55P03', message = 'what the end of the member brings about is still under way';
  end if;
  insert into {schema}.execution (id, namespace, class, priority, run_at, start_by, deadline, timeout_ms, retry_max,
      retry_initial_ms, retry_factor, retry_cap_ms, reclaims_max, count_lost, tags, input_type, input, root, redrive_of,
      created_at, flow, optional, parent)
    select u.new, e.namespace, e.class, e.priority, case when e.run_at > v_now then e.run_at end,
      greatest(v_now, e.run_at) + (e.start_by - greatest(e.run_at, e.created_at)),
      case when e.deadline > v_now then e.deadline end, e.timeout_ms, e.retry_max, e.retry_initial_ms, e.retry_factor,
      e.retry_cap_ms, e.reclaims_max, e.count_lost, e.tags, e.input_type, e.input, coalesce(e.root, e.id), e.id, v_now,
      e.flow, e.optional, e.parent
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
        reclaims, timeout_ms, start_by, deadline, redrive, flow, linked, resume)
      select e.id, 1, b.id, v_now, e.run_at, e.class, e.priority, 5, 0, 0, 0, e.timeout_ms, e.start_by, e.deadline, false,
        p_flow, true, false
      from barriers b cross join lateral (select y.* from {schema}.execution y where y.id = b.downstream offset 0) e;
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
  v_held := v_held || array(select r.execution from {schema}.scheduled r where r.execution = any (v_upstreams) for key share nowait);
  v_held := v_held || array(select r.execution from {schema}.blocked r where r.execution = any (v_upstreams) for key share nowait);
  v_held := v_held || array(select r.execution from {schema}.lease r where r.execution = any (v_upstreams) for key share nowait);
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
