-- Frames: the output of attempts, appended under their leases and followed by any number of readers.
--
-- An attempt that has output has one head row: how many frames there are of each mode, where the next one goes, and the
-- summary document. Every append reads and writes the head and nothing of the stream, so its cost is that of what it adds.
-- Whoever appends holds the lease's row, and whoever ends the attempt deletes it: nothing is appended after an end.
-- DURABLE frames and patches are rows of `frame`, numbered within their mode; patches older than the last 1,024 go, for the
-- document stands for them. BEST_EFFORT frames stand in an unlogged table, which a crash of the database empties. Each mode
-- is kept by its own numbers: none can push out another's.
-- Locks: creates only. older-servers: refused

create table {schema}.frame_head (
  execution uuid not null,
  attempt int not null check (attempt >= 1),
  position bigint not null check (position >= 1), -- of the last frame of whatever mode
  durable int not null, -- number of the last DURABLE frame
  version int not null, -- of the summary: number of its last patch
  passing bigint not null, -- number of the last BEST_EFFORT frame
  trimmed int not null, -- patches up to this number are not kept any more
  dropped bigint not null, -- nor are BEST_EFFORT frames up to this one
  document jsonb, -- no rule binds it to the version: an append without patches proposes a row without it
  patched_at timestamptz,
  primary key (execution, attempt),
  check (trimmed <= version and dropped <= passing and position = durable + version + passing)
) partition by range (execution);

-- position: its place among the attempt's frames of all modes.
create table {schema}.frame (
  execution uuid not null,
  attempt int not null,
  mode smallint not null check (mode in (1, 2)), -- durable, patch of the summary
  number int not null check (number >= 1),
  position bigint not null,
  appended_at timestamptz not null,
  type text not null,
  payload_type text,
  payload bytea,
  primary key (execution, attempt, mode, number)
) partition by range (execution);

create unlogged table {schema}.passing_frame (
  execution uuid not null,
  attempt int not null,
  number bigint not null check (number >= 1),
  position bigint not null,
  appended_at timestamptz not null,
  type text not null,
  payload_type text,
  payload bytea,
  primary key (execution, attempt, number)
) with (autovacuum_vacuum_cost_delay = 0, vacuum_truncate = off);
create index passing_frame_age on {schema}.passing_frame (appended_at);

do $$
begin
  if exists (select from pg_settings where name = 'default_toast_compression' and 'lz4' = any (enumvals)) then
    alter table {schema}.frame alter column payload set compression lz4;
    alter table {schema}.frame_head alter column document set compression lz4;
  end if;
end $$;

-- A head is written with every append: room beside it keeps that in place, and its document, which mostly stays as it is,
-- stands apart from it.
create function {schema}.make_partition(p_parent text, p_key text, p_suffix text, p_from bigint, p_to bigint)
returns void language plpgsql volatile as $$
declare
  v_table text := p_parent || '_' || p_suffix;
begin
  execute format('create table {schema}.%I (like {schema}.%I including all)%s', v_table, p_parent,
    case when p_parent = 'frame_head'
      then ' with (fillfactor = 50, toast_tuple_target = 128, autovacuum_vacuum_cost_delay = 0)' else '' end);
  execute format('alter table {schema}.%I add constraint bounds check (%I >= %L and %I < %L)', v_table, p_key,
    {schema}.uuid_at(p_from), p_key, {schema}.uuid_at(p_to));
  execute format('alter table {schema}.%I attach partition {schema}.%I for values from (%L) to (%L)', p_parent,
    v_table, {schema}.uuid_at(p_from), {schema}.uuid_at(p_to));
end $$;

-- Makes the partitions from two days ago to two weeks ahead, each p_days wide; answers how many days are ahead.
-- Each is built as a plain table with the CHECK that its bounds imply and attached then: PARTITION OF would wait, and
-- make every insert wait, behind one open reader. After a long standstill it starts anew near today and leaves a gap,
-- which no accepted id can fall into. Repeating it changes nothing; two at once queue on the advisory lock.
create or replace function {schema}.ensure_partitions(p_days int) returns double precision language plpgsql volatile as $$
declare
  c_day constant bigint := 86400000;
  v_now bigint := extract(epoch from clock_timestamp()) * 1000;
  v_to bigint;
  v_from bigint;
  v_suffix text;
  v_parent text;
