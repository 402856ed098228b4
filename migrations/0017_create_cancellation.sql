-- Cancellation of what depends on others: one execution with the children it waits for, a whole flow, the losers of a join.
-- And what else is done to one execution, now that it may be blocked.
-- Locks: creates only. older-servers: refused
-- The rule of retry (design/model.md): only transient failures, timeouts and lost leases count, and the count alone is
-- compared with the limit; exponential backoff with full jitter between nothing and the present step. A time that the
-- failure names wins. A requested cancel ends it whatever the class. p_class null: the lease was lost.
create or replace function {schema}.after_failure(l {schema}.lease, e {schema}.execution, p_class smallint, p_retry_at timestamptz,
  p_now timestamptz, out state smallint, out reason smallint, out run_at timestamptz,
  out failures int, out reclaims int) language plpgsql volatile as $$
declare
  v_lost boolean := p_class is null;
  v_max int := coalesce(e.retry_max, 5);
  v_counts boolean := case when v_lost then coalesce(e.count_lost, true) else p_class in (1, 4) end;
begin
  failures := l.failures + v_counts::int;
  reclaims := l.reclaims + v_lost::int;
  if l.cancel_at is not null or p_class = 5 then
    state := 9; reason := case when l.cancel_at is not null then coalesce(l.cancel_cause, 20) else 21 end;
  elsif p_class = 2 then
    state := 8; reason := 2; -- PERMANENT
  elsif p_class = 6 then
    state := 8; reason := 12; -- INVALID_RESULT
  elsif v_lost and reclaims > coalesce(e.reclaims_max, 20) then
    state := 8; reason := 4; -- RECLAIMS_EXHAUSTED
  elsif v_counts and failures >= v_max then
    state := 8; reason := case when p_class = 4 then 3 else 1 end; -- TIMEOUT, RETRIES_EXHAUSTED
  else
    run_at := case when v_lost then null when p_retry_at is not null then p_retry_at
      when p_class = 3 then null
      else p_now + random() * least(coalesce(e.retry_cap_ms, 300000)::double precision,
        coalesce(e.retry_initial_ms, 1000)
          * power(coalesce(e.retry_factor, 2)::double precision, least(failures - 1, 60))) * interval '1 ms' end;
    if run_at <= p_now then run_at := null; end if;
    state := case when run_at is null then 3 else 2 end;
  end if;
end $$;

-- Ends waiting work in the call; asks a holder to stop, or ends it. The first request stands. p_lease: a holder cancels
-- its own execution. Children it waits for are canceled by the same policy right after.
-- verdict: canceled | requested (cooperative: the holder is told) | already_requested | terminal (with what it ended as) |
-- not_found | lost. barrier: that of the children.
drop function {schema}.cancel_execution(int, uuid, boolean, bigint, boolean, text, uuid, bigint);
create function {schema}.cancel_execution(p_namespace int, p_execution uuid, p_now_mode boolean, p_grace_ms bigint,
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
        v_ready.timeout_ms, v_ready.start_by, v_ready.deadline, v_ready.redrive, v_ready.flow, v_ready.linked, v_ready.resume);
    else
      delete from {schema}.scheduled s where s.execution = p_execution returning s.* into v_waiting;
      if found then
        v_from := 2;
        v_waiting.run_at := coalesce(p_run_at, v_waiting.run_at);
        v_waiting.priority := coalesce(p_priority, v_waiting.priority);
      else
        -- What waits for a join keeps waiting; it is where it goes afterwards that changes.
        update {schema}.blocked b set priority = coalesce(p_priority, b.priority),
            run_at = case when b.state = 1 then coalesce(p_run_at, b.run_at) end,
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
      else
        insert into {schema}.ready (class, priority, seq, execution, ready_at, kind, attempt, failures, reclaims, timeout_ms,
            start_by, deadline, redrive, flow, linked, resume)
          values (v_waiting.class, -v_waiting.priority, nextval('{schema}.ready_seq'), v_waiting.execution,
            case v_from when 3 then v_ready.ready_at else v_now end, v_waiting.kind, v_waiting.attempt, v_waiting.failures,
            v_waiting.reclaims, v_waiting.timeout_ms, v_waiting.start_by, v_waiting.deadline, v_waiting.redrive,
            v_waiting.flow, v_waiting.linked, v_waiting.resume);
      end if;
      perform {schema}.append_log(array[p_namespace], array[2::smallint], array[p_execution], array[v_waiting.flow],
        array[v_waiting.class], array[v_from], array[state], array[v_waiting.attempt],
        array[json_build_object('priority', v_waiting.priority, 'run_at', case when state = 2 then v_waiting.run_at end,
          'cause', 'operator', 'reason', p_reason)::text]);
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

