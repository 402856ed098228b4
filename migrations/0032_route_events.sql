-- Subscriptions, and the router: what publishing left over becomes executions.
--
-- A subscription that was deleted keeps its row (state 4), for what it started names it; another one may take its name.
-- Locks: creates only. older-servers: refused

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
    when v_was.spec = v_is.spec and v_was.class = v_is.class and v_was.failure_events is not distinct from v_is.failure_events
      then case when v_was.state = 3 then 'resumed' else 'same' end
    else 'put' end;
  if verdict not in ('put', 'resumed') then return; end if;
  update {schema}.subscription_registry set version = v_registry;
  v_id := v_was.id;
  if v_id is null then
    insert into {schema}.subscription (namespace, name, since, state, class, past_from, parted, spec, created_at, changed_at)
      values (p_namespace, p_name, v_registry, case when p_from is null then 1 else 2 end, v_is.class, p_from,
        v_is.ordered and v_is.key_source = 1, v_is.spec, v_now, v_now)
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
      key_name = v_is.key_name, key_path = v_is.key_path, parted = s.parted and v_is.key_source = 1,
      ordered = v_is.ordered, dead_head = v_is.dead_head, failure_events = v_is.failure_events, joins = v_is.joins,
      join_type = v_is.join_type, join_policy = v_is.join_policy, spec = v_is.spec, actor = p_actor, changed_at = v_now
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

-- Halts a subscription by what went wrong: its events wait until somebody puts it again. Null if it is not there any more.
create function {schema}.halt_subscription(p_id int, p_reason text) returns {schema}.log_item[] language plpgsql volatile as $$
declare
  v_was {schema}.subscription;
begin
  update {schema}.subscription s set state = 3, halted_at = clock_timestamp(), halted_reason = left(p_reason, 1000)
    where s.id = p_id and s.state in (1, 2) returning s.* into v_was;
  if v_was.id is null then return null; end if;
  return array[row(v_was.namespace, 135, null, null, null, null, null, null, jsonb_build_object('subject', v_was.name,
    'version', v_was.version, 'halted', true, 'reason', v_was.halted_reason))::{schema}.log_item];
end $$;

-- Stored events in the order of the ids; p_past: for a subscription that was not there when they were looked up. Payloads are
-- left out where nobody looks at them; with them, so many events come that they fit into memory, and at least one.
create function {schema}.events_again(p_id uuid[], p_forgiven boolean[], p_payload boolean, p_past boolean default false)
returns {schema}.event[] language plpgsql stable as $$
declare
  c_bytes constant bigint := 16 * 1024 * 1024;
  v_n int := cardinality(p_id);
begin
  if p_payload then
    select count(*) into v_n from (
      select sum(e.bytes) over (order by u.n) - e.bytes before
      from unnest(p_id) with ordinality u (id, n)
      cross join lateral (
        select coalesce(octet_length(x.payload), 0) bytes from {schema}.event x where x.id = u.id offset 0) e) x
      where x.before < c_bytes;
  end if;
  return array(
    select row(e.id, e.namespace, e.event_id, e.seq, e.idx, e.type, e.stream, e.version, e.flow, e.cause, e.cause_execution,
      case when u.forgiven then 0 else e.hops end, e.batch, e.batch_index, e.batch_size, e.schema_version, e.tags, e.headers,
      e.occurred_at, e.published_at, case when not p_past then e.subscriptions end, e.payload_type,
      case when p_payload then e.payload end)::{schema}.event
    from unnest(p_id, p_forgiven) with ordinality u (id, forgiven, n)
    cross join lateral (select x.* from {schema}.event x where x.id = u.id offset 0) e where u.n <= v_n order by u.n);
end $$;

-- These events start nothing (more): that may have been the last thing of their flows, or of slots of their batches.
create function {schema}.left_nothing(p_events {schema}.event[]) returns boolean language plpgsql volatile as $$
begin
  insert into {schema}.follow_up (kind, subject) select distinct 1, e.flow from unnest(p_events) e;
  insert into {schema}.follow_up (kind, subject, place)
    select distinct 10, e.batch, e.batch_index from unnest(p_events) e
    where e.batch is not null
      and coalesce((select true from {schema}.subscription s where s.namespace = e.namespace and s.joins limit 1), false);
  return coalesce(cardinality(p_events), 0) > 0;
end $$;

-- Whether an error is about data: then what was asked for is at fault, and not the moment. A missing partition is made.
create function {schema}.is_data_fault(p_state text, p_message text) returns boolean language sql immutable as $$
  select left(p_state, 2) in ('22', '23') and p_message not like 'no partition of relation%'
$$;

-- What a subscription makes of these events. The caller holds their flows, and took care that nobody else does it.
-- Keys and joins that are met for the first time are made in order here, but not in one order over all that a sweep does: so
-- whoever makes one of them meanwhile is waited for a moment only, and what needs it is left to the next sweep.
create function {schema}.make_reactions(p_sub {schema}.subscription, p_events {schema}.event[], p_now timestamptz,
  out classes int[], out items {schema}.log_item[], out endings {schema}.ending[], out follows boolean)
