-- What events start: matching them with subscriptions, making executions, and writing all of it to the log.
--
-- Whoever publishes (a call, a completion, a failure, the router for what was left over) builds rows of `event`, stages them,
-- and appends what that answers right after its own log row, in one transaction. Staging takes every lock and makes every
-- execution; appending draws the place in the log and waits for nothing. A crash before the commit leaves nothing of either.
-- Locks: creates only. older-servers: refused

-- The flow's rows are held until the commit, so that none is canceled or found settled meanwhile: many publishers share one.
-- Those that somebody else decides about at this moment are not among `held`.
create function {schema}.hold_flows(p_flow uuid[], out held uuid[], out canceled uuid[]) language plpgsql volatile as $$
begin
  select array_agg(x.id), array_agg(x.id) filter (where x.canceled_at is not null or x.failing_at is not null)
    into held, canceled
    from (select f.id, f.canceled_at, f.failing_at from {schema}.flow f where f.id = any (p_flow) order by f.id
      for share skip locked) x;
  held := coalesce(held, '{}');
  canceled := coalesce(canceled, '{}');
end $$;

-- The JSON of a payload; null if it is none.
create function {schema}.json_of(p_type text, p_payload bytea) returns jsonb language plpgsql immutable as $$
begin
  if p_type !~* '^application/([a-z0-9.+-]+\+)?json *(;|$)' then return null; end if;
  return convert_from(p_payload, 'UTF8')::jsonb;
exception when data_exception or program_limit_exceeded then
  return null;
end $$;

-- A key of at most 200 bytes: what is longer is cut, and told apart by its hash.
create function {schema}.key_of(p_value text) returns text language sql immutable as $$
  select case when octet_length(p_value) <= 200 then nullif(p_value, '') else left(p_value, 40) || '…' || md5(p_value) end
$$;

-- The id of an ordering key's row.
create function {schema}.order_gate_of(p_lane int, p_key text) returns uuid language sql immutable strict as $$
  select md5('order ' || p_lane || '/' || p_key)::uuid
$$;

