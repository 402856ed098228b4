-- What clients do in SQL, inside transactions of their own: create work, publish, complete, move a consumer's position.
--
-- The four functions at the end are the API; they run with the rights of their owner and with the planner's settings of its
-- role, so that a client's role needs nothing but them (`grant_sql_client`). They keep no state of a session: each transaction
-- may have another backend. What they write appears, or does not, with what the caller writes beside it, and is taken up within
-- a pulse after the commit.
-- The caller may hold its transaction for long, so whatever others stand in line for is left to sweepers: slots of joins and of
-- concurrency keys, the reactions to events. What cannot be left is locked until the caller's commit: the row of a flow that
-- takes something, a stream that is appended to, the line of an ordering key, names that are met for the first time.
-- Each call appends a row of its own to the log, so what the caller does after it, and others because of that, comes later there.
-- Locks: creates only. older-servers: allowed

-- One row: what one call may bring. Servers have settings for this; who does not ask them is held to these.
create table {schema}.sql_limit (
  one boolean not null primary key default true check (one),
  max_payload_bytes int not null default 1048576 check (max_payload_bytes between 1024 and 67108864),
  max_flow_members int not null default 100000 check (max_flow_members between 1 and 10000000)
);
insert into {schema}.sql_limit default values;

-- Raises what a call is refused with: a message for people; for programs a code, and {reason, violations, metadata} as the
-- detail. Codes are the places of the reasons here, so new ones come last.
create function {schema}.refuse_call(p_reason text, p_message text, p_metadata jsonb default '{}', p_violations jsonb default '[]')
returns void language plpgsql stable as $$
declare
  c_reasons constant text[] := '{INVALID_FIELD,BAD_CURSOR,PAYLOAD_TOO_LARGE,REQUEST_ID_REUSED,EVENT_ID_REUSED,EVENT_ID_TOO_OLD,'
    'EXECUTION_NOT_FOUND,FLOW_NOT_FOUND,EVENT_NOT_FOUND,CONSUMER_NOT_FOUND,DEAD_LETTER_NOT_FOUND,LEASE_LOST,'
    'EXECUTION_TERMINAL,WRONG_STATE,LANE_CLOSED,FLOW_SEALED,FLOW_LIMIT_EXCEEDED,STREAM_VERSION_CONFLICT,VERSION_CONFLICT,'
    'EPOCH_CONFLICT,CONTENTION,ISOLATION_LEVEL}';
begin
  raise exception using errcode = 'TR' || lpad((9 + array_position(c_reasons, p_reason))::text, 3, '0'), message = p_message,
    detail = jsonb_build_object('reason', p_reason, 'metadata', p_metadata, 'violations', p_violations)::text;
end $$;

-- One, as a list; none where nothing is wrong.
create function {schema}.violation(p_field text, p_description text) returns jsonb language plpgsql immutable as $$
begin
  return case when p_description is null then '[]'
    else jsonb_build_array(jsonb_build_object('field', p_field, 'description', p_description)) end;
end $$;

-- All violations at once, if there are any.
create function {schema}.refuse_fields(p_wrong jsonb) returns void language plpgsql stable as $$
declare
  v_n constant int := jsonb_array_length(p_wrong);
begin
  if v_n = 0 then return; end if;
  perform {schema}.refuse_call('INVALID_FIELD', (p_wrong -> 0 ->> 'field') || ' ' || (p_wrong -> 0 ->> 'description')
    || case when v_n = 1 then '' else ' (and ' || v_n - 1 || ' more)' end, '{}', p_wrong);
end $$;

-- A time with its zone, to the millisecond; null for anything else.
create function {schema}.time_in(p_text text) returns timestamptz language plpgsql stable as $$
begin
  if p_text !~* '^[0-9]{4}-[0-9]{2}-[0-9]{2}[t ][0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{1,9})?(z|[+-][0-9]{2}(:?[0-9]{2})?)$' then
    return null;
  end if;
  return date_trunc('milliseconds', p_text::timestamptz);
exception when data_exception then
  return null;
end $$;

-- Milliseconds of `1.5s`, as JSON has durations, or of whatever Postgres reads as an interval; a part of one counts as a whole.
-- Null for anything else.
create function {schema}.span_in(p_text text) returns numeric language plpgsql stable as $$
begin
  if p_text ~ '^[0-9]{1,12}([.][0-9]{1,9})?s$' then return ceil(rtrim(p_text, 's')::numeric * 1000); end if;
  return ceil(extract(epoch from p_text::interval) * 1000);
