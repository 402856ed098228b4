-- What consumers do: take parts, hold them while they read, commit, fail, park, and get parked entries again.
--
-- Every write of an owner is guarded by (generation, part, epoch, owner) in the part's row; an expired lease still counts
-- while nobody took the part, for the epoch says so. Entries are selected outside, from the log: here only positions meet.
-- Lock order: letters, by id → consumer → part → letters to be delivered again, with SKIP LOCKED.
-- Locks: creates only. older-servers: refused

-- Whoever waits for entries or parts looks again.
create function {schema}.wake_consumers() returns void language plpgsql volatile as $$
begin
  update {schema}.consumer_registry set version = version + 1;
end $$;

-- Where the first halted part of a generation stands; null when none is.
create function {schema}.halted_at(p_consumer int, p_generation bigint) returns bigint language plpgsql stable as $$
begin
  return (select coalesce(p.failed_position, p.position) from {schema}.consumer_part p
    where p.consumer = p_consumer and p.generation = p_generation and p.halted order by p.part limit 1);
end $$;

-- Gives an owner free parts, up to its share of them among all that work on the generation or wait to, and renews those it has.
-- A share is even as far as everyone's maximum allows; who asks for no more keeps what it has until others lack it. When
-- somebody has less than everybody could, or waits while somebody has more than everybody has to, parts of those that have
-- more are marked as wanted: their leases are not renewed for longer than once more.
-- p_wait_ms: until the caller looks again; it counts as a member so long. verdict: held (parts: all it has) | none | paused |
-- halted | not_found | no_generation. next_ms: until a part of somebody else runs out. woke: others have to look.
-- A repeat gives the same parts. A crash after the commit leaves parts that run out.
create function {schema}.acquire_parts(p_namespace int, p_consumer text, p_owner text, p_max int, p_generation bigint,
  p_lease_ms bigint, p_wait_ms bigint, out verdict text, out consumer int, out version bigint, out generation bigint,
  out parts {schema}.consumer_part[], out next_ms double precision, out held_by text, out held_until timestamptz,
  out halted_position bigint, out reason text, out woke boolean) language plpgsql volatile as $$
#variable_conflict use_column
declare
  c_grace constant interval := '5 s'; -- longer than members pause between two looks
  v_is {schema}.consumer;
  v_id int;
  v_generation bigint;
  v_now timestamptz;
  v_count int;
  v_most int; -- what nobody has to exceed
  v_least int; -- what everybody could have
  v_held int;
  v_needed int;
  v_wanted int;
  v_part int;