-- Takes the lease away; the work goes back to its line without counting, or ends when a cancel was waiting for it.
-- p_token null: whichever is held. verdict: revoked | wrong_state | not_found.
drop function {schema}.revoke_lease(int, uuid, bigint, text, text);
create function {schema}.revoke_lease(p_namespace int, p_execution uuid, p_token bigint, p_actor text, p_note text,
  out verdict text, out state smallint, out woken int[], out follows boolean) language plpgsql volatile as $$
declare
  v_lease {schema}.lease;
begin
  if not exists (select 1 from {schema}.execution e where e.id = p_execution and e.namespace = p_namespace) then
    verdict := 'not_found';
    return;
  end if;
  delete from {schema}.lease l where l.execution = p_execution and (p_token is null or l.token = p_token)
    returning l.* into v_lease;
  if not found then
    verdict := 'wrong_state'; state := {schema}.state_of(p_execution);
    return;
  end if;
  state := case when v_lease.cancel_at is null then 3 else 9 end;
  select s.woken, s.follows into woken, follows
    from {schema}.settle(array[{schema}.ending_by_engine(v_lease, 11::smallint, 9::smallint, state,
    (case state when 9 then coalesce(v_lease.cancel_cause, 20) end)::smallint, 4::smallint, p_note)], clock_timestamp()) s;
  perform {schema}.append_log(array[p_namespace], array[130::smallint], array[p_execution], array[v_lease.flow],
    array[v_lease.class], array[null::smallint], array[null::smallint], array[v_lease.attempt],
    array[json_build_object('actor', p_actor, 'reason', p_note)::text]);
  verdict := 'revoked';
end $$;

-- Decides that a flow is canceled; its members end in batches right after. verdict: decided (also when pending-only is
-- widened to all) | already (it has ended, or the same decision stands) | missing. p_policy null: the flow's own.
create function {schema}.cancel_flow(p_namespace int, p_flow uuid, p_scope smallint, p_policy jsonb, p_reason text,
  out verdict text, out state smallint) language plpgsql volatile as $$
declare
  v_now timestamptz;
  v_flow {schema}.flow;
begin
  select f.* into v_flow from {schema}.flow f where f.id = p_flow and f.namespace = p_namespace for update;
  v_now := clock_timestamp();
  state := v_flow.state;
  verdict := case when v_flow.id is null then 'missing'
    when v_flow.ended_at is not null or v_flow.canceled_scope <= p_scope then 'already' else 'decided' end;
  if verdict <> 'decided' then return; end if;
  state := 5;
  update {schema}.flow f set state = 5, canceled_at = coalesce(f.canceled_at, v_now), canceled_scope = p_scope,
      canceled_reason = coalesce(f.canceled_reason, p_reason), seal_at = null, began = true,
      settled_at = null
    where f.id = p_flow;
  insert into {schema}.follow_up (kind, subject, reason, step, policy)
    select 2, p_flow, 22, case p_scope when 2 then 0 else 10 end, coalesce(p_policy, jsonb_build_object('now',
      v_flow.cancel_now, 'grace_ms', v_flow.cancel_grace_ms, 'accepts_late', v_flow.cancel_accepts_late))
      || jsonb_build_object('text', p_reason, 'running', p_scope = 1);
  insert into {schema}.follow_up (kind, subject) values (1, p_flow);
  perform {schema}.append_log(array[p_namespace], array[45::smallint], array[null::uuid], array[p_flow], array[null::int],
    array[null::smallint], array[null::smallint], array[null::int],
    array[json_build_object('scope', p_scope, 'reason', p_reason)::text]);
