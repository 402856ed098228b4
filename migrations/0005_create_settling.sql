-- settle(): the one place where an attempt ends or waiting work becomes terminal.
--
-- Every call and sweeper that moves work out of a lease, or ends it while it waits, locks and deletes the phase rows
-- first, decides, and hands the decisions over as endings. settle writes what follows from them (attempt, outcome or
-- next phase row, dead letter, log) and nothing else, so all paths to an end leave the same traces. It runs inside the
-- caller's transaction: a crash anywhere leaves the phase row where it was.
-- Locks: creates only. older-servers: refused
create type {schema}.ending as (
  -- as it stood
  execution uuid, namespace int, class int, priority smallint, from_state smallint, kind smallint, attempt int,
  failures int, reclaims int, timeout_ms bigint, start_by timestamptz, deadline timestamptz, redrive boolean,
  -- the open attempt, if there was one
  lease uuid, token bigint, worker text, worker_name text, ready_at timestamptz, started_at timestamptz,
  progress_percent double precision, progress_message text, progress_at timestamptz,
  -- what ended it: kind of call and hash of its content, so that a repeat is recognized
  call smallint, hash bytea, attempt_outcome smallint,
  -- what comes next; failures and reclaims above are already counted up
  state smallint, reason smallint, run_at timestamptz, next_kind smallint,
  failure_class smallint, failure_code text, message text, content_type text, content bytea
);

-- Failures that differ only in numbers, ids or quoted values are one group.
create function {schema}.fingerprint(p_type text, p_class smallint, p_message text) returns text language sql immutable as $$
  select left(encode(sha256(convert_to(p_type || E'\n' || coalesce(p_class, 0) || E'\n' ||
    regexp_replace(regexp_replace(regexp_replace(left(coalesce(p_message, ''), 2000),
      '"[^"]*"|''[^'']*''|`[^`]*`', '?', 'g'),
      '\m(?=[0-9a-fA-F-]*[0-9])[0-9a-fA-F]{4,}(-?[0-9a-fA-F]{4,})*\M', '?', 'g'),
      '[0-9]+', '#', 'g'), 'UTF8')), 'hex'), 16)
$$;

-- The lease's columns of an ending, with what was decided. p_content: the result of a success, else the failure's details.
create function {schema}.ending_of(l {schema}.lease, p_call smallint, p_hash bytea, p_attempt_outcome smallint,
  p_state smallint, p_reason smallint, p_run_at timestamptz, p_next_kind smallint, p_failures int, p_reclaims int,
  p_failure_class smallint, p_failure_code text, p_message text, p_content_type text, p_content bytea)
returns {schema}.ending language sql immutable as $$
  select row(l.execution, l.namespace, l.class, l.priority, 4::smallint, l.kind, l.attempt, p_failures, p_reclaims,
    l.timeout_ms, l.start_by, l.deadline, l.redrive, l.lease, l.token, l.worker, l.worker_name, l.ready_at, l.started_at,
    l.progress_percent, l.progress_message, l.progress_at, p_call, p_hash, p_attempt_outcome, p_state, p_reason, p_run_at,
    p_next_kind, p_failure_class, p_failure_code, p_message, p_content_type, p_content)::{schema}.ending
$$;

-- The engine's or an operator's own endings: no content, no repeat to recognize.
create function {schema}.ending_by_engine(l {schema}.lease, p_call smallint, p_attempt_outcome smallint, p_state smallint,
  p_reason smallint, p_next_kind smallint, p_message text)
returns {schema}.ending language sql immutable as $$
  select {schema}.ending_of(l, p_call, null, p_attempt_outcome, p_state, p_reason, null, p_next_kind, l.failures, l.reclaims,
    null, null, p_message, null, null)
$$;

-- The same for work that waits (QUEUED or SCHEDULED): it has no attempt to close.
create function {schema}.ending_of_waiting(p_execution uuid, p_namespace int, p_class int, p_priority smallint,
  p_from smallint, p_attempt int, p_failures int, p_reclaims int, p_start_by timestamptz, p_deadline timestamptz,
  p_redrive boolean, p_state smallint, p_reason smallint, p_message text)
returns {schema}.ending language sql immutable as $$
  select row(p_execution, p_namespace, p_class, p_priority, p_from, null, p_attempt, p_failures, p_reclaims, null,
    p_start_by, p_deadline, p_redrive, null, null, null, null, null, null, null, null, null, null, null, null, p_state,
    p_reason, null, null, null, null, p_message, null, null)::{schema}.ending
$$;

