-- What people do at the desk beside redriving and resolving: reopen, purge, look at causes.
--
-- A letter that is closed stays for a while, then it is deleted; one that is not is kept for ever. Every deletion is told by the
-- log with its number, so that what was opened is what is there and what was purged.
-- Locks: short ACCESS EXCLUSIVE lock on dead_letter, to drop an index. older-servers: refused

-- By cause, and of a cause by state: lists go down it, groups leap through it.
drop index {schema}.dead_letter_fingerprint;
create index dead_letter_fingerprint on {schema}.dead_letter (namespace, fingerprint, state, id);
-- What can be purged, and what was closed lately.
create index dead_letter_closed on {schema}.dead_letter (namespace, closed_at, id) where state = 3;

-- Opens a closed letter again. p_expected: the version the caller saw, 0 any. It holds up nobody any more: whom it had held up
-- went on when it was closed. verdict: reopened | already (it is open) | conflict | wrong_state | not_found; with the
-- present state and version. Of a crash nothing is left; a repeat finds it open.
create function {schema}.reopen_letter(p_namespace int, p_letter uuid, p_expected bigint, p_actor text, p_note text,
  out verdict text, out state int, out version bigint) language plpgsql volatile as $$
#variable_conflict use_column
declare
  v_letter {schema}.dead_letter;
begin
  select d.* into v_letter from {schema}.dead_letter d where d.id = p_letter and d.namespace = p_namespace for update;
  state := v_letter.state;
  version := v_letter.version;
  verdict := case when v_letter.id is null then 'not_found' when p_expected not in (0, v_letter.version) then 'conflict'
    when v_letter.state = 1 then 'already' when v_letter.state = 2 then 'wrong_state' end;
  if verdict is not null then return; end if;
  update {schema}.dead_letter d set state = 1, resolution = null, closed_at = null, gate = null, actor = p_actor,
      note = p_note, version = d.version + 1
    where d.id = p_letter returning d.* into v_letter;
  verdict := 'reopened';
  state := v_letter.state;
  version := v_letter.version;
  perform {schema}.log_letters(73::smallint, array[v_letter], jsonb_build_object('actor', p_actor, 'reason', p_note));
end $$;

-- Deletes those of the letters that are closed, and were before p_before; passes over what somebody holds. Answers how many.
-- To be called with few: they are locked until the commit. An entry per namespace tells of it; details: purged, closed_until
-- (the latest closing among them), actor, reason. Of a crash nothing is left; a repeat finds them gone.
create function {schema}.purge_letters(p_id uuid[], p_before timestamptz, p_actor text, p_note text) returns int
language plpgsql volatile as $$
declare
  v_locked uuid[];
  v_gone record;
begin
  select array_agg(x.id) into v_locked from (
    -- By key: "= 3" would go through all that are closed.
    select d.id from {schema}.dead_letter d where d.id = any (p_id) and d.state not in (1, 2) and d.closed_at < p_before
    order by d.id for update skip locked) x;
  if v_locked is null then return 0; end if;
  with gone as (
      delete from {schema}.dead_letter d where d.id = any (v_locked) returning d.namespace, d.closed_at),
    per as (
      select g.namespace, count(*) as n, max(g.closed_at) as until from gone g group by g.namespace)
    select array_agg(p.namespace order by p.namespace) as namespaces, sum(p.n)::int as n,
        array_agg(jsonb_build_object('purged', p.n, 'closed_until', p.until, 'actor', p_actor, 'reason', p_note)::text
          order by p.namespace) as bodies
      into v_gone from per p;
  perform {schema}.append_log(v_gone.namespaces, array_fill(139::smallint, d), array_fill(null::uuid, d),
      array_fill(null::uuid, d), array_fill(null::int, d), array_fill(null::smallint, d), array_fill(null::smallint, d),
      array_fill(null::int, d), v_gone.bodies)
    from (select array[cardinality(v_gone.namespaces)] as d) x;
  return v_gone.n;
end $$;

-- A batch of the letters that were closed longer ago than they are kept, in any namespace. Fewer than p_limit: that was all.
create function {schema}.retire_letters(p_kept_ms bigint, p_limit int) returns int language plpgsql volatile as $$
declare
  v_before timestamptz;
begin
  v_before := clock_timestamp() - p_kept_ms * interval '1 millisecond';
  return {schema}.purge_letters(array(
      select d.id from {schema}.namespace n
      cross join lateral (
        select x.id from {schema}.dead_letter x where x.namespace = n.id and x.state = 3 and x.closed_at < v_before
        order by x.closed_at limit p_limit) d
      limit p_limit), v_before, '', 'their time is up');
end $$;
