-- Claims under limits: quotas of lanes and namespaces, and budgets that are used up.
--
-- Lock, count, claim: three statements of one function. The quota's row is locked first, its leases are counted in a new
-- statement, and no more is claimed than is free (in one statement 10 ran at limit 5). A lane whose quota another claim has
-- locked is passed over. What counts are the leases: completions touch nothing, and a crash leaks nothing.
-- A rate is the number of starts in the window before now. Starts closer than a 64th of the window share a bucket, which
-- counts until its last start has left the window: a sliding window is never overshot, and rarely 2 % underused.
-- Locks: creates only. older-servers: refused
alter type {schema}.granted add attribute joins_children boolean, add attribute resume_cause smallint,
  add attribute released_at timestamptz, add attribute concurrency_key text;

-- What quotas leave free now; the caller holds their rows. retry_ms: until a start leaves a window that is full.
create function {schema}.quota_room(p_namespace int, p_lane int[], p_now timestamptz)
returns table (lane int, room int, retry_ms double precision, rated boolean, by_rate boolean) language plpgsql stable as $$
#variable_conflict use_column
begin
  return query select q.lane, greatest(0, least(q.max_running - r.running, q.max_starts - s.starts))::int,
    case when q.max_starts <= s.starts then extract(epoch from s.first - p_now)::double precision * 1000 + q.window_ms end,
    q.max_starts is not null, coalesce(q.max_starts <= s.starts, false) and coalesce(q.max_running > r.running, true)
  from {schema}.quota q
  cross join lateral (
    select case when q.max_running is null then null when q.lane = 0 then (
        select count(*) from {schema}.lease l where l.limited and l.namespace = q.namespace)
      else (
        select count(*) from {schema}.claim_class c
        cross join lateral (
          select from {schema}.lease l where l.limited and l.namespace = q.namespace and l.class = c.id offset 0) x
        where c.lane = q.lane) end running) r
  cross join lateral (
    select coalesce(sum(b.n), 0) starts, min(b.at) first from unnest(q.started_at, q.started) b (at, n)
    where b.at > p_now - q.window_ms * interval '1 ms') s
  where q.namespace = p_namespace and q.lane = any (p_lane) and (q.max_running is not null or q.max_starts is not null);
end $$;

-- Remembers starts in the windows of these quotas; the caller holds their rows.
create function {schema}.count_starts(p_namespace int, p_lane int[], p_n int[], p_now timestamptz) returns void
language plpgsql volatile as $$
declare
  v_quota {schema}.quota;
  v_last int;
  v_first int;
  v_slot double precision;
begin
  for v_quota in
    select q.* from {schema}.quota q where q.namespace = p_namespace and q.lane = any (p_lane) and q.max_starts is not null
  loop
    v_last := cardinality(v_quota.started);
    v_slot := v_quota.window_ms / 64000.0;
    if v_last > 0
        and floor(extract(epoch from v_quota.started_at[v_last]) / v_slot) = floor(extract(epoch from p_now) / v_slot) then
      v_quota.started_at[v_last] := p_now;
      v_quota.started[v_last] := v_quota.started[v_last] + p_n[array_position(p_lane, v_quota.lane)];
    else
      v_last := v_last + 1;
      v_quota.started_at[v_last] := p_now;
      v_quota.started[v_last] := p_n[array_position(p_lane, v_quota.lane)];
    end if;
    v_first := 1;
    while v_quota.started_at[v_first] <= p_now - v_quota.window_ms * interval '1 ms' loop v_first := v_first + 1; end loop;
    update {schema}.quota q set started_at = v_quota.started_at[v_first:v_last], started = v_quota.started[v_first:v_last]
      where q.namespace = p_namespace and q.lane = v_quota.lane;
  end loop;
end $$;