language plpgsql volatile set lock_timeout = '50ms' as $$
declare
  v_n int[];
  v_part record;
begin
  v_n := array(select m.n from {schema}.matching(p_events, p_sub.id) m order by m.n);
  if p_sub.joins then
    select o.* into v_part from {schema}.open_slots(p_events, v_n, array_fill(p_sub.id, array[cardinality(v_n)]), p_now) o;
    endings := v_part.endings;
  else
    select s.* into v_part
      from {schema}.start_reactions(p_events, v_n, array_fill(p_sub.id, array[cardinality(v_n)]), p_now) s;
  end if;
  classes := v_part.classes;
  items := v_part.items;
  follows := {schema}.left_nothing(array(
    select p_events[u] from generate_series(1, cardinality(p_events)) u where not u = any (v_n)))
    or coalesce(v_part.follows, false);
end $$;

-- As above, and if the data are at fault: one by one, up to the event at fault, which halts the subscription. done: how many
-- events, from the first, are done with; none if somebody else has what they need.
create function {schema}.react(p_sub {schema}.subscription, p_events {schema}.event[], p_now timestamptz, out done int,
  out halted boolean, out classes int[], out items {schema}.log_item[], out endings {schema}.ending[], out follows boolean)
language plpgsql volatile as $$
declare
  v_part record;
begin
  done := 0;
  halted := false;
  follows := false;
  if coalesce(cardinality(p_events), 0) = 0 then return; end if;
  begin
    select m.* into v_part from {schema}.make_reactions(p_sub, p_events, p_now) m;
    done := cardinality(p_events);
  exception
    when lock_not_available then return;
    when data_exception or integrity_constraint_violation then
      if not {schema}.is_data_fault(sqlstate, sqlerrm) then raise; end if;
  end;
  if done > 0 then
    classes := v_part.classes;
    items := v_part.items;
    endings := v_part.endings;
    follows := v_part.follows;
    return;
  end if;
  for i in 1 .. cardinality(p_events) loop
    begin
      select m.* into v_part from {schema}.make_reactions(p_sub, p_events[i:i], p_now) m;
      done := i;
    exception
      when lock_not_available then return;
      when data_exception or integrity_constraint_violation then
        if not {schema}.is_data_fault(sqlstate, sqlerrm) then raise; end if;
        items := items || {schema}.halt_subscription(p_sub.id, sqlerrm);
        halted := true;
    end;
    exit when done < i;
    classes := classes || v_part.classes;
    items := items || v_part.items;
    endings := endings || v_part.endings;
    follows := follows or v_part.follows;
  end loop;
end $$;

-- Looks up events for which that was put off, and starts what they start. Who is passed over is somebody else's, or its flow is.
-- A data fault is nobody's yet: then the events are only spread over the subscriptions that want them, each of which is
-- tried alone; one that cannot tell whether it wants an event is halted, and keeps that event waiting.
create function {schema}.look_up_events(p_limit int, p_now timestamptz, out taken int, out classes int[],
  out items {schema}.log_item[], out follows boolean) language plpgsql volatile as $$
declare
  v_rows {schema}.unrouted[];
  v_events {schema}.event[];
  v_flows record;
  v_staged {schema}.staged;
  v_letters {schema}.log_item[];
  v_failed boolean := false;
  v_one record;
  v_wanted boolean;
