-- Consumers as operators make and move them: putting, pausing, resuming, resetting, rebuilding, promoting.
--
-- Whoever moves parts holds the consumer's row and then the parts, so that an owner's commit comes wholly before or not at all.
-- The registry of consumers is raised next to last, so that its row is held for a moment only; the log row comes last.
-- Locks: creates only. older-servers: refused

-- The parts of a new generation, all at one place.
create function {schema}.make_generation(p_consumer int, p_generation bigint, p_part_count int, p_position bigint, p_now timestamptz)
returns void language plpgsql volatile as $$
begin
  insert into {schema}.consumer_generation (consumer, generation, part_count, created_at)
    values (p_consumer, p_generation, p_part_count, p_now);
  insert into {schema}.consumer_part (consumer, generation, part, position)
    select p_consumer, p_generation, g, p_position from generate_series(0, p_part_count - 1) g;
end $$;

-- Where to begin: p_from is a position, -1 for what is kept, null for the head. Null: entries after it are gone.
create function {schema}.begin_at(p_from bigint) returns bigint language plpgsql stable as $$
declare
  v_floor bigint := (select i.floor from {schema}.log_incarnation i);
begin
  return case when p_from is null then (select h.head from {schema}.log_head() h) when p_from < 0 then v_floor
    when p_from >= v_floor then p_from end;
end $$;

-- Makes or changes a consumer; p_rule: its columns. p_from: where a new one begins, as begin_at takes it. p_parts: of a new one;
-- of another one what it must have, 0 whatever it has.
-- verdict: put | same | conflict (with the present version) | split_key | part_count (which cannot be changed) | pruned.
-- Two that make one at once: the later one waits at the name, and then changes it. A repeat changes nothing; of a crash
-- nothing is left.
create function {schema}.put_consumer(p_namespace int, p_name text, p_rule jsonb, p_parts int, p_from bigint, p_expected bigint,
  p_actor text, out verdict text, out version bigint) language plpgsql volatile as $$
#variable_conflict use_column
declare
  v_is {schema}.consumer := jsonb_populate_record(null::{schema}.consumer, p_rule);
  v_was {schema}.consumer;
  v_from bigint;
  v_now timestamptz;
  v_id int;
begin
  version := 0;
  if p_expected = 0 and not coalesce((
    select true from {schema}.consumer c where c.namespace = p_namespace and c.name = p_name limit 1), false)
  then
    v_from := {schema}.begin_at(p_from);
    if v_from is null then
      verdict := 'pruned';
      return;
    end if;
    v_now := clock_timestamp();
    insert into {schema}.consumer (namespace, name, spec, split_key, max_tries, initial_backoff_ms, max_backoff_ms, parks,
        max_parked, hold_log, actor, created_at, changed_at)
      values (p_namespace, p_name, v_is.spec, v_is.split_key, v_is.max_tries, v_is.initial_backoff_ms, v_is.max_backoff_ms,
        v_is.parks, v_is.max_parked, v_is.hold_log, p_actor, v_now, v_now)
      on conflict (namespace, name) do nothing returning id into v_id;
    if v_id is not null then
      perform {schema}.make_generation(v_id, 1, greatest(p_parts, 1), v_from, v_now);
      version := 1;
    end if;
  end if;
  if v_id is null then
    select c.* into v_was from {schema}.consumer c where c.namespace = p_namespace and c.name = p_name for update;
    v_now := clock_timestamp();
    version := coalesce(v_was.version, 0);
    verdict := case when p_expected not in (0, version) then 'conflict'
      when v_was.split_key <> v_is.split_key then 'split_key'
      when p_parts <> 0 and not coalesce((
        select true from {schema}.consumer_generation g
        where g.consumer = v_was.id and g.generation in (v_was.generation, v_was.rebuilding) and g.part_count = p_parts
        limit 1), false) then 'part_count'
      when v_was.spec = v_is.spec then 'same' end;
    if verdict is not null then return; end if;
    update {schema}.consumer c set version = c.version + 1, spec = v_is.spec, max_tries = v_is.max_tries,
        initial_backoff_ms = v_is.initial_backoff_ms, max_backoff_ms = v_is.max_backoff_ms, parks = v_is.parks,
        max_parked = v_is.max_parked, hold_log = v_is.hold_log, actor = p_actor, changed_at = v_now
      where c.id = v_was.id returning c.version into version;
  end if;
  verdict := 'put';
  perform {schema}.wake_consumers();
  perform {schema}.append_items('{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', array[
    row(p_namespace, 97, null, null, null, null, null, null,
      jsonb_build_object('subject', p_name, 'version', version, 'actor', p_actor))::{schema}.log_item]);