drop function {schema}.grant_leases({schema}.ready[], int, text, text, bigint, bigint);
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
      (case when r.resume then coalesce(p.cause, 4) end)::smallint, coalesce(p.released_at, r.ready_at), e.concurrency_key
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
      select y.id from {schema}.barrier y where y.downstream = case when r.flow is not null then r.execution end and y.kind = 1
      limit 1) b on true
    order by r.token;
  perform {schema}.append_log(array_fill(p_namespace, array[v_n]), array_fill(20::smallint, array[v_n]),
    array_agg(r.execution), array_agg(r.flow), array_agg(r.class), array_fill(3::smallint, array[v_n]),
    array_fill(4::smallint, array[v_n]), array_agg(r.attempt + (not r.resume)::int),
    array_agg('{"worker":' || to_json(p_worker_name)::text || case when r.resume then ',"resumed":true}' else '}' end))
    from unnest(p_rows) r;
end $$;

drop function {schema}.claim(int[], int[], real[], smallint[], bigint[], smallint[], int, bigint, int, text, text, bigint,
  bigint);

-- Work of used-up budgets that a claim took out of line waits for them instead. The rows of `spent` are held, so that a budget
-- that comes back meanwhile finds what was put there. Answers what is not spent after all, or cannot be told at this moment.
create function {schema}.hold_back_spent(p_rows {schema}.ready[], p_namespace int, p_now timestamptz, out kept {schema}.ready[],
  out unclear {schema}.ready[]) language plpgsql volatile as $$
declare
  v_matched uuid[];
  v_execution uuid[];
  v_budget uuid[];
begin
  select array_agg(distinct r.execution) into v_matched from unnest(p_rows) r
    cross join lateral (
      select s.budget from {schema}.spent s
      where s.namespace = p_namespace and s.kind = 4 and s.lane = 0 and s.subject = r.execution
      union all
      select s.budget from {schema}.spent s
      where s.namespace = p_namespace and s.kind = 3 and s.lane = 0 and s.subject = r.flow) x;
  if v_matched is null then
    kept := p_rows;
    return;
  end if;
  select array_agg(x.execution), array_agg(x.budget) into v_execution, v_budget from (
    select r.execution, y.budget from unnest(p_rows) r
    cross join lateral (
      select s.budget from {schema}.spent s
      where s.namespace = p_namespace and s.kind in (3, 4) and s.lane = 0 and s.subject in (r.execution, r.flow)
      for share skip locked) y
    where r.execution = any (v_matched)) x;
  insert into {schema}.blocked (execution, state, waits_for, blocked_at, class, priority, kind, attempt, failures, reclaims,
      timeout_ms, start_by, deadline, redrive, flow, linked, resume, gate, budget)
    select distinct on (r.execution) r.execution, 1, 3, p_now, r.class, -r.priority, r.kind, r.attempt, r.failures, r.reclaims,
      r.timeout_ms, r.start_by, r.deadline, r.redrive, r.flow, r.linked, r.resume, r.gate, u.budget
    from unnest(p_rows) r join unnest(v_execution, v_budget) u (execution, budget) on u.execution = r.execution;
  if v_execution is not null then
    insert into {schema}.follow_up (kind, subject)
      select distinct 7, r.gate from unnest(p_rows) r where r.gate is not null and r.execution = any (v_execution);
    perform {schema}.append_log(array_agg(p_namespace), array_agg(2::smallint), array_agg(r.execution), array_agg(r.flow),
        array_agg(r.class), array_agg(3::smallint), array_agg(1::smallint), array_agg(r.attempt),
        array_agg('{"cause":"budget"}'::text))
      from unnest(p_rows) r where r.execution = any (v_execution);
  end if;
  select array_agg(r) filter (where not r.execution = any (v_matched)),
      array_agg(r) filter (where r.execution = any (v_matched) and (v_execution is null or not r.execution = any (v_execution)))
    into kept, unclear from unnest(p_rows) r;
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
create function {schema}.claim(p_class int[], p_lane int[], p_weight real[], p_from_priority smallint[], p_from_seq bigint[],
  p_to_priority smallint[], p_limit int, p_bytes bigint, p_namespace int, p_worker text, p_worker_name text,
  p_lease_ms bigint, p_begin_ms bigint)
