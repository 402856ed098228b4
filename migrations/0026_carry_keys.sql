-- Keys and suspensions where executions are made, parked, canceled and changed: as before, but for those two.
-- Locks: creates only. older-servers: refused
drop function {schema}.create_executions(boolean, uuid[], int[], int[], text[], bytea[], smallint[], timestamptz[], bigint[],
  bigint[], timestamptz[], bigint[], int[], bigint[], real[], bigint[], int[], boolean[], jsonb[], text[], int[], int[],
  bytea, uuid[], uuid[], uuid[], uuid[], boolean[], uuid[], uuid[], boolean, int);

-- Creates many executions, each on its own; the nth answer belongs to the nth item.
-- verdict: created | duplicate (the execution that exists is answered) | reused | closed (its lane takes no new work) |
-- what enter_flows refuses with.
-- Items are distinct by request id and by execution id: the caller sees to that. An execution id that the client chose
-- serves as its request id when it has none. Request keys are inserted in sorted
-- order, so two calls with the same keys queue and cannot deadlock; whoever comes second reads the first one's key in a
-- statement of its own, after the wait. Inputs come as one byte string and are cut by position and length: one binary
-- parameter instead of an escaped array.
-- p_atomic: any refusal rolls everything back, and the answers travel in the error's detail.
-- p_flow, p_optional, p_parent, p_barrier (the join it waits for), p_key (the concurrency key) may be null as a whole.
-- p_entered: the caller has locked the flows and looked at them.
create or replace function {schema}.create_executions(p_atomic boolean, p_id uuid[], p_namespace int[], p_class int[],
  p_request_id text[], p_hash bytea[], p_priority smallint[], p_run_at timestamptz[], p_delay_ms bigint[], p_ttl_ms bigint[],
  p_deadline timestamptz[], p_timeout_ms bigint[], p_retry_max int[], p_retry_initial_ms bigint[], p_retry_factor real[],
  p_retry_cap_ms bigint[], p_reclaims_max int[], p_count_lost boolean[], p_tags jsonb[], p_input_type text[],
  p_input_at int[], p_input_length int[], p_input bytea, p_letter uuid[],
  p_root uuid[], p_redrive_of uuid[], p_flow uuid[], p_optional boolean[], p_parent uuid[], p_barrier uuid[],
  p_entered boolean, p_max_members int, p_key text[])
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
        root, redrive_of, created_at, flow, optional, parent, concurrency_key)
      select u.id, u.namespace, u.class, nullif(u.request_id, u.id::text), u.priority, u.run_at, u.start_by, u.deadline,
        u.timeout_ms, u.retry_max, u.retry_initial_ms, u.retry_factor, u.retry_cap_ms, u.reclaims_max, u.count_lost, u.tags,
        u.input_type, case when u.input_type is not null then substring(p_input from u.input_at + 1 for u.input_length) end,
        u.letter, u.root, u.redrive_of, v_now, u.flow, coalesce(u.optional, false), u.parent, u.key
      from unnest(p_id, p_namespace, p_class, p_request_id, p_priority, v_run_at, v_start_by, p_deadline, p_timeout_ms,
        p_retry_max, p_retry_initial_ms, p_retry_factor, p_retry_cap_ms, p_reclaims_max, p_count_lost, p_tags, p_input_type,
        p_input_at, p_input_length, p_letter, p_root, p_redrive_of, p_flow, p_optional, p_parent, p_key, v_fresh)
        u (id, namespace, class, request_id, priority, run_at, start_by, deadline, timeout_ms, retry_max, retry_initial_ms,
          retry_factor, retry_cap_ms, reclaims_max, count_lost, tags, input_type, input_at, input_length, letter, root,
          redrive_of, flow, optional, parent, key, fresh)
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
    if p_key is not null then
      -- A key is met for the first time once: two who do queue here, in order of the keys, and cannot deadlock.
      select array_agg({schema}.gate_of(c.lane, u.key) order by u.ordinality) into v_gate
        from unnest(p_class, p_key) with ordinality u (class, key) join {schema}.claim_class c on c.id = u.class;
      insert into {schema}.concurrency_key (id, namespace, lane, key)
        select distinct on (u.gate) u.gate, u.namespace, c.lane, u.key
        from unnest(v_gate, p_namespace, p_class, p_key, v_fresh) u (gate, namespace, class, key, fresh)
        join {schema}.claim_class c on c.id = u.class
        where u.fresh and u.gate is not null order by u.gate on conflict do nothing;
      select array_agg(u.ordinality::int order by u.ordinality), array_agg(row(u.class, -u.priority, 0, u.id, v_now,
          case when u.letter is null then 1 else 5 end, 0, 0, 0, u.timeout_ms, u.start_by, u.deadline, u.letter is not null,
          u.flow, u.flow is not null or u.parent is not null, false, u.gate)::{schema}.ready order by u.ordinality)
        into v_at, v_entering
        from unnest(p_id, p_class, p_priority, p_timeout_ms, v_start_by, p_deadline, v_state, p_letter, v_fresh, p_flow,
          p_parent, v_gate) with ordinality
          u (id, class, priority, timeout_ms, start_by, deadline, state, letter, fresh, flow, parent, gate)
        where u.fresh and u.state = 3 and u.gate is not null;
      if v_at is not null then
        v_entered := ({schema}.enter_line(v_entering, v_now)).states;
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
          p_parent, v_gate) u (id, class, priority, timeout_ms, start_by, deadline, run_at, state, letter, fresh, flow, parent,
          gate)
        where u.fresh and u.state = 2;
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

