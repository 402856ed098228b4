-- Makes and changes namespaces.
--
-- Why: what a namespace keeps and allows is set through one function, which decides under a lock, counts the changes and tells
-- them in the log; every process hears of it through the registry's version. What comes in SQL is held to it as well.
-- Locks: creates, and replaces functions. older-servers: allowed

-- verdict: made | changed | same (nothing differs, nothing is written) | conflict (with the present version, 0 when there is no
-- such namespace). Nulls are the server's settings. p_expected 0: any. Details of the entry: subject, version, actor, settings.
-- Two that make the same one, or change it at once, follow each other: the registry's row comes first, as with lanes.
create function {schema}.put_namespace(p_name text, p_description text, p_keep_executions_ms bigint, p_keep_log_ms bigint,
  p_keep_letters_ms bigint, p_keep_event_ids_ms bigint, p_event_ids_forever boolean, p_max_payload_bytes bigint, p_max_hops int,
  p_expected bigint, p_actor text, out verdict text, out version bigint)
language plpgsql volatile as $$
declare
  v_now timestamptz;
  v_is {schema}.namespace;
begin
  perform 1 from {schema}.registry for update;
  select n.* into v_is from {schema}.namespace n where n.name = p_name for no key update;
  if p_expected <> 0 and v_is.version is distinct from p_expected then
    verdict := 'conflict';
    version := coalesce(v_is.version, 0);
    return;
  end if;
  if v_is.id is null then
    -- Whoever creates something in it makes it without the registry's row: it may have come meanwhile.
    insert into {schema}.namespace as n (name) values (p_name) on conflict (name) do update set name = excluded.name
      returning n.* into v_is;
    verdict := 'made';
  elsif (v_is.description, v_is.keep_executions_ms, v_is.keep_log_ms, v_is.keep_letters_ms, v_is.keep_event_ids_ms,
      v_is.event_ids_forever, v_is.max_payload_bytes, v_is.max_hops)
    is not distinct from (p_description, p_keep_executions_ms, p_keep_log_ms, p_keep_letters_ms, p_keep_event_ids_ms,
      p_event_ids_forever, p_max_payload_bytes, p_max_hops) then
    verdict := 'same';
    version := v_is.version;
    return;
  else
    verdict := 'changed';
  end if;
  version := v_is.version + case verdict when 'made' then 0 else 1 end;
  v_now := clock_timestamp();
  update {schema}.namespace n set description = p_description, keep_executions_ms = p_keep_executions_ms,
      keep_log_ms = p_keep_log_ms, keep_letters_ms = p_keep_letters_ms, keep_event_ids_ms = p_keep_event_ids_ms,
      event_ids_forever = p_event_ids_forever, max_payload_bytes = p_max_payload_bytes, max_hops = p_max_hops,
      version = put_namespace.version, actor = p_actor, changed_at = v_now
    where n.id = v_is.id;
  update {schema}.registry set version = registry.version + 1;
  perform {schema}.append_log(array[v_is.id], array[131::smallint], array[null::uuid], array[null::uuid], array[null::int],
    array[null::smallint], array[null::smallint], array[null::int], array[jsonb_build_object('subject', p_name,
      'version', put_namespace.version, 'actor', p_actor, 'description', p_description,
      'keep_executions_ms', p_keep_executions_ms, 'keep_log_ms', p_keep_log_ms, 'keep_letters_ms', p_keep_letters_ms,
      'keep_event_ids_ms', p_keep_event_ids_ms, 'event_ids_forever', p_event_ids_forever,
      'max_payload_bytes', p_max_payload_bytes, 'max_hops', p_max_hops)::text]);
end $$;

-- The first version of a stream that is shown, one more than its head where none is. Events of a stream follow each other in
-- time, so what lies behind the floor is found by halving, however much of it there is; a version whose event is gone lies
-- before it. p_floor null: the first that is there.
create function {schema}.first_shown(p_stream int, p_head bigint, p_floor timestamptz) returns bigint
language plpgsql stable as $$
declare
  v_before bigint;
  v_first bigint := p_head + 1;
  v_at timestamptz;
  v_half bigint;
