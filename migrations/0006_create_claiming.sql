-- Creating work and granting leases.
-- Locks: creates only. older-servers: refused

-- Creates many executions, each on its own; the nth answer belongs to the nth item.
-- verdict: created | duplicate (the execution that exists is answered) | reused | closed (its lane takes no new work).
-- Items are distinct by request id and by execution id: the caller sees to that. An execution id that the client chose
-- serves as its request id when it has none. Request keys are inserted in sorted
-- order, so two calls with the same keys queue and cannot deadlock; whoever comes second reads the first one's key in a
-- statement of its own, after the wait. Inputs come as one byte string and are cut by position and length: one binary
-- parameter instead of an escaped array.
-- p_atomic: any refusal rolls everything back, and the answers travel in the error's detail.
create function {schema}.create_executions(p_atomic boolean, p_id uuid[], p_namespace int[], p_class int[],
  p_request_id text[], p_hash bytea[], p_priority smallint[], p_run_at timestamptz[], p_delay_ms bigint[], p_ttl_ms bigint[],
  p_deadline timestamptz[], p_timeout_ms bigint[], p_retry_max int[], p_retry_initial_ms bigint[], p_retry_factor real[],
  p_retry_cap_ms bigint[], p_reclaims_max int[], p_count_lost boolean[], p_tags jsonb[], p_input_type text[],
  p_input_at int[], p_input_length int[], p_input bytea, p_letter uuid[],
  p_root uuid[], p_redrive_of uuid[])
returns table (ord int, verdict text, execution uuid, state smallint) language plpgsql volatile as $$
#variable_conflict use_column
declare
  v_now timestamptz := clock_timestamp();
  v_run_at timestamptz[];
  v_start_by timestamptz[];
  v_open boolean[];
  v_keyed uuid[];
  v_fresh boolean[];
  v_made uuid[];
  v_seq bigint;
