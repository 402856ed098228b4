-- Dead letters for handlers: subscriptions to letters that are opened.
--
-- A letter of a namespace with such a subscription leaves a row of `letter_route` in the transaction that opens it, and whoever
-- deletes the row makes what it stands for in the same transaction: once, whatever crashes. The handler's execution names its
-- letter (`handles`), belongs to no flow, and counts one hop more than what was given up. If it gives up, that closes its letter
-- and opens none.
-- Locks: short ACCESS EXCLUSIVE locks on dead_letter and subscription, to add triggers and columns. older-servers: refused

-- subscriptions: version of subscription_registry when it was opened; later ones are not asked.
create table {schema}.letter_route (
  letter uuid primary key,
  subscriptions bigint not null
) with (autovacuum_vacuum_cost_delay = 0, vacuum_truncate = off);

-- What it matches beside tags and the flow: lanes and types of what was given up.
alter table {schema}.subscription add column letter_lanes text[] not null default '{}',
  add column letter_types text[] not null default '{}';

-- A parked entry that has not failed itself is nobody's yet.
create function {schema}.route_opened() returns trigger language plpgsql volatile as $$
begin
  insert into {schema}.letter_route (letter, subscriptions)
    select n.id, r.version from opened n cross join {schema}.subscription_registry r
    where not n.follower and coalesce((
      select true from {schema}.subscription s where s.namespace = n.namespace and s.of_letters and s.state = 1 limit 1), false);
  return null;
end $$;
create trigger dead_letter_opened after insert on {schema}.dead_letter referencing new table as opened
  for each statement execute function {schema}.route_opened();

-- It was parked behind another one, and has failed by now; what was handed out before is not again. What is put back behind
-- one that failed waits on.
create function {schema}.route_failed() returns trigger language plpgsql volatile as $$
begin
  insert into {schema}.letter_route (letter, subscriptions)
    select new.id, r.version from {schema}.subscription_registry r
    where coalesce((
      select true from {schema}.subscription s where s.namespace = new.namespace and s.of_letters and s.state = 1 limit 1), false)
    on conflict do nothing;
  return null;
end $$;
create trigger dead_letter_failed after update on {schema}.dead_letter for each row
  when (old.state = 2 and new.state = 1 and new.subject = 3 and not new.follower) execute function {schema}.route_failed();

-- As JSON of a payload: text where it is some, else data.
create function {schema}.payload_json(p_type text, p_body bytea) returns jsonb language plpgsql immutable as $$
begin
  if p_type is null then return null; end if;
  if p_type ~* '^(text/|application/([a-z0-9.+-]+\+)?(json|xml) *(;|$))' then
    begin
      return jsonb_build_object('contentType', p_type, 'text', convert_from(p_body, 'UTF8'));
    exception when data_exception then
      null; -- as data
    end;
  end if;
  return jsonb_build_object('contentType', p_type, 'data', replace(encode(p_body, 'base64'), E'\n', ''));
end $$;

