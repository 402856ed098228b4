-- Events that executions emit: with their completion, or for giving up; and leases that know what they react to.
--
-- An execution ends once, so what it emits is made once. Its events take its flow, one that it has not being started for them,
-- and count one hop more than what it reacts to. A slot of a batch is handed on to the event that takes it over, if one does.
-- Lock order: leases → flows → streams → what staging and settling take. Whoever cannot have its flow at once is sent again.
-- Locks: creates only. older-servers: refused

-- Flows for the events of executions that stand in none; as those that publishers start. Answers their entries for the log.
create function {schema}.start_flows(p_flow uuid[], p_namespace int[], p_now timestamptz) returns {schema}.log_item[]
language plpgsql volatile as $$
declare
  c_idle_ms constant bigint := 86400000; -- until they seal themselves
begin
  insert into {schema}.flow (id, namespace, began, seal_after_idle_ms, created_at)
    select u.id, u.namespace, true, c_idle_ms, p_now from unnest(p_flow, p_namespace) u (id, namespace);
  return array(
    select row(u.namespace, 40, null, u.id, null, null, null, null, '{"name":"","members":0}')::{schema}.log_item
    from unnest(p_flow, p_namespace) with ordinality u (id, namespace, n) order by u.n);
end $$;

-- Which of the events that one execution emits takes over its slot: the only one that is in no batch of its own, or else the
-- only such one of a type that joins are made of. Null: none. Executions and events are named by the places of their items.
create function {schema}.heirs(p_item int[], p_namespace int[], p_event_item int[], p_type text[], p_batch uuid[])
returns table (item int, event int) language plpgsql stable as $$
#variable_conflict use_column
begin
  return query
    with lone as materialized (
      select e.item, e.type, e.ordinality::int n
      from unnest(p_event_item, p_type, p_batch) with ordinality e (item, type, batch)
      where e.batch is null and e.item = any (p_item))
    select l.item, min(l.n) from lone l group by l.item having count(*) = 1
    union all
    select l.item, min(l.n) from lone l join unnest(p_item, p_namespace) u (item, namespace) on u.item = l.item
    where l.item in (select y.item from lone y group by y.item having count(*) > 1)
      and coalesce((select true from {schema}.subscription s
        where s.namespace = u.namespace and s.joins and s.join_type = l.type and s.state <> 4 limit 1), false)
    group by l.item having count(*) = 1;
end $$;

-- complete_and_claim, or complete_with_frames where p_until is given, with the events of those that have some; at the end of
-- their attempts, so that whoever is refused emits nothing. One whose flow is somebody else's at that moment answers 'busy',
-- one that expects another version of a stream 'stream_conflict' with that stream and the version it has; both go on running.
-- Should an end be refused that appends to streams, so that others were told wrong versions, everything is rolled back and
-- sent again by the caller (serialization failure). Items with frames and streams must therefore come alone.
-- The columns of events start at p_event_item, which ascends. emitted: their ids, also of a completion that is repeated.
-- woken of an end names also what its events started; that is handed to nobody here. Of a crash before the commit nothing is
-- left; after it a repeat is a duplicate.
create function {schema}.complete_with_events(p_takers jsonb, p_namespace int[], p_execution uuid[], p_lease uuid[],
  p_token bigint[], p_hash bytea[], p_content_type text[], p_content_at int[], p_content_length int[], p_content bytea,
  p_until int[], p_item int[], p_mode int[], p_frame_type text[], p_frame_payload_type text[], p_frame_payload_at int[],
  p_frame_payload_length int[], p_frame_payload bytea, p_max int, p_summary_bytes int,
  p_event_item int[], p_type text[], p_stream text[], p_expected bigint[], p_batch uuid[],
  p_batch_index int[], p_batch_size int[], p_schema_version int[], p_tags jsonb[], p_headers jsonb[], p_occurred_at timestamptz[], p_payload_type text[],
  p_payload_at int[], p_payload_length int[], p_payload bytea)
returns table (ended {schema}.ended, taker int, claim {schema}.granted, emitted uuid[], stream text, version bigint)
language plpgsql volatile as $$
#variable_conflict use_column
declare
  c_most constant int := 1000; -- events whose reactions start here
  v_n constant int := cardinality(p_type);
  v_now timestamptz;
  v_locked {schema}.lease[];
  v_held boolean[];
  v_token bigint[] := p_token;
  v_flow uuid[]; -- of each item that may emit
  v_emits boolean[];
  v_kept record;
  v_verdict text[]; -- null: nothing speaks against it
  v_namespace int[];
  v_streams record;
  v_stream int[];
  v_version bigint[]; -- that each stream has by now
  v_at int[]; -- place of an event's stream among them
  v_event_version bigint[];
  v_refused_stream text[];
  v_refused_version bigint[];
  v_line record;
  v_ended {schema}.ended[];
  v_takers int[];
  v_claims {schema}.granted[];
  v_one {schema}.ended;
  v_done int[];
  v_first int;
  v_of record;
  v_heir int[];
  v_ids uuid[];
  v_begun {schema}.log_item[];
  v_events {schema}.event[];
  v_staged {schema}.staged;