begin
  woke := false;
  select c.* into v_is from {schema}.consumer c where c.namespace = p_namespace and c.name = p_consumer for update;
  if v_is.id is null then
    verdict := 'not_found';
    return;
  end if;
  v_now := clock_timestamp();
  v_id := v_is.id;
  v_generation := case when p_generation = 0 then v_is.generation else p_generation end;
  consumer := v_id;
  version := v_is.version;
  generation := v_generation;
  reason := v_is.state_reason;
  if v_generation not in (v_is.generation, coalesce(v_is.rebuilding, 0)) then
    verdict := 'no_generation';
    return;
  end if;
  halted_position := {schema}.halted_at(v_id, v_generation);
  verdict := case when v_is.state = 2 then 'paused' when halted_position is not null then 'halted' end;
  if verdict is not null then return; end if;

  delete from {schema}.consumer_member m
    where m.consumer = v_id and m.generation = v_generation and m.expires_at <= v_now;
  insert into {schema}.consumer_member as m (consumer, generation, owner, max_parts, expires_at)
    values (v_id, v_generation, p_owner, p_max, v_now + p_wait_ms * interval '1 ms' + c_grace)
    on conflict (consumer, generation, owner) do update set max_parts = excluded.max_parts,
      expires_at = greatest(m.expires_at, excluded.expires_at);
  select g.part_count into v_count from {schema}.consumer_generation g
    where g.consumer = v_id and g.generation = v_generation;
  select min(u.level) filter (where u.sum >= v_count), coalesce(max(u.level) filter (where u.sum <= v_count), 0)
    into v_most, v_least
    from (
      select y.level, sum(y.members) over (order by y.level) sum -- what all have of it, if nobody has more than the level
      from (
        select l level, sum(x.members) over (order by l desc) members -- that may have as much
        from generate_series(1, v_count) l left join (
          select least(coalesce(m.max_parts, h.held), v_count) most, count(*) members
          from (select o.owner, o.max_parts from {schema}.consumer_member o
            where o.consumer = v_id and o.generation = v_generation) m
          full join (select o.owner, count(*) held from {schema}.consumer_part o
            where o.consumer = v_id and o.generation = v_generation and o.expires_at > v_now group by o.owner) h
            on h.owner = m.owner
          group by 1) x on x.most = l) y) u;
  v_most := coalesce(v_most, v_count);

  -- A part that is locked is in a transaction of its owner.
  update {schema}.consumer_part p set lease_ms = p_lease_ms,
      expires_at = least(v_now, coalesce(p.wanted_at, v_now)) + p_lease_ms * interval '1 ms'
    where p.consumer = v_id and p.generation = v_generation and p.part = any (array(
      select x.part from {schema}.consumer_part x
      where x.consumer = v_id and x.generation = v_generation and x.owner = p_owner for update skip locked));
  select count(*) into v_held from {schema}.consumer_part p
    where p.consumer = v_id and p.generation = v_generation and p.owner = p_owner;
  update {schema}.consumer_part p set owner = p_owner, epoch = p.epoch + 1, lease_ms = p_lease_ms,
      expires_at = v_now + p_lease_ms * interval '1 ms', wanted_at = null
    where p.consumer = v_id and p.generation = v_generation and p.part = any (array(
      select x.part from {schema}.consumer_part x
      where x.consumer = v_id and x.generation = v_generation and (x.owner is null or x.expires_at <= v_now)
        and x.owner is distinct from p_owner
      order by x.part limit greatest(0, least(p_max, v_most) - v_held) for update skip locked));

  parts := array(select p from {schema}.consumer_part p
    where p.consumer = v_id and p.generation = v_generation and p.owner = p_owner order by p.part);
  -- What members lack that others could spare, or what others have beyond what anybody has to.
  select greatest(sum(greatest(0, least(h.most, v_least) - h.held)) filter (where h.asks), sum(greatest(0, h.live - v_most)), 0)
    into v_needed
    from (
      select coalesce(x.held, 0) held, coalesce(x.live, 0) live, m.owner is not null asks, m.max_parts most
      from (select o.owner, o.max_parts from {schema}.consumer_member o
        where o.consumer = v_id and o.generation = v_generation) m
      full join (
        select p.owner, count(*) held, count(*) filter (where p.expires_at > v_now) live from {schema}.consumer_part p
        where p.consumer = v_id and p.generation = v_generation and p.owner is not null group by p.owner) x
        on x.owner = m.owner) h;
  select count(*) into v_wanted from {schema}.consumer_part p
    where p.consumer = v_id and p.generation = v_generation and p.wanted_at is not null;
  if v_needed = 0 and v_wanted > 0 then
    update {schema}.consumer_part p set wanted_at = null
      where p.consumer = v_id and p.generation = v_generation and p.part = any (array(
        select x.part from {schema}.consumer_part x
        where x.consumer = v_id and x.generation = v_generation and x.wanted_at is not null for update skip locked));
  end if;
  -- Free ones and those that run out are there for the taking; they are no longer counted as needed by anybody.
  v_needed := v_needed - v_wanted - (select count(*) from {schema}.consumer_part p
    where p.consumer = v_id and p.generation = v_generation and (p.owner is null or p.expires_at <= v_now));
  while v_needed > 0 loop
    select x.part into v_part
      from {schema}.consumer_part x
      where x.consumer = v_id and x.generation = v_generation and x.owner is not null and x.wanted_at is null
        and x.owner = (
          select p.owner from {schema}.consumer_part p
          where p.consumer = v_id and p.generation = v_generation and p.owner is not null
          group by p.owner having count(*) filter (where p.wanted_at is null) > v_least
          order by count(*) filter (where p.wanted_at is null) desc, p.owner limit 1)
      order by x.part desc limit 1 for update skip locked;
    exit when v_part is null;
    update {schema}.consumer_part p
      set wanted_at = v_now, expires_at = least(p.expires_at, v_now + p.lease_ms * interval '1 ms')
      where p.consumer = v_id and p.generation = v_generation and p.part = v_part;
    woke := true;
    v_needed := v_needed - 1;
  end loop;
  if woke then perform {schema}.wake_consumers(); end if;

  select p.owner, p.expires_at, greatest(0, extract(epoch from p.expires_at - v_now) * 1000)
    into held_by, held_until, next_ms
    from {schema}.consumer_part p
    where p.consumer = v_id and p.generation = v_generation and p.owner <> p_owner order by p.expires_at limit 1;
  verdict := case when cardinality(parts) > 0 then 'held' else 'none' end;
end $$;

-- Gives parts back, each with a new epoch; p_part null: all that it has, and it waits for none any more. What it has not is
-- passed over. A repeat finds nothing.
create function {schema}.release_parts(p_namespace int, p_consumer text, p_owner text, p_generation bigint[], p_part int[],
  p_epoch bigint[], out verdict text, out released int, out woke boolean) language plpgsql volatile as $$
declare
  v_id int;
begin
  released := 0;
  woke := false;
  select c.id into v_id from {schema}.consumer c where c.namespace = p_namespace and c.name = p_consumer;
  verdict := case when v_id is null then 'not_found' else 'released' end;
  if v_id is null then return; end if;
  if p_part is null then
    delete from {schema}.consumer_member m where m.consumer = v_id and m.owner = p_owner;
    p_generation := array(select g.generation from {schema}.consumer_generation g where g.consumer = v_id);
  end if;
  update {schema}.consumer_part p set owner = null, lease_ms = null, expires_at = null, wanted_at = null, epoch = p.epoch + 1
    from (
      select x.generation, x.part from {schema}.consumer_part x
      where x.consumer = v_id and x.generation = any (p_generation) and x.owner = p_owner
        and (p_part is null or exists (
          select from unnest(p_generation, p_part, p_epoch) u (generation, part, epoch)
          where u.generation = x.generation and u.part = x.part and u.epoch = x.epoch))
      order by x.generation, x.part for update) y
    where p.consumer = v_id and p.generation = y.generation and p.part = y.part and p.owner = p_owner;
  get diagnostics released = row_count;
  woke := released > 0 and exists (select from {schema}.consumer_member m
    where m.consumer = v_id and m.generation = any (p_generation) and m.owner <> p_owner);
  if woke then perform {schema}.wake_consumers(); end if;