-- The second half for a parent that waits: its lease becomes a blocked row and a parked attempt. The children exist.
-- A crash before the commit leaves the lease and no child; after it a repeat is a duplicate until the next grant.
drop function {schema}.park(int, uuid, smallint, bytea, jsonb, uuid[], int[], uuid[], uuid[], text[], boolean[], text[]);
create function {schema}.park(p_namespace int, p_execution uuid, p_call smallint, p_hash bytea, p_joins jsonb,
  p_barrier uuid[], p_idx int[], p_upstream uuid[], p_downstream uuid[], p_name text[], p_optional boolean[],
  p_source text[], out woken int[], out follows boolean) language plpgsql volatile as $$
declare
  v_now timestamptz := clock_timestamp();
  v_join uuid := p_joins -> 0 ->> 'id';
  v_lease {schema}.lease;
  v_items {schema}.log_item[];
begin
  follows := false;
  delete from {schema}.lease l where l.execution = p_execution returning l.* into v_lease;
  perform {schema}.add_joins(p_namespace, v_lease.flow, 2::smallint, p_joins, p_barrier, p_idx, p_upstream, p_downstream,
    p_name, p_optional, p_source, v_now);
  perform {schema}.park_attempt(v_lease, v_join, p_call, p_hash, v_now);
  insert into {schema}.blocked (execution, state, barrier, blocked_at, class, priority, kind, attempt, failures, reclaims,
      timeout_ms, start_by, deadline, redrive, flow, linked, resume, gate)
    values (p_execution, 6, v_join, v_now, v_lease.class, v_lease.priority, v_lease.kind, v_lease.attempt, v_lease.failures,
      v_lease.reclaims, v_lease.timeout_ms, v_lease.start_by, v_lease.deadline, v_lease.redrive, v_lease.flow, v_lease.linked,
      true, v_lease.gate);
  -- Its children may have its key: who waits gives the slot up.
  if v_lease.gate is not null then
    select b.classes, b.items, b.left_over into woken, v_items, follows
      from {schema}.balance_keys(array[v_lease.gate], v_now, false) b;
  end if;
  perform {schema}.append_items(array[p_namespace], array[2::smallint], array[p_execution], array[v_lease.flow],
    array[v_lease.class], array[4::smallint], array[6::smallint], array[v_lease.attempt],
    array['{"cause":"children","join":"' || v_join || '"}'], v_items);
end $$;

