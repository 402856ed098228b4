-- What workers say of themselves.
-- Locks: creates only. older-servers: refused

-- Notes that these workers were seen; p_told where one said what it handles. One that only claimed adds what it claimed
-- for to what is known of it: it may claim from other lanes in other calls. Many at once, in
-- the order of their keys, so that two calls queue and cannot deadlock. A worker seen for the first time is logged.
create function {schema}.sight_workers(p_namespace int[], p_id text[], p_name text[], p_lanes text[], p_types text[],
  p_capabilities text[], p_told boolean[], p_max_concurrency int[], p_labels jsonb[])
returns void language plpgsql volatile as $$
declare
  v_now timestamptz := clock_timestamp();
  v_namespace int[];
  v_body text[];
  v_n int;
begin
  with seen as (
    insert into {schema}.worker as w (namespace, id, name, lanes, types, capabilities, max_concurrency, labels, started_at,
        seen_at)
      select u.namespace, u.id, u.name, u.lanes::text[], u.types::text[], u.capabilities::text[], u.max_concurrency,
        u.labels, v_now, v_now
      from unnest(p_namespace, p_id, p_name, p_lanes, p_types, p_capabilities, p_max_concurrency, p_labels)
        u (namespace, id, name, lanes, types, capabilities, max_concurrency, labels)
      order by u.namespace, u.id
      on conflict do nothing
      returning w.namespace, w.id, w.name)
    select array_agg(s.namespace), array_agg(json_build_object('subject', s.id, 'actor', s.name)::text), count(*)
      into v_namespace, v_body, v_n from seen s;
  perform 1 from {schema}.worker w join unnest(p_namespace, p_id) u (namespace, id)
    on w.namespace = u.namespace and w.id = u.id order by w.namespace, w.id for update of w;
  update {schema}.worker w set
      seen_at = v_now,
      name = case when u.told then u.name else w.name end,
      lanes = case when u.told then u.lanes::text[]
        else array(select unnest(w.lanes) union select unnest(u.lanes::text[]) order by 1) end,
      types = case when u.told then u.types::text[] when w.types = '{}' or u.types::text[] = '{}' then '{}'
        else array(select unnest(w.types) union select unnest(u.types::text[]) order by 1) end,
      capabilities = case when u.told then u.capabilities::text[]
        else array(select unnest(w.capabilities) union select unnest(u.capabilities::text[]) order by 1) end,
      max_concurrency = case when u.told then u.max_concurrency else w.max_concurrency end,
      labels = case when u.told then u.labels else w.labels end
    from unnest(p_namespace, p_id, p_name, p_lanes, p_types, p_capabilities, p_told, p_max_concurrency, p_labels)
      u (namespace, id, name, lanes, types, capabilities, told, max_concurrency, labels)
    where w.namespace = u.namespace and w.id = u.id;
  if v_n > 0 then
    perform {schema}.append_log(v_namespace, array_fill(120::smallint, array[v_n]), array_fill(null::uuid, array[v_n]),
      array_fill(null::uuid, array[v_n]), array_fill(null::int, array[v_n]), array_fill(null::smallint, array[v_n]),
      array_fill(null::smallint, array[v_n]), array_fill(null::int, array[v_n]), v_body);
  end if;
end $$;

-- One that says goodbye, or all of them that were not seen since p_before. Answers how many went.
create function {schema}.forget_workers(p_namespace int, p_id text, p_before timestamptz) returns int
language plpgsql volatile as $$
declare
  v_namespace int[];
  v_body text[];
  v_n int;
  v_draining boolean;
begin
  perform 1 from {schema}.registry for update; -- before the worker, as drain_workers does
  with gone as (
    delete from {schema}.worker w
      where (p_id is not null and w.namespace = p_namespace and w.id = p_id) or (p_id is null and w.seen_at < p_before)
      returning w.namespace, w.id, w.name, w.state)
    select array_agg(g.namespace), array_agg(json_build_object('subject', g.id, 'actor', g.name)::text), count(*),
        bool_or(g.state = 2)
      into v_namespace, v_body, v_n, v_draining from gone g;
  if v_n = 0 then return 0; end if;
  if v_draining then
    update {schema}.registry set version = version + 1;
  end if;
  perform {schema}.append_log(v_namespace, array_fill(122::smallint, array[v_n]), array_fill(null::uuid, array[v_n]),
    array_fill(null::uuid, array[v_n]), array_fill(null::int, array[v_n]), array_fill(null::smallint, array[v_n]),
    array_fill(null::smallint, array[v_n]), array_fill(null::int, array[v_n]), v_body);
  return v_n;
end $$;