end $$;

-- Where the log stood before everything that was recorded at or after a time. A row draws its seq before it looks at the
-- clock, so the order of seqs tells times only to within the longest statement; from there runs are looked at one by one,
-- for a late commit may have put a row behind younger ones. kept: all of that is still there.
create function {schema}.position_at(p_time timestamptz, out "position" bigint, out kept boolean) language plpgsql stable as $$
declare
  c_slow constant interval := '1 min';
  v_floor bigint := (select i.floor from {schema}.log_incarnation i);
  v_seq bigint := 0; -- everything up to here was recorded before
  v_base bigint := 0; -- runs up to here hold nothing else
  v_high bigint;
  v_middle bigint;
  v_found record;
begin
  v_high := coalesce((select l.seq from {schema}.log l order by l.seq desc limit 1), 0) + 1;
  while v_high - v_seq > 1 loop
    v_middle := v_seq + (v_high - v_seq) / 2;
    select l.seq, l.at into v_found from {schema}.log l where l.seq >= v_middle order by l.seq limit 1;
    if v_found.at < p_time - c_slow then
      v_seq := v_found.seq;
    else
      v_high := v_middle;
    end if;
  end loop;
  kept := v_floor = 0 or v_seq > 0;
  -- The tops of runs rise with their bases.
  v_high := coalesce((select r.base from {schema}.log_run r order by r.base desc limit 1), 0) + 1;
  while v_high - v_base > 1 loop
    v_middle := v_base + (v_high - v_base) / 2;
    select r.base, r.top into v_found from {schema}.log_run r where r.base <= v_middle order by r.base desc limit 1;
    if coalesce(v_found.top <= v_seq, true) then
      v_base := v_middle;
    else
      v_high := v_found.base;
    end if;
  end loop;
  v_base := (select r.base from {schema}.log_run r
    where r.base >= v_high and exists (
      select from {schema}.log l where l.seq >= r.lo and l.seq <= r.hi and l.at >= p_time)
    order by r.base limit 1);
  "position" := greatest(coalesce(v_base - 1, (select h.head from {schema}.log_head() h)), v_floor);
end $$;

-- A consumer for whoever moves the parts of its live generation, or of the one that is rebuilt: held with its members and those
-- parts, and before it, by the order of locks, the letters of the generation that are not closed, as far as they are there.
-- Null if there is no such consumer. Should the generation be another one by then, the call is to be sent again.
create function {schema}.hold_consumer(p_namespace int, p_name text, p_rebuilding boolean) returns {schema}.consumer
language plpgsql volatile as $$
declare
  v_before {schema}.consumer;
  v_is {schema}.consumer;
  v_generation bigint;
begin
  select c.* into v_before from {schema}.consumer c where c.namespace = p_namespace and c.name = p_name;
  v_generation := case when p_rebuilding then v_before.rebuilding else v_before.generation end;
  perform 1 from {schema}.dead_letter d
    where d.namespace = p_namespace and d.consumer_name = p_name and d.generation = v_generation and d.state <> 3
    order by d.id for update;
  select c.* into v_is from {schema}.consumer c where c.id = v_before.id for update;
  if v_is.generation <> v_before.generation or v_is.rebuilding is distinct from v_before.rebuilding then
    raise exception 'the generations of consumer % have changed', p_name using errcode = 'serialization_failure';
  end if;
  -- Before the parts: an owner that releases deletes its row first.
  perform 1 from {schema}.consumer_member m where m.consumer = v_is.id and m.generation = v_generation
    order by m.owner for update;
  perform 1 from {schema}.consumer_part p where p.consumer = v_is.id and p.generation = v_generation
    order by p.part for update;
  return v_is;