-- Ends waiting work in the call; asks a holder to stop, or ends it. The first request stands. p_lease: a holder cancels
-- its own execution. Children it waits for are canceled by the same policy right after.
-- verdict: canceled | requested (cooperative: the holder is told) | already_requested | terminal (with what it ended as) |
-- not_found | lost. barrier: that of the children.
create or replace function {schema}.cancel_execution(p_namespace int, p_execution uuid, p_now_mode boolean, p_grace_ms bigint,
  p_accepts_late boolean, p_reason text, p_lease uuid, p_token bigint, out verdict text, out state smallint,
  out ended_at timestamptz, out barrier uuid, out woken int[], out follows boolean) language plpgsql volatile as $$
declare
  v_now timestamptz;
  v_lease {schema}.lease;
  v_waiting {schema}.waiting[];
  v_ending {schema}.ending;
begin
  if not exists (select 1 from {schema}.execution e where e.id = p_execution and e.namespace = p_namespace) then
    verdict := 'not_found';
    return;
  end if;
  for i in 1 .. 100 loop
    v_ending := null;
    if p_lease is null then
      -- Waits for whoever has its row, wherever it stands; then takes it, if it still stands there.
      perform 1 from {schema}.ready r where r.execution = p_execution for update;
      if not found then perform 1 from {schema}.scheduled s where s.execution = p_execution for update; end if;
      if not found then perform 1 from {schema}.blocked b where b.execution = p_execution for update; end if;
      if not found then perform 1 from {schema}.suspension s where s.execution = p_execution for update; end if;
      v_waiting := {schema}.take_waiting(array[p_execution]);
      if v_waiting is not null then
        v_ending := {schema}.ending_of_waiting(v_waiting[1], p_namespace, 9::smallint, 20::smallint, p_reason);
        if v_ending.from_state = 6 then barrier := v_ending.barrier; end if;
      end if;
    end if;
    select l.* into v_lease from {schema}.lease l where l.execution = p_execution and v_ending.execution is null for update;
    v_now := clock_timestamp();
    if v_lease.execution is not null and (p_now_mode or p_lease is not null) then
      if p_lease is not null and (v_lease.lease <> p_lease or v_lease.token <> p_token or v_lease.expires_at <= v_now) then
        verdict := 'lost'; state := 4;
        return;
      end if;
      delete from {schema}.lease l where l.execution = p_execution;
      v_ending := {schema}.ending_by_engine(v_lease, 11::smallint, 8::smallint, 9::smallint,
        (case when p_lease is null then 20 else 21 end)::smallint, null, p_reason);
    end if;
    if v_ending.execution is not null then
      select s.woken, s.follows into woken, follows from {schema}.settle(array[v_ending], v_now, false,
        jsonb_build_object('now', p_now_mode, 'grace_ms', p_grace_ms, 'accepts_late', p_accepts_late, 'text', p_reason)) s;
      verdict := 'canceled'; state := 9; ended_at := v_now;
      return;
    end if;
    if v_lease.execution is not null then
      state := 4;
      verdict := case when v_lease.cancel_at is null then 'requested' else 'already_requested' end;
      if v_lease.cancel_at is null then
        update {schema}.lease l set cancel_at = v_now, cancel_until = v_now + p_grace_ms * interval '1 ms',
            cancel_accepts_late = p_accepts_late, cancel_reason = p_reason,
            check_at = least(l.check_at, v_now + p_grace_ms * interval '1 ms')
          where l.execution = p_execution;
        perform {schema}.append_log(array[p_namespace], array[5::smallint], array[p_execution], array[v_lease.flow],
          array[v_lease.class], array[null::smallint], array[null::smallint], array[v_lease.attempt],
          array[json_build_object('reason', p_reason)::text]);
      end if;
      return;
    end if;
    select 'terminal', o.state, o.ended_at into verdict, state, ended_at from {schema}.outcome o
      where o.execution = p_execution;
    if found then return; end if;
    if p_lease is not null then
      verdict := 'lost'; state := {schema}.state_of(p_execution);
      return;
    end if;
  end loop;
  raise exception using errcode = '55P03', message = 'the execution kept moving';