begin
  perform pg_current_xact_id(); -- before any ready_seq is drawn
  select k.locked into v_locked from {schema}.lock_leases(p_execution, p_lease) k;
  v_now := clock_timestamp();
  v_held := {schema}.held_leases(v_locked, p_namespace, p_lease, p_token, v_now);
  select array_agg(e.item is not null and u.held and ((l.x).cancel_at is null or (l.x).cancel_accepts_late)
        and not ((l.x).linked and {schema}.is_loser((l.x).execution)) order by u.ord),
      array_agg((l.x).flow order by u.ord), array_agg(null::text)
    into v_emits, v_flow, v_verdict
    from unnest(v_held) with ordinality u (held, ord)
    left join (select distinct y item from unnest(p_event_item) y) e on e.item = u.ord
    cross join lateral (select v_locked[u.ord] x offset 0) l;
  select k.* into v_kept from {schema}.hold_flows(array(
    select distinct u.flow from unnest(v_flow, v_emits) u (flow, emits) where u.emits and u.flow is not null)) k;
  for i in 1 .. cardinality(v_emits) loop
    if v_emits[i] and v_flow[i] is not null and not v_flow[i] = any (v_kept.held) then v_verdict[i] := 'busy'; end if;
  end loop;
  v_event_version := array_fill(null::bigint, array[v_n]);
  if p_stream is not null then
    select array_agg(p_namespace[u] order by n) into v_namespace from unnest(p_event_item) with ordinality x (u, n);
    with held as materialized (
        select s.* from {schema}.enter_streams(v_namespace, array(
          select case when v_emits[u.item] and v_verdict[u.item] is null then u.stream end
          from unnest(p_event_item, p_stream) with ordinality u (item, stream, n) order by u.n)) s),
      placed as materialized (select h.*, row_number() over (order by h.stream)::int place from held h)
      select (select array_agg(p.stream order by p.place) from placed p) streams,
          (select array_agg(p.version order by p.place) from placed p) versions, array_agg(p.place order by u.n) places
        into v_streams
        from unnest(v_namespace, p_stream) with ordinality u (namespace, stream, n)
        left join placed p on p.namespace = u.namespace and p.name = u.stream;
    v_stream := v_streams.streams;
    v_version := v_streams.versions;
    v_at := v_streams.places;
    for i in 1 .. v_n loop
      if p_event_item[i] is distinct from p_event_item[i - 1] then v_first := i; end if;
      continue when p_stream[i] is null or not v_emits[p_event_item[i]] or v_verdict[p_event_item[i]] is not null;
      if v_at[i] is null then
        raise exception using errcode = 'serialization_failure', message = 'a stream went away';
      elsif p_expected[i] <> v_version[v_at[i]] then
        v_verdict[p_event_item[i]] := 'stream_conflict';
        v_refused_stream[p_event_item[i]] := p_stream[i];
        v_refused_version[p_event_item[i]] := v_version[v_at[i]];
        for k in v_first .. i - 1 loop
          if v_at[k] is not null then v_version[v_at[k]] := v_version[v_at[k]] - 1; end if;
        end loop;
      else
        v_version[v_at[i]] := v_version[v_at[i]] + 1;
        v_event_version[i] := v_version[v_at[i]];
      end if;
    end loop;
  end if;
  -- A token that was never granted: they are refused with the others of their call in place.
  for i in 1 .. cardinality(v_verdict) loop
    if v_verdict[i] is not null then v_token[i] := 0; end if;
  end loop;
  if p_until is null then
    select array_agg(c.ended) filter (where c.taker is null), array_agg(c.taker) filter (where c.taker is not null),
        array_agg(c.claim) filter (where c.taker is not null)
      into v_ended, v_takers, v_claims
      from {schema}.complete_and_claim(p_takers, p_namespace, p_execution, p_lease, v_token, p_hash, p_content_type, p_content_at,
        p_content_length, p_content) c;
  else
    select array_agg(c.ended) filter (where c.taker is null), array_agg(c.taker) filter (where c.taker is not null),
        array_agg(c.claim) filter (where c.taker is not null)
      into v_ended, v_takers, v_claims
      from {schema}.complete_with_frames(p_takers, p_namespace, p_execution, p_lease, v_token, p_hash, p_content_type,
        p_content_at, p_content_length, p_content, p_until, p_item, p_mode, p_frame_type, p_frame_payload_type,
        p_frame_payload_at, p_frame_payload_length, p_frame_payload, p_max, p_summary_bytes) c;
  end if;
  v_done := array(select y.ord from unnest(v_ended) y where y.verdict = 'done' and v_emits[y.ord]);
  if p_stream is not null and exists (
      select from unnest(p_event_item, v_event_version) u (item, version)
      where u.version is not null and not u.item = any (v_done) and v_verdict[u.item] is null)
    and p_event_item[1] <> p_event_item[v_n]
  then
    raise exception 'a completion was refused after its events had a place in their streams'
      using errcode = 'serialization_failure';
  end if;
  if v_done <> '{}' then
    v_now := clock_timestamp();
    v_ids := {schema}.uuids_v7(v_n);
    select array_agg(coalesce(u.flow, f.id) order by u.n) flows, array_agg(e.event order by u.n) causes,
        array_agg(e.hops + 1 order by u.n) hops, array_agg(e.batch order by u.n) batches,
        array_agg(e.batch_index order by u.n) indexes, array_agg(e.batch_size order by u.n) sizes,
        array_agg(f.id order by u.n) filter (where f.id is not null) new_flows,
        array_agg(p_namespace[u.n] order by u.n) filter (where f.id is not null) new_namespaces,
        array_agg(u.n::int order by u.n) filter (where e.batch is not null) owners,
        array_agg(p_namespace[u.n] order by u.n) filter (where e.batch is not null) owner_namespaces
      into v_of
      from unnest(p_execution, v_flow) with ordinality u (execution, flow, n)
      left join lateral (
        select x.event, x.hops, x.batch, x.batch_index, x.batch_size from {schema}.execution x
        where x.id = case when u.n = any (v_done) then u.execution end offset 0) e on true
      left join lateral (select ({schema}.uuids_v7(1))[1] id where u.n = any (v_done) and u.flow is null offset 0) f on true;
    if v_of.new_flows is not null then
      v_begun := {schema}.start_flows(v_of.new_flows, v_of.new_namespaces, v_now);
    end if;
    v_heir := array_fill(null::int, array[cardinality(p_execution)]);
    if v_of.owners is not null then
      for v_line in select h.* from {schema}.heirs(v_of.owners, v_of.owner_namespaces, p_event_item, p_type, p_batch) h loop
        v_heir[v_line.item] := v_line.event;
      end loop;
    end if;
    select array_agg(row(u.id, p_namespace[u.item], null, null, null, u.type, v_stream[u.at], u.version, v_of.flows[u.item],
          v_of.causes[u.item], p_execution[u.item], v_of.hops[u.item],
          case when h.inherits then v_of.batches[u.item] else u.batch end,
          case when h.inherits then v_of.indexes[u.item] else u.batch_index end,
          case when h.inherits then v_of.sizes[u.item] else u.batch_size end,
          coalesce(u.schema_version, 0), coalesce(u.tags, '{}'), coalesce(u.headers, '{}'), u.occurred_at, v_now, null,
          u.payload_type,
          case when u.payload_type is not null then substring(p_payload from u.payload_at + 1 for u.payload_length) end
        )::{schema}.event order by u.n)
      into v_events
      from unnest(v_ids, p_event_item, p_type, v_at, v_event_version, p_batch, p_batch_index, p_batch_size, p_schema_version,
        p_tags, p_headers, p_occurred_at, p_payload_type, p_payload_at, p_payload_length) with ordinality
        u (id, item, type, at, version, batch, batch_index, batch_size, schema_version, tags, headers, occurred_at,
          payload_type, payload_at, payload_length, n)
      cross join lateral (select coalesce(v_heir[u.item] = u.n, false) inherits) h
      where u.item = any (v_done);
    -- A subscription that cannot be evaluated is no fault of theirs: the router finds out which one it is. Nor is it theirs to
    -- start what very many events do.
    begin
      v_staged := {schema}.stage_events(v_events, v_now, case when v_n <= c_most then 8 else 0 end, v_kept.canceled);
    exception when data_exception or integrity_constraint_violation then
      if not {schema}.is_data_fault(sqlstate, sqlerrm) then raise; end if;
      v_staged := {schema}.stage_events(v_events, v_now, 0, v_kept.canceled);
    end;
    update {schema}.stream s set version = u.version from unnest(v_stream, v_version) u (id, version)
      where s.id = u.id and s.version <> u.version;
    perform {schema}.append_staged(v_staged, v_begun);
  end if;
  if 0 = any (v_version) then perform {schema}.leave_streams(v_stream); end if;
  for v_one in select y.* from unnest(v_ended) y loop
    ended := v_one;
    stream := v_refused_stream[v_one.ord];
    version := v_refused_version[v_one.ord];
    emitted := null;
    if v_verdict[v_one.ord] is not null then
      ended.verdict := v_verdict[v_one.ord];
    elsif v_one.ord = any (v_done) then
      emitted := array(
        select u.id from unnest(v_ids, p_event_item) with ordinality u (id, item, n) where u.item = v_one.ord order by u.n);
      if v_one.ord = v_done[1] then
        ended.woken := v_one.woken || v_staged.classes;
        ended.follows := coalesce(v_one.follows, false) or v_staged.follows;
      end if;
    elsif v_one.verdict = 'duplicate' then
      emitted := array(select e.id from {schema}.event e where e.cause_execution = p_execution[v_one.ord] order by e.id);
    end if;
    return next;
  end loop;
  return query select null::{schema}.ended, v_takers[i], v_claims[i], null::uuid[], null::text, null::bigint
    from generate_subscripts(v_takers, 1) i;
