-- Events where executions end, and where loops look: as before, but for failure events, slots of batches, letters that know
-- their event and block their ordering key, and work for the router.
-- Locks: creates only. older-servers: refused

-- Opens a letter for each execution that gave up; a redrive that gave up reopens the letter it came from, and one that
-- succeeded closes it. Letters are locked last and in the order of their ids; whoever else locks letters does nothing
-- under that lock but write them, so this wait is short and cannot be part of a cycle.
create or replace function {schema}.settle_letters(p_endings {schema}.ending[], p_now timestamptz)
returns table (execution uuid, letter uuid, kind smallint) language plpgsql volatile as $$
#variable_conflict use_column
declare
  v_execution uuid[];
  v_letter uuid[];
begin
  select array_agg(e.id order by e.letter), array_agg(e.letter order by e.letter) into v_execution, v_letter
    from unnest(p_endings) x
    -- By key whatever the planner believes: the index on letters would read every redrive there ever was.
    cross join lateral (select i.id, i.letter from {schema}.execution i where i.id = x.execution offset 0) e
    where x.redrive and x.state >= 7 and e.letter is not null;
  if v_letter is not null then
    perform 1 from {schema}.dead_letter d where d.id = any (v_letter) order by d.id for update;
    return query
      update {schema}.dead_letter d set
        state = case when x.state = 7 then 3 else 1 end,
        resolution = case when x.state = 7 then 1 end,
        closed_at = case when x.state = 7 then p_now end,
        reason = case when x.state in (8, 10) then x.reason else d.reason end,
        failure_class = case when x.state in (8, 10) then x.failure_class else d.failure_class end,
        message = case when x.state in (8, 10) then coalesce(x.message, '') else d.message end,
        failure_code = case when x.state in (8, 10) then x.failure_code else d.failure_code end,
        details_type = case when x.state in (8, 10) then x.content_type else d.details_type end,
        details = case when x.state in (8, 10) then x.content else d.details end,
        fingerprint = case when x.state in (8, 10) then {schema}.fingerprint(d.type, x.failure_class, x.message)
          else d.fingerprint end,
        attempts = d.attempts + x.attempt,
        last_failure_at = case when x.state in (8, 10) then p_now else d.last_failure_at end,
        version = d.version + 1
      from unnest(v_execution, v_letter) u (execution, letter) join unnest(p_endings) x on x.execution = u.execution
      where d.id = any (v_letter) and d.id = u.letter and d.state = 2
      returning x.execution, d.id, (case when x.state = 7 then 72 else 73 end)::smallint;
  end if;
  return query
    insert into {schema}.dead_letter as d (id, namespace, execution, last_execution, reason, lane, type, flow, tags,
        input_type, input, failure_class, failure_code, message, details_type, details, fingerprint, attempts, first_failure_at,
        last_failure_at, created_at, event, event_id, event_type, subscription, gate)
      select {schema}.uuid_v7(), x.namespace, x.execution, x.execution, x.reason, n.name,
        c.type, e.flow, e.tags, coalesce(e.input_type, v.payload_type), case when e.input_type is null then v.payload else e.input end,
        x.failure_class, x.failure_code, coalesce(x.message, ''), x.content_type, x.content,
        {schema}.fingerprint(c.type, x.failure_class, x.message), x.attempt,
        coalesce((select min(a.ended_at) from {schema}.attempt a
          where a.execution = x.execution and a.outcome in (2, 3, 4)), p_now), p_now, p_now, v.id, coalesce(v.event_id, v.id::text),
        v.type, (select s.name from {schema}.subscription s where s.id = e.subscription),
        -- One whose join never let it go had no place in the order yet.
        case when e.dead_head = 1 and (x.attempt > 0 or x.barrier is null and x.reason <> 9)
          then {schema}.order_gate_of(c.lane, e.ordering_key) end
      from unnest(p_endings) x
      join {schema}.execution e on e.id = x.execution
      join {schema}.claim_class c on c.id = x.class
      join {schema}.lane n on n.id = c.lane
      left join lateral (
        select y.id, y.event_id, y.type, y.payload_type, y.payload from {schema}.event y where y.id = e.event offset 0) v on true
      where x.state in (8, 10) and not x.redrive
        and e.id = any (array(select y.execution from unnest(p_endings) y where y.state in (8, 10)))
      returning d.execution, d.id, 70::smallint;
