-- Leases of executions that depend on others: a parked attempt goes on, a loser ends as it must, and whoever completes may
-- take what that released.
-- Locks: creates only. older-servers: refused
alter type {schema}.granted add attribute flow uuid, add attribute parent uuid, add attribute resume boolean,
  add attribute parked_at timestamptz, add attribute waits int, add attribute joined uuid;

-- Opens the next attempt of rows that the caller took out of ready, or goes on with the one that is parked, and answers
-- everything a worker needs but the results it waited for, in the order of the rows, which is the order of their tokens.
-- `joined`: the execution's join, or that of its children, whose slots are to be read.
-- Lease ids and tokens are drawn first, so that nothing just written
-- has to be read again; the core row is reached by one probe per row, whatever the planner believes of the table
-- (offset 0 keeps it from flattening that), the last failure only where there was an attempt.
create or replace function {schema}.grant_leases(p_rows {schema}.ready[], p_namespace int, p_worker text, p_worker_name text,
  p_lease_ms bigint, p_begin_ms bigint)
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
      deadline, redrive, flow, linked, waits, granted_at, progress_percent, progress_message, progress_at)
    select r.execution, r.lease, r.token, p_namespace, r.class, -r.priority, p_worker, p_worker_name, coalesce(p.kind, r.kind),
      r.attempt + (not r.resume)::int, r.failures, r.reclaims, coalesce(p.ready_at, r.ready_at), coalesce(p.started_at, v_now),
      p_lease_ms, v_expires, least(v_expires, v_begin, t.timeout_at, r.deadline), v_begin, r.timeout_ms, t.timeout_at,
      r.start_by, r.deadline, r.redrive, r.flow, r.linked, coalesce(p.waits, 0),
      case when r.resume then v_now end, p.progress_percent, p.progress_message, p.progress_at
    from unnest(p_rows, v_lease, v_token) r (class, priority, seq, execution, ready_at, kind, attempt, failures, reclaims,
      timeout_ms, start_by, deadline, redrive, flow, linked, resume, lease, token)
    left join unnest(v_parked) p on p.execution = r.execution
    cross join lateral (select v_now + case when r.resume then p.timeout_ms else r.timeout_ms end * interval '1 ms' timeout_at) t;
  return query
    select r.execution, r.lease, r.token, r.seq, r.class, (-r.priority)::smallint, r.attempt + (not r.resume)::int,
      coalesce(p.kind, r.kind), r.ready_at, coalesce(p.started_at, v_now), v_expires,
      v_now + case when r.resume then p.timeout_ms else r.timeout_ms end * interval '1 ms', r.deadline, e.input_type, e.input,
      e.tags, e.created_at, coalesce(e.root, e.id), e.redrive_of, r.failures, e.retry_max, a.failure_class, a.failure_code,
      a.message, r.flow, e.parent, r.resume, p.parked_at, coalesce(p.waits, 0), coalesce(p.barrier, b.id)
    from unnest(p_rows, v_lease, v_token) r (class, priority, seq, execution, ready_at, kind, attempt, failures, reclaims,
      timeout_ms, start_by, deadline, redrive, flow, linked, resume, lease, token)
    cross join lateral (select * from {schema}.execution where id = r.execution offset 0) e
    left join lateral (
      select * from {schema}.attempt where execution = case when r.attempt > 0 then r.execution end
        and number = r.attempt - r.resume::int offset 0) a on true
    left join unnest(v_parked) p on p.execution = r.execution
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

-- Why these holders were refused, in the order of checks that holds for every worker write: not found, repeat of the
-- call that ended this very attempt, terminal, revoked, expired, other content, superseded, never its holder.
create or replace function {schema}.explain_refusals(p_ord int[], p_namespace int[], p_execution uuid[], p_lease uuid[],
  p_token bigint[], p_call smallint, p_hash bytea[])
returns table (ord int, verdict text, state smallint, attempt int, token bigint, run_at timestamptz, outcome smallint,
  reason smallint, failures int, ended_at timestamptz, class int, letter uuid)
