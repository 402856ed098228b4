-- Keys and suspensions where flows grow and where members are made anew.
-- Locks: creates only. older-servers: refused

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
      created_at, flow, optional, parent, concurrency_key)
    select u.new, e.namespace, e.class, e.priority, case when e.run_at > v_now then e.run_at end,
      greatest(v_now, e.run_at) + (e.start_by - greatest(e.run_at, e.created_at)),
      case when e.deadline > v_now then e.deadline end, e.timeout_ms, e.retry_max, e.retry_initial_ms, e.retry_factor,
      e.retry_cap_ms, e.reclaims_max, e.count_lost, e.tags, e.input_type, e.input, coalesce(e.root, e.id), e.id, v_now,
      e.flow, e.optional, e.parent, e.concurrency_key
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
        p_flow, true, false, {schema}.gate_of((select c.lane from {schema}.claim_class c where c.id = e.class), e.concurrency_key)
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

-- The first half of an extension: everything is locked and looked at, nothing is written. Rows are taken in the order phase
-- rows → joins → flow; two extensions of one flow queue before that, or they would take each other's phase rows crosswise.
-- An upstream that is ending meanwhile is waited for, and has its outcome then; one that ends later finds the new slot.
-- verdict: done, or one of FlowRefusal, with what it is about.
create or replace function {schema}.begin_extension(p_namespace int, p_flow uuid, p_request_id text, p_hash bytea,
  p_expected bigint, p_seen bigint, p_existing uuid[], p_downstreams uuid[], p_joins jsonb, p_seal_joins uuid[],
  p_seal boolean, p_more int, p_max_members int, p_max_slots int, p_holder uuid, p_lease uuid, p_token bigint,
  out verdict text, out subject text, out revision bigint, out state smallint, out members jsonb, out flow uuid)
language plpgsql volatile as $$
declare
  v_key {schema}.flow_request;
  v_missing uuid[];
  v_found uuid[];
  v_flow {schema}.flow;
begin
  flow := p_flow;
  perform pg_advisory_xact_lock(hashtext('tailrace flow'), hashtext(p_flow::text));
  if p_request_id is not null then
    select k.* into v_key from {schema}.flow_request k where k.namespace = p_namespace and k.request_id = p_request_id;
    if found then
      verdict := case when v_key.hash = p_hash then 'duplicate' else 'reused' end;
      subject := v_key.flow; flow := v_key.flow; revision := v_key.revision; members := v_key.members;
      state := (select f.state from {schema}.flow f where f.id = v_key.flow);
      return;
    end if;
  end if;
  if not exists (select from {schema}.flow f where f.id = p_flow and f.namespace = p_namespace) then
    verdict := 'missing'; subject := p_flow;
    return;
  end if;
  if p_holder is not null then
    perform 1 from {schema}.lease l where l.execution = p_holder and l.lease = p_lease and l.token = p_token
      and l.namespace = p_namespace and l.flow = p_flow for update;
    if not found or not exists (select from {schema}.lease l where l.execution = p_holder and l.lease = p_lease
        and l.token = p_token and l.expires_at > clock_timestamp()) then
      verdict := 'lost'; subject := p_holder;
      return;
    end if;
  end if;
  subject := (select u from unnest(p_existing) u where not exists (
    select from {schema}.execution e where e.id = u and e.flow = p_flow and e.namespace = p_namespace) limit 1);
  if subject is not null then
    verdict := 'unknown';
    return;
  end if;
  v_missing := p_existing;
  for i in 1 .. 100 loop
    exit when v_missing = '{}';
    v_found := array(
      select r.execution from {schema}.ready r where r.execution = any (v_missing) order by r.execution for update);
    v_found := v_found || array(
      select s.execution from {schema}.scheduled s where s.execution = any (v_missing) order by s.execution for update);
    v_found := v_found || array(
      select b.execution from {schema}.blocked b where b.execution = any (v_missing) order by b.execution for update);
    v_found := v_found || array(
      select s.execution from {schema}.suspension s where s.execution = any (v_missing) order by s.execution for update);
    v_found := v_found || array(
      select l.execution from {schema}.lease l where l.execution = any (v_missing) order by l.execution for update);
    v_found := v_found || array(select o.execution from {schema}.outcome o where o.execution = any (v_missing));
    v_missing := array(select u from unnest(v_missing) u where not u = any (v_found));
  end loop;
  if v_missing <> '{}' then
    raise exception using errcode = '55P03', message = 'members of the flow kept moving';
  end if;
  perform 1 from {schema}.barrier b where b.downstream = any (p_downstreams || p_seal_joins) and b.kind = 1 and b.state = 1
    order by b.id for update;
  select f.* into v_flow from {schema}.flow f where f.id = p_flow for update;
  revision := v_flow.revision; state := v_flow.state;
  subject := p_flow;
  verdict := case when v_flow.canceled_at is not null or v_flow.failing_at is not null then 'canceled'
    when v_flow.sealed_at is not null then 'sealed'
    when p_expected not in (0, revision) then 'conflict'
    when p_seen not in (0, revision) then 'moved'
    when p_seal and not v_flow.began and p_more = 0 then 'empty'
    when {schema}.flow_is_full(p_flow, p_more, p_max_members) then 'full' end;
  if verdict is not null then return; end if;
  -- A downstream that exists: its join is open and takes more slots, or it has none and has not started.
  select case
      when b.id is null and (
        coalesce((select true from {schema}.barrier y where y.downstream = d.id and y.kind = 1 limit 1), false)
        or not coalesce((select r.attempt = 0 from {schema}.ready r where r.execution = d.id),
          (select s.attempt = 0 from {schema}.scheduled s where s.execution = d.id),
          (select y.attempt = 0 from {schema}.blocked y where y.execution = d.id and y.waits_for <> 1), false)) then 'late'
      when b.sealed or (b.id is not null and j.given) then 'late'
      when coalesce(b.slots, 0) + j.slots > p_max_slots then 'wide'
      when coalesce(b.slots, 0) + j.slots < coalesce(b.quorum, j.quorum)
          and (coalesce(b.sealed, j.sealed) or d.id = any (p_seal_joins))
        then 'unreachable' end, d.id
    into verdict, subject
    from unnest(p_downstreams) d (id)
    join jsonb_to_recordset(p_joins) j (downstream uuid, slots int, given boolean, sealed boolean, quorum int)
      on j.downstream = d.id
    left join lateral (
      select y.* from {schema}.barrier y where y.downstream = d.id and y.kind = 1 and y.state = 1 offset 0) b on true
    order by 1 nulls last limit 1;
  if verdict is not null then return; end if;
  select case when b.id is null then 'no_join' when b.quorum > b.slots + coalesce(j.slots, 0) then 'unreachable' end, u
    into verdict, subject
    from unnest(p_seal_joins) u
    left join jsonb_to_recordset(p_joins) j (downstream uuid, slots int) on j.downstream = u
    left join lateral (
      select y.* from {schema}.barrier y where y.downstream = u and y.kind = 1 and y.state = 1 offset 0) b on true
    order by 1 nulls last limit 1;
  if verdict is not null then return; end if;
  verdict := 'done';
  subject := null;
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
      insert into {schema}.follow_up (kind, subject) select distinct 7, g.gate from gone g where g.gate is not null),
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