end $$;

alter type {schema}.granted add attribute ordering_key text, add attribute hops int, add attribute subscription int,
  add attribute subscription_version bigint, add attribute event uuid, add attribute batch uuid, add attribute batch_index int,
  add attribute batch_size int;

-- Opens the next attempt of rows that the caller took out of ready, or goes on with the one that is parked, and answers
-- everything a worker needs but the results it waited for, in the order of the rows, which is the order of their tokens.
-- `joined`: the execution's join, or the last one of the attempt's children, whose slots are to be read.
-- p_limited: classes whose leases count in a quota.
-- Lease ids and tokens are drawn first, so that nothing just written
-- has to be read again; the core row is reached by one probe per row, whatever the planner believes of the table
-- (offset 0 keeps it from flattening that), the last failure only where there was an attempt.
create or replace function {schema}.grant_leases(p_rows {schema}.ready[], p_namespace int, p_worker text, p_worker_name text,
  p_lease_ms bigint, p_begin_ms bigint, p_limited int[] default null)
returns setof {schema}.granted language plpgsql volatile as $$
declare
  v_now timestamptz := clock_timestamp();
  v_expires timestamptz := v_now + p_lease_ms * interval '1 ms';
  v_begin timestamptz := v_now + p_begin_ms * interval '1 ms';
  v_lease uuid[];
  v_token bigint[];
  v_n int := cardinality(p_rows);
  v_resumed uuid[];
  v_parked {schema}.parked[];