end $$;

-- What an owner needs to read on: where its part stands, and what keeps it. Renews the lease once a third of it is gone, and
-- writes nothing else. verdict: held | not_found | epoch | paused | halted. offers: letters may have to be delivered again.
-- holds: some key is parked.
create function {schema}.fetch_part(p_namespace int, p_consumer text, p_owner text, p_generation bigint, p_part int,
  p_epoch bigint, out verdict text, out consumer int, out version bigint, out split_key smallint, out part_count int,
  out "position" bigint, out tries int, out retry_ms double precision, out expires_at timestamptz, out lease_ms bigint,
  out wanted boolean, out holds boolean, out offers boolean, out offer_ms double precision, out halted_position bigint,
  out reason text, out rebuilding boolean, out promotes boolean, out parks boolean) language plpgsql volatile as $$
#variable_conflict use_column
declare
  v_is {schema}.consumer;
  v_part {schema}.consumer_part;
  v_now timestamptz;
begin
  select c.* into v_is from {schema}.consumer c where c.namespace = p_namespace and c.name = p_consumer;
  if v_is.id is null then
    verdict := 'not_found';
    return;
  end if;
  consumer := v_is.id;
  version := v_is.version;
  reason := v_is.state_reason;
  halted_position := {schema}.halted_at(v_is.id, p_generation);
  select p.* into v_part from {schema}.consumer_part p
    where p.consumer = v_is.id and p.generation = p_generation and p.part = p_part;
  -- The owner of what was halted lost it with that: it is told why.
  verdict := case when halted_position is not null then 'halted'
    when v_part.owner is distinct from p_owner or v_part.epoch <> p_epoch then 'epoch'
    when v_is.state = 2 then 'paused' else 'held' end;
  if verdict <> 'held' then return; end if;
  v_now := clock_timestamp();
  if v_part.expires_at - v_now < v_part.lease_ms * interval '1 ms' * 2 / 3 then
    update {schema}.consumer_part p
      set expires_at = least(v_now, coalesce(p.wanted_at, v_now)) + p.lease_ms * interval '1 ms'
      where p.consumer = v_is.id and p.generation = p_generation and p.part = p_part and p.owner = p_owner
        and p.epoch = p_epoch
      returning p.* into v_part;
    if v_part.consumer is null then
      verdict := 'epoch';
      return;
    end if;
  end if;
  split_key := v_is.split_key;
  rebuilding := p_generation <> v_is.generation;
  promotes := v_is.promotes;
  parks := v_is.parks;
  select g.part_count into part_count from {schema}.consumer_generation g
    where g.consumer = v_is.id and g.generation = p_generation;
  "position" := v_part."position";
  tries := v_part.tries;
  retry_ms := greatest(0, extract(epoch from v_part.retry_at - v_now) * 1000);
  expires_at := v_part.expires_at;
  lease_ms := v_part.lease_ms;
  wanted := v_part.wanted_at is not null;
  holds := coalesce((select true from {schema}.dead_letter d
    where d.consumer = v_is.id and d.generation = p_generation and d.part = p_part and d.holds limit 1), false);
  select min(greatest(0, coalesce(extract(epoch from d.retry_at - v_now) * 1000, 0))) into offer_ms
    from {schema}.dead_letter d
    where d.consumer = v_is.id and d.generation = p_generation and d.part = p_part and d.state = 2;
  offers := coalesce(offer_ms, 1) = 0 or coalesce((select true from {schema}.consumer_release r
    where r.consumer = v_is.id and r.generation = p_generation and r.part = p_part limit 1), false);
end $$;

-- The keys that are parked in a part.
create function {schema}.held_keys(p_consumer int, p_generation bigint, p_part int) returns text[]
language plpgsql stable as $$
begin
  return array(select distinct d.entry_key from {schema}.dead_letter d
    where d.consumer = p_consumer and d.generation = p_generation and d.part = p_part and d.holds
      and d.entry_key is not null);
end $$;