exception when data_exception then
  return null;
end $$;

-- What is wrong with a text; null: nothing. One that need not be there may be empty.
create function {schema}.wrong_text(p_text text, p_least int, p_most int) returns text language plpgsql immutable as $$
begin
  return case when p_least > 0 and coalesce(p_text, '') = '' then 'is required'
    when octet_length(p_text) > p_most then 'must have at most ' || p_most || ' bytes; it has ' || octet_length(p_text) end;
end $$;

-- What is wrong with a value by its rule, [kind, bounds …]; null: nothing.
create function {schema}.wrong_value(p_value jsonb, p_rule jsonb) returns text language plpgsql stable as $$
declare
  v_kind constant text := p_rule ->> 0;
  v_type constant text := jsonb_typeof(p_value);
  v_text constant text := p_value #>> '{}';
  v_is constant text := '; it is ' || left(p_value::text, 60);
  v_number numeric;
  v_time timestamptz;
begin
  case v_kind
    when 'text' then
      return case when v_type <> 'string' then 'must be text' || v_is
        else {schema}.wrong_text(v_text, (p_rule ->> 1)::int, (p_rule ->> 2)::int) end;
    when 'uuid' then
      return case when v_type <> 'string'
        or v_text !~* '^([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})?$' then 'must be a UUID' || v_is end;
    when 'boolean' then
      return case when v_type <> 'boolean' then 'must be true or false' || v_is end;
    when 'one_of' then
      return case when v_type <> 'string' or not p_rule -> 1 ? v_text then 'must be one of ' || (p_rule ->> 1) || v_is end;
    when 'integer', 'number' then
      if v_type = 'number' then v_number := v_text::numeric; end if;
      return case when v_number is null or v_number < (p_rule ->> 1)::numeric or v_number > (p_rule ->> 2)::numeric
          or (v_kind = 'integer' and v_number <> trunc(v_number))
        then 'must be ' || case v_kind when 'integer' then 'a whole number' else 'a number' end || ' from '
          || (p_rule ->> 1) || ' to ' || (p_rule ->> 2) || v_is end;
    when 'span' then
      if v_type = 'string' then v_number := {schema}.span_in(v_text); end if;
      return case when v_number is null then 'must be a duration such as "1.5s"' || v_is
        when v_number < (p_rule ->> 1)::numeric or v_number > (p_rule ->> 2)::numeric
          then 'must be from ' || (p_rule ->> 1) || ' ms to ' || (p_rule ->> 2) || ' ms' || v_is end;
    when 'time' then
      if v_type = 'string' then v_time := {schema}.time_in(v_text); end if;
      return case when v_time is null then 'must be a time with its zone, such as "2026-01-31T12:00:00Z"' || v_is
        when v_time < 'epoch' or v_time > clock_timestamp() + interval '36525 d'
          then 'must be from 1970 to a hundred years from now' || v_is end;
  end case;
end $$;

-- Violations of a value by its rule. Beside those of wrong_value there are [any], [list, most, rule of each],
-- [labels, most, bytes of a value] and [object, {name: rule}]; an option that is null is as if it were not there.
create function {schema}.wrong_options(p_field text, p_value jsonb, p_rule jsonb) returns jsonb language plpgsql stable as $$
declare
  v_kind constant text := p_rule ->> 0;
  v_type constant text := coalesce(jsonb_typeof(p_value), 'null');
  v_most constant int := case when v_kind in ('list', 'labels') then (p_rule ->> 1)::int end;
  v_n int;
  v_wrong jsonb := '[]';
  v_one record;