end $$;

-- Phase rows of these executions are already deleted by the caller, in this transaction. Whoever calls it tells waiting
-- workers of the classes in `woken`, one per execution of `released`; `causes` are the executions whose ends released them.
-- follows: rows of filling or follow_up were written. p_cascaded: these are consequences of a fold, so their slots are
-- filled in a transaction of their own. p_policy: how children of those that waited for them are stopped.
create or replace function {schema}.settle(p_endings {schema}.ending[], p_now timestamptz, p_cascaded boolean default false,
  p_policy jsonb default null, out seq bigint, out released uuid[], out causes uuid[], out woken int[],
  out follows boolean) language plpgsql volatile as $$
declare
  c_fan_out constant int := 64; -- slots of one execution that are filled where it ends, and slots of a join folded there
  c_inline constant int := 1000; -- slots filled by one transaction
  v_attempts boolean;
  v_terminal boolean;
  v_ready boolean;
  v_scheduled boolean;
  v_letters boolean;
  v_linked boolean;
  v_resume boolean;
  v_barriers uuid[];
  v_parked {schema}.parked[];
  v_one record;
  v_at int;
  v_timers uuid[];
  v_letter_execution uuid[];
  v_letter uuid[];
  v_letter_kind smallint[];
  v_fold record;
  v_items {schema}.log_item[];
  v_skipped {schema}.ending[];
  v_log record;
  v_gates uuid[]; -- of keys that got slots back
  v_keys record;
  v_emitted {schema}.staged; -- events that were declared for giving up