begin
  select array_agg(gen_random_uuid()), array_agg(nextval('{schema}.fencing_token')) into v_lease, v_token
    from generate_series(1, v_n);
  select array_agg(r.execution) filter (where r.resume) into v_resumed from unnest(p_rows) r;
  if v_resumed is not null then
    with gone as (delete from {schema}.parked p where p.execution = any (v_resumed) returning p)
      select array_agg(gone.p) into v_parked from gone;
  end if;
  insert into {schema}.lease (execution, lease, token, namespace, class, priority, worker, worker_name, kind, attempt,
      failures, reclaims, ready_at, started_at, length_ms, expires_at, check_at, begin_by, timeout_ms, timeout_at, start_by,
      deadline, redrive, flow, linked, waits, granted_at, progress_percent, progress_message, progress_at, gate,
      limited, usage)
    select r.execution, r.lease, r.token, p_namespace, r.class, -r.priority, p_worker, p_worker_name, coalesce(p.kind, r.kind),
      r.attempt + (not r.resume)::int, r.failures, r.reclaims, coalesce(p.ready_at, r.ready_at), coalesce(p.started_at, v_now),
      p_lease_ms, v_expires, least(v_expires, v_begin, t.timeout_at, r.deadline), v_begin, r.timeout_ms, t.timeout_at,
      r.start_by, r.deadline, r.redrive, r.flow, r.linked, coalesce(p.waits, 0),
      case when r.resume then v_now end, p.progress_percent, p.progress_message, p.progress_at, r.gate,
      coalesce(r.class = any (p_limited), false), p.usage
    from unnest(p_rows, v_lease, v_token) r (class, priority, seq, execution, ready_at, kind, attempt, failures, reclaims,
      timeout_ms, start_by, deadline, redrive, flow, linked, resume, gate, lease, token)
    left join unnest(v_parked) p on p.execution = r.execution
    cross join lateral (select v_now + case when r.resume then p.timeout_ms else r.timeout_ms end * interval '1 ms' timeout_at) t;
  return query
    select r.execution, r.lease, r.token, r.seq, r.class, (-r.priority)::smallint, r.attempt + (not r.resume)::int,
      coalesce(p.kind, r.kind), r.ready_at, coalesce(p.started_at, v_now), v_expires,
      v_now + case when r.resume then p.timeout_ms else r.timeout_ms end * interval '1 ms', r.deadline, e.input_type, e.input,
      e.tags, e.created_at, coalesce(e.root, e.id), e.redrive_of, r.failures, e.retry_max, a.failure_class, a.failure_code,
      a.message, r.flow, e.parent, r.resume, p.parked_at, coalesce(p.waits, 0), coalesce(p.barrier, c.id, b.id),
      coalesce(p.barrier, c.id) is not null,
      (case when r.resume then coalesce(p.cause, 4) end)::smallint, coalesce(p.released_at, r.ready_at), e.concurrency_key,
      e.ordering_key, e.hops, e.subscription, e.subscription_version, e.event, e.batch, e.batch_index, e.batch_size
    from unnest(p_rows, v_lease, v_token) r (class, priority, seq, execution, ready_at, kind, attempt, failures, reclaims,
      timeout_ms, start_by, deadline, redrive, flow, linked, resume, gate, lease, token)
    cross join lateral (select * from {schema}.execution where id = r.execution offset 0) e
    left join lateral (
      select * from {schema}.attempt where execution = case when r.attempt > 0 then r.execution end
        and number = r.attempt - r.resume::int offset 0) a on true
    left join unnest(v_parked) p on p.execution = r.execution
    left join lateral (
      select y.id from {schema}.barrier y where y.downstream = case when r.resume then r.execution end and y.kind = 2
        and y.created_at >= p.started_at order by y.id desc limit 1) c on true
    left join lateral (
      select y.id from {schema}.barrier y
      where y.kind in (1, 3) and y.downstream = case
          when e.subscription is not null and e.event is null then coalesce(e.root, e.id) -- a batch's, also when run again
          when r.flow is not null then r.execution end
      limit 1) b on true
    order by r.token;
  perform {schema}.append_log(array_fill(p_namespace, array[v_n]), array_fill(20::smallint, array[v_n]),
    array_agg(r.execution), array_agg(r.flow), array_agg(r.class), array_fill(3::smallint, array[v_n]),
    array_fill(4::smallint, array[v_n]), array_agg(r.attempt + (not r.resume)::int),
    array_agg('{"worker":' || to_json(p_worker_name)::text || case when r.resume then ',"resumed":true}' else '}' end))
    from unnest(p_rows) r;
end $$;

-- Claims up to p_limit executions of the given segments. A segment is a stretch of one class's line: from
-- (p_from_priority, p_from_seq) up to, not including, p_to_priority, all in the negated priorities of the index. Segments
-- begin where the safe lower bound says, so that the dead rows of a drained line are not walked again.
-- Answers claims; or one row without, and retry_ms when it is worth asking again before anybody says so.
--
-- peek reads the heads without locks and settles lanes against each other (place in the own lane, divided by the lane's
-- weight), aging, and what limits leave free; pick locks exactly that many per segment, passing over what others hold; gone
-- deletes by ctid.
-- The limit around pick is not for show: without it the planner expects the whole table and hashes it (227 ms for 1.2).
-- Deleting by a join on the key, planned on an empty table, took 4.7–7.4 s over 300 k rows; by ctid 1.4–2.0 ms.
-- A crash before the commit leaves the rows in line. An empty answer may mean that all heads are locked by others.
create or replace function {schema}.claim(p_class int[], p_lane int[], p_weight real[], p_from_priority smallint[], p_from_seq bigint[],
  p_to_priority smallint[], p_limit int, p_bytes bigint, p_namespace int, p_worker text, p_worker_name text,
  p_lease_ms bigint, p_begin_ms bigint)
returns table (retry_ms int, claim {schema}.granted) language plpgsql volatile as $$
declare
  c_rounds constant int := 10; -- of taking work out of line that no budget lets start
  v_now timestamptz := clock_timestamp();
  v_rows {schema}.ready[];
  v_fits int;
  v_reacts boolean;
  v_quotas int[];
  v_spent boolean;
  v_held int[];
  v_lanes int[]; -- that have a limit or a used-up budget, and how many may start there; 0: the namespace
  v_rooms int[];
  v_retry double precision;
  v_limit int := p_limit;
  v_rated boolean;
  v_young boolean;
  v_limited int[];
  v_back record;