-- Stops a generation at an entry: the part loses its owner. Of the live one, the consumer is halted; one that is paused stays so,
-- until somebody resumes it. The caller holds consumer and part; answers the log's item.
create function {schema}.halt_part(p_is {schema}.consumer, p_generation bigint, p_part int, p_position bigint, p_reason text)
returns {schema}.log_item language plpgsql volatile as $$
begin
  update {schema}.consumer_part p set halted = true, failed_position = p_position, retry_at = null, owner = null,
      lease_ms = null, expires_at = null, wanted_at = null, epoch = p.epoch + 1
    where p.consumer = p_is.id and p.generation = p_generation and p.part = p_part;
  if p_generation = p_is.generation then
    update {schema}.consumer c set state = case when c.state = 2 then 2 else 3 end,
        state_reason = case when c.state = 2 then c.state_reason else left(p_reason, 1000) end, version = c.version + 1,
        changed_at = clock_timestamp(), actor = ''
      where c.id = p_is.id;
  end if;
  perform {schema}.wake_consumers();
  return row(p_is.namespace, 90, null, null, null, null, null, null, jsonb_build_object('subject', p_is.name,
    'generation', p_generation, 'part', p_part, 'position', p_position, 'reason', left(p_reason, 1000)))::{schema}.log_item;
end $$;

-- Letters for parked entries: contents and failure as given, the rest from here. Those that are there already stay.
create function {schema}.insert_entry_letters(p_is {schema}.consumer, p_generation bigint, p_part int,
  p_letters {schema}.dead_letter[], p_follower boolean, p_now timestamptz) returns {schema}.dead_letter[]
language plpgsql volatile as $$
declare
  v_made {schema}.dead_letter[];
begin
  with made as (
    insert into {schema}.dead_letter as d (id, namespace, subject, reason, lane, type, flow, tags, input_type, input,
        failure_class, failure_code, message, details_type, details, fingerprint, attempts, first_failure_at,
        last_failure_at, created_at, event, event_id, event_type, consumer, consumer_name, generation, part, position,
        entry_key, follower, holds, entry, entry_execution)
      select {schema}.uuid_v7(), p_is.namespace, 3, 13, '', x.type, x.flow, coalesce(x.tags, '{}'), x.input_type, x.input,
        x.failure_class, x.failure_code, coalesce(x.message, ''), x.details_type, x.details,
        {schema}.fingerprint(x.type, x.failure_class, coalesce(x.message, '')), coalesce(x.attempts, 0), coalesce(x.first_failure_at, p_now), p_now,
        p_now, x.event, x.event_id, x.event_type, p_is.id, p_is.name, p_generation, p_part, x.position, x.entry_key,
        p_follower, true, x.entry, x.entry_execution
      from unnest(p_letters) x order by x.position
      on conflict (consumer, generation, part, position) where holds do nothing
      returning d)
    select array_agg(made.d order by (made.d).position) into v_made from made;
  return v_made;
end $$;

-- The log's items about letters of entries.
create function {schema}.entry_letter_items(p_kind smallint, p_letters {schema}.dead_letter[], p_more jsonb)
returns {schema}.log_item[] language plpgsql stable as $$
begin
  return array(select row(d.namespace, p_kind, null, d.flow, null, null, null, null, jsonb_build_object('letter', d.id,
      'consumer', d.consumer_name, 'generation', d.generation, 'part', d.part) || p_more)::{schema}.log_item
    from unnest(p_letters) d order by d.position);
end $$;

-- Before a part is read beyond these entries, in order: those whose key is parked are parked behind it, to be delivered again
-- once the position has passed them: a fetch that parked something does not wait for more. parked: per entry,
-- whether it is, now or before; the others are to be delivered, for their key has been let go. With more than the consumer
-- may hold, nothing is parked and the generation halts. verdict: parked | epoch | halted. A repeat parks nothing twice.
create function {schema}.park_entries(p_consumer int, p_generation bigint, p_part int, p_epoch bigint, p_owner text,
  p_letters {schema}.dead_letter[], out verdict text, out parked boolean[]) language plpgsql volatile as $$
declare
  v_is {schema}.consumer;
  v_keys text[];
  v_made {schema}.dead_letter[];
  v_now timestamptz;
begin
  select c.* into v_is from {schema}.consumer c where c.id = p_consumer for update;
  perform 1 from {schema}.consumer_part p where p.consumer = p_consumer and p.generation = p_generation
    and p.part = p_part and p.epoch = p_epoch and p.owner = p_owner for update;
  verdict := case when found then 'parked' else 'epoch' end;
  if verdict = 'epoch' then return; end if;
  v_now := clock_timestamp();
  v_keys := {schema}.held_keys(p_consumer, p_generation, p_part);
  parked := array(select coalesce(x.entry_key = any (v_keys), false)
    from unnest(p_letters) with ordinality x order by x.ordinality);
  v_made := array(select x from unnest(p_letters) x where x.entry_key = any (v_keys) and not exists (
    select from {schema}.dead_letter d where d.consumer = p_consumer and d.generation = p_generation and d.part = p_part
      and d.position = x.position and d.holds) order by x.position);
  if cardinality(v_made) = 0 then return; end if;
  if cardinality(v_made) + (select count(*) from {schema}.dead_letter d
      where d.consumer = p_consumer and d.generation = p_generation and d.holds) > v_is.max_parked then
    verdict := 'halted';
    parked := null;
    perform {schema}.append_items('{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', array[{schema}.halt_part(v_is,
      p_generation, p_part, v_made[1].position, 'more entries would be parked than max_parked allows')]);
    return;
  end if;
  v_made := {schema}.insert_entry_letters(v_is, p_generation, p_part, v_made, true, v_now);
  perform {schema}.append_items('{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}',
    {schema}.entry_letter_items(70::smallint, v_made, '{"reason":13,"follower":true}'));