end $$;

drop function {schema}.change_execution(int, uuid, smallint, timestamptz, text);
-- Changes priority and run-at of waiting work: a new place in line, with a new seq.
-- verdict: changed | wrong_state | not_found. Null leaves as it is; a run-at that has passed makes it claimable. The time
-- to live of work that never started counts from the later of creation and earliest start, so it moves along.
-- classes: of those that came in line for it; follows: a key is to be looked at.
create function {schema}.change_execution(p_namespace int, p_execution uuid, p_priority smallint, p_run_at timestamptz,
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
        -- What waits for its key or a budget and is to run later leaves that line, and comes back to it then.
        if p_run_at > v_now then
          delete from {schema}.blocked b where b.execution = p_execution and b.waits_for <> 1 returning b.* into v_blocked;
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
        -- What waits for a join keeps waiting; it is where it goes afterwards that changes.
        update {schema}.blocked b set priority = coalesce(p_priority, b.priority),
            run_at = case when b.state = 1 and b.waits_for = 1 then coalesce(p_run_at, b.run_at) end,
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
          v_waiting.gate)::{schema}.ready], v_now)).states[1];
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

-- Why these holders were refused, in the order of checks that holds for every worker write: not found, repeat of the
-- call that ended this very attempt (unless a newer one is open, be it parked), terminal, revoked, expired, other content,
-- superseded, never its holder.
create or replace function {schema}.explain_refusals(p_ord int[], p_namespace int[], p_execution uuid[], p_lease uuid[],
  p_token bigint[], p_call smallint, p_hash bytea[])
returns table (ord int, verdict text, state smallint, attempt int, token bigint, run_at timestamptz, outcome smallint,
  reason smallint, failures int, ended_at timestamptz, class int, letter uuid)
language sql stable as $$
  select u.ord,
    case
      when e.id is null then 'not_found'
      when l.lease = u.lease and l.token = u.token and l.expires_at > clock_timestamp() then
        case when l.cancel_at is not null and not l.cancel_accepts_late and p_call = 1 then 'canceling' else 'busy' end
      when mine.call = p_call and mine.hash is not distinct from u.hash and l.execution is null
        and mine.number = latest.number and coalesce(parked.number, 0) <= mine.number then 'duplicate'
      when o.execution is not null then 'terminal'
      when parked.lease = u.lease and parked.token = u.token then 'other_content'
      when mine.outcome = 9 then 'revoked'
      when mine.outcome in (3, 4, 8, 10, 11) or (l.lease = u.lease and l.token = u.token) then 'expired'
      when mine.call = p_call and mine.hash is not distinct from u.hash then 'superseded'
      when mine.number is not null then 'other_content'
      else 'superseded'
    end,
    coalesce(o.state, mine.state), coalesce(o.attempt, mine.number, l.attempt), coalesce(o.token, l.token), mine.run_at,
    mine.outcome, o.reason, null::int, coalesce(o.ended_at, mine.ended_at), e.class,
    case when o.state in (8, 10) then {schema}.letter_of(e.id) end
  from unnest(p_ord, p_namespace, p_execution, p_lease, p_token, p_hash) u (ord, namespace, execution, lease, token, hash)
  left join lateral (select * from {schema}.execution where id = u.execution and namespace = u.namespace offset 0) e on true
  left join lateral (select * from {schema}.lease where execution = e.id offset 0) l on true
  left join lateral (select * from {schema}.outcome where execution = e.id offset 0) o on true
  left join lateral (select p.number, p.lease, p.token from {schema}.parked p where p.execution = e.id offset 0) parked on true
  left join lateral (select a.* from {schema}.attempt a where a.execution = e.id and a.lease = u.lease
    and a.token = u.token limit 1) mine on true
  left join lateral (select a.number from {schema}.attempt a where a.execution = e.id order by a.number desc limit 1)
    latest on true
$$;