begin
  select array(select q.lane from {schema}.quota q where q.namespace = p_namespace and q.lane = any (p_lane || 0)
      and (q.max_running is not null or q.max_starts is not null)),
    coalesce((select true from {schema}.spent s where s.namespace = p_namespace limit 1), false)
    into v_quotas, v_spent;
  if v_quotas <> '{}' then
    select array_agg(x.lane), bool_or(x.changed_at > v_now - interval '10 seconds') into v_held, v_young from (
      select q.lane, q.changed_at from {schema}.quota q where q.namespace = p_namespace and q.lane = any (v_quotas)
      order by q.lane for update skip locked) x;
    v_now := clock_timestamp();
    -- Executions that were claimed while nobody knew of the limit count, too.
    if v_young then
      perform {schema}.mark_limited(p_namespace, v_held);
    end if;
    select array_agg(u), array_agg(coalesce(r.room, 0)), min(case when r.lane is null then 2 else r.retry_ms end),
        bool_or(r.rated)
      into v_lanes, v_rooms, v_retry, v_rated
      from unnest(v_quotas) u left join {schema}.quota_room(p_namespace, v_held, v_now) r on r.lane = u;
  end if;
  if v_spent then
    select v_lanes || array_agg(s.lane), v_rooms || array_agg(0) into v_lanes, v_rooms
      from {schema}.spent s where s.namespace = p_namespace and s.kind in (1, 2) and s.lane = any (p_lane || 0);
  end if;
  v_limit := least(v_limit, (select min(u.room) from unnest(v_lanes, v_rooms) u (lane, room) where u.lane = 0));
  for i in 1 .. c_rounds loop
    exit when v_limit = 0;
    with segment as materialized (
        select s.*, l.aging_ms, coalesce(f.room, p_limit) room
        from unnest(p_class, p_lane, p_weight, p_from_priority, p_from_seq, p_to_priority) with ordinality
          s (class, lane, weight, from_priority, from_seq, to_priority, n)
        join {schema}.lane l on l.id = s.lane and l.state <> 2
        left join (select y.lane, min(y.room) room from unnest(v_lanes, v_rooms) y (lane, room) group by y.lane) f
          on f.lane = s.lane
        where coalesce(f.room, p_limit) > 0),
      peek as materialized (
        select z.n, count(*) k from (
          select x.n, x.nth / x.weight rank from (
            select s.n, s.weight, s.room, row_number() over (partition by s.lane order by
                y.priority - coalesce(floor(extract(epoch from v_now - y.ready_at) * 1000 / s.aging_ms), 0), y.seq) nth
            from segment s cross join lateral (
              select r.priority, r.seq, r.ready_at from {schema}.ready r
              where r.class = s.class and (r.priority, r.seq) >= (s.from_priority, s.from_seq) and r.priority < s.to_priority
                and (r.deadline is null or r.deadline > v_now) and (r.start_by is null or r.attempt > 0 or r.start_by > v_now)
              order by r.priority, r.seq limit v_limit) y) x
          where x.nth <= x.room
          order by rank limit v_limit) z
        group by z.n),
      pick as materialized (
        select y.ctid from peek join segment s on s.n = peek.n cross join lateral (
          select r.ctid from {schema}.ready r
          where r.class = s.class and (r.priority, r.seq) >= (s.from_priority, s.from_seq) and r.priority < s.to_priority
            and (r.deadline is null or r.deadline > v_now) and (r.start_by is null or r.attempt > 0 or r.start_by > v_now)
          order by r.priority, r.seq limit peek.k for update skip locked) y
        limit v_limit),
      gone as (
        delete from {schema}.ready r where r.ctid = any (array(select pick.ctid from pick)) returning r)
      select array_agg(gone.r order by (gone.r).priority, (gone.r).seq) into v_rows from gone;
    exit when v_rows is null or not v_spent;
    select * into v_back from {schema}.hold_back_spent(v_rows, p_namespace, v_now);
    v_rows := v_back.kept;
    if v_back.unclear is not null then
      insert into {schema}.ready select * from unnest(v_back.unclear);
      v_retry := 5;
    end if;
    exit when v_rows is not null or v_back.unclear is not null;
    v_retry := 0; -- there may be more behind what was held back
  end loop;
  if v_rows is null then
    return query select ceil(v_retry)::int, null::{schema}.granted;
    return;
  end if;
  -- The inputs of one answer stay within p_bytes, but for a single one: clients give up on larger messages. What does not
  -- fit goes back to its old place, which nobody has seen empty. The input of a reaction stands with its event.
  select count(*) filter (where s.ordinality = 1 or coalesce(s.total, 0) <= p_bytes), coalesce(bool_or(s.reacts), false)
    into v_fits, v_reacts
    from (
      select sum(e.size) over (order by r.ordinality) total, r.ordinality, e.reacts from unnest(v_rows) with ordinality r
      cross join lateral (
        select octet_length(input) size, event is not null and input_type is null reacts
        from {schema}.execution where id = r.execution offset 0) e) s;
  if v_reacts then
    select count(*) filter (where s.ordinality = 1 or coalesce(s.total, 0) <= p_bytes) into v_fits from (
      select sum(coalesce(octet_length(e.input), v.size)) over (order by r.ordinality) total, r.ordinality
      from unnest(v_rows) with ordinality r
      cross join lateral (select input_type, input, event from {schema}.execution where id = r.execution offset 0) e
      left join lateral (
        select octet_length(x.payload) size from {schema}.event x
        where x.id = case when e.input_type is null then e.event end offset 0) v on true) s;
  end if;
  if v_fits < cardinality(v_rows) then
    insert into {schema}.ready select * from unnest(v_rows[v_fits + 1:]);
    v_rows := v_rows[:v_fits];
  end if;
  if v_quotas <> '{}' then
    select array_agg(distinct r.class) into v_limited from unnest(v_rows) r
      join {schema}.claim_class c on c.id = r.class where c.lane = any (v_quotas) or 0 = any (v_quotas);
  end if;
  return query select null::int, g from {schema}.grant_leases(v_rows, p_namespace, p_worker, p_worker_name, p_lease_ms,
    p_begin_ms, v_limited) g;
  -- As of now, under the lock that is held anyway: a start that counted earlier than it was would leave its window too soon.
  if v_quotas <> '{}' and v_rated then
    perform {schema}.count_starts(p_namespace, array_agg(x.lane), array_agg(x.n), clock_timestamp()) from (
      select c.lane, count(*)::int n from unnest(v_rows) r join {schema}.claim_class c on c.id = r.class
        where c.lane = any (v_quotas) group by c.lane
      union all select 0, cardinality(v_rows)) x;
  end if;
end $$;

drop function {schema}.hold_parent(int, uuid, uuid, bigint, bytea, int, int);
-- The first half of spawning: the lease of the parent and the row of its flow are held until the commit, so that neither is
-- canceled nor lost meanwhile. One item, so it may wait. verdict: held | duplicate (parked by this very call; with the join
-- and the children) | cancel_requested | canceled (the flow) | full | refused (explain_refusals says why).
-- hops: of the parent, which its children take over, so that a cycle through children ends as one of events does.
create function {schema}.hold_parent(p_namespace int, p_execution uuid, p_lease uuid, p_token bigint, p_hash bytea,
  p_more int, p_max_members int, out verdict text, out flow uuid, out barrier uuid, out children uuid[],
  out hops int)