begin
  select e.version, e.published_at into v_before, v_at from {schema}.event e
    where e.stream = p_stream and e.stream is not null order by e.version limit 1;
  if v_before is null or (v_at < p_floor) is not true then return coalesce(v_before, v_first); end if;
  while v_first - v_before > 1 loop
    v_half := (v_before + v_first) / 2;
    select e.published_at into v_at from {schema}.event e
      where e.stream = p_stream and e.stream is not null and e.version = v_half;
    if v_at >= p_floor then v_first := v_half; else v_before := v_half; end if;
  end loop;
  return v_first;
end $$;

-- SQL as in 0041, but that contents are held to what their namespace takes.
drop function {schema}.refuse_size(text, bytea);
drop function {schema}.emitted_in(text, jsonb[]);

-- Contents are bounded one by one: by what SQL takes, or less where their namespace, given by its name, says so.
create function {schema}.refuse_size(p_field text, p_body bytea, p_namespace text) returns void language plpgsql stable as $$
declare
  v_most constant bigint := (select least(l.max_payload_bytes, (
      select n.max_payload_bytes from {schema}.namespace n where n.name = coalesce(nullif(p_namespace, ''), 'default')))
    from {schema}.sql_limit l);
begin
  if octet_length(p_body) > v_most then
    perform {schema}.refuse_call('PAYLOAD_TOO_LARGE',
      p_field || ' must have at most ' || v_most || ' bytes; it has ' || octet_length(p_body),
      jsonb_build_object('field', p_field, 'limit', v_most::text, 'size', octet_length(p_body)::text));
  end if;
end $$;

-- Events that come from an execution, as they are stored until then: null where nothing was given; and the hash of each. Fields
-- that do not fit each other are violations; each is known to be well-formed by itself.
create function {schema}.emitted_in(p_field text, p_events jsonb[], p_namespace text, out wrong jsonb, out events jsonb[], out hashes text[])
language plpgsql stable as $$
declare
  v_one record;
  v_content record;
begin
  wrong := '[]';
  for v_one in
    select p_field || '[' || u.n - 1 || ']' field, e ->> 'type' as type, e -> 'payload' payload,
      nullif(e ->> 'content_type', '') content_type,
      nullif(e ->> 'stream', '') stream, (e ->> 'expected_stream_version')::numeric::bigint expected,
      nullif(e ->> 'batch_group', '') grouped, coalesce(nullif(e -> 'tags', 'null'), '{}') tags,
      coalesce((e ->> 'schema_version')::numeric::int, 0) schema_version, coalesce(nullif(e -> 'headers', 'null'), '{}') headers,
      {schema}.time_in(e ->> 'occur_time') occurred_at
    from unnest(p_events) with ordinality u (e, n) order by u.n
  loop
    select c.* into v_content from {schema}.content_in(v_one.field || '.payload', v_one.payload, v_one.content_type) c;
    wrong := wrong || v_content.wrong
      || {schema}.violation(v_one.field || '.type', {schema}.wrong_text(v_one.type, 1, 200))
      || {schema}.violation(v_one.field || '.expected_stream_version',
        case when v_one.expected is not null and v_one.stream is null then 'must be absent: there is no stream' end);
    continue when wrong <> '[]';
    perform {schema}.refuse_size(v_one.field || '.payload', v_content.body, p_namespace);
    events := events || jsonb_strip_nulls(jsonb_build_object('type', v_one.type, 'payload_type', v_content.type,
      'payload', translate(encode(v_content.body, 'base64'), chr(10), ''), 'stream', v_one.stream, 'expected', v_one.expected,
      'batch_group', v_one.grouped, 'schema_version', nullif(v_one.schema_version, 0), 'tags', nullif(v_one.tags, '{}'),
      'headers', nullif(v_one.headers, '{}'), 'occurred_at', v_one.occurred_at));
    hashes := hashes || encode({schema}.content_hash('[[' || {schema}.json_text(v_one.type) || ','
      || {schema}.json_text(v_one.stream) || ',' || {schema}.json_text(v_one.expected::text) || ','
      || {schema}.json_text(v_one.grouped) || ',' || v_one.schema_version || ',' || {schema}.json_time(v_one.occurred_at) || '],'
      || {schema}.json_labels(v_one.tags) || ',' || {schema}.json_labels(v_one.headers) || ']', v_content.type, v_content.body),
      'base64');
  end loop;