language sql stable as $$
  select u.ord,
    case
      when e.id is null then 'not_found'
      when l.lease = u.lease and l.token = u.token and l.expires_at > clock_timestamp() then
        case when l.cancel_at is not null and not l.cancel_accepts_late and p_call = 1 then 'canceling' else 'busy' end
      when mine.call = p_call and mine.hash is not distinct from u.hash and l.execution is null
        and mine.number = latest.number then 'duplicate'
      when o.execution is not null then 'terminal'
      when k.execution is not null then 'other_content'
      when mine.outcome = 9 then 'revoked'
      when mine.outcome in (3, 4, 8, 10, 11) or (l.lease = u.lease and l.token = u.token) then 'expired'
      when mine.call = p_call and mine.hash is not distinct from u.hash then 'superseded'
      when mine.number is not null then 'other_content'
      else 'superseded'
    end,
    coalesce(o.state, mine.state), coalesce(o.attempt, mine.number, l.attempt), coalesce(o.token, l.token), mine.run_at,
    mine.outcome, o.reason, null::int, coalesce(o.ended_at, mine.ended_at), e.class,
    case when o.state in (8, 10) then {schema}.letter_of(e.id) end
  from unnest(p_ord, p_namespace, p_execution, p_lease, p_token, p_hash) u (ord, namespace, execution, lease, token, hash)
  left join lateral (select * from {schema}.execution where id = u.execution and namespace = u.namespace offset 0) e on true
  left join lateral (select * from {schema}.lease where execution = e.id offset 0) l on true
  left join lateral (select * from {schema}.outcome where execution = e.id offset 0) o on true
  left join lateral (select p.execution from {schema}.parked p where p.execution = e.id and p.lease = u.lease
    and p.token = u.token offset 0) k on true
  left join lateral (select a.* from {schema}.attempt a where a.execution = e.id and a.lease = u.lease
    and a.token = u.token limit 1) mine on true
  left join lateral (select a.number from {schema}.attempt a where a.execution = e.id order by a.number desc limit 1)
    latest on true
$$;

drop function {schema}.end_attempts(smallint, int[], uuid[], uuid[], bigint[], bytea[], smallint[], text[], text[],
  timestamptz[], bigint[], text[], int[], int[], bytea);

create type {schema}.ended as (ord int, verdict text, state smallint, attempt int, token bigint, run_at timestamptz,
  outcome smallint, reason smallint, failures int, ended_at timestamptz, class int, letter uuid, released uuid[],
  woken int[], follows boolean);

-- Ends attempts on their holders' word. p_call: 1 complete, 2 fail, 3 delay, 4 release.
-- verdict: done | duplicate (the first answer again) | busy | one of explain_refusals. Of what an end released in its flow,
-- its answer names the executions and their classes.
-- Items are distinct by execution. A crash before the commit leaves the lease; after it the repeat is a duplicate.
create function {schema}.end_attempts(p_call smallint, p_namespace int[], p_execution uuid[], p_lease uuid[],
  p_token bigint[], p_hash bytea[], p_class smallint[], p_code text[], p_message text[], p_run_at timestamptz[],
  p_delay_ms bigint[], p_content_type text[], p_content_at int[], p_content_length int[], p_content bytea)
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