begin
  taken := 0;
  follows := false;
  v_rows := array(
    select u from {schema}.unrouted u where u.subscription = 0 order by u.part, u.seq, u.idx limit p_limit
    for update skip locked);
  if v_rows = '{}' then return; end if;
  select h.* into v_flows from {schema}.hold_flows(array(select distinct r.flow from unnest(v_rows) r)) h;
  v_rows := array(select r from unnest(v_rows) r where r.flow = any (v_flows.held));
  v_events := {schema}.events_again(array(select r.event from unnest(v_rows) r), array(select r.forgiven from unnest(v_rows) r), true);
  taken := cardinality(v_events);
  if taken = 0 then return; end if;
  v_rows := v_rows[1:taken];
  begin
    v_staged := {schema}.stage_events(v_events, p_now, 2147483647, v_flows.canceled);
  exception when data_exception or integrity_constraint_violation then
    if not {schema}.is_data_fault(sqlstate, sqlerrm) then raise; end if;
    v_failed := true;
  end;
  if v_failed then
    for v_one in
      select u.ordinality::int n, d.subscription from unnest(v_events) with ordinality u
      cross join lateral (
        select d.subscription from {schema}.subscription_lead d
        where d.namespace = u.namespace and d.lead = any (array[u.type, '']) offset 0) d
      where not u.flow = any (v_flows.canceled)
    loop
      begin
        v_wanted := exists (select from {schema}.matching(v_events[v_one.n:v_one.n], v_one.subscription));
      exception when data_exception or integrity_constraint_violation then
        v_wanted := true;
        items := items || {schema}.halt_subscription(v_one.subscription, sqlerrm);
      end;
      continue when not v_wanted;
      v_staged.pending := v_staged.pending || v_one.n;
      v_staged.subscriptions := v_staged.subscriptions || v_one.subscription;
    end loop;
    v_staged.parts := {schema}.parts_of(v_events, v_staged.pending, v_staged.subscriptions);
    v_staged.follows := {schema}.left_nothing(array(
      select v_events[u] from generate_series(1, taken) u where not u = any (coalesce(v_staged.pending, '{}'))));
  end if;
  insert into {schema}.unrouted (event, subscription, part, seq, idx, flow, forgiven)
    select r.event, u.subscription, u.part, r.seq, r.idx, r.flow, r.forgiven
    from unnest(v_staged.pending, v_staged.subscriptions, v_staged.parts) u (n, subscription, part)
    cross join lateral (
      select (v_rows[u.n]).event, (v_rows[u.n]).seq, (v_rows[u.n]).idx, (v_rows[u.n]).flow, (v_rows[u.n]).forgiven) r
    on conflict do nothing;
  delete from {schema}.unrouted u where u.subscription = 0 and u.event = any (array(select r.event from unnest(v_rows) r));
  if exists (select from unnest(v_rows) r where r.forgiven) then
    with closed as (
      update {schema}.dead_letter d set state = 3, resolution = 1, closed_at = p_now, version = d.version + 1
        where d.event = any (array(select r.event from unnest(v_rows) r where r.forgiven)) and d.subject = 2 and d.state = 2
        returning d.id, d.namespace, d.flow)
      select array_agg(row(c.namespace, 72, null, c.flow, null, null, null, null,
          json_build_object('letter', c.id, 'resolution', 1)::text)::{schema}.log_item order by c.id)
        into v_letters from closed c;
  end if;
  classes := v_staged.classes;
  items := items || v_staged.items || v_letters;
  follows := coalesce(v_staged.follows, false);
end $$;

-- Where a row of the log stands: null while it has no position. late: others that were drawn after it stand before it.
create function {schema}.place_of(p_seq bigint, out base bigint, out late boolean) language plpgsql stable as $$
#variable_conflict use_column
begin
  select r.base, coalesce((select y.top > r.hi from {schema}.log_run y where y.base < r.base order by y.base desc limit 1), false)
    into base, late
    from {schema}.log_run r
    where r.hi >= p_seq and r.lo <= p_seq and (r.lo = r.hi or not p_seq <@ any (r.holes)) order by r.hi limit 1;
end $$;

-- Of each ordered subscription and part (which the caller holds): the rows that come next, in the order of positions. What has
-- none yet comes after all that have one. Nothing is answered behind an event that was not looked up. All of it is seen by
-- one snapshot: what has a position in it was committed before, and so was everything with a lower position.
-- What is late stands anywhere behind what is not, so where a page has nothing else, more of that line is read. p_most: rows
-- to be answered of each; null: a page.
create function {schema}.next_in_order(p_subscription int[], p_part smallint[], p_limit int, p_most int default null)
returns {schema}.unrouted[] language plpgsql stable as $$
declare
  c_zero constant int := 200;
  v_rows {schema}.unrouted[];
  v_on int[]; -- lines of which more is to be read
begin
  with zero as materialized (
      select case when p.base is not null then array[p.base, z.seq, z.idx] end place, p.late from (
        select u.seq, u.idx from {schema}.unrouted u where u.subscription = 0 order by u.part, u.seq, u.idx limit c_zero) z
      cross join lateral {schema}.place_of(z.seq) p),
    -- Only what is late stands elsewhere than where it was drawn: behind the first that is not, there is nothing lower.
    bound as materialized (
      select min(z.place) place, count(*) = c_zero and not coalesce(bool_or(not z.late), false) blind from zero z),
    mine as materialized (
      select n.n, x.u, case when p.base is not null then array[p.base, (x.u).seq, (x.u).idx] end place, p.late
      from unnest(p_subscription, p_part) with ordinality n (subscription, part, n)
      cross join lateral (
        select u from {schema}.unrouted u where u.subscription = n.subscription and u.part = n.part
        order by u.seq, u.idx limit p_limit) x
      cross join lateral {schema}.place_of((x.u).seq) p),
    known as materialized (
      select m.n, count(*) < p_limit whole, max(m.place) filter (where not m.late) place, bool_or(m.late) late
      from mine m group by m.n),
    next as materialized (
      select m.n, m.u, m.place, row_number() over (partition by m.n order by m.place) nth
      from mine m join known k on k.n = m.n cross join bound b
      where m.place is not null and not b.blind and (b.place is null or m.place < b.place) and (k.whole or m.place <= k.place))
    select (select coalesce(array_agg(x.u order by x.n, x.place), '{}') from next x where x.nth <= coalesce(p_most, p_limit)),
        (select array_agg(k.n::int) from known k cross join bound b
          where not b.blind and not k.whole and k.place is null and k.late)
      into v_rows, v_on;
  if v_on is not null then
    v_rows := v_rows || {schema}.next_in_order(array(select p_subscription[u] from unnest(v_on) u),
      array(select p_part[u] from unnest(v_on) u), 8 * p_limit, coalesce(p_most, 4 * p_limit));
  end if;
  return v_rows;