returns table (retry_ms int, claim {schema}.granted) language plpgsql volatile as $$
declare
  c_rounds constant int := 10; -- of taking work out of line that no budget lets start
  v_now timestamptz := clock_timestamp();
  v_rows {schema}.ready[];
  v_fits int;
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
  -- fit goes back to its old place, which nobody has seen empty.
  select count(*) into v_fits from (
    select sum(e.size) over (order by r.ordinality) total, r.ordinality from unnest(v_rows) with ordinality r
    cross join lateral (select octet_length(input) size from {schema}.execution where id = r.execution offset 0) e) s
    where s.ordinality = 1 or coalesce(s.total, 0) <= p_bytes;
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

-- Leases of limited lanes (0: of the namespace) count in their quotas from now on.
create function {schema}.mark_limited(p_namespace int, p_lane int[]) returns void language plpgsql volatile as $$
begin
  update {schema}.lease l set limited = true
    where not l.limited and l.namespace = p_namespace
      and (0 = any (p_lane) or l.class = any (array(select c.id from {schema}.claim_class c where c.lane = any (p_lane))));
end $$;

drop function {schema}.claim_one(uuid, int, text[], text, text, bigint, bigint);
-- Claims one named execution; waits for its row when another has it. verdict: claimed | not_found | wrong_state (with
-- the state; also when it is about to expire) | paused | capability (the worker does not offer what it needs) | quota (with
-- the time until a start may leave the window, if that is what holds it) | budget (with its name). A worker
-- is not asked about types here: who names an execution knows it.
create or replace function {schema}.claim_one(p_execution uuid, p_namespace int, p_capabilities text[], p_worker text,
  p_worker_name text, p_lease_ms bigint, p_begin_ms bigint, out verdict text, out state smallint, out missing text[],
  out retry_ms int, out budget text, out claim {schema}.granted) language plpgsql volatile as $$
declare
  v_now timestamptz;
  v_row {schema}.ready;
  v_lane int;
  v_quotas int[];
  v_limited int[];
begin
  if not exists (select 1 from {schema}.execution e where e.id = p_execution and e.namespace = p_namespace) then
    verdict := 'not_found';
    return;
  end if;
  -- Whoever had its row may have given it another place in line; then it is looked for again.
  for i in 1 .. 100 loop
    select r.* into v_row from {schema}.ready r where r.execution = p_execution for update;
    exit when found;
    state := {schema}.state_of(p_execution);
    if state is distinct from 3 then
      select y.name into budget from {schema}.blocked b join {schema}.budget y on y.id = b.budget where b.execution = p_execution;
      verdict := case when found then 'budget' else 'wrong_state' end;
      return;
    end if;
  end loop;
  if v_row.execution is null then
    raise exception using errcode = '55P03', message = 'the execution kept moving';
  end if;
  v_now := clock_timestamp();
  select case when v_row.deadline <= v_now or (v_row.start_by <= v_now and v_row.attempt = 0) then 'wrong_state'
        when l.state = 2 then 'paused' when not c.capabilities <@ p_capabilities then 'capability' else 'claimed' end,
      3, array(select unnest(c.capabilities) except select unnest(p_capabilities)), c.lane
    into verdict, state, missing, v_lane
    from {schema}.claim_class c join {schema}.lane l on l.id = c.lane where c.id = v_row.class;
  if verdict <> 'claimed' then return; end if;
  select b.name into budget from {schema}.spent s join {schema}.budget b on b.id = s.budget
    where s.namespace = p_namespace and (s.kind = 1 or (s.kind = 2 and s.lane = v_lane)
      or (s.kind in (3, 4) and s.lane = 0 and s.subject in (v_row.execution, v_row.flow))) order by b.name limit 1;
  if found then
    verdict := 'budget';
    return;
  end if;
  v_quotas := array(select q.lane from {schema}.quota q where q.namespace = p_namespace and q.lane in (0, v_lane)
    and (q.max_running is not null or q.max_starts is not null) order by q.lane for update);
  if v_quotas <> '{}' then
    v_now := clock_timestamp();
    -- As in claim(): it looks at all leases, so only while some may not know of the limit.
    if coalesce((select true from {schema}.quota q where q.namespace = p_namespace and q.lane = any (v_quotas)
        and q.changed_at > v_now - interval '10 seconds' limit 1), false) then
      perform {schema}.mark_limited(p_namespace, v_quotas);
    end if;
    select max(ceil(r.retry_ms))::int into retry_ms from {schema}.quota_room(p_namespace, v_quotas, v_now) r
      where r.room = 0 having count(*) > 0;
    if found then
      verdict := 'quota';
      return;
    end if;
    v_limited := array[v_row.class];
  end if;
  delete from {schema}.ready r where r.execution = p_execution;
  select g.* into claim from {schema}.grant_leases(array[v_row], p_namespace, p_worker, p_worker_name, p_lease_ms,
    p_begin_ms, v_limited) g;
  if v_quotas <> '{}' then
    perform {schema}.count_starts(p_namespace, v_quotas, array_fill(1, array[cardinality(v_quotas)]), clock_timestamp());
  end if;