language plpgsql volatile as $$
declare
  v_lease {schema}.lease;
  v_canceled boolean;
begin
  select l.* into v_lease from {schema}.lease l where l.execution = p_execution and l.lease = p_lease for update;
  if v_lease.execution is null or v_lease.token <> p_token or v_lease.namespace <> p_namespace
      or v_lease.expires_at <= clock_timestamp() then
    select p.barrier into barrier from {schema}.parked p join {schema}.execution e on e.id = p.execution
      where p.execution = p_execution and p.lease = p_lease and p.token = p_token and p.hash = p_hash
        and e.id = p_execution and e.namespace = p_namespace;
    verdict := case when found then 'duplicate' else 'refused' end;
    children := array(select s.upstream from {schema}.slot s where s.barrier = hold_parent.barrier order by s.idx);
    return;
  end if;
  flow := v_lease.flow;
  select e.hops into hops from {schema}.execution e where e.id = p_execution;
  if flow is not null then
    select f.canceled_at is not null or f.failing_at is not null into v_canceled
      from {schema}.flow f where f.id = v_lease.flow for share;
  end if;
  verdict := case when v_canceled then 'canceled'
    when v_lease.cancel_at is not null or {schema}.is_loser(p_execution) then 'cancel_requested'
    when flow is not null and {schema}.flow_is_full(flow, p_more, p_max_members) then 'full' else 'held' end;
end $$;

-- failure_events: told with the failure, in place of the declared ones.
alter type {schema}.ending add attribute failure_events jsonb;

-- The lease's columns of an ending, with what was decided. p_content: the result of a success, else the failure's details.
create or replace function {schema}.ending_of(l {schema}.lease, p_call smallint, p_hash bytea, p_attempt_outcome smallint,
  p_state smallint, p_reason smallint, p_run_at timestamptz, p_next_kind smallint, p_failures int, p_reclaims int,
  p_failure_class smallint, p_failure_code text, p_message text, p_content_type text, p_content bytea)
returns {schema}.ending language sql immutable as $$
  select row(l.execution, l.namespace, l.class, l.priority, 4::smallint, l.kind, l.attempt, p_failures, p_reclaims,
    l.timeout_ms, l.start_by, l.deadline, l.redrive, l.lease, l.token, l.worker, l.worker_name, l.ready_at, l.started_at,
    l.progress_percent, l.progress_message, l.progress_at, p_call, p_hash, p_attempt_outcome, p_state, p_reason, p_run_at,
    p_next_kind, p_failure_class, p_failure_code, p_message, p_content_type, p_content, l.flow, l.linked, false,
    null, l.gate, l.usage, null)::{schema}.ending
$$;

-- For work without a lease. One that is to be resumed has an open attempt: settle closes it.
create or replace function {schema}.ending_of_waiting(w {schema}.waiting, p_namespace int, p_state smallint, p_reason smallint,
  p_message text, p_content_type text default null, p_content bytea default null)
returns {schema}.ending language sql immutable as $$
  select row(w.execution, p_namespace, w.class, w.priority, w.from_state, null, w.attempt, w.failures, w.reclaims, null,
    w.start_by, w.deadline, w.redrive, null, null, null, null, null, null, null, null, null, null, null, null, p_state,
    p_reason, null, null, null, null, p_message, p_content_type, p_content, w.flow, w.linked, w.resume,
    w.barrier, w.gate, null, null)::{schema}.ending
$$;

-- Events that were declared, or told with the failure, for executions that are given up; null when there are none. They are
-- left to the router: an end must not wait for flows, nor grow with what reacts to it. Nothing that they meet can refuse them:
-- streams take them at whatever version they have. Those in no batch of their own stand in the slot that the execution owned.
-- The caller appends them to the log after its own row; of a crash before its commit nothing is left of either.
create function {schema}.failure_emissions(p_endings {schema}.ending[], p_now timestamptz) returns {schema}.staged
language plpgsql volatile as $$
declare
  c_reasons constant text[] := '{RETRIES_EXHAUSTED,PERMANENT,TIMEOUT,RECLAIMS_EXHAUSTED,TTL,DEADLINE,NO_HANDLER,'
    'SUSPENSION_TIMEOUT,JOIN_EXPIRED,HOP_LIMIT,BUDGET,INVALID_RESULT,CONSUMER_ENTRY}';
  c_classes constant text[] := '{TRANSIENT,PERMANENT,RATE_LIMITED,TIMEOUT,CANCELED,INVALID_RESULT}';
  v_at int[]; -- of the ending of each
  v_one jsonb[];
  v_flow uuid[]; -- of each ending
  v_new record;
  v_begun {schema}.log_item[];
  v_streams record;
  v_ids uuid[];
  v_events {schema}.event[];
  v_staged {schema}.staged;
