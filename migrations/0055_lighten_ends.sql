-- What an end costs Postgres: entries of the log are made in three goes instead of three candidates for each execution that are
-- sorted and mostly dropped, and entries that count alike are counted as one.
--
-- Why: of the 33 µs that the end of an execution took, these candidates were 9; folding the counts took 2.2 µs for each of an
-- execution's four entries, and takes 0.8.
-- Locks: creates only.
-- older-servers: allowed

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
  -- The ends of attempts, then the states they led to, then what was written to letters: of one execution in this order. A
  -- state change stands in one entry only: in the attempt's end when the work goes back, in the terminal entry otherwise.
  select array_agg(z.namespace) namespace, array_agg(z.kind) kind, array_agg(z.execution) execution,
      array_agg(z.flow) flow, array_agg(z.class) class, array_agg(z.from_state) from_state,
      array_agg(z.to_state) to_state, array_agg(z.attempt) attempt, array_agg(z.body) body
    into v_log
    from (
      select x.namespace, 21::smallint kind, x.execution, x.flow, x.class, case when x.state < 7 then x.from_state end from_state,
        case when x.state < 7 then x.state end to_state, x.attempt,
        '{"outcome":' || x.attempt_outcome || coalesce(',"failure_class":' || x.failure_class, '')
          || coalesce(',"message":' || to_json(left(x.message, 1000))::text, '')
          || coalesce(',"run_at":' || to_json(x.run_at)::text, '') || '}' body
      from unnest(p_endings) x where x.lease is not null
      union all
      select x.namespace, (x.state - 1)::smallint, x.execution, x.flow, x.class, x.from_state, x.state, x.attempt,
        '{"reason":' || x.reason || '}'
      from unnest(p_endings) x where x.state >= 7
      union all
      select x.namespace, s.kind, x.execution, x.flow, x.class, null, null, x.attempt,
        '{"letter":"' || s.letter || '"' || coalesce(',"reason":' || x.reason, '') || '}'
      from unnest(v_letter_execution, v_letter, v_letter_kind) s (execution, letter, kind)
      join unnest(p_endings) x on x.execution = s.execution) z;
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

-- Folds about p_limit entries on from where it stands; whole transactions only. busy: another process is at it.
-- One transaction: a crash leaves counts and position as they were. Everything is read after the lock was taken, in a
-- new statement, or a step that began before it would fold the same entries again.
create or replace function {schema}.fold_counts(p_limit int, out busy boolean, out folded int, out upto bigint)
language plpgsql volatile as $$
begin
  select c.position into upto from {schema}.counted c for update skip locked;
  busy := not found;
  folded := 0;
  if busy then return; end if;
  with run as materialized (
      select r.base, r.lo, r.hi, r.holes from {schema}.log_run r
      where r.base >= (select coalesce(max(b.base), 0) from {schema}.log_run b where b.base <= upto + 1)
        and r.base <= upto + p_limit),
    numbered as materialized (
      select l.namespace, l.kind, l.class, l.flow, l.from_state, l.to_state, l.n,
        (r.base + sum(l.n) over (partition by r.base order by l.seq) - l.n)::bigint as position
      from run r join {schema}.log l on l.seq between r.lo and r.hi and (r.lo = r.hi or not l.seq <@ any (r.holes))),
    fresh as materialized (
      select x.* from numbered x where x.position > upto and x.position <= upto + p_limit),
    -- Entries that count alike are one row from here on: a batch makes hundreds of them.
    alike as materialized (
      select e.namespace, e.kind, e.class, e.flow, e.from_state, e.to_state, count(*) n
      from fresh x
      cross join lateral unnest(x.namespace, x.kind, x.class, x.flow, x.from_state, x.to_state)
        e (namespace, kind, class, flow, from_state, to_state)
      group by 1, 2, 3, 4, 5, 6),
    moved as (
      select e.class, m.state, sum(m.sign * e.n) n
      from alike e
      cross join lateral (values (e.from_state, -1), (e.to_state, 1), (case when e.kind = 1 then 0::smallint end, 1))
        m (state, sign)
      where e.class is not null and m.state is not null
      group by e.class, m.state having sum(m.sign * e.n) <> 0),
    members as (
      select e.flow, m.state, sum(m.sign * e.n) n
      from alike e
      cross join lateral (values (e.from_state, -1), (e.to_state, 1),
        (case e.kind when 1 then 0::smallint when 30 then 12::smallint end, 1)) m (state, sign)
      where e.flow is not null and m.state is not null
      group by e.flow, m.state having sum(m.sign * e.n) <> 0),
    published as (select e.namespace, sum(e.n) n from alike e where e.kind = 30 group by e.namespace),
    counted as (
      insert into {schema}.flow_count as k (flow, state, n) select * from members order by flow, state
      on conflict (flow, state) do update set n = k.n + excluded.n),
    added as (
      insert into {schema}.state_count as k (class, state, n) select * from moved order by class, state
      on conflict (class, state) do update set n = k.n + excluded.n),
    told as (
      insert into {schema}.event_count as k (namespace, n) select * from published order by namespace
      on conflict (namespace) do update set n = k.n + excluded.n)
    select coalesce(sum(x.n), 0), coalesce(max(x.position + x.n - 1), upto) into folded, upto from fresh x;
  if folded > 0 then
    update {schema}.counted set position = upto;
  end if;
end $$;