begin
  select bool_or(x.lease is not null), bool_or(x.state >= 7), bool_or(x.state = 3), bool_or(x.state = 2),
      bool_or(x.state in (8, 10) or (x.redrive and x.state >= 7)), bool_or(x.linked), bool_or(x.resume and x.state >= 7),
      array_agg(x.execution) filter (where x.state >= 7 and (x.start_by is not null or x.deadline is not null)),
      array_agg(x.barrier) filter (where x.barrier is not null),
      array_agg(distinct x.gate) filter (where x.gate is not null)
    into v_attempts, v_terminal, v_ready, v_scheduled, v_letters, v_linked, v_resume, v_timers, v_barriers, v_gates
    from unnest(p_endings) x;
  follows := false;
  if v_linked then
    -- A join that was satisfied without it cancels it, and a loser is no failure, whatever it ended as.
    for v_at in
      select x.ordinality::int from unnest(p_endings) with ordinality x
      where x.linked and x.state not in (7, 9) and {schema}.is_loser(x.execution)
    loop
      p_endings[v_at].state := 9;
      p_endings[v_at].reason := 23;
      p_endings[v_at].run_at := null;
      p_endings[v_at].message := 'a join was satisfied without it';
      v_terminal := true;
    end loop;
    select bool_or(x.state = 3), bool_or(x.state = 2), bool_or(x.state in (8, 10) or (x.redrive and x.state >= 7)),
        array_agg(x.execution) filter (where x.state >= 7 and (x.start_by is not null or x.deadline is not null)),
        array_agg(distinct x.gate) filter (where x.gate is not null)
      into v_ready, v_scheduled, v_letters, v_timers, v_gates from unnest(p_endings) x;
  end if;
  if v_resume then
    with gone as (
      delete from {schema}.parked p
        where p.execution = any (array(select x.execution from unnest(p_endings) x where x.resume and x.state >= 7))
        returning p)
      select array_agg(gone.p) into v_parked from gone;
    for v_one in
      select x.ordinality::int place, p.*
      from unnest(p_endings) with ordinality x join unnest(v_parked) p on p.execution = x.execution
    loop
      p_endings[v_one.place].kind := v_one.kind;
      p_endings[v_one.place].lease := v_one.lease;
      p_endings[v_one.place].token := v_one.token;
      p_endings[v_one.place].worker := v_one.worker;
      p_endings[v_one.place].worker_name := v_one.worker_name;
      p_endings[v_one.place].ready_at := v_one.ready_at;
      p_endings[v_one.place].started_at := v_one.started_at;
      p_endings[v_one.place].progress_percent := v_one.progress_percent;
      p_endings[v_one.place].progress_message := v_one.progress_message;
      p_endings[v_one.place].progress_at := v_one.progress_at;
      p_endings[v_one.place].call := v_one.call;
      p_endings[v_one.place].hash := v_one.hash;
      p_endings[v_one.place].usage := v_one.usage;
      p_endings[v_one.place].attempt_outcome := case p_endings[v_one.place].state when 8 then 2 when 10 then 10 else 8 end;
      v_attempts := true;
    end loop;
  end if;
  if v_attempts then
    insert into {schema}.attempt (execution, number, namespace, class, kind, worker, worker_name, lease, token, ready_at,
        started_at, ended_at, outcome, call, hash, state, run_at, failure_class, failure_code, message, details_type,
        details, progress_percent, progress_message, progress_at, usage)
      select x.execution, x.attempt, x.namespace, x.class, x.kind, x.worker, x.worker_name, x.lease, x.token, x.ready_at,
        x.started_at, p_now, x.attempt_outcome, x.call, x.hash, x.state, x.run_at, x.failure_class, x.failure_code, x.message,
        case when x.state <> 7 then x.content_type end, case when x.state <> 7 then x.content end, x.progress_percent,
        x.progress_message, x.progress_at, x.usage
      from unnest(p_endings) x where x.lease is not null;
  end if;
  if v_terminal then
    insert into {schema}.outcome (execution, namespace, class, state, reason, ended_at, attempt, token, started_at,
        failure_class, failure_code, message, details_type, details, result_type, result)
      select x.execution, x.namespace, x.class, x.state, x.reason, p_now, x.attempt, x.token, x.started_at,
        x.failure_class, x.failure_code, x.message, case when x.state <> 7 then x.content_type end,
        case when x.state <> 7 then x.content end, case when x.state = 7 then x.content_type end,
        case when x.state = 7 then x.content end
      from unnest(p_endings) x where x.state >= 7;
  end if;
  if v_ready then
    insert into {schema}.ready (class, priority, seq, execution, ready_at, kind, attempt, failures, reclaims, timeout_ms,
        start_by, deadline, redrive, flow, linked, gate)
      select x.class, -x.priority, nextval('{schema}.ready_seq'), x.execution, p_now, x.next_kind, x.attempt, x.failures,
        x.reclaims, x.timeout_ms, x.start_by, x.deadline, x.redrive, x.flow, x.linked, x.gate
      from unnest(p_endings) x where x.state = 3;
  end if;
  if v_scheduled then
    insert into {schema}.scheduled (execution, run_at, class, priority, kind, attempt, failures, reclaims, timeout_ms,
        start_by, deadline, redrive, flow, linked, gate)
      select x.execution, x.run_at, x.class, x.priority, x.next_kind, x.attempt, x.failures, x.reclaims, x.timeout_ms,
        x.start_by, x.deadline, x.redrive, x.flow, x.linked, x.gate
      from unnest(p_endings) x where x.state = 2;
  end if;
  if v_timers is not null then
    delete from {schema}.timer t where t.execution = any (v_timers);
  end if;
  if v_letters then
    select array_agg(s.execution), array_agg(s.letter), array_agg(s.kind)
      into v_letter_execution, v_letter, v_letter_kind from {schema}.settle_letters(p_endings, p_now) s;
  end if;
  if v_linked and v_terminal then
    select * into v_fold from {schema}.fill_slots(p_endings, p_now, p_cascaded, c_fan_out, c_inline);
    released := v_fold.released;
    causes := v_fold.causes;
    woken := v_fold.classes;
    follows := v_fold.follows;
    v_items := v_fold.items;
    v_skipped := v_fold.endings; -- a record with any null field is not "not null"
  end if;
  -- Of batches: slots that the ended ones owned are looked at right after.
  if v_linked and v_terminal then
    if coalesce((
        select true from (select distinct x.namespace from unnest(p_endings) x where x.linked and x.state >= 7) n
        cross join lateral (select from {schema}.subscription s where s.namespace = n.namespace and s.joins limit 1) s limit 1),
      false)
    then
      follows := {schema}.leave_slots(p_endings) or follows;
    end if;
  end if;
  -- Events for giving up: stored here, routed right after.
  if v_letters then
    v_emitted := {schema}.failure_emissions(p_endings, p_now);
    follows := follows or coalesce(v_emitted.follows, false);
  end if;
  -- What ended while it waited leaves its join without a downstream, and its children without a parent.
  if v_barriers is not null then
    perform {schema}.abandon_joins(v_barriers, p_now);
    insert into {schema}.follow_up (kind, subject, reason, policy)
      select 3, x.barrier, 24, coalesce(p_policy, '{}') from unnest(p_endings) x where x.from_state = 6;
    follows := true;
  end if;
  -- The slots of its key go to those that wait for them; each is told as brought about by one end of that key. What goes back in
  -- line keeps its slot, unless more were running than there are by now.
  if v_gates is not null then
    select * into v_keys from {schema}.balance_keys(v_gates, p_now, v_ready);
    v_items := v_items || v_keys.items;
    follows := follows or v_keys.left_over;
    if v_keys.classes is not null then
      released := released || array_fill(null::uuid, array[cardinality(v_keys.classes)]);
      woken := woken || v_keys.classes;
      causes := causes || array(
        select (select x.execution from unnest(p_endings) x where x.gate = u.gate limit 1)
        from unnest(v_keys.gates) with ordinality u (gate, n) order by u.n);
    end if;
  end if;
  -- Per execution: the attempt's end, the state it led to, what was written to its letter. A state change stands in one
  -- entry only: in the attempt's end when the work goes back, in the terminal entry otherwise.
  select array_agg(z.namespace) namespace, array_agg(z.kind) kind, array_agg(z.execution) execution,
      array_agg(z.flow) flow, array_agg(z.class) class, array_agg(z.from_state) from_state,
      array_agg(z.to_state) to_state, array_agg(z.attempt) attempt, array_agg(z.body) body
    into v_log
    from (
      select x.namespace, y.kind, x.execution, x.flow, x.class, y.from_state, y.to_state, x.attempt, y.body
      from unnest(p_endings) with ordinality x
      left join unnest(v_letter_execution, v_letter, v_letter_kind) s (execution, letter, kind) on s.execution = x.execution
      cross join lateral (values
        (1, 21::smallint, case when x.state < 7 then x.from_state end, case when x.state < 7 then x.state end,
          '{"outcome":' || x.attempt_outcome || coalesce(',"failure_class":' || x.failure_class, '')
            || coalesce(',"message":' || to_json(left(x.message, 1000))::text, '')
            || coalesce(',"run_at":' || to_json(x.run_at)::text, '') || '}'),
        (2, (x.state - 1)::smallint, x.from_state, x.state, '{"reason":' || x.reason || '}'),
        (3, s.kind, null, null, '{"letter":"' || s.letter || '"' || coalesce(',"reason":' || x.reason, '') || '}')
      ) y (step, kind, from_state, to_state, body)
      where case y.step when 1 then x.lease is not null when 2 then x.state >= 7 else s.letter is not null end
      order by x.ordinality, y.step) z;
  seq := {schema}.append_items(v_log.namespace, v_log.kind, v_log.execution, v_log.flow, v_log.class, v_log.from_state,
    v_log.to_state, v_log.attempt, v_log.body, v_items);
  if v_emitted.events is not null then
    perform {schema}.append_staged(v_emitted);
  end if;
  -- What the ends decided for others, one level deeper.
  if v_skipped is not null then
    perform {schema}.settle(v_skipped, p_now, true, p_policy);
    follows := true;
  end if;