begin
  perform pg_current_xact_id(); -- before any ready_seq is drawn: the safe lower bound of claims rests on it
  -- Spans count from the database's now; the time to start counts from the earliest start.
  select array_agg(t.run_at order by u.ordinality),
      array_agg(greatest(t.run_at, v_now) + u.ttl_ms * interval '1 ms' order by u.ordinality)
    into v_run_at, v_start_by
    from unnest(p_run_at, p_delay_ms, p_ttl_ms) with ordinality u (run_at, delay_ms, ttl_ms)
    cross join lateral (select coalesce(u.run_at, v_now + u.delay_ms * interval '1 ms') run_at) t;
  select array_agg(l.state <> 3 order by u.ordinality) into v_open
    from unnest(p_class) with ordinality u (class) join {schema}.claim_class c on c.id = u.class
    join {schema}.lane l on l.id = c.lane;
  with made as (
    insert into {schema}.request_key (namespace, request_id, execution, hash, created_at)
      select u.namespace, u.request_id, u.id, u.hash, v_now
      from unnest(p_namespace, p_request_id, p_id, p_hash, v_open) u (namespace, request_id, id, hash, open)
      where u.request_id is not null and u.open
      order by u.namespace, u.request_id on conflict do nothing
      returning request_key.execution)
    select array_agg(made.execution) into v_keyed from made;
  select array_agg(u.open and (u.request_id is null or k.id is not null) order by u.ordinality) into v_fresh
    from unnest(p_id, p_request_id, v_open) with ordinality u (id, request_id, open)
    left join unnest(v_keyed) k (id) on k.id = u.id;
  with made as (
    insert into {schema}.execution (id, namespace, class, request_id, priority, run_at, start_by, deadline, timeout_ms,
        retry_max, retry_initial_ms, retry_factor, retry_cap_ms, reclaims_max, count_lost, tags, input_type, input, letter,
        root, redrive_of, created_at)
      select u.id, u.namespace, u.class, nullif(u.request_id, u.id::text), u.priority, u.run_at, u.start_by, u.deadline,
        u.timeout_ms, u.retry_max, u.retry_initial_ms, u.retry_factor, u.retry_cap_ms, u.reclaims_max, u.count_lost, u.tags,
        u.input_type, case when u.input_type is not null then substring(p_input from u.input_at + 1 for u.input_length) end,
        u.letter, u.root, u.redrive_of, v_now
      from unnest(p_id, p_namespace, p_class, p_request_id, p_priority, v_run_at, v_start_by, p_deadline, p_timeout_ms,
        p_retry_max, p_retry_initial_ms, p_retry_factor, p_retry_cap_ms, p_reclaims_max, p_count_lost, p_tags, p_input_type,
        p_input_at, p_input_length, p_letter, p_root, p_redrive_of, v_fresh)
        u (id, namespace, class, request_id, priority, run_at, start_by, deadline, timeout_ms, retry_max, retry_initial_ms,
          retry_factor, retry_cap_ms, reclaims_max, count_lost, tags, input_type, input_at, input_length, letter, root,
          redrive_of, fresh)
      where u.fresh order by u.id on conflict do nothing returning id)
    select array_agg(made.id) into v_made from made;
  -- An execution id that somebody chose twice: the key made for the second must not stay behind.
  if coalesce(cardinality(v_made), 0) < cardinality(array_positions(v_fresh, true)) then
    delete from {schema}.request_key k using unnest(p_namespace, p_request_id, p_id, v_fresh) u (namespace, request_id, id, fresh)
      where u.fresh and k.namespace = u.namespace and k.request_id = u.request_id
        and k.execution = u.id and not u.id = any (coalesce(v_made, '{}'));
    select array_agg(f.fresh and m.id is not null order by f.ordinality) into v_fresh
      from unnest(p_id, v_fresh) with ordinality f (id, fresh) left join unnest(v_made) m (id) on m.id = f.id;
  end if;
  if p_atomic and cardinality(array_positions(v_fresh, true)) between 1 and cardinality(p_id) - 1 then
    -- Duplicates are no refusal; anything else is.
    if exists (select 1 from {schema}.creation_answers(p_id, p_namespace, p_request_id, p_hash, v_open, v_fresh) a
        where a.verdict not in ('created', 'duplicate')) then
      raise exception using errcode = 'TR001', message = 'atomic creation refused', detail = (select json_agg(a order by a.ord)
        from {schema}.creation_answers(p_id, p_namespace, p_request_id, p_hash, v_open, v_fresh) a);
    end if;
  end if;
  if v_made is not null then
    insert into {schema}.ready (class, priority, seq, execution, ready_at, kind, attempt, failures, reclaims, timeout_ms,
        start_by, deadline, redrive)
      select u.class, -u.priority, nextval('{schema}.ready_seq'), u.id, v_now,
        case when u.letter is null then 1 else 5 end, 0, 0, 0, u.timeout_ms, u.start_by, u.deadline,
        u.letter is not null
      from unnest(p_id, p_class, p_priority, p_timeout_ms, v_start_by, p_deadline, v_run_at, p_letter, v_fresh)
        u (id, class, priority, timeout_ms, start_by, deadline, run_at, letter, fresh)
      where u.fresh and (u.run_at is null or u.run_at <= v_now);
    insert into {schema}.scheduled (execution, run_at, class, priority, kind, attempt, failures, reclaims, timeout_ms,
        start_by, deadline, redrive)
      select u.id, u.run_at, u.class, u.priority, case when u.letter is null then 1 else 5 end, 0, 0, 0, u.timeout_ms,
        u.start_by, u.deadline, u.letter is not null
      from unnest(p_id, p_class, p_priority, p_timeout_ms, v_start_by, p_deadline, v_run_at, p_letter, v_fresh)
        u (id, class, priority, timeout_ms, start_by, deadline, run_at, letter, fresh)
      where u.fresh and u.run_at > v_now;
    insert into {schema}.timer (execution, due_at)
      select u.id, least(u.start_by, u.deadline)
      from unnest(p_id, v_start_by, p_deadline, v_fresh) u (id, start_by, deadline, fresh)
      where u.fresh and (u.start_by is not null or u.deadline is not null);
    select {schema}.append_log(array_agg(u.namespace), array_agg(1::smallint), array_agg(u.id), array_agg(null::uuid),
        array_agg(u.class), array_agg(null::smallint), array_agg(case when u.run_at > v_now then 2 else 3 end::smallint),
        array_agg(0), array_agg(null::text))
      into v_seq
      from unnest(p_id, p_namespace, p_class, v_run_at, v_fresh) u (id, namespace, class, run_at, fresh) where u.fresh;
  end if;
  if cardinality(v_made) = cardinality(p_id) then
    return query select u.ordinality::int, 'created', u.id, (case when u.run_at > v_now then 2 else 3 end)::smallint
      from unnest(p_id, v_run_at) with ordinality u (id, run_at) order by 1;
  else
    return query select * from {schema}.creation_answers(p_id, p_namespace, p_request_id, p_hash, v_open, v_fresh);
  end if;
