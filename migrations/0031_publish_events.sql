-- Publishing: events as clients hand them over, each on its own, in groups, or a whole call at once.
--
-- Locks are taken in the one order that holds everywhere: event keys by id, flows, streams by number, and what staging takes.
-- A key is inserted before anything is known of its event and taken back if that is refused: whoever publishes the same id
-- meanwhile waits for the commit and then finds either the event or nothing.
-- Locks: creates only. older-servers: refused

-- Events by the ids they are known by; null for what was never accepted. An id that a publisher gave comes before one that
-- the engine made, which no publisher can give.
create function {schema}.find_events(p_namespace int[], p_event_id text[]) returns table (n int, event uuid)
language plpgsql stable as $$
#variable_conflict use_column
declare
  c_uuid constant text := '^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}$';
begin
  return query
    select u.ordinality::int, coalesce(k.event, e.id)
    from unnest(p_namespace, p_event_id) with ordinality u (namespace, event_id)
    left join lateral (
      select x.event from {schema}.event_key x where x.namespace = u.namespace and x.event_id = u.event_id offset 0) k on true
    left join lateral (
      select x.id from {schema}.event x
      where x.id = case when k.event is null and u.event_id ~ c_uuid then u.event_id::uuid end
        and x.namespace = u.namespace and x.event_id is null offset 0) e on true;
end $$;

-- Locks streams until the commit, in the order of their numbers, and tells which version each has. One that is met for the
-- first time is made, in the order of the names, before any is locked: two who make the same ones queue there.
-- To be left by leave_streams.
create function {schema}.enter_streams(p_namespace int[], p_stream text[])
returns table (namespace int, name text, stream int, version bigint) language plpgsql volatile as $$
#variable_conflict use_column
begin
  insert into {schema}.stream (namespace, name)
    select distinct u.namespace, u.stream from unnest(p_namespace, p_stream) u (namespace, stream)
    left join lateral (
      select x.id from {schema}.stream x where x.namespace = u.namespace and x.name = u.stream offset 0) s on true
    where u.stream is not null and s.id is null order by 1, 2 on conflict do nothing;
  return query
    select x.namespace, x.name, x.id, x.version from {schema}.stream x
    where x.id = any (array(
      select distinct s.id from unnest(p_namespace, p_stream) u (namespace, stream)
      cross join lateral (
        select y.id from {schema}.stream y where y.namespace = u.namespace and y.name = u.stream offset 0) s))
    order by x.id for no key update;
end $$;

-- Takes those back that were made here and got no event: nobody else has seen them, and who waits to make one makes it.
create function {schema}.leave_streams(p_stream int[]) returns void language plpgsql volatile as $$
begin
  delete from {schema}.stream s where s.id = any (p_stream) and s.version = 0 and s.xmin = pg_current_xact_id()::xid;
end $$;