end $$;

-- Closes the letters of a generation that lie behind a position, as ignored: those of a generation that ends, or whose entries
-- come again. The caller holds the consumer. Letters that came between its locks are taken without waiting: if
-- somebody has one, the call is to be sent again. Answers the log's items.
create function {schema}.close_entry_letters(p_is {schema}.consumer, p_generation bigint, p_behind bigint, p_actor text,
  p_note text, p_now timestamptz) returns {schema}.log_item[] language plpgsql volatile as $$
declare
  v_ids uuid[];
  v_closed {schema}.dead_letter[];
begin
  v_ids := array(select d.id from {schema}.dead_letter d
    where d.namespace = p_is.namespace and d.consumer_name = p_is.name and d.generation = p_generation
      and d.position > p_behind and d.state <> 3
    order by d.id for update nowait);
  with closed as (
    update {schema}.dead_letter d set state = 3, resolution = 2, closed_at = p_now, actor = p_actor, note = p_note,
        holds = false, follower = false, retry_at = null, version = d.version + 1
      where d.id = any (v_ids) returning d)
    select array_agg(closed.d) into v_closed from closed;
  return {schema}.entry_letter_items(72::smallint, v_closed, jsonb_build_object('resolution', 2, 'actor', p_actor,
    'reason', p_note));
end $$;

-- Ends a generation with all that it has, and closes its letters. The caller holds the consumer. Answers the log's items.
create function {schema}.drop_generation(p_is {schema}.consumer, p_generation bigint, p_actor text, p_note text,
  p_now timestamptz) returns {schema}.log_item[] language plpgsql volatile as $$
begin
  delete from {schema}.consumer_part p where p.consumer = p_is.id and p.generation = p_generation;
  delete from {schema}.consumer_member m where m.consumer = p_is.id and m.generation = p_generation;
  delete from {schema}.consumer_release r where r.consumer = p_is.id and r.generation = p_generation;
  delete from {schema}.consumer_generation g where g.consumer = p_is.id and g.generation = p_generation;
  return {schema}.close_entry_letters(p_is, p_generation, -1, p_actor, p_note, p_now);
end $$;

-- The last of every change: a new version, the state that its parts leave it in, who waits told, and the log. The caller holds it.
create function {schema}.changed_consumer(p_id int, p_paused boolean, p_reason text, p_actor text, p_kind smallint, p_said jsonb,
  p_items {schema}.log_item[], p_now timestamptz) returns bigint language plpgsql volatile as $$
declare
  v_is {schema}.consumer;
begin
  update {schema}.consumer c set version = c.version + 1, actor = p_actor, changed_at = p_now,
      state = case when p_paused then 2 when {schema}.halted_at(c.id, c.generation) is not null then 3 else 1 end,
      state_reason = case when p_paused then coalesce(p_reason, c.state_reason)
        when {schema}.halted_at(c.id, c.generation) is not null then c.state_reason else '' end
    where c.id = p_id returning c.* into v_is;
  perform {schema}.wake_consumers();
  perform {schema}.append_items('{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', coalesce(p_items, '{}')
    || row(v_is.namespace, p_kind, null, null, null, null, null, null, jsonb_build_object('subject', v_is.name,
      'version', v_is.version, 'actor', p_actor) || p_said)::{schema}.log_item);
  return v_is.version;
end $$;