-- Which subscriptions want these events; n: the place of the event. direct: it may start at once, wherever the log is.
-- An event that was looked up before knows by its version which subscriptions there were for it.
-- p_only: this subscription alone is looked at; events of the past may stand in another flow here than the one they are of.
create function {schema}.matching(p_events {schema}.event[], p_only int default null)
returns table (n int, subscription int, direct boolean) language plpgsql stable as $$
#variable_conflict use_column
begin
  return query
    select e.ordinality::int, s.id, s.state <> 3 and not s.ordered and not s.joins
    from unnest(p_events) with ordinality e
    cross join lateral (
      select d.subscription from {schema}.subscription_lead d
      where d.namespace = e.namespace and d.lead = any (array[e.type, '']) and (p_only is null or d.subscription = p_only)
      offset 0) d
    cross join lateral (select x.* from {schema}.subscription x where x.id = d.subscription offset 0) s
    left join lateral (
      select x.name from {schema}.stream x
      where x.id = case when s.streams <> '{}' or s.stream_prefixes <> '{}' then e.stream end offset 0) t on true
    cross join lateral (
      select case when s.payload_matches <> '[]' then {schema}.json_of(e.payload_type, e.payload) end document) j
    where (e.subscriptions is null or s.since <= e.subscriptions)
      and (e.type = any (s.event_types) or (s.event_types = '{}' and s.type_prefixes = '{}')
        or (s.type_prefixes <> '{}' and exists (select from unnest(s.type_prefixes) p where starts_with(e.type, p))))
      and ((s.streams = '{}' and s.stream_prefixes = '{}') or coalesce(t.name = any (s.streams), false)
        or (s.stream_prefixes <> '{}' and exists (select from unnest(s.stream_prefixes) p where starts_with(t.name, p))))
      and (s.match_flow is null or s.match_flow = e.flow
        or (p_only is not null and s.match_flow = (select x.flow from {schema}.event x where x.id = e.id)))
      and e.tags @> s.match_tags and e.headers @> s.match_headers
      and (not s.joins or e.batch is not null)
      and (s.payload_matches = '[]' or not exists (
        select from jsonb_to_recordset(s.payload_matches) m (path text[], "values" text[])
        where not coalesce((j.document #>> m.path) = any (m."values"), false)));
end $$;

create type {schema}.reaction as (id uuid, namespace int, subscription int, version bigint, class int, lane int, event uuid,
  flow uuid, state smallint, priority smallint, run_at timestamptz, start_by timestamptz, deadline timestamptz,
  timeout_ms bigint, key text, gate uuid, ordered boolean);

-- Makes the executions by which subscriptions react to events: the nth pair is event p_n[n] of p_events and a subscription.
-- The caller holds the events' flows. made: as asked, in the order of the pairs. classes: one per execution that is claimable.
-- An execution of a key enters its line in the order of the pairs.
create function {schema}.start_reactions(p_events {schema}.event[], p_n int[], p_subscription int[], p_now timestamptz,
  out made {schema}.reaction[], out classes int[], out items {schema}.log_item[], out follows boolean)
language plpgsql volatile as $$
declare
  v_ids uuid[];
  v_rows {schema}.reaction[];
  v_states smallint[];
  v_entering {schema}.ready[];
  v_at int[];
begin
  follows := false;
  if coalesce(cardinality(p_n), 0) = 0 then return; end if;
  perform pg_current_xact_id(); -- before any ready_seq is drawn
  v_ids := {schema}.uuids_v7(cardinality(p_n));
  select array_agg(row(v_ids[u.n], e.namespace, s.id, s.version, s.class, c.lane, e.id, e.flow,
        case when t.run_at > p_now then 2 else 3 end, s.priority, t.run_at,
        greatest(t.run_at, p_now) + coalesce(s.ttl_ms, l.ttl_ms) * interval '1 ms', p_now + s.deadline_ms * interval '1 ms',
        coalesce(s.timeout_ms, l.timeout_ms), k.key,
        case when s.ordered then {schema}.order_gate_of(c.lane, k.key) else {schema}.gate_of(c.lane, k.key) end,
        s.ordered and k.key is not null)::{schema}.reaction order by u.n)
    into v_rows
    from unnest(p_n, p_subscription) with ordinality u (event, subscription, n)
    cross join lateral (select p_events[u.event] x offset 0) p
    cross join lateral (select (p.x).id, (p.x).namespace, (p.x).flow, (p.x).stream, (p.x).tags, (p.x).headers,
      (p.x).published_at, (p.x).payload_type, (p.x).payload) e
    cross join lateral (select x.* from {schema}.subscription x where x.id = u.subscription offset 0) s
    cross join lateral (select x.lane from {schema}.claim_class x where x.id = s.class offset 0) c
    cross join lateral (select x.ttl_ms, x.timeout_ms from {schema}.lane x where x.id = c.lane offset 0) l
    cross join lateral (
      select case when s.delay_ms > 0 then e.published_at + s.delay_ms * interval '1 ms' else p_now end run_at) t
    cross join lateral (
      select {schema}.key_of(case s.key_source when 1 then e.flow::text
        when 2 then (select x.name from {schema}.stream x where x.id = e.stream)
        when 3 then e.tags ->> s.key_name when 4 then e.headers ->> s.key_name
        when 5 then {schema}.json_of(e.payload_type, e.payload) #>> s.key_path end) key) k;
  -- A key is met for the first time once: two who do queue here, in order of the keys, and cannot deadlock.
  insert into {schema}.concurrency_key (id, namespace, lane, key, ordered)
    select distinct on (r.gate) r.gate, r.namespace, r.lane, r.key, r.ordered from unnest(v_rows) r
    where r.gate is not null order by r.gate on conflict do nothing;
  insert into {schema}.execution (id, namespace, class, priority, run_at, start_by, deadline, timeout_ms, retry_max,
      retry_initial_ms, retry_factor, retry_cap_ms, reclaims_max, count_lost, tags, created_at, flow, optional,
      concurrency_key, ordering_key, dead_head, failure_events, subscription, subscription_version, event, hops, batch,
      batch_index, batch_size)
    select r.id, r.namespace, r.class, r.priority, r.run_at, r.start_by, r.deadline, r.timeout_ms,
      coalesce(s.retry_max, l.retry_max), coalesce(s.retry_initial_ms, l.retry_initial_ms),
      coalesce(s.retry_factor, l.retry_factor), coalesce(s.retry_cap_ms, l.retry_cap_ms),
      coalesce(s.reclaims_max, l.reclaims_max), coalesce(s.count_lost, l.count_lost), e.tags || s.tags, p_now, r.flow,
      s.optional, case when not r.ordered then r.key end, case when r.ordered then r.key end,
      case when r.ordered then s.dead_head end, s.failure_events, r.subscription, r.version, r.event, e.hops, e.batch,
      e.batch_index, e.batch_size
    from unnest(v_rows) with ordinality r
    cross join lateral (select p_events[p_n[r.ordinality]] x offset 0) p
    cross join lateral (select (p.x).tags, (p.x).hops, (p.x).batch, (p.x).batch_index, (p.x).batch_size) e
    cross join lateral (select x.* from {schema}.subscription x where x.id = r.subscription offset 0) s
    cross join lateral (select x.* from {schema}.lane x where x.id = r.lane offset 0) l;
  -- In line, or behind the others of its key: one of an ordering key whenever it is to run.
  select array_agg(r.ordinality::int order by r.ordinality), array_agg(row(r.class, -r.priority, 0, r.id, p_now, 1, 0, 0, 0,
      r.timeout_ms, r.start_by, r.deadline, false, r.flow, true, false, r.gate)::{schema}.ready order by r.ordinality)
    into v_at, v_entering
    from unnest(v_rows) with ordinality r where r.gate is not null and (r.ordered or r.state = 3);
  if v_at is not null then
    v_states := ({schema}.enter_line(v_entering, p_now, false, array(
      select r.run_at from unnest(v_rows) with ordinality r where r.ordinality = any (v_at) order by r.ordinality))).states;
    for i in 1 .. cardinality(v_at) loop
      v_rows[v_at[i]].state := v_states[i];
    end loop;
    follows := 1 = any (v_states);
  end if;
  insert into {schema}.ready (class, priority, seq, execution, ready_at, kind, attempt, failures, reclaims, timeout_ms,
      start_by, deadline, redrive, flow, linked)
    select r.class, -r.priority, nextval('{schema}.ready_seq'), r.id, p_now, 1, 0, 0, 0, r.timeout_ms, r.start_by, r.deadline,
      false, r.flow, true
    from unnest(v_rows) r where r.gate is null and r.state = 3;
  insert into {schema}.scheduled (execution, run_at, class, priority, kind, attempt, failures, reclaims, timeout_ms, start_by,
      deadline, redrive, flow, linked, gate)
    select r.id, r.run_at, r.class, r.priority, 1, 0, 0, 0, r.timeout_ms, r.start_by, r.deadline, false, r.flow, true, r.gate
    from unnest(v_rows) r where r.state = 2 and not r.ordered;
  insert into {schema}.flow_live (flow, execution) select r.flow, r.id from unnest(v_rows) r;
  insert into {schema}.timer (execution, due_at)
    select r.id, least(r.start_by, r.deadline) from unnest(v_rows) r where r.start_by is not null or r.deadline is not null;
  made := v_rows;
  classes := array(select r.class from unnest(v_rows) r where r.state = 3);
  select array_agg(row(r.namespace, 1, r.id, r.flow, r.class, null, r.state, 0, null)::{schema}.log_item order by r.ordinality)
    into items from unnest(v_rows) with ordinality r;
end $$;

-- Events on their way into the log, and what they started. pending: what is left to the router, by place of the event.
-- follows: rows of follow_up or unrouted are to be looked at after the commit.
create type {schema}.staged as (events {schema}.event[], items {schema}.log_item[], classes int[], pending int[],
  subscriptions int[], parts smallint[], follows boolean);

-- Of pairs of events and subscriptions: what may be routed side by side.
create function {schema}.parts_of(p_events {schema}.event[], p_n int[], p_subscription int[]) returns smallint[]
language plpgsql stable as $$
begin
  return array(
    select (case when s.parted then get_byte(sha256(uuid_send(p_events[u.n].flow)), 0) / 16 else 0 end)::smallint
    from unnest(p_n, p_subscription) with ordinality u (n, subscription, o)
    left join lateral (select x.parted from {schema}.subscription x where x.id = u.subscription offset 0) s on true
    order by u.o);
end $$;

-- Looks up who wants these events and starts what may start at once. The caller holds their flows (`hold_flows` or
-- `enter_flows`) and their streams; ids, versions, hops and everything else that is theirs is decided.
-- p_most: reactions that one event may start here; one with more is left to the router whole. 0: all of them are, as they are
-- where so many subscriptions would be asked about so many events that their publisher had to wait for it. The greatest
-- integer is the router's: however many there are.
-- p_muted: flows that are canceled; their events are kept and start nothing.
-- An event over the limit of hops starts nothing and becomes a dead letter.
create function {schema}.stage_events(p_events {schema}.event[], p_now timestamptz, p_most int default 8,
  p_muted uuid[] default '{}') returns {schema}.staged language plpgsql volatile as $$
declare
  c_looks constant int := 20000; -- by one publisher: half a second where payloads are matched
  v_staged {schema}.staged;
  v_here boolean;
  v_at int[]; -- events that are looked up
  v_asked {schema}.event[];
  v_version bigint;
  v_n int[];
  v_subscription int[];
  v_direct boolean[];
  v_wide int[];
  v_over int[];
  v_letters {schema}.log_item[];
  v_started record;
begin
  perform pg_current_xact_id(); -- before it looks up subscriptions: a backfill waits for older transactions
  v_staged.events := p_events;
  v_staged.follows := false;
  v_staged.pending := '{}';
  v_staged.subscriptions := '{}';
  v_over := array(
    select e.ordinality::int from unnest(p_events) with ordinality e
    cross join lateral (select x.max_hops from {schema}.namespace x where x.id = e.namespace offset 0) n
    where e.hops > n.max_hops);
  select array_agg(e.ordinality::int order by e.ordinality) into v_at from unnest(p_events) with ordinality e
    where not e.ordinality = any (v_over) and not e.flow = any (p_muted);
  v_here := p_most = 2147483647 or p_most > 0 and (
    select coalesce(sum(t.n * l.n), 0) <= c_looks from (
      select e.namespace, e.type, count(*) n from unnest(p_events) e group by e.namespace, e.type) t
    cross join lateral (
      select count(*) n from (
        select from {schema}.subscription_lead d
        where d.namespace = t.namespace and d.lead = any (array[t.type, '']) limit c_looks + 1) x) l);
  if v_here and v_at is not null then
    v_asked := array(select p_events[u] from unnest(v_at) u);
    -- One statement, one snapshot: a subscription is looked at if and only if the version tells so.
    with found as materialized (select m.n, m.subscription, m.direct from {schema}.matching(v_asked) m)
      select r.version, array_agg(v_at[f.n] order by f.n, f.subscription) filter (where f.n is not null),
        array_agg(f.subscription order by f.n, f.subscription) filter (where f.n is not null),
        array_agg(f.direct order by f.n, f.subscription) filter (where f.n is not null)
      into v_version, v_n, v_subscription, v_direct
      from {schema}.subscription_registry r left join found f on true group by r.version;
    v_wide := array(
      select u.n from unnest(v_n, v_direct) u (n, direct) where u.direct group by u.n having count(*) > p_most);
    if v_wide <> '{}' then
      select array_agg(u.n order by u.o), array_agg(u.subscription order by u.o), array_agg(u.direct order by u.o)
        into v_n, v_subscription, v_direct
        from unnest(v_n, v_subscription, v_direct) with ordinality u (n, subscription, direct, o) where not u.n = any (v_wide);
    end if;
    select coalesce(array_agg(u.n order by u.n, u.subscription), '{}'), coalesce(array_agg(u.subscription order by u.n, u.subscription), '{}')
      into v_staged.pending, v_staged.subscriptions
      from unnest(v_n, v_subscription, v_direct) u (n, subscription, direct) where not u.direct;
    v_staged.pending := v_staged.pending || v_wide;
    v_staged.subscriptions := v_staged.subscriptions || array_fill(0, array[cardinality(v_wide)]);
    if true = any (v_direct) then
      select s.* into v_started from {schema}.start_reactions(p_events,
        array(select u.n from unnest(v_n, v_direct) with ordinality u (n, direct, o) where u.direct order by u.o),
        array(select u.s from unnest(v_subscription, v_direct) with ordinality u (s, direct, o) where u.direct order by u.o),
        p_now) s;
      v_staged.items := v_started.items;
      v_staged.classes := v_started.classes;
      v_staged.follows := v_started.follows;
    end if;
  else
    select r.version into v_version from {schema}.subscription_registry r;
    v_staged.pending := coalesce(v_at, '{}');
    v_staged.subscriptions := array_fill(0, array[coalesce(cardinality(v_at), 0)]);
  end if;
  -- In one statement: one assignment per element would copy the array each time (36 s for 10,000).
  v_staged.events := array(
    select row(e.id, e.namespace, e.event_id, e.seq, e.idx, e.type, e.stream, e.version, e.flow, e.cause, e.cause_execution,
      e.hops, e.batch, e.batch_index, e.batch_size, e.schema_version, e.tags, e.headers, e.occurred_at, e.published_at,
      coalesce(e.subscriptions, v_version, 0), e.payload_type, e.payload)::{schema}.event
    from unnest(p_events) with ordinality e order by e.ordinality);
  v_staged.parts := {schema}.parts_of(p_events, v_staged.pending, v_staged.subscriptions);
  v_staged.follows := v_staged.follows or cardinality(v_staged.pending) > 0;
  if v_over <> '{}' then
    with opened as (
      insert into {schema}.dead_letter (id, namespace, subject, event, event_id, event_type, reason, lane, type, flow, tags,
          input_type, input, message, fingerprint, attempts, first_failure_at, last_failure_at, created_at)
        select {schema}.uuid_v7(), e.namespace, 2, e.id, coalesce(e.event_id, e.id::text), e.type, 10, '', e.type, e.flow, e.tags,
          e.payload_type, e.payload, 'it has ' || e.hops || ' events behind it, each the cause of the next',
          {schema}.fingerprint(e.type, null, 'too many hops'), 0, p_now, p_now, p_now
        from unnest(v_over) u cross join lateral (select (p_events[u]).*) e
        returning id, namespace, flow)
      select array_agg(row(o.namespace, 70, null, o.flow, null, null, null, 0,
          '{"letter":"' || o.id || '","reason":10}')::{schema}.log_item) into v_letters from opened o;
    v_staged.items := v_staged.items || v_letters;
  end if;
  -- What started nothing may have been the last thing of its flow, or of a slot of its batch.
  with idle as materialized (
      select e.flow, e.namespace, e.batch, e.batch_index from (
        select u from generate_series(1, cardinality(p_events)) u
        except select u from unnest(v_n) u except select u from unnest(v_staged.pending) u) x
      cross join lateral (select (p_events[x.u]).flow, (p_events[x.u]).namespace, (p_events[x.u]).batch,
        (p_events[x.u]).batch_index) e),
    flows as (
      insert into {schema}.follow_up (kind, subject) select distinct 1, i.flow from idle i returning 1),
    slots as (
      insert into {schema}.follow_up (kind, subject, place)
        select 10, i.batch, i.batch_index from idle i where i.batch is not null
          and coalesce((select true from {schema}.subscription s where s.namespace = i.namespace and s.joins limit 1), false)
        returning 1)
    select v_staged.follows or exists (select from flows) or exists (select from slots) into v_staged.follows;
  return v_staged;
end $$;

-- Appends staged events and what they started to the log, and stores them with their place in it. To be called last, once
-- nothing waits for a lock any more. p_before: entries that come first.
create function {schema}.append_staged(p_staged {schema}.staged, p_before {schema}.log_item[] default null) returns bigint
language plpgsql volatile as $$
declare
  v_before int := coalesce(cardinality(p_before), 0);
  v_items {schema}.log_item[];
  v_seq bigint;
begin
  select p_before || array_agg(row(e.namespace, 30, e.cause_execution, e.flow, null, null, null, 0,
      '{"event":"' || e.id || '"}')::{schema}.log_item order by e.ordinality) || p_staged.items
    into v_items from unnest(p_staged.events) with ordinality e;
  v_seq := {schema}.append_items('{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', v_items);
  insert into {schema}.event (id, namespace, event_id, seq, idx, type, stream, version, flow, cause, cause_execution, hops,
      batch, batch_index, batch_size, schema_version, tags, headers, occurred_at, published_at, subscriptions, payload_type,
      payload)
    select e.id, e.namespace, e.event_id, v_seq, v_before + e.ordinality, e.type, e.stream, e.version, e.flow, e.cause,
      e.cause_execution, e.hops, e.batch, e.batch_index, e.batch_size, e.schema_version, e.tags, e.headers, e.occurred_at,
      e.published_at, e.subscriptions, e.payload_type, e.payload
    from unnest(p_staged.events) with ordinality e;
  insert into {schema}.unrouted (event, subscription, part, seq, idx, flow)
    select e.id, u.subscription, u.part, v_seq, v_before + u.n, e.flow
    from unnest(p_staged.pending, p_staged.subscriptions, p_staged.parts) u (n, subscription, part)
    cross join lateral (select (p_staged.events[u.n]).id, (p_staged.events[u.n]).flow) e;
  return v_seq;
end $$;

-- The position of the first entry of a row of the log; null while it has none. A late row has a run of its own.
create function {schema}.position_of(p_seq bigint) returns bigint language plpgsql stable as $$
declare
  v_run record;
begin
  select r.base, r.lo, r.hi, r.holes into v_run from {schema}.log_run r
    where r.hi >= p_seq and r.lo <= p_seq and (r.lo = r.hi or not p_seq <@ any (r.holes)) order by r.hi limit 1;
  return v_run.base + (
    select coalesce(sum(l.n), 0) from {schema}.log l
    where l.seq >= v_run.lo and l.seq < p_seq and not l.seq <@ any (v_run.holes));
end $$;

-- Events as they are shown, in the order asked for. A payload of more than p_inline bytes is left out. position: null while
-- its place is not final, and when it is not wanted: it is added up from the log.
create function {schema}.events_by_id(p_id uuid[], p_inline int, p_placed boolean default true)
returns table (id uuid, namespace text, event_id text, type text, stream text, version bigint, flow uuid, cause text,
  cause_execution uuid, hops int, batch uuid, batch_index int, batch_size int, schema_version int, tags jsonb, headers jsonb,
  occurred_at timestamptz, published_at timestamptz, payload_type text, payload bytea, omitted boolean, "position" bigint)
language plpgsql stable as $$
#variable_conflict use_column
begin
  return query
    select e.id, n.name, coalesce(e.event_id, e.id::text), e.type, s.name, e.version, e.flow,
      coalesce(c.event_id, c.id::text, e.cause::text), e.cause_execution, e.hops, e.batch, e.batch_index, e.batch_size,
      e.schema_version, e.tags, e.headers, e.occurred_at, e.published_at, e.payload_type,
      case when octet_length(e.payload) <= p_inline then e.payload end,
      coalesce(octet_length(e.payload) > p_inline, false),
      case when p_placed then {schema}.position_of(e.seq) + e.idx - 1 end
    from unnest(p_id) with ordinality u (id, n)
    cross join lateral (select x.* from {schema}.event x where x.id = u.id offset 0) e
    cross join lateral (select x.name from {schema}.namespace x where x.id = e.namespace offset 0) n
    left join lateral (select x.name from {schema}.stream x where x.id = e.stream offset 0) s on true
    left join lateral (select x.event_id, x.id from {schema}.event x where x.id = e.cause offset 0) c on true
    order by u.n;
end $$;
