-- Calls that bring little cost less: what one execution, alone, costs to be created, and to be numbered three times.
--
-- Why: a statement of one item took 0.4 to 0.7 ms of Postgres, 0.35 to 0.5 of them however many it had. Of a creation, a quarter
-- was the unnesting of 38 arrays, each a scan with a store of its own, in five statements; each append to the log parsed the text
-- of one constraint for 28 µs; each step of the sequencer looked for holes where none was.
-- Locks: ACCESS EXCLUSIVE on the log for a moment, without reading it.
-- older-servers: allowed

alter table {schema}.log drop constraint log_check;

-- Creates many executions, each on its own; the nth answer belongs to the nth item.
-- verdict: created | duplicate (the execution that exists is answered) | reused | closed (its lane takes no new work) |
-- what enter_flows refuses with.
-- Items are distinct by request id and by execution id: the caller sees to that. An execution id that the client chose
-- serves as its request id when it has none. Request keys are inserted in sorted
-- order, so two calls with the same keys queue and cannot deadlock; whoever comes second reads the first one's key in a
-- statement of its own, after the wait. Inputs come as one byte string and are cut by position and length: one binary
-- parameter instead of an escaped array.
-- p_atomic: any refusal rolls everything back, and the answers travel in the error's detail.
-- p_flow, p_optional, p_parent, p_barrier (the join it waits for), p_key (the concurrency key), p_ordering (the ordering
-- key), p_dead_head, p_failure_events, p_hops and p_trace may be null as a whole.
-- A run made anew inherits from the one before what it reacts to, its slot, its ordering key, its failure events and its
-- trace; one that was its key's dead head takes that place again. A child without a trace has its parent's.
-- p_entered: the caller has locked the flows and looked at them.
-- Items are taken by their subscript: unnesting an array takes a scan and a store of its own, and there are up to 38 of them.
create or replace function {schema}.create_executions(p_atomic boolean, p_id uuid[], p_namespace int[], p_class int[],
  p_request_id text[], p_hash bytea[], p_priority smallint[], p_run_at timestamptz[], p_delay_ms bigint[], p_ttl_ms bigint[],
  p_deadline timestamptz[], p_timeout_ms bigint[], p_retry_max int[], p_retry_initial_ms bigint[], p_retry_factor real[],
  p_retry_cap_ms bigint[], p_reclaims_max int[], p_count_lost boolean[], p_tags jsonb[], p_input_type text[],
  p_input_at int[], p_input_length int[], p_input bytea, p_letter uuid[],
  p_root uuid[], p_redrive_of uuid[], p_flow uuid[], p_optional boolean[], p_parent uuid[], p_barrier uuid[],
  p_entered boolean, p_max_members int, p_key text[], p_ordering text[] default null, p_dead_head smallint[] default null,
  p_failure_events jsonb[] default null, p_hops int[] default null, p_trace text[] default null)
returns table (ord int, verdict text, execution uuid, state smallint) language plpgsql volatile as $$
#variable_conflict use_column
declare
  v_now timestamptz := clock_timestamp();
  v_run_at timestamptz[];
  v_start_by timestamptz[];
  v_refused text[];
  v_keyed uuid[];
  v_fresh boolean[];
  v_made uuid[];
  v_state smallint[];
  v_timed boolean;
  v_named boolean;
  v_seq bigint;
  v_gate uuid[];
  v_at int[];
  v_entering {schema}.ready[];
  v_entered smallint[];
  v_subscription int[];
  v_subscription_version bigint[];
  v_event uuid[];
  v_batch uuid[];
  v_batch_index int[];
  v_batch_size int[];