begin
  case
    when v_kind = 'any' then
      null;
    when v_kind = 'list' and v_type = 'array' then
      v_n := jsonb_array_length(p_value);
      for v_one in select a.value, a.ordinality - 1 n from jsonb_array_elements(p_value) with ordinality a limit v_most loop
        v_wrong := v_wrong || {schema}.wrong_options(p_field || '[' || v_one.n || ']', v_one.value, p_rule -> 2);
      end loop;
    when v_kind = 'labels' and v_type = 'object' then
      v_n := (select count(*) from jsonb_object_keys(p_value));
      for v_one in select o.key, o.value from jsonb_each(p_value) o order by o.key limit v_most loop
        v_wrong := v_wrong || {schema}.violation(p_field || '[' || to_json(left(v_one.key, 60)) || ']', coalesce(
          'key ' || {schema}.wrong_text(v_one.key, 1, 64),
          {schema}.wrong_value(v_one.value, jsonb_build_array('text', 0, p_rule -> 2))));
      end loop;
    when v_kind = 'object' and v_type = 'object' then
      for v_one in
        select o.key, o.value, p_rule -> 1 -> o.key rule,
          case when p_field = 'options' then '' else p_field || '.' end || left(o.key, 60) field
        from jsonb_each(p_value) o where o.value <> 'null' or not p_rule -> 1 ? o.key order by o.key
      loop
        v_wrong := v_wrong || case when v_one.rule is null
          then {schema}.violation(v_one.field, 'is no option; there are '
            || (select string_agg(k, ', ' order by k) from jsonb_object_keys(p_rule -> 1) k))
          else {schema}.wrong_options(v_one.field, v_one.value, v_one.rule) end;
      end loop;
    when v_kind in ('list', 'labels', 'object') then
      return {schema}.violation(p_field, case v_kind when 'list' then 'must be an array'
        when 'labels' then 'must be an object of texts' else 'must be an object' end || '; it is ' || left(coalesce(p_value::text, 'null'), 60));
    else
      return {schema}.violation(p_field, {schema}.wrong_value(p_value, p_rule));
  end case;
  if v_n > v_most then
    v_wrong := {schema}.violation(p_field, 'must have at most ' || v_most || '; it has ' || v_n) || v_wrong;
  end if;
  return v_wrong;
end $$;

-- What is stored of a value: its JSON text; or, with a media type, the text that it is.
create function {schema}.content_in(p_field text, p_value jsonb, p_type text, out type text, out body bytea, out wrong jsonb)
language plpgsql stable as $$
begin
  wrong := '[]';
  if p_type is null then
    if p_value is not null then
      type := 'application/json';
      body := convert_to(p_value::text, 'UTF8');
    end if;
  elsif jsonb_typeof(p_value) is distinct from 'string' then
    wrong := {schema}.violation(p_field, 'must be a JSON string, the content itself, when content_type is given');
  else
    type := p_type;
    body := convert_to(p_value #>> '{}', 'UTF8');
  end if;
end $$;

-- Contents are bounded one by one.
create function {schema}.refuse_size(p_field text, p_body bytea) returns void language plpgsql stable as $$
declare
  v_most constant int := (select l.max_payload_bytes from {schema}.sql_limit l);
begin
  if octet_length(p_body) > v_most then
    perform {schema}.refuse_call('PAYLOAD_TOO_LARGE',
      p_field || ' must have at most ' || v_most || ' bytes; it has ' || octet_length(p_body),
      jsonb_build_object('field', p_field, 'limit', v_most::text, 'size', octet_length(p_body)::text));
  end if;
end $$;

-- Hashes of content are those that servers make, of the same JSON: whoever repeats a call may do so either way.
create function {schema}.content_hash(p_fields text, p_type text, p_body bytea) returns bytea language plpgsql immutable as $$
begin
  return substring(sha256(convert_to(p_fields, 'UTF8')
    || case when p_type is null then '' else convert_to(chr(10) || p_type || chr(10), 'UTF8') || p_body end) for 16);
end $$;

-- The parts of hashed content as JSON.stringify writes them. Keys are in the order of bytes, as they are there but for the rarest.
create function {schema}.json_text(p_text text) returns text language plpgsql immutable as $$
begin
  return coalesce(to_json(p_text)::text, 'null');
end $$;

create function {schema}.json_time(p_time timestamptz) returns text language plpgsql stable as $$
begin
  return coalesce('"' || to_char(p_time at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') || '"', 'null');
end $$;

create function {schema}.json_labels(p_labels jsonb) returns text language plpgsql immutable as $$
begin
  return (
    select '[' || coalesce(
      string_agg('[' || to_json(l.key) || ',' || to_json(l.value) || ']', ',' order by l.key collate "C"), '') || ']'
    from jsonb_each_text(coalesce(p_labels, '{}')) l);
end $$;

-- EmittedEvent, by the names of its fields.
create function {schema}.emitted_rule() returns jsonb language plpgsql immutable as $$
begin
  return '["object", {"type": ["text", 1, 200], "payload": ["any"], "content_type": ["text", 0, 200], "stream": ["text", 0, 200],
    "expected_stream_version": ["integer", 0, 9223372036854775807], "batch_group": ["text", 0, 200],
    "tags": ["labels", 32, 256], "schema_version": ["integer", 0, 2147483647], "headers": ["labels", 32, 1024],
    "occur_time": ["time"]}]'::jsonb;
end $$;

-- In the order of their numbers.
create function {schema}.giving_up_reasons() returns jsonb language plpgsql immutable as $$
begin
  return '["DEAD_LETTER_REASON_RETRIES_EXHAUSTED", "DEAD_LETTER_REASON_PERMANENT", "DEAD_LETTER_REASON_TIMEOUT",
    "DEAD_LETTER_REASON_RECLAIMS_EXHAUSTED", "DEAD_LETTER_REASON_TTL", "DEAD_LETTER_REASON_DEADLINE",
    "DEAD_LETTER_REASON_NO_HANDLER", "DEAD_LETTER_REASON_SUSPENSION_TIMEOUT", "DEAD_LETTER_REASON_JOIN_EXPIRED",
    "DEAD_LETTER_REASON_HOP_LIMIT", "DEAD_LETTER_REASON_BUDGET", "DEAD_LETTER_REASON_INVALID_RESULT",
    "DEAD_LETTER_REASON_CONSUMER_ENTRY"]'::jsonb;