end $$;

-- Completes, and hands what that released to those who completed and may run it: one commit per hop of a chain. Takers:
-- JSON of {ords: the items of one call, classes: what its worker runs, worker, name, namespace, lease_ms, room}. What is
-- handed over never stood in line for anybody else to see; what nobody takes stands there at the commit.
-- One row per item, `ended`, or per claim, `taker` (from 0) and `claim`.
create or replace function {schema}.complete_and_claim(p_takers jsonb, p_namespace int[], p_execution uuid[], p_lease uuid[],
  p_token bigint[], p_hash bytea[], p_content_type text[], p_content_at int[], p_content_length int[], p_content bytea)
returns table (ended {schema}.ended, taker int, claim {schema}.granted) language plpgsql volatile as $$
#variable_conflict use_column
declare
  v_nulls smallint[] := array_fill(null::smallint, array[cardinality(p_execution)]);
  v_ended {schema}.ended[];
  v_taker record;
  v_rows {schema}.ready[];
begin
  select array_agg(e) into v_ended from {schema}.end_attempts(1::smallint, p_namespace, p_execution, p_lease, p_token, p_hash,
    v_nulls, v_nulls::text[], v_nulls::text[], v_nulls::text[]::timestamptz[], v_nulls::bigint[], p_content_type, p_content_at,
    p_content_length, p_content) e;
  return query select e, null::int, null::{schema}.granted from unnest(v_ended) e;
  for v_taker in
    select t.n - 1 n, y.* from jsonb_array_elements(p_takers) with ordinality t (one, n)
    cross join lateral jsonb_to_record(t.one) y (ords int[], classes int[], worker text, name text, namespace int,
      lease_ms bigint, room int)
  loop
    with mine as (
        select r.execution from unnest(v_ended) e cross join lateral unnest(e.released, e.woken) r (execution, class)
        join {schema}.claim_class c on c.id = r.class join {schema}.lane l on l.id = c.lane and l.state <> 2
        where e.ord = any (v_taker.ords) and r.class = any (v_taker.classes) and r.execution is not null
          -- Where there is a limit or a used-up budget, only claims decide who may start.
          and coalesce((select false from {schema}.quota q where q.namespace = v_taker.namespace and q.lane in (0, c.lane)
            and (q.max_running is not null or q.max_starts is not null) limit 1), true)
          and coalesce((select false from {schema}.spent s where s.namespace = v_taker.namespace limit 1), true)
        limit v_taker.room),
      gone as (
        delete from {schema}.ready r where r.execution = any (array(select m.execution from mine m))
          and (r.deadline is null or r.deadline > clock_timestamp())
          and (r.start_by is null or r.attempt > 0 or r.start_by > clock_timestamp())
          returning r)
      select array_agg(gone.r order by (gone.r).priority, (gone.r).seq) into v_rows from gone;
    if v_rows is not null then
      return query select null::{schema}.ended, v_taker.n::int, g
        from {schema}.grant_leases(v_rows, v_taker.namespace, v_taker.worker, v_taker.name, v_taker.lease_ms, null) g;
    end if;
  end loop;
end $$;

