-- Keys, once more, where executions are made, moved by time or by an operator, and made anew; suspensions where all phases are
-- looked at; and the sweepers and the pulse with what this brought.
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
-- p_flow, p_optional, p_parent, p_barrier (the join it waits for), p_key (the concurrency key) may be null as a whole. p_entered: the caller has locked
-- the flows and looked at them.
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
create or replace function {schema}.park(p_namespace int, p_execution uuid, p_call smallint, p_hash bytea, p_joins jsonb,
  p_barrier uuid[], p_idx int[], p_upstream uuid[], p_downstream uuid[], p_name text[], p_optional boolean[],
  p_source text[]) returns void language plpgsql volatile as $$
declare
  v_now timestamptz := clock_timestamp();
  v_join uuid := p_joins -> 0 ->> 'id';
  v_lease {schema}.lease;
  v_items {schema}.log_item[];
begin
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
    select b.items into v_items from {schema}.balance_keys(array[v_lease.gate], v_now, false) b;
  end if;
  perform {schema}.append_items(array[p_namespace], array[2::smallint], array[p_execution], array[v_lease.flow],
    array[v_lease.class], array[4::smallint], array[6::smallint], array[v_lease.attempt],
    array['{"cause":"children","join":"' || v_join || '"}'], v_items);
end $$;

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

-- Changes priority and run-at of waiting work: a new place in line, with a new seq.
-- verdict: changed | wrong_state | not_found. Null leaves as it is; a run-at that has passed makes it claimable. The time
-- to live of work that never started counts from the later of creation and earliest start, so it moves along.
create or replace function {schema}.change_execution(p_namespace int, p_execution uuid, p_priority smallint, p_run_at timestamptz,
  p_reason text, out verdict text, out state smallint) language plpgsql volatile as $$
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
          select b.items into v_items from {schema}.balance_keys(array[v_waiting.gate], v_now, false) b;
        end if;
      elsif v_from = 2 and v_waiting.gate is not null then
        state := ({schema}.enter_line(array[row(v_waiting.class, -v_waiting.priority, 0, v_waiting.execution, v_now,
          v_waiting.kind, v_waiting.attempt, v_waiting.failures, v_waiting.reclaims, v_waiting.timeout_ms, v_waiting.start_by,
          v_waiting.deadline, v_waiting.redrive, v_waiting.flow, v_waiting.linked, v_waiting.resume,
          v_waiting.gate)::{schema}.ready], v_now)).states[1];
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

drop function {schema}.promote_scheduled(int);
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
      from unnest(v_rows) x where x.gate is not null), v_now) e;
    follows := true;
  end if;
  classes := array(select distinct x.class from unnest(v_rows) x where x.gate is null or x.execution = any (v_entered));
  perform {schema}.append_log(array_agg(c.namespace), array_agg(2::smallint), array_agg(x.execution), array_agg(x.flow),
      array_agg(x.class), array_agg(2::smallint),
      array_agg((case when x.gate is null or x.execution = any (v_entered) then 3 else 1 end)::smallint), array_agg(x.attempt),
      array_agg('{"cause":"due"}'::text))
    from unnest(v_rows) x join {schema}.claim_class c on c.id = x.class;
end $$;

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
  end if;
end $$;