end $$;

-- Ends these executions, or asks their holders to stop: those that nobody has locked. Answers which ones somebody has, or
-- which moved meanwhile: they are to be tried again. p_blocked_only: of those that wait, only BLOCKED ones, so that no
-- upstream's end decides what a downstream becomes when both are canceled. p_running: also those that run.
create function {schema}.cancel_members(p_execution uuid[], p_reason smallint, p_policy jsonb, p_blocked_only boolean,
  p_running boolean, out passed_over uuid[], out ended int, out woken int[], out asked_ms bigint)
language plpgsql volatile as $$
declare
  v_now timestamptz;
  v_waiting {schema}.waiting[];
  v_leases {schema}.lease[];
  v_at_once boolean := coalesce((p_policy ->> 'now')::boolean, false);
  v_grace_ms bigint := coalesce((p_policy ->> 'grace_ms')::bigint, 30000);
  v_text text := coalesce(p_policy ->> 'text', '');
  v_endings {schema}.ending[];
begin
  v_waiting := {schema}.take_waiting(p_execution, p_blocked_only);
  if p_running and not p_blocked_only then
    select array_agg(x.l) into v_leases from (
      select y from unnest(p_execution) u (id)
      cross join lateral (select l from {schema}.lease l where l.execution = u.id for update skip locked) y (y)) x (l);
  end if;
  v_now := clock_timestamp();
  select array_agg({schema}.ending_of_waiting(w, c.namespace, 9::smallint, p_reason, v_text) order by w.execution)
    into v_endings
    from unnest(v_waiting) w
    cross join lateral (select k.namespace from {schema}.claim_class k where k.id = w.class offset 0) c;
  if v_at_once and v_leases is not null then
    delete from {schema}.lease l where l.execution = any (array(select y.execution from unnest(v_leases) y));
    v_endings := v_endings || array(select {schema}.ending_by_engine(l, 11::smallint, 8::smallint, 9::smallint, p_reason,
      null, v_text) from unnest(v_leases) l order by l.execution);
  elsif v_leases is not null then
    asked_ms := v_grace_ms;
    update {schema}.lease l set cancel_at = v_now, cancel_until = v_now + v_grace_ms * interval '1 ms',
        cancel_accepts_late = coalesce((p_policy ->> 'accepts_late')::boolean, true), cancel_reason = v_text,
        cancel_cause = p_reason, check_at = least(l.check_at, v_now + v_grace_ms * interval '1 ms')
      where l.execution = any (array(select y.execution from unnest(v_leases) y where y.cancel_at is null))
        and l.cancel_at is null;
  end if;
  ended := coalesce(cardinality(v_endings), 0);
  -- What stands in no table that was looked into has ended, or is somebody's at this moment.
  passed_over := array(
    select u.id from (
      select y from unnest(p_execution) y
      except select y.execution from unnest(v_endings) y
      except select y.execution from unnest(v_leases) y) u (id)
    where case when p_blocked_only
      then coalesce((select true from {schema}.blocked b where b.execution = u.id), false)
      else coalesce((select false from {schema}.outcome o where o.execution = u.id), true)
        and (p_running or coalesce((select false from {schema}.lease l where l.execution = u.id), true)) end);
  if v_leases is not null and not v_at_once then
    perform {schema}.append_log(array_agg(l.namespace), array_agg(5::smallint), array_agg(l.execution), array_agg(l.flow),
        array_agg(l.class), array_agg(null::smallint), array_agg(null::smallint), array_agg(l.attempt),
        array_agg(json_build_object('reason', v_text)::text))
      from unnest(v_leases) l where l.cancel_at is null having count(*) > 0;
  end if;
  if v_endings is not null then
    select s.woken into woken from {schema}.settle(v_endings, v_now, false, p_policy) s;
  end if;
end $$;