-- Sets the limits of a lane or of a namespace (lane 0). Null: none. Locks the row that claims lock, so that the limit holds
-- for every claim after the commit; what runs by then counts. Answers whether anything changed.
create function {schema}.set_quota(p_namespace int, p_lane int, p_max_running int, p_max_starts int, p_window_ms bigint)
returns boolean language plpgsql volatile as $$
declare
  v_changed boolean;
begin
  if p_max_running is null and p_max_starts is null and not exists (
      select from {schema}.quota q where q.namespace = p_namespace and q.lane = p_lane) then return false; end if;
  insert into {schema}.quota as q (namespace, lane, max_running, max_starts, window_ms)
    values (p_namespace, p_lane, p_max_running, p_max_starts, p_window_ms)
    on conflict (namespace, lane) do update set max_running = excluded.max_running, max_starts = excluded.max_starts,
      window_ms = excluded.window_ms, changed_at = clock_timestamp(),
      started_at = case when q.window_ms = excluded.window_ms then q.started_at else '{}' end,
      started = case when q.window_ms = excluded.window_ms then q.started else '{}' end
    where (q.max_running, q.max_starts, q.window_ms)
      is distinct from (excluded.max_running, excluded.max_starts, excluded.window_ms);
  v_changed := found;
  if v_changed and (p_max_running is not null or p_max_starts is not null) then
    perform {schema}.mark_limited(p_namespace, array[p_lane]);
  end if;
  return v_changed;
end $$;

-- The quota of a namespace. Details of the entry: max_running, max_starts, window_ms, actor, reason.
create function {schema}.put_quota(p_namespace int, p_max_running int, p_max_starts int, p_window_ms bigint, p_actor text,
  p_reason text) returns boolean language plpgsql volatile as $$
begin
  perform 1 from {schema}.registry for update;
  if not {schema}.set_quota(p_namespace, 0, p_max_running, p_max_starts, p_window_ms) then return false; end if;
  update {schema}.registry set version = registry.version + 1;
  perform {schema}.append_log(array[p_namespace], array[137::smallint], array[null::uuid], array[null::uuid], array[null::int],
    array[null::smallint], array[null::smallint], array[null::int], array[jsonb_build_object('max_running', p_max_running,
      'max_starts', p_max_starts, 'window_ms', p_window_ms, 'actor', p_actor, 'reason', p_reason)::text]);
  return true;
end $$;

-- Replaces the declared keys of a lane; answers those whose limit is another one now.
create function {schema}.declare_keys(p_namespace int, p_lane int, p_keys jsonb) returns uuid[] language plpgsql volatile as $$
declare
  v_changed uuid[];
begin
  with asked as materialized (
      select {schema}.gate_of(p_lane, k.key) id, k.* from jsonb_to_recordset(p_keys) k (key text, max_running int, weight int)),
    dropped as (
      update {schema}.concurrency_key k set declared = false, max_running = null, weight = 1
        where k.lane = p_lane and k.declared and not exists (select from asked a where a.id = k.id) returning k.id),
    kept as (
      insert into {schema}.concurrency_key as k (id, namespace, lane, key, max_running, weight, declared)
        select a.id, p_namespace, p_lane, a.key, a.max_running, coalesce(a.weight, 1), true from asked a order by a.id
        on conflict (id) do update set max_running = excluded.max_running, weight = excluded.weight, declared = true
          where (k.max_running, k.weight, k.declared) is distinct from (excluded.max_running, excluded.weight, true)
        returning k.id)
    select array_agg(x.id) into v_changed from (select d.id from dropped d union all select k.id from kept k) x;
  return v_changed;
end $$;

drop function {schema}.change_lane(int, text, boolean, bigint, jsonb, smallint, text, text);
-- Changes a lane. p_patch names the columns to set, null among them; p_make: the lane is made if it was never used.
-- verdict: changed | same (nothing differs, nothing is written) | not_found | conflict (with the present version, 0 when
-- there is no such lane). classes: those of the lane. Details of the entry: lane, version, actor, reason, changed.
-- p_quota: of max_running, max_starts and window_ms those to set. p_keys: every key with a limit or weight of its own. Null: as
-- they are.
create or replace function {schema}.change_lane(p_namespace int, p_lane text, p_make boolean, p_expected bigint, p_patch jsonb,
  p_kind smallint, p_actor text, p_reason text, p_quota jsonb, p_keys jsonb, out verdict text, out version bigint,
  out classes int[])
