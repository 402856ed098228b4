-- Bulk redrives: many letters are run again, at a rate, after a canary.
--
-- What is selected is written down where it begins: an item per letter that is OPEN then, with its version, so that what
-- changes meanwhile is passed over, and what opens meanwhile is not touched. An item is marked in the transaction that runs
-- its letter again; a crash between any two statements leaves either both or neither.
-- One process at a time works on a redrive: the one whose lease is in its row, which also holds the pace. So the rate is kept
-- whoever works, and whatever stands still is not made up for at once.
-- How a letter ended is marked at its item by a trigger, whoever ended it, and summed up afterwards: no row that is shared is
-- written by those ends. Lock order: redrive → flow → dead letter → item.
-- Locks: a short ACCESS EXCLUSIVE lock on dead_letter, for triggers. older-servers: refused

create table {schema}.redrive (
  id uuid not null primary key,
  namespace int not null,
  request_id text,
  state smallint not null check (state between 1 and 4), -- canary, running, stopped, finished
  settled boolean not null default false, -- it has ended, and everything it started has
  filter jsonb not null, -- as asked for, like all that follows
  rate int not null check (rate between 1 and 1000),
  canary int not null check (canary >= 0),
  canary_max_failures int not null check (canary_max_failures >= 1),
  max_count bigint not null check (max_count >= 0),
  detached boolean not null,
  lane text,
  patch_type text,
  patch bytea,
  actor text not null,
  note text not null,
  selected int not null,
  -- Sums over its items, but for the ends that are not counted yet.
  started int not null default 0,
  skipped int not null default 0,
  succeeded int not null default 0,
  failed int not null default 0,
  runner uuid not null default '00000000-0000-0000-0000-000000000000', -- the process that works on it
  runner_until timestamptz not null default '-infinity',
  reached uuid not null default '00000000-0000-0000-0000-000000000000', -- letters up to here were looked at in this round
  first_round boolean not null default true, -- the later ones are for those that were held
  allowance double precision not null default 0, -- redrives that may be made, as of paced_at
  paced_at timestamptz not null,
  told_at timestamptz not null, -- the last entry of its progress, and the sum of the counts in it
  told int not null default 0,
  created_at timestamptz not null,
  ended_at timestamptz,
  stop_reason text not null default '',
  check ((state in (3, 4)) = (ended_at is not null)),
  check (state in (3, 4) or not settled)
) with (fillfactor = 50);
create index redrive_unsettled on {schema}.redrive (id) where not settled;
create index redrive_settled on {schema}.redrive (ended_at) where settled;

create table {schema}.redrive_item (
  redrive uuid not null,
  letter uuid not null,
  version bigint not null, -- of the letter when it was selected
  state smallint not null default 0 check (state between 0 and 5), -- waits, runs, succeeded, failed, passed over, was held
  counted boolean not null default false, -- its end is in the sums
  execution uuid, -- the run that was made for it
  primary key (redrive, letter)
);
create index redrive_item_held on {schema}.redrive_item (redrive, letter) where state = 5;
create index redrive_item_ended on {schema}.redrive_item (redrive, letter) where state in (2, 3) and not counted;

-- Whoever ends a redrive of a bulk one, in whichever way, ends its item with it.
create function {schema}.end_redrive_item() returns trigger language plpgsql volatile as $$
begin
  update {schema}.redrive_item i set state = case when new.state = 3 and new.resolution = 1 then 2 else 3 end
    where i.redrive = old.redrive and i.letter = old.id and i.state = 1;
  return null;
end $$;
create trigger dead_letter_redriven after update on {schema}.dead_letter for each row
  when (old.state = 2 and new.state <> 2 and old.redrive is not null) execute function {schema}.end_redrive_item();

-- A redrive of its own: it belongs to no bulk one, unless that says so.
create function {schema}.leave_redrive() returns trigger language plpgsql volatile as $$
begin
  new.redrive := null;
  return new;
end $$;
create trigger dead_letter_redriving before update on {schema}.dead_letter for each row
  when (old.state <> 2 and new.state = 2 and new.redrive = old.redrive) execute function {schema}.leave_redrive();

-- An entry about a bulk redrive. Details: subject (its id), selected, started, skipped, succeeded, failed, and what the
-- caller adds.
create function {schema}.log_redrive(p_kind smallint, p_redrive {schema}.redrive, p_more jsonb) returns void
language plpgsql volatile as $$
begin
  perform {schema}.append_log(array[p_redrive.namespace], array[p_kind], array[null::uuid], array[null::uuid],
    array[null::int], array[null::smallint], array[null::smallint], array[null::int], array[(jsonb_build_object(
      'subject', p_redrive.id, 'selected', p_redrive.selected, 'started', p_redrive.started, 'skipped', p_redrive.skipped,
      'succeeded', p_redrive.succeeded, 'failed', p_redrive.failed) || p_more)::text]);