end $$;

-- Parked entries that are to be delivered again, in the order of the log: of each key from its first one on while they are due,
-- and what holds no key. One that somebody redrives comes alone: its followers wait for what becomes of it. Followers whose
-- turn it is become REDRIVING. Up to p_bytes of entries, and at least one.
-- A crash leaves them REDRIVING, which they are for whoever comes next.
create function {schema}.offer_letters(p_consumer int, p_generation bigint, p_part int, p_epoch bigint, p_owner text,
  p_limit int, p_bytes int) returns table (id uuid, "position" bigint, entry bytea, tries int) language plpgsql volatile as $$
#variable_conflict use_column
declare
  v_part {schema}.consumer_part;
  v_now timestamptz;
  v_due uuid[];
  v_taken uuid[];
  v_moved {schema}.dead_letter[];
begin
  select p.* into v_part from {schema}.consumer_part p where p.consumer = p_consumer and p.generation = p_generation
    and p.part = p_part and p.epoch = p_epoch and p.owner = p_owner for update;
  if v_part.consumer is null then return; end if;
  v_now := clock_timestamp();
  -- Before the letters are read: what is told later is looked at later.
  delete from {schema}.consumer_release r
    where r.consumer = p_consumer and r.generation = p_generation and r.part = p_part;
  v_due := array(
    select x.id from (
      select d.id, d.position, bool_and(case when d.state = 2 then coalesce(d.retry_at, v_now) <= v_now
          else d.follower and d.position <= v_part.position end) over w
        and coalesce(bool_and(d.follower) over (w rows between unbounded preceding and 1 preceding), true) due
      from {schema}.dead_letter d
      where d.consumer = p_consumer and d.generation = p_generation and d.part = p_part and d.holds
      window w as (partition by coalesce(d.entry_key, d.id::text) order by d.position)
      union all
      select d.id, d.position, coalesce(d.retry_at, v_now) <= v_now from {schema}.dead_letter d
      where d.consumer = p_consumer and d.generation = p_generation and d.part = p_part and d.state = 2 and not d.holds) x
    where x.due order by x.position limit p_limit + 1);
  v_taken := array(select d.id from {schema}.dead_letter d
    where d.id = any (v_due) and d.state in (1, 2) order by d.id for update skip locked);
  -- What somebody else has in hand keeps back the later ones of its key.
  v_taken := array(
    select x.id from (
      select d.id, d.position, bool_and(d.id = any (v_taken) and (d.state = 2 or d.holds))
          over (partition by coalesce(d.entry_key, d.id::text) order by d.position) free,
        sum(octet_length(d.entry)) over (order by d.position) - octet_length(d.entry) before
      from {schema}.dead_letter d where d.id = any (v_due)) x
    where x.free and x.before < p_bytes order by x.position limit p_limit);
  with moved as (
    update {schema}.dead_letter d set state = 2, tries = 0, retry_at = null, version = d.version + 1
      where d.id = any (v_taken) and d.state <> 2 returning d) -- "= 1" would go through all that are open
    select array_agg(moved.d) into v_moved from moved;
  -- The others are looked for once these are done with, in whichever way.
  if cardinality(v_due) > cardinality(v_taken) then
    insert into {schema}.consumer_release (consumer, generation, part) values (p_consumer, p_generation, p_part);
  end if;
  if v_moved is not null then
    perform {schema}.append_items('{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}',
      {schema}.entry_letter_items(71::smallint, v_moved, '{}'));
  end if;
  return query select d.id, d.position, d.entry, d.tries from {schema}.dead_letter d
    where d.id = any (v_taken) order by d.position;
end $$;

-- What was parked on the way may have been let go before the position got there: it is looked at now.
create function {schema}.release_passed(p_consumer int, p_generation bigint, p_part int, p_from bigint, p_to bigint)
returns void language plpgsql volatile as $$
begin
  if coalesce((select true from {schema}.dead_letter d where d.consumer = p_consumer and d.generation = p_generation
      and d.part = p_part and d.holds and d.position > p_from and d.position <= p_to order by d.position limit 1), false) then
    insert into {schema}.consumer_release (consumer, generation, part) values (p_consumer, p_generation, p_part);
  end if;
end $$;

-- Moves a part's position by compare-and-set, and closes letters whose entries were delivered again. Letters that somebody
-- closed meanwhile are passed over. verdict: committed | duplicate | not_found | epoch | moved (position: where it stands) |
-- beyond (p_to lies beyond the head, or before p_from) | no_letter (one is not of this part). Nothing is changed by a refusal.
create function {schema}.commit_part(p_namespace int, p_consumer text, p_owner text, p_generation bigint, p_part int,
  p_epoch bigint, p_from bigint, p_to bigint, p_letters uuid[] default '{}', out verdict text, out "position" bigint,
  out expires_at timestamptz, out closed int) language plpgsql volatile as $$