begin
  select max(to_ms) into v_to from {schema}.execution_partition;
  if v_to >= v_now + 14 * c_day then return (v_to - v_now) / c_day::double precision; end if;
  perform pg_advisory_xact_lock(hashtext('tailrace partitions'), '{schema}.execution'::regclass::oid::int);
  select coalesce(max(to_ms), 0) into v_to from {schema}.execution_partition;
  v_to := greatest(v_to, (v_now / c_day - 2) * c_day);
  while v_to < v_now + 14 * c_day loop
    v_from := v_to;
    v_to := v_from + p_days * c_day;
    v_suffix := to_char(to_timestamp(v_from / 1000) at time zone 'UTC', 'YYYYMMDD');
    foreach v_parent in array array['execution', 'attempt', 'outcome', 'frame_head', 'frame'] loop
      perform {schema}.make_partition(v_parent, case v_parent when 'execution' then 'id' else 'execution' end, v_suffix,
        v_from, v_to);
    end loop;
    insert into {schema}.execution_partition values (v_from, v_to, v_suffix);
  end loop;
  return (v_to - v_now) / c_day::double precision;
end $$;

select {schema}.make_partition(f.parent, 'execution', p.suffix, p.from_ms, p.to_ms)
  from {schema}.execution_partition p cross join unnest(array['frame_head', 'frame']) f (parent);

-- RFC 7396. The depth of a patch bounds that of the recursion; whoever takes patches in bounds it.
create function {schema}.jsonb_merge_patch(p_target jsonb, p_patch jsonb) returns jsonb language plpgsql immutable as $$
declare
  v_gone text[];
  v_set jsonb;
begin
  if jsonb_typeof(p_patch) <> 'object' then return p_patch; end if;
  if jsonb_typeof(p_target) is distinct from 'object' then p_target := '{}'; end if;
  select array_agg(x.key) filter (where x.value = 'null'),
      jsonb_object_agg(x.key, case when jsonb_typeof(x.value) = 'object'
        then {schema}.jsonb_merge_patch(p_target -> x.key, x.value) else x.value end) filter (where x.value <> 'null')
    into v_gone, v_set from jsonb_each(p_patch) x;
  if cardinality(v_gone) > 16 then
    -- The operator compares every member with every name.
    select coalesce(jsonb_object_agg(t.key, t.value), '{}') into p_target
      from jsonb_each(p_target) t left join unnest(v_gone) g (key) on g.key = t.key where g.key is null;
  elsif v_gone is not null then
    p_target := p_target - v_gone;
  end if;
  return p_target || coalesce(v_set, '{}');
end $$;

-- The document after these patches; null when it is larger than p_bytes after one of them. Only the members that the
-- patches name are looked at time and again.
create function {schema}.fold_summary(p_document jsonb, p_patches jsonb[], p_bytes int) returns jsonb
language plpgsql immutable as $$
declare
  v_names text[];
  v_rest jsonb;
  v_part jsonb;
  v_patch jsonb;
  v_room int;
begin
  select array_agg(distinct k) into v_names from unnest(p_patches) p cross join lateral jsonb_object_keys(p) k;
  if v_names is null then return coalesce(p_document, '{}'); end if;
  select coalesce(jsonb_object_agg(d.key, d.value) filter (where n.name is null), '{}'),
      coalesce(jsonb_object_agg(d.key, d.value) filter (where n.name is not null), '{}')
    into v_rest, v_part
    from jsonb_each(coalesce(p_document, '{}')) d left join unnest(v_names) n (name) on n.name = d.key;
  v_room := p_bytes - octet_length(v_rest::text);
  foreach v_patch in array p_patches loop
    v_part := {schema}.jsonb_merge_patch(v_part, v_patch);
    if octet_length(v_part::text) > v_room then return null; end if;
  end loop;
  return v_rest || v_part;
end $$;

-- What became of one item of an append. verdict: appended | duplicate | conflict | too_many_frames | summary_too_large.
-- durable, version, passing: of the stream after it.
create type {schema}.written as (ord int, verdict text, attempt int, durable int, version int, passing bigint);