end $$;

-- Stops one. verdict: stopped | already (it has stopped or finished) | not_found. What it has started goes on.
create function {schema}.stop_redrive(p_namespace int, p_redrive uuid, p_reason text) returns text
language plpgsql volatile as $$
declare
  v_redrive {schema}.redrive;
begin
  select r.* into v_redrive from {schema}.redrive r where r.id = p_redrive and r.namespace = p_namespace for update;
  if v_redrive.id is null then return 'not_found'; end if;
  if v_redrive.state in (3, 4) then return 'already'; end if;
  update {schema}.redrive r set state = 3, ended_at = clock_timestamp(), stop_reason = p_reason where r.id = p_redrive;
  perform {schema}.log_redrive(82::smallint, v_redrive, jsonb_build_object('reason', p_reason));
  return 'stopped';
end $$;

-- A step of one, up to where its letters are run again: counts what has ended, decides what follows of it, and takes as many
-- letters as its rate permits by now, locked. verdict: work | wait | ended | busy (another process works on it). wait_ms:
-- when to look again. Per letter: fate is open, changed (or gone), canceled (its flow is), or held (by somebody: later);
-- flow is the one it stands in, and held; run the one whose place the new one takes.
-- p_most: letters taken at most; p_bytes: of inputs, about. What is taken must be counted in this transaction (count_redrive).
create function {schema}.hold_redrive(p_redrive uuid, p_runner uuid, p_most int, p_bytes bigint, out verdict text,
  out wait_ms double precision, out namespace int, out lane text, out detached boolean, out patch bytea, out actor text,
  out note text, out letters uuid[], out versions bigint[], out subjects int[], out fates text[], out flows uuid[],
  out runs uuid[]) language plpgsql volatile
-- Items are read in order from where the last step ended; with a bitmap, all of them would be, at each step.
set enable_bitmapscan = off as $$
#variable_conflict use_column
declare
  c_lease constant interval := '2 s';
  c_tick constant double precision := 50; -- ms between steps
  c_members constant int := 32; -- of flows, each of which takes a few milliseconds, taken at once
  c_canary constant double precision := 200; -- ms between looks at a canary
  c_nowhere constant uuid := '00000000-0000-0000-0000-000000000000';
  v_now timestamptz;
  r {schema}.redrive;
  v_ended record;
  v_take int;
  v_ms double precision;
  v_flows uuid[];
