-- Suspensions, waitpoints and signals: what a holder parks on, what lets it go on, and what time does to both.
--
-- Everything about the signals of one execution is decided under its phase row, wherever that stands: who sends one locks it,
-- who suspends holds the lease. So a signal is either there when a suspension looks, or finds the suspension; signals of one
-- execution have numbers without gaps; and each is taken by at most one suspension of an attempt. A condition takes the earliest
-- signals that make it hold, and no more.
-- Locks: creates only. older-servers: refused

-- Whether one of a condition's selectors takes signals of this name at this waitpoint; none at all take any. p_name null:
-- of some name.
create function {schema}.selects(p_among jsonb, p_name text, p_waitpoint text) returns boolean language sql immutable as $$
  select p_among = '[]' or exists (
    select from jsonb_to_recordset(p_among) a (name text, waitpoint text)
    where (a.name = '' or p_name is null or a.name = p_name) and (a.waitpoint = '' or a.waitpoint = p_waitpoint))
$$;

-- Numbers of the signals that a condition takes, ascending; null: it does not hold. Members share what they take. Takes
-- the signals that nothing has taken before. See domain/condition.ts for the form.
create function {schema}.condition_takes(p_execution uuid, p_condition jsonb) returns int[] language plpgsql stable as $$
declare
  v_kind text := p_condition ->> 'kind';
  v_name text;
  v_waitpoint text;
  v_names text[];
  v_waitpoints text[];
  v_taken int[] := '{}';
  v_part int[];
  v_member jsonb;
  v_count int;
begin
  if v_kind = 'signal' then
    v_name := p_condition ->> 'name';
    v_waitpoint := p_condition ->> 'waitpoint';
    if v_name <> '' then
      return (select array[y.number] from {schema}.signal y
        where y.execution = p_execution and y.name = v_name and y.matched is null
          and (v_waitpoint = '' or y.waitpoint = v_waitpoint) order by y.number limit 1);
    end if;
    return (select array[y.number] from {schema}.signal y
      where y.execution = p_execution and y.matched is null
        and (v_waitpoint = '' or y.waitpoint = v_waitpoint) order by y.number limit 1);
  elsif v_kind = 'all_of' then
    for v_member in select m from jsonb_array_elements(p_condition -> 'members') m loop
      v_part := {schema}.condition_takes(p_execution, v_member);
      if v_part is null then return null; end if;
      v_taken := v_taken || v_part;
    end loop;
    return array(select distinct u from unnest(v_taken) u order by u);
  elsif v_kind = 'count' then
    v_count := (p_condition ->> 'count')::int;
    -- As arrays, for they are looked through for every signal: a function called for each cost 10 µs.
    select array_agg(a.name), array_agg(a.waitpoint) into v_names, v_waitpoints
      from jsonb_to_recordset(p_condition -> 'among') a (name text, waitpoint text);
    if p_condition ->> 'distinct' = '1' then
      v_taken := array(
        select y.number from {schema}.signal y
        where y.execution = p_execution and y.matched is null
          and (v_names is null or exists (
            select from unnest(v_names, v_waitpoints) a (name, waitpoint)
            where (a.name = '' or a.name = y.name) and (a.waitpoint = '' or a.waitpoint = y.waitpoint)))
        order by y.number limit v_count);
    else
      v_taken := array(
        select min(f.number) from (
          select y.number, case p_condition ->> 'distinct' when '2' then y.waitpoint else y.source || ' ' || y.source_id end one
          from {schema}.signal y
          where y.execution = p_execution and y.matched is null
            and (v_names is null or exists (
              select from unnest(v_names, v_waitpoints) a (name, waitpoint)
              where (a.name = '' or a.name = y.name) and (a.waitpoint = '' or a.waitpoint = y.waitpoint)))) f
        where f.one is not null group by f.one order by 1 limit v_count);
    end if;
    return case when cardinality(v_taken) = v_count then v_taken end;
  end if;
  return null; -- an operator, or its timeout
end $$;

-- Whether signals yet to come can make a condition hold that does not hold now: they land at the execution, or at waitpoints
-- that are open, and a parked execution gets no new ones.
create function {schema}.condition_possible(p_execution uuid, p_condition jsonb, p_more text[], p_now timestamptz) returns boolean
language plpgsql stable as $$
declare
  v_kind text := p_condition ->> 'kind';
  v_open text[];