end $$;

-- The phase an execution stands in, in one statement: a mover is never missed.
create function {schema}.state_of(p_execution uuid) returns smallint language sql stable as $$
  select coalesce(
    (select 3 from {schema}.ready where execution = p_execution),
    (select 4 from {schema}.lease where execution = p_execution),
    (select 2 from {schema}.scheduled where execution = p_execution),
    (select state from {schema}.outcome where execution = p_execution))::smallint
$$;

create function {schema}.creation_answers(p_id uuid[], p_namespace int[], p_request_id text[], p_hash bytea[],
  p_open boolean[], p_fresh boolean[])
returns table (ord int, verdict text, execution uuid, state smallint) language sql stable as $$
  select u.ordinality::int,
    case when u.fresh then 'created' when k.hash = u.hash then 'duplicate' when not u.open then 'closed' else 'reused' end,
    coalesce(k.execution, u.id), {schema}.state_of(coalesce(k.execution, u.id))
  from unnest(p_id, p_namespace, p_request_id, p_hash, p_open, p_fresh) with ordinality
    u (id, namespace, request_id, hash, open, fresh)
  left join {schema}.request_key k on k.namespace = u.namespace and k.request_id = u.request_id
    and k.request_id = any (p_request_id)
  order by 1
$$;

create type {schema}.granted as (
  execution uuid, lease uuid, token bigint, seq bigint, class int, priority smallint, attempt int, kind smallint,
  ready_at timestamptz, started_at timestamptz, expires_at timestamptz, timeout_at timestamptz, deadline timestamptz,
  input_type text, input bytea, tags jsonb, created_at timestamptz, root uuid, redrive_of uuid, failures int,
  retry_max int, previous_class smallint, previous_code text, previous_message text
);

-- Opens the next attempt of rows that the caller took out of ready, and answers everything a worker needs, in the order
-- of the rows, which is the order of their tokens. Lease ids and tokens are drawn first, so that nothing just written
-- has to be read again; the core row is reached by one probe per row, whatever the planner believes of the table
-- (offset 0 keeps it from flattening that), the last failure only where there was an attempt.
create function {schema}.grant_leases(p_rows {schema}.ready[], p_namespace int, p_worker text, p_worker_name text,
  p_lease_ms bigint, p_begin_ms bigint)
returns setof {schema}.granted language plpgsql volatile as $$
declare
  v_now timestamptz := clock_timestamp();
  v_expires timestamptz := v_now + p_lease_ms * interval '1 ms';
  v_begin timestamptz := v_now + p_begin_ms * interval '1 ms';
  v_lease uuid[];
  v_token bigint[];
  v_n int := cardinality(p_rows);