begin
  select x.* into r from {schema}.redrive x where x.id = p_redrive and not x.settled for update skip locked;
  v_now := clock_timestamp();
  if r.id is null or (r.runner <> p_runner and r.runner_until > v_now) then
    verdict := 'busy';
    return;
  end if;
  namespace := r.namespace;
  lane := r.lane;
  detached := r.detached;
  patch := r.patch;
  actor := r.actor;
  note := r.note;
  with ended as (
      select i.letter, i.state from {schema}.redrive_item i
      where i.redrive = p_redrive and i.state in (2, 3) and not i.counted order by i.letter limit 10000 for update skip locked),
    counted as (
      update {schema}.redrive_item i set counted = true
        where i.redrive = p_redrive and i.letter = any (array(select e.letter from ended e)))
    select count(*) filter (where e.state = 2) succeeded, count(*) filter (where e.state = 3) failed into v_ended from ended e;
  r.succeeded := r.succeeded + v_ended.succeeded;
  r.failed := r.failed + v_ended.failed;
  r.runner := p_runner;
  r.runner_until := v_now + c_lease;
  if r.state = 1 and r.failed >= r.canary_max_failures then
    r.state := 3;
    r.stop_reason := format('%s of the first %s failed again', r.failed, r.started);
  elsif r.state = 1 and r.started >= r.canary and r.succeeded + r.failed = r.started then
    r.state := 2;
    r.allowance := 0;
    r.paced_at := v_now;
  end if;
  -- Up to a second's worth is saved up, and made up for at no more than twice the rate; also when steps take longer than a tick.
  v_ms := greatest(0, extract(epoch from v_now - r.paced_at)) * 1000;
  r.allowance := least(r.rate, r.allowance + r.rate * v_ms / 1000);
  r.paced_at := v_now;
  v_take := case r.state when 1 then least(floor(r.allowance), r.canary - r.started) when 2 then floor(r.allowance) else 0 end;
  v_take := least(v_take, p_most, greatest(1, ceil(r.rate * 2 * least(v_ms, 3 * c_tick) / 1000)));
  if v_take >= 1 then
    for i in 1 .. 2 loop
      select array_agg(x.letter order by x.letter), array_agg(x.version order by x.letter) into letters, versions
        from (
          select y.letter, y.version, sum(y.bytes) over w - y.bytes before, sum(y.member) over w - y.member members
          from (
            select z.letter, z.version, coalesce(d.bytes, 0) bytes, coalesce(d.member, 0) member
            from (
              (select i.letter, i.version from {schema}.redrive_item i
                where i.redrive = p_redrive and i.state = 0 and i.letter > r.reached and r.first_round
                order by i.letter limit v_take)
              union all
              (select i.letter, i.version from {schema}.redrive_item i
                where i.redrive = p_redrive and i.state = 5 and i.letter > r.reached and not r.first_round
                order by i.letter limit v_take)) z
            left join lateral (
              select octet_length(o.input) bytes, (o.flow is not null and not r.detached)::int member
              from {schema}.dead_letter o where o.id = z.letter offset 0) d on true) y
          window w as (order by y.letter)) x
        where x.before < p_bytes and x.members < c_members;
      exit when letters is not null or r.reached = c_nowhere;
      r.reached := c_nowhere;
      r.first_round := false;
    end loop;
    if letters is null and (r.state = 2 or r.succeeded + r.failed = r.started) then r.state := 4; end if;
  end if;
  if r.state in (3, 4) then
    r.ended_at := coalesce(r.ended_at, v_now);
    r.settled := r.succeeded + r.failed = r.started;
  end if;
  verdict := case when r.state in (3, 4) then 'ended' when letters is null then 'wait' else 'work' end;
  wait_ms := case when r.state = 1 and letters is null and (v_take >= 1 or r.started >= r.canary) then c_canary
    else greatest(c_tick, (1 - r.allowance) * 1000 / r.rate) end;
  update {schema}.redrive x set state = r.state, settled = r.settled, succeeded = r.succeeded, failed = r.failed,
      runner = r.runner, runner_until = r.runner_until, reached = r.reached, first_round = r.first_round, allowance = r.allowance, paced_at = r.paced_at,
      ended_at = r.ended_at, stop_reason = r.stop_reason
    where x.id = p_redrive;
  if verdict = 'work' then
    if not r.detached then
      select array_agg(x.id) into v_flows from (
        select f.id from {schema}.flow f
        where f.id = any (array(
          select d.flow from unnest(letters) u (id)
          cross join lateral (select y.flow, y.subject from {schema}.dead_letter y where y.id = u.id offset 0) d
          where d.flow is not null and d.subject in (1, 2)))
        order by f.id for update skip locked) x;
    end if;
    select array_agg(x.subject order by x.n), array_agg(x.fate order by x.n), array_agg(x.flow order by x.n),
        array_agg(x.run order by x.n)
      into subjects, fates, flows, runs
      from {schema}.look_at_letters(letters, versions, r.detached, v_flows) x;
  elsif (r.ended_at = v_now and r.state = 3) then
    perform {schema}.log_redrive(82::smallint, r, jsonb_build_object('reason', r.stop_reason));
  elsif (r.ended_at = v_now and r.state = 4) then
    perform {schema}.log_redrive(83::smallint, r, '{}');
  else
    perform {schema}.tell_redrive(p_redrive);
  end if;
end $$;

-- Locks letters that are to be run again, as far as nobody has them, and tells what stands in the way of the others. p_held:
-- their flows that the caller holds. A row per letter, in order.
create function {schema}.look_at_letters(p_letter uuid[], p_version bigint[], p_detached boolean, p_held uuid[])
returns table (n int, subject int, fate text, flow uuid, run uuid) language plpgsql volatile as $$
#variable_conflict use_column
declare
  v_locked uuid[];
begin
  select array_agg(x.id) into v_locked from (
    select d.id from {schema}.dead_letter d where d.id = any (p_letter) order by d.id for update skip locked) x;
  return query
    select u.n::int, d.subject::int,
      case when d.id is null then 'changed' when not u.letter = any (coalesce(v_locked, '{}')) then 'held'
        when d.state <> 1 or d.version <> u.version then 'changed'
        when f.id is not null and not f.id = any (coalesce(p_held, '{}')) then 'held'
        when f.canceled_at is not null then 'canceled' else 'open' end,
      f.id, case when f.id is null then coalesce(d.last_execution, d.execution) else coalesce(m.id, d.execution) end
    from unnest(p_letter, p_version) with ordinality u (letter, version, n)
    left join lateral (
      select y.* from {schema}.dead_letter y where y.id = u.letter offset 0) d on true
    left join lateral (select y.id, y.canceled_at from {schema}.flow y
      where not p_detached and d.subject in (1, 2) and y.id = d.flow offset 0) f on true
    -- The last run that was a member: a detached one in between has no place in the graph.
    left join lateral (
      select max(z.id::text)::uuid id from (
        select y.id, y.flow from {schema}.execution y where f.id is not null and y.letter = d.id offset 0) z
      where z.flow = f.id) m on true
    order by u.n;
