-- Traces: what an execution was created with goes on with its redrives and comes to whoever claims it.
--
-- A trace is the caller's W3C traceparent and, after a space, its tracestate, if it has one. It is written with the
-- execution and never looked at by the engine.
-- Locks: creates only. older-servers: allowed

drop function {schema}.create_executions(boolean, uuid[], int[], int[], text[], bytea[], smallint[], timestamptz[], bigint[],
  bigint[], timestamptz[], bigint[], int[], bigint[], real[], bigint[], int[], boolean[], jsonb[], text[], int[], int[],
  bytea, uuid[], uuid[], uuid[], uuid[], boolean[], uuid[], uuid[], boolean, int, text[], text[], smallint[], jsonb[], int[]);

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
-- key), p_dead_head, p_failure_events, p_hops and p_trace may be null as a whole.
-- A run made anew inherits from the one before what it reacts to, its slot, its ordering key, its failure events and its
-- trace; one that was its key's dead head takes that place again. A child without a trace has its parent's.
-- p_entered: the caller has locked the flows and looked at them.
create function {schema}.create_executions(p_atomic boolean, p_id uuid[], p_namespace int[], p_class int[],
  p_request_id text[], p_hash bytea[], p_priority smallint[], p_run_at timestamptz[], p_delay_ms bigint[], p_ttl_ms bigint[],
  p_deadline timestamptz[], p_timeout_ms bigint[], p_retry_max int[], p_retry_initial_ms bigint[], p_retry_factor real[],
  p_retry_cap_ms bigint[], p_reclaims_max int[], p_count_lost boolean[], p_tags jsonb[], p_input_type text[],
  p_input_at int[], p_input_length int[], p_input bytea, p_letter uuid[],
  p_root uuid[], p_redrive_of uuid[], p_flow uuid[], p_optional boolean[], p_parent uuid[], p_barrier uuid[],
  p_entered boolean, p_max_members int, p_key text[], p_ordering text[] default null, p_dead_head smallint[] default null,
  p_failure_events jsonb[] default null, p_hops int[] default null, p_trace text[] default null)
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
        array_agg(coalesce(u.failure_events, o.failure_events) order by u.n), array_agg(coalesce(u.trace, o.trace) order by u.n)
      into v_subscription, v_subscription_version, v_event, p_hops, v_batch, v_batch_index, v_batch_size, p_ordering,
        p_dead_head, p_failure_events, p_trace
      from unnest(p_redrive_of, p_ordering, p_dead_head, p_failure_events, p_hops, p_trace) with ordinality
        u (id, ordering, dead_head, failure_events, hops, trace, n)
      left join lateral (select x.* from {schema}.execution x where x.id = u.id offset 0) o on true;
  end if;
  if p_parent is not null then
    select array_agg(coalesce(u.trace, t.trace) order by u.n) into p_trace
      from unnest(p_parent, p_trace) with ordinality u (parent, trace, n)
      left join (
        select x.id, x.trace from (select distinct y parent from unnest(p_parent) y where y is not null) d
        cross join lateral (select x.id, x.trace from {schema}.execution x where x.id = d.parent offset 0) x
        where x.trace is not null) t on t.id = u.parent;
  end if;
  with made as (
    insert into {schema}.execution (id, namespace, class, request_id, priority, run_at, start_by, deadline, timeout_ms,
        retry_max, retry_initial_ms, retry_factor, retry_cap_ms, reclaims_max, count_lost, tags, input_type, input, letter,
        root, redrive_of, created_at, flow, optional, parent, concurrency_key, ordering_key, dead_head, failure_events, hops,
        subscription, subscription_version, event, batch, batch_index, batch_size, trace)
      select u.id, u.namespace, u.class, nullif(u.request_id, u.id::text), u.priority, u.run_at, u.start_by, u.deadline,
        u.timeout_ms, u.retry_max, u.retry_initial_ms, u.retry_factor, u.retry_cap_ms, u.reclaims_max, u.count_lost, u.tags,
        u.input_type, case when u.input_type is not null then substring(p_input from u.input_at + 1 for u.input_length) end,
        u.letter, u.root, u.redrive_of, v_now, u.flow, coalesce(u.optional, false), u.parent, u.key,
        u.ordering, u.dead_head, u.failure_events, coalesce(u.hops, 0), u.subscription, u.subscription_version, u.event, u.batch,
        u.batch_index, u.batch_size, u.trace
      from unnest(p_id, p_namespace, p_class, p_request_id, p_priority, v_run_at, v_start_by, p_deadline, p_timeout_ms,
        p_retry_max, p_retry_initial_ms, p_retry_factor, p_retry_cap_ms, p_reclaims_max, p_count_lost, p_tags, p_input_type,
        p_input_at, p_input_length, p_letter, p_root, p_redrive_of, p_flow, p_optional, p_parent, p_key, p_ordering,
        p_dead_head, p_failure_events, p_hops, v_subscription, v_subscription_version, v_event, v_batch, v_batch_index,
        v_batch_size, p_trace, v_fresh)
        u (id, namespace, class, request_id, priority, run_at, start_by, deadline, timeout_ms, retry_max, retry_initial_ms,
          retry_factor, retry_cap_ms, reclaims_max, count_lost, tags, input_type, input_at, input_length, letter, root,
          redrive_of, flow, optional, parent, key, ordering, dead_head, failure_events, hops, subscription, subscription_version,
          event, batch, batch_index, batch_size, trace, fresh)
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
      subscription_version, event, batch, batch_index, batch_size, trace)
    select u.new, e.namespace, e.class, e.priority, case when e.run_at > v_now then e.run_at end,
      greatest(v_now, e.run_at) + (e.start_by - greatest(e.run_at, e.created_at)),
      case when e.deadline > v_now then e.deadline end, e.timeout_ms, e.retry_max, e.retry_initial_ms, e.retry_factor,
      e.retry_cap_ms, e.reclaims_max, e.count_lost, e.tags, e.input_type, e.input, coalesce(e.root, e.id), e.id, v_now,
      e.flow, e.optional, e.parent, e.concurrency_key, e.ordering_key, e.dead_head, e.failure_events, e.hops, e.subscription,
      e.subscription_version, e.event, e.batch, e.batch_index, e.batch_size, e.trace
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