-- An item while it is decided. skip: up to this place of the arrays its frames are there already. durables, patches, passings:
-- how many are to be added.
create type {schema}.frame_plan as (ord int, verdict text, execution uuid, attempt int, position bigint, durable int,
  version int, passing bigint, trimmed int, dropped bigint, skip int, durables int, patches int, passings int,
  document jsonb);

-- Writes frames of attempts that the caller has fenced: it holds their leases' rows. An item without an attempt is passed
-- over. Frames stand in the order of their items; p_until[n] is the place of the last one of item n, p_item the item of each.
-- An item is written whole or not at all. With an expected number of DURABLE frames, those that stand there already with
-- the same content are passed over, and so is whatever came before the last of them.
create function {schema}.write_frames(p_execution uuid[], p_attempt int[], p_expected bigint[], p_until int[], p_item int[],
  p_mode int[], p_type text[], p_payload_type text[], p_payload_at int[], p_payload_length int[], p_payload bytea,
  p_max int, p_summary_bytes int, p_now timestamptz) returns setof {schema}.written language plpgsql volatile as $$
declare
  c_kept constant int := 1024;
  c_slack constant int := 256; -- what is beyond goes in batches
  v_plans {schema}.frame_plan[];
  p {schema}.frame_plan;
  v_there int;
  v_same boolean;