-- Stops a consumer where it stands, or lets it go on: then what was halted is tried from its first try. verdict: changed | same |
-- conflict (with the present version) | not_found | pruned (what comes next is gone). A repeat, also one that names the
-- version before, changes nothing.
create function {schema}.pause_consumer(p_namespace int, p_name text, p_pause boolean, p_expected bigint, p_actor text,
  p_reason text, out verdict text, out version bigint) language plpgsql volatile as $$
#variable_conflict use_column
declare
  v_is {schema}.consumer;
  v_same boolean;
begin
  select c.* into v_is from {schema}.consumer c where c.namespace = p_namespace and c.name = p_name for update;
  version := v_is.version;
  if v_is.id is null then
    verdict := 'not_found';
    return;
  end if;
  v_same := case when p_pause then v_is.state = 2 else v_is.state = 1 and not exists (
    select from {schema}.consumer_part p where p.consumer = v_is.id and p.halted) end;
  verdict := case when p_expected not in (0, version) and not (v_same and p_expected = version - 1) then 'conflict'
    when v_same then 'same'
    when not p_pause and exists (
      select from {schema}.consumer_part p, {schema}.log_incarnation i
      where p.consumer = v_is.id and (p.halted or p.generation = v_is.generation) and p.position < i.floor) then 'pruned'
    else 'changed' end;
  if verdict <> 'changed' then return; end if;
  if not p_pause then
    update {schema}.consumer_part p set halted = false, tries = 0, retry_at = null, failed_position = null
      where p.consumer = v_is.id and p.halted;
  end if;
  version := {schema}.changed_consumer(v_is.id, p_pause, p_reason, p_actor, case when p_pause then 95 else 96 end::smallint,
    jsonb_build_object('reason', p_reason), null, clock_timestamp());
end $$;

-- Moves every part of the live generation; p_to as begin_at takes it. Whoever owns one has lost it. Letters of entries that
-- come again by that are closed as ignored; those of earlier ones stay, and hold their keys.
-- verdict: changed | conflict | not_found | pruned. A repeat moves it again; of a crash nothing is left.
create function {schema}.reset_consumer(p_namespace int, p_name text, p_to bigint, p_expected bigint, p_actor text, p_reason text,
  out verdict text, out version bigint) language plpgsql volatile as $$
#variable_conflict use_column
declare
  v_is {schema}.consumer;
  v_to bigint;
  v_now timestamptz;
  v_items {schema}.log_item[];
begin
  v_is := {schema}.hold_consumer(p_namespace, p_name, false);
  version := v_is.version;
  v_to := {schema}.begin_at(p_to);
  v_now := clock_timestamp();
  verdict := case when v_is.id is null then 'not_found' when p_expected not in (0, version) then 'conflict'
    when v_to is null then 'pruned' else 'changed' end;
  if verdict <> 'changed' then return; end if;
  update {schema}.consumer_part p set position = v_to, came_from = -1, epoch = p.epoch + 1, owner = null, lease_ms = null,
      expires_at = null, wanted_at = null, tries = 0, failed_position = null, retry_at = null,
      halted = false
    where p.consumer = v_is.id and p.generation = v_is.generation;
  v_items := {schema}.close_entry_letters(v_is, v_is.generation, v_to, p_actor,
    'the consumer was reset to before this entry, which comes again', v_now);
  -- What was parked ahead of the position may have its turn by this.
  insert into {schema}.consumer_release (consumer, generation, part)
    select distinct d.consumer, d.generation, d.part from {schema}.dead_letter d
    where d.consumer = v_is.id and d.generation = v_is.generation and d.holds;
  version := {schema}.changed_consumer(v_is.id, v_is.state = 2, null, p_actor, 92::smallint,
    jsonb_build_object('generation', v_is.generation, 'position', v_to, 'reason', p_reason), v_items, v_now);
end $$;

