-- What operators change at the desk: lanes, who drains, the resolution of dead letters.
--
-- Each is one function and therefore one transaction: lock, decide in a new statement, write, append to the log last.
-- Whatever a process remembers (lanes, draining workers) hangs on registry.version, which is raised under its row lock;
-- that row is always locked first.
-- Locks: creates only. older-servers: refused
create index worker_name on {schema}.worker (namespace, name, id);
create index dead_letter_lane on {schema}.dead_letter (namespace, lane, id) where state = 1;

-- Changes a lane. p_patch names the columns to set, null among them; p_make: the lane is made if it was never used.
-- verdict: changed | same (nothing differs, nothing is written) | not_found | conflict (with the present version, 0 when
-- there is no such lane). classes: those of the lane. Details of the entry: lane, version, actor, reason, changed.
create function {schema}.change_lane(p_namespace int, p_lane text, p_make boolean, p_expected bigint, p_patch jsonb,
  p_kind smallint, p_actor text, p_reason text, out verdict text, out version bigint, out classes int[])
language plpgsql volatile as $$
declare
  v_lane {schema}.lane;
  v_changed {schema}.lane;
  v_made boolean := false;
begin
  perform 1 from {schema}.registry for update;
  if p_make and p_expected = 0 then
    insert into {schema}.lane (namespace, name) values (p_namespace, p_lane) on conflict do nothing;
    v_made := found;
  end if;
  select l.* into v_lane from {schema}.lane l where l.namespace = p_namespace and l.name = p_lane for update;
  if v_lane.id is null then
    verdict := case when p_expected = 0 then 'not_found' else 'conflict' end;
    version := 0;
    return;
  end if;
  version := v_lane.version;
  if p_expected not in (0, version) then
    verdict := 'conflict';
    return;
  end if;
  classes := array(select c.id from {schema}.claim_class c where c.lane = v_lane.id);
  v_changed := jsonb_populate_record(v_lane, p_patch);
  verdict := case when v_changed is distinct from v_lane then 'changed' else 'same' end;
  if verdict = 'changed' then
    version := version + 1;
    update {schema}.lane l set state = v_changed.state, state_reason = v_changed.state_reason, actor = p_actor,
        timeout_ms = v_changed.timeout_ms, ttl_ms = v_changed.ttl_ms, aging_ms = v_changed.aging_ms,
        retry_max = v_changed.retry_max, retry_initial_ms = v_changed.retry_initial_ms,
        retry_factor = v_changed.retry_factor, retry_cap_ms = v_changed.retry_cap_ms,
        reclaims_max = v_changed.reclaims_max, count_lost = v_changed.count_lost, version = change_lane.version,
        changed_at = clock_timestamp()
      where l.id = v_lane.id;
  elsif not v_made then
    return;
  end if;
  update {schema}.registry set version = registry.version + 1;
  perform {schema}.append_log(array[p_namespace], array[p_kind], array[null::uuid], array[null::uuid], array[null::int],
    array[null::smallint], array[null::smallint], array[null::int], array[jsonb_build_object('lane', p_lane,
      'version', version, 'actor', p_actor, 'reason', p_reason, 'changed', p_patch)::text]);
end $$;

-- Tells every instance of a name, or one (p_id), to take no more work, or no longer so. Answers the instances concerned,
-- changed or not. Details of the entries: subject (the instance), name, drain, actor, reason.
create function {schema}.drain_workers(p_namespace int, p_name text, p_id text, p_drain boolean, p_actor text,
  p_reason text) returns text[] language plpgsql volatile as $$
declare
  v_found text[];
  v_changed {schema}.worker[];