end $$;

-- Letters whose redrives are made: REDRIVING, with the run that was made for each and the input it was given in place of the
-- original (p_at and p_length in p_edited; null: the original). They are the caller's. Details of the entries: letter,
-- redrive (the run), bulk, actor, reason.
create function {schema}.mark_redriving(p_redrive uuid, p_letter uuid[], p_execution uuid[], p_type text[], p_at int[],
  p_length int[], p_edited bytea, p_actor text, p_note text) returns void language plpgsql volatile as $$
declare
  v_moved {schema}.dead_letter[];
begin
  with moved as (
      update {schema}.dead_letter d set state = 2, redrives = d.redrives + 1, last_redrive_at = clock_timestamp(),
          last_execution = u.execution, edited_type = u.type,
          edited = case when u.type is not null then substring(p_edited from u.at + 1 for u.length) end,
          actor = p_actor, note = p_note, version = d.version + 1, redrive = p_redrive
        from unnest(p_letter, p_execution, p_type, p_at, p_length) u (letter, execution, type, at, length)
        where d.id = any (p_letter) and d.id = u.letter returning d)
    select array_agg(moved.d order by (moved.d).id) into v_moved from moved;
  perform {schema}.append_log(array_agg(d.namespace order by d.id), array_agg(71::smallint), array_agg(d.execution order by d.id),
      array_agg(d.flow order by d.id), array_agg(e.class order by d.id), array_agg(null::smallint), array_agg(null::smallint),
      array_agg(null::int), array_agg(jsonb_build_object('letter', d.id, 'redrive', d.last_execution, 'bulk', p_redrive,
        'actor', p_actor, 'reason', p_note)::text order by d.id))
    from unnest(v_moved) d
    cross join lateral (select x.class from {schema}.execution x where x.id = d.last_execution offset 0) e
    having count(*) > 0;
end $$;

-- Counts what became of letters that were taken: 1 it runs, 4 passed over, 5 held, so later. p_reached: the last of them.
create function {schema}.count_redrive(p_redrive uuid, p_letter uuid[], p_state smallint[], p_execution uuid[], p_reached uuid)
returns void language plpgsql volatile as $$
declare
  v_done record;
begin
  with done as (
      update {schema}.redrive_item i set state = u.state, execution = u.execution
        from unnest(p_letter, p_state, p_execution) u (letter, state, execution)
        where i.redrive = p_redrive and i.letter = any (p_letter) and i.letter = u.letter and i.state in (0, 5)
        returning i.state)
    select count(*) filter (where d.state = 1) started, count(*) filter (where d.state = 4) skipped into v_done from done d;
  update {schema}.redrive r set started = r.started + v_done.started, skipped = r.skipped + v_done.skipped,
      allowance = r.allowance - v_done.started, reached = p_reached
    where r.id = p_redrive;
  perform {schema}.tell_redrive(p_redrive);
end $$;

-- An entry of its progress, at most one a second. Its row is the caller's.
create function {schema}.tell_redrive(p_redrive uuid) returns void language plpgsql volatile as $$
declare
  v_redrive {schema}.redrive;
begin
  update {schema}.redrive r set told_at = clock_timestamp(), told = r.started + r.skipped + r.succeeded + r.failed
    where r.id = p_redrive and r.state in (1, 2) and r.told < r.started + r.skipped + r.succeeded + r.failed
      and r.told_at <= clock_timestamp() - interval '1 s'
    returning r.* into v_redrive;
  if v_redrive.id is not null then perform {schema}.log_redrive(81::smallint, v_redrive, '{}'); end if;
end $$;

-- Forgets a batch of what belongs to redrives that ended longer ago than p_kept_ms, request ids included. Answers how many rows
-- went.
create function {schema}.retire_redrives(p_kept_ms bigint, p_limit int) returns int language plpgsql volatile as $$
declare
  v_redrive uuid;
  v_gone int;
begin
  select r.id into v_redrive from {schema}.redrive r
    where r.settled and r.ended_at < clock_timestamp() - p_kept_ms * interval '1 ms'
    order by r.ended_at limit 1 for update skip locked;
  if v_redrive is null then return 0; end if;
  with gone as (
      delete from {schema}.redrive_item i where i.redrive = v_redrive and i.letter = any (array(
        select y.letter from {schema}.redrive_item y where y.redrive = v_redrive order by y.letter limit p_limit))
      returning 1)
    select count(*) into v_gone from gone;
  if v_gone < p_limit then
    with gone as (delete from {schema}.redrive r where r.id = v_redrive returning r.namespace, r.request_id)
      delete from {schema}.request_key k using gone g
        where k.namespace = g.namespace and k.request_id = g.request_id and k.execution = v_redrive;
    v_gone := v_gone + 1;
  end if;
  return v_gone;
end $$;