-- Starts a generation beside the live one, in place of one that is being rebuilt already. p_from as begin_at takes it; p_parts 0: as
-- the live one. verdict: changed | conflict | not_found | pruned. A repeat begins again, if it does not name the version
-- that it saw; of a crash nothing is left.
create function {schema}.rebuild_consumer(p_namespace int, p_name text, p_from bigint, p_parts int, p_promotes boolean,
  p_expected bigint, p_actor text, p_reason text, out verdict text, out version bigint, out generation bigint)
language plpgsql volatile as $$
#variable_conflict use_column
declare
  v_is {schema}.consumer;
  v_from bigint;
  v_now timestamptz;
  v_items {schema}.log_item[];
begin
  v_is := {schema}.hold_consumer(p_namespace, p_name, true);
  version := v_is.version;
  v_from := {schema}.begin_at(p_from);
  v_now := clock_timestamp();
  verdict := case when v_is.id is null then 'not_found' when p_expected not in (0, version) then 'conflict'
    when v_from is null then 'pruned' else 'changed' end;
  if verdict <> 'changed' then return; end if;
  if v_is.rebuilding is not null then
    v_items := {schema}.drop_generation(v_is, v_is.rebuilding, p_actor, 'the generation was replaced by another one', v_now);
  end if;
  generation := v_is.newest + 1;
  perform {schema}.make_generation(v_is.id, generation, case when p_parts > 0 then p_parts else (
    select g.part_count from {schema}.consumer_generation g where g.consumer = v_is.id and g.generation = v_is.generation)
    end, v_from, v_now);
  update {schema}.consumer c set rebuilding = v_is.newest + 1, newest = v_is.newest + 1, promotes = p_promotes where c.id = v_is.id;
  version := {schema}.changed_consumer(v_is.id, v_is.state = 2, null, p_actor, 98::smallint,
    jsonb_build_object('generation', generation, 'position', v_from, 'reason', p_reason), v_items, v_now);
end $$;

-- Makes the generation that is rebuilt the live one, and ends the one that was. Its owners keep what they have. p_checked: nothing
-- that is selected lies between the position of any of its parts and here, as the caller has seen in the log; what the
-- live one has handled meanwhile must not lie beyond. p_auto: only if it is to be promoted by itself.
-- verdict: changed | same (it is live) | conflict | not_found | no_generation | behind (the live one stands at position).
-- Of a crash nothing is left; a repeat finds it live.
create function {schema}.promote_consumer(p_namespace int, p_name text, p_generation bigint, p_checked bigint, p_auto boolean,
  p_expected bigint, p_actor text, p_reason text, out verdict text, out version bigint) language plpgsql volatile as $$
#variable_conflict use_column
declare
  v_is {schema}.consumer;
  v_now timestamptz;
  v_items {schema}.log_item[];
begin
  v_is := {schema}.hold_consumer(p_namespace, p_name, false);
  version := v_is.version;
  v_now := clock_timestamp();
  verdict := case when v_is.id is null then 'not_found'
    when v_is.generation = p_generation and p_expected in (0, version, version - 1) then 'same'
    when p_expected not in (0, version) then 'conflict'
    when v_is.rebuilding is distinct from p_generation or (p_auto and not v_is.promotes) then 'no_generation'
    when (select min(p.position) from {schema}.consumer_part p where p.consumer = v_is.id and p.generation = v_is.generation)
      > greatest(p_checked, (select min(p.position) from {schema}.consumer_part p
        where p.consumer = v_is.id and p.generation = p_generation)) then 'behind'
    else 'changed' end;
  if verdict <> 'changed' then return; end if;
  v_items := {schema}.drop_generation(v_is, v_is.generation, p_actor, format('generation %s was promoted', p_generation), v_now);
  update {schema}.consumer c set generation = p_generation, rebuilding = null, promotes = false where c.id = v_is.id;
  version := {schema}.changed_consumer(v_is.id, v_is.state = 2, null, p_actor, 93::smallint, jsonb_build_object('generation',
    p_generation, 'before', v_is.generation, 'reason', p_reason), v_items, v_now);
end $$;