begin
  perform 1 from {schema}.registry for update;
  v_found := array(select w.id from {schema}.worker w
    where w.namespace = p_namespace and w.name = p_name and w.id = coalesce(p_id, w.id) order by w.id for update);
  with changed as (
    update {schema}.worker w set state = case when p_drain then 2 else 1 end,
        drain_reason = case when p_drain then p_reason else '' end
      where w.namespace = p_namespace and w.id = any (v_found)
        and (w.state <> case when p_drain then 2 else 1 end or (p_drain and w.drain_reason <> p_reason))
      returning w)
    select array_agg(changed.w order by (changed.w).id) into v_changed from changed;
  if v_changed is null then return v_found; end if;
  update {schema}.registry set version = registry.version + 1;
  perform {schema}.append_log(array_agg(w.namespace), array_agg(121::smallint), array_agg(null::uuid),
      array_agg(null::uuid), array_agg(null::int), array_agg(null::smallint), array_agg(null::smallint),
      array_agg(null::int), array_agg(jsonb_build_object('subject', w.id, 'name', w.name, 'drain', p_drain,
        'actor', p_actor, 'reason', p_reason)::text))
    from unnest(v_changed) w;
  return v_found;
end $$;

-- The entries about letters that people moved. Each names the execution that was given up and its class: that of its
-- core row, or any of its lane and type once that is gone. Details: letter, and what the caller adds.
create function {schema}.log_letters(p_kind smallint, p_letters {schema}.dead_letter[], p_more jsonb) returns void
language plpgsql volatile as $$
begin
  perform {schema}.append_log(array_agg(d.namespace), array_agg(p_kind), array_agg(d.execution), array_agg(d.flow),
      array_agg(coalesce(e.class, (select c.id from {schema}.claim_class c join {schema}.lane l on l.id = c.lane
        where l.namespace = d.namespace and l.name = d.lane and c.type = d.type order by c.id limit 1))),
      array_agg(null::smallint), array_agg(null::smallint), array_agg(null::int),
      array_agg((jsonb_build_object('letter', d.id) || p_more)::text))
    from unnest(p_letters) d
    left join {schema}.execution e on e.id = d.execution
      and e.id = any (array(select x.execution from unnest(p_letters) x))
    having count(*) > 0;
end $$;

-- Closes open letters by a person's word, each on its own. p_expected: the version the caller saw, 0 any.
-- verdict: closed | already (by the same word, at the version this call would have made) | conflict | wrong_state |
-- not_found. Letters are locked in the order of their ids, as settle_letters does, and nothing is awaited under the locks.
create function {schema}.resolve_letters(p_namespace int, p_id uuid[], p_expected bigint[], p_resolution smallint,
  p_actor text, p_note text, p_request_id text)
returns table (ord int, verdict text, state smallint, version bigint) language plpgsql volatile as $$
#variable_conflict use_column
declare
  v_now timestamptz;
  v_seen {schema}.dead_letter[];
  v_closed {schema}.dead_letter[];
begin
  select array_agg(x.d) into v_seen from (
    select d from {schema}.dead_letter d where d.id = any (p_id) and d.namespace = p_namespace
    order by d.id for update) x (d);
  v_now := clock_timestamp();
  with closed as (
    update {schema}.dead_letter d set state = 3, resolution = p_resolution, closed_at = v_now, actor = p_actor,
        note = p_note, version = d.version + 1
      from unnest(p_id, p_expected) u (id, expected)
      where d.id = any (p_id) and d.namespace = p_namespace and d.id = u.id and d.state = 1
        and u.expected in (0, d.version)
      returning d)
    select array_agg(closed.d order by (closed.d).id) into v_closed from closed;
  return query
    select u.ord::int,
      case when d.id is null then 'not_found' when c.id is not null then 'closed'
        when d.state = 3 and d.resolution = p_resolution and u.expected in (0, d.version - 1) then 'already'
        when u.expected not in (0, d.version) then 'conflict' else 'wrong_state' end,
      coalesce(c.state, d.state), coalesce(c.version, d.version)
    from unnest(p_id, p_expected) with ordinality u (id, expected, ord)
    left join unnest(v_seen) d on d.id = u.id
    left join unnest(v_closed) c on c.id = u.id
    order by u.ord;
  perform {schema}.log_letters(72::smallint, v_closed, jsonb_build_object('resolution', p_resolution, 'actor', p_actor,
    'reason', p_note, 'request_id', p_request_id));
end $$;