language plpgsql volatile as $$
declare
  v_lane {schema}.lane;
  v_changed {schema}.lane;
  v_made boolean := false;
  v_quota {schema}.quota;
  v_limits boolean := false;
  c_at_once constant int := 1000;
  v_keys uuid[];
  v_items {schema}.log_item[];
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
  -- Who decides by the old default is waited for, and seen below; whoever comes now comes back after the commit (hold_keys).
  if v_changed.default_key_limit is distinct from v_lane.default_key_limit then
    perform pg_advisory_xact_lock(hashtext('tailrace key limit'), v_lane.id);
  end if;
  if p_quota is not null then
    select q.* into v_quota from {schema}.quota q where q.namespace = p_namespace and q.lane = v_lane.id;
    v_quota := jsonb_populate_record(v_quota, p_quota);
    v_limits := {schema}.set_quota(p_namespace, v_lane.id, v_quota.max_running, v_quota.max_starts, v_quota.window_ms);
  end if;
  if p_keys is not null then v_keys := {schema}.declare_keys(p_namespace, v_lane.id, p_keys); end if;
  if v_changed.default_key_limit is distinct from v_lane.default_key_limit then
    update {schema}.lane l set default_key_limit = v_changed.default_key_limit where l.id = v_lane.id;
    v_keys := v_keys || array(
      select k.id from (
        select distinct b.gate from {schema}.blocked b where b.waits_for = 2
        union select distinct r.gate from {schema}.ready r where r.gate is not null) x
      cross join lateral (select y.id, y.lane from {schema}.concurrency_key y where y.id = x.gate offset 0) k
      where k.lane = v_lane.id and (v_keys is null or not k.id = any (v_keys)));
  end if;
  v_limits := v_limits or v_keys is not null;
  -- Their lines fit the new limits at the commit; a great many are looked at right after. Most keys have no line.
  v_keys := array(select u from unnest(v_keys) u where coalesce(
    (select true from {schema}.blocked b where b.gate = u and b.waits_for = 2 limit 1),
    (select true from {schema}.ready r where r.gate = u limit 1), false));
  if cardinality(v_keys) between 1 and c_at_once then
    select b.items into v_items from {schema}.balance_keys(v_keys, clock_timestamp()) b;
  elsif v_keys <> '{}' then
    insert into {schema}.follow_up (kind, subject) select 7, u from unnest(v_keys) u;
  end if;
  verdict := case when v_limits or v_changed is distinct from v_lane then 'changed' else 'same' end;
  if verdict = 'changed' then
    version := version + 1;
    update {schema}.lane l set state = v_changed.state, state_reason = v_changed.state_reason, actor = p_actor,
        timeout_ms = v_changed.timeout_ms, ttl_ms = v_changed.ttl_ms, aging_ms = v_changed.aging_ms,
        retry_max = v_changed.retry_max, retry_initial_ms = v_changed.retry_initial_ms,
        retry_factor = v_changed.retry_factor, retry_cap_ms = v_changed.retry_cap_ms,
        reclaims_max = v_changed.reclaims_max,
        default_key_limit = v_changed.default_key_limit, count_lost = v_changed.count_lost, version = change_lane.version,
        changed_at = clock_timestamp()
      where l.id = v_lane.id;
  elsif not v_made then
    return;
  end if;
  update {schema}.registry set version = registry.version + 1;
  perform {schema}.append_items(array[p_namespace], array[p_kind], array[null::uuid], array[null::uuid], array[null::int],
    array[null::smallint], array[null::smallint], array[null::int], array[jsonb_build_object('lane', p_lane,
      'version', version, 'actor', p_actor, 'reason', p_reason, 'changed', p_patch
      || case when p_quota is null then '{}' else jsonb_build_object('quota', p_quota) end
      || case when p_keys is null then '{}' else jsonb_build_object('keys', jsonb_array_length(p_keys)) end)::text], v_items);
end $$;