#variable_conflict use_column
declare
  v_id int;
  v_part {schema}.consumer_part;
  v_letters {schema}.dead_letter[];
  v_now timestamptz;
begin
  closed := 0;
  select c.id into v_id from {schema}.consumer c where c.namespace = p_namespace and c.name = p_consumer;
  if v_id is null then
    verdict := 'not_found';
    return;
  end if;
  if p_to < p_from or p_to > coalesce((select r.base + r.n - 1 from {schema}.log_run r order by r.base desc limit 1), 0) then
    verdict := 'beyond';
    return;
  end if;
  if cardinality(p_letters) > 0 then
    v_letters := array(select d from {schema}.dead_letter d
      where d.id = any (p_letters) and d.namespace = p_namespace and d.consumer = v_id and d.generation = p_generation
        and d.part = p_part order by d.id for update);
    if cardinality(v_letters) < cardinality(p_letters) then
      verdict := 'no_letter';
      return;
    end if;
  end if;
  v_now := clock_timestamp();
  update {schema}.consumer_part p set position = p_to, came_from = case when p_to > p_from then p_from else p.came_from end,
      expires_at = least(v_now, coalesce(p.wanted_at, v_now)) + p.lease_ms * interval '1 ms',
      tries = case when p_to < p.failed_position then p.tries else 0 end,
      failed_position = case when p_to < p.failed_position then p.failed_position end,
      retry_at = case when p_to < p.failed_position then p.retry_at end
    where p.consumer = v_id and p.generation = p_generation and p.part = p_part and p.epoch = p_epoch
      and p.owner = p_owner and p.position = p_from
    returning p.* into v_part;
  if v_part.consumer is null then
    select p.* into v_part from {schema}.consumer_part p
      where p.consumer = v_id and p.generation = p_generation and p.part = p_part;
    "position" := v_part.position;
    expires_at := v_part.expires_at;
    verdict := case when v_part.owner is distinct from p_owner or v_part.epoch <> p_epoch then 'epoch'
      when v_part.position = p_to and v_part.came_from = p_from then 'duplicate' else 'moved' end;
    if verdict <> 'duplicate' or v_letters is null then return; end if;
  else
    verdict := 'committed';
    perform {schema}.release_passed(v_id, p_generation, p_part, p_from, p_to);
  end if;
  "position" := v_part.position;
  expires_at := v_part.expires_at;
  if v_letters is null then return; end if;
  with done as (
    update {schema}.dead_letter d set state = 3, resolution = 1, closed_at = v_now, holds = false, follower = false,
        retry_at = null, version = d.version + 1
      where d.id = any (p_letters) and d.state = 2 returning d)
    select array_agg(done.d) into v_letters from done;
  closed := coalesce(cardinality(v_letters), 0);
  if closed = 0 then
    verdict := case when p_from = p_to then 'duplicate' else verdict end;
    return;
  end if;
  insert into {schema}.consumer_release (consumer, generation, part) values (v_id, p_generation, p_part);
  perform {schema}.append_items('{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}',
    {schema}.entry_letter_items(72::smallint, v_letters, '{"resolution":1}'));
end $$;

-- Counts a failure of the entry after the position, or of one that was delivered again: it backs off, or the policy decides.
-- p_before: where the part stood when the entry was found to be its first. p_letter: contents and failure, p_retry_at: of a
-- rate limit, which counts nothing. verdict: retry (after retry_ms) | halted | parked (under letter) | not_found | epoch |
-- moved | no_letter. A repeat, known by the tries that it was delivered with, gets the first answer.
create function {schema}.fail_entry(p_namespace int, p_consumer text, p_owner text, p_generation bigint, p_part int,
  p_epoch bigint, p_before bigint, p_position bigint, p_previous_tries int, p_retry_at timestamptz,
  p_letter {schema}.dead_letter, p_redelivered uuid, out verdict text, out "position" bigint, out tries int,
  out retry_ms double precision, out letter uuid) language plpgsql volatile as $$
#variable_conflict use_column
declare
  c_permanent constant smallint := 2;
  c_rate_limited constant smallint := 3;
  v_is {schema}.consumer;
  v_part {schema}.consumer_part;
  v_letter {schema}.dead_letter;
  v_others uuid[];
  v_now timestamptz;
  v_counts boolean := p_letter.failure_class <> c_rate_limited;
  v_tries int;
  v_retry timestamptz;
  v_made {schema}.dead_letter[];
