-- Lines are read in their order, whatever the planner believes of them.
--
-- Why: a line that was vacuumed while it was empty counts as empty until it is vacuumed again. For no rows a bitmap and a sort
-- are as cheap as the index that has the order, and each claim read the whole line: 80–190 ms for 500 of 100,000, and more the
-- more there were, where it takes 25–35. Whether a line has anything was found out by joining with all of it, each second. And joins
-- of an execution were looked for along the primary key of all joins.
-- Locks: creates only.
-- older-servers: allowed

-- Who creates one of these again has to say it again.
alter function {schema}.claim set enable_bitmapscan = off;
alter function {schema}.claim_heads set enable_bitmapscan = off;
alter function {schema}.promote_scheduled set enable_bitmapscan = off;
alter function {schema}.sweep_leases set enable_bitmapscan = off;
alter function {schema}.sweep_timers set enable_bitmapscan = off;
alter function {schema}.sweep_follow_ups set enable_bitmapscan = off;
alter function {schema}.sweep_suspensions set enable_bitmapscan = off;
alter function {schema}.sweep_budgets set enable_bitmapscan = off;
alter function {schema}.sweep_routes set enable_bitmapscan = off;
alter function {schema}.read_past set enable_bitmapscan = off;
alter function {schema}.check_flows set enable_bitmapscan = off;
alter function {schema}.hand_out_letters set enable_bitmapscan = off;
-- The lines of keys, and joins that are left to be folded.
alter function {schema}.balance_keys set enable_bitmapscan = off;
alter function {schema}.key_order set enable_bitmapscan = off;
alter function {schema}.enter_line set enable_bitmapscan = off;
alter function {schema}.fold_fillings set enable_bitmapscan = off;

-- What a process looks at once a second.
create or replace function {schema}.pulse(p_class int[], p_from_priority smallint[], p_from_seq bigint[],
  p_to_priority smallint[], out registry bigint, out scheduled_ms double precision, out lease_ms double precision,
  out timer_ms double precision, out join_ms double precision, out follow_ms double precision,
  out suspension_ms double precision, out budget_ms double precision, out route_ms double precision, out non_empty int[], out head bigint,
  out unnumbered boolean, out consumers bigint, out letter_ms double precision,
  out redrives boolean) language plpgsql stable set enable_bitmapscan = off as $$
declare
  v_now timestamptz := clock_timestamp();
begin
  select version into registry from {schema}.registry;
  select version into consumers from {schema}.consumer_registry;
  select extract(epoch from s.run_at - v_now) * 1000 into scheduled_ms from {schema}.scheduled s order by s.run_at limit 1;
  select extract(epoch from l.check_at - v_now) * 1000 into lease_ms from {schema}.lease l order by l.check_at limit 1;
  select extract(epoch from t.due_at - v_now) * 1000 into timer_ms from {schema}.timer t order by t.due_at limit 1;
  select least((select 0 from {schema}.filling limit 1),
      (select extract(epoch from u.due_at - v_now) * 1000 from {schema}.follow_up u
        where u.kind not in (8, 9) order by u.due_at limit 1),
      (select extract(epoch from f.seal_at - v_now) * 1000 from {schema}.flow f
        where f.seal_at is not null order by f.seal_at limit 1)) into follow_ms;
  select extract(epoch from b.due_at - v_now) * 1000 into join_ms from {schema}.barrier b
    where b.due_at is not null order by b.due_at limit 1;
  select least((select extract(epoch from s.due_at - v_now) * 1000 from {schema}.suspension s
        where s.due_at is not null order by s.due_at limit 1),
      (select extract(epoch from w.expires_at - v_now) * 1000 from {schema}.waitpoint w
        where w.state <> 3 order by w.expires_at limit 1)) into suspension_ms;
  select least((select extract(epoch from b.reset_at - v_now) * 1000 from {schema}.budget b
        where b.exhausted and b.reset_at is not null order by b.reset_at limit 1),
      (select extract(epoch from u.due_at - v_now) * 1000 from {schema}.follow_up u
        where u.kind in (8, 9) order by u.due_at limit 1)) into budget_ms;
  -- What waits for a halted subscription waits for a person.
  if coalesce((select true from {schema}.unrouted u limit 1), false) then
    route_ms := coalesce((select 0 from {schema}.unrouted u where u.subscription = 0 limit 1), (
      select 0 from {schema}.subscription s
      cross join lateral (select from {schema}.unrouted u where u.subscription = s.id limit 1) u where s.state in (1, 4) limit 1));
  end if;
  route_ms := coalesce(route_ms, (select 0 from {schema}.subscription s where s.state = 2 limit 1));
  letter_ms := (select 0 from {schema}.letter_route limit 1);
  redrives := coalesce((select true from {schema}.redrive r where not r.settled limit 1), false);
  select array_agg(distinct s.class) into non_empty
    from unnest(p_class, p_from_priority, p_from_seq, p_to_priority) s (class, from_priority, from_seq, to_priority)
    cross join lateral (
      select from {schema}.ready r where r.class = s.class and (r.priority, r.seq) >= (s.from_priority, s.from_seq)
        and r.priority < s.to_priority order by r.priority, r.seq limit 1) head;
  select h.head, h.unnumbered into head, unnumbered from {schema}.log_head() h;