-- Opens a letter for each execution that gave up; a redrive that gave up reopens the letter it came from, and one that
-- succeeded closes it. Letters are locked last and in the order of their ids; whoever else locks letters does nothing
-- under that lock but write them, so this wait is short and cannot be part of a cycle.
create function {schema}.settle_letters(p_endings {schema}.ending[], p_now timestamptz)
returns table (execution uuid, letter uuid, kind smallint) language plpgsql volatile as $$
#variable_conflict use_column
declare
  v_execution uuid[];
  v_letter uuid[];
begin
  select array_agg(e.id order by e.letter), array_agg(e.letter order by e.letter) into v_execution, v_letter
    from unnest(p_endings) x
    -- By key whatever the planner believes: the index on letters would read every redrive there ever was.
    cross join lateral (select i.id, i.letter from {schema}.execution i where i.id = x.execution offset 0) e
    where x.redrive and x.state >= 7 and e.letter is not null;
  if v_letter is not null then
    perform 1 from {schema}.dead_letter d where d.id = any (v_letter) order by d.id for update;
    return query
      update {schema}.dead_letter d set
        state = case when x.state = 7 then 3 else 1 end,
        resolution = case when x.state = 7 then 1 end,
        closed_at = case when x.state = 7 then p_now end,
        reason = case when x.state in (8, 10) then x.reason else d.reason end,
        failure_class = case when x.state in (8, 10) then x.failure_class else d.failure_class end,
        message = case when x.state in (8, 10) then coalesce(x.message, '') else d.message end,
        failure_code = case when x.state in (8, 10) then x.failure_code else d.failure_code end,
        details_type = case when x.state in (8, 10) then x.content_type else d.details_type end,
        details = case when x.state in (8, 10) then x.content else d.details end,
        fingerprint = case when x.state in (8, 10) then {schema}.fingerprint(d.type, x.failure_class, x.message)
          else d.fingerprint end,
        attempts = d.attempts + x.attempt,
        last_failure_at = case when x.state in (8, 10) then p_now else d.last_failure_at end,
        version = d.version + 1
      from unnest(v_execution, v_letter) u (execution, letter) join unnest(p_endings) x on x.execution = u.execution
      where d.id = any (v_letter) and d.id = u.letter and d.state = 2
      returning x.execution, d.id, (case when x.state = 7 then 72 else 73 end)::smallint;
  end if;
  return query
    insert into {schema}.dead_letter as d (id, namespace, execution, last_execution, reason, lane, type, flow, tags,
        input_type, input, failure_class, failure_code, message, details_type, details, fingerprint, attempts, first_failure_at, last_failure_at,
        created_at)
      select {schema}.uuid_v7(), x.namespace, x.execution, x.execution, x.reason, n.name,
        c.type, e.flow, e.tags, e.input_type, e.input, x.failure_class, x.failure_code, coalesce(x.message, ''), x.content_type, x.content,
        {schema}.fingerprint(c.type, x.failure_class, x.message), x.attempt,
        coalesce((select min(a.ended_at) from {schema}.attempt a
          where a.execution = x.execution and a.outcome in (2, 3, 4)), p_now), p_now, p_now
      from unnest(p_endings) x
      join {schema}.execution e on e.id = x.execution
      join {schema}.claim_class c on c.id = x.class
      join {schema}.lane n on n.id = c.lane
      where x.state in (8, 10) and not x.redrive
        and e.id = any (array(select y.execution from unnest(p_endings) y where y.state in (8, 10)))
      returning d.execution, d.id, 70::smallint;
end $$;

-- Phase rows of these executions are already deleted by the caller, in this transaction. Answers the seq of the log row.
create function {schema}.settle(p_endings {schema}.ending[], p_now timestamptz) returns bigint language plpgsql volatile as $$
declare
  v_attempts boolean;
  v_terminal boolean;
  v_ready boolean;
  v_scheduled boolean;
  v_letters boolean;
  v_timers uuid[];
  v_letter_execution uuid[];
  v_letter uuid[];
  v_letter_kind smallint[];
  v_log record;