end $$;

-- Whether a subscription looks at payloads.
create function {schema}.reads_payload(p_sub {schema}.subscription) returns boolean language sql immutable as $$
  select p_sub.payload_matches <> '[]' or coalesce(p_sub.key_source = 5, false)
$$;

-- Routes rows of one subscription, which the caller holds. p_in_order: nothing behind what cannot be routed now.
create function {schema}.route_rows(p_sub {schema}.subscription, p_rows {schema}.unrouted[], p_in_order boolean,
  p_now timestamptz, out taken int, out classes int[], out items {schema}.log_item[], out endings {schema}.ending[],
  out follows boolean) language plpgsql volatile as $$
declare
  v_flows record;
  v_ids uuid[];
  v_forgiven boolean[];
  v_events {schema}.event[];
  v_wanted {schema}.event[];
  v_muted {schema}.event[];
  v_part record;
begin
  select h.* into v_flows from {schema}.hold_flows(array(select distinct r.flow from unnest(p_rows) r)) h;
  select array_agg(r.event order by r.n), array_agg(r.forgiven order by r.n) into v_ids, v_forgiven
    from (
      select u.*, bool_and(u.free) over (order by u.n) through
      from (
        select r.event, r.forgiven, r.ordinality n, r.flow = any (v_flows.held) free
        from unnest(p_rows) with ordinality r) u) r
    where r.free and (r.through or not p_in_order);
  v_events := {schema}.events_again(v_ids, v_forgiven, {schema}.reads_payload(p_sub));
  v_wanted := array(select e from unnest(v_events) e where not e.flow = any (v_flows.canceled));
  v_muted := array(select e from unnest(v_events) e where e.flow = any (v_flows.canceled));
  select r.* into v_part from {schema}.react(p_sub, v_wanted, p_now) r;
  classes := v_part.classes;
  items := v_part.items;
  endings := v_part.endings;
  follows := {schema}.left_nothing(v_muted) or v_part.follows;
  v_ids := array(select e.id from unnest(v_wanted[1:v_part.done] || v_muted) e);
  delete from {schema}.unrouted u where u.subscription = p_sub.id and u.event = any (v_ids);
  taken := cardinality(v_ids) + v_part.halted::int;
end $$;

-- In which flow a past event of one that has ended is handled for a subscription: always the same one, and made near it.
create function {schema}.past_flow(p_flow uuid, p_subscription int) returns uuid language sql immutable as $$
  select (left(h, 17) || left(md5(h || '/' || p_subscription), 15))::uuid from replace(p_flow::text, '-', '') h
$$;

-- Flows for events of the past: their own while these are open, else one instead, which holds all that a subscription makes
-- of that flow's past. done: so many events, from the first, are held. muted: flows that were canceled, which start nothing.
create function {schema}.enter_past_flows(p_sub {schema}.subscription, p_events {schema}.event[], p_now timestamptz,
  out events {schema}.event[], out done int, out muted uuid[], out items {schema}.log_item[])
language plpgsql volatile as $$
declare
  c_idle_ms constant bigint := 24 * 3600 * 1000;
  v_from uuid[] := '{}';
  v_to uuid[] := '{}';
  v_flow uuid;
  v_at uuid;
  v_state int;
  v_held record;
  v_idle uuid[];
  v_free uuid[];
begin
  for v_flow in select distinct e.flow from unnest(p_events) e order by 1 loop
    v_at := v_flow;
    loop
      select f.state into v_state from {schema}.flow f where f.id = v_at;
      exit when v_state not in (3, 4);
      if v_state is null and v_at <> v_flow then
        insert into {schema}.flow (id, namespace, began, seal_after_idle_ms, created_at)
          values (v_at, p_sub.namespace, true, c_idle_ms, p_now);
        items := items || row(p_sub.namespace, 40, null, v_at, null, null, null, null,
          json_build_object('name', '', 'members', 0, 'past_of', v_flow)::text)::{schema}.log_item;
        exit;
      end if;
      v_at := {schema}.past_flow(v_at, p_sub.id);
    end loop;
    v_from := v_from || v_flow;
    v_to := v_to || v_at;
  end loop;
  select h.* into v_held from {schema}.hold_flows(v_to) h;
  v_idle := array(
    select f.id from {schema}.flow f where f.id = any (v_held.held) and f.state = 2 order by f.id for no key update skip locked);
  v_free := array(
    select f.id from {schema}.flow f where f.id = any (v_held.held) and (f.state not in (2, 3, 4) or f.id = any (v_idle)));
  muted := v_held.canceled;
  events := p_events;
  done := 0;
  for i in 1 .. cardinality(p_events) loop
    events[i].flow := v_to[array_position(v_from, p_events[i].flow)];
    if done = i - 1 and events[i].flow = any (v_free) then done := i; end if;
  end loop;
  update {schema}.flow f set state = 1, began = true, settled_at = null, seal_at = null
    where f.id = any (v_idle) and f.id = any (array(select e.flow from unnest(events[1:done]) e));