-- Completes, and hands what that released to those who completed and may run it: one commit per hop of a chain. Takers:
-- JSON of {ords: the items of one call, classes: what its worker runs, worker, name, namespace, lease_ms, room}. What is
-- handed over never stood in line for anybody else to see; what nobody takes stands there at the commit.
-- One row per item, `ended`, or per claim, `taker` (from 0) and `claim`.
create function {schema}.complete_and_claim(p_takers jsonb, p_namespace int[], p_execution uuid[], p_lease uuid[],
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
    cross join lateral jsonb_to_record(t.one) y (ords int[], classes int[], worker text, name text, namespace int, lease_ms bigint,
      room int)
  loop
    with mine as (
        select r.execution from unnest(v_ended) e cross join lateral unnest(e.released, e.woken) r (execution, class)
        join {schema}.claim_class c on c.id = r.class join {schema}.lane l on l.id = c.lane and l.state <> 2
        where e.ord = any (v_taker.ords) and r.class = any (v_taker.classes) limit v_taker.room),
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

-- What a claim hands over of the join before it: its slots in order. Contents stand where the upstreams ended; they are left
-- out when larger than p_inline, or when those before them in this answer make p_total.
create function {schema}.joined_inputs(p_barrier uuid[], p_inline int, p_total bigint)
returns table (barrier uuid, name text, idx int, outcome smallint, upstream uuid, type text, source text, payload_type text,
  payload bytea, omitted boolean, failure_class smallint, failure_code text, message text) language sql stable as $$
  select s.barrier, s.name, s.idx, s.outcome, s.upstream, c.type, s.source, o.result_type,
    case when s.fits then o.result end, o.result_type is not null and not s.fits, o.failure_class, o.failure_code,
    case when s.outcome <> 1 then o.message end
  from (
    select y.barrier, y.name, y.idx, case when y.late then null else y.outcome end outcome, y.upstream, y.source,
      coalesce(z.size, 0) <= p_inline
        and sum(case when coalesce(z.size, 0) <= p_inline then coalesce(z.size, 0) else 0 end)
          over (order by u.n, y.idx) <= p_total fits
    from unnest(p_barrier) with ordinality u (id, n)
    cross join lateral (select * from {schema}.slot x where x.barrier = u.id order by x.idx offset 0) y
    left join lateral (
      select octet_length(x.result) size from {schema}.outcome x
      where x.execution = case when y.outcome = 1 and not y.late then y.upstream end offset 0) z on true) s
  cross join lateral (select e.class from {schema}.execution e where e.id = s.upstream offset 0) e
  cross join lateral (select k.type from {schema}.claim_class k where k.id = e.class offset 0) c
  left join lateral (
    select x.* from {schema}.outcome x where x.execution = case when s.outcome is not null then s.upstream end offset 0) o on true
  order by s.barrier, s.idx
$$;

-- The first half of spawning: the lease of the parent and the row of its flow are held until the commit, so that neither is
-- canceled nor lost meanwhile. One item, so it may wait. verdict: held | duplicate (parked by this very call; with the join
-- and the children) | cancel_requested | canceled (the flow) | full | refused (explain_refusals says why).
create function {schema}.hold_parent(p_namespace int, p_execution uuid, p_lease uuid, p_token bigint, p_hash bytea,
  p_more int, p_max_members int, out verdict text, out flow uuid, out barrier uuid, out children uuid[])
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
  if flow is not null then
    select f.canceled_at is not null or f.failing_at is not null into v_canceled
      from {schema}.flow f where f.id = v_lease.flow for share;
  end if;
  verdict := case when v_canceled then 'canceled'
    when v_lease.cancel_at is not null or {schema}.is_loser(p_execution) then 'cancel_requested'
    when flow is not null and {schema}.flow_is_full(flow, p_more, p_max_members) then 'full' else 'held' end;
end $$;

-- The second half for a parent that waits: its lease becomes a blocked row and a parked attempt. The children exist.
-- A crash before the commit leaves the lease and no child; after it a repeat is a duplicate until the next grant.
create function {schema}.park(p_namespace int, p_execution uuid, p_call smallint, p_hash bytea, p_joins jsonb,
  p_barrier uuid[], p_idx int[], p_upstream uuid[], p_downstream uuid[], p_name text[], p_optional boolean[],
  p_source text[]) returns void language plpgsql volatile as $$
declare
  v_now timestamptz := clock_timestamp();
  v_join uuid := p_joins -> 0 ->> 'id';
  v_lease {schema}.lease;
begin
  delete from {schema}.lease l where l.execution = p_execution returning l.* into v_lease;
  perform {schema}.add_joins(p_namespace, v_lease.flow, 2::smallint, p_joins, p_barrier, p_idx, p_upstream, p_downstream,
    p_name, p_optional, p_source, v_now);
  insert into {schema}.parked (execution, barrier, number, kind, worker, worker_name, lease, token, ready_at, started_at,
      timeout_ms, progress_percent, progress_message, progress_at, call, hash, parked_at, waits)
    values (p_execution, v_join, v_lease.attempt, v_lease.kind, v_lease.worker, v_lease.worker_name, v_lease.lease,
      v_lease.token, v_lease.ready_at, v_lease.started_at,
      case when v_lease.timeout_at is not null then greatest(1, extract(epoch from v_lease.timeout_at - v_now) * 1000) end,
      v_lease.progress_percent,
      v_lease.progress_message, v_lease.progress_at, p_call, p_hash, v_now, v_lease.waits + 1);
  insert into {schema}.blocked (execution, state, barrier, blocked_at, class, priority, kind, attempt, failures, reclaims,
      timeout_ms, start_by, deadline, redrive, flow, linked, resume)
    values (p_execution, 6, v_join, v_now, v_lease.class, v_lease.priority, v_lease.kind, v_lease.attempt, v_lease.failures,
      v_lease.reclaims, v_lease.timeout_ms, v_lease.start_by, v_lease.deadline, v_lease.redrive, v_lease.flow, v_lease.linked,
      true);
  perform {schema}.append_log(array[p_namespace], array[2::smallint], array[p_execution], array[v_lease.flow],
    array[v_lease.class], array[4::smallint], array[6::smallint], array[v_lease.attempt],
    array['{"cause":"children","join":"' || v_join || '"}']);
end $$;