begin
  if v_kind = 'all_of' then
    return (
      select bool_and({schema}.condition_possible(p_execution, m, p_more, p_now))
      from jsonb_array_elements(p_condition -> 'members') m);
  elsif v_kind not in ('signal', 'count') or {schema}.condition_takes(p_execution, p_condition) is not null then
    return true;
  end if;
  v_open := p_more || array(
    select w.key from {schema}.waitpoint w where w.execution = p_execution and w.state <> 3 and w.expires_at > p_now);
  if v_kind = 'signal' then
    return p_condition ->> 'waitpoint' = '' or p_condition ->> 'waitpoint' = any (v_open);
  elsif p_condition ->> 'distinct' <> '2' then
    return p_condition -> 'among' = '[]' or exists (
      select from jsonb_to_recordset(p_condition -> 'among') a (waitpoint text)
      where a.waitpoint = '' or a.waitpoint = any (v_open));
  end if;
  return (p_condition ->> 'count')::int <= (
    select count(*) from (
      select y.waitpoint from {schema}.signal y
        where y.execution = p_execution and y.matched is null and y.waitpoint is not null
          and {schema}.selects(p_condition -> 'among', y.name, y.waitpoint)
      union select k from unnest(v_open) k where {schema}.selects(p_condition -> 'among', null, k)) x);
end $$;

-- What became of a waitpoint that was asked for by key: usable | missing | closed.
create function {schema}.waitpoint_verdict(w {schema}.waitpoint, p_now timestamptz) returns text language sql immutable as $$
  select case when w.id is null then 'missing' when w.state = 3 or w.expires_at <= p_now then 'closed' else 'usable' end
$$;

-- Makes waitpoints that are not there yet. The caller holds the lease's row, so two at once do not make one twice. made: true
-- for those that are new, in the order of the keys. verdict: made | closed (subject: which) | full.
create function {schema}.make_waitpoints(p_namespace int, p_execution uuid, p_id uuid[], p_key text[], p_expiry_ms bigint[],
  p_secret int, p_max int, p_now timestamptz, out verdict text, out subject text, out made boolean[],
  out items {schema}.log_item[]) language plpgsql volatile as $$
declare
  v_there {schema}.waitpoint[];
begin
  select array_agg(w) into v_there from {schema}.waitpoint w where w.execution = p_execution and w.key = any (p_key);
  select w.key into subject from unnest(v_there) w where {schema}.waitpoint_verdict(w, p_now) = 'closed' limit 1;
  if found then
    verdict := 'closed';
    return;
  end if;
  select array_agg(w.id is null order by u.n) into made
    from unnest(p_key) with ordinality u (key, n) left join unnest(v_there) w on w.key = u.key;
  verdict := 'made';
  if false = any (made) then
    -- A token that is refused by now is of no use to him who asks for it again.
    update {schema}.waitpoint w set secret = p_secret
      where w.execution = p_execution and w.key = any (p_key) and w.secret <> p_secret and coalesce((
        select s.accepted_until <= p_now from {schema}.waitpoint_secret s where s.id = w.secret), true);
  end if;
  if not true = any (made) then return; end if;
  if (select count(*) from {schema}.waitpoint w where w.execution = p_execution)
      + (select count(*) from unnest(made) u where u) > p_max then
    verdict := 'full';
    return;
  end if;
  insert into {schema}.waitpoint (id, namespace, execution, key, secret, created_at, expires_at)
    select u.id, p_namespace, p_execution, u.key, p_secret, p_now, p_now + u.expiry_ms * interval '1 ms'
    from unnest(p_id, p_key, p_expiry_ms, made) u (id, key, expiry_ms, made) where u.made;
  -- Body of waitpoint.created: subject (its key), expires_at.
  select array_agg(row(p_namespace, 60, p_execution, e.flow, e.class, null, null, null,
      json_build_object('subject', u.key, 'expires_at', p_now + u.expiry_ms * interval '1 ms')::text)::{schema}.log_item)
    into items
    from unnest(p_key, p_expiry_ms, made) u (key, expiry_ms, made)
    cross join lateral (select x.flow, x.class from {schema}.execution x where x.id = p_execution offset 0) e
    where u.made;
end $$;

-- As calls answer them: JSON of {id, key, execution, state, secret, signals, created_at, expires_at}, in the order of the keys.
create function {schema}.shown_waitpoints(p_execution uuid, p_key text[]) returns jsonb language sql stable as $$
  select jsonb_agg(jsonb_build_object('id', w.id, 'key', w.key, 'execution', w.execution, 'state', w.state, 'secret', w.secret,
    'signals', w.signals, 'created_at', w.created_at, 'expires_at', w.expires_at) order by u.n)
  from unnest(p_key) with ordinality u (key, n)
  cross join lateral (select x.* from {schema}.waitpoint x where x.execution = p_execution and x.key = u.key offset 0) w
$$;

-- Why the holder of a lease was refused; never `duplicate`, which each call here finds out for itself.
create function {schema}.explain_holder(p_namespace int, p_execution uuid, p_lease uuid, p_token bigint, out verdict text,
  out state smallint, out attempt int, out token bigint) language sql stable as $$
  select r.verdict, r.state, r.attempt, r.token from {schema}.explain_refusals(array[1], array[p_namespace],
    array[p_execution], array[p_lease], array[p_token], 0::smallint, array[null::bytea]) r