begin
  select array_agg(gen_random_uuid()), array_agg(nextval('{schema}.fencing_token')) into v_lease, v_token
    from generate_series(1, v_n);
  insert into {schema}.lease (execution, lease, token, namespace, class, priority, worker, worker_name, kind, attempt,
      failures, reclaims, ready_at, started_at, length_ms, expires_at, check_at, begin_by, timeout_ms, timeout_at, start_by,
      deadline, redrive)
    select r.execution, r.lease, r.token, p_namespace, r.class, -r.priority, p_worker, p_worker_name, r.kind, r.attempt + 1,
      r.failures, r.reclaims, r.ready_at, v_now, p_lease_ms, v_expires,
      least(v_expires, v_begin, v_now + r.timeout_ms * interval '1 ms', r.deadline), v_begin, r.timeout_ms,
      v_now + r.timeout_ms * interval '1 ms', r.start_by, r.deadline, r.redrive
    from unnest(p_rows, v_lease, v_token) r (class, priority, seq, execution, ready_at, kind, attempt, failures, reclaims,
      timeout_ms, start_by, deadline, redrive, lease, token);
  return query
    select r.execution, r.lease, r.token, r.seq, r.class, (-r.priority)::smallint, r.attempt + 1, r.kind, r.ready_at, v_now,
      v_expires, v_now + r.timeout_ms * interval '1 ms', r.deadline, e.input_type, e.input, e.tags, e.created_at,
      coalesce(e.root, e.id), e.redrive_of, r.failures, e.retry_max, a.failure_class, a.failure_code, a.message
    from unnest(p_rows, v_lease, v_token) r (class, priority, seq, execution, ready_at, kind, attempt, failures, reclaims,
      timeout_ms, start_by, deadline, redrive, lease, token)
    cross join lateral (select * from {schema}.execution where id = r.execution offset 0) e
    left join lateral (
      select * from {schema}.attempt where execution = case when r.attempt > 0 then r.execution end and number = r.attempt
      offset 0) a on true
    order by r.token;
  perform {schema}.append_log(array_fill(p_namespace, array[v_n]), array_fill(20::smallint, array[v_n]),
    array_agg(r.execution), array_fill(null::uuid, array[v_n]), array_agg(r.class), array_fill(3::smallint, array[v_n]),
    array_fill(4::smallint, array[v_n]), array_agg(r.attempt + 1),
    array_fill('{"worker":' || to_json(p_worker_name)::text || '}', array[v_n]))
    from unnest(p_rows) r;
end $$;

-- Claims up to p_limit executions of the given segments. A segment is a stretch of one class's line: from
-- (p_from_priority, p_from_seq) up to, not including, p_to_priority, all in the negated priorities of the index. Segments
-- begin where the safe lower bound says, so that the dead rows of a drained line are not walked again.
--
-- peek reads the heads without locks and settles lanes against each other (place in the own lane, divided by the lane's
-- weight) and aging; pick locks exactly that many per segment, passing over what others hold; gone deletes by ctid.
-- The limit around pick is not for show: without it the planner expects the whole table and hashes it (227 ms for 1.2).
-- Deleting by a join on the key, planned on an empty table, took 4.7–7.4 s over 300 k rows; by ctid 1.4–2.0 ms.
-- A crash before the commit leaves the rows in line. An empty answer may mean that all heads are locked by others.
create function {schema}.claim(p_class int[], p_lane int[], p_weight real[], p_from_priority smallint[], p_from_seq bigint[],
  p_to_priority smallint[], p_limit int, p_bytes bigint, p_namespace int, p_worker text, p_worker_name text,
  p_lease_ms bigint, p_begin_ms bigint)
returns setof {schema}.granted language plpgsql volatile as $$
declare
  v_now timestamptz := clock_timestamp();
  v_rows {schema}.ready[];
  v_fits int;
begin
  with segment as materialized (
      select s.*, l.aging_ms
      from unnest(p_class, p_lane, p_weight, p_from_priority, p_from_seq, p_to_priority) with ordinality
        s (class, lane, weight, from_priority, from_seq, to_priority, n)
      join {schema}.lane l on l.id = s.lane and l.state <> 2),
    peek as materialized (
      select z.n, count(*) k from (
        select s.n, row_number() over (partition by s.lane order by
            y.priority - coalesce(floor(extract(epoch from v_now - y.ready_at) * 1000 / s.aging_ms), 0), y.seq)
            / s.weight rank
        from segment s cross join lateral (
          select r.priority, r.seq, r.ready_at from {schema}.ready r
          where r.class = s.class and (r.priority, r.seq) >= (s.from_priority, s.from_seq) and r.priority < s.to_priority
            and (r.deadline is null or r.deadline > v_now) and (r.start_by is null or r.attempt > 0 or r.start_by > v_now)
          order by r.priority, r.seq limit p_limit) y
        order by rank limit p_limit) z
      group by z.n),
    pick as materialized (
      select y.ctid from peek join segment s on s.n = peek.n cross join lateral (
        select r.ctid from {schema}.ready r
        where r.class = s.class and (r.priority, r.seq) >= (s.from_priority, s.from_seq) and r.priority < s.to_priority
          and (r.deadline is null or r.deadline > v_now) and (r.start_by is null or r.attempt > 0 or r.start_by > v_now)
        order by r.priority, r.seq limit peek.k for update skip locked) y
      limit p_limit),
    gone as (
      delete from {schema}.ready r where r.ctid = any (array(select pick.ctid from pick)) returning r)
    select array_agg(gone.r order by (gone.r).priority, (gone.r).seq) into v_rows from gone;
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
  if v_rows is not null then
    return query select * from {schema}.grant_leases(v_rows, p_namespace, p_worker, p_worker_name, p_lease_ms,
      p_begin_ms);
  end if;