begin
  select array_agg(row(u.ord, 'appended', u.execution, u.attempt, coalesce(h.position, 0), coalesce(h.durable, 0),
      coalesce(h.version, 0), coalesce(h.passing, 0), coalesce(h.trimmed, 0), coalesce(h.dropped, 0),
      0, f.durables, f.patches, f.passings, null)::{schema}.frame_plan order by u.ord)
    into v_plans
    from unnest(p_execution, p_attempt) with ordinality u (execution, attempt, ord)
    join (
      select y.item, count(*) filter (where y.mode = 1) durables, count(*) filter (where y.mode = 2) patches,
        count(*) filter (where y.mode = 3) passings
      from unnest(p_item, p_mode) y (item, mode) group by y.item) f on f.item = u.ord
    left join lateral (
      select x.position, x.durable, x.version, x.passing, x.trimmed, x.dropped from {schema}.frame_head x
      where x.execution = u.execution and x.attempt = u.attempt offset 0) h on true
    where u.attempt is not null;
  for i in 1 .. coalesce(cardinality(v_plans), 0) loop
    p := v_plans[i];
    if p_expected[p.ord] > p.durable then
      p.verdict := 'conflict';
    elsif p_expected[p.ord] < p.durable then
      v_there := least(p.durables, p.durable - p_expected[p.ord]);
      select coalesce(bool_and(x.number is not null and x.type = f.type
            and x.payload_type is not distinct from f.payload_type and x.payload is not distinct from f.payload), false),
          max(f.place)
        into v_same, p.skip
        from (
          select y.n + y.before place, row_number() over (order by y.n) nth, y.type, y.payload_type,
            substring(p_payload from y.at + 1 for y.length) payload
          from (
            select z.*, coalesce(p_until[p.ord - 1], 0) before
            from unnest(p_mode[coalesce(p_until[p.ord - 1], 0) + 1 : p_until[p.ord]],
              p_type[coalesce(p_until[p.ord - 1], 0) + 1 : p_until[p.ord]],
              p_payload_type[coalesce(p_until[p.ord - 1], 0) + 1 : p_until[p.ord]],
              p_payload_at[coalesce(p_until[p.ord - 1], 0) + 1 : p_until[p.ord]],
              p_payload_length[coalesce(p_until[p.ord - 1], 0) + 1 : p_until[p.ord]])
              with ordinality z (mode, type, payload_type, at, length, n)) y
          where y.mode = 1) f
        left join lateral (
          select x.* from {schema}.frame x where x.execution = p.execution and x.attempt = p.attempt and x.mode = 1
            and x.number = p_expected[p.ord] + f.nth offset 0) x on true
        where f.nth <= v_there;
      if not v_same then
        p.verdict := 'conflict';
      elsif v_there = p.durables then
        p.verdict := 'duplicate';
      else
        select count(*) filter (where y = 1), count(*) filter (where y = 2), count(*) filter (where y = 3)
          into p.durables, p.patches, p.passings from unnest(p_mode[p.skip + 1 : p_until[p.ord]]) y;
      end if;
    end if;
    if p.verdict = 'appended' and p.durables > 0 and p.durable + p.durables > p_max then
      p.verdict := 'too_many_frames';
    end if;
    if p.verdict = 'appended' and p.patches > 0 then
      v_there := greatest(p.skip, coalesce(p_until[p.ord - 1], 0)) + 1;
      p.document := {schema}.fold_summary(
        (select h.document from {schema}.frame_head h where h.execution = p.execution and h.attempt = p.attempt),
        array(select convert_from(substring(p_payload from y.at + 1 for y.length), 'UTF8')::jsonb
          from unnest(p_mode[v_there : p_until[p.ord]], p_payload_at[v_there : p_until[p.ord]],
            p_payload_length[v_there : p_until[p.ord]]) with ordinality y (mode, at, length, n)
          where y.mode = 2 order by y.n),
        p_summary_bytes);
      if p.document is null then p.verdict := 'summary_too_large'; end if;
    end if;
    if p.verdict = 'appended' and p.version + p.patches - p.trimmed > c_kept + c_slack then
      v_there := p.version + p.patches - c_kept;
      delete from {schema}.frame f where f.execution = p.execution and f.attempt = p.attempt and f.mode = 2
        and f.number > p.trimmed and f.number <= v_there;
      p.trimmed := v_there;
    end if;
    if p.verdict = 'appended' and p.passing + p.passings - p.dropped > c_kept + c_slack then
      delete from {schema}.passing_frame f where f.execution = p.execution and f.attempt = p.attempt
        and f.number > p.dropped and f.number <= p.passing + p.passings - c_kept;
      p.dropped := p.passing + p.passings - c_kept;
    end if;
    v_plans[i] := p;
  end loop;
  with placed as materialized (
      select y.execution, y.attempt, f.mode, f.type, f.payload_type,
        substring(p_payload from f.at + 1 for f.length) payload,
        y.position + row_number() over (partition by f.item order by f.place) as position,
        case f.mode when 1 then y.durable when 2 then y.version else y.passing end
          + row_number() over (partition by f.item, f.mode order by f.place) as number
      from unnest(v_plans) y
      join unnest(p_item, p_mode, p_type, p_payload_type, p_payload_at, p_payload_length)
        with ordinality f (item, mode, type, payload_type, at, length, place) on f.item = y.ord and f.place > y.skip
      where y.verdict = 'appended'),
    kept as (
      insert into {schema}.frame (execution, attempt, mode, number, position, appended_at, type, payload_type, payload)
        select f.execution, f.attempt, f.mode, f.number, f.position, p_now, f.type, f.payload_type, f.payload
        from placed f where f.mode <> 3),
    passed as (
      insert into {schema}.passing_frame (execution, attempt, number, position, appended_at, type, payload_type, payload)
        select f.execution, f.attempt, f.number, f.position, p_now, f.type, f.payload_type, f.payload
        from placed f where f.mode = 3)
    insert into {schema}.frame_head as h (execution, attempt, position, durable, version, passing, trimmed, dropped,
        document, patched_at)
      select y.execution, y.attempt, y.position + y.durables + y.patches + y.passings, y.durable + y.durables,
        y.version + y.patches, y.passing + y.passings, y.trimmed, y.dropped, y.document,
        case when y.document is not null then p_now end
      from unnest(v_plans) y where y.verdict = 'appended'
      on conflict (execution, attempt) do update set position = excluded.position, durable = excluded.durable,
        version = excluded.version, passing = excluded.passing, trimmed = excluded.trimmed, dropped = excluded.dropped,
        document = coalesce(excluded.document, h.document), patched_at = coalesce(excluded.patched_at, h.patched_at);
  return query
    select y.ord, y.verdict, y.attempt, y.durable + c.written * y.durables, y.version + c.written * y.patches,
      y.passing + c.written * y.passings
    from unnest(v_plans) y cross join lateral (select (y.verdict = 'appended')::int written) c;
end $$;