-- Publishes many events; the nth answer belongs to the nth event. Columns that no event has may be null as a whole.
-- verdict: published | duplicate (the first one's place is answered) | reused | too_old | no_cause | conflict (version: the
-- stream's) | unit_refused (another of its unit was) | what enter_flows refuses with. `busy` is the whole call's: nothing of
-- it is stored.
-- p_unit: what stands or falls together, side by side and ascending; p_call likewise, over units. Event ids are distinct.
-- p_made_ms: when an id of version 7 says it was made; p_cause_at: the place of a cause that comes earlier here;
-- p_new_flow: the flow to start where there is none. p_most: as for stage_events.
-- woken and follows stand in the first row. A crash before the commit leaves nothing; a repeat after it finds the keys.
create function {schema}.publish_events(p_call int[], p_unit int[], p_namespace int[], p_event_id text[], p_made_ms bigint[],
  p_hash bytea[], p_type text[], p_stream text[], p_expected bigint[], p_flow uuid[], p_new_flow uuid[], p_cause text[],
  p_cause_at int[], p_batch uuid[], p_batch_index int[], p_batch_size int[], p_schema_version int[], p_tags jsonb[],
  p_headers jsonb[], p_occurred_at timestamptz[], p_payload_type text[], p_payload_at int[], p_payload_length int[],
  p_payload bytea, p_memory_ms bigint, p_seal_after_ms bigint, p_max_members int, p_most int)
returns table (ord int, verdict text, event uuid, seq bigint, idx int, version bigint, flow uuid, hops int, batch uuid,
  batch_index int, batch_size int, floor_at timestamptz, woken int[], follows boolean) language plpgsql volatile as $$
#variable_conflict use_column
declare
  v_n constant int := cardinality(p_type);
  v_floor timestamptz := clock_timestamp() - p_memory_ms * interval '1 ms';
  v_ids uuid[] := {schema}.uuids_v7(v_n);
  v_verdict text[]; -- null: nothing speaks against it
  v_old uuid[]; -- the event that has the id already
  v_cause uuid[];
  v_cause_flow uuid[];
  v_cause_hops int[];
  v_flow uuid[];
  v_new boolean[]; -- starts its flow, or follows in here one that does
  v_hops int[];
  v_batch uuid[] := p_batch;
  v_at int[]; -- place of its stream among those that are locked
  v_stream int[];
  v_stream_version bigint[];
  v_version bigint[];
  v_first int := 1;
  v_fell boolean := false;
  v_now timestamptz;
  v_events {schema}.event[];
  v_staged {schema}.staged;
  v_begun {schema}.log_item[];
  v_seq bigint;
  j int;
begin
  perform pg_current_xact_id(); -- before any ready_seq is drawn
  v_verdict := array_fill(null::text, array[v_n]);
  v_old := array_fill(null::uuid, array[v_n]);
  v_version := array_fill(null::bigint, array[v_n]);
  if p_event_id is not null then
    insert into {schema}.event_key (namespace, event_id, event, hash, created_at)
      select u.namespace, u.event_id, u.id, u.hash, clock_timestamp()
      from unnest(p_namespace, p_event_id, p_made_ms, p_hash, v_ids) u (namespace, event_id, made_ms, hash, id)
      where u.event_id is not null and (u.made_ms is null or to_timestamp(u.made_ms / 1000.0) >= v_floor)
      order by u.namespace, u.event_id on conflict do nothing;
    select array_agg(case when u.event_id is null then null
          when to_timestamp(u.made_ms / 1000.0) < v_floor then 'too_old'
          when k.event = u.id then case when e.id is not null then 'reused' end
          when k.hash = u.hash then 'duplicate' else 'reused' end order by u.ordinality),
        array_agg(case when k.event = u.id then e.id else k.event end order by u.ordinality)
      into v_verdict, v_old
      from unnest(p_namespace, p_event_id, p_made_ms, p_hash, v_ids) with ordinality
        u (namespace, event_id, made_ms, hash, id)
      left join lateral (
        select x.event, x.hash from {schema}.event_key x
        where x.namespace = u.namespace and x.event_id = u.event_id offset 0) k on true
      -- Nobody can give an id that the engine has made.
      left join lateral (
        select x.id from {schema}.event x
        where x.id = case when u.made_ms is not null and k.event = u.id then u.event_id::uuid end
          and x.namespace = u.namespace and x.event_id is null offset 0) e on true;
  end if;
  if p_cause is not null then
    select array_agg(e.id order by u.ordinality), array_agg(e.flow order by u.ordinality), array_agg(e.hops order by u.ordinality)
      into v_cause, v_cause_flow, v_cause_hops
      from unnest(p_cause) with ordinality u (cause)
      left join {schema}.find_events(p_namespace, p_cause) f on f.n = u.ordinality
      left join lateral (select x.id, x.flow, x.hops from {schema}.event x where x.id = f.event offset 0) e on true;
  end if;
  -- What of a batch comes again without an id, or after its id was forgotten, belongs to the batch that there is.
  if p_batch is not null and 'duplicate' = any (v_verdict) and array_position(v_verdict, null) is not null then
    with there as materialized (
        select distinct on (u.batch) u.batch, e.batch old, e.flow
        from unnest(p_batch, v_verdict, v_old) u (batch, verdict, old)
        cross join lateral (select x.batch, x.flow from {schema}.event x where x.id = u.old offset 0) e
        where u.verdict = 'duplicate' and u.batch is not null and e.batch is not null)
      select array_agg(coalesce(t.old, u.batch) order by u.ordinality), array_agg(coalesce(u.flow, t.flow) order by u.ordinality)
        into v_batch, p_flow
        from unnest(p_batch, p_flow) with ordinality u (batch, flow) left join there t on t.batch = u.batch;
  end if;
  v_flow := p_new_flow;
  v_new := array_fill(true, array[v_n]);
  v_hops := array_fill(0, array[v_n]);
  if p_flow is not null or p_cause is not null then
    for i in 1 .. v_n loop
      continue when v_verdict[i] is not null;
      j := p_cause_at[i];
      if j is not null and (v_verdict[j] is null or v_verdict[j] not in ('duplicate', 'reused')) then
        v_cause[i] := v_ids[j];
        v_flow[i] := coalesce(p_flow[i], v_flow[j]);
        v_new[i] := p_flow[i] is null and v_new[j];
        v_hops[i] := v_hops[j] + 1;
      elsif p_cause[i] is not null and v_cause[i] is null then
        v_verdict[i] := 'no_cause';
      else
        v_flow[i] := coalesce(p_flow[i], v_cause_flow[i], v_flow[i]);
        v_new[i] := p_flow[i] is null and p_cause[i] is null;
        v_hops[i] := coalesce(v_cause_hops[i] + 1, 0);
      end if;
    end loop;
    with asked as materialized (
        select array_agg(y.flow) flows, array_agg(y.namespace) namespaces from (
          select distinct u.flow, u.namespace from unnest(v_flow, p_namespace, v_new, v_verdict) u (flow, namespace, new, verdict)
          where not u.new and u.verdict is null) y)
      select array_agg(coalesce(u.verdict, e.refused) order by u.ordinality) into v_verdict
        from unnest(v_flow, p_namespace, v_new, v_verdict) with ordinality u (flow, namespace, new, verdict)
        left join (
          select e.* from asked a cross join lateral {schema}.enter_flows(a.flows, a.namespaces, p_max_members) e) e
          on e.flow = u.flow and e.namespace = u.namespace and not u.new;
    if 'busy' = any (v_verdict) then
      select array_agg(case when x.busy then 'busy' else x.verdict end order by x.ordinality) into v_verdict
        from (
          select u.*, bool_or(u.verdict is not distinct from 'busy') over (partition by u.call) busy
          from unnest(p_call, v_verdict) with ordinality u (call, verdict)) x;
    end if;
  end if;
  if p_stream is not null then
    with held as materialized (
        select s.* from {schema}.enter_streams(p_namespace, array(
          select case when u.verdict is null then u.stream end
          from unnest(p_stream, v_verdict) with ordinality u (stream, verdict) order by u.ordinality)) s),
      placed as materialized (select h.*, row_number() over (order by h.stream)::int place from held h)
      select (select array_agg(p.stream order by p.place) from placed p), (select array_agg(p.version order by p.place) from placed p),
          array_agg(p.place order by u.ordinality)
        into v_stream, v_stream_version, v_at
        from unnest(p_namespace, p_stream) with ordinality u (namespace, stream)
        left join placed p on p.namespace = u.namespace and p.name = u.stream;
  end if;
  -- In order: which version each has, and what falls with another.
  for i in 1 .. v_n loop
    if p_unit[i] is distinct from p_unit[i - 1] then
      v_first := i;
      v_fell := false;
    end if;
    j := p_cause_at[i];
    -- What would have been its flow says nothing then.
    if j is not null and v_verdict[j] not in ('duplicate', 'reused')
        and coalesce(v_verdict[i] in ('no_flow', 'flow_sealed', 'flow_canceled', 'flow_full'), true) then
      v_verdict[i] := 'no_cause';
    end if;
    if v_verdict[i] is null and v_fell then
      v_verdict[i] := 'unit_refused';
    elsif v_verdict[i] is null and p_stream[i] is not null then
      if v_at[i] is null then
        raise exception using errcode = 'serialization_failure', message = 'a stream went away';
      elsif p_expected[i] <> v_stream_version[v_at[i]] then
        v_verdict[i] := 'conflict';
        v_version[i] := v_stream_version[v_at[i]];
      else
        v_version[i] := v_stream_version[v_at[i]] + 1;
        v_stream_version[v_at[i]] := v_version[i];
      end if;
    end if;
    if v_verdict[i] <> 'duplicate' and not v_fell then
      v_fell := true;
      for k in v_first .. i - 1 loop
        continue when v_verdict[k] is not null;
        v_verdict[k] := 'unit_refused';
        if v_at[k] is not null then v_stream_version[v_at[k]] := v_stream_version[v_at[k]] - 1; end if;
      end loop;
    end if;
  end loop;
  v_now := clock_timestamp();
  if p_event_id is not null and v_n > cardinality(array_positions(v_verdict, null)) then
    delete from {schema}.event_key k using (
        select u.namespace, u.event_id, u.id
        from unnest(p_namespace, p_event_id, v_ids, v_verdict) u (namespace, event_id, id, verdict)
        where u.event_id is not null and u.verdict is not null offset 0) u
      where k.namespace = u.namespace and k.event_id = u.event_id and k.event = u.id;
  end if;
  select array_agg(row(u.id, u.namespace, u.event_id, null, null, u.type, v_stream[u.at], u.version, u.flow, u.cause, null,
        u.hops, u.batch, u.batch_index, u.batch_size, coalesce(u.schema_version, 0), coalesce(u.tags, '{}'),
        coalesce(u.headers, '{}'), u.occurred_at, v_now, null, u.payload_type,
        case when u.payload_type is not null then substring(p_payload from u.payload_at + 1 for u.payload_length) end
      )::{schema}.event order by u.ordinality)
    into v_events
    from unnest(v_ids, p_namespace, p_event_id, p_type, v_at, v_version, v_flow, v_cause, v_hops, v_batch, p_batch_index,
      p_batch_size, p_schema_version, p_tags, p_headers, p_occurred_at, p_payload_type, p_payload_at, p_payload_length,
      v_verdict) with ordinality
      u (id, namespace, event_id, type, at, version, flow, cause, hops, batch, batch_index, batch_size, schema_version, tags,
        headers, occurred_at, payload_type, payload_at, payload_length, verdict)
    where u.verdict is null;
  if v_events is not null then
    v_staged := {schema}.stage_events(v_events, v_now, p_most);
    if v_stream is not null then
      update {schema}.stream s set version = u.version from unnest(v_stream, v_stream_version) u (id, version)
        where s.id = u.id and s.version <> u.version;
    end if;
    update {schema}.flow f set began = true, settled_at = null, seal_at = null,
        state = case when f.state = 2 then 1 else f.state end
      where f.id = any (array(
          select distinct u.flow from unnest(v_flow, v_new, v_verdict) u (flow, new, verdict) where u.verdict is null and not u.new))
        and (not f.began or f.state = 2);
    with made as (
      insert into {schema}.flow (id, namespace, began, seal_after_idle_ms, created_at)
        select distinct u.flow, u.namespace, true, p_seal_after_ms, v_now
        from unnest(v_flow, p_namespace, v_new, v_verdict) u (flow, namespace, new, verdict)
        where u.verdict is null and u.new order by 1
        returning id, namespace)
      select array_agg(row(m.namespace, 40, null, m.id, null, null, null, null, '{"name":"","members":0}')::{schema}.log_item
          order by m.id) into v_begun from made m;
    v_seq := {schema}.append_staged(v_staged, v_begun);
  end if;
  if 0 = any (v_stream_version) then perform {schema}.leave_streams(v_stream); end if;
  return query
    with asked as materialized (
      select u.ordinality::int n, coalesce(u.verdict, 'published') verdict,
        coalesce(cardinality(v_begun), 0) + (count(*) filter (where u.verdict is null) over (order by u.ordinality))::int place,
        case when u.verdict is null then u.id else u.old end id, u.version, u.flow, u.hops, u.batch, u.batch_index, u.batch_size
      from unnest(v_verdict, v_ids, v_old, v_version, v_flow, v_hops, v_batch, p_batch_index, p_batch_size) with ordinality
        u (verdict, id, old, version, flow, hops, batch, batch_index, batch_size))
    select a.n, a.verdict, a.id, case when p.is then v_seq else e.seq end, case when p.is then a.place else e.idx end,
      case when p.is or a.verdict = 'conflict' then a.version else e.version end,
      case when a.verdict = 'duplicate' then e.flow else a.flow end,
      case when p.is then a.hops else e.hops end, case when p.is then a.batch else e.batch end,
      case when p.is then a.batch_index else e.batch_index end, case when p.is then a.batch_size else e.batch_size end,
      case when a.verdict = 'too_old' then v_floor end,
      case when a.n = 1 then v_staged.classes end, case when a.n = 1 then v_staged.follows end
    from asked a
    cross join lateral (select a.verdict = 'published' is) p
    left join lateral (
      select x.* from {schema}.event x where x.id = case when a.verdict = 'duplicate' then a.id end offset 0) e on true
    order by 1;
end $$;