begin
  if p_redelivered is not null then
    select d.* into v_letter from {schema}.dead_letter d
      where d.id = p_redelivered and d.namespace = p_namespace for update;
  end if;
  select c.* into v_is from {schema}.consumer c where c.namespace = p_namespace and c.name = p_consumer for update;
  if v_is.id is null then
    verdict := 'not_found';
    return;
  end if;
  select p.* into v_part from {schema}.consumer_part p
    where p.consumer = v_is.id and p.generation = p_generation and p.part = p_part for update;
  v_now := clock_timestamp();
  "position" := v_part.position;
  if v_part.owner is distinct from p_owner or v_part.epoch <> p_epoch then
    verdict := case when v_part.halted and v_part.epoch = p_epoch + 1 and v_part.failed_position = p_position then 'halted'
      else 'epoch' end;
    tries := v_part.tries;
    return;
  end if;
  update {schema}.consumer_part p set expires_at = least(v_now, coalesce(p.wanted_at, v_now)) + p.lease_ms * interval '1 ms'
    where p.consumer = v_is.id and p.generation = p_generation and p.part = p_part;

  if p_redelivered is not null then
    if v_letter.id is null or (v_letter.consumer, v_letter.generation, v_letter.part, v_letter.position)
        is distinct from (v_is.id, p_generation, p_part, p_position) or v_letter.state = 3 then
      verdict := 'no_letter';
      return;
    end if;
    letter := v_letter.id;
    tries := v_letter.tries;
    if v_letter.state = 1 then
      verdict := 'parked';
      return;
    end if;
    if v_letter.tries > p_previous_tries then
      verdict := 'retry';
      retry_ms := greatest(0, extract(epoch from v_letter.retry_at - v_now) * 1000);
      return;
    end if;
    v_tries := v_letter.tries + v_counts::int;
    tries := v_tries;
    -- One that was opened again keeps nobody back.
    v_others := array(select d.id from {schema}.dead_letter d where v_letter.holds and d.consumer = v_is.id
      and d.generation = p_generation and d.part = p_part and d.entry_key = v_letter.entry_key and d.holds and d.state = 2
      and d.position > p_position order by d.position for update skip locked);
    if v_counts and (v_tries >= v_is.max_tries or p_letter.failure_class = c_permanent) then
      verdict := 'parked';
      update {schema}.dead_letter d set state = 1, version = d.version + 1 where d.id = any (v_others);
    else
      verdict := 'retry';
      v_retry := case when v_counts then v_now + least(v_is.max_backoff_ms,
          v_is.initial_backoff_ms * 2 ^ least(v_tries - 1, 40)) * interval '1 ms' else coalesce(p_retry_at, v_now) end;
      retry_ms := greatest(0, extract(epoch from v_retry - v_now) * 1000);
      update {schema}.dead_letter d set retry_at = v_retry where d.id = any (v_others);
    end if;
    update {schema}.dead_letter d set state = case when verdict = 'parked' then 1 else 2 end, follower = false,
        tries = case when verdict = 'parked' then 0 else v_tries end, retry_at = v_retry, attempts = d.attempts + 1,
        last_failure_at = v_now, failure_class = p_letter.failure_class, failure_code = p_letter.failure_code,
        message = coalesce(p_letter.message, ''), details_type = p_letter.details_type, details = p_letter.details,
        fingerprint = {schema}.fingerprint(d.type, p_letter.failure_class, coalesce(p_letter.message, '')),
        version = d.version + (verdict = 'parked')::int
      where d.id = v_letter.id returning d.* into v_letter;
    if verdict = 'parked' then
      perform {schema}.append_items('{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}',
        {schema}.entry_letter_items(73::smallint, array[v_letter], '{"reason":13}'));
    end if;
    return;
  end if;

  if v_part.position >= p_position then
    select d.id into letter from {schema}.dead_letter d where d.consumer = v_is.id and d.generation = p_generation
      and d.part = p_part and d.position = p_position and d.holds;
    verdict := case when letter is null then 'moved' else 'parked' end;
    return;
  end if;
  if v_part.position <> p_before then
    verdict := 'moved';
    return;
  end if;
  v_tries := case when v_part.failed_position = p_position then v_part.tries else 0 end;
  if v_tries > p_previous_tries then
    verdict := 'retry';
    tries := v_tries;
    retry_ms := greatest(0, extract(epoch from v_part.retry_at - v_now) * 1000);
    return;
  end if;
  v_tries := v_tries + v_counts::int;
  tries := v_tries;
  update {schema}.consumer_part p set tries = v_tries, failed_position = p_position,
      failure_class = p_letter.failure_class, failure_code = p_letter.failure_code, message = p_letter.message,
      details_type = p_letter.details_type, details = p_letter.details
    where p.consumer = v_is.id and p.generation = p_generation and p.part = p_part;
  if not v_counts or (v_tries < v_is.max_tries and p_letter.failure_class <> c_permanent) then
    verdict := 'retry';
    v_retry := case when v_counts then v_now + least(v_is.max_backoff_ms,
        v_is.initial_backoff_ms * 2 ^ least(v_tries - 1, 40)) * interval '1 ms' else coalesce(p_retry_at, v_now) end;
    retry_ms := greatest(0, extract(epoch from v_retry - v_now) * 1000);
    update {schema}.consumer_part p set retry_at = v_retry
      where p.consumer = v_is.id and p.generation = p_generation and p.part = p_part;
    return;
  end if;
  if not v_is.parks or (select count(*) from {schema}.dead_letter d
      where d.consumer = v_is.id and d.generation = p_generation and d.holds) >= v_is.max_parked then
    verdict := 'halted';
    perform {schema}.append_items('{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', array[{schema}.halt_part(v_is,
      p_generation, p_part, p_position, case when v_is.parks then 'more entries would be parked than max_parked allows: ' else '' end
        || coalesce(p_letter.message, ''))]);
    return;
  end if;
  verdict := 'parked';
  p_letter.position := p_position;
  p_letter.attempts := v_tries;
  v_made := {schema}.insert_entry_letters(v_is, p_generation, p_part, array[p_letter], false, v_now);
  letter := (v_made[1]).id;
  update {schema}.consumer_part p set position = p_position, came_from = p_before, tries = 0, failed_position = null,
      retry_at = null
    where p.consumer = v_is.id and p.generation = p_generation and p.part = p_part;
  perform {schema}.release_passed(v_is.id, p_generation, p_part, p_before, p_position - 1);
  "position" := p_position;
  perform {schema}.append_items('{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', {schema}.entry_letter_items(70::smallint, v_made, '{"reason":13}')
    || row(v_is.namespace, 91, null, p_letter.flow, null, null, null, null, jsonb_build_object('subject', v_is.name,
      'generation', p_generation, 'part', p_part, 'position', p_position, 'letter', letter,
      'reason', left(p_letter.message, 1000)))::{schema}.log_item);