end $$;

-- Opens the next attempt of rows that the caller took out of ready, or goes on with the one that is parked, and answers
-- everything a worker needs but the results it waited for, in the order of the rows, which is the order of their tokens.
-- `joined`: the execution's join, or the last one of the attempt's children, whose slots are to be read.
-- p_limited: classes whose leases count in a quota.
-- Traces of those that have one are told beside the answer, in a setting that ends with the transaction: a line of id and trace
-- for each. Not in a column: older servers select `(claim).*`, and what they have prepared would be refused from the
-- moment the type has one more (0A000, a cached plan must not change its result type). They are read once more, in one go:
-- a setting that grows row by row took 170 ms for 500 of them.
-- Lease ids and tokens are drawn first, so that nothing just written
-- has to be read again; the core row is reached by one probe per row, whatever the planner believes of the table
-- (offset 0 keeps it from flattening that), the last failure only where there was an attempt.
-- Joins and the last attempt are looked for where there can be one; not by an order that another index has as well.
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
  v_body text := '{"worker":' || to_json(p_worker_name)::text;
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
      (case when r.resume then coalesce(p.cause, 4) end)::smallint, coalesce(p.released_at, r.ready_at), e.concurrency_key,
      e.ordering_key, e.hops, e.subscription, e.subscription_version, e.event, e.batch, e.batch_index, e.batch_size
    from unnest(p_rows, v_lease, v_token) r (class, priority, seq, execution, ready_at, kind, attempt, failures, reclaims,
      timeout_ms, start_by, deadline, redrive, flow, linked, resume, gate, lease, token)
    cross join lateral (select * from {schema}.execution where id = r.execution offset 0) e
    left join lateral (
      select x.failure_class, x.failure_code, x.message from {schema}.attempt x
      where r.attempt > 0 and x.execution = r.execution and x.number = r.attempt - r.resume::int offset 0) a on true
    left join unnest(v_parked) p on p.execution = r.execution
    cross join lateral (
      select case when r.resume then (
        select y.id from {schema}.barrier y where y.downstream = r.execution and y.kind = 2 and y.created_at >= p.started_at
        order by y.created_at desc, y.id desc limit 1) end id offset 0) c
    cross join lateral (
      select case when r.flow is not null or e.subscription is not null then (
        select y.id from {schema}.barrier y
        where y.kind in (1, 3) and y.downstream = case
            when e.subscription is not null and e.event is null then coalesce(e.root, e.id) -- a batch's, also when run again
            when r.flow is not null then r.execution end
        limit 1) end id offset 0) b
    -- Always true: notes that there is a trace to tell.
    where e.trace is null or coalesce(current_setting('tailrace.traced', true), '') = 'on'
      or set_config('tailrace.traced', 'on', true) is not null
    order by r.token;
  if current_setting('tailrace.traced', true) = 'on' then
    perform set_config('tailrace.traces', concat(current_setting('tailrace.traces', true), (
      select string_agg(concat(r.execution, ' ', e.trace, chr(10)), '') from unnest(p_rows) r
      cross join lateral (select x.trace from {schema}.execution x where x.id = r.execution offset 0) e
      where e.trace is not null)), true);
  end if;
  perform {schema}.append_log(array_fill(p_namespace, array[v_n]), array_fill(20::smallint, array[v_n]),
    array_agg(r.execution), array_agg(r.flow), array_agg(r.class), array_fill(3::smallint, array[v_n]),
    array_fill(4::smallint, array[v_n]), array_agg(r.attempt + (not r.resume)::int),
    array_agg(case when r.resume then v_body || ',"resumed":true}' else v_body || '}' end))
    from unnest(p_rows) r;
end $$;
