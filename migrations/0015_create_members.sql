-- Creation, once more, for executions that belong to a flow, wait for a join, or were spawned.
-- Locks: creates only. older-servers: refused
drop function {schema}.create_executions(boolean, uuid[], int[], int[], text[], bytea[], smallint[], timestamptz[], bigint[],
  bigint[], timestamptz[], bigint[], int[], bigint[], real[], bigint[], int[], boolean[], jsonb[], text[], int[], int[],
  bytea, uuid[], uuid[], uuid[]);
drop function {schema}.creation_answers(uuid[], int[], text[], bytea[], boolean[], boolean[]);

-- The phase an execution stands in, in one statement: a mover is never missed.
create or replace function {schema}.state_of(p_execution uuid) returns smallint language sql stable as $$
  select coalesce(
    (select 3 from {schema}.ready where execution = p_execution),
    (select 4 from {schema}.lease where execution = p_execution),
    (select 2 from {schema}.scheduled where execution = p_execution),
    (select state from {schema}.blocked where execution = p_execution),
    (select state from {schema}.outcome where execution = p_execution))::smallint
$$;

-- p_refused: null, or why the item could not be made had it not existed already.
create function {schema}.creation_answers(p_id uuid[], p_namespace int[], p_request_id text[], p_hash bytea[],
  p_refused text[], p_fresh boolean[])
returns table (ord int, verdict text, execution uuid, state smallint) language sql stable as $$
  select u.ordinality::int,
    case when u.fresh then 'created' when k.hash = u.hash then 'duplicate' else coalesce(u.refused, 'reused') end,
    coalesce(k.execution, u.id), {schema}.state_of(coalesce(k.execution, u.id))
  from unnest(p_id, p_namespace, p_request_id, p_hash, p_refused, p_fresh) with ordinality
    u (id, namespace, request_id, hash, refused, fresh)
  left join {schema}.request_key k on k.namespace = u.namespace and k.request_id = u.request_id
    and k.request_id = any (p_request_id)
  order by 1
$$;

-- Which flows can be joined: null, or no_flow | flow_sealed | flow_canceled | flow_full | busy (locked by somebody: try
-- again), by flow and asking namespace, for one batch may ask for several. Holds the rows until the commit, so that a flow is
-- neither sealed nor canceled, nor found settled, meanwhile. Many creators share a row; the first member, and the first after
-- it settled, change it once they are made.
create function {schema}.enter_flows(p_flow uuid[], p_namespace int[], p_max_members int)
returns table (flow uuid, namespace int, refused text) language plpgsql volatile as $$
#variable_conflict use_column
declare
  v_rests uuid[];
  v_locked {schema}.flow[];
begin
  v_rests := array(select f.id from {schema}.flow f where f.id = any (p_flow) and (not f.began or f.state = 2));
  select array_agg(x.f) into v_locked from (
    select f from {schema}.flow f where f.id = any (p_flow) and not f.id = any (v_rests)
    order by f.id for share skip locked) x (f);
  select v_locked || array_agg(x.f) into v_locked from (
    select f from {schema}.flow f where f.id = any (v_rests) order by f.id for no key update skip locked) x (f);
  return query
    select distinct on (u.flow, u.namespace) u.flow, u.namespace, case
        when l.id is null and exists (select from {schema}.flow f where f.id = u.flow and f.namespace = u.namespace) then 'busy'
        when l.id is null or l.namespace <> u.namespace then 'no_flow'
        when l.canceled_at is not null or l.failing_at is not null then 'flow_canceled'
        when l.sealed_at is not null then 'flow_sealed'
        -- It settled between the two looks: its row was only shared.
        when l.state = 2 and not l.id = any (v_rests) then 'busy'
        when {schema}.flow_is_full(u.flow, 1, p_max_members) then 'flow_full' end
    from unnest(p_flow, p_namespace) u (flow, namespace) left join unnest(v_locked) l on l.id = u.flow;
end $$;

-- By the folded count, which is a second behind: what is created once fits.
create function {schema}.flow_is_full(p_flow uuid, p_more int, p_max int) returns boolean language sql stable as $$
  select coalesce((select c.n from {schema}.flow_count c where c.flow = p_flow and c.state = 0), 0) + p_more > p_max
$$;