-- Appends on the word of the leases' holders; what they report with frames counts as their first sign of life, and renews
-- nothing. verdict: as of `written`, or one of explain_refusals. Items are distinct by execution; a batch never waits, and
-- a lease that somebody else has locked answers 'busy'. A crash before the commit leaves nothing of it; after it a repeat
-- with the expected number is a duplicate.
create function {schema}.append_frames(p_namespace int[], p_execution uuid[], p_lease uuid[], p_token bigint[],
  p_expected bigint[], p_until int[], p_item int[], p_mode int[], p_type text[], p_payload_type text[], p_payload_at int[],
  p_payload_length int[], p_payload bytea, p_max int, p_summary_bytes int)
returns table (ord int, verdict text, durable int, version int, passing bigint, cancel_at timestamptz,
  cancel_until timestamptz, cancel_accepts_late boolean, cancel_reason text, state smallint, attempt int, token bigint)
language plpgsql volatile as $$
#variable_conflict use_column
declare
  v_now timestamptz;
  v_locked {schema}.lease[];
  v_places tid[];
  v_held boolean[];
  v_attempt int[];
  v_begun tid[];
begin
  select k.locked, k.places into v_locked, v_places from {schema}.lock_leases(p_execution, p_lease) k;
  v_now := clock_timestamp();
  v_held := {schema}.held_leases(v_locked, p_namespace, p_lease, p_token, v_now);
  select array_agg(case when u.held then (l.x).attempt end order by u.ord),
      array_agg(u.place) filter (where u.held and (l.x).begin_by is not null)
    into v_attempt, v_begun
    from unnest(v_held, v_places) with ordinality u (held, place, ord)
    cross join lateral (select v_locked[u.ord] x offset 0) l;
  if v_begun is not null then
    update {schema}.lease l set begin_by = null where l.ctid = any (v_begun);
  end if;
  return query
    select w.ord, w.verdict, w.durable, w.version, w.passing, (l.x).cancel_at, (l.x).cancel_until,
      (l.x).cancel_accepts_late, (l.x).cancel_reason, 4::smallint, w.attempt, (l.x).token
    from {schema}.write_frames(p_execution, v_attempt, p_expected, p_until, p_item, p_mode, p_type, p_payload_type,
      p_payload_at, p_payload_length, p_payload, p_max, p_summary_bytes, v_now) w
    cross join lateral (select v_locked[w.ord] x offset 0) l;
  if false = any (v_held) then
    return query
      select r.ord, r.verdict, null::int, null::int, null::bigint, null::timestamptz, null::timestamptz, null::boolean,
        null::text, r.state, r.attempt, r.token
      from (select array_agg(u.ord::int) ord, array_agg(u.namespace) namespace, array_agg(u.execution) execution,
          array_agg(u.lease) lease, array_agg(u.token) token, array_agg(null::bytea) hash
        from unnest(p_namespace, p_execution, p_lease, p_token, v_held) with ordinality
          u (namespace, execution, lease, token, held, ord)
        where not u.held) m
      cross join lateral {schema}.explain_refusals(m.ord, m.namespace, m.execution, m.lease, m.token, 0::smallint, m.hash) r;
  end if;
end $$;

-- complete_and_claim, with the last frames of those that have some. They are written before the end, while the lease's row is
-- held, for those that end_attempts will let complete; one whose frames are too many does not complete, and its verdict says
-- so. Should a lease run out, or its join decide, between the two, everything is rolled back and sent again by the caller
-- (serialization failure), and sees it then.
create function {schema}.complete_with_frames(p_takers jsonb, p_namespace int[], p_execution uuid[], p_lease uuid[],
  p_token bigint[], p_hash bytea[], p_content_type text[], p_content_at int[], p_content_length int[], p_content bytea,
  p_until int[], p_item int[], p_mode int[], p_type text[], p_payload_type text[], p_payload_at int[],
  p_payload_length int[], p_payload bytea, p_max int, p_summary_bytes int)
returns table (ended {schema}.ended, taker int, claim {schema}.granted) language plpgsql volatile as $$
#variable_conflict use_column
declare
  v_now timestamptz;
  v_locked {schema}.lease[];
  v_held boolean[];
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
    end if;
    return next;
  end loop;
end $$;

