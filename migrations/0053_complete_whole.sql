-- A completion brings everything it has with it, or comes again.
--
-- Why: the functions below lock the leases, write what the completions bring, and then have them completed, which locks the
-- leases once more. Both skip what somebody else has locked, for a sweep or a renewal. A lease that was locked at the first
-- look and free at the second was completed without its events or frames.
-- Locks: creates only.
-- older-servers: allowed

-- Which of these items (places in the arrays, each perhaps several times) have a lease that was there and could not be
-- locked. One that ends meanwhile may be among them: whoever asks again hears of it.
create function {schema}.skipped_leases(p_execution uuid[], p_lease uuid[], p_locked {schema}.lease[], p_item int[])
returns int[] language plpgsql stable as $$
begin
  return array(
    select l.ordinality::int from unnest(p_locked) with ordinality l
    where l.execution is null and l.ordinality = any (p_item) and exists (
      select from {schema}.lease x
      where x.execution = p_execution[l.ordinality] and x.lease = p_lease[l.ordinality] offset 0));
end $$;

-- complete_and_claim, with frames: written first, so that a completion that cannot have them is refused. A lease that is
-- somebody else's at that moment answers 'busy'.
create or replace function {schema}.complete_with_frames(p_takers jsonb, p_namespace int[], p_execution uuid[], p_lease uuid[],
  p_token bigint[], p_hash bytea[], p_content_type text[], p_content_at int[], p_content_length int[], p_content bytea,
  p_until int[], p_item int[], p_mode int[], p_type text[], p_payload_type text[], p_payload_at int[],
  p_payload_length int[], p_payload bytea, p_max int, p_summary_bytes int)
returns table (ended {schema}.ended, taker int, claim {schema}.granted) language plpgsql volatile as $$
#variable_conflict use_column
declare
  v_now timestamptz;
  v_locked {schema}.lease[];
  v_held boolean[];
  v_skipped int[];
  v_attempt int[];
  v_written {schema}.written[];
  v_token bigint[] := p_token;
  v_line record;
begin
  select k.locked into v_locked from {schema}.lock_leases(p_execution, p_lease) k;
  v_now := clock_timestamp();
  v_held := {schema}.held_leases(v_locked, p_namespace, p_lease, p_token, v_now);
  select array_agg(case when u.held and ((l.x).cancel_at is null or (l.x).cancel_accepts_late)
        and not ((l.x).linked and {schema}.is_loser((l.x).execution)) then (l.x).attempt end order by u.ord)
    into v_attempt
    from unnest(v_held) with ordinality u (held, ord) cross join lateral (select v_locked[u.ord] x offset 0) l;
  select array_agg(w order by w.ord) into v_written
    from {schema}.write_frames(p_execution, v_attempt, null, p_until, p_item, p_mode, p_type, p_payload_type, p_payload_at,
      p_payload_length, p_payload, p_max, p_summary_bytes, v_now) w;
  -- A token that was never granted: they are refused with the others of their call in place.
  for v_line in select w.ord from unnest(v_written) w where w.verdict <> 'appended' loop
    v_token[v_line.ord] := 0;
  end loop;
  v_skipped := {schema}.skipped_leases(p_execution, p_lease, v_locked, p_item);
  for i in 1 .. cardinality(v_skipped) loop
    v_token[v_skipped[i]] := 0;
  end loop;
  for v_line in
    select c.ended, c.taker, c.claim, w.verdict
    from {schema}.complete_and_claim(p_takers, p_namespace, p_execution, p_lease, v_token, p_hash, p_content_type,
      p_content_at, p_content_length, p_content) c
    left join unnest(v_written) w on w.ord = (c.ended).ord
  loop
    if v_line.taker is not null then
      return query select null::{schema}.ended, v_line.taker, v_line.claim;
      continue;
    end if;
    ended := v_line.ended;
    if v_line.verdict = 'appended' and ended.verdict <> 'done' then
      raise exception 'a completion was refused after its frames were written' using errcode = 'serialization_failure';
    elsif v_line.verdict <> 'appended' then
      ended.verdict := v_line.verdict;
    elsif ended.ord = any (v_skipped) then
      ended.verdict := 'busy';
    end if;
    return next;
  end loop;
end $$;

-- complete_and_claim, or complete_with_frames where p_until is given, with the events of those that have some; at the end of
-- their attempts, so that whoever is refused emits nothing. One whose lease or flow is somebody else's at that moment answers
-- 'busy', one that expects another version of a stream 'stream_conflict' with that stream and the version it has; both go on
-- running. Should an end be refused that appends to streams, so that others were told wrong versions, everything is rolled back
-- and sent again by the caller (serialization failure). Items with frames and streams must therefore come alone.
-- The columns of events start at p_event_item, which ascends. emitted: their ids, also of a completion that is repeated.
-- woken of an end names also what its events started; that is handed to nobody here. Of a crash before the commit nothing is
-- left; after it a repeat is a duplicate.
create or replace function {schema}.complete_with_events(p_takers jsonb, p_namespace int[], p_execution uuid[], p_lease uuid[],
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
  v_skipped int[];
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
  v_skipped := {schema}.skipped_leases(p_execution, p_lease, v_locked, p_event_item);
  for i in 1 .. cardinality(v_emits) loop
    if v_emits[i] and v_flow[i] is not null and not v_flow[i] = any (v_kept.held) or i = any (v_skipped) then
      v_verdict[i] := 'busy';
    end if;
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