-- Opens the next attempt of rows that the caller took out of ready, or goes on with the one that is parked, and answers
-- everything a worker needs but the results it waited for, in the order of the rows, which is the order of their tokens.
-- `joined`: the execution's join, or the last one of the attempt's children, whose slots are to be read.
-- p_limited: classes whose leases count in a quota.
-- Traces of those that have one are told beside the answer, in a setting that ends with the transaction: a line of id and trace
-- for each. Not in a column: older servers select `(claim).*`, and what they have prepared would be refused from the
-- moment the type has one more (0A000, a cached plan must not change its result type). They are read once more, in one go:
-- a setting that grows row by row took 170 ms for 500 of them.
-- Lease ids and tokens are drawn first, so that nothing just written
-- has to be read again; the core row is reached by one probe per row, whatever the planner believes of the table
-- (offset 0 keeps it from flattening that), the last failure only where there was an attempt.
create or replace function {schema}.grant_leases(p_rows {schema}.ready[], p_namespace int, p_worker text, p_worker_name text,
  p_lease_ms bigint, p_begin_ms bigint, p_limited int[] default null)
returns setof {schema}.granted language plpgsql volatile as $$
declare
  v_now timestamptz := clock_timestamp();
  v_expires timestamptz := v_now + p_lease_ms * interval '1 ms';
  v_begin timestamptz := v_now + p_begin_ms * interval '1 ms';
  v_lease uuid[];
  v_token bigint[];
  v_n int := cardinality(p_rows);
  v_resumed uuid[];
  v_parked {schema}.parked[];