begin
  perform pg_current_xact_id(); -- before any ready_seq is drawn: the safe lower bound of claims rests on it
  -- Spans count from the database's now; the time to start counts from the earliest start.
  select array_agg(t.run_at order by i), array_agg(greatest(t.run_at, v_now) + p_ttl_ms[i] * interval '1 ms' order by i),
      array_agg(case when p_barrier[i] is not null then 1 when t.run_at > v_now then 2 else 3 end::smallint order by i),
      bool_or(p_ttl_ms[i] is not null or p_deadline[i] is not null), bool_or(p_request_id[i] is not null)
    into v_run_at, v_start_by, v_state, v_timed, v_named
    from generate_subscripts(p_id, 1) i
    cross join lateral (select coalesce(p_run_at[i], v_now + p_delay_ms[i] * interval '1 ms') run_at) t;
  select array_agg(case when l.state = 3 then 'closed' end order by u.ordinality) into v_refused
    from unnest(p_class) with ordinality u (class) join {schema}.claim_class c on c.id = u.class
    join {schema}.lane l on l.id = c.lane;
  if p_flow is not null and not p_entered then
    select array_agg(coalesce(e.refused, u.refused) order by u.ordinality) into v_refused
      from unnest(v_refused, p_flow, p_namespace) with ordinality u (refused, flow, namespace)
      left join (select e.* from (
          select array_agg(y.flow) flows, array_agg(y.namespace) namespaces
          from unnest(p_flow, p_namespace) y (flow, namespace) where y.flow is not null) y
        cross join lateral {schema}.enter_flows(y.flows, y.namespaces, p_max_members) e) e
        on e.flow = u.flow and e.namespace = u.namespace;
  end if;
  if v_named then
    with made as (
      insert into {schema}.request_key (namespace, request_id, execution, hash, created_at)
        select u.namespace, u.request_id, u.id, u.hash, v_now
        from unnest(p_namespace, p_request_id, p_id, p_hash, v_refused) u (namespace, request_id, id, hash, refused)
        where u.request_id is not null and u.refused is null
        order by u.namespace, u.request_id on conflict do nothing
        returning request_key.execution)
      select array_agg(made.execution) into v_keyed from made;
  end if;
  select array_agg(v_refused[i] is null and (p_request_id[i] is null or k.id is not null) order by i) into v_fresh
    from generate_subscripts(p_id, 1) i left join unnest(v_keyed) k (id) on k.id = p_id[i];
  if cardinality(array_remove(p_redrive_of, null)) > 0 then
    select array_agg(o.subscription order by u.n), array_agg(o.subscription_version order by u.n),
        array_agg(o.event order by u.n), array_agg(coalesce(u.hops, o.hops) order by u.n), array_agg(o.batch order by u.n),
        array_agg(o.batch_index order by u.n), array_agg(o.batch_size order by u.n),
        array_agg(coalesce(u.ordering, o.ordering_key) order by u.n), array_agg(coalesce(u.dead_head, o.dead_head) order by u.n),
        array_agg(coalesce(u.failure_events, o.failure_events) order by u.n), array_agg(coalesce(u.trace, o.trace) order by u.n)
      into v_subscription, v_subscription_version, v_event, p_hops, v_batch, v_batch_index, v_batch_size, p_ordering,
        p_dead_head, p_failure_events, p_trace
      from unnest(p_redrive_of, p_ordering, p_dead_head, p_failure_events, p_hops, p_trace) with ordinality
        u (id, ordering, dead_head, failure_events, hops, trace, n)
      left join lateral (select x.* from {schema}.execution x where x.id = u.id offset 0) o on true;
  end if;
  if p_parent is not null then
    select array_agg(coalesce(u.trace, t.trace) order by u.n) into p_trace
      from unnest(p_parent, p_trace) with ordinality u (parent, trace, n)
      left join (
        select x.id, x.trace from (select distinct y parent from unnest(p_parent) y where y is not null) d
        cross join lateral (select x.id, x.trace from {schema}.execution x where x.id = d.parent offset 0) x
        where x.trace is not null) t on t.id = u.parent;
  end if;
  with made as (
    insert into {schema}.execution (id, namespace, class, request_id, priority, run_at, start_by, deadline, timeout_ms,
        retry_max, retry_initial_ms, retry_factor, retry_cap_ms, reclaims_max, count_lost, tags, input_type, input, letter,
        root, redrive_of, created_at, flow, optional, parent, concurrency_key, ordering_key, dead_head, failure_events, hops,
        subscription, subscription_version, event, batch, batch_index, batch_size, trace)
      select p_id[i], p_namespace[i], p_class[i], nullif(p_request_id[i], p_id[i]::text), p_priority[i], v_run_at[i],
        v_start_by[i], p_deadline[i], p_timeout_ms[i], p_retry_max[i], p_retry_initial_ms[i], p_retry_factor[i],
        p_retry_cap_ms[i], p_reclaims_max[i], p_count_lost[i], p_tags[i], p_input_type[i],
        case when p_input_type[i] is not null then substring(p_input from p_input_at[i] + 1 for p_input_length[i]) end,
        p_letter[i], p_root[i], p_redrive_of[i], v_now, p_flow[i], coalesce(p_optional[i], false), p_parent[i], p_key[i],
        p_ordering[i], p_dead_head[i], p_failure_events[i], coalesce(p_hops[i], 0), v_subscription[i],
        v_subscription_version[i], v_event[i], v_batch[i], v_batch_index[i], v_batch_size[i], p_trace[i]
      from generate_subscripts(p_id, 1) i where v_fresh[i] order by p_id[i] on conflict do nothing returning id)
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
    if exists (select 1 from {schema}.creation_answers(p_id, p_namespace, p_request_id, p_hash, v_refused, v_fresh) a
        where a.verdict not in ('created', 'duplicate')) then
      raise exception using errcode = 'TR001', message = 'atomic creation refused', detail = (select json_agg(a order by a.ord)
        from {schema}.creation_answers(p_id, p_namespace, p_request_id, p_hash, v_refused, v_fresh) a);
    end if;
  end if;
  if v_made is not null then
    if p_key is not null or p_ordering is not null then
      -- A key is met for the first time once: two who do queue here, in order of the keys, and cannot deadlock.
      select array_agg(coalesce({schema}.gate_of(c.lane, u.key), {schema}.order_gate_of(c.lane, u.ordering)) order by u.n)
        into v_gate
        from unnest(p_class, p_key, p_ordering) with ordinality u (class, key, ordering, n)
        join {schema}.claim_class c on c.id = u.class;
      insert into {schema}.concurrency_key (id, namespace, lane, key, ordered)
        select distinct on (u.gate) u.gate, u.namespace, c.lane, coalesce(u.key, u.ordering), u.ordering is not null
        from unnest(v_gate, p_namespace, p_class, p_key, p_ordering, v_fresh) u (gate, namespace, class, key, ordering, fresh)
        join {schema}.claim_class c on c.id = u.class
        where u.fresh and u.gate is not null order by u.gate on conflict do nothing;
      -- One of an ordering key stands in line whenever it is to run.
      select array_agg(u.ordinality::int order by u.ordinality), array_agg(row(u.class, -u.priority, coalesce(d.gate_place, 0),
          u.id, v_now, case when u.letter is null then 1 else 5 end, 0, 0, 0, u.timeout_ms, u.start_by, u.deadline,
          u.letter is not null, u.flow, u.flow is not null or u.parent is not null, false, u.gate)::{schema}.ready
          order by u.ordinality)
        into v_at, v_entering
        from unnest(p_id, p_class, p_priority, p_timeout_ms, v_start_by, p_deadline, v_state, p_letter, v_fresh, p_flow,
          p_parent, v_gate, p_ordering) with ordinality
          u (id, class, priority, timeout_ms, start_by, deadline, state, letter, fresh, flow, parent, gate, ordering)
        left join lateral (
          select x.gate_place from {schema}.dead_letter x where x.id = u.letter and x.gate = u.gate and x.state <> 3 offset 0) d
          on true
        where u.fresh and u.gate is not null and (u.state = 3 or (u.state = 2 and u.ordering is not null));
      if v_at is not null then
        v_entered := ({schema}.enter_line(v_entering, v_now, false, array(select v_run_at[u] from unnest(v_at) u))).states;
        for i in 1 .. cardinality(v_at) loop v_state[v_at[i]] := v_entered[i]; end loop;
      end if;
    end if;
    if 3 = any (v_state) then
      insert into {schema}.ready (class, priority, seq, execution, ready_at, kind, attempt, failures, reclaims, timeout_ms,
          start_by, deadline, redrive, flow, linked)
        select p_class[i], -p_priority[i], nextval('{schema}.ready_seq'), p_id[i], v_now,
          case when p_letter[i] is null then 1 else 5 end, 0, 0, 0, p_timeout_ms[i], v_start_by[i], p_deadline[i],
          p_letter[i] is not null, p_flow[i], p_flow[i] is not null or p_parent[i] is not null
        from generate_subscripts(p_id, 1) i where v_fresh[i] and v_state[i] = 3 and v_gate[i] is null;
    end if;
    if 2 = any (v_state) then
      insert into {schema}.scheduled (execution, run_at, class, priority, kind, attempt, failures, reclaims, timeout_ms,
          start_by, deadline, redrive, flow, linked, gate)
        select u.id, u.run_at, u.class, u.priority, case when u.letter is null then 1 else 5 end, 0, 0, 0, u.timeout_ms,
          u.start_by, u.deadline, u.letter is not null, u.flow, u.flow is not null or u.parent is not null, u.gate
        from unnest(p_id, p_class, p_priority, p_timeout_ms, v_start_by, p_deadline, v_run_at, v_state, p_letter, v_fresh, p_flow,
          p_parent, v_gate, p_ordering) u (id, class, priority, timeout_ms, start_by, deadline, run_at, state, letter, fresh,
          flow, parent, gate, ordering)
        where u.fresh and u.state = 2 and u.ordering is null;
    end if;
    if p_barrier is not null then
      insert into {schema}.blocked (execution, state, barrier, blocked_at, run_at, class, priority, kind, attempt, failures,
          reclaims, timeout_ms, start_by, deadline, redrive, flow, linked, resume, gate)
        select u.id, 1, u.barrier, v_now, u.run_at, u.class, u.priority, case when u.letter is null then 1 else 5 end, 0, 0,
          0, u.timeout_ms, u.start_by, u.deadline, u.letter is not null, u.flow, true, false, u.gate
        from unnest(p_id, p_barrier, p_class, p_priority, p_timeout_ms, v_start_by, p_deadline, v_run_at, p_letter, v_fresh,
          p_flow, v_gate) u (id, barrier, class, priority, timeout_ms, start_by, deadline, run_at, letter, fresh, flow, gate)
        where u.fresh and u.barrier is not null;
    end if;
    if p_flow is not null then
      insert into {schema}.flow_live (flow, execution)
        select u.flow, u.id from unnest(p_flow, p_id, v_fresh) u (flow, id, fresh) where u.fresh and u.flow is not null;
      update {schema}.flow f set began = true, settled_at = null, seal_at = null,
          state = case when f.state = 2 then 1 else f.state end
        where f.id = any (array(
            select u.flow from unnest(p_flow, v_fresh) u (flow, fresh) where u.fresh and u.flow is not null))
          and (not f.began or f.state = 2);
    end if;
    if v_timed then
      insert into {schema}.timer (execution, due_at)
        select u.id, least(u.start_by, u.deadline)
        from unnest(p_id, v_start_by, p_deadline, v_fresh) u (id, start_by, deadline, fresh)
        where u.fresh and (u.start_by is not null or u.deadline is not null);
    end if;
    select {schema}.append_log(array_agg(p_namespace[i]), array_agg(1::smallint), array_agg(p_id[i]), array_agg(p_flow[i]),
        array_agg(p_class[i]), array_agg(null::smallint), array_agg(v_state[i]), array_agg(0), array_agg(null::text))
      into v_seq from generate_subscripts(p_id, 1) i where v_fresh[i];
  end if;
  if cardinality(v_made) = cardinality(p_id) then
    return query select u.ordinality::int, 'created', u.id, u.state
      from unnest(p_id, v_state) with ordinality u (id, state) order by 1;
  else
    return query select * from {schema}.creation_answers(p_id, p_namespace, p_request_id, p_hash, v_refused, v_fresh);
  end if;