end $$;

-- The events that a subscription which reads its past (state 2) looks at next, in its order, with their places in the log where
-- it is ordered. full: there are more. place: where the log was read up to. whole: all of the past has positions.
create function {schema}.next_past(p_sub {schema}.subscription, p_limit int, out ids uuid[], out bases bigint[],
  out seqs bigint[], out idxs int[], out is_full boolean, out more boolean, out place bigint[], out whole boolean)
language plpgsql stable as $$
declare
  c_scan constant int := 1000; -- events, where few columns of them are looked at
  c_rows constant int := 200; -- of the log
  c_runs constant int := 50;
begin
  if not p_sub.ordered then
    ids := array(select e.id from {schema}.event e where e.id > p_sub.past_id order by e.id limit c_scan);
    is_full := cardinality(ids) = c_scan;
    more := false;
    whole := true;
    return;
  end if;
  -- One snapshot, so that nothing gets its position between what is read and the look at what has none.
  with run as materialized (
      select r.base, r.lo, r.hi, r.holes from {schema}.log_run r where r.base >= p_sub.past_base order by r.base limit c_runs),
    part as materialized (
      select r.base, l.seq, l.kind, l.body from run r
      cross join lateral (
        select y.seq, y.kind, y.body from {schema}.log y
        where y.seq >= case when r.base = p_sub.past_base then greatest(r.lo, p_sub.past_seq) else r.lo end and y.seq <= r.hi
          and (r.lo = r.hi or not y.seq <@ any (r.holes)) order by y.seq limit c_rows) l
      order by r.base, l.seq limit c_rows),
    entry as materialized (
      select p.base, p.seq, k.idx::int, (k.body::jsonb ->> 'event')::uuid event from part p
      cross join lateral unnest(p.kind, p.body) with ordinality k (kind, body, idx)
      where k.kind = 30 and (p.base, p.seq, k.idx) > (p_sub.past_base, p_sub.past_seq, p_sub.past_idx)
      order by p.base, p.seq, k.idx limit p_limit)
    select coalesce(array_agg(e.event order by e.base, e.seq, e.idx), '{}'), array_agg(e.base order by e.base, e.seq, e.idx),
        array_agg(e.seq order by e.base, e.seq, e.idx), array_agg(e.idx order by e.base, e.seq, e.idx), count(*) = p_limit,
        (select count(*) from part) = c_rows or (select count(*) from run) = c_runs,
        (select array[p.base, p.seq] from part p order by p.base desc, p.seq desc limit 1),
        coalesce((
          select y.top >= p_sub.past_top and not exists (
            select from unnest(y.holes) h cross join lateral (
              select from {schema}.log l where l.seq >= lower(h) and l.seq < upper(h) and l.seq <= p_sub.past_top limit 1) l)
          from {schema}.log_run y order by y.base desc limit 1), false)
      into ids, bases, seqs, idxs, is_full, more, place, whole
      from entry e;
end $$;

-- One batch of the past of some subscription that reads it. Its past are the events that were looked up under an earlier
-- version of the registry, from where it was to begin; those over the limit of hops start nothing here either.
-- First it is waited until no transaction can publish into that past any more: all that might have read an earlier version
-- when this one was first seen have ended. Then the events are walked, by id, or for an ordered subscription in the log's
-- order; there its live rows are taken in their places, and nothing behind an event that was not looked up, until all rows of
-- the past have positions and were passed.
-- Where it is, is stored with what it made: a crash or a repeat makes nothing twice. waiting: there is more than could be done.
create function {schema}.read_past(p_limit int, p_now timestamptz, out taken int, out classes int[],
  out items {schema}.log_item[], out endings {schema}.ending[], out follows boolean, out waiting boolean)
language plpgsql volatile as $$
declare
  v_sub {schema}.subscription;
  v_next record;
  v_ids uuid[];
  v_chosen int[]; -- places in v_ids, up to v_cut: the first that is not done with
  v_live boolean[];
  v_forgiven boolean[];
  v_cut int;
  v_events {schema}.event[];
  v_go {schema}.event[];
  v_n int[];
  v_flows record;
  v_part record;
