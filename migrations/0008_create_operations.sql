-- What a client or an operator may do to one execution: cancel it, change it, take its lease away.
-- One item each, so these may wait for its phase row. A call that does not know the phase probes the phase tables and
-- starts again when a mover slipped past all of them.
-- Locks: creates only. older-servers: refused

-- verdict: canceled | requested (cooperative: the holder is told) | already_requested | terminal (with what it ended as) |
-- not_found | lost. Waiting work ends in the call; the first request stands. p_lease: a holder cancels its own execution.
create function {schema}.cancel_execution(p_namespace int, p_execution uuid, p_now_mode boolean, p_grace_ms bigint,
  p_accepts_late boolean, p_reason text, p_lease uuid, p_token bigint, out verdict text, out state smallint,
  out ended_at timestamptz) language plpgsql volatile as $$
declare
  v_now timestamptz;
  v_lease {schema}.lease;
  v_ending {schema}.ending;
begin
  if not exists (select 1 from {schema}.execution e where e.id = p_execution and e.namespace = p_namespace) then
    verdict := 'not_found';
    return;
  end if;
  for i in 1 .. 100 loop
    v_ending := null;
    if p_lease is null then
      with gone as (delete from {schema}.ready r where r.execution = p_execution returning r.*)
        select x.* into v_ending
          from gone g cross join lateral {schema}.ending_of_waiting(g.execution, p_namespace, g.class, (-g.priority)::smallint,
            3::smallint, g.attempt, g.failures, g.reclaims, g.start_by, g.deadline, g.redrive, 9::smallint, 20::smallint,
            p_reason) x;
      if not found then
        with gone as (delete from {schema}.scheduled r where r.execution = p_execution returning r.*)
          select x.* into v_ending
            from gone g cross join lateral {schema}.ending_of_waiting(g.execution, p_namespace, g.class, g.priority,
              2::smallint, g.attempt, g.failures, g.reclaims, g.start_by, g.deadline, g.redrive, 9::smallint, 20::smallint,
              p_reason) x;
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
      perform {schema}.settle(array[v_ending], v_now);
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
        perform {schema}.append_log(array[p_namespace], array[5::smallint], array[p_execution], array[null::uuid],
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
create function {schema}.change_execution(p_namespace int, p_execution uuid, p_priority smallint, p_run_at timestamptz,
  p_reason text, out verdict text, out state smallint) language plpgsql volatile as $$
declare
  v_now timestamptz;
  v_ready {schema}.ready;
  v_waiting {schema}.scheduled;
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
        v_ready.timeout_ms, v_ready.start_by, v_ready.deadline, v_ready.redrive);
    else
      delete from {schema}.scheduled s where s.execution = p_execution returning s.* into v_waiting;
      if found then
        v_from := 2;
        v_waiting.run_at := coalesce(p_run_at, v_waiting.run_at);
        v_waiting.priority := coalesce(p_priority, v_waiting.priority);
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
            start_by, deadline, redrive)
          values (v_waiting.class, -v_waiting.priority, nextval('{schema}.ready_seq'), v_waiting.execution,
            case v_from when 3 then v_ready.ready_at else v_now end, v_waiting.kind, v_waiting.attempt, v_waiting.failures,
            v_waiting.reclaims, v_waiting.timeout_ms, v_waiting.start_by, v_waiting.deadline, v_waiting.redrive);
      end if;
      perform {schema}.append_log(array[p_namespace], array[2::smallint], array[p_execution], array[null::uuid],
        array[v_waiting.class], array[v_from], array[state], array[v_waiting.attempt],
        array[json_build_object('priority', v_waiting.priority, 'run_at', case when state = 2 then v_waiting.run_at end,
          'cause', 'operator', 'reason', p_reason)::text]);
      verdict := 'changed';
      return;
    end if;
    state := {schema}.state_of(p_execution);
    if state is not null and state not in (2, 3) then
      verdict := 'wrong_state';
      return;
    end if;
  end loop;
  raise exception using errcode = '55P03', message = 'the execution kept moving';
end $$;

-- Takes the lease away; the work goes back to its line without counting, or ends when a cancel was waiting for it.
-- p_token null: whichever is held. verdict: revoked | wrong_state | not_found.
create function {schema}.revoke_lease(p_namespace int, p_execution uuid, p_token bigint, p_actor text, p_note text, out verdict text,
  out state smallint) language plpgsql volatile as $$
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
  perform {schema}.settle(array[{schema}.ending_by_engine(v_lease, 11::smallint, 9::smallint, state,
    (case state when 9 then 20 end)::smallint, 4::smallint, p_note)], clock_timestamp());
  perform {schema}.append_log(array[p_namespace], array[130::smallint], array[p_execution], array[null::uuid],
    array[v_lease.class], array[null::smallint], array[null::smallint], array[v_lease.attempt],
    array[json_build_object('actor', p_actor, 'reason', p_note)::text]);
  verdict := 'revoked';
end $$;