end $$;

-- Appends the entries of one transaction and returns their seq. To be called once, as the transaction's last statement,
-- after every lock. Elements of execution, flow, class, states, attempt and body may be null; a body is compact JSON. Entries that
-- name nobody name whom the transaction's setting tailrace.actor names, if it does.
-- The xid comes first: a hole in the sequence counts as rolled back once every xid older than the step that missed it
-- has ended, which needs each writer to own its xid before it draws.
-- Nobody else writes to the log: that arrays are of one length is looked at here, as a constraint is parsed by each insertion.
create or replace function {schema}.append_log(
  p_namespace int[], p_kind smallint[], p_execution uuid[], p_flow uuid[], p_class int[],
  p_from smallint[], p_to smallint[], p_attempt int[], p_body text[]
) returns bigint
language plpgsql volatile as $$
declare
  v_seq   bigint;
  v_large int[];
  v_actor text := current_setting('tailrace.actor', true);
  v_said  text[] := p_body;
  v_body  text[];
  v_index int;
begin
  if cardinality(p_kind) = 0 or cardinality(p_namespace) <> cardinality(p_kind) or cardinality(p_execution) <> cardinality(p_kind)
    or cardinality(p_flow) <> cardinality(p_kind) or cardinality(p_class) <> cardinality(p_kind)
    or cardinality(p_from) <> cardinality(p_kind) or cardinality(p_to) <> cardinality(p_kind)
    or cardinality(p_attempt) <> cardinality(p_kind) or cardinality(p_body) <> cardinality(p_kind)
  then
    raise check_violation using message = 'a row of the log has arrays of different lengths, or no entry: nobody could read it';
  end if;
  perform pg_current_xact_id();
  if v_actor <> '' then
    select array_agg((jsonb_build_object('actor', v_actor) || (coalesce(p_body[i], '{}')::jsonb -
        case when coalesce(p_body[i]::jsonb ->> 'actor', '') = '' then 'actor' else '' end))::text order by i) into v_said
      from generate_subscripts(p_kind, 1) i;
  end if;
  v_body := v_said;
  select array_agg(b.i) into v_large from unnest(v_said) with ordinality b(body, i) where octet_length(b.body) > 2048;
  v_seq := nextval('{schema}.log_seq');
  if v_large is not null then
    insert into {schema}.log_body (seq, idx, body) select v_seq, i, v_said[i] from unnest(v_large) i;
    foreach v_index in array v_large loop
      v_body[v_index] := null;
    end loop;
  end if;
  insert into {schema}.log (seq, n, at, namespace, kind, execution, flow, class, from_state, to_state, attempt, body, large)
    values (v_seq, cardinality(p_kind), clock_timestamp(), p_namespace, p_kind, p_execution, p_flow, p_class,
            p_from, p_to, p_attempt, v_body, v_large);
  insert into {schema}.log_flow (flow, seq)
    select distinct coalesce(p_flow[i], p_execution[i]), v_seq from generate_subscripts(p_kind, 1) i
    where coalesce(p_flow[i], p_execution[i]) is not null;
  return v_seq;