begin
  taken := 0;
  follows := false;
  waiting := false;
  select s.* into v_sub from {schema}.subscription s where s.state = 2 order by random() limit 1 for update skip locked;
  if v_sub.id is null then return; end if;
  waiting := true;
  if v_sub.past_xid is null then
    update {schema}.subscription s set past_xid = pg_snapshot_xmax(pg_current_snapshot()) where s.id = v_sub.id;
    return;
  elsif v_sub.past_top is null then
    if pg_snapshot_xmin(pg_current_snapshot()) < v_sub.past_xid then return; end if;
    update {schema}.subscription s
      set past_top = (select case when l.is_called then l.last_value else 0 end from {schema}.log_seq l),
        past_base = coalesce((select max(r.base) from {schema}.log_run r where r.base <= s.past_from), 0)
      where s.id = v_sub.id returning s.* into v_sub;
  end if;
  select n.* into v_next from {schema}.next_past(v_sub, p_limit) n;
  v_ids := v_next.ids;
  v_cut := cardinality(v_ids) + 1;
  select array_agg(x.n order by x.n) filter (where x.past or x.live), array_agg(x.live order by x.n) filter (where x.past or x.live),
      array_agg(x.forgiven order by x.n) filter (where x.past or x.live), least(v_cut, min(x.n) filter (where x.unknown))
    into v_chosen, v_live, v_forgiven, v_cut
    from (
      select u.n::int n, e.subscriptions < v_sub.since and e.hops <= m.max_hops and (v_sub.past_from = 0
          or (v_sub.ordered and v_next.bases[u.n] > v_sub.past_from)
          or coalesce({schema}.position_of(e.seq) + e.idx - 1 > v_sub.past_from, true)) past, -- what has none yet comes later
        coalesce(r.live, false) live, coalesce(r.forgiven, false) forgiven,
        v_sub.ordered and e.subscriptions >= v_sub.since and coalesce((
          select true from {schema}.unrouted y where y.event = e.id and y.subscription = 0), false) unknown
      from unnest(v_ids) with ordinality u (id, n)
      cross join lateral (
        select y.id, y.subscriptions, y.hops, y.seq, y.idx, y.namespace from {schema}.event y where y.id = u.id offset 0) e
      cross join lateral (select y.max_hops from {schema}.namespace y where y.id = e.namespace offset 0) m
      left join lateral (
        select true live, y.forgiven from {schema}.unrouted y
        where v_sub.ordered and y.event = e.id and y.subscription = v_sub.id offset 0) r on true
      where e.namespace = v_sub.namespace) x;
  v_events := {schema}.events_again(array(select v_ids[u] from unnest(v_chosen) u where u < v_cut), v_forgiven,
    {schema}.reads_payload(v_sub), true);
  v_cut := least(v_cut, v_chosen[cardinality(v_events) + 1]);
  begin
    v_n := array(
      select m.n from {schema}.matching(v_events, v_sub.id) m
      union select u.n::int from unnest(v_live) with ordinality u (live, n) where u.live and u.n <= cardinality(v_events)
      order by 1);
  exception when data_exception or integrity_constraint_violation then
    if not {schema}.is_data_fault(sqlstate, sqlerrm) then raise; end if;
    v_n := array(select generate_series(1, cardinality(v_events))); -- one by one it is told below
  end;
  v_go := array(select v_events[u] from unnest(v_n) u);
  select f.* into v_flows from {schema}.enter_past_flows(v_sub, v_go, p_now) f;
  v_cut := least(v_cut, array_position(v_ids, v_go[v_flows.done + 1].id));
  v_go := array(select e from unnest(v_flows.events[1:v_flows.done]) e where not e.flow = any (v_flows.muted));
  select r.* into v_part from {schema}.react(v_sub, v_go, p_now) r;
  v_cut := least(v_cut, array_position(v_ids, v_go[v_part.done + 1].id));
  classes := v_part.classes;
  items := v_flows.items || v_part.items;
  endings := v_part.endings;
  follows := v_part.follows;
  -- Of flows that were opened for what then was not made, somebody looks whether they are quiet again.
  if v_part.done < cardinality(v_flows.events) then
    insert into {schema}.follow_up (kind, subject)
      select distinct 1, e.flow from unnest(v_flows.events) e where not e.flow = any (v_flows.muted)
        and not e.flow = any (array(select g.flow from unnest(v_go[1:v_part.done]) g));
    follows := follows or found;
  end if;
  if v_sub.ordered and true = any (v_live) then
    -- Live rows that were passed are done with; those of canceled flows started nothing.
    follows := {schema}.left_nothing(array(
      select e from unnest(v_flows.events[1:v_flows.done]) e where e.flow = any (v_flows.muted) and coalesce((
        select true from {schema}.unrouted u where u.event = e.id and u.subscription = v_sub.id), false))) or follows;
    delete from {schema}.unrouted u where u.subscription = v_sub.id and u.event = any (v_ids[1:v_cut - 1]);
  end if;
  taken := v_cut - 1 + v_part.halted::int;
  waiting := v_cut <= cardinality(v_ids);
  if waiting or v_next.is_full or not v_sub.ordered then
    update {schema}.subscription s set past_id = v_ids[v_cut - 1], past_base = coalesce(v_next.bases[v_cut - 1], s.past_base),
        past_seq = coalesce(v_next.seqs[v_cut - 1], s.past_seq), past_idx = coalesce(v_next.idxs[v_cut - 1], s.past_idx)
      where s.id = v_sub.id and v_cut > 1;
  elsif v_next.place is not null then
    update {schema}.subscription s set past_base = v_next.place[1], past_seq = v_next.place[2], past_idx = 2147483647
      where s.id = v_sub.id;
  end if;
  if waiting or v_next.is_full then return; end if;
  if v_next.more then
    taken := taken + 1;
  elsif v_next.whole then
    update {schema}.subscription s set state = 1, past_from = null where s.id = v_sub.id and s.state = 2;
    if v_sub.joins then
      perform {schema}.look_at_batches(v_sub.id);
      follows := true;
    end if;
    taken := taken + 1;
  else
    waiting := true;
  end if;
