-- Subscriptions, and the router: what publishing left over becomes executions.
--
-- A subscription that was deleted keeps its row (state 4), for what it started names it; another one may take its name.
-- Locks: ACCESS EXCLUSIVE on subscription, which nobody has yet. older-servers: refused

alter table {schema}.subscription drop constraint subscription_namespace_name_key, drop constraint subscription_state_check,
  add constraint subscription_state_check check (state in (1, 2, 3, 4)), -- and deleted
  add column past_top bigint; -- no row of the log above it is of its past
create unique index subscription_name on {schema}.subscription (namespace, name) where state <> 4;

-- Makes or changes a subscription; p_rule: its columns. p_from: position after which a new one begins; null: at the head.
-- verdict: put | resumed (it was halted, and goes on with the same content) | same | conflict (with the present version) |
-- ordering | joining (which cannot be changed). due: the router has something to do.
-- The registry's row is held until the commit, so that every publisher sees a change whole, or its number is a lower one.
-- A repeat changes nothing; of a crash nothing is left.
create function {schema}.put_subscription(p_namespace int, p_name text, p_rule jsonb, p_from bigint, p_expected bigint,
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
  select s.* into v_was from {schema}.subscription s where s.namespace = p_namespace and s.name = p_name and s.state <> 4
    for update;
  v_now := clock_timestamp();
  version := coalesce(v_was.version, 0);
  verdict := case when p_expected not in (0, version) then 'conflict'
    when v_was.ordered <> v_is.ordered then 'ordering'
    when v_was.joins <> v_is.joins then 'joining'
    when v_was.spec = v_is.spec and v_was.class = v_is.class then case when v_was.state = 3 then 'resumed' else 'same' end
    else 'put' end;
  if verdict not in ('put', 'resumed') then return; end if;
  update {schema}.subscription_registry set version = v_registry;
  v_id := v_was.id;
  if v_id is null then
    insert into {schema}.subscription (namespace, name, since, state, class, past_from, spec, created_at, changed_at)
      values (p_namespace, p_name, v_registry, case when p_from is null then 1 else 2 end, v_is.class, p_from, v_is.spec,
        v_now, v_now)
      returning id into v_id;
  end if;
  update {schema}.subscription s set version = s.version + (verdict = 'put' and v_was.id is not null)::int,
      state = case when s.past_from is null then 1 else 2 end, halted_at = null, halted_reason = null,
      event_types = v_is.event_types, type_prefixes = v_is.type_prefixes, streams = v_is.streams,
      stream_prefixes = v_is.stream_prefixes, match_flow = v_is.match_flow, match_tags = v_is.match_tags,
      match_headers = v_is.match_headers, payload_matches = v_is.payload_matches, class = v_is.class,
      priority = v_is.priority, delay_ms = v_is.delay_ms, ttl_ms = v_is.ttl_ms, deadline_ms = v_is.deadline_ms,
      timeout_ms = v_is.timeout_ms, retry_max = v_is.retry_max, retry_initial_ms = v_is.retry_initial_ms,
      retry_factor = v_is.retry_factor, retry_cap_ms = v_is.retry_cap_ms, reclaims_max = v_is.reclaims_max,
      count_lost = v_is.count_lost, tags = v_is.tags, optional = v_is.optional, key_source = v_is.key_source,
      key_name = v_is.key_name, key_path = v_is.key_path, ordered = v_is.ordered, dead_head = v_is.dead_head,
      failure_events = v_is.failure_events, joins = v_is.joins, join_type = v_is.join_type,
      join_policy = v_is.join_policy, spec = v_is.spec, actor = p_actor, changed_at = v_now
    where s.id = v_id returning s.version, s.state <> 1 or verdict = 'resumed' or v_was.state = 3 into version, due;
  delete from {schema}.subscription_lead d where d.subscription = v_id;
  insert into {schema}.subscription_lead (namespace, lead, subscription)
    select distinct p_namespace, u.lead, v_id
    from unnest(case when v_is.event_types = '{}' or v_is.type_prefixes <> '{}' then '{""}' else v_is.event_types end) u (lead);
  perform {schema}.append_items('{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', array[
    row(p_namespace, 135, null, null, null, null, null, null, jsonb_build_object('subject', p_name, 'version', version,
      'actor', p_actor) || case when v_was.state = 3 then '{"resumed":true}' else '{}'::jsonb end)::{schema}.log_item]);
end $$;

-- What it started goes on; its open joins get nothing more, and expire. What waited for it is dropped by the router (due).
-- verdict: deleted | not_found | conflict. Of a crash nothing is left; a repeat finds nothing.
create function {schema}.delete_subscription(p_namespace int, p_name text, p_expected bigint, p_actor text,
  out verdict text, out version bigint, out due boolean) language plpgsql volatile as $$
#variable_conflict use_column
declare
  v_was {schema}.subscription;
begin
  due := false;
  perform 1 from {schema}.subscription_registry for update;
  select s.* into v_was from {schema}.subscription s where s.namespace = p_namespace and s.name = p_name and s.state <> 4
    for update;
  version := coalesce(v_was.version, 0);
  verdict := case when p_expected not in (0, version) then 'conflict' when v_was.id is null then 'not_found' else 'deleted' end;
  if verdict <> 'deleted' then return; end if;
  update {schema}.subscription_registry r set version = r.version + 1;
  update {schema}.subscription s set state = 4, halted_at = null, halted_reason = null, past_from = null, actor = p_actor,
      changed_at = clock_timestamp()
    where s.id = v_was.id;
  delete from {schema}.subscription_lead d where d.subscription = v_was.id;
  due := coalesce((select true from {schema}.unrouted u where u.subscription = v_was.id limit 1), false);
  perform {schema}.append_items('{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', array[
    row(p_namespace, 136, null, null, null, null, null, null,
      jsonb_build_object('subject', p_name, 'version', version, 'actor', p_actor))::{schema}.log_item]);
end $$;

create function {schema}.sweep_routes(p_limit int, out taken int, out classes int[], out next_ms double precision,
  out follows boolean) language plpgsql volatile as $$
begin
  taken := 0;
end $$;