end $$;

-- One step of the sequencer: gives positions to what has committed, at most p_limit rows of it in one go.
-- Any process may call it at any time, outside a transaction; `busy` means that another one is at it and may not have
-- seen the caller's last commit, so ask again in a millisecond or two.
--
-- The lock is tried in a statement of its own and everything is read after it: a step that read before it would add to
-- a total that is stale by then. A crash anywhere leaves nothing, for all of it is one transaction; that transaction
-- commits synchronously whatever the default says, because readers act on what it shows.
create or replace function {schema}.log_step(p_limit int,
  out busy boolean, out numbered int, out head bigint, out open_holes int, out more boolean)
language plpgsql volatile as $$
declare
  v_next  bigint := 1;
  v_top   bigint := 0;
  v_holes int8range[] := '{}';
  v_hxid  xid8[] := '{}';
  v_keep  int8range[];
  v_keepx xid8[];
  v_xmin  xid8;
  v_xmax  xid8;
  v_me    xid8;
  v_late  bigint[];
  v_laten int[];
  v_fresh bigint[];
  v_freshn int;
  v_hi    bigint;
begin
  if current_setting('transaction_isolation') <> 'read committed' then
    raise exception 'log_step needs read committed, the session has %', current_setting('transaction_isolation');
  end if;
  busy := not pg_try_advisory_xact_lock(1953656651, '{schema}'::regnamespace::oid::int);
  numbered := 0;
  more := false;
  if busy then
    return;
  end if;

  select r.base + r.n, r.top, r.holes, r.hxid into v_next, v_top, v_holes, v_hxid
    from {schema}.log_run r order by r.base desc limit 1;
  if not found then
    v_next := 1; v_top := 0; v_holes := '{}'; v_hxid := '{}';
  end if;

  if v_holes = '{}' then
    select array_agg(l.seq order by l.seq), sum(l.n) into v_fresh, v_freshn
      from (select l.seq, l.n from {schema}.log l where l.seq > v_top order by l.seq limit p_limit) l;
  else
    -- One statement, one snapshot: a hole that is invisible here and older than its xmin has rolled back.
    with late as materialized (
           select l.seq, l.n from unnest(v_holes) h (span)
           join {schema}.log l on l.seq >= lower(h.span) and l.seq < upper(h.span)),
         fresh as materialized (
           select l.seq, l.n from {schema}.log l where l.seq > v_top order by l.seq limit p_limit)
    select (select array_agg(seq order by seq) from late), (select array_agg(n order by seq) from late),
           (select array_agg(seq order by seq) from fresh), (select sum(n) from fresh),
           pg_snapshot_xmin(pg_current_snapshot()), pg_snapshot_xmax(pg_current_snapshot())
      into v_late, v_laten, v_fresh, v_freshn, v_xmin, v_xmax;
  end if;

  if v_late is null and v_fresh is null then
    head := v_next - 1;
    open_holes := cardinality(v_holes);
    return;
  end if;

  if current_setting('synchronous_commit') in ('off', 'local') then
    perform set_config('synchronous_commit', 'on', true);
  end if;
  v_me := pg_current_xact_id();
  v_hi := coalesce(v_fresh[cardinality(v_fresh)], v_top);

  -- Holes go when filled or rolled back. One first missed by an xid that does not exist yet came with a dump from
  -- another cluster: its writer is not among ours.
  -- Nothing was missing, and nothing is: what a step meets nearly always.
  if v_holes <> '{}' or v_hi - v_top > cardinality(v_fresh) then
    select coalesce(array_agg(h.span order by h.span), '{}'), coalesce(array_agg(h.x order by h.span), '{}')
      into v_keep, v_keepx
      from (select r.span, o.x
            from unnest(v_holes, v_hxid) o (span, x)
            cross join lateral unnest(int8multirange(o.span) - coalesce(
              (select range_agg(int8range(l, l, '[]')) from unnest(v_late) l where l <@ o.span), '{}')) r (span)
            where o.x >= v_xmin and o.x < v_xmax
            union all
            select int8range(f.before + 1, f.seq), v_me
            from (select u.seq, lag(u.seq, 1, v_top) over (order by u.seq) as before from unnest(v_fresh) u (seq)) f
            where f.seq > f.before + 1) h;
  else
    v_keep := '{}';
    v_keepx := '{}';
  end if;

  -- Late rows first: what a fresh row depends on is older, and may be among them.
  if v_late is not null then
    insert into {schema}.log_run (base, n, lo, hi, top, holes, hxid)
      select v_next + sum(l.n) over (order by l.seq) - l.n, l.n, l.seq, l.seq, v_top,
             case when v_fresh is null then v_keep else '{}' end, case when v_fresh is null then v_keepx else '{}' end
      from unnest(v_late, v_laten) l(seq, n);
    numbered := (select sum(l.n) from unnest(v_laten) l(n));
  end if;
  if v_fresh is not null then
    insert into {schema}.log_run (base, n, lo, hi, top, holes, hxid)
      values (v_next + numbered, v_freshn, v_fresh[1], v_hi, v_hi, v_keep, v_keepx);
    numbered := numbered + v_freshn;
    more := cardinality(v_fresh) = p_limit;
  end if;
  head := v_next + numbered - 1;
  open_holes := cardinality(v_keep);
end $$;