end $$;

-- What is to be routed: events that were not looked up yet, and events that wait for one subscription: unordered ones that
-- were halted, joins, and ordered ones in the order of positions. Then a batch of some subscription's past.
-- Whoever deletes a row makes what it stands for in the same transaction: a crash leaves the row, a repeat finds none.
-- taken: something was done, look again at once. next_ms: there is more than could be done now.
create function {schema}.sweep_routes(p_limit int, out taken int, out classes int[], out next_ms double precision,
  out follows boolean) language plpgsql volatile as $$
declare
  c_most constant int := 5000; -- reactions to events that were not looked up, of one sweep, about
  c_lines constant int := 64; -- parts of ordered subscriptions
  v_now timestamptz := clock_timestamp();
  v_subs {schema}.subscription[];
  v_sub {schema}.subscription;
  v_rows {schema}.unrouted[];
  v_ids int[] := '{}';
  v_parts smallint[] := '{}';
  v_items {schema}.log_item[];
  v_endings {schema}.ending[];
  v_part record;
  v_line record;
begin
  classes := '{}';
  select l.* into v_part from {schema}.look_up_events(greatest(1, least(p_limit, c_most / greatest(1, (
    select count(*)::int from (select from {schema}.subscription_lead limit c_most) x)))), v_now) l;
  taken := v_part.taken;
  classes := classes || v_part.classes;
  v_items := v_part.items;
  follows := v_part.follows;
  with recursive waited (id) as (
      (select u.subscription from {schema}.unrouted u where u.subscription > 0 order by u.subscription limit 1)
      union all
      select n.subscription from waited w cross join lateral (
        select u.subscription from {schema}.unrouted u where u.subscription > w.id order by u.subscription limit 1) n)
    select array_agg(x.s order by random()) into v_subs from waited w
    cross join lateral (select s from {schema}.subscription s where s.id = w.id offset 0) x where (x.s).state <> 3;
  foreach v_sub in array coalesce(v_subs, '{}') loop
    if v_sub.ordered and v_sub.state <> 4 then
      continue when v_sub.state = 2 or cardinality(v_ids) >= c_lines;
      for v_line in
        select g part from generate_series(0, 15) g where case when not v_sub.parted then g = 0
          else coalesce((select true from {schema}.unrouted u where u.subscription = v_sub.id and u.part = g limit 1), false) end
      loop
        continue when not pg_try_advisory_xact_lock(hashtext('tailrace routes {schema}'), v_sub.id * 16 + v_line.part);
        if not v_sub.parted then -- any more
          update {schema}.unrouted u set part = 0 where u.subscription = v_sub.id and u.part > 0;
        end if;
        v_ids := v_ids || v_sub.id;
        v_parts := v_parts || v_line.part::smallint;
      end loop;
      continue;
    end if;
    continue when taken > 4 * p_limit;
    v_rows := array(
      select u from {schema}.unrouted u where u.subscription = v_sub.id order by u.part, u.seq, u.idx limit p_limit
      for update skip locked);
    continue when v_rows = '{}';
    if v_sub.state = 4 then
      follows := {schema}.left_nothing({schema}.events_again(array(select r.event from unnest(v_rows) r), null, false)) or follows;
      delete from {schema}.unrouted u
        where u.subscription = v_sub.id and u.event = any (array(select r.event from unnest(v_rows) r));
      taken := taken + cardinality(v_rows);
    else
      select r.* into v_part from {schema}.route_rows(v_sub, v_rows, false, v_now) r;
      taken := taken + v_part.taken;
      classes := classes || v_part.classes;
      v_items := v_items || v_part.items;
      v_endings := v_endings || v_part.endings;
      follows := follows or v_part.follows;
    end if;
  end loop;
  if v_ids <> '{}' then
    v_rows := {schema}.next_in_order(v_ids, v_parts, greatest(16, 4 * p_limit / cardinality(v_ids)));
    for v_line in
      select y.subscription, array_agg(y.ordinality order by y.ordinality) places from unnest(v_rows) with ordinality y
      group by y.subscription, y.part order by 1
    loop
      -- Halted by a part before this one, it stands still; as it does while not all of it is in one part that should be.
      select s.* into v_sub from {schema}.subscription s where s.id = v_line.subscription and s.state = 1
        and (s.parted or coalesce((
          select false from {schema}.unrouted u where u.subscription = s.id and u.part > 0 limit 1), true));
      continue when v_sub.id is null;
      select r.* into v_part
        from {schema}.route_rows(v_sub, array(select v_rows[u] from unnest(v_line.places) u), true, v_now) r;
      taken := taken + v_part.taken;
      classes := classes || v_part.classes;
      v_items := v_items || v_part.items;
      v_endings := v_endings || v_part.endings;
      follows := follows or v_part.follows;
    end loop;
  end if;
  select p.* into v_part from {schema}.read_past(p_limit, v_now) p;
  taken := taken + v_part.taken;
  classes := classes || v_part.classes;
  v_items := v_items || v_part.items;
  v_endings := v_endings || v_part.endings;
  follows := follows or v_part.follows;
  if v_part.waiting then next_ms := 20; end if;
  -- What has no position yet, whose flow is somebody else's, or who is being routed elsewhere: soon, unless that lasts.
  select coalesce(min(x.ms), next_ms) into next_ms
    from (select 0 id union all select s.id from unnest(v_subs) s where s.state <> 2 or not s.ordered) w
    cross join lateral (
      select case when e.published_at < v_now - interval '2 s' then 50 else 4 end ms
      from (select u.event from {schema}.unrouted u where u.subscription = w.id limit 1) u
      cross join lateral (select y.published_at from {schema}.event y where y.id = u.event offset 0) e) x;
  perform {schema}.append_folded(v_items, v_endings, v_now);