end $$;

-- Has exactly this parked entry delivered again. The key of the request stands for the letter. verdict: redriven |
-- duplicate | reused | not_found | conflict (with the present version) | wrong_state (with the present state) | follower (an
-- earlier letter of its key is in the way) | no_generation (whoever parked it was replaced). Of a crash nothing is left.
create function {schema}.redrive_entry(p_namespace int, p_letter uuid, p_request_id text, p_hash bytea, p_expected bigint,
  p_actor text, p_note text, out verdict text, out version bigint, out state int) language plpgsql volatile as $$
#variable_conflict use_column
declare
  v_letter {schema}.dead_letter;
  v_key record;
  v_now timestamptz;
begin
  select d.* into v_letter from {schema}.dead_letter d
    where d.id = p_letter and d.namespace = p_namespace and d.subject = 3 for update;
  v_now := clock_timestamp();
  version := v_letter.version;
  state := v_letter.state;
  if v_letter.id is null then
    verdict := 'not_found';
    return;
  end if;
  if p_request_id is not null then
    select k.execution, k.hash into v_key from {schema}.request_key k
      where k.namespace = p_namespace and k.request_id = p_request_id;
    if v_key.execution is not null then
      verdict := case when v_key.hash = p_hash then 'duplicate' else 'reused' end;
      return;
    end if;
  end if;
  verdict := case when p_expected not in (0, version) then 'conflict' when state <> 1 then 'wrong_state'
    when not exists (select from {schema}.consumer_generation g
      where g.consumer = v_letter.consumer and g.generation = v_letter.generation) then 'no_generation'
    when v_letter.holds and exists (select from {schema}.dead_letter d
      where d.consumer = v_letter.consumer and d.generation = v_letter.generation and d.part = v_letter.part
        and d.entry_key = v_letter.entry_key and d.holds and d.position < v_letter.position) then 'follower' end;
  if verdict is not null then return; end if;
  if p_request_id is not null then
    insert into {schema}.request_key (namespace, request_id, execution, hash, created_at)
      values (p_namespace, p_request_id, p_letter, p_hash, v_now) on conflict do nothing;
    if not found then
      verdict := 'reused';
      return;
    end if;
  end if;
  update {schema}.dead_letter d set state = 2, follower = false, tries = 0, retry_at = null, redrives = d.redrives + 1,
      last_redrive_at = v_now, actor = p_actor, note = p_note, version = d.version + 1
    where d.id = p_letter returning d.version, d.state::int into version, state;
  insert into {schema}.consumer_release (consumer, generation, part)
    values (v_letter.consumer, v_letter.generation, v_letter.part);
  perform {schema}.wake_consumers();
  verdict := 'redriven';
  perform {schema}.append_items('{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', {schema}.entry_letter_items(71::smallint,
    array[v_letter], jsonb_build_object('actor', p_actor, 'reason', p_note)));
end $$;

-- As before, and what was parked behind a closed one is let go.
create or replace function {schema}.resolve_letters(p_namespace int, p_id uuid[], p_expected bigint[], p_resolution smallint,
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
        note = p_note, version = d.version + 1, holds = false, follower = false
      from unnest(p_id, p_expected) u (id, expected)
      where d.id = any (p_id) and d.namespace = p_namespace and d.id = u.id and d.state not in (2, 3)
        and u.expected in (0, d.version)
      returning d)
    select array_agg(closed.d order by (closed.d).id) into v_closed from closed;
  -- Whoever it blocked goes on right after.
  insert into {schema}.follow_up (kind, subject) select distinct 7, c.gate from unnest(v_closed) c where c.gate is not null;
  insert into {schema}.consumer_release (consumer, generation, part)
    select distinct c.consumer, c.generation, c.part from unnest(v_closed) c where c.consumer is not null;
  if found then perform {schema}.wake_consumers(); end if;
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