-- Creates many executions, each on its own; the nth answer belongs to the nth item.
-- verdict: created | duplicate (the execution that exists is answered) | reused | closed (its lane takes no new work) |
-- what enter_flows refuses with.
-- Items are distinct by request id and by execution id: the caller sees to that. An execution id that the client chose
-- serves as its request id when it has none. Request keys are inserted in sorted
-- order, so two calls with the same keys queue and cannot deadlock; whoever comes second reads the first one's key in a
-- statement of its own, after the wait. Inputs come as one byte string and are cut by position and length: one binary
-- parameter instead of an escaped array.
-- p_atomic: any refusal rolls everything back, and the answers travel in the error's detail.
-- p_flow, p_optional, p_parent, p_barrier (the join it waits for) may be null as a whole. p_entered: the caller has locked
-- the flows and looked at them.
create function {schema}.create_executions(p_atomic boolean, p_id uuid[], p_namespace int[], p_class int[],
  p_request_id text[], p_hash bytea[], p_priority smallint[], p_run_at timestamptz[], p_delay_ms bigint[], p_ttl_ms bigint[],
  p_deadline timestamptz[], p_timeout_ms bigint[], p_retry_max int[], p_retry_initial_ms bigint[], p_retry_factor real[],
  p_retry_cap_ms bigint[], p_reclaims_max int[], p_count_lost boolean[], p_tags jsonb[], p_input_type text[],
  p_input_at int[], p_input_length int[], p_input bytea, p_letter uuid[],
  p_root uuid[], p_redrive_of uuid[], p_flow uuid[], p_optional boolean[], p_parent uuid[], p_barrier uuid[],
  p_entered boolean, p_max_members int)
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
  with made as (
    insert into {schema}.execution (id, namespace, class, request_id, priority, run_at, start_by, deadline, timeout_ms,
        retry_max, retry_initial_ms, retry_factor, retry_cap_ms, reclaims_max, count_lost, tags, input_type, input, letter,
        root, redrive_of, created_at, flow, optional, parent)
      select u.id, u.namespace, u.class, nullif(u.request_id, u.id::text), u.priority, u.run_at, u.start_by, u.deadline,
        u.timeout_ms, u.retry_max, u.retry_initial_ms, u.retry_factor, u.retry_cap_ms, u.reclaims_max, u.count_lost, u.tags,
        u.input_type, case when u.input_type is not null then substring(p_input from u.input_at + 1 for u.input_length) end,
        u.letter, u.root, u.redrive_of, v_now, u.flow, coalesce(u.optional, false), u.parent
      from unnest(p_id, p_namespace, p_class, p_request_id, p_priority, v_run_at, v_start_by, p_deadline, p_timeout_ms,
        p_retry_max, p_retry_initial_ms, p_retry_factor, p_retry_cap_ms, p_reclaims_max, p_count_lost, p_tags, p_input_type,
        p_input_at, p_input_length, p_letter, p_root, p_redrive_of, p_flow, p_optional, p_parent, v_fresh)
        u (id, namespace, class, request_id, priority, run_at, start_by, deadline, timeout_ms, retry_max, retry_initial_ms,
          retry_factor, retry_cap_ms, reclaims_max, count_lost, tags, input_type, input_at, input_length, letter, root,
          redrive_of, flow, optional, parent, fresh)
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
    if 3 = any (v_state) then
      insert into {schema}.ready (class, priority, seq, execution, ready_at, kind, attempt, failures, reclaims, timeout_ms,
          start_by, deadline, redrive, flow, linked)
        select u.class, -u.priority, nextval('{schema}.ready_seq'), u.id, v_now,
          case when u.letter is null then 1 else 5 end, 0, 0, 0, u.timeout_ms, u.start_by, u.deadline,
          u.letter is not null, u.flow, u.flow is not null or u.parent is not null
        from unnest(p_id, p_class, p_priority, p_timeout_ms, v_start_by, p_deadline, v_state, p_letter, v_fresh, p_flow, p_parent)
          u (id, class, priority, timeout_ms, start_by, deadline, state, letter, fresh, flow, parent)
        where u.fresh and u.state = 3;
    end if;
    if 2 = any (v_state) then
      insert into {schema}.scheduled (execution, run_at, class, priority, kind, attempt, failures, reclaims, timeout_ms,
          start_by, deadline, redrive, flow, linked)
        select u.id, u.run_at, u.class, u.priority, case when u.letter is null then 1 else 5 end, 0, 0, 0, u.timeout_ms,
          u.start_by, u.deadline, u.letter is not null, u.flow, u.flow is not null or u.parent is not null
        from unnest(p_id, p_class, p_priority, p_timeout_ms, v_start_by, p_deadline, v_run_at, v_state, p_letter, v_fresh, p_flow,
          p_parent) u (id, class, priority, timeout_ms, start_by, deadline, run_at, state, letter, fresh, flow, parent)
        where u.fresh and u.state = 2;
    end if;
    if p_barrier is not null then
      insert into {schema}.blocked (execution, state, barrier, blocked_at, run_at, class, priority, kind, attempt, failures,
          reclaims, timeout_ms, start_by, deadline, redrive, flow, linked, resume)
        select u.id, 1, u.barrier, v_now, u.run_at, u.class, u.priority, case when u.letter is null then 1 else 5 end, 0, 0,
          0, u.timeout_ms, u.start_by, u.deadline, u.letter is not null, u.flow, true, false
        from unnest(p_id, p_barrier, p_class, p_priority, p_timeout_ms, v_start_by, p_deadline, v_run_at, p_letter, v_fresh,
          p_flow) u (id, barrier, class, priority, timeout_ms, start_by, deadline, run_at, letter, fresh, flow)
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

-- Stores the joins and slots that a call adds; the executions they name exist, or are made by the same transaction.
-- Joins as JSON, for they are few; slots in columns. A join that exists is left alone but for its number of slots.
create function {schema}.add_joins(p_namespace int, p_flow uuid, p_kind smallint, p_joins jsonb, p_barrier uuid[],
  p_idx int[], p_upstream uuid[], p_downstream uuid[], p_name text[], p_optional boolean[], p_source text[],
  p_now timestamptz) returns void language plpgsql volatile as $$
begin
  insert into {schema}.slot (barrier, idx, upstream, downstream, flow, is_edge, name, optional, source)
    select u.barrier, u.idx, u.upstream, u.downstream, p_flow, p_kind = 1, u.name, u.optional,
      case when j.distinct_sources then coalesce(u.source, u.upstream::text) else u.source end
    from unnest(p_barrier, p_idx, p_upstream, p_downstream, p_name, p_optional, p_source)
      u (barrier, idx, upstream, downstream, name, optional, source)
    join jsonb_to_recordset(p_joins) j (id uuid, distinct_sources boolean) on j.id = u.barrier;
  insert into {schema}.barrier (id, namespace, kind, downstream, flow, mode, quorum, distinct_sources, cancel_rest, on_timeout,
      timeout_ms, sealed, depth, slots, chances, created_at, expires_at, due_at)
    select j.id, p_namespace, p_kind, j.downstream, p_flow, j.mode, j.quorum, j.distinct_sources, j.cancel_rest,
      j.on_timeout, j.timeout_ms, j.sealed, j.depth, j.slots,
      case when j.distinct_sources then (select count(distinct s.source) from {schema}.slot s where s.barrier = j.id) else 0 end,
      p_now, p_now + j.timeout_ms * interval '1 ms', p_now + j.timeout_ms * interval '1 ms'
    from jsonb_to_recordset(p_joins) j (id uuid, downstream uuid, sealed boolean, depth int, slots int, mode smallint,
      quorum int, distinct_sources boolean, cancel_rest boolean, on_timeout smallint, timeout_ms bigint)
    on conflict (id) do nothing;
end $$;

-- Makes a flow's row and remembers its request id. Its members and joins follow in the same transaction.
-- verdict: done | duplicate | reused.
create function {schema}.begin_flow(p_flow uuid, p_namespace int, p_request_id text, p_hash bytea, p_name text,
  p_tags jsonb, p_failure_policy smallint, p_cancel_now boolean, p_cancel_grace_ms bigint, p_cancel_accepts_late boolean,
  p_open boolean, p_seal_after_idle_ms bigint, p_members jsonb, out verdict text, out flow uuid, out revision bigint,
  out state smallint, out members jsonb) language plpgsql volatile as $$
declare
  v_now timestamptz := clock_timestamp();
  v_key {schema}.flow_request;
begin
  if p_request_id is not null then
    insert into {schema}.flow_request (namespace, request_id, flow, revision, hash, members, created_at)
      values (p_namespace, p_request_id, p_flow, 1, p_hash, p_members, v_now) on conflict do nothing;
    if not found then
      select k.* into v_key from {schema}.flow_request k where k.namespace = p_namespace and k.request_id = p_request_id;
      verdict := case when v_key.hash = p_hash then 'duplicate' else 'reused' end;
      flow := v_key.flow; revision := v_key.revision; members := v_key.members;
      state := (select f.state from {schema}.flow f where f.id = v_key.flow);
      return;
    end if;
  end if;
  flow := p_flow; revision := 1; state := 1; members := p_members;
  insert into {schema}.flow (id, namespace, name, tags, failure_policy, cancel_now, cancel_grace_ms, cancel_accepts_late,
      began, seal_after_idle_ms, created_at, sealed_at)
    values (p_flow, p_namespace, p_name, p_tags, p_failure_policy, p_cancel_now, p_cancel_grace_ms, p_cancel_accepts_late,
      p_members <> '{}', p_seal_after_idle_ms, v_now, case when not p_open then v_now end)
    on conflict do nothing;
  verdict := case when found then 'done' else 'reused' end;
  if verdict = 'done' then
    perform {schema}.append_log(array[p_namespace], array[40::smallint], array[null::uuid], array[p_flow],
      array[null::int], array[null::smallint], array[null::smallint], array[null::int],
      array[json_build_object('name', p_name, 'members', (select count(*) from jsonb_object_keys(p_members)))::text]);
  end if;
end $$;

-- The first half of an extension: everything is locked and looked at, nothing is written. Rows are taken in the order phase
-- rows → joins → flow; two extensions of one flow queue before that, or they would take each other's phase rows crosswise.
-- An upstream that is ending meanwhile is waited for, and has its outcome then; one that ends later finds the new slot.
-- verdict: done, or one of FlowRefusal, with what it is about.
create function {schema}.begin_extension(p_namespace int, p_flow uuid, p_request_id text, p_hash bytea, p_expected bigint,
  p_seen bigint, p_existing uuid[], p_downstreams uuid[], p_joins jsonb, p_seal_joins uuid[], p_seal boolean, p_more int, p_max_members int,
  p_max_slots int, p_holder uuid, p_lease uuid, p_token bigint,
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
    v_found := array(select r.execution from {schema}.ready r where r.execution = any (v_missing) order by r.execution for update);
    v_found := v_found || array(select s.execution from {schema}.scheduled s where s.execution = any (v_missing) order by s.execution for update);
    v_found := v_found || array(select b.execution from {schema}.blocked b where b.execution = any (v_missing) order by b.execution for update);
    v_found := v_found || array(select l.execution from {schema}.lease l where l.execution = any (v_missing) order by l.execution for update);
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
      when b.id is null and (coalesce((select true from {schema}.barrier y where y.downstream = d.id and y.kind = 1 limit 1), false)
        or not coalesce((select r.attempt = 0 from {schema}.ready r where r.execution = d.id),
          (select s.attempt = 0 from {schema}.scheduled s where s.execution = d.id), false)) then 'late'
      when b.sealed or (b.id is not null and j.given) then 'late'
      when coalesce(b.slots, 0) + j.slots > p_max_slots then 'wide'
      when coalesce(b.slots, 0) + j.slots < coalesce(b.quorum, j.quorum) and (coalesce(b.sealed, j.sealed) or d.id = any (p_seal_joins))
        then 'unreachable' end, d.id
    into verdict, subject
    from unnest(p_downstreams) d (id) join jsonb_to_recordset(p_joins) j (downstream uuid, slots int, given boolean, sealed boolean,
      quorum int) on j.downstream = d.id
    left join lateral (select y.* from {schema}.barrier y where y.downstream = d.id and y.kind = 1 and y.state = 1 offset 0) b on true
    order by 1 nulls last limit 1;
  if verdict is not null then return; end if;
  select case when b.id is null then 'no_join' when b.quorum > b.slots + coalesce(j.slots, 0) then 'unreachable' end, u
    into verdict, subject
    from unnest(p_seal_joins) u
    left join jsonb_to_recordset(p_joins) j (downstream uuid, slots int) on j.downstream = u
    left join lateral (select y.* from {schema}.barrier y where y.downstream = u and y.kind = 1 and y.state = 1 offset 0) b on true
    order by 1 nulls last limit 1;
  if verdict is not null then return; end if;
  verdict := 'done';
  subject := null;
end $$;

-- The second half: joins and slots are added and sealed, slots of upstreams that have ended are filled, and what that
-- decides happens here. Everything it touches was locked by begin_extension; new members were created before this.
create function {schema}.extend_flow(p_namespace int, p_flow uuid, p_request_id text, p_hash bytea, p_members jsonb,
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
    cross join lateral (select y.* from {schema}.barrier y where y.downstream = j.downstream and y.kind = 1 and y.state = 1 offset 0) b;
  v_known := coalesce(v_known, '{}');
  select coalesce(jsonb_agg(case when v_known ? (j ->> 'id') then j || jsonb_build_object('id', v_known -> (j ->> 'id') -> 'id',
      'distinct_sources', v_known -> (j ->> 'id') -> 'distinct') else j end), '[]') into v_joins from jsonb_array_elements(p_joins) j;
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
        r.deadline, r.redrive, r.flow),
    later as (
      delete from {schema}.scheduled r where r.execution = any (v_downstreams)
      returning r.execution, r.run_at, r.class, r.priority, r.kind, r.timeout_ms, r.start_by, r.deadline, r.redrive, r.flow),
    moved as (
      insert into {schema}.blocked (execution, state, barrier, blocked_at, run_at, class, priority, kind, attempt, failures,
          reclaims, timeout_ms, start_by, deadline, redrive, flow, linked, resume)
        select x.execution, 1, j.id, v_now, x.run_at, x.class, x.priority, x.kind, 0, 0, 0, x.timeout_ms, x.start_by,
          x.deadline, x.redrive, x.flow, true, false
        from (select * from gone union all select * from later) x
        join jsonb_to_recordset(v_joins) j (id uuid, downstream uuid) on j.downstream = x.execution
        returning *)
    select array_agg(row(p_namespace, 2, m.execution, p_flow, m.class, case when m.run_at is null then 3 else 2 end, 1, 0,
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
  follows := p_seal or v_fold.left_over or v_fold.endings is not null;
end $$;

-- Seals a flow and the joins that were still open for more slots. verdict: done (also when it was sealed before) | missing |
-- conflict | empty (it never had a member).
create function {schema}.seal_flow(p_namespace int, p_flow uuid, p_expected bigint, out verdict text, out flow uuid,
  out revision bigint, out state smallint, out woken int[], out follows boolean) language plpgsql volatile as $$
declare
  v_now timestamptz;
  v_flow {schema}.flow;
  v_joins uuid[];
  v_fold record;
begin
  flow := p_flow;
  follows := false;
  perform pg_advisory_xact_lock(hashtext('tailrace flow'), hashtext(p_flow::text));
  v_joins := array(select b.id from {schema}.barrier b where b.flow = p_flow and b.state = 1 and b.kind = 1 and not b.sealed
    order by b.id for update);
  select f.* into v_flow from {schema}.flow f where f.id = p_flow and f.namespace = p_namespace for update;
  v_now := clock_timestamp();
  if v_flow.id is null then
    verdict := 'missing';
    return;
  end if;
  revision := v_flow.revision; state := v_flow.state;
  verdict := case when v_flow.sealed_at is not null then 'done' when p_expected not in (0, revision) then 'conflict'
    when not v_flow.began then 'empty' else 'done' end;
  if verdict <> 'done' or v_flow.sealed_at is not null then return; end if;
  update {schema}.flow f set revision = f.revision + 1, sealed_at = v_now, seal_at = null where f.id = p_flow
    returning f.revision into revision;
  update {schema}.barrier b set sealed = true where b.id = any (v_joins);
  insert into {schema}.follow_up (kind, subject) values (1, p_flow);
  follows := true;
  select f.* into v_fold from {schema}.fold_joins(v_joins, '{}', '{}', '{}', v_now) f;
  woken := v_fold.classes;
  perform {schema}.append_items(array[p_namespace], array[42::smallint], array[null::uuid], array[p_flow],
    array[null::int], array[null::smallint], array[null::smallint], array[null::int],
    array[json_build_object('revision', revision)::text], v_fold.items);
  if v_fold.endings is not null then perform {schema}.settle(v_fold.endings, v_now, true); end if;
end $$;