begin
  select array_agg(gen_random_uuid()), array_agg(nextval('{schema}.fencing_token')) into v_lease, v_token
    from generate_series(1, v_n);
  select array_agg(r.execution) filter (where r.resume) into v_resumed from unnest(p_rows) r;
  if v_resumed is not null then
    with gone as (delete from {schema}.parked p where p.execution = any (v_resumed) returning p)
      select array_agg(gone.p) into v_parked from gone;
  end if;
  insert into {schema}.lease (execution, lease, token, namespace, class, priority, worker, worker_name, kind, attempt,
      failures, reclaims, ready_at, started_at, length_ms, expires_at, check_at, begin_by, timeout_ms, timeout_at, start_by,
      deadline, redrive, flow, linked, waits, granted_at, progress_percent, progress_message, progress_at, gate,
      limited, usage)
    select r.execution, r.lease, r.token, p_namespace, r.class, -r.priority, p_worker, p_worker_name, coalesce(p.kind, r.kind),
      r.attempt + (not r.resume)::int, r.failures, r.reclaims, coalesce(p.ready_at, r.ready_at), coalesce(p.started_at, v_now),
      p_lease_ms, v_expires, least(v_expires, v_begin, t.timeout_at, r.deadline), v_begin, r.timeout_ms, t.timeout_at,
      r.start_by, r.deadline, r.redrive, r.flow, r.linked, coalesce(p.waits, 0),
      case when r.resume then v_now end, p.progress_percent, p.progress_message, p.progress_at, r.gate,
      coalesce(r.class = any (p_limited), false), p.usage
    from unnest(p_rows, v_lease, v_token) r (class, priority, seq, execution, ready_at, kind, attempt, failures, reclaims,
      timeout_ms, start_by, deadline, redrive, flow, linked, resume, gate, lease, token)
    left join unnest(v_parked) p on p.execution = r.execution
    cross join lateral (select v_now + case when r.resume then p.timeout_ms else r.timeout_ms end * interval '1 ms' timeout_at) t;
  return query
    select r.execution, r.lease, r.token, r.seq, r.class, (-r.priority)::smallint, r.attempt + (not r.resume)::int,
      coalesce(p.kind, r.kind), r.ready_at, coalesce(p.started_at, v_now), v_expires,
      v_now + case when r.resume then p.timeout_ms else r.timeout_ms end * interval '1 ms', r.deadline, e.input_type, e.input,
      e.tags, e.created_at, coalesce(e.root, e.id), e.redrive_of, r.failures, e.retry_max, a.failure_class, a.failure_code,
      a.message, r.flow, e.parent, r.resume, p.parked_at, coalesce(p.waits, 0), coalesce(p.barrier, c.id, b.id),
      coalesce(p.barrier, c.id) is not null,
      (case when r.resume then coalesce(p.cause, 4) end)::smallint, coalesce(p.released_at, r.ready_at), e.concurrency_key,
      e.ordering_key, e.hops, e.subscription, e.subscription_version, e.event, e.batch, e.batch_index, e.batch_size
    from unnest(p_rows, v_lease, v_token) r (class, priority, seq, execution, ready_at, kind, attempt, failures, reclaims,
      timeout_ms, start_by, deadline, redrive, flow, linked, resume, gate, lease, token)
    cross join lateral (select * from {schema}.execution where id = r.execution offset 0) e
    left join lateral (
      select * from {schema}.attempt where execution = case when r.attempt > 0 then r.execution end
        and number = r.attempt - r.resume::int offset 0) a on true
    left join unnest(v_parked) p on p.execution = r.execution
    left join lateral (
      select y.id from {schema}.barrier y where y.downstream = case when r.resume then r.execution end and y.kind = 2
        and y.created_at >= p.started_at order by y.id desc limit 1) c on true
    left join lateral (
      select y.id from {schema}.barrier y
      where y.kind in (1, 3) and y.downstream = case
          when e.subscription is not null and e.event is null then coalesce(e.root, e.id) -- a batch's, also when run again
          when r.flow is not null then r.execution end
      limit 1) b on true
    -- Always true: notes that there is a trace to tell.
    where e.trace is null or coalesce(current_setting('tailrace.traced', true), '') = 'on'
      or set_config('tailrace.traced', 'on', true) is not null
    order by r.token;
  if current_setting('tailrace.traced', true) = 'on' then
    perform set_config('tailrace.traces', concat(current_setting('tailrace.traces', true), (
      select string_agg(concat(r.execution, ' ', e.trace, chr(10)), '') from unnest(p_rows) r
      cross join lateral (select x.trace from {schema}.execution x where x.id = r.execution offset 0) e
      where e.trace is not null)), true);
  end if;
  perform {schema}.append_log(array_fill(p_namespace, array[v_n]), array_fill(20::smallint, array[v_n]),
    array_agg(r.execution), array_agg(r.flow), array_agg(r.class), array_fill(3::smallint, array[v_n]),
    array_fill(4::smallint, array[v_n]), array_agg(r.attempt + (not r.resume)::int),
    array_agg('{"worker":' || to_json(p_worker_name)::text || case when r.resume then ',"resumed":true}' else '}' end))
    from unnest(p_rows) r;
end $$;