end $$;

drop function {schema}.sweep_follow_ups(int);
-- What is due of `follow_up`, and flows that seal themselves. taken: something was done, look again at once. next_ms: until
-- something is due. lease_ms: holders were asked to stop, and have so long. Fillings and joins whose time is up are swept by
-- statements of their own: one that cannot be done must not hold up the others.
create function {schema}.sweep_follow_ups(p_limit int, out taken int, out classes int[], out next_ms double precision,
  out lease_ms bigint, out routes boolean) language plpgsql volatile as $$
declare
  c_executions constant int := 500; -- canceled by one sweep
  v_now timestamptz;
  v_part record;
  v_due {schema}.follow_up[];
  v_item {schema}.follow_up;
  v_looked uuid[];
  v_handled int := 0;
begin
  classes := '{}';
  taken := 0;
  v_now := clock_timestamp();
  with idle as (
      select f.id from {schema}.flow f where f.seal_at <= v_now order by f.seal_at limit p_limit for update skip locked),
    sealed as (
      update {schema}.flow f set sealed_at = v_now, seal_at = null, revision = f.revision + 1
        where f.id = any (array(select idle.id from idle)) returning f.*),
    told as (insert into {schema}.follow_up (kind, subject) select 1, s.id from sealed s)
    select array_agg(s.namespace) namespaces, array_agg(s.id) ids, array_agg(s.revision) revisions into v_part from sealed s;
  if v_part.ids is not null then
    taken := taken + cardinality(v_part.ids);
    perform {schema}.append_log(array_agg(u.namespace), array_agg(42::smallint), array_agg(null::uuid), array_agg(u.id),
        array_agg(null::int), array_agg(null::smallint), array_agg(null::smallint), array_agg(null::int),
        array_agg('{"revision":' || u.revision || '}'))
      from unnest(v_part.namespaces, v_part.ids, v_part.revisions) u (namespace, id, revision);
  end if;
  select array_agg(x.u order by (x.u).seq) into v_due from (
    select u from {schema}.follow_up u where u.due_at <= clock_timestamp() and u.kind not in (8, 9) order by u.due_at, u.seq limit p_limit
    for update skip locked) x (u);
  v_now := clock_timestamp();
  if exists (select from unnest(v_due) u where u.kind = 5) then
    perform {schema}.abandon_joins(array(select distinct u.subject from unnest(v_due) u where u.kind = 5), v_now);
    delete from {schema}.follow_up u where u.seq = any (array(select y.seq from unnest(v_due) y where y.kind = 5));
    taken := taken + 1;
  end if;
  if exists (select from unnest(v_due) u where u.kind = 6) then
    v_looked := array(select b.id from {schema}.barrier b
      where b.id = any (array(select u.subject from unnest(v_due) u where u.kind = 6)) order by b.id for update skip locked);
    select f.* into v_part from {schema}.fold_joins(v_looked, '{}', '{}', '{}', v_now) f;
    classes := classes || v_part.classes;
    perform {schema}.append_folded(v_part.items, v_part.endings, v_now);
    delete from {schema}.follow_up u
      where u.seq = any (array(select y.seq from unnest(v_due) y where y.kind = 6 and y.subject = any (v_looked)));
    update {schema}.follow_up u set due_at = v_now + interval '5 ms'
      where u.seq = any (array(select y.seq from unnest(v_due) y where y.kind = 6 and not y.subject = any (v_looked)));
    taken := taken + v_part.folded;
  end if;
  if exists (select from unnest(v_due) u where u.kind = 4) then
    select f.* into v_part from {schema}.fan_out(
      array(select distinct u.subject from unnest(v_due) u where u.kind = 4), v_now) f;
    classes := classes || v_part.woken;
    delete from {schema}.follow_up u
      where u.seq = any (array(select y.seq from unnest(v_due) y where y.kind = 4 and y.subject = any (v_part.done)));
    taken := taken + 1;
  end if;
  foreach v_item in array coalesce(v_due, '{}') loop
    continue when v_item.kind not in (2, 3);
    exit when v_handled >= c_executions;
    select c.* into v_part from {schema}.cancel_batch(v_item) c;
    v_handled := v_handled + v_part.handled;
    classes := classes || v_part.woken;
    lease_ms := least(lease_ms, v_part.asked_ms);
    taken := taken + 1;
  end loop;
  if exists (select from unnest(v_due) u where u.kind = 7) then
    select b.classes, b.items into v_part from {schema}.balance_keys(
      array(select distinct u.subject from unnest(v_due) u where u.kind = 7), clock_timestamp()) b;
    classes := classes || v_part.classes;
    delete from {schema}.follow_up u where u.seq = any (array(select y.seq from unnest(v_due) y where y.kind = 7));
    if v_part.items is not null then
      perform {schema}.append_items('{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', v_part.items);
      taken := taken + 1;
    end if;
  end if;
  if exists (select from unnest(v_due) u where u.kind = 10) then
    select s.done, s.classes into v_part from {schema}.fill_left_slots(
      array(select u from unnest(v_due) u where u.kind = 10), clock_timestamp()) s;
    classes := classes || v_part.classes;
    delete from {schema}.follow_up u where u.seq = any (v_part.done);
    taken := taken + coalesce(cardinality(v_part.done), 0);
  end if;
  -- Last, so that it sees what was ended above; locks of flows come after all others.
  if exists (select from unnest(v_due) u where u.kind = 1) then
    select c.* into v_part from {schema}.check_flows(
      array(select distinct u.subject from unnest(v_due) u where u.kind = 1), v_now) c;
    v_looked := v_part.looked;
    delete from {schema}.follow_up u
      where u.seq = any (array(select y.seq from unnest(v_due) y where y.kind = 1
        and (y.subject = any (v_looked) or not exists (select from {schema}.flow f where f.id = y.subject))));
    taken := taken + coalesce(cardinality(v_looked), 0);
  end if;
  select extract(epoch from u.due_at - clock_timestamp()) * 1000 into next_ms
    from {schema}.follow_up u where u.kind not in (8, 9) order by u.due_at limit 1;
  select least(next_ms, extract(epoch from u.seal_at - clock_timestamp()) * 1000) into next_ms
    from (select min(y.seal_at) seal_at from (select f.seal_at from {schema}.flow f where f.seal_at is not null
      order by f.seal_at limit 1) y) u;
  -- Whoever gives up, or cancels what waits, leaves a follow_up too.
  routes := coalesce((select true from {schema}.unrouted u limit 1), false);
end $$;

drop function {schema}.pulse(int[], smallint[], bigint[], smallint[]);
create function {schema}.pulse(p_class int[], p_from_priority smallint[], p_from_seq bigint[],
  p_to_priority smallint[], out registry bigint, out scheduled_ms double precision, out lease_ms double precision,
  out timer_ms double precision, out join_ms double precision, out follow_ms double precision,
  out suspension_ms double precision, out budget_ms double precision, out route_ms double precision, out non_empty int[], out head bigint,
  out unnumbered boolean) language plpgsql stable as $$
declare
  v_now timestamptz := clock_timestamp();
begin
  select version into registry from {schema}.registry;
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
  select array_agg(distinct s.class) into non_empty
    from unnest(p_class, p_from_priority, p_from_seq, p_to_priority) s (class, from_priority, from_seq, to_priority)
    where exists (select 1 from {schema}.ready r where r.class = s.class
      and (r.priority, r.seq) >= (s.from_priority, s.from_seq) and r.priority < s.to_priority);
  select h.head, h.unnumbered into head, unnumbered from {schema}.log_head() h;
end $$;