-- What stands in streams behind where their readers are, in one snapshot: per stream that has something new, or whose attempt
-- has ended, one row without a mode (more: not all of it is here); and its next frames in order, up to p_limit and about
-- p_bytes, at least one. p_modes: a bit per mode. A position below 0 asks for the stream's row in any case.
create function {schema}.read_frames(p_execution uuid[], p_attempt int[], p_position bigint[], p_durable int[],
  p_version int[], p_passing bigint[], p_modes int[], p_limit int, p_bytes int)
returns table (ord int, "position" bigint, durable int, version int, passing bigint, trimmed int, more boolean,
  outcome smallint, state smallint, ended_at timestamptz, mode smallint, number bigint, appended_at timestamptz, type text,
  payload_type text, payload bytea) language sql stable as $$
  with stream as materialized (
      select u.ord::int ord, u.execution, u.attempt, u.durable from_durable, u.version from_version, u.passing from_passing,
        u.modes, h.position, h.durable, h.version, h.passing, h.trimmed, h.dropped, a.outcome, a.state, a.ended_at
      from unnest(p_execution, p_attempt, p_position, p_durable, p_version, p_passing, p_modes) with ordinality
        u (execution, attempt, position, durable, version, passing, modes, ord)
      left join lateral (
        select x.position, x.durable, x.version, x.passing, x.trimmed, x.dropped from {schema}.frame_head x
        where x.execution = u.execution and x.attempt = u.attempt offset 0) h on true
      left join lateral (
        select x.outcome, x.state, x.ended_at from {schema}.attempt x
        where x.execution = u.execution and x.number = u.attempt offset 0) a on true
      where h.position > u.position or a.outcome is not null or u.position < 0),
    found as materialized (
      select s.ord, f.*, row_number() over o = 1 or (row_number() over o <= p_limit
        and sum(coalesce(octet_length(f.payload), 0)) over o <= p_bytes) fits
      from stream s
      cross join lateral (
        (select x.mode, x.number::bigint, x.position, x.appended_at, x.type, x.payload_type, x.payload
          from {schema}.frame x where x.execution = s.execution and x.attempt = s.attempt and x.mode = 1
            and x.number > s.from_durable and s.modes & 2 <> 0 order by x.number limit p_limit + 1)
        union all
        (select x.mode, x.number::bigint, x.position, x.appended_at, x.type, x.payload_type, x.payload
          from {schema}.frame x where x.execution = s.execution and x.attempt = s.attempt and x.mode = 2
            and x.number > s.from_version and x.number > s.trimmed and s.modes & 4 <> 0 order by x.number limit p_limit + 1)
        union all
        (select 3::smallint, x.number, x.position, x.appended_at, x.type, x.payload_type, x.payload
          from {schema}.passing_frame x where x.execution = s.execution and x.attempt = s.attempt
            and x.number > s.from_passing and x.number > s.passing - 1024 and s.modes & 8 <> 0
            and x.appended_at > clock_timestamp() - interval '30 s' order by x.number limit p_limit + 1)) f
      window o as (partition by s.ord order by f.position))
  select s.ord, s.position, s.durable, s.version, s.passing, s.trimmed, coalesce(m.more, false), s.outcome, s.state,
    s.ended_at, null, null, null, null, null, null
  from stream s left join (select f.ord, bool_or(not f.fits) more from found f group by f.ord) m on m.ord = s.ord
  union all
  select f.ord, f.position, null, null, null, null, null, null, null, null, f.mode, f.number, f.appended_at, f.type,
    f.payload_type, f.payload
  from found f where f.fits
$$;

-- Drops BEST_EFFORT frames that are older than they are kept; answers how many. Passes over what another one drops.
create function {schema}.sweep_passing_frames(p_limit int) returns int language plpgsql volatile as $$
declare
  v_before timestamptz := clock_timestamp() - interval '30 s';
  v_gone int;
begin
  with old as materialized (
      select f.ctid from {schema}.passing_frame f where f.appended_at < v_before order by f.appended_at limit p_limit
      for update skip locked)
    delete from {schema}.passing_frame f where f.ctid = any (array(select old.ctid from old));
  get diagnostics v_gone = row_count;
  return v_gone;
end $$;