create function {schema}.time_json(p_at timestamptz) returns text language sql stable as $$
  select to_char(p_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
$$;

-- A letter in the JSON of the contract's DeadLetter, as it was opened; a large input, or one of its failure, is left out.
create function {schema}.letter_json(p_letter {schema}.dead_letter) returns jsonb language plpgsql stable as $$
declare
  c_inline constant int := 64 * 1024;
  c_reasons constant text[] := '{RETRIES_EXHAUSTED,PERMANENT,TIMEOUT,RECLAIMS_EXHAUSTED,TTL,DEADLINE,NO_HANDLER,'
    'SUSPENSION_TIMEOUT,JOIN_EXPIRED,HOP_LIMIT,BUDGET,INVALID_RESULT,CONSUMER_ENTRY}';
  c_classes constant text[] := '{TRANSIENT,PERMANENT,RATE_LIMITED,TIMEOUT,CANCELED,INVALID_RESULT}';
  d constant {schema}.dead_letter := p_letter;
begin
  return jsonb_strip_nulls(jsonb_build_object(
    'deadLetterId', d.id,
    'namespace', (select n.name from {schema}.namespace n where n.id = d.namespace),
    'subject', case d.subject when 1 then jsonb_build_object('executionId', d.execution)
      when 2 then jsonb_build_object('eventId', d.event_id)
      else jsonb_build_object('consumerEntry', jsonb_build_object('consumer', d.consumer_name, 'generation', d.generation::text,
        'part', d.part, 'cursor', {schema}.cursor_at(d.namespace, d.position), 'key', coalesce(d.entry_key, ''))) end,
    'reason', 'DEAD_LETTER_REASON_' || c_reasons[d.reason],
    'state', 'DEAD_LETTER_STATE_OPEN',
    'version', d.version::text,
    'lane', d.lane, 'type', d.type, 'flowId', d.flow, 'eventId', d.event_id, 'eventType', d.event_type,
    'subscription', d.subscription, 'consumer', d.consumer_name, 'tags', d.tags,
    'input', case when octet_length(d.input) <= c_inline then {schema}.payload_json(d.input_type, d.input) end,
    'inputOmitted', coalesce(octet_length(d.input) > c_inline, false),
    'failure', jsonb_build_object(
      'failureClass', 'FAILURE_CLASS_' || coalesce(c_classes[d.failure_class], 'UNSPECIFIED'),
      'message', d.message, 'code', coalesce(d.failure_code, ''),
      'details', case when octet_length(d.details) <= c_inline then {schema}.payload_json(d.details_type, d.details) end),
    'fingerprint', d.fingerprint, 'attemptCount', d.attempts,
    'firstFailureTime', {schema}.time_json(d.first_failure_at), 'lastFailureTime', {schema}.time_json(d.last_failure_at),
    'createTime', {schema}.time_json(d.created_at)));
end $$;

-- How many hops are behind what was given up.
create function {schema}.letter_hops(p_letter {schema}.dead_letter) returns int language plpgsql stable as $$
begin
  return greatest((select e.hops from {schema}.execution e where e.id = coalesce(p_letter.entry_execution, p_letter.execution)),
    (select e.hops from {schema}.event e where e.id = p_letter.event), 0);
end $$;

-- Makes the executions that handle letters. Who is passed over is somebody else's. A letter that is open no more needs none, and
-- over the limit of hops there is none: the letter waits for a person. A crash leaves the rows, a repeat finds none.
-- next_ms: there are more.
create function {schema}.hand_out_letters(p_limit int, out taken int, out classes int[], out next_ms double precision)
language plpgsql volatile as $$
declare
  c_most constant int := 100; -- each may be some hundred kilobytes of JSON
  v_now timestamptz;
  v_letters uuid[];
  v_made record;
begin
  v_letters := array(
    select r.letter from {schema}.letter_route r order by r.letter limit least(p_limit, c_most) for update skip locked);
  taken := cardinality(v_letters);
  classes := '{}';
  if taken = 0 then return; end if;
  if taken = c_most then next_ms := 0; end if;
  perform pg_current_xact_id(); -- before any ready_seq is drawn
  v_now := clock_timestamp();
  with wanted as materialized (
      select d.d, s.s, h.hops, r.n from unnest(v_letters) with ordinality r (letter, n)
      cross join lateral (select x.subscriptions from {schema}.letter_route x where x.letter = r.letter offset 0) v
      cross join lateral (select d from {schema}.dead_letter d where d.id = r.letter and d.state = 1 offset 0) d
      cross join lateral (
        select s from {schema}.subscription s
        where s.namespace = (d.d).namespace and s.of_letters and s.state = 1 and s.since <= v.subscriptions
          and (s.letter_lanes = '{}' or (d.d).lane = any (s.letter_lanes))
          and (s.letter_types = '{}' or (d.d).type = any (s.letter_types))
          and (s.match_flow is null or s.match_flow = (d.d).flow) and (d.d).tags @> s.match_tags offset 0) s
      cross join lateral (select {schema}.letter_hops(d.d) + 1 hops) h
      cross join lateral (select x.max_hops from {schema}.namespace x where x.id = (d.d).namespace offset 0) m
      where h.hops <= m.max_hops and not coalesce((
        select true from {schema}.execution e where e.handles = r.letter and e.subscription = (s.s).id limit 1), false)),
    handler as materialized (
      select {schema}.uuid_v7() id, w.n, (w.d).namespace, (w.d).id letter, w.hops, {schema}.letter_json(w.d) input,
        (w.d).tags || (w.s).tags tags, (w.s).id subscription, (w.s).version, (w.s).class, (w.s).priority, (w.s).retry_max, (w.s).retry_initial_ms,
        (w.s).retry_factor, (w.s).retry_cap_ms, (w.s).reclaims_max, (w.s).count_lost, c.lane,
        case when (w.s).delay_ms > 0 then (w.d).created_at + (w.s).delay_ms * interval '1 ms' else v_now end run_at,
        (w.s).ttl_ms, v_now + (w.s).deadline_ms * interval '1 ms' deadline, (w.s).timeout_ms
      from wanted w
      cross join lateral (select x.lane from {schema}.claim_class x where x.id = (w.s).class offset 0) c),
    made as (
      insert into {schema}.execution (id, namespace, class, priority, run_at, start_by, deadline, timeout_ms, retry_max,
          retry_initial_ms, retry_factor, retry_cap_ms, reclaims_max, count_lost, tags, input_type, input, created_at,
          subscription, subscription_version, hops, handles)
        select h.id, h.namespace, h.class, h.priority, h.run_at,
          greatest(h.run_at, v_now) + coalesce(h.ttl_ms, l.ttl_ms) * interval '1 ms', h.deadline,
          coalesce(h.timeout_ms, l.timeout_ms), coalesce(h.retry_max, l.retry_max),
          coalesce(h.retry_initial_ms, l.retry_initial_ms), coalesce(h.retry_factor, l.retry_factor),
          coalesce(h.retry_cap_ms, l.retry_cap_ms), coalesce(h.reclaims_max, l.reclaims_max),
          coalesce(h.count_lost, l.count_lost), h.tags, 'application/json', convert_to(h.input::text, 'UTF8'), v_now,
          h.subscription, h.version, h.hops, h.letter
        from handler h cross join lateral (select x.* from {schema}.lane x where x.id = h.lane offset 0) l
        order by h.n, h.subscription
        returning id, namespace, class, priority, run_at, start_by, deadline, timeout_ms),
    queued as (
      insert into {schema}.ready (class, priority, seq, execution, ready_at, kind, attempt, failures, reclaims, timeout_ms,
          start_by, deadline, redrive, flow, linked)
        select m.class, -m.priority, nextval('{schema}.ready_seq'), m.id, v_now, 1, 0, 0, 0, m.timeout_ms, m.start_by,
          m.deadline, false, null, false
        from made m where m.run_at <= v_now),
    later as (
      insert into {schema}.scheduled (execution, run_at, class, priority, kind, attempt, failures, reclaims, timeout_ms,
          start_by, deadline, redrive, flow, linked)
        select m.id, m.run_at, m.class, m.priority, 1, 0, 0, 0, m.timeout_ms, m.start_by, m.deadline, false, null, false
        from made m where m.run_at > v_now),
    timed as (
      insert into {schema}.timer (execution, due_at)
        select m.id, least(m.start_by, m.deadline) from made m where m.start_by is not null or m.deadline is not null)
    select array_agg(m.class) filter (where m.run_at <= v_now) classes,
        array_agg(row(m.namespace, 1, m.id, null, m.class, null, case when m.run_at > v_now then 2 else 3 end, 0,
          null)::{schema}.log_item order by m.id) items
      into v_made from made m;
  delete from {schema}.letter_route r where r.letter = any (v_letters);
  classes := coalesce(v_made.classes, '{}');
  if v_made.items is not null then
    perform {schema}.append_items('{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', v_made.items);
  end if;
end $$;

-- Makes or changes a subscription; p_rule: its columns. p_from: position after which a new one begins; null: at the head.
-- verdict: put | resumed (it was halted, and goes on with the same content) | same | conflict (with the present version) |
-- ordering | joining | letters (which cannot be changed; the last: whether it matches letters). due: the router has something to do.
-- The registry's row is held until the commit, so that every publisher sees a change whole, or its number is a lower one.
-- A repeat changes nothing; of a crash nothing is left.
create or replace function {schema}.put_subscription(p_namespace int, p_name text, p_rule jsonb, p_from bigint, p_expected bigint,
  p_actor text, out verdict text, out version bigint, out due boolean) language plpgsql volatile as $$
#variable_conflict use_column
declare
  v_is {schema}.subscription := jsonb_populate_record(null::{schema}.subscription, p_rule);
  v_was {schema}.subscription;
  v_registry bigint;
  v_now timestamptz;
  v_id int;
begin
  due := false;
  select r.version + 1 into v_registry from {schema}.subscription_registry r for update;
  -- What was routed side by side is not any more: whoever is at it finishes first.
  perform pg_advisory_xact_lock(hashtext('tailrace routes {schema}'), s.id * 16 + g)
    from {schema}.subscription s cross join generate_series(0, 15) g
    where s.namespace = p_namespace and s.name = p_name and s.state <> 4 and s.parted and v_is.key_source <> 1;
  select s.* into v_was from {schema}.subscription s where s.namespace = p_namespace and s.name = p_name and s.state <> 4
    for update;
  v_now := clock_timestamp();
  version := coalesce(v_was.version, 0);
  verdict := case when p_expected not in (0, version) then 'conflict'
    when v_was.ordered <> v_is.ordered then 'ordering'
    when v_was.joins <> v_is.joins then 'joining'
    when v_was.of_letters <> v_is.of_letters then 'letters'
    when v_was.spec = v_is.spec and v_was.class = v_is.class and v_was.failure_events is not distinct from v_is.failure_events
      then case when v_was.state = 3 then 'resumed' else 'same' end
    else 'put' end;
  if verdict not in ('put', 'resumed') then return; end if;
  update {schema}.subscription_registry set version = v_registry;
  v_id := v_was.id;
  if v_id is null then
    insert into {schema}.subscription (namespace, name, since, state, class, past_from, parted, of_letters, spec, created_at,
        changed_at)
      values (p_namespace, p_name, v_registry, case when p_from is null then 1 else 2 end, v_is.class, p_from,
        v_is.ordered and v_is.key_source = 1, v_is.of_letters, v_is.spec, v_now, v_now)
      returning id into v_id;
  end if;
  update {schema}.subscription s set version = s.version + (verdict = 'put' and v_was.id is not null)::int,
      state = case when s.past_from is null then 1 else 2 end, halted_at = null, halted_reason = null,
      event_types = v_is.event_types, type_prefixes = v_is.type_prefixes, streams = v_is.streams,
      stream_prefixes = v_is.stream_prefixes, letter_lanes = v_is.letter_lanes,
      letter_types = v_is.letter_types, match_flow = v_is.match_flow, match_tags = v_is.match_tags,
      match_headers = v_is.match_headers, payload_matches = v_is.payload_matches, class = v_is.class,
      priority = v_is.priority, delay_ms = v_is.delay_ms, ttl_ms = v_is.ttl_ms, deadline_ms = v_is.deadline_ms,
      timeout_ms = v_is.timeout_ms, retry_max = v_is.retry_max, retry_initial_ms = v_is.retry_initial_ms,
      retry_factor = v_is.retry_factor, retry_cap_ms = v_is.retry_cap_ms, reclaims_max = v_is.reclaims_max,
      count_lost = v_is.count_lost, tags = v_is.tags, optional = v_is.optional, key_source = v_is.key_source,
      key_name = v_is.key_name, key_path = v_is.key_path, parted = s.parted and v_is.key_source = 1,
      ordered = v_is.ordered, dead_head = v_is.dead_head, failure_events = v_is.failure_events, joins = v_is.joins,
      join_type = v_is.join_type, join_policy = v_is.join_policy, spec = v_is.spec, actor = p_actor, changed_at = v_now
    where s.id = v_id returning s.version, s.state <> 1 or verdict = 'resumed' or v_was.state = 3 into version, due;
  delete from {schema}.subscription_lead d where d.subscription = v_id;
  insert into {schema}.subscription_lead (namespace, lead, subscription)
    select distinct p_namespace, u.lead, v_id
    from unnest(case when v_is.event_types = '{}' or v_is.type_prefixes <> '{}' then '{""}' else v_is.event_types end) u (lead)
    where not v_is.of_letters;
  perform {schema}.append_items('{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', array[
    row(p_namespace, 135, null, null, null, null, null, null, jsonb_build_object('subject', p_name, 'version', version,
      'actor', p_actor) || case when v_was.state = 3 then '{"resumed":true}' else '{}'::jsonb end)::{schema}.log_item]);
end $$;

-- Opens a letter for each execution that gave up; a redrive that gave up reopens the letter it came from, and one that
-- succeeded closes it. A handler of letters that gave up opens none: it closes the one it handles, unless somebody else has moved
-- that. Letters are locked last and in the order of their ids; whoever else locks letters does nothing
-- under that lock but write them, so this wait is short and cannot be part of a cycle.
create or replace function {schema}.settle_letters(p_endings {schema}.ending[], p_now timestamptz)
returns table (execution uuid, letter uuid, kind smallint) language plpgsql volatile as $$
#variable_conflict use_column
declare
  v_execution uuid[];
  v_letter uuid[];
  v_handler uuid[];
  v_handled uuid[];
  v_closed {schema}.dead_letter[];
begin
  select array_agg(e.id order by e.letter), array_agg(e.letter order by e.letter) into v_execution, v_letter
    from unnest(p_endings) x
    -- By key whatever the planner believes: the index on letters would read every redrive there ever was.
    cross join lateral (select i.id, i.letter from {schema}.execution i where i.id = x.execution offset 0) e
    where x.redrive and x.state >= 7 and e.letter is not null;
  select array_agg(e.id), array_agg(e.handles) into v_handler, v_handled
    from unnest(p_endings) x
    cross join lateral (select i.id, i.handles from {schema}.execution i where i.id = x.execution offset 0) e
    where x.state in (8, 10) and e.handles is not null;
  if v_letter is not null or v_handled is not null then
    perform 1 from {schema}.dead_letter d where d.id = any (v_letter || v_handled) order by d.id for update;
  end if;
  if v_handled is not null then
    with failed as (
        select distinct on (u.letter) u.letter, u.execution, coalesce(x.message, '') message, s.name
        from unnest(v_handler, v_handled) u (execution, letter) join unnest(p_endings) x on x.execution = u.execution
        cross join lateral (select i.subscription from {schema}.execution i where i.id = u.execution offset 0) i
        cross join lateral (select y.name from {schema}.subscription y where y.id = i.subscription offset 0) s
        order by u.letter, u.execution),
      closed as (
        update {schema}.dead_letter d set state = 3, resolution = 4, closed_at = p_now, actor = f.name,
            note = left(f.message, 1000), version = d.version + 1, holds = false, follower = false
          from failed f where d.id = any (v_handled) and d.id = f.letter and d.state not in (2, 3) -- by key, as above
          returning d, f.execution)
      select array_agg(c.d), array_agg(c.execution), array_agg((c.d).id) into v_closed, v_handler, v_handled from closed c;
    -- Whoever it held up goes on right after.
    insert into {schema}.follow_up (kind, subject) select distinct 7, c.gate from unnest(v_closed) c where c.gate is not null;
    insert into {schema}.consumer_release (consumer, generation, part)
      select distinct c.consumer, c.generation, c.part from unnest(v_closed) c where c.consumer is not null;
    if found then perform {schema}.wake_consumers(); end if;
    return query select u.execution, u.letter, 72::smallint from unnest(v_handler, v_handled) u (execution, letter);
  end if;
  if v_letter is not null then
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
        input_type, input, failure_class, failure_code, message, details_type, details, fingerprint, attempts, first_failure_at,
        last_failure_at, created_at, event, event_id, event_type, subscription, gate)
      select {schema}.uuid_v7(), x.namespace, x.execution, x.execution, x.reason, n.name,
        c.type, e.flow, e.tags, coalesce(e.input_type, v.payload_type), case when e.input_type is null then v.payload else e.input end,
        x.failure_class, x.failure_code, coalesce(x.message, ''), x.content_type, x.content,
        {schema}.fingerprint(c.type, x.failure_class, x.message), x.attempt,
        coalesce((select min(a.ended_at) from {schema}.attempt a
          where a.execution = x.execution and a.outcome in (2, 3, 4)), p_now), p_now, p_now, v.id, coalesce(v.event_id, v.id::text),
        v.type, (select s.name from {schema}.subscription s where s.id = e.subscription),
        -- One whose join never let it go had no place in the order yet.
        case when e.dead_head = 1 and (x.attempt > 0 or x.barrier is null and x.reason <> 9)
          then {schema}.order_gate_of(c.lane, e.ordering_key) end
      from unnest(p_endings) x
      join {schema}.execution e on e.id = x.execution
      join {schema}.claim_class c on c.id = x.class
      join {schema}.lane n on n.id = c.lane
      left join lateral (
        select y.id, y.event_id, y.type, y.payload_type, y.payload from {schema}.event y where y.id = e.event offset 0) v on true
      where x.state in (8, 10) and not x.redrive and e.handles is null
        and e.id = any (array(select y.execution from unnest(p_endings) y where y.state in (8, 10)))
      returning d.execution, d.id, 70::smallint;
end $$;