end $$;

-- Events that come from an execution, as they are stored until then: null where nothing was given; and the hash of each. Fields
-- that do not fit each other are violations; each is known to be well-formed by itself.
create function {schema}.emitted_in(p_field text, p_events jsonb[], out wrong jsonb, out events jsonb[], out hashes text[])
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
    perform {schema}.refuse_size(v_one.field || '.payload', v_content.body);
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

-- Of a cursor, before its checksum: FNV-1a over 32 bits.
create function {schema}.cursor_checksum(p_bytes bytea) returns bytea language plpgsql immutable as $$
declare
  v_hash bigint := 2166136261;
begin
  for i in 0 .. octet_length(p_bytes) - 1 loop
    v_hash := ((v_hash # get_byte(p_bytes, i)) * 16777619) & 4294967295;
  end loop;
  return substring(int8send(v_hash) from 5);
end $$;

create function {schema}.cursor_at(p_namespace int, p_position bigint) returns text language plpgsql stable as $$
declare
  v_bytes bytea;
begin
  select decode('01', 'hex') || int4send(p_namespace) || uuid_send(i.id) || decode('010000', 'hex') || int8send(p_position)
    into v_bytes from {schema}.log_incarnation i;
  return translate(encode(v_bytes || {schema}.cursor_checksum(v_bytes), 'base64'), '+/', '-_');
end $$;

-- The position of a cursor that a server has made for this namespace.
create function {schema}.position_in(p_namespace int, p_field text, p_cursor text) returns bigint language plpgsql stable as $$
declare
  v_bytes bytea;
  v_why text;
begin
  -- One pair of shard and position, so it has always the same length.
  if coalesce(p_cursor, '') !~ '^[A-Za-z0-9_-]{48}$' then
    v_why := 'it is damaged';
  else
    v_bytes := decode(translate(p_cursor, '-_', '+/'), 'base64');
    v_why := case
      when get_byte(v_bytes, 0) <> 1 then 'its version is unknown'
      when {schema}.cursor_checksum(substring(v_bytes for 32)) <> substring(v_bytes from 33) then 'it is damaged'
      when substring(v_bytes from 2 for 4) <> int4send(p_namespace) then 'it belongs to another namespace'
      when substring(v_bytes from 6 for 16) <> (select uuid_send(i.id) from {schema}.log_incarnation i)
        then 'it belongs to another log'
      when substring(v_bytes from 22 for 3) <> decode('010000', 'hex') then 'its shards are unknown'
      when get_byte(v_bytes, 24) > 127 then 'it lies beyond the end of the log' end;
  end if;
  if v_why is not null then
    perform {schema}.refuse_call('BAD_CURSOR', 'the cursor cannot be used: ' || v_why, jsonb_build_object('field', p_field));
  end if;
  return ('x' || encode(substring(v_bytes from 25), 'hex'))::bit(64)::bigint;
end $$;

create function {schema}.wrong_namespace(p_namespace text) returns jsonb language plpgsql immutable as $$
begin
  return {schema}.violation('namespace', case when p_namespace = '*' then 'must name one namespace; it is "*"'
    else {schema}.wrong_text(p_namespace, 0, 200) end);
end $$;

-- What each call needs of its transaction; the number of the namespace, which is made on first use if p_makes, else 0.
-- Statements of these functions read anew after every lock, and what they acknowledge is not lost: hence the two settings.
create function {schema}.enter_call(p_namespace text, p_makes boolean) returns int language plpgsql volatile as $$
declare
  v_name constant text := coalesce(nullif(p_namespace, ''), 'default');
  v_id int;
begin
  if current_setting('transaction_isolation') <> 'read committed' then
    perform {schema}.refuse_call('ISOLATION_LEVEL',
      'this works in transactions that are read committed; this one is ' || current_setting('transaction_isolation'));
  end if;
  if current_setting('synchronous_commit') not in ('on', 'remote_apply') then
    perform set_config('synchronous_commit', 'on', true);
  end if;
  select n.id into v_id from {schema}.namespace n where n.name = v_name;
  if v_id is null and p_makes then
    insert into {schema}.namespace (name) values (v_name) on conflict do nothing;
    select n.id into v_id from {schema}.namespace n where n.name = v_name;
  end if;
  return coalesce(v_id, 0);
end $$;

-- Creates one execution, as CreateExecutions does with one item; answers its id, of a repeat by request id the first one's. Its
-- options are the fields of ExecutionSpec by their names there: durations and times as JSON has them, enums by name.
-- One with a concurrency key is scheduled for the next instant, so that its line is not locked until the caller's commit.
-- After a crash before that nothing is left.
create function {schema}.create_execution(namespace text, type text, input jsonb default null, options jsonb default '{}')
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
  select e.* into v_emitted from {schema}.emitted_in('failure_events', v_declared.events) e;
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
  perform {schema}.refuse_size('input', v_content.body);
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

create function {schema}.refuse_stream(p_stream text, p_version bigint) returns void language plpgsql stable as $$
begin
  perform {schema}.refuse_call('STREAM_VERSION_CONFLICT', 'the stream has version ' || p_version,
    jsonb_build_object('stream', p_stream, 'current_version', p_version::text));
end $$;

create function {schema}.refuse_flow(p_verdict text, p_flow uuid, p_limit int) returns void language plpgsql stable as $$
declare
  v_flow constant jsonb := jsonb_build_object('flow_id', p_flow);
begin
  case p_verdict
    when 'no_flow' then perform {schema}.refuse_call('FLOW_NOT_FOUND', 'there is no flow ' || p_flow, v_flow);
    when 'flow_sealed' then perform {schema}.refuse_call('FLOW_SEALED', 'the flow is sealed and takes nothing more', v_flow);
    when 'flow_canceled' then
      perform {schema}.refuse_call('WRONG_STATE', 'the flow is canceled and takes nothing more',
        v_flow || '{"state": "CANCELED"}');
    when 'flow_full' then
      perform {schema}.refuse_call('FLOW_LIMIT_EXCEEDED', 'a flow has at most ' || p_limit || ' members',
        jsonb_build_object('limit', p_limit::text));
    when 'busy' then
      perform {schema}.refuse_call('CONTENTION', 'the flow is locked by another transaction; repeat this one', v_flow);
  end case;
end $$;

-- Publishes one event, as PublishEvents does with one item; answers its id, of a repeat by event id the same. Its options are the
-- fields of EventSpec by their names there, but for batch_group. All that reacts to it is started by the router, after the
-- caller's commit. After a crash before that nothing is left.
create function {schema}.publish_event(namespace text, type text, payload jsonb default null, options jsonb default '{}')
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
  perform {schema}.refuse_size('payload', v_content.body);
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

-- Why a holder may not complete.
create function {schema}.refuse_completion(p_namespace int, p_execution uuid, p_lease uuid, p_token bigint, p_hash bytea)
returns void language plpgsql stable as $$
declare
  c_states constant text[] :=
    '{BLOCKED,SCHEDULED,QUEUED,RUNNING,SUSPENDED,WAITING_CHILDREN,SUCCEEDED,FAILED,CANCELED,EXPIRED,SKIPPED}';
  v_id constant jsonb := jsonb_build_object('execution_id', p_execution);
  v_refused record;
begin
  select r.* into v_refused from {schema}.explain_refusals(array[1], array[p_namespace], array[p_execution], array[p_lease],
    array[p_token], 1::smallint, array[p_hash]) r;
  case v_refused.verdict
    when 'not_found' then
      perform {schema}.refuse_call('EXECUTION_NOT_FOUND', 'there is no execution ' || p_execution, v_id);
    when 'duplicate' then
      perform {schema}.refuse_call('EXECUTION_TERMINAL', 'it was completed so before; roll back what was done once more',
        v_id || '{"state": "SUCCEEDED", "duplicate": "true"}');
    when 'terminal' then
      perform {schema}.refuse_call('EXECUTION_TERMINAL', 'the execution has ended ' || c_states[v_refused.state],
        v_id || jsonb_build_object('state', c_states[v_refused.state],
          'attempt_number', coalesce(v_refused.attempt, 0)::text, 'fencing_token', coalesce(v_refused.token, 0)::text));
    when 'canceling' then
      perform {schema}.refuse_call('WRONG_STATE', 'the execution is being canceled and takes no completion any more',
        v_id || '{"state": "RUNNING"}');
    when 'busy' then
      perform {schema}.refuse_call('CONTENTION', 'the execution is locked by another transaction; repeat this one', v_id);
    else
      perform {schema}.refuse_call('LEASE_LOST', case v_refused.verdict when 'expired' then 'the lease has expired'
          when 'other_content' then 'this lease ended its attempt with other content'
          when 'revoked' then 'the lease was revoked' else 'the lease is not the one in force' end,
        v_id || jsonb_build_object('why', v_refused.verdict));
  end case;
end $$;

-- Of the events of a completion: whether their flow is canceled, and for each that has a stream, which and its version there.
create type {schema}.emission as (canceled uuid[], streams int[], versions bigint[]);

-- Takes hold of what they need, in the order of locks: their flow, then their streams. Of what it refuses the execution goes on.
create function {schema}.enter_emission(p_lease {schema}.lease, p_events jsonb[]) returns {schema}.emission
language plpgsql volatile as $$
declare
  v_streams int[] := array_fill(null::int, array[cardinality(p_events)]);
  v_versions bigint[] := array_fill(null::bigint, array[cardinality(p_events)]);
  v_held record;
  v_canceled uuid[] := '{}';
  v_names text[];
  v_numbers int[];
  v_there bigint[];
  v_at int;
  v_event record;
begin
  if p_lease.flow is not null then
    select k.* into v_held from {schema}.hold_flows(array[p_lease.flow]) k;
    if v_held.held = '{}' then perform {schema}.refuse_flow('busy', p_lease.flow, 0); end if;
    v_canceled := v_held.canceled;
  end if;
  v_names := array(select distinct e ->> 'stream' from unnest(p_events) e where e ? 'stream' order by 1);
  if v_names <> '{}' then
    select array_agg(s.name), array_agg(s.stream), array_agg(s.version) into v_names, v_numbers, v_there
      from {schema}.enter_streams(array_fill(p_lease.namespace, array[cardinality(v_names)]), v_names) s;
  end if;
  for v_event in
    select u.e ->> 'stream' stream, (u.e ->> 'expected')::bigint expected, u.n::int
    from unnest(p_events) with ordinality u (e, n) where u.e ? 'stream' order by u.n
  loop
    v_at := array_position(v_names, v_event.stream);
    if v_at is null then
      raise exception using errcode = 'serialization_failure', message = 'a stream went away';
    elsif v_event.expected <> v_there[v_at] then
      perform {schema}.refuse_stream(v_event.stream, v_there[v_at]);
    end if;
    v_there[v_at] := v_there[v_at] + 1;
    v_streams[v_event.n] := v_numbers[v_at];
    v_versions[v_event.n] := v_there[v_at];
  end loop;
  return row(v_canceled, v_streams, v_versions);
end $$;

-- Appends them, after the end of the execution, as complete_with_events does; all that they start is left to the router.
create function {schema}.append_emission(p_lease {schema}.lease, p_events jsonb[], p_held {schema}.emission) returns void
language plpgsql volatile as $$
declare
  v_now constant timestamptz := clock_timestamp();
  v_flow uuid := p_lease.flow;
  v_begun {schema}.log_item[];
  v_of record;
  v_batch uuid[];
  v_index int[];
  v_size int[];
  v_heir int;
  v_events {schema}.event[];
  v_staged {schema}.staged;
begin
  select x.event, x.hops, x.batch, x.batch_index, x.batch_size into v_of from {schema}.execution x where x.id = p_lease.execution;
  if v_flow is null then
    v_flow := {schema}.uuid_v7();
    v_begun := {schema}.start_flows(array[v_flow], array[p_lease.namespace], v_now);
  end if;
  with grouped as materialized (
      select y.name, {schema}.uuid_v7() id, y.size from (
        select e ->> 'batch_group' as name, count(*)::int size from unnest(p_events) e where e ? 'batch_group' group by 1) y)
    select array_agg(g.id order by u.n), array_agg(g.size order by u.n),
        array_agg(case when g.id is not null then u.idx - 1 end order by u.n)
      into v_batch, v_size, v_index
      from (
        select y.e, y.n, row_number() over (partition by y.e ->> 'batch_group' order by y.n)::int idx
        from unnest(p_events) with ordinality y (e, n)) u
      left join grouped g on g.name = u.e ->> 'batch_group';
  if v_of.batch is not null then
    select h.event into v_heir from {schema}.heirs(array[1], array[p_lease.namespace], array_fill(1, array[cardinality(p_events)]),
      array(select u.e ->> 'type' from unnest(p_events) with ordinality u (e, n) order by u.n), v_batch) h;
    if v_heir is not null then
      v_batch[v_heir] := v_of.batch;
      v_index[v_heir] := v_of.batch_index;
      v_size[v_heir] := v_of.batch_size;
    end if;
  end if;
  v_events := array(
    select row(u.id, p_lease.namespace, null, null, null, u.e ->> 'type', u.stream, u.version, v_flow, v_of.event,
      p_lease.execution, v_of.hops + 1, u.batch, u.idx, u.size, coalesce((u.e ->> 'schema_version')::int, 0),
      coalesce(u.e -> 'tags', '{}'), coalesce(u.e -> 'headers', '{}'), (u.e ->> 'occurred_at')::timestamptz, v_now, null,
      u.e ->> 'payload_type', decode(u.e ->> 'payload', 'base64'))::{schema}.event
    from unnest({schema}.uuids_v7(cardinality(p_events)), p_events, p_held.streams, p_held.versions, v_batch, v_index, v_size)
      with ordinality u (id, e, stream, version, batch, idx, size, n) order by u.n);
  v_staged := {schema}.stage_events(v_events, v_now, 0, p_held.canceled);
  update {schema}.stream s set version = u.version from (
      select y.stream, max(y.version) as version from unnest(p_held.streams, p_held.versions) y (stream, version)
      where y.stream is not null group by y.stream) u
    where s.id = u.stream;
  perform {schema}.append_staged(v_staged, v_begun);
end $$;

-- Completes an execution with what its holder shows, as CompleteExecutions does with one item that brings no children or frames;
-- answers when it ended. Options: content_type; events, with the fields of EmittedEvent by their names, and content_type.
-- A repeat is refused, unlike there: what the caller wrote beside the first one is committed, and must not be written again.
-- What the end releases, in joins and of its concurrency key, and what its events start, is left to sweepers and the router after
-- the caller's commit. After a crash before that the lease stands as it stood.
create function {schema}.complete_execution(namespace text, execution uuid, lease uuid, token bigint, result jsonb default null,
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
    order by n)) e;
  perform {schema}.refuse_fields(v_content.wrong || v_emitted.wrong);
  perform {schema}.refuse_size('result', v_content.body);
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

-- Moves the position of a part that is held, as CommitEntries does, so that what the caller made of the entries is committed
-- with it or not at all; answers when the lease ends. A repeat is refused, unlike there: the first one's effects are
-- committed. So are dead letters that are closed already, for whatever was done for them was done before, or is not wanted.
-- The part's row is locked until the caller's commit. After a crash before that the part stands where it stood.
create function {schema}.commit_entries(namespace text, consumer text, owner text, generation bigint, part int, epoch bigint,
  from_cursor text, to_cursor text, dead_letter_ids uuid[] default '{}') returns timestamptz
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off
set timezone = 'UTC' set standard_conforming_strings = on set extra_float_digits = 1 as $$
#variable_conflict use_column
declare
  p_namespace alias for $1;
  p_consumer alias for $2;
  p_owner alias for $3;
  p_generation alias for $4;
  p_part alias for $5;
  p_epoch alias for $6;
  c_letters constant int := 5000;
  v_letters constant uuid[] := array(select distinct u from unnest($9) u where u is not null order by u);
  v_namespace int;
  v_from bigint;
  v_to bigint;
  v_answer record;
begin
  perform {schema}.refuse_fields({schema}.wrong_namespace(p_namespace)
    || {schema}.violation('consumer', {schema}.wrong_text(p_consumer, 1, 200))
    || {schema}.violation('owner', {schema}.wrong_text(p_owner, 1, 200))
    || {schema}.violation('generation', case when p_generation is null then 'is required'
      when p_generation < 1 then 'must be positive' end)
    || {schema}.violation('part', case when p_part is null then 'is required'
      when p_part not between 0 and 255 then 'must be from 0 to 255' end)
    || {schema}.violation('epoch', case when p_epoch is null then 'is required' when p_epoch < 0 then 'must not be negative' end)
    || {schema}.violation('dead_letter_ids', case when cardinality($9) > c_letters
      then 'must have at most ' || c_letters || ' items; it has ' || cardinality($9) end));
  v_namespace := {schema}.enter_call(p_namespace, false);
  v_from := {schema}.position_in(v_namespace, 'from_cursor', $7);
  v_to := {schema}.position_in(v_namespace, 'to_cursor', $8);
  select c.* into v_answer from {schema}.commit_part(v_namespace, p_consumer, p_owner, p_generation, p_part, p_epoch, v_from, v_to,
    v_letters) c;
  case v_answer.verdict
    when 'committed' then
      if v_answer.closed < cardinality(v_letters) then
        perform {schema}.refuse_call('VERSION_CONFLICT',
          'a dead letter is not being delivered again any more; roll back and fetch anew',
          jsonb_build_object('current_cursor', {schema}.cursor_at(v_namespace, v_answer.position)));
      end if;
      return v_answer.expires_at;
    when 'not_found' then
      perform {schema}.refuse_call('CONSUMER_NOT_FOUND', 'there is no consumer ' || p_consumer,
        jsonb_build_object('consumer', p_consumer));
    when 'epoch' then
      perform {schema}.refuse_call('EPOCH_CONFLICT', 'the part is not held under this epoch any more',
        jsonb_build_object('generation', p_generation::text, 'part', p_part::text));
    when 'duplicate', 'moved' then
      perform {schema}.refuse_call('VERSION_CONFLICT', case v_answer.verdict
          when 'duplicate' then 'these entries were committed before; roll back what was done once more'
          else 'the committed cursor is not at from_cursor' end,
        jsonb_build_object('current_cursor', {schema}.cursor_at(v_namespace, v_answer.position))
          || case v_answer.verdict when 'duplicate' then '{"duplicate": "true"}' else '{}'::jsonb end);
    when 'beyond' then
      perform {schema}.refuse_call('BAD_CURSOR', 'the cursor cannot be used: it lies '
        || case when v_to < v_from then 'before from_cursor' else 'beyond the end of the log' end, '{"field": "to_cursor"}');
    when 'no_letter' then
      perform {schema}.refuse_call('DEAD_LETTER_NOT_FOUND', 'one of these dead letters is none of this part');
  end case;
end $$;

revoke execute on function {schema}.create_execution(text, text, jsonb, jsonb), {schema}.publish_event(text, text, jsonb, jsonb),
  {schema}.complete_execution(text, uuid, uuid, bigint, jsonb, jsonb),
  {schema}.commit_entries(text, text, text, bigint, int, bigint, text, text, uuid[]) from public;

-- Lets a role call the four, and nothing else of the schema. To be called by the schema's owner. A repeat changes nothing.
create function {schema}.grant_sql_client(role name) returns void language plpgsql volatile as $$
begin
  execute format('grant usage on schema {schema} to %I', $1);
  execute format('grant execute on function {schema}.create_execution, {schema}.publish_event, {schema}.complete_execution, '
    '{schema}.commit_entries to %I', $1);
end $$;

-- Takes it back.
create function {schema}.revoke_sql_client(role name) returns void language plpgsql volatile as $$
begin
  execute format('revoke execute on function {schema}.create_execution, {schema}.publish_event, {schema}.complete_execution, '
    '{schema}.commit_entries from %I', $1);
  execute format('revoke usage on schema {schema} from %I', $1);
end $$;

revoke execute on function {schema}.grant_sql_client(name), {schema}.revoke_sql_client(name) from public;