-- What is due of `follow_up`, and flows that seal themselves. taken: something was done, look again at once. next_ms: until
-- something is due. lease_ms: holders were asked to stop, and have so long. Fillings and joins whose time is up are swept by
-- statements of their own: one that cannot be done must not hold up the others.
create or replace function {schema}.sweep_follow_ups(p_limit int, out taken int, out classes int[], out next_ms double precision,
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
    select u from {schema}.follow_up u where u.due_at <= clock_timestamp() and u.kind <= 7 order by u.due_at, u.seq limit p_limit
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
  if exists (select from unnest(v_due) u where u.kind = 7) then
    select b.classes, b.items into v_part from {schema}.balance_keys(
      array(select distinct u.subject from unnest(v_due) u where u.kind = 7), clock_timestamp()) b;
    classes := classes || v_part.classes;
    delete from {schema}.follow_up u where u.seq = any (array(select y.seq from unnest(v_due) y where y.kind = 7));
    if v_part.items is not null then
      perform {schema}.append_items('{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', v_part.items);
      taken := taken + 1;
    end if;
  end if;
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
    from {schema}.follow_up u where u.kind <= 7 order by u.due_at limit 1;
  select least(next_ms, extract(epoch from u.seal_at - clock_timestamp()) * 1000) into next_ms
    from (select min(y.seal_at) seal_at from (select f.seal_at from {schema}.flow f where f.seal_at is not null
      order by f.seal_at limit 1) y) u;
end $$;

drop function {schema}.pulse(int[], smallint[], bigint[], smallint[]);
create or replace function {schema}.pulse(p_class int[], p_from_priority smallint[], p_from_seq bigint[], p_to_priority smallint[],
  out registry bigint, out scheduled_ms double precision, out lease_ms double precision, out timer_ms double precision,
  out join_ms double precision, out follow_ms double precision, out suspension_ms double precision,
  out budget_ms double precision, out non_empty int[], out head bigint, out unnumbered boolean) language plpgsql stable as $$
declare
  v_now timestamptz := clock_timestamp();
begin
  select version into registry from {schema}.registry;
  select extract(epoch from s.run_at - v_now) * 1000 into scheduled_ms from {schema}.scheduled s order by s.run_at limit 1;
  select extract(epoch from l.check_at - v_now) * 1000 into lease_ms from {schema}.lease l order by l.check_at limit 1;
  select extract(epoch from t.due_at - v_now) * 1000 into timer_ms from {schema}.timer t order by t.due_at limit 1;
  select least((select 0 from {schema}.filling limit 1),
      (select extract(epoch from u.due_at - v_now) * 1000 from {schema}.follow_up u
        where u.kind <= 7 order by u.due_at limit 1),
      (select extract(epoch from f.seal_at - v_now) * 1000 from {schema}.flow f
        where f.seal_at is not null order by f.seal_at limit 1)) into follow_ms;
  select extract(epoch from b.due_at - v_now) * 1000 into join_ms from {schema}.barrier b
    where b.due_at is not null order by b.due_at limit 1;
  select least((select extract(epoch from s.due_at - v_now) * 1000 from {schema}.suspension s
        where s.due_at is not null order by s.due_at limit 1),
      (select extract(epoch from w.expires_at - v_now) * 1000 from {schema}.waitpoint w
        where w.state <> 3 order by w.expires_at limit 1)) into suspension_ms;
  select least((select extract(epoch from b.reset_at - v_now) * 1000 from {schema}.budget b
        where b.exhausted and b.reset_at is not null order by b.reset_at limit 1),
      (select extract(epoch from u.due_at - v_now) * 1000 from {schema}.follow_up u
        where u.kind in (8, 9) order by u.due_at limit 1)) into budget_ms;
  select array_agg(distinct s.class) into non_empty
    from unnest(p_class, p_from_priority, p_from_seq, p_to_priority) s (class, from_priority, from_seq, to_priority)
    where exists (select 1 from {schema}.ready r where r.class = s.class
      and (r.priority, r.seq) >= (s.from_priority, s.from_seq) and r.priority < s.to_priority);
  select h.head, h.unnumbered into head, unnumbered from {schema}.log_head() h;
end $$;

-- Makes new executions of everything that was skipped because of p_old, which p_new runs again, with fresh joins. Slots of
-- upstreams that are not made anew are filled from their recorded outcomes, or wait for them. The flow is active again.
create or replace function {schema}.redo_skipped(p_namespace int, p_flow uuid, p_old uuid, p_new uuid, out made uuid[], out woken int[],
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
  v_held := v_held || array(select r.execution from {schema}.scheduled r where r.execution = any (v_upstreams) for key share nowait);
  v_held := v_held || array(select r.execution from {schema}.blocked r where r.execution = any (v_upstreams) for key share nowait);
  v_held := v_held || array(select r.execution from {schema}.suspension r where r.execution = any (v_upstreams) for key share nowait);
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

-- The first half of an extension: everything is locked and looked at, nothing is written. Rows are taken in the order phase
-- rows → joins → flow; two extensions of one flow queue before that, or they would take each other's phase rows crosswise.
-- An upstream that is ending meanwhile is waited for, and has its outcome then; one that ends later finds the new slot.
-- verdict: done, or one of FlowRefusal, with what it is about.
create or replace function {schema}.begin_extension(p_namespace int, p_flow uuid, p_request_id text, p_hash bytea, p_expected bigint,
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
    v_found := v_found || array(select s.execution from {schema}.suspension s where s.execution = any (v_missing) order by s.execution for update);
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
          (select s.attempt = 0 from {schema}.scheduled s where s.execution = d.id),
          (select y.attempt = 0 from {schema}.blocked y where y.execution = d.id and y.waits_for <> 1), false)) then 'late'
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
        case when m.execution = any (array(select b.execution from behind b)) then 1 when m.run_at is null then 3 else 2 end, 1, 0,
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