begin
  select bool_or(x.lease is not null), bool_or(x.state >= 7), bool_or(x.state = 3), bool_or(x.state = 2),
      bool_or(x.state in (8, 10) or (x.redrive and x.state >= 7)),
      array_agg(x.execution) filter (where x.state >= 7 and (x.start_by is not null or x.deadline is not null))
    into v_attempts, v_terminal, v_ready, v_scheduled, v_letters, v_timers from unnest(p_endings) x;
  if v_attempts then
    insert into {schema}.attempt (execution, number, namespace, class, kind, worker, worker_name, lease, token, ready_at,
        started_at, ended_at, outcome, call, hash, state, run_at, failure_class, failure_code, message, details_type,
        details, progress_percent, progress_message, progress_at)
      select x.execution, x.attempt, x.namespace, x.class, x.kind, x.worker, x.worker_name, x.lease, x.token, x.ready_at,
        x.started_at, p_now, x.attempt_outcome, x.call, x.hash, x.state, x.run_at, x.failure_class, x.failure_code, x.message,
        case when x.state <> 7 then x.content_type end, case when x.state <> 7 then x.content end, x.progress_percent,
        x.progress_message, x.progress_at
      from unnest(p_endings) x where x.lease is not null;
  end if;
  if v_terminal then
    insert into {schema}.outcome (execution, namespace, class, state, reason, ended_at, attempt, token, started_at,
        failure_class, failure_code, message, details_type, details, result_type, result)
      select x.execution, x.namespace, x.class, x.state, x.reason, p_now, x.attempt, x.token, x.started_at,
        x.failure_class, x.failure_code, x.message, case when x.state <> 7 then x.content_type end,
        case when x.state <> 7 then x.content end, case when x.state = 7 then x.content_type end,
        case when x.state = 7 then x.content end
      from unnest(p_endings) x where x.state >= 7;
  end if;
  if v_ready then
    insert into {schema}.ready (class, priority, seq, execution, ready_at, kind, attempt, failures, reclaims, timeout_ms,
        start_by, deadline, redrive)
      select x.class, -x.priority, nextval('{schema}.ready_seq'), x.execution, p_now, x.next_kind, x.attempt, x.failures,
        x.reclaims, x.timeout_ms, x.start_by, x.deadline, x.redrive
      from unnest(p_endings) x where x.state = 3;
  end if;
  if v_scheduled then
    insert into {schema}.scheduled (execution, run_at, class, priority, kind, attempt, failures, reclaims, timeout_ms,
        start_by, deadline, redrive)
      select x.execution, x.run_at, x.class, x.priority, x.next_kind, x.attempt, x.failures, x.reclaims, x.timeout_ms,
        x.start_by, x.deadline, x.redrive
      from unnest(p_endings) x where x.state = 2;
  end if;
  if v_timers is not null then
    delete from {schema}.timer t where t.execution = any (v_timers);
  end if;
  if v_letters then
    select array_agg(s.execution), array_agg(s.letter), array_agg(s.kind)
      into v_letter_execution, v_letter, v_letter_kind from {schema}.settle_letters(p_endings, p_now) s;
  end if;
  -- Per execution: the attempt's end, the state it led to, what was written to its letter. A state change stands in one
  -- entry only: in the attempt's end when the work goes back, in the terminal entry otherwise.
  select array_agg(z.namespace) namespace, array_agg(z.kind) kind, array_agg(z.execution) execution, array_agg(z.class) class,
      array_agg(z.from_state) from_state, array_agg(z.to_state) to_state, array_agg(z.attempt) attempt,
      array_agg(z.body) body
    into v_log
    from (
      select x.namespace, y.kind, x.execution, x.class, y.from_state, y.to_state, x.attempt, y.body
      from unnest(p_endings) with ordinality x
      left join unnest(v_letter_execution, v_letter, v_letter_kind) s (execution, letter, kind) on s.execution = x.execution
      cross join lateral (values
        (1, 21::smallint, case when x.state < 7 then x.from_state end, case when x.state < 7 then x.state end,
          '{"outcome":' || x.attempt_outcome || coalesce(',"failure_class":' || x.failure_class, '')
            || coalesce(',"message":' || to_json(left(x.message, 1000))::text, '')
            || coalesce(',"run_at":' || to_json(x.run_at)::text, '') || '}'),
        (2, (x.state - 1)::smallint, x.from_state, x.state, '{"reason":' || x.reason || '}'),
        (3, s.kind, null, null, '{"letter":"' || s.letter || '"' || coalesce(',"reason":' || x.reason, '') || '}')
      ) y (step, kind, from_state, to_state, body)
      where case y.step when 1 then x.lease is not null when 2 then x.state >= 7 else s.letter is not null end
      order by x.ordinality, y.step) z;
  return {schema}.append_log(v_log.namespace, v_log.kind, v_log.execution,
    array_fill(null::uuid, array[cardinality(v_log.kind)]), v_log.class, v_log.from_state, v_log.to_state, v_log.attempt, v_log.body);
end $$;