end $$;

-- Claims one named execution; waits for its row when another has it. verdict: claimed | not_found | wrong_state (with
-- the state; also when it is about to expire) | paused | capability (the worker does not offer what it needs). A worker
-- is not asked about types here: who names an execution knows it.
create function {schema}.claim_one(p_execution uuid, p_namespace int, p_capabilities text[], p_worker text,
  p_worker_name text, p_lease_ms bigint, p_begin_ms bigint, out verdict text, out state smallint, out missing text[],
  out claim {schema}.granted) language plpgsql volatile as $$
declare
  v_now timestamptz;
  v_row {schema}.ready;
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
      verdict := 'wrong_state';
      return;
    end if;
  end loop;
  if v_row.execution is null then
    raise exception using errcode = '55P03', message = 'the execution kept moving';
  end if;
  v_now := clock_timestamp();
  select case when v_row.deadline <= v_now or (v_row.start_by <= v_now and v_row.attempt = 0) then 'wrong_state'
        when l.state = 2 then 'paused' when not c.capabilities <@ p_capabilities then 'capability' else 'claimed' end,
      3, array(select unnest(c.capabilities) except select unnest(p_capabilities))
    into verdict, state, missing
    from {schema}.claim_class c join {schema}.lane l on l.id = c.lane where c.id = v_row.class;
  if verdict <> 'claimed' then return; end if;
  delete from {schema}.ready r where r.execution = p_execution;
  select g.* into claim from {schema}.grant_leases(array[v_row], p_namespace, p_worker, p_worker_name, p_lease_ms,
    p_begin_ms) g;
end $$;

-- What the safe lower bound needs: S, the last ready_seq drawn; X, a transaction id taken after reading S; and the oldest
-- transaction still running. Once that oldest one is newer than X, every row with seq <= S is visible or never will be.
create function {schema}.claim_horizon(out seq bigint, out xid bigint, out oldest bigint) language plpgsql volatile as $$
begin
  select case when s.is_called then s.last_value else 0 end into seq from {schema}.ready_seq s;
  xid := pg_current_xact_id()::text::bigint;
  select pg_snapshot_xmin(pg_current_snapshot())::text::bigint into oldest;
end $$;

-- Per class: every priority that has rows, with its lowest seq at or above the known bound. Read without locks, so rows
-- that are being claimed still count.
create function {schema}.claim_heads(p_class int[], p_priority smallint[], p_bound bigint[])
returns table (class int, priority smallint, seq bigint) language plpgsql stable as $$
#variable_conflict use_column
declare
  v_class int;
  v_priority smallint;
  v_seq bigint;
  v_known bigint;
begin
  foreach v_class in array coalesce((select array_agg(distinct c) from unnest(p_class) c), '{}') loop
    v_priority := -32768;
    v_known := 0;
    loop
      select r.priority, r.seq into v_priority, v_seq from {schema}.ready r
        where r.class = v_class and (r.priority, r.seq) >= (v_priority, v_known) order by r.priority, r.seq limit 1;
      exit when not found;
      select coalesce(max(u.bound), 0) into v_known from unnest(p_class, p_priority, p_bound) u (class, priority, bound)
        where u.class = v_class and u.priority = v_priority;
      if v_seq < v_known then continue; end if;
      class := v_class; priority := v_priority; seq := v_seq;
      return next;
      v_priority := v_priority + 1;
      v_known := 0;
    end loop;
  end loop;
end $$;