end $$;

-- Creates one execution, as CreateExecutions does with one item; answers its id, of a repeat by request id the first one's. Its
-- options are the fields of ExecutionSpec by their names there: durations and times as JSON has them, enums by name.
-- One with a concurrency key is scheduled for the next instant, so that its line is not locked until the caller's commit.
-- After a crash before that nothing is left.
create or replace function {schema}.create_execution(namespace text, type text, input jsonb default null, options jsonb default '{}')
returns uuid language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off
set timezone = 'UTC' set standard_conforming_strings = on set extra_float_digits = 1 as $$
#variable_conflict use_column
declare
  p_namespace alias for $1;
  p_type alias for $2;
  p_input alias for $3;
  p_options alias for $4;
  c_day constant bigint := 86400000;
  c_known constant jsonb := jsonb_build_object('execution_id', '["uuid"]'::jsonb, 'request_id', '["text", 0, 200]'::jsonb,
    'lane', '["text", 0, 64]'::jsonb, 'content_type', '["text", 0, 200]'::jsonb,
    'priority', '["integer", -1000, 1000]'::jsonb, 'run_time', '["time"]'::jsonb,
    'delay', jsonb_build_array('span', 0, 36525 * c_day), 'ttl', jsonb_build_array('span', 100, 36525 * c_day),
    'deadline_time', '["time"]'::jsonb, 'attempt_timeout', jsonb_build_array('span', 100, 30 * c_day),
    'retry_policy', jsonb_build_array('object', jsonb_build_object('max_attempts', '["integer", 0, 1000]'::jsonb,
      'initial_backoff', jsonb_build_array('span', 10, c_day), 'backoff_factor', '["number", 1, 100]'::jsonb,
      'max_backoff', jsonb_build_array('span', 0, 30 * c_day), 'max_reclaims', '["integer", 0, 1000]'::jsonb,
      'count_lost_leases', '["boolean"]'::jsonb)),
    'tags', '["labels", 32, 256]'::jsonb, 'required_capabilities', '["list", 64, ["text", 1, 200]]'::jsonb,
    'concurrency_key', '["text", 0, 200]'::jsonb, 'ordering_key', '["text", 0, 200]'::jsonb,
    'dead_head_policy', '["one_of", ["DEAD_HEAD_POLICY_BLOCK", "DEAD_HEAD_POLICY_SKIP"]]'::jsonb,
    'flow_id', '["uuid"]'::jsonb, 'optional_in_flow', '["boolean"]'::jsonb,
    'failure_events', jsonb_build_array('list', 100, jsonb_build_array('object', jsonb_build_object(
      'reasons', jsonb_build_array('list', 13, jsonb_build_array('one_of', {schema}.giving_up_reasons())),
      'event', {schema}.emitted_rule() #- '{1,expected_stream_version}'))));
  v_wrong jsonb;
  v_is record;
  v_retry record;
  v_capabilities text[];
  v_tags jsonb;
  v_hash bytea := '';
  v_content record;
  v_declared record;
  v_emitted record;
  v_namespace int;
  v_line record;
  v_answer record;
  v_limit int;
begin
  v_wrong := {schema}.wrong_namespace(p_namespace) || {schema}.violation('type', {schema}.wrong_text(p_type, 1, 200))
    || {schema}.wrong_options('options', p_options, jsonb_build_array('object', c_known));
  perform {schema}.refuse_fields(v_wrong);
  select nullif(o ->> 'execution_id', '')::uuid id, nullif(o ->> 'request_id', '') request_id,
      nullif(o ->> 'lane', '') lane, nullif(o ->> 'content_type', '') content_type,
      coalesce((o ->> 'priority')::numeric::int, 0) priority,
      {schema}.time_in(o ->> 'run_time') run_at, {schema}.span_in(o ->> 'delay')::bigint delay_ms,
      {schema}.span_in(o ->> 'ttl')::bigint ttl_ms, {schema}.time_in(o ->> 'deadline_time') deadline,
      {schema}.span_in(o ->> 'attempt_timeout')::bigint timeout_ms, nullif(o ->> 'concurrency_key', '') concurrency_key,
      nullif(o ->> 'ordering_key', '') ordering_key,
      case o ->> 'dead_head_policy' when 'DEAD_HEAD_POLICY_BLOCK' then 1 when 'DEAD_HEAD_POLICY_SKIP' then 2 else 0 end dead_head,
      nullif(o ->> 'flow_id', '')::uuid flow, coalesce((o ->> 'optional_in_flow')::boolean, false) optional
    into v_is from (select p_options o) x;
  select nullif((o ->> 'max_attempts')::numeric::int, 0) attempts, {schema}.span_in(o ->> 'initial_backoff')::bigint initial_ms,
      (o ->> 'backoff_factor')::double precision factor, {schema}.span_in(o ->> 'max_backoff')::bigint cap_ms,
      nullif((o ->> 'max_reclaims')::numeric::int, 0) reclaims, (o ->> 'count_lost_leases')::boolean count_lost,
      coalesce(jsonb_typeof(o), 'null') <> 'null' given
    into v_retry from (select p_options -> 'retry_policy' o) x;
  v_capabilities := array(select distinct c collate "C" from jsonb_array_elements_text(
    coalesce(nullif(p_options -> 'required_capabilities', 'null'), '[]')) c order by 1);
  v_tags := coalesce(nullif(p_options -> 'tags', 'null'), '{}');
  select c.* into v_content from {schema}.content_in('input', p_input, v_is.content_type) c;
  select array_agg(coalesce(nullif(f -> 'event', 'null'), '{}') order by n) events, array_agg((
        select coalesce(jsonb_agg(r.n order by r.n), '[]')
        from jsonb_array_elements_text({schema}.giving_up_reasons()) with ordinality r (name, n)
        where coalesce(nullif(f -> 'reasons', 'null'), '[]') ? r.name) order by n) reasons
    into v_declared from jsonb_array_elements(coalesce(nullif(p_options -> 'failure_events', 'null'), '[]'))
      with ordinality u (f, n);
  select e.* into v_emitted from {schema}.emitted_in('failure_events', v_declared.events, p_namespace) e;
  v_wrong := v_content.wrong || v_emitted.wrong || {schema}.violation('execution_id', (
      select case when v_is.id::text !~ '^.{14}7.{4}[89ab]' then 'must be a UUID of version 7'
        when t.ms < n.ms - c_day then 'must not be made more than a day ago'
        when t.ms > n.ms + 300000 then 'must not lie more than five minutes ahead' end || '; it is "' || v_is.id || '"'
      from (select ('x0000' || replace(left(v_is.id::text, 13), '-', ''))::bit(64)::bigint ms) t,
        (select extract(epoch from clock_timestamp()) * 1000 ms) n))
    || {schema}.violation('concurrency_key', case when v_is.concurrency_key is not null and v_is.ordering_key is not null
      then 'must be empty when ordering_key is given' end)
    || {schema}.violation('dead_head_policy', case when v_is.dead_head > 0 and v_is.ordering_key is null
      then 'needs ordering_key' end)
    || {schema}.violation('optional_in_flow', case when v_is.optional and v_is.flow is null then 'needs flow_id' end)
    || {schema}.violation('delay', case when v_is.run_at is not null and v_is.delay_ms is not null
      then 'must be absent when run_time is given' end)
    || {schema}.violation('deadline_time', case when v_is.deadline <= clock_timestamp() then 'must lie in the future'
      when v_is.deadline <= v_is.run_at then 'must be later than run_time' end)
    || {schema}.violation('retry_policy.max_backoff', case when v_retry.cap_ms < v_retry.initial_ms
      then 'must be at least initial_backoff' end);
  perform {schema}.refuse_fields(v_wrong);
  perform {schema}.refuse_size('input', v_content.body, p_namespace);
  if v_is.id is not null or v_is.request_id is not null then
    v_hash := {schema}.content_hash('[{"executionId":' || {schema}.json_text(v_is.id::text)
      || ',"lane":' || {schema}.json_text(v_is.lane) || ',"type":' || to_json(p_type) || ',"priority":' || v_is.priority
      || ',"runTime":' || {schema}.json_time(v_is.run_at) || ',"delay":' || coalesce(v_is.delay_ms::text, 'null')
      || ',"ttl":' || coalesce(v_is.ttl_ms::text, 'null') || ',"deadlineTime":' || {schema}.json_time(v_is.deadline)
      || ',"attemptTimeout":' || coalesce(v_is.timeout_ms::text, 'null')
      || case when not v_retry.given then ''
        else ',"retryPolicy":{"maxAttempts":' || coalesce(v_retry.attempts::text, 'null')
          || ',"initialMs":' || coalesce(v_retry.initial_ms::text, 'null')
          || ',"factor":' || coalesce(v_retry.factor::text, 'null') || ',"capMs":' || coalesce(v_retry.cap_ms::text, 'null')
          || ',"maxReclaims":' || coalesce(v_retry.reclaims::text, 'null')
          || ',"countLost":' || coalesce(v_retry.count_lost::text, 'null') || '}' end
      || ',"concurrencyKey":' || to_json(coalesce(v_is.concurrency_key, ''))
      || ',"orderingKey":' || to_json(coalesce(v_is.ordering_key, '')) || ',"deadHeadPolicy":' || v_is.dead_head
      || ',"flowId":' || {schema}.json_text(v_is.flow::text) || ',"optionalInFlow":' || v_is.optional
      || ',"failureEvents":[' || coalesce((
          select string_agg('[' || translate(r::text, ' ', '') || ',' || to_json(h) || ']', ',' order by n)
          from unnest(v_declared.reasons, v_emitted.hashes) with ordinality u (r, h, n)), '')
      || ']},' || {schema}.json_labels(v_tags) || ',['
      || coalesce((select string_agg(to_json(c)::text, ',' order by n) from unnest(v_capabilities) with ordinality u (c, n)), '')
      || ']]', v_content.type, v_content.body);
  end if;
  v_namespace := {schema}.enter_call(p_namespace, true);
  for i in 1 .. 2 loop
    select c.id class, l.* into v_line
      from {schema}.lane l
      cross join lateral (
        select x.id from {schema}.claim_class x
        where x.lane = l.id and x.type = p_type and x.capabilities = v_capabilities offset 0) c
      where l.namespace = v_namespace and l.name = coalesce(v_is.lane, 'default');
    exit when v_line.class is not null;
    perform 1 from {schema}.intern_classes(array[v_namespace], array[coalesce(v_is.lane, 'default')], array[p_type],
      array[v_capabilities::text]);
  end loop;
  if v_is.concurrency_key is not null and (v_is.run_at is null or v_is.run_at <= clock_timestamp()) then
    v_is.run_at := null;
    v_is.delay_ms := greatest(v_is.delay_ms, 1);
  end if;
  select l.max_flow_members into v_limit from {schema}.sql_limit l;
  select a.* into v_answer from {schema}.create_executions(false, array[coalesce(v_is.id, {schema}.uuid_v7())],
    array[v_namespace], array[v_line.class], array[coalesce(v_is.request_id, v_is.id::text)], array[v_hash],
    array[v_is.priority::smallint], array[v_is.run_at], array[v_is.delay_ms], array[coalesce(v_is.ttl_ms, v_line.ttl_ms)],
    array[v_is.deadline], array[coalesce(v_is.timeout_ms, v_line.timeout_ms)],
    array[coalesce(v_retry.attempts, v_line.retry_max)], array[coalesce(v_retry.initial_ms, v_line.retry_initial_ms)],
    array[coalesce(v_retry.factor::real, v_line.retry_factor)], array[coalesce(v_retry.cap_ms, v_line.retry_cap_ms)],
    array[coalesce(v_retry.reclaims, v_line.reclaims_max)], array[coalesce(v_retry.count_lost, v_line.count_lost)],
    array[v_tags], array[v_content.type], array[0], array[octet_length(v_content.body)], coalesce(v_content.body, ''),
    array[null::uuid], array[null::uuid], array[null::uuid], case when v_is.flow is not null then array[v_is.flow] end,
    case when v_is.flow is not null then array[v_is.optional] end, null, null, false, v_limit,
    case when v_is.concurrency_key is not null then array[v_is.concurrency_key] end,
    case when v_is.ordering_key is not null then array[v_is.ordering_key] end,
    case when v_is.ordering_key is not null then array[greatest(v_is.dead_head, 1)::smallint] end,
    case when v_emitted.events is not null then array[(
      select jsonb_agg(e || jsonb_build_object('reasons', r) order by n)
      from unnest(v_emitted.events, v_declared.reasons) with ordinality u (e, r, n))] end) a;
  case v_answer.verdict
    when 'created', 'duplicate' then
      return v_answer.execution;
    when 'reused' then
      perform {schema}.refuse_call('REQUEST_ID_REUSED', 'this id was used before, for other content',
        jsonb_build_object('execution_id', v_answer.execution));
    when 'closed' then
      perform {schema}.refuse_call('LANE_CLOSED', 'the lane is draining and takes no new work');
    else
      perform {schema}.refuse_flow(v_answer.verdict, v_is.flow, v_limit);
  end case;
end $$;

-- Publishes one event, as PublishEvents does with one item; answers its id, of a repeat by event id the same. Its options are the
-- fields of EventSpec by their names there, but for batch_group. All that reacts to it is started by the router, after the
-- caller's commit. After a crash before that nothing is left.
create or replace function {schema}.publish_event(namespace text, type text, payload jsonb default null, options jsonb default '{}')
returns text language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off
set timezone = 'UTC' set standard_conforming_strings = on set extra_float_digits = 1 as $$
#variable_conflict use_column
declare
  p_namespace alias for $1;
  p_type alias for $2;
  p_payload alias for $3;
  p_options alias for $4;
  c_memory_ms constant bigint := 2592000000; -- that ids are remembered
  c_idle_ms constant bigint := 86400000; -- until a flow that an event starts seals itself
  c_known constant jsonb := '{"event_id": ["text", 0, 200], "content_type": ["text", 0, 200], "stream": ["text", 0, 200],
    "expected_stream_version": ["integer", 0, 9223372036854775807], "flow_id": ["uuid"], "cause_event_id": ["text", 0, 200],
    "tags": ["labels", 32, 256], "schema_version": ["integer", 0, 2147483647], "headers": ["labels", 32, 1024],
    "occur_time": ["time"]}';
  v_is record;
  v_made_ms bigint;
  v_tags jsonb;
  v_headers jsonb;
  v_content record;
  v_hash bytea;
  v_namespace int;
  v_limit int;
  v_answer record;
begin
  perform {schema}.refuse_fields({schema}.wrong_namespace(p_namespace)
    || {schema}.violation('type', {schema}.wrong_text(p_type, 1, 200))
    || {schema}.wrong_options('options', p_options, jsonb_build_array('object', c_known)));
  select nullif(o ->> 'event_id', '') id, nullif(o ->> 'content_type', '') content_type, nullif(o ->> 'stream', '') stream,
      (o ->> 'expected_stream_version')::numeric::bigint expected, nullif(o ->> 'flow_id', '')::uuid flow,
      nullif(o ->> 'cause_event_id', '') cause, coalesce((o ->> 'schema_version')::numeric::int, 0) schema_version,
      {schema}.time_in(o ->> 'occur_time') occurred_at
    into v_is from (select p_options o) x;
  v_tags := coalesce(nullif(p_options -> 'tags', 'null'), '{}');
  v_headers := coalesce(nullif(p_options -> 'headers', 'null'), '{}');
  select c.* into v_content from {schema}.content_in('payload', p_payload, v_is.content_type) c;
  if v_is.id ~* '^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$' then
    v_made_ms := ('x0000' || replace(left(v_is.id, 13), '-', ''))::bit(64)::bigint;
  end if;
  perform {schema}.refuse_fields(v_content.wrong || {schema}.violation('expected_stream_version',
      case when v_is.expected is not null and v_is.stream is null then 'must be absent: there is no stream' end)
    || {schema}.violation('event_id', case when v_made_ms > extract(epoch from clock_timestamp()) * 1000 + 300000
      then 'must not lie more than five minutes ahead; it is "' || v_is.id || '"' end));
  perform {schema}.refuse_size('payload', v_content.body, p_namespace);
  if v_is.id is not null then
    v_hash := {schema}.content_hash('[[' || to_json(p_type) || ',' || {schema}.json_text(v_is.stream) || ','
      || {schema}.json_text(v_is.flow::text) || ',' || {schema}.json_text(v_is.cause) || ',' || v_is.schema_version || ','
      || {schema}.json_time(v_is.occurred_at) || ',""],' || {schema}.json_labels(v_tags) || ',' || {schema}.json_labels(v_headers)
      || ']', v_content.type, v_content.body);
  end if;
  v_namespace := {schema}.enter_call(p_namespace, true);
  select l.max_flow_members into v_limit from {schema}.sql_limit l;
  select a.* into v_answer from {schema}.publish_events(array[1], array[1], array[v_namespace],
    case when v_is.id is not null then array[v_is.id] end, array[v_made_ms], array[v_hash], array[p_type],
    case when v_is.stream is not null then array[v_is.stream] end, array[v_is.expected],
    case when v_is.flow is not null then array[v_is.flow] end, array[{schema}.uuid_v7()],
    case when v_is.cause is not null then array[v_is.cause] end, null, null, null, null, array[v_is.schema_version],
    array[v_tags], array[v_headers], array[v_is.occurred_at], array[v_content.type], array[0],
    array[octet_length(v_content.body)], coalesce(v_content.body, ''), c_memory_ms, c_idle_ms, v_limit, 0) a;
  case v_answer.verdict
    when 'published', 'duplicate' then
      return coalesce(v_is.id, v_answer.event::text);
    when 'reused' then
      perform {schema}.refuse_call('EVENT_ID_REUSED', 'this id was used before, for other content',
        jsonb_build_object('event_id', v_is.id));
    when 'too_old' then
      perform {schema}.refuse_call('EVENT_ID_TOO_OLD', 'this id is older than ids are remembered',
        jsonb_build_object('event_id', v_is.id, 'floor_time', v_answer.floor_at));
    when 'no_cause' then
      perform {schema}.refuse_call('EVENT_NOT_FOUND', 'there is no event ' || v_is.cause || ' that could be its cause',
        jsonb_build_object('event_id', v_is.cause));
    when 'conflict' then
      perform {schema}.refuse_stream(v_is.stream, v_answer.version);
    else
      perform {schema}.refuse_flow(v_answer.verdict, coalesce(v_is.flow, v_answer.flow), v_limit);
  end case;
end $$;

-- Completes an execution with what its holder shows, as CompleteExecutions does with one item that brings no children or frames;
-- answers when it ended. Options: content_type; events, with the fields of EmittedEvent by their names, and content_type.
-- A repeat is refused, unlike there: what the caller wrote beside the first one is committed, and must not be written again.
-- What the end releases, in joins and of its concurrency key, and what its events start, is left to sweepers and the router after
-- the caller's commit. After a crash before that the lease stands as it stood.
create or replace function {schema}.complete_execution(namespace text, execution uuid, lease uuid, token bigint, result jsonb default null,
  options jsonb default '{}') returns timestamptz language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off
set timezone = 'UTC' set standard_conforming_strings = on set extra_float_digits = 1 as $$
#variable_conflict use_column
declare
  p_namespace alias for $1;
  p_execution alias for $2;
  p_lease alias for $3;
  p_token alias for $4;
  p_result alias for $5;
  p_options alias for $6;
  v_content record;
  v_emitted record;
  v_hash bytea;
  v_namespace int;
  v_locked {schema}.lease[];
  v_lease {schema}.lease;
  v_now timestamptz;
  v_ending {schema}.ending;
  v_emission {schema}.emission;
begin
  perform {schema}.refuse_fields({schema}.wrong_namespace(p_namespace)
    || {schema}.violation('execution', case when p_execution is null then 'is required' end)
    || {schema}.violation('lease', case when p_lease is null then 'is required' end)
    || {schema}.violation('token', case when p_token is null then 'is required' when p_token < 0 then 'must not be negative' end)
    || {schema}.wrong_options('options', p_options, jsonb_build_array('object', jsonb_build_object(
      'content_type', '["text", 0, 200]'::jsonb, 'events', jsonb_build_array('list', 10000, {schema}.emitted_rule())))));
  select c.* into v_content from {schema}.content_in('result', p_result, nullif(p_options ->> 'content_type', '')) c;
  select e.* into v_emitted from {schema}.emitted_in('events', array(
    select e from jsonb_array_elements(coalesce(nullif(p_options -> 'events', 'null'), '[]')) with ordinality u (e, n)
    order by n), p_namespace) e;
  perform {schema}.refuse_fields(v_content.wrong || v_emitted.wrong);
  perform {schema}.refuse_size('result', v_content.body, p_namespace);
  v_hash := {schema}.content_hash(case when v_emitted.hashes is null then '[]' else '[[],[],['
    || (select string_agg(to_json(h)::text, ',' order by n) from unnest(v_emitted.hashes) with ordinality u (h, n)) || ']]' end,
    v_content.type, v_content.body);
  v_namespace := {schema}.enter_call(p_namespace, false);
  perform pg_current_xact_id(); -- before any ready_seq is drawn
  -- Whoever else has it is about to end it, or to renew it: this one item waits.
  perform 1 from {schema}.lease l where l.execution = p_execution and l.lease = p_lease for update;
  select k.locked into v_locked from {schema}.lock_leases(array[p_execution], array[p_lease]) k;
  v_now := clock_timestamp();
  v_lease := v_locked[1];
  if not ({schema}.held_leases(v_locked, array[v_namespace], array[p_lease], array[p_token], v_now))[1]
    or (v_lease.cancel_at is not null and not v_lease.cancel_accepts_late)
  then
    perform {schema}.refuse_completion(v_namespace, p_execution, p_lease, p_token, v_hash);
  elsif v_lease.linked and {schema}.is_loser(p_execution) then
    -- A join that was satisfied without it cancels it.
    perform {schema}.refuse_call('WRONG_STATE', 'the execution is being canceled and takes no completion any more',
      jsonb_build_object('execution_id', p_execution, 'state', 'RUNNING'));
  end if;
  if v_emitted.events is not null then
    v_emission := {schema}.enter_emission(v_lease, v_emitted.events);
  end if;
  v_ending := {schema}.ending_of(v_lease, 1::smallint, v_hash, 1::smallint, 7::smallint, null, null, null, v_lease.failures,
    v_lease.reclaims, null, null, null, v_content.type, v_content.body);
  delete from {schema}.lease l where l.execution = p_execution;
  if v_ending.gate is not null then
    insert into {schema}.follow_up (kind, subject) values (7, v_ending.gate);
    v_ending.gate := null;
  end if;
  perform {schema}.settle(array[v_ending], v_now, true);
  if v_emitted.events is not null then
    perform {schema}.append_emission(v_lease, v_emitted.events, v_emission);
  end if;
  return v_now;
end $$;