begin
  select array_agg(x.ordinality::int order by x.ordinality, f.n), array_agg(f.one order by x.ordinality, f.n) into v_at, v_one
    from unnest(p_endings) with ordinality x
    cross join lateral (select y.failure_events from {schema}.execution y where y.id = x.execution offset 0) e
    cross join lateral jsonb_array_elements(coalesce(x.failure_events, e.failure_events)) with ordinality f (one, n)
    where x.state in (8, 10) and (coalesce(f.one -> 'reasons', '[]') = '[]' or f.one -> 'reasons' @> to_jsonb(x.reason));
  if v_at is null then return null; end if;
  select array_agg(coalesce(x.flow, f.id) order by x.ordinality) into v_flow
    from unnest(p_endings) with ordinality x
    left join lateral (
      select ({schema}.uuids_v7(1))[1] id where x.flow is null and x.ordinality = any (v_at) offset 0) f on true;
  select array_agg(v_flow[x.ordinality] order by x.ordinality) flows, array_agg(x.namespace order by x.ordinality) namespaces
    into v_new from unnest(p_endings) with ordinality x where x.flow is null and x.ordinality = any (v_at);
  if v_new.flows is not null then
    v_begun := {schema}.start_flows(v_new.flows, v_new.namespaces, p_now);
  end if;
  with named as materialized (
      select array_agg(p_endings[u.at].namespace) namespaces, array_agg(u.one ->> 'stream') names
      from unnest(v_at, v_one) u (at, one) where u.one ->> 'stream' is not null)
    select array_agg(s.namespace) namespaces, array_agg(s.name) names, array_agg(s.stream) streams, array_agg(s.version) versions
      into v_streams from named n cross join lateral {schema}.enter_streams(n.namespaces, n.names) s where n.names is not null;
  v_ids := {schema}.uuids_v7(cardinality(v_at));
  with declared as materialized (
      select u.n, u.at, u.id, u.one, u.one ->> 'batch_group' grouped, x.execution, x.namespace, x.reason, x.failure_class,
        x.failure_code, x.message, x.attempt, x.class, s.stream,
        s.version + row_number() over (partition by s.stream order by u.n) as version
      from unnest(v_at, v_one, v_ids) with ordinality u (at, one, id, n)
      cross join lateral (
        select (y.x).execution, (y.x).namespace, (y.x).reason, (y.x).failure_class, (y.x).failure_code, (y.x).message,
          (y.x).attempt, (y.x).class from (select p_endings[u.at] x offset 0) y) x
      left join unnest(v_streams.namespaces, v_streams.names, v_streams.streams, v_streams.versions)
        s (namespace, name, stream, version) on s.namespace = x.namespace and s.name = u.one ->> 'stream'),
    batch as materialized (
      select g.at, g.grouped, ({schema}.uuids_v7(1))[1] id, g.size from (
        select d.at, d.grouped, count(*)::int size from declared d where d.grouped is not null group by d.at, d.grouped) g),
    placed as materialized (
      select d.*, b.id batch, b.size, case when d.grouped is not null then
          (row_number() over (partition by d.at, d.grouped order by d.n) - 1)::int end as idx
      from declared d left join batch b on b.at = d.at and b.grouped = d.grouped)
    select array_agg(row(p.id, p.namespace, null, null, null, p.one ->> 'type', p.stream,
          case when p.stream is not null then p.version end, v_flow[p.at], e.event, p.execution, e.hops + 1,
          coalesce(p.batch, e.batch), coalesce(p.idx, e.batch_index), coalesce(p.size, e.batch_size),
          coalesce((p.one ->> 'schema_version')::int, 0), coalesce(p.one -> 'tags', '{}'), coalesce(p.one -> 'headers', '{}'),
          (p.one ->> 'occurred_at')::timestamptz, p_now, null, coalesce(p.one ->> 'payload_type', 'application/json'),
          case when p.one ? 'payload_type' then decode(coalesce(p.one ->> 'payload', ''), 'base64')
            else convert_to(json_build_object('execution_id', p.execution, 'type', c.type, 'lane', c.lane,
              'reason', c_reasons[p.reason], 'failure_class', coalesce(c_classes[p.failure_class], ''),
              'message', coalesce(p.message, ''), 'code', coalesce(p.failure_code, ''), 'attempts', p.attempt)::text, 'UTF8') end)::{schema}.event order by p.n)
      into v_events
      from placed p
      cross join lateral (
        select y.event, y.hops, y.batch, y.batch_index, y.batch_size from {schema}.execution y
        where y.id = p.execution offset 0) e
      cross join lateral (
        select k.type, l.name lane from {schema}.claim_class k join {schema}.lane l on l.id = k.lane
        where k.id = p.class offset 0) c;
  if exists (
      select from unnest(v_one) with ordinality u (one, n)
      where u.one ->> 'stream' is not null and v_events[u.n].stream is null)
  then
    raise exception using errcode = 'serialization_failure', message = 'a stream went away';
  end if;
  v_staged := {schema}.stage_events(v_events, p_now, 0);
  update {schema}.stream s set version = u.version
    from (select y.stream, max(y.version) as version from unnest(v_events) y where y.stream is not null group by y.stream) u
    where s.id = u.stream;
  v_staged.items := v_begun || v_staged.items;
  return v_staged;
end $$;

drop function {schema}.end_attempts(smallint, int[], uuid[], uuid[], bigint[], bytea[], smallint[], text[], text[],
  timestamptz[], bigint[], text[], int[], int[], bytea);
-- Ends attempts on their holders' word. p_call: 1 complete, 2 fail, 3 delay, 4 release.
-- verdict: done | duplicate (the first answer again) | busy | one of explain_refusals. Of what an end released in its flow,
-- its answer names the executions and their classes.
-- p_failure_events: what to publish if the failure gives up, in place of what was declared; null: that.
-- Items are distinct by execution. A crash before the commit leaves the lease; after it the repeat is a duplicate.
create function {schema}.end_attempts(p_call smallint, p_namespace int[], p_execution uuid[], p_lease uuid[],
  p_token bigint[], p_hash bytea[], p_class smallint[], p_code text[], p_message text[], p_run_at timestamptz[],
  p_delay_ms bigint[], p_content_type text[], p_content_at int[], p_content_length int[], p_content bytea,
  p_failure_events jsonb[] default null)
returns setof {schema}.ended
language plpgsql volatile as $$
#variable_conflict use_column
declare
  v_now timestamptz;
  v_locked {schema}.lease[];
  v_held boolean[];
  v_losers int[];
  v_ord int[];
  v_endings {schema}.ending[];
  v_executions uuid[];
  v_settled record;