$$;

-- An attempt that follows another begins its waits anew and finds what was said to the ones before it: approvals outlive a worker
-- that is drained. Signals they took can be taken again, in the same order; waitpoints their suspensions closed are open until
-- they expire. What a timeout or an operator's resume said was said to that suspension alone. Called before the attempt's first
-- wait; the caller holds the lease's row.
create function {schema}.reopen_waits(l {schema}.lease, p_now timestamptz) returns void language plpgsql volatile as $$
begin
  if l.attempt = 1 or coalesce((select true from {schema}.signal y
      where y.execution = l.execution and y.attempt = l.attempt and y.matched is not null limit 1), false) then
    return;
  end if;
  update {schema}.signal y set attempt = null, matched = null
    where y.execution = l.execution and y.attempt < l.attempt and y.matched is not null and not y.by_resume;
  update {schema}.waitpoint w set state = 1 where w.execution = l.execution and w.state = 3 and w.expires_at > p_now;
end $$;

-- A place where signals can land, for the holder of a lease. One item, so it may wait for the lease's row.
-- verdict: made | there (a repeat, or an earlier attempt's) | closed | full | one of explain_refusals.
-- A crash leaves nothing of it; a repeat after the commit finds it there.
create function {schema}.create_waitpoint(p_namespace int, p_execution uuid, p_lease uuid, p_token bigint, p_id uuid,
  p_key text, p_expiry_ms bigint, p_secret int, p_max int, out verdict text, out state smallint, out attempt int,
  out token bigint, out waitpoints jsonb) language plpgsql volatile as $$
declare
  v_now timestamptz;
  v_lease {schema}.lease;
  v_made record;
begin
  select l.* into v_lease from {schema}.lease l where l.execution = p_execution and l.lease = p_lease for update;
  v_now := clock_timestamp();
  if v_lease.execution is null or v_lease.token <> p_token or v_lease.namespace <> p_namespace
      or v_lease.expires_at <= v_now then
    select e.* into verdict, state, attempt, token
      from {schema}.explain_holder(p_namespace, p_execution, p_lease, p_token) e;
    return;
  end if;
  perform {schema}.reopen_waits(v_lease, v_now);
  select m.* into v_made from {schema}.make_waitpoints(p_namespace, p_execution, array[p_id], array[p_key],
    array[p_expiry_ms], p_secret, p_max, v_now) m;
  verdict := case when v_made.verdict <> 'made' then v_made.verdict when v_made.made[1] then 'made' else 'there' end;
  if verdict not in ('made', 'there') then return; end if;
  waitpoints := {schema}.shown_waitpoints(p_execution, array[p_key]);
  if v_lease.begin_by is not null then
    update {schema}.lease l set begin_by = null where l.execution = p_execution;
  end if;
  if verdict = 'made' then
    perform {schema}.append_items('{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', v_made.items);
  end if;
end $$;

-- Parks a running execution until a condition holds, or answers that it holds already: then the lease is kept and the signals
-- are taken. One item, so it may wait for the lease's row. p_named: keys of the waitpoints that the condition names. p_once:
-- hash of the caller's idempotency key; null without one.
-- p_counts: it counts waitpoints, of which there may be too few.
-- verdict: parked | satisfied | impossible (it can never hold) | missing, closed (a waitpoint: subject) | full (of waitpoints) |
-- cancel_requested | canceled (its flow) | reused (that key stands for other content) | one of explain_refusals.
-- again: an earlier call did it; one that parked is known while the attempt is parked, one that held at once by its key alone.
-- A crash before the commit leaves the lease, and no waitpoint.
create function {schema}.suspend(p_namespace int, p_execution uuid, p_lease uuid, p_token bigint, p_hash bytea, p_once bytea,
  p_reason smallint, p_condition jsonb, p_note text, p_timeout_ms bigint, p_behavior smallint, p_resume_delay_ms bigint,
  p_named text[], p_counts boolean, p_id uuid[], p_key text[], p_expiry_ms bigint[], p_secret int, p_max int, out verdict text,
  out subject text, out again boolean, out state smallint, out attempt int, out token bigint, out number int,
  out timeout_at timestamptz, out waitpoints jsonb, out class int, out classes int[], out left_over boolean)
language plpgsql volatile as $$
declare
  v_now timestamptz;
  v_lease {schema}.lease;
  v_parked_at timestamptz;
  v_there {schema}.waitpoint[];
  v_made record;
  v_items {schema}.log_item[];
  v_taken int[];
  v_entered record;
begin
  again := false;
  left_over := false;
  select l.* into v_lease from {schema}.lease l where l.execution = p_execution and l.lease = p_lease for update;
  v_now := clock_timestamp();
  if v_lease.execution is null or v_lease.token <> p_token or v_lease.namespace <> p_namespace
      or v_lease.expires_at <= v_now then
    select p.number, p.waits, p.parked_at into attempt, number, v_parked_at
      from {schema}.parked p join {schema}.execution e on e.id = p.execution
      where p.execution = p_execution and p.lease = p_lease and p.token = p_token and p.call = 6 and p.hash = p_hash
        and e.id = p_execution and e.namespace = p_namespace;
    if found then
      verdict := 'parked';
      again := true;
      timeout_at := v_parked_at + p_timeout_ms * interval '1 ms';
      if p_key <> '{}' then waitpoints := {schema}.shown_waitpoints(p_execution, p_key); end if;
    else
      select e.* into verdict, state, attempt, token
        from {schema}.explain_holder(p_namespace, p_execution, p_lease, p_token) e;
    end if;
    return;
  end if;
  attempt := v_lease.attempt;
  if p_once is not null and substring(v_lease.satisfied for octet_length(p_once)) = p_once then
    number := v_lease.waits;
    again := true;
    verdict := case when v_lease.satisfied = p_once || p_hash then 'satisfied' else 'reused' end;
    if p_key <> '{}' then waitpoints := {schema}.shown_waitpoints(p_execution, p_key); end if;
    return;
  end if;
  if v_lease.cancel_at is not null or (v_lease.linked and {schema}.is_loser(p_execution)) then
    verdict := 'cancel_requested';
  elsif v_lease.flow is not null and coalesce((
      select f.canceled_at is not null or f.failing_at is not null from {schema}.flow f where f.id = v_lease.flow), false) then
    verdict := 'canceled';
  end if;
  if verdict is not null then return; end if;
  perform {schema}.reopen_waits(v_lease, v_now);
  v_taken := {schema}.condition_takes(p_execution, p_condition);
  -- What holds already needs no place where anything could land.
  if (p_named <> '{}' or p_counts) and v_taken is null then
    -- Held, so that none of them is closed before this suspension is there to be seen.
    select array_agg(x.w) into v_there from (
      select w from {schema}.waitpoint w
      where w.execution = p_execution and (w.key = any (p_named) or (p_counts and w.state <> 3)) order by w.key
      for update) x (w);
    v_now := clock_timestamp();
    select u, {schema}.waitpoint_verdict(w, v_now) into subject, verdict
      from unnest(p_named) u left join unnest(v_there) w on w.key = u
      where not u = any (p_key) and {schema}.waitpoint_verdict(w, v_now) <> 'usable' limit 1;
    if found then return; end if;
  end if;
  if p_counts and v_taken is null and not {schema}.condition_possible(p_execution, p_condition, p_key, v_now) then
    verdict := 'impossible';
    return;
  end if;
  if p_key <> '{}' then
    select m.* into v_made from {schema}.make_waitpoints(p_namespace, p_execution, p_id, p_key, p_expiry_ms, p_secret, p_max,
      v_now) m;
    if v_made.verdict <> 'made' and (v_made.verdict <> 'closed' or v_taken is null) then
      verdict := v_made.verdict;
      subject := v_made.subject;
      return;
    end if;
    v_items := v_made.items;
  end if;
  number := v_lease.waits + 1;
  if v_taken is not null then
    verdict := 'satisfied';
    update {schema}.signal y set attempt = v_lease.attempt, matched = suspend.number
      where y.execution = p_execution and y.number = any (v_taken);
    if p_named <> '{}' then
      update {schema}.waitpoint w set state = 3 where w.execution = p_execution and w.key = any (p_named);
    end if;
    update {schema}.lease l set waits = suspend.number, begin_by = null, satisfied = p_once || p_hash
      where l.execution = p_execution;
    if p_key <> '{}' then waitpoints := {schema}.shown_waitpoints(p_execution, p_key); end if;
    if v_items is not null then
      perform {schema}.append_items('{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', v_items);
    end if;
    return;
  end if;
  verdict := 'parked';
  class := v_lease.class;
  timeout_at := v_now + p_timeout_ms * interval '1 ms';
  if p_named <> '{}' then
    update {schema}.waitpoint w set state = 2 where w.execution = p_execution and w.key = any (p_named);
  end if;
  if p_key <> '{}' then waitpoints := {schema}.shown_waitpoints(p_execution, p_key); end if;
  select e.* into v_entered from {schema}.enter_suspension(v_lease, p_reason, p_condition, p_note, p_timeout_ms, p_behavior,
    p_resume_delay_ms, null, 6::smallint, p_hash, v_now) e;
  classes := v_entered.classes;
  left_over := v_entered.left_over;
  -- Body of execution.suspended: reason (the note), suspension_reason, suspension (its number), timeout_at.
  perform {schema}.append_items('{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', v_items || array[row(p_namespace, 3,
    p_execution, v_lease.flow, v_lease.class, 4, 5, v_lease.attempt, json_build_object('reason', p_note, 'suspension_reason',
      p_reason, 'suspension', number, 'timeout_at', timeout_at)::text)::{schema}.log_item] || v_entered.items);
end $$;

-- Locks the phase row of an execution, wherever it stands, and answers its state; waits for whoever has it. In the order in
-- which a signal is likely to find it; one that moved meanwhile is looked for again. suspension: its row, when it is parked.
-- canceling: its holder was asked to stop. Terminal executions have no phase row, and need no lock: their state is final.
create function {schema}.lock_phase(p_execution uuid, out state smallint, out suspension {schema}.suspension,
  out canceling boolean, out class int, out flow uuid, out attempt int) language plpgsql volatile as $$
begin
  for i in 1 .. 100 loop
    select s.* into suspension from {schema}.suspension s where s.execution = p_execution for update;
    if found then
      state := 5; class := suspension.class; flow := suspension.flow; attempt := suspension.attempt;
      return;
    end if;
    select 4, l.cancel_at is not null, l.class, l.flow, l.attempt into state, canceling, class, flow, attempt
      from {schema}.lease l where l.execution = p_execution for update;
    if found then return; end if;
    select 3, r.class, r.flow, r.attempt into state, class, flow, attempt
      from {schema}.ready r where r.execution = p_execution for update;
    if found then return; end if;
    select 2, s.class, s.flow, s.attempt into state, class, flow, attempt
      from {schema}.scheduled s where s.execution = p_execution for update;
    if found then return; end if;
    select b.state, b.class, b.flow, b.attempt into state, class, flow, attempt
      from {schema}.blocked b where b.execution = p_execution for update;
    if found then return; end if;
    select o.state, o.attempt into state, attempt from {schema}.outcome o where o.execution = p_execution;
    if found then return; end if;
  end loop;
  raise exception using errcode = '55P03', message = 'the execution kept moving';
end $$;

-- Tells an execution something. One item, so it may wait for the phase row. p_waitpoint: of a genuine token; else p_key names
-- a waitpoint of p_execution, or is null. p_once: the caller's idempotency key. verdict: satisfied | appended | buffered |
-- ignored (cancellation was asked for) | duplicate | reused (that idempotency key stands for something else) | not_found |
-- terminal | missing, closed (the waitpoint) | full | crowded (early signals of the waitpoint).
-- signal: the id of the signal, of the first one for a duplicate. By a token, every refusal for want of a waitpoint that
-- takes signals is to look the same to its bearer; the caller sees to that.
-- A crash leaves nothing of it. A repeat after the commit counts again unless it has an idempotency key.
create function {schema}.signal_execution(p_namespace int, p_execution uuid, p_key text, p_waitpoint uuid, p_id uuid, p_name text,
  p_source smallint, p_source_id text, p_payload_type text, p_payload bytea, p_once text, p_hash bytea, p_max int,
  p_max_early int, out verdict text, out signal uuid, out state smallint, out attempt int, out token bigint, out classes int[],
  out delay_ms bigint, out left_over boolean) language plpgsql volatile as $$
declare
  v_now timestamptz;
  v_phase record;
  v_place {schema}.waitpoint;
  v_same boolean;
  v_number int;
  v_taken int[];
  v_left record;
  v_items {schema}.log_item[];
begin
  left_over := false;
  if p_waitpoint is not null then
    select w.execution, w.key into p_execution, p_key
      from {schema}.waitpoint w where w.id = p_waitpoint and w.namespace = p_namespace;
    verdict := case when not found then 'missing' end;
  else
    perform 1 from {schema}.execution e where e.id = p_execution and e.namespace = p_namespace;
    verdict := case when not found then 'not_found' end;
  end if;
  if verdict is not null then return; end if;
  select f.* into v_phase from {schema}.lock_phase(p_execution) f;
  v_now := clock_timestamp();
  if p_once is not null then
    select y.id, y.hash = p_hash and y.waitpoint is not distinct from p_key into signal, v_same
      from {schema}.signal y where y.execution = p_execution and y.key = p_once;
    if found then
      verdict := case when v_same then 'duplicate' else 'reused' end;
      return;
    end if;
  end if;
  if v_phase.state >= 7 then
    verdict := 'terminal';
    state := v_phase.state;
    select o.attempt, o.token into attempt, token from {schema}.outcome o where o.execution = p_execution;
    return;
  end if;
  if p_key is not null then
    select w.* into v_place from {schema}.waitpoint w where w.execution = p_execution and w.key = p_key;
    verdict := nullif({schema}.waitpoint_verdict(v_place, v_now), 'usable');
    if verdict is not null then return; end if;
  end if;
  v_number := 1 + coalesce((
    select y.number from {schema}.signal y where y.execution = p_execution order by y.number desc limit 1), 0);
  -- Those of timeouts and operators do not count; they are looked for only where there may be too many.
  verdict := case when v_number > p_max and (
      select count(*) from {schema}.signal y where y.execution = p_execution and not y.by_resume) >= p_max then 'full' when v_place.state = 1 and v_place.signals >= p_max_early then 'crowded'
    when v_phase.canceling then 'ignored' end;
  if verdict is not null then return; end if;
  signal := p_id;
  insert into {schema}.signal (execution, number, id, name, source, source_id, payload_type, payload, waitpoint, key, hash,
      received_at)
    values (p_execution, v_number, p_id, p_name, p_source, p_source_id, p_payload_type, p_payload, p_key, p_once,
      case when p_once is not null then p_hash end, v_now);
  if p_key is not null then
    update {schema}.waitpoint w set signals = w.signals + 1 where w.id = v_place.id;
  end if;
  if v_phase.state <> 5 then
    verdict := 'buffered';
  else
    -- One that was escalated is in an operator's hands.
    v_taken := case when not (v_phase.suspension).escalated then
      {schema}.condition_takes(p_execution, (v_phase.suspension).condition) end;
    verdict := case when v_taken is null then 'appended' else 'satisfied' end;
    if v_taken is not null then
      select g.* into v_left from {schema}.let_go(v_phase.suspension, v_taken, 1::smallint, v_now) g;
      classes := v_left.classes;
      left_over := v_left.state = 1;
      delay_ms := case when v_left.state = 2 then (v_phase.suspension).resume_delay_ms end;
      v_items := v_left.items;
    end if;
  end if;
  perform {schema}.append_items('{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', array[{schema}.signal_item(p_namespace,
    p_execution, v_phase.flow, v_phase.class, v_phase.attempt, p_id, p_name, p_source, p_source_id, p_key, verdict)] || v_items);
end $$;

-- Body of signal.received: signal (its id), name, source, source_id, effect, and subject (the waitpoint's key) where it
-- landed on one.
create function {schema}.signal_item(p_namespace int, p_execution uuid, p_flow uuid, p_class int, p_attempt int, p_id uuid,
  p_name text, p_source smallint, p_source_id text, p_key text, p_effect text) returns {schema}.log_item
language sql immutable as $$
  select row(p_namespace, 65, p_execution, p_flow, p_class, null, null, p_attempt, jsonb_strip_nulls(jsonb_build_object(
    'signal', p_id, 'name', p_name, 'source', p_source, 'source_id', p_source_id, 'effect', p_effect,
    'subject', p_key))::text)::{schema}.log_item
$$;

-- A parked execution goes on with these signals; the caller holds its row and writes the log. state: where it went.
create function {schema}.let_go(s {schema}.suspension, p_taken int[], p_cause smallint, p_now timestamptz, out state smallint,
  out classes int[], out items {schema}.log_item[]) language plpgsql volatile as $$
begin
  update {schema}.signal y set attempt = s.attempt, matched = s.number
    where y.execution = s.execution and y.number = any (p_taken);
  delete from {schema}.suspension y where y.execution = s.execution;
  select g.states[1], g.classes, g.items into state, classes, items from {schema}.leave_suspension(array[s], p_cause, p_now) g;
end $$;

-- An operator lets it go on, whatever its condition: by a signal of his own, which counts against no limit. One that a budget has
-- parked did not ask for signals and gets none: its handler, called again, would take it for the answer to its next wait.
-- p_number: the suspension he saw; null: whichever it is.
-- verdict: resumed (state: where it went) | not_suspended (state: where it stands) | not_found | terminal.
create function {schema}.resume_suspended(p_namespace int, p_execution uuid, p_number int, p_id uuid, p_name text, p_actor text,
  p_payload_type text, p_payload bytea, p_note text, out verdict text, out state smallint, out attempt int, out token bigint,
  out classes int[], out delay_ms bigint, out left_over boolean) language plpgsql volatile as $$
declare
  v_now timestamptz;
  v_phase record;
  v_left record;
  v_number int;
  v_item {schema}.log_item;
  v_items {schema}.log_item[];
begin
  left_over := false;
  perform 1 from {schema}.execution e where e.id = p_execution and e.namespace = p_namespace;
  if not found then
    verdict := 'not_found';
    return;
  end if;
  select f.* into v_phase from {schema}.lock_phase(p_execution) f;
  v_now := clock_timestamp();
  state := v_phase.state;
  verdict := case when state >= 7 then 'terminal'
    when state <> 5 or (v_phase.suspension).number <> p_number then 'not_suspended' else 'resumed' end;
  if verdict = 'terminal' then
    select o.attempt, o.token into attempt, token from {schema}.outcome o where o.execution = p_execution;
  end if;
  if verdict <> 'resumed' then return; end if;
  if (v_phase.suspension).budget is null then
    v_number := 1 + coalesce((
      select y.number from {schema}.signal y where y.execution = p_execution order by y.number desc limit 1), 0);
    insert into {schema}.signal (execution, number, id, name, source, source_id, payload_type, payload, by_resume, received_at)
      values (p_execution, v_number, p_id, p_name, 4, p_actor, p_payload_type, p_payload, true, v_now);
    select g.* into v_left from {schema}.let_go(v_phase.suspension, array[v_number], 3::smallint, v_now) g;
    v_item := {schema}.signal_item(p_namespace, p_execution, v_phase.flow, v_phase.class, v_phase.attempt, p_id, p_name,
      4::smallint, p_actor, null, 'satisfied');
    v_items := v_item || v_left.items;
  else
    select g.* into v_left from {schema}.let_go(v_phase.suspension, '{}', 3::smallint, v_now) g;
    v_items := v_left.items;
  end if;
  v_items[1].body := (v_items[1].body::jsonb || jsonb_build_object('actor', p_actor, 'reason', p_note))::text;
  state := v_left.state;
  classes := v_left.classes;
  left_over := state = 1;
  delay_ms := case when state = 2 then (v_phase.suspension).resume_delay_ms end;
  perform {schema}.append_items('{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', v_items);
end $$;

-- Signals that suspensions took, in order of arrival: up to p_limit of each, after number p_after, and as long as their
-- contents make no more than p_bytes together; p_one: the first whatever its size. fits false: there are more, from here on.
create function {schema}.matched_signals(p_execution uuid[], p_attempt int[], p_suspension int[], p_after int, p_limit int,
  p_bytes bigint, p_one boolean)
returns table (ord int, fits boolean, number int, id uuid, name text, source smallint, source_id text, payload_type text,
  payload bytea, waitpoint text, received_at timestamptz) language sql stable as $$
  select x.ord, x.fits, y.number, y.id, y.name, y.source, y.source_id, y.payload_type, case when x.fits then y.payload end,
    y.waitpoint, y.received_at
  from (
    select z.*, z.nth <= p_limit and (z.bytes <= p_bytes or (p_one and z.nth = 1)) fits,
      lag(z.nth <= p_limit and (z.bytes <= p_bytes or (p_one and z.nth = 1)), 1, true)
        over (partition by z.ord order by z.nth) wanted
    from (
      select u.ord::int, u.execution, s.number, row_number() over (partition by u.ord order by s.number) nth,
        sum(s.size) over (order by u.ord, s.number) bytes
      from unnest(p_execution, p_attempt, p_suspension) with ordinality u (execution, attempt, suspension, ord)
      cross join lateral (
        select y.number, 128 + octet_length(y.name) + octet_length(y.source_id) + coalesce(octet_length(y.payload), 0) size
        from {schema}.signal y
        where y.execution = u.execution and y.attempt = u.attempt and y.matched = u.suspension and y.number > p_after
        order by y.number limit p_limit + 1) s) z) x
  cross join lateral (select * from {schema}.signal s where s.execution = x.execution and s.number = x.number offset 0) y
  where x.wanted
  order by x.ord, x.nth
$$;

-- Suspensions whose time is up. A suspension dies with what ends it, so there is none here that went on before; whoever has
-- one locked decides about it.
create function {schema}.time_out_suspensions(p_limit int, out taken int, out classes int[], out follows boolean,
  out items {schema}.log_item[]) language plpgsql volatile as $$
declare
  v_now timestamptz;
  v_due {schema}.suspension[];
  v_resumed {schema}.suspension[];
  v_ids uuid[];
  v_numbers int[];
  v_endings {schema}.ending[];
  v_left record;
  v_settled record;
begin
  follows := false;
  select array_agg(x.s) into v_due from (
    select s from {schema}.suspension s where s.due_at <= clock_timestamp() order by s.due_at limit p_limit
    for update skip locked) x (s);
  v_now := clock_timestamp();
  taken := coalesce(cardinality(v_due), 0);
  if taken = 0 then return; end if;
  -- Who goes on is told so by a signal, which counts against no limit.
  select array_agg(s), array_agg({schema}.uuid_v7()), array_agg(coalesce(y.number, 0) + 1) into v_resumed, v_ids, v_numbers
    from unnest(v_due) s
    left join lateral (
      select z.number from {schema}.signal z where z.execution = s.execution order by z.number desc limit 1) y on true
    where s.behavior = 4;
  if v_resumed is not null then
    insert into {schema}.signal (execution, number, id, name, source, attempt, matched, by_resume, received_at)
      select s.execution, v_numbers[s.ordinality], v_ids[s.ordinality], 'timeout', 5, s.attempt, s.number, true, v_now
      from unnest(v_resumed) with ordinality s;
    delete from {schema}.suspension s where s.execution = any (array(select y.execution from unnest(v_resumed) y));
    select g.* into v_left from {schema}.leave_suspension(v_resumed, 2::smallint, v_now) g;
    classes := v_left.classes;
    follows := 1 = any (v_left.states);
    select array_agg({schema}.signal_item(s.namespace, s.execution, s.flow, s.class, s.attempt, v_ids[s.ordinality],
        'timeout', 5::smallint, '', null, 'satisfied') order by s.ordinality) || v_left.items into items
      from unnest(v_resumed) with ordinality s;
  end if;
  -- Escalated: from now on only people end it, or its deadline. Body of the entry: cause, escalated.
  update {schema}.suspension s set due_at = null, escalated = true, reason = 5
    where s.execution = any (array(select y.execution from unnest(v_due) y where y.behavior = 5));
  if found then
    select items || array_agg(row(s.namespace, 2, s.execution, s.flow, s.class, 5, 5, s.attempt,
        '{"cause":"timeout","escalated":true}')::{schema}.log_item) into items
      from unnest(v_due) s where s.behavior = 5;
  end if;
  select array_agg({schema}.ending_of_waiting(row(s.execution, 5, s.class, s.priority, s.attempt, s.failures, s.reclaims,
        s.start_by, s.deadline, s.redrive, s.flow, s.linked, true, null, s.gate)::{schema}.waiting, s.namespace,
      (case s.behavior when 1 then 8 when 2 then 9 else 10 end)::smallint, (case s.behavior when 2 then 25 else 8 end)::smallint,
      'nothing ended its suspension in time') order by s.execution)
    into v_endings from unnest(v_due) s where s.behavior < 4;
  if v_endings is null then return; end if;
  delete from {schema}.suspension s where s.execution = any (array(select y.execution from unnest(v_endings) y));
  select t.woken, t.follows into v_settled from {schema}.settle(v_endings, v_now) t;
  classes := classes || v_settled.woken;
  follows := follows or v_settled.follows;
end $$;

-- Closes waitpoints whose time is up. A suspension without a timeout that nothing can satisfy any more without them has its
-- own time up with them. Its row is held first, so that a signal on its way is waited for by the next sweep, not by this one.
create function {schema}.expire_waitpoints(p_limit int, out taken int, out items {schema}.log_item[])
language plpgsql volatile as $$
declare
  v_now timestamptz;
  v_due {schema}.waitpoint[];
  v_held uuid[];
begin
  select array_agg(x.w) into v_due from (
    select w from {schema}.waitpoint w where w.expires_at <= clock_timestamp() and w.state <> 3 order by w.expires_at
    limit p_limit for update skip locked) x (w);
  taken := 0;
  if v_due is null then return; end if;
  v_held := array(
    select s.execution from {schema}.suspension s
    where s.execution = any (array(select distinct w.execution from unnest(v_due) w)) and s.timeout_at is null
    order by s.execution for update skip locked);
  v_now := clock_timestamp();
  select array_agg(w) into v_due from unnest(v_due) w
    where w.execution = any (v_held) or coalesce((
      select false from {schema}.suspension s where s.execution = w.execution and s.timeout_at is null), true);
  if v_due is null then return; end if;
  taken := cardinality(v_due);
  update {schema}.waitpoint w set state = 3 where w.id = any (array(select y.id from unnest(v_due) y));
  if v_held <> '{}' then
    update {schema}.suspension s set timeout_at = v_now, due_at = v_now
      where s.execution = any (v_held) and not s.escalated
        and not {schema}.condition_possible(s.execution, s.condition, '{}', v_now);
  end if;
  -- Body of waitpoint.expired: subject (its key). One whose execution has ended was closed by that.
  select array_agg(row(w.namespace, 61, w.execution, e.flow, e.class, null, null, null,
      json_build_object('subject', w.key)::text)::{schema}.log_item order by w.expires_at) into items
    from unnest(v_due) w
    cross join lateral (select x.flow, x.class from {schema}.execution x where x.id = w.execution offset 0) e
    where coalesce((select false from {schema}.outcome o where o.execution = w.execution), true);
end $$;

-- What time does to suspensions and to waitpoints, which come last: who holds one waits for nothing after that.
create function {schema}.sweep_suspensions(p_limit int, out taken int, out classes int[], out next_ms double precision,
  out follows boolean) language plpgsql volatile as $$
declare
  v_ended record;
  v_closed record;
begin
  select t.* into v_ended from {schema}.time_out_suspensions(p_limit) t;
  select e.* into v_closed from {schema}.expire_waitpoints(p_limit) e;
  taken := v_ended.taken + v_closed.taken;
  classes := v_ended.classes;
  follows := v_ended.follows;
  select least(
      (select extract(epoch from s.due_at - clock_timestamp()) * 1000 from {schema}.suspension s
        where s.due_at is not null order by s.due_at limit 1),
      (select extract(epoch from w.expires_at - clock_timestamp()) * 1000 from {schema}.waitpoint w
        where w.state <> 3 order by w.expires_at limit 1)) into next_ms;
  if v_ended.items is not null or v_closed.items is not null then
    perform {schema}.append_items('{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', v_ended.items || v_closed.items);
  end if;
end $$;