end $$;

-- Routes the event of a letter once more, with hops from 0: leaves it to the router, which closes the letter. Its flow is active
-- again. The key of the request stands for the event. Lock order: flow, letter, request key.
-- verdict: redriven | duplicate (an earlier call under this request id had done it) | reused | not_found | conflict (with the
-- present version) | wrong_state (with the present state) | canceled (its flow is). Of a crash nothing is left.
create function {schema}.redrive_event(p_namespace int, p_letter uuid, p_request_id text, p_hash bytea, p_expected bigint,
  p_actor text, p_note text, out verdict text, out version bigint, out state int, out event uuid)
language plpgsql volatile as $$
#variable_conflict use_column
declare
  v_flow uuid;
  v_held text;
  v_now timestamptz;
  v_letter {schema}.dead_letter;
  v_event record;
  v_key record;
  v_was_settled boolean;
begin
  select d.flow into v_flow from {schema}.dead_letter d where d.id = p_letter and d.namespace = p_namespace;
  v_held := {schema}.hold_flow(p_namespace, v_flow);
  select d.* into v_letter from {schema}.dead_letter d where d.id = p_letter and d.namespace = p_namespace for update;
  v_now := clock_timestamp();
  event := v_letter.event;
  version := v_letter.version;
  state := v_letter.state;
  select e.id, e.seq, e.idx, e.flow into v_event from {schema}.event e where e.id = v_letter.event;
  if v_letter.id is null or v_event.id is null then
    verdict := 'not_found';
    return;
  end if;
  if p_request_id is not null then
    select k.execution, k.hash into v_key from {schema}.request_key k where k.namespace = p_namespace and k.request_id = p_request_id;
    if v_key.execution is not null then
      verdict := case when v_key.hash = p_hash then 'duplicate' else 'reused' end;
      event := v_key.execution;
      return;
    end if;
  end if;
  verdict := case when p_expected not in (0, version) then 'conflict' when state <> 1 then 'wrong_state'
    when v_held = 'canceled' then 'canceled' end;
  if verdict is not null then return; end if;
  if p_request_id is not null then
    insert into {schema}.request_key (namespace, request_id, execution, hash, created_at)
      values (p_namespace, p_request_id, v_event.id, p_hash, v_now) on conflict do nothing;
    if not found then
      verdict := 'reused';
      return;
    end if;
  end if;
  insert into {schema}.unrouted (event, seq, idx, flow, forgiven)
    values (v_event.id, v_event.seq, v_event.idx, v_event.flow, true) on conflict do nothing;
  select f.settled_at is not null into v_was_settled from {schema}.flow f where f.id = v_flow;
  update {schema}.flow f set state = 1, settled_at = null, ended_at = null, seal_at = null
    where f.id = v_flow and f.state in (2, 3, 4);
  update {schema}.dead_letter d set state = 2, redrives = d.redrives + 1, last_redrive_at = v_now, actor = p_actor,
      note = p_note, version = d.version + 1
    where d.id = p_letter;
  verdict := 'redriven';
  perform {schema}.append_items('{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', array[
    row(p_namespace, 71, null, v_event.flow, null, null, null, null, jsonb_build_object('letter', p_letter, 'actor', p_actor,
      'reason', p_note))::{schema}.log_item,
    row(p_namespace, 44, null, v_event.flow, null, null, null, null,
      jsonb_build_object('event', v_event.id, 'was_settled', v_was_settled))::{schema}.log_item]);
end $$;