begin
  select k.locked into v_locked from {schema}.lock_leases(p_execution, p_lease) k;
  v_now := clock_timestamp();
  v_held := {schema}.held_leases(v_locked, p_namespace, p_lease, p_token, v_now);
  if p_call = 1 then
    -- A join that was satisfied without them cancels them; until that has come about they may not complete.
    select array_agg(l.ordinality::int) into v_losers from unnest(v_locked) with ordinality l
      where l.linked and v_held[l.ordinality] and {schema}.is_loser(l.execution);
    select array_agg(u.ord::int order by u.ord), array_agg({schema}.ending_of(k.x, p_call, u.hash, 1::smallint, 7::smallint,
        null, null, null, (k.x).failures, (k.x).reclaims, null, null, null, u.content_type,
        case when u.content_type is not null then substring(p_content from u.content_at + 1 for u.content_length) end)
        order by u.ord)
      into v_ord, v_endings
      from unnest(v_held, p_hash, p_content_type, p_content_at, p_content_length) with ordinality
        u (held, hash, content_type, content_at, content_length, ord)
      cross join lateral (select v_locked[u.ord] x offset 0) k
      where u.held and ((k.x).cancel_at is null or (k.x).cancel_accepts_late)
        and (v_losers is null or not u.ord = any (v_losers));
  elsif p_call = 2 then
    select array_agg(u.ord::int order by u.ord), array_agg({schema}.ending_of(k.x, p_call, u.hash,
        (case u.class when 4 then 3 when 3 then 7 when 5 then 8 else 2 end)::smallint, d.state, d.reason, d.run_at,
        (case u.class when 3 then 4 else 2 end)::smallint, d.failures, (k.x).reclaims, u.class, u.code,
        case when (k.x).cancel_at is not null then coalesce(nullif((k.x).cancel_reason, ''), u.message) else u.message end,
        u.content_type,
        case when u.content_type is not null then substring(p_content from u.content_at + 1 for u.content_length) end)
        order by u.ord)
      into v_ord, v_endings
      from unnest(v_held, p_execution, p_hash, p_class, p_code, p_message, p_run_at, p_delay_ms, p_content_type, p_content_at,
        p_content_length) with ordinality
        u (held, execution, hash, class, code, message, run_at, delay_ms, content_type, content_at, content_length, ord)
      cross join lateral (select v_locked[u.ord] x offset 0) k
      cross join lateral (select e from {schema}.execution e where e.id = u.execution offset 0) e
      cross join lateral {schema}.after_failure(k.x, e.e, u.class,
        coalesce(u.run_at, v_now + u.delay_ms * interval '1 ms'), v_now) d
      where u.held;
  else
    -- Delayed or released: the attempt counts nothing. A cancel that waited for the holder is over with it.
    select array_agg(u.ord::int order by u.ord), array_agg({schema}.ending_of(k.x, p_call, u.hash,
        (case p_call when 3 then 6 else 5 end)::smallint,
        (case when (k.x).cancel_at is not null then 9 when t.run_at > v_now then 2 else 3 end)::smallint,
        (case when (k.x).cancel_at is not null then coalesce((k.x).cancel_cause, 20) end)::smallint,
        case when (k.x).cancel_at is null and t.run_at > v_now then t.run_at end, 4::smallint, (k.x).failures,
        (k.x).reclaims, null, null,
        case when (k.x).cancel_at is not null then (k.x).cancel_reason else u.message end, null, null) order by u.ord)
      into v_ord, v_endings
      from unnest(v_held, p_hash, p_message, p_run_at, p_delay_ms) with ordinality
        u (held, hash, message, run_at, delay_ms, ord)
      cross join lateral (select v_locked[u.ord] x offset 0) k
      cross join lateral (select coalesce(u.run_at, v_now + u.delay_ms * interval '1 ms') run_at) t
      where u.held;
  end if;
  if p_failure_events is not null then
    for i in 1 .. coalesce(cardinality(v_ord), 0) loop
      v_endings[i].failure_events := p_failure_events[v_ord[i]];
    end loop;
  end if;
  if v_ord is not null then
    v_executions := array(select y.execution from unnest(v_endings) y);
    delete from {schema}.lease l where l.execution = any (v_executions);
    select s.* into v_settled from {schema}.settle(v_endings, v_now) s;
    -- A loser of a join has ended canceled, whatever its holder said.
    return query select v_ord[y.ordinality], 'done', coalesce(o.state, y.state), y.attempt, y.token,
        case when o.state is null then y.run_at end, y.attempt_outcome, coalesce(o.reason, y.reason), y.failures, v_now,
        y.class, case when coalesce(o.state, y.state) in (8, 10) then {schema}.letter_of(y.execution) end,
        r.executions, r.classes, v_settled.follows
      from unnest(v_endings) with ordinality y
      left join (
        select z.cause, array_agg(z.execution) executions, array_agg(z.class) classes
        from unnest(v_settled.released, v_settled.woken, v_settled.causes) z (execution, class, cause)
        group by z.cause) r on r.cause = y.execution
      left join lateral (
        select z.state, z.reason from {schema}.outcome z
        where z.execution = case when y.linked and y.state <> 7 then y.execution end offset 0) o on true;
  end if;
  if v_losers is not null then
    return query select u, 'canceling', null::smallint, v_locked[u].attempt, v_locked[u].token, null::timestamptz,
        null::smallint, null::smallint, null::int, null::timestamptz, null::int, null::uuid, null::uuid[], null::int[], true
      from unnest(v_losers) u;
  end if;
  if coalesce(cardinality(v_ord), 0) + coalesce(cardinality(v_losers), 0) < cardinality(p_execution) then
    return query
      select r.ord, r.verdict, r.state, r.attempt, r.token, r.run_at, r.outcome, r.reason, r.failures, r.ended_at, r.class,
        r.letter, null::uuid[], null::int[], null::boolean
      from (select array_agg(u.ord::int) ord, array_agg(u.namespace) namespace, array_agg(u.execution) execution,
          array_agg(u.lease) lease, array_agg(u.token) token, array_agg(u.hash) hash
        from unnest(p_namespace, p_execution, p_lease, p_token, p_hash) with ordinality
          u (namespace, execution, lease, token, hash, ord)
        where not u.ord = any (coalesce(v_ord || v_losers, '{}'))) m
      cross join lateral {schema}.explain_refusals(m.ord, m.namespace, m.execution, m.lease, m.token, p_call, m.hash) r;
  end if;
end $$;
