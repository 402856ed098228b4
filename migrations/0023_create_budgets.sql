-- Budgets: what is used is counted and never passes a hard limit; work whose budget is used up waits, and comes back by itself.
--
-- A report locks the budgets that bound its execution in the order of their ids, reads base and deltas in a new statement, and
-- applies all of it or nothing. Use is kept as deltas that are folded into the base under the same lock, so that no row is
-- rewritten per report. Once a dimension is used up, the attachments stand in `spent`, where claims look; what stands in line
-- for them moves out of it, and back, in batches right after (follow_up, kinds 8 and 9).
-- Whoever puts work behind a budget (waits_for 3) holds the row of `spent` that says so, and whoever takes that row away leaves a
-- follow_up of kind 9 in the same transaction: it finds everything that was put there.
-- A window that has ended is applied by whoever looks next. Somebody looks in time where the budget holds anything back: the
-- sweeper at the end of every window of a used-up budget, a follow_up of kind 9 where a breach has parked an execution.
-- Lock order: lease → budget → the execution's usage → spent → dead letter. Keys are taken with SKIP LOCKED.
-- A crash before a commit leaves nothing; what a commit left to be done stands in follow_up.
-- Locks: creates only. older-servers: refused

-- One dimension of a budget as a report finds it, and what the report asks of it.
create type {schema}.budget_step as (budget uuid, name text, policy smallint, exhausted boolean, reset_at timestamptz,
  dimension text, epoch bigint, hard bigint, soft bigint, used bigint, amount bigint);

-- The budgets that bound what this execution uses, sorted; null when there are none.
create function {schema}.budgets_of(p_namespace int, p_lane int, p_flow uuid, p_execution uuid) returns uuid[]
language sql stable as $$
  select array_agg(distinct a.budget order by a.budget)
  from (values (1, 0, '00000000-0000-0000-0000-000000000000'::uuid), (2, p_lane, '00000000-0000-0000-0000-000000000000'),
    (3, 0, p_flow), (4, 0, p_execution)) k (kind, lane, subject)
  cross join lateral (
    select y.budget from {schema}.budget_attachment y
    where y.namespace = p_namespace and y.kind = k.kind and y.lane = k.lane and y.subject = k.subject offset 0) a
$$;

-- Base and deltas of these budgets. Right for who holds them and asks in a new statement.
create function {schema}.budget_use(p_budget uuid[])
returns table (budget uuid, dimension text, hard bigint, soft bigint, epoch bigint, used bigint) language sql stable as $$
  select u.id, z.dimension, z.hard, z.soft, z.epoch, z.used
  from unnest(p_budget) u (id)
  cross join lateral (select y.folded from {schema}.budget y where y.id = u.id offset 0) b
  cross join lateral (
    select x.dimension, max(x.hard) hard, max(x.soft) soft, max(x.epoch) epoch, greatest(0, sum(x.amount))::bigint used
    from (
      select y.dimension, y.hard_limit hard, y.soft_limit soft, y.epoch, y.used amount
        from {schema}.budget_dimension y where y.budget = u.id
      union all
      select y.dimension, null, null, null, y.amount
        from {schema}.budget_delta y where y.budget = u.id and y.seq > b.folded) x
    group by x.dimension having max(x.hard) is not null) z
$$;

-- The end of the window that p_now lies in; windows are counted from p_start, in both directions.
create function {schema}.window_end(p_start timestamptz, p_window_ms bigint, p_now timestamptz) returns timestamptz
language sql immutable as $$
  select p_start + (floor(extract(epoch from p_now - p_start) * 1000 / p_window_ms) + 1)::bigint * p_window_ms
    * interval '1 ms'
$$;

-- What happened to a budget, as an entry of the log. Body: subject (its name), and p_more.
create function {schema}.budget_item(b {schema}.budget, p_kind int, p_more jsonb) returns {schema}.log_item
language sql immutable as $$
  select row(b.namespace, p_kind, null, null, null, null, null, null,
    (jsonb_build_object('subject', b.name) || p_more)::text)::{schema}.log_item
$$;

-- Puts the deltas of a budget that the caller holds into its base.
create function {schema}.fold_budget(p_budget uuid) returns void language plpgsql volatile as $$
begin
  with gone as (
      delete from {schema}.budget_delta y
        where y.budget = p_budget and y.seq > (select b.folded from {schema}.budget b where b.id = p_budget) returning y.*),
    based as (
      update {schema}.budget_dimension d set used = greatest(0, d.used + s.n)
        from (select g.dimension, sum(g.amount) n from gone g group by g.dimension) s
        where d.budget = p_budget and d.dimension = s.dimension)
    update {schema}.budget b set folded = (select max(g.seq) from gone g)
      where b.id = p_budget and exists (select from gone);
end $$;

-- Appends deltas to budgets that the caller holds; every now and then they are folded.
create function {schema}.append_use(p_budget uuid[], p_dimension text[], p_amount bigint[]) returns void
language plpgsql volatile as $$
declare
  c_fold constant int := 64;
begin
  with place as materialized (
      select x.id, nextval('{schema}.budget_seq') seq from (select distinct u id from unnest(p_budget) u) x)
    insert into {schema}.budget_delta (budget, seq, dimension, amount)
      select u.budget, p.seq, u.dimension, u.amount
      from unnest(p_budget, p_dimension, p_amount) u (budget, dimension, amount) join place p on p.id = u.budget;
  perform {schema}.fold_budget(x.id) from (select distinct u id from unnest(p_budget) u) x
    cross join lateral (select y.folded from {schema}.budget y where y.id = x.id offset 0) b
    where (select count(*) from (
      select from {schema}.budget_delta y where y.budget = x.id and y.seq > b.folded limit c_fold) y) >= c_fold;
end $$;

-- Use begins at 0 again, of these dimensions or (null) of all; the caller holds the budget.
create function {schema}.restart_budget(p_budget uuid, p_dimensions text[], p_now timestamptz) returns void
language plpgsql volatile as $$
begin
  perform {schema}.fold_budget(p_budget);
  update {schema}.budget b set epoch = b.epoch + 1,
      reset_at = case when b.reset_at <= p_now then {schema}.window_end(b.window_start, b.window_ms, p_now) else b.reset_at end
    where b.id = p_budget;
  update {schema}.budget_dimension d set used = 0, epoch = (select b.epoch from {schema}.budget b where b.id = p_budget)
    where d.budget = p_budget and (p_dimensions is null or d.dimension = any (p_dimensions));
end $$;

-- What follows from a change of use, limits or attachments of a budget that the caller holds. p_room: 0 there is no more of it
-- than before; 1 some was given back, and whom it had parked goes on as far as that reaches; 2 they all try again.
-- due: the sweeper of budgets has something to do.
create function {schema}.mark_budget(p_budget uuid, p_room int, out items {schema}.log_item[], out due boolean)
language plpgsql volatile as $$
declare
  v_budget {schema}.budget;
  v_full record;
  v_exhausted boolean;
  v_gone int := 0;
  v_fresh int := 0;
begin
  select b.* into v_budget from {schema}.budget b where b.id = p_budget;
  select u.dimension, u.used, u.hard into v_full from {schema}.budget_use(array[p_budget]) u
    where u.used >= u.hard order by u.dimension limit 1;
  v_exhausted := found;
  if v_exhausted <> v_budget.exhausted then
    update {schema}.budget b set exhausted = v_exhausted where b.id = p_budget;
  end if;
  delete from {schema}.spent s where s.budget = p_budget and (not v_exhausted or not exists (
    select from {schema}.budget_attachment a where a.namespace = s.namespace and a.kind = s.kind and a.lane = s.lane
      and a.subject = s.subject and a.budget = s.budget));
  get diagnostics v_gone = row_count;
  if v_exhausted then
    insert into {schema}.spent (namespace, kind, lane, subject, budget)
      select a.namespace, a.kind, a.lane, a.subject, a.budget from {schema}.budget_attachment a where a.budget = p_budget
      order by a.kind, a.lane, a.subject on conflict do nothing;
    get diagnostics v_fresh = row_count;
  end if;
  due := v_gone > 0 or v_fresh > 0 or (p_room > 0
    and coalesce((select true from {schema}.suspension s where s.budget = p_budget limit 1), false));
  if v_fresh > 0 then insert into {schema}.follow_up (kind, subject) values (8, p_budget); end if;
  if due and (v_gone > 0 or p_room > 0) then
    insert into {schema}.follow_up (kind, subject, step) values (9, p_budget, case p_room when 1 then 1 else 0 end);
  end if;
  if v_exhausted and not v_budget.exhausted then
    items := array[{schema}.budget_item(v_budget, 112, jsonb_build_object('dimension', v_full.dimension,
      'used', v_full.used::text, 'limit', v_full.hard::text))];
  end if;
end $$;

-- Applies the windows of these budgets that have ended; the caller holds them.
create function {schema}.end_windows(p_budget uuid[], p_now timestamptz, out items {schema}.log_item[], out due boolean)
language plpgsql volatile as $$
declare
  v_budget {schema}.budget;
  v_marked record;
begin
  due := false;
  for v_budget in select b.* from {schema}.budget b where b.id = any (p_budget) and b.reset_at <= p_now order by b.id loop
    perform {schema}.restart_budget(v_budget.id, null, p_now);
    select m.* into v_marked from {schema}.mark_budget(v_budget.id, 2) m;
    items := items || {schema}.budget_item(v_budget, 113, '{"cause":"window"}') || v_marked.items;
    due := due or v_marked.due;
  end loop;
end $$;

-- Why a report was refused. A breach that took the execution from this holder answers the same again until the next grant.
create function {schema}.refused_report(p_namespace int, p_execution uuid, p_lease uuid, p_token bigint, p_hash bytea,
  out verdict text, out state smallint, out attempt int, out token bigint, out answer jsonb) language plpgsql stable as $$
begin
  if exists (
      select from {schema}.parked p cross join lateral (
        select e.namespace from {schema}.execution e where e.id = p.execution offset 0) e
      where p.execution = p_execution and p.lease = p_lease and p.token = p_token and p.call = 7 and p.hash = p_hash
        and e.namespace = p_namespace) then
    verdict := 'exceeded';
  else
    select case r.verdict when 'duplicate' then 'exceeded' else r.verdict end, r.state, r.attempt, r.token
      into verdict, state, attempt, token
      from {schema}.explain_refusals(array[1], array[p_namespace], array[p_execution], array[p_lease], array[p_token],
        7::smallint, array[p_hash]) r;
  end if;
  if verdict = 'exceeded' then
    select u.answer into answer from {schema}.usage_report u
      where u.execution = p_execution and u.kind = 3 and u.key = p_lease::text;
  end if;
end $$;

-- What a breach does to the execution: by its policy nothing, its end, or a rest until the budget has room. Who is to stop
-- anyway is not parked. The caller holds lease and budget; p_needs: what the budget was asked for.
create function {schema}.breach_budget(l {schema}.lease, p_breach {schema}.budget_step, p_needs jsonb, p_hash bytea,
  p_items {schema}.log_item[], p_now timestamptz, out answer jsonb, out woken int[], out follows boolean, out due boolean)
language plpgsql volatile as $$
declare
  v_policy int := p_breach.policy;
  v_text text := format('budget %s has %s of %s left of %s, and %s were asked for', to_json(p_breach.name),
    greatest(0, p_breach.hard - p_breach.used), p_breach.hard, to_json(p_breach.dimension), p_breach.amount);
  v_done record;
begin
  follows := false;
  due := false;
  if v_policy = 3 and (l.cancel_at is not null or (l.linked and {schema}.is_loser(l.execution))) then v_policy := 1; end if;
  answer := jsonb_build_object('budget', p_breach.name, 'dimension', p_breach.dimension, 'used', p_breach.used::text,
    'limit', p_breach.hard::text, 'state', 4);
  if v_policy = 2 then
    delete from {schema}.lease y where y.execution = l.execution;
    select s.woken, s.follows into woken, follows from {schema}.settle(array[{schema}.ending_of(l, 7::smallint, p_hash,
      2::smallint, (case when l.cancel_at is null then 8 else 9 end)::smallint,
      (case when l.cancel_at is null then 11 else coalesce(l.cancel_cause, 20) end)::smallint, null, null, l.failures,
      l.reclaims, null, 'BUDGET_EXCEEDED', coalesce(nullif(l.cancel_reason, ''), v_text), 'application/json',
      convert_to((answer - 'state')::text, 'UTF8'))], p_now) s;
    select answer || jsonb_build_object('state', o.state, 'letter',
        case when o.state = 8 then {schema}.letter_of(l.execution) end)
      into answer from {schema}.outcome o where o.execution = l.execution;
  elsif v_policy = 3 then
    select e.* into v_done from {schema}.enter_suspension(l, 6::smallint, '{"kind":"operator_only"}', v_text, null, 1::smallint,
      0::bigint, p_breach.budget, 7::smallint, p_hash, p_now) e;
    woken := v_done.classes;
    follows := v_done.left_over;
    answer := answer || jsonb_build_object('state', 5, 'needs', p_needs);
    -- At the end of the window it tries again, whether the budget is used up by then or not. One row for all of them.
    if p_breach.reset_at is not null and coalesce((
        select false from {schema}.follow_up u where u.due_at = p_breach.reset_at and u.kind = 9 and u.subject = p_breach.budget
        limit 1), true) then
      insert into {schema}.follow_up (kind, subject, due_at) values (9, p_breach.budget, p_breach.reset_at);
      due := true;
    end if;
  end if;
  if v_policy > 1 then
    insert into {schema}.usage_report (execution, kind, key, hash, answer)
      values (l.execution, 3, l.lease::text, p_hash, answer);
  end if;
  if v_policy = 3 then
    perform {schema}.append_items(array[l.namespace], array[3::smallint], array[l.execution], array[l.flow], array[l.class],
      array[4::smallint], array[5::smallint], array[l.attempt], array[jsonb_build_object('reason', v_text,
        'suspension_reason', 6, 'suspension', l.waits + 1, 'timeout_at', null, 'budget', p_breach.name)::text],
      v_done.items || p_items);
  elsif p_items is not null then
    perform {schema}.append_items('{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', p_items);
  end if;
end $$;

-- One report under a lease that the caller holds, together with the budgets p_ids, which were to bound it and whose ended windows
-- are over. verdict: counted | duplicate (of its key, with the first answer) | reused (the key came with other content) | crowded
-- (more dimensions than an attempt may have) | exceeded: nothing was counted, `breach` says of which budget, and `needs` what it
-- was asked for. Of several breaches the strictest policy decides.
create function {schema}.count_usage(l {schema}.lease, p_ids uuid[], p_dimension text[], p_amount bigint[], p_key text,
  p_hash bytea, p_max_dimensions int, out verdict text, out answer jsonb, out breach {schema}.budget_step, out needs jsonb,
  out items {schema}.log_item[], out due boolean) language plpgsql volatile as $$
#variable_conflict use_column
declare
  c_most constant numeric := 9223372036854775807;
  v_ids uuid[];
  v_id uuid;
  v_steps {schema}.budget_step[];
  v_part record;
begin
  due := false;
  if p_key is not null then
    select case when r.hash = p_hash then 'duplicate' else 'reused' end, r.answer into verdict, answer
      from {schema}.usage_report r where r.execution = l.execution and r.kind = 1 and r.key = p_key;
    if found then return; end if;
  end if;
  if (select count(*) from (
      select jsonb_object_keys(coalesce(l.usage, '{}')) union select unnest(p_dimension)) x) > p_max_dimensions then
    verdict := 'crowded';
    return;
  end if;
  if p_ids is not null then
    -- One that was detached meanwhile bounds it no more; one that was attached bounds the next report.
    v_ids := array(
      select u from unnest(p_ids) u
      intersect select unnest({schema}.budgets_of(l.namespace, c.lane, l.flow, l.execution))
        from {schema}.claim_class c where c.id = l.class);
    select array_agg(row(b.id, b.name, b.breach_policy, b.exhausted, b.reset_at, y.dimension, y.epoch, y.hard, y.soft, y.used,
        a.amount)::{schema}.budget_step order by b.id, y.dimension)
      into v_steps
      from {schema}.budget_use(v_ids) y join unnest(p_dimension, p_amount) a (dimension, amount) on a.dimension = y.dimension
      cross join lateral (select x.* from {schema}.budget x where x.id = y.budget offset 0) b;
    select s.* into breach from unnest(v_steps) s where s.amount > 0 and s.used::numeric + s.amount > s.hard
      order by case s.policy when 2 then 1 when 3 then 2 else 3 end, s.name, s.dimension limit 1;
    if found then
      verdict := 'exceeded';
      select jsonb_object_agg(s.dimension, s.amount::text) into needs from unnest(v_steps) s
        where s.budget = breach.budget and s.amount > 0;
      return;
    end if;
  end if;
  if exists (select from unnest(v_steps) s where s.amount > 0) then
    perform {schema}.append_use(array_agg(s.budget), array_agg(s.dimension), array_agg(s.amount))
      from unnest(v_steps) s where s.amount > 0;
    insert into {schema}.applied_usage as a (execution, budget, dimension, epoch, amount)
      select l.execution, s.budget, s.dimension, s.epoch, s.amount from unnest(v_steps) s where s.amount > 0
      order by s.budget, s.dimension
      on conflict (execution, budget, dimension) do update set epoch = excluded.epoch,
        amount = excluded.amount + case when a.epoch = excluded.epoch then a.amount else 0 end;
    select array_agg({schema}.budget_item(b.b, 111, jsonb_build_object('dimension', s.dimension,
        'used', (s.used + s.amount)::text, 'limit', s.soft::text, 'execution', l.execution)) order by s.name, s.dimension)
      into items
      from unnest(v_steps) s cross join lateral (select x b from {schema}.budget x where x.id = s.budget offset 0) b
      where s.soft > 0 and s.used <= s.soft and s.used + s.amount > s.soft;
    for v_id in
      select distinct s.budget from unnest(v_steps) s where not s.exhausted and s.used + s.amount >= s.hard order by 1
    loop
      select m.* into v_part from {schema}.mark_budget(v_id, 0) m;
      items := items || v_part.items;
      due := due or v_part.due;
    end loop;
  end if;
  insert into {schema}.execution_usage as e (execution, dimension, amount)
    select l.execution, u.dimension, u.amount from unnest(p_dimension, p_amount) u (dimension, amount) where u.amount > 0
    order by u.dimension
    on conflict (execution, dimension) do update set amount = least(c_most, e.amount::numeric + excluded.amount)::bigint;
  update {schema}.lease y set begin_by = null, usage = coalesce(y.usage, '{}') || (
      select jsonb_object_agg(u.dimension, least(c_most, coalesce((y.usage ->> u.dimension)::numeric, 0) + u.amount)::text)
      from unnest(p_dimension, p_amount) u (dimension, amount))
    where y.execution = l.execution;
  answer := jsonb_build_object('warnings', coalesce((
    select jsonb_agg(jsonb_build_object('budget', s.name, 'dimension', s.dimension, 'used', (s.used + s.amount)::text,
      'hard', s.hard::text, 'soft', s.soft::text) order by s.name, s.dimension)
    from unnest(v_steps) s where s.soft > 0 and s.used + s.amount > s.soft), '[]'));
  if p_key is not null then
    insert into {schema}.usage_report (execution, kind, key, hash, answer) values (l.execution, 1, p_key, p_hash, answer);
  end if;
  verdict := 'counted';
end $$;

-- Counts what running attempts used, each in every budget that bounds it; many at once share a commit, and with it the turn at a
-- budget that they all use. p_usage: an object of amounts as text. verdict: as count_usage says, but for a breach that is more
-- than a refusal: alone (it did nothing; report_usage has to do it) | one of explain_refusals. Items are distinct by execution.
-- Leases that others have locked are passed over, as in every batch; budgets are waited for, in the order of their ids: who has
-- them waits for no lease.
-- A repeat after a lost answer is a duplicate by its key, or by the lease if a breach has taken that away; without a key it
-- counts again.
create function {schema}.report_usages(p_namespace int[], p_execution uuid[], p_lease uuid[], p_token bigint[], p_usage jsonb[],
  p_key text[], p_hash bytea[], p_max_dimensions int)
returns table (ord int, verdict text, state smallint, attempt int, token bigint, answer jsonb, cancel_at timestamptz,
  cancel_until timestamptz, cancel_accepts_late boolean, cancel_reason text, due boolean) language plpgsql volatile as $$
#variable_conflict use_column
declare
  v_now timestamptz := clock_timestamp();
  v_locked {schema}.lease[];
  v_held boolean[];
  v_lease {schema}.lease;
  v_ids uuid[];
  v_dimension text[];
  v_amount bigint[];
  v_due boolean := false;
  v_part record;
  v_items {schema}.log_item[];
begin
  select k.locked into v_locked from {schema}.lock_leases(p_execution, p_lease) k;
  select array_agg(distinct b) into v_ids from unnest({schema}.held_leases(v_locked, p_namespace, p_lease, p_token, v_now))
      with ordinality u (held, n)
    cross join lateral (select (v_locked[u.n]).* offset 0) l
    cross join lateral (select c.lane from {schema}.claim_class c where c.id = l.class offset 0) c
    cross join lateral unnest({schema}.budgets_of(l.namespace, c.lane, l.flow, l.execution)) b
    where u.held;
  if v_ids is not null then
    perform 1 from {schema}.budget b where b.id = any (v_ids) order by b.id for update;
  end if;
  v_now := clock_timestamp();
  v_held := {schema}.held_leases(v_locked, p_namespace, p_lease, p_token, v_now);
  if v_ids is not null then
    select w.items, w.due into v_items, v_due from {schema}.end_windows(v_ids, v_now) w;
  end if;
  for v_n in 1 .. cardinality(p_execution) loop
    ord := v_n;
    if v_held[v_n] then
      v_lease := v_locked[v_n];
      select array_agg(u.key order by u.key), array_agg(u.value::bigint order by u.key) into v_dimension, v_amount
        from jsonb_each_text(p_usage[v_n]) u;
      select c.* into v_part from {schema}.count_usage(v_lease, v_ids, v_dimension, v_amount, p_key[v_n], p_hash[v_n],
        p_max_dimensions) c;
      verdict := v_part.verdict;
      answer := v_part.answer;
      v_items := v_items || v_part.items;
      if verdict = 'exceeded' and (v_part.breach).policy <> 1 then
        verdict := 'alone';
      elsif verdict = 'exceeded' then
        select b.answer into answer from {schema}.breach_budget(v_lease, v_part.breach, null, null, null, v_now) b;
      end if;
      state := null; attempt := null; token := null;
      cancel_at := v_lease.cancel_at;
      cancel_until := v_lease.cancel_until;
      cancel_accepts_late := v_lease.cancel_accepts_late;
      cancel_reason := v_lease.cancel_reason;
      due := v_due or v_part.due;
    else
      select r.* into verdict, state, attempt, token, answer
        from {schema}.refused_report(p_namespace[v_n], p_execution[v_n], p_lease[v_n], p_token[v_n], p_hash[v_n]) r;
      cancel_at := null; cancel_until := null; cancel_accepts_late := null; cancel_reason := null;
      due := v_due;
    end if;
    return next;
  end loop;
  if v_items is not null then
    perform {schema}.append_items('{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', v_items);
  end if;
end $$;

-- The same for one report, whatever its breach leads to. It waits for its lease, too.
create function {schema}.report_usage(p_namespace int, p_execution uuid, p_lease uuid, p_token bigint, p_usage jsonb, p_key text,
  p_hash bytea, p_max_dimensions int, out verdict text, out state smallint, out attempt int, out token bigint,
  out answer jsonb, out cancel_at timestamptz, out cancel_until timestamptz, out cancel_accepts_late boolean,
  out cancel_reason text, out class int, out woken int[], out follows boolean, out due boolean) language plpgsql volatile as $$
#variable_conflict use_column
declare
  v_now timestamptz;
  v_lease {schema}.lease;
  v_ids uuid[];
  v_counted record;
  v_part record;
  v_items {schema}.log_item[];
begin
  follows := false;
  due := false;
  select l.* into v_lease from {schema}.lease l where l.execution = p_execution and l.lease = p_lease for update;
  v_now := clock_timestamp();
  if v_lease.token = p_token and v_lease.namespace = p_namespace and v_lease.expires_at > v_now then
    select {schema}.budgets_of(p_namespace, c.lane, v_lease.flow, p_execution) into v_ids
      from {schema}.claim_class c where c.id = v_lease.class;
    if v_ids is not null then
      perform 1 from {schema}.budget b where b.id = any (v_ids) order by b.id for update;
      v_now := clock_timestamp();
    end if;
  end if;
  if (v_lease.token = p_token and v_lease.namespace = p_namespace and v_lease.expires_at > v_now) is not true then
    select r.* into verdict, state, attempt, token, answer
      from {schema}.refused_report(p_namespace, p_execution, p_lease, p_token, p_hash) r;
    return;
  end if;
  class := v_lease.class;
  cancel_at := v_lease.cancel_at;
  cancel_until := v_lease.cancel_until;
  cancel_accepts_late := v_lease.cancel_accepts_late;
  cancel_reason := v_lease.cancel_reason;
  if v_ids is not null then
    select w.items, w.due into v_items, due from {schema}.end_windows(v_ids, v_now) w;
  end if;
  select c.* into v_counted from {schema}.count_usage(v_lease, v_ids,
    array(select u.key from jsonb_each_text(p_usage) u order by u.key),
    array(select u.value::bigint from jsonb_each_text(p_usage) u order by u.key), p_key, p_hash, p_max_dimensions) c;
  verdict := v_counted.verdict;
  answer := v_counted.answer;
  due := due or v_counted.due;
  v_items := v_items || v_counted.items;
  if verdict = 'exceeded' then
    select y.* into v_part from {schema}.breach_budget(v_lease, v_counted.breach, v_counted.needs, p_hash, v_items, v_now) y;
    answer := v_part.answer;
    woken := v_part.woken;
    follows := v_part.follows;
    due := due or v_part.due;
  elsif v_items is not null then
    perform {schema}.append_items('{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', v_items);
  end if;
end $$;

-- Gives back of what an execution has reported, also after it ended; into a budget only what counts in its present epoch.
-- verdict: released | duplicate | reused | one of explain_refusals; without a lease (p_lease null) not_found is the only one.
-- Two at once with one key queue on its row. A repeat without a key gives back more, if there is more.
create function {schema}.release_usage(p_namespace int, p_execution uuid, p_lease uuid, p_token bigint, p_dimension text[],
  p_amount bigint[], p_key text, p_hash bytea, out verdict text, out state smallint, out attempt int, out token bigint,
  out answer jsonb, out due boolean) language plpgsql volatile as $$
#variable_conflict use_column
declare
  v_now timestamptz;
  v_lease {schema}.lease;
  v_ids uuid[];
  v_id uuid;
  v_dimension text[];
  v_amount bigint[];
  v_steps {schema}.budget_step[];
  v_part record;
  v_items {schema}.log_item[];
begin
  due := false;
  if p_lease is not null then
    select l.* into v_lease from {schema}.lease l where l.execution = p_execution and l.lease = p_lease for update;
    if v_lease.execution is null or v_lease.token <> p_token or v_lease.namespace <> p_namespace
        or v_lease.expires_at <= clock_timestamp() then
      select r.verdict, r.state, r.attempt, r.token into verdict, state, attempt, token
        from {schema}.explain_refusals(array[1], array[p_namespace], array[p_execution], array[p_lease], array[p_token],
          0::smallint, array[null::bytea]) r;
      return;
    end if;
  elsif not exists (select from {schema}.execution e where e.id = p_execution and e.namespace = p_namespace) then
    verdict := 'not_found';
    return;
  end if;
  if p_key is not null then
    insert into {schema}.usage_report (execution, kind, key, hash, answer)
      values (p_execution, 2, p_key, p_hash, '{}') on conflict do nothing;
    if not found then
      select case when r.hash = p_hash then 'duplicate' else 'reused' end, r.answer into verdict, answer
        from {schema}.usage_report r where r.execution = p_execution and r.kind = 2 and r.key = p_key;
      return;
    end if;
  end if;
  -- In one snapshot: what is reported from here on may count in budgets that are not held here, and stays.
  select array(
      select distinct a.budget from {schema}.applied_usage a
      where a.execution = p_execution and a.dimension = any (p_dimension) order by 1),
    array(
      select least(u.amount, coalesce((
        select e.amount from {schema}.execution_usage e where e.execution = p_execution and e.dimension = u.dimension), 0))
      from unnest(p_dimension, p_amount) with ordinality u (dimension, amount, n) order by u.n)
    into v_ids, p_amount;
  if v_ids <> '{}' then
    perform 1 from {schema}.budget b where b.id = any (v_ids) order by b.id for update;
    v_now := clock_timestamp();
    select w.items, w.due into v_items, due from {schema}.end_windows(v_ids, v_now) w;
  end if;
  perform 1 from {schema}.execution_usage e where e.execution = p_execution and e.dimension = any (p_dimension)
    order by e.dimension for update;
  select array_agg(u.dimension), array_agg(least(u.amount, e.amount)) into v_dimension, v_amount
    from unnest(p_dimension, p_amount) u (dimension, amount)
    cross join lateral (
      select x.amount from {schema}.execution_usage x where x.execution = p_execution and x.dimension = u.dimension offset 0) e
    where least(u.amount, e.amount) > 0;
  if v_dimension is not null then
    update {schema}.execution_usage e set amount = e.amount - u.amount
      from unnest(v_dimension, v_amount) u (dimension, amount)
      where e.execution = p_execution and e.dimension = any (v_dimension) and e.dimension = u.dimension;
    select array_agg(row(a.budget, null, null, b.exhausted, null, a.dimension, a.epoch, null, null, null,
        least(u.amount, a.amount))::{schema}.budget_step)
      into v_steps
      from unnest(v_dimension, v_amount) u (dimension, amount)
      cross join lateral (
        select x.* from {schema}.applied_usage x where x.execution = p_execution and x.budget = any (v_ids)
          and x.dimension = u.dimension and x.amount > 0 offset 0) a
      cross join lateral (
        select x.epoch from {schema}.budget_dimension x where x.budget = a.budget and x.dimension = a.dimension offset 0) d
      cross join lateral (select x.exhausted from {schema}.budget x where x.id = a.budget offset 0) b
      where a.epoch = d.epoch;
  end if;
  if v_steps is not null then
    perform {schema}.append_use(array_agg(s.budget), array_agg(s.dimension), array_agg(-s.amount)) from unnest(v_steps) s;
    update {schema}.applied_usage a set amount = a.amount - s.amount from unnest(v_steps) s
      where a.execution = p_execution and a.budget = any (v_ids) and a.budget = s.budget and a.dimension = s.dimension;
    for v_id in
      select distinct s.budget from unnest(v_steps) s
      where s.exhausted or coalesce((select true from {schema}.suspension y where y.budget = s.budget limit 1), false) order by 1
    loop
      select m.* into v_part from {schema}.mark_budget(v_id, 1) m;
      v_items := v_items || v_part.items;
      due := due or v_part.due;
    end loop;
  end if;
  -- What counted in an earlier epoch is nobody's use any more, but no more than was kept.
  update {schema}.applied_usage a set amount = e.amount from {schema}.execution_usage e
    where a.execution = p_execution and a.budget = any (v_ids) and a.dimension = any (v_dimension) and e.execution = p_execution
      and e.dimension = any (v_dimension) and e.dimension = a.dimension and a.amount > e.amount;
  verdict := 'released';
  answer := jsonb_build_object('released', coalesce((
    select jsonb_object_agg(u.dimension, u.amount::text) from unnest(v_dimension, v_amount) u (dimension, amount)), '{}'));
  if p_key is not null then
    update {schema}.usage_report r set answer = release_usage.answer
      where r.execution = p_execution and r.kind = 2 and r.key = p_key;
  end if;
  if v_items is not null then
    perform {schema}.append_items('{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', v_items);
  end if;
end $$;

-- Makes or replaces a budget; use of dimensions that stay is kept. p_lane names the lane of attachments of kind 2, made on
-- first use. verdict: put | same (nothing differs, nothing is written) | conflict (with the present version, 0 when there is
-- none) | no_flow | no_execution (`missing`). made_lanes: the registry has changed.
-- Two at once that make it: the second waits, and replaces what the first has put.
create function {schema}.put_budget(p_namespace int, p_name text, p_policy smallint, p_window_ms bigint,
  p_window_start timestamptz, p_dimension text[], p_hard bigint[], p_soft bigint[], p_kind smallint[], p_lane text[],
  p_subject uuid[], p_expected bigint, p_actor text, out verdict text, out version bigint, out missing uuid,
  out made_lanes boolean, out due boolean) language plpgsql volatile as $$
#variable_conflict use_column
declare
  v_now timestamptz;
  v_budget {schema}.budget;
  v_made boolean := false;
  v_raised boolean;
  v_detached int;
  v_was jsonb;
  v_is jsonb;
  v_part record;
  v_items {schema}.log_item[];
begin
  made_lanes := false;
  due := false;
  select case u.kind when 3 then 'no_flow' else 'no_execution' end, u.subject into verdict, missing
    from unnest(p_kind, p_subject) with ordinality u (kind, subject, n)
    where coalesce(case u.kind
      when 3 then (select f.namespace from {schema}.flow f where f.id = u.subject)
      when 4 then (select e.namespace from {schema}.execution e where e.id = u.subject) else p_namespace end, 0) <> p_namespace
    order by u.n limit 1;
  if found then return; end if;
  if exists (select from unnest(p_kind, p_lane) u (kind, lane) where u.kind = 2
      and not exists (select from {schema}.lane l where l.namespace = p_namespace and l.name = u.lane)) then
    perform 1 from {schema}.registry for update;
    insert into {schema}.lane (namespace, name)
      select distinct p_namespace, u.lane from unnest(p_kind, p_lane) u (kind, lane) where u.kind = 2 on conflict do nothing;
    update {schema}.registry set version = registry.version + 1;
    made_lanes := true;
  end if;
  v_now := clock_timestamp();
  if p_expected = 0 then
    insert into {schema}.budget (id, namespace, name, breach_policy, window_ms, window_start, reset_at, created_at, changed_at)
      select {schema}.uuid_v7(), p_namespace, p_name, p_policy, p_window_ms, w.start,
        {schema}.window_end(w.start, p_window_ms, v_now), v_now, v_now
      from (select coalesce(p_window_start, v_now) start) w on conflict (namespace, name) do nothing;
    v_made := found;
  end if;
  select b.* into v_budget from {schema}.budget b where b.namespace = p_namespace and b.name = p_name for update;
  version := coalesce(v_budget.version, 0);
  if v_budget.id is null or p_expected not in (0, version) then
    verdict := 'conflict';
    return;
  end if;
  v_now := clock_timestamp();
  if not v_made then
    select w.items, w.due into v_items, due from {schema}.end_windows(array[v_budget.id], v_now) w;
    select b.* into v_budget from {schema}.budget b where b.id = v_budget.id;
  end if;
  v_is := jsonb_build_object('policy', p_policy, 'window_ms', p_window_ms,
    'start', coalesce(p_window_start, v_budget.created_at),
    'limits', (
      select jsonb_object_agg(u.dimension, jsonb_build_array(u.hard::text, u.soft::text))
      from unnest(p_dimension, p_hard, p_soft) u (dimension, hard, soft)),
    'attached', (
      select coalesce(jsonb_agg(distinct jsonb_build_array(u.kind, coalesce(l.id, 0), u.subject)), '[]')
      from unnest(p_kind, p_lane, p_subject) u (kind, lane, subject)
      left join lateral (
        select y.id from {schema}.lane y where u.kind = 2 and y.namespace = p_namespace and y.name = u.lane) l on true));
  v_was := jsonb_build_object('policy', v_budget.breach_policy, 'window_ms', v_budget.window_ms, 'start', v_budget.window_start,
    'limits', (
      select jsonb_object_agg(d.dimension, jsonb_build_array(d.hard_limit::text, d.soft_limit::text))
      from {schema}.budget_dimension d where d.budget = v_budget.id),
    'attached', (
      select coalesce(jsonb_agg(distinct jsonb_build_array(a.kind, a.lane,
        case when a.subject <> '00000000-0000-0000-0000-000000000000' then a.subject end)), '[]')
      from {schema}.budget_attachment a where a.budget = v_budget.id));
  if v_was = v_is and not v_made then
    verdict := 'same';
    if v_items is not null then
      perform {schema}.append_items('{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', v_items);
    end if;
    return;
  end if;
  perform {schema}.fold_budget(v_budget.id);
  update {schema}.budget b set breach_policy = p_policy, window_ms = p_window_ms,
      window_start = coalesce(p_window_start, b.created_at),
      reset_at = {schema}.window_end(coalesce(p_window_start, b.created_at), p_window_ms, v_now),
      -- A dimension that comes again has nothing to do with what was used of it before.
      epoch = b.epoch + 1, version = b.version + (not v_made)::int,
      changed_at = case when v_made then b.changed_at else v_now end
    where b.id = v_budget.id returning b.version into version;
  v_raised := exists (
    select from {schema}.budget_dimension d
    left join unnest(p_dimension, p_hard) u (dimension, hard) on u.dimension = d.dimension
    where d.budget = v_budget.id and (u.hard is null or u.hard > d.hard_limit));
  delete from {schema}.budget_dimension d where d.budget = v_budget.id and not d.dimension = any (p_dimension);
  insert into {schema}.budget_dimension as d (budget, dimension, hard_limit, soft_limit, epoch)
    select v_budget.id, u.dimension, u.hard, u.soft, v_budget.epoch + 1
    from unnest(p_dimension, p_hard, p_soft) u (dimension, hard, soft) order by u.dimension
    on conflict (budget, dimension) do update set hard_limit = excluded.hard_limit, soft_limit = excluded.soft_limit;
  delete from {schema}.budget_attachment a where a.budget = v_budget.id and not exists (
    select from jsonb_array_elements(v_is -> 'attached') x
    where (x ->> 0)::int = a.kind and (x ->> 1)::int = a.lane
      and coalesce((x ->> 2)::uuid, '00000000-0000-0000-0000-000000000000') = a.subject);
  get diagnostics v_detached = row_count;
  insert into {schema}.budget_attachment (namespace, kind, lane, subject, budget)
    select p_namespace, (x ->> 0)::int, (x ->> 1)::int,
      coalesce((x ->> 2)::uuid, '00000000-0000-0000-0000-000000000000'), v_budget.id
    from jsonb_array_elements(v_is -> 'attached') x
    on conflict do nothing;
  select m.* into v_part from {schema}.mark_budget(v_budget.id,
    case when v_raised or v_detached > 0 or (v_budget.breach_policy = 3 and p_policy <> 3) then 2 else 0 end) m;
  due := due or v_part.due;
  v_items := v_items || {schema}.budget_item(v_budget, 110, jsonb_build_object('version', version, 'actor', p_actor,
    'limits', v_is -> 'limits', 'window_ms', p_window_ms, 'breach_policy', p_policy,
    'attachments', jsonb_array_length(v_is -> 'attached')))
    || v_part.items;
  -- Whom it had parked waits for the end of the window that is now.
  if p_window_ms is not null
      and coalesce((select true from {schema}.suspension s where s.budget = v_budget.id limit 1), false) then
    insert into {schema}.follow_up (kind, subject, due_at)
      select 9, b.id, b.reset_at from {schema}.budget b where b.id = v_budget.id;
    due := true;
  end if;
  verdict := 'put';
  perform {schema}.append_items('{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', v_items);
end $$;

-- Use begins at 0 again, of these dimensions or (null) of all. verdict: reset | not_found | conflict (with the present version) |
-- unknown (`missing`: a dimension it does not have). The end of its window stays where it is.
create function {schema}.reset_budget(p_namespace int, p_name text, p_dimensions text[], p_expected bigint, p_actor text,
  p_reason text, out verdict text, out version bigint, out missing text, out due boolean) language plpgsql volatile as $$
#variable_conflict use_column
declare
  v_now timestamptz;
  v_budget {schema}.budget;
  v_part record;
  v_items {schema}.log_item[];
begin
  due := false;
  select b.* into v_budget from {schema}.budget b where b.namespace = p_namespace and b.name = p_name for update;
  v_now := clock_timestamp();
  version := coalesce(v_budget.version, 0);
  verdict := case when v_budget.id is null and p_expected = 0 then 'not_found'
    when p_expected not in (0, version) then 'conflict' end;
  if verdict is not null then return; end if;
  select u into missing from unnest(p_dimensions) u
    where not exists (select from {schema}.budget_dimension d where d.budget = v_budget.id and d.dimension = u) limit 1;
  if found then
    verdict := 'unknown';
    return;
  end if;
  select w.items, w.due into v_items, due from {schema}.end_windows(array[v_budget.id], v_now) w;
  perform {schema}.restart_budget(v_budget.id, p_dimensions, v_now);
  update {schema}.budget b set version = b.version + 1, changed_at = v_now where b.id = v_budget.id
    returning b.version into version;
  select m.* into v_part from {schema}.mark_budget(v_budget.id, 2) m;
  due := due or v_part.due;
  verdict := 'reset';
  perform {schema}.append_items('{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}',
    v_items || {schema}.budget_item(v_budget, 113, jsonb_build_object('cause', 'operator', 'version', version, 'actor', p_actor,
      'reason', p_reason) || case when p_dimensions is null then '{}' else jsonb_build_object('dimensions', p_dimensions) end)
    || v_part.items);
end $$;

-- A place in a line as a position of follow_up, and back.
create function {schema}.line_position(p_class int, p_priority smallint, p_seq bigint) returns uuid language sql immutable as $$
  select (lpad(to_hex(p_class), 8, '0') || lpad(to_hex(p_priority + 32768), 8, '0') || lpad(to_hex(p_seq), 16, '0'))::uuid
$$;

create function {schema}.position_in_line(p_position uuid, out class int, out priority smallint, out seq bigint)
language sql immutable as $$
  select ('x' || substr(h, 1, 8))::bit(32)::int, (('x' || substr(h, 9, 8))::bit(32)::int - 32768)::smallint,
    ('x' || substr(h, 17, 16))::bit(64)::bigint
  from replace(p_position::text, '-', '') h
$$;

-- One batch of kind 8: of a budget that is used up, what stands in line for its attachments waits for the budget instead.
-- `policy` names the attachment it is at (step 1: that it has done), `position` a place there. What somebody has locked is about
-- to leave the line; what enters it behind this place is passed over by claims, or put where it belongs.
create function {schema}.take_out_of_line(p_item {schema}.follow_up, out handled int, out classes int[],
  out items {schema}.log_item[], out left_over boolean) language plpgsql volatile as $$
declare
  c_batch constant int := 250;
  c_attachments constant int := 100; -- looked at by one batch
  v_start uuid := '00000000-0000-0000-0000-000000000000';
  v_now timestamptz := clock_timestamp();
  v_at {schema}.spent;
  v_attachment jsonb;
  v_place record;
  v_page uuid[];
  v_last uuid;
  v_rows {schema}.ready[];
  v_keys record;
  v_gates uuid[];
begin
  handled := 0;
  left_over := false;
  for i in 1 .. c_attachments loop
    -- Held until the commit, so that whoever takes it away finds what is put behind it; what is just going is left out.
    select s.* into v_at from {schema}.spent s
      where s.budget = p_item.subject and (p_item.policy is null or (s.kind, s.lane, s.subject)
        >= ((p_item.policy ->> 'kind')::int, (p_item.policy ->> 'lane')::int, (p_item.policy ->> 'subject')::uuid))
        and (p_item.step = 0 or p_item.policy <> jsonb_build_object('kind', s.kind, 'lane', s.lane, 'subject', s.subject))
      order by s.kind, s.lane, s.subject limit 1 for share skip locked;
    if not found then
      delete from {schema}.follow_up u where u.seq = p_item.seq;
      exit;
    end if;
    v_attachment := jsonb_build_object('kind', v_at.kind, 'lane', v_at.lane, 'subject', v_at.subject);
    if p_item.policy is distinct from v_attachment then
      p_item.policy := v_attachment;
      p_item.position := v_start;
    end if;
    v_last := null;
    if v_at.kind <= 2 then
      select l.* into v_place from {schema}.position_in_line(p_item.position) l;
      with line as materialized (
          select c.id from {schema}.lane l cross join lateral (
            select y.id from {schema}.claim_class y where y.lane = l.id offset 0) c
          where l.namespace = v_at.namespace and (v_at.kind = 1 or l.id = v_at.lane) and c.id >= v_place.class),
        page as materialized (
          select x.* from (select y.id from line y order by y.id) y cross join lateral (
            select r.execution, r.class, r.priority, r.seq from {schema}.ready r
            where r.class = y.id and (r.priority, r.seq) > (case when y.id = v_place.class then v_place.priority else -32768 end,
              case when y.id = v_place.class then v_place.seq else 0 end)
            order by r.priority, r.seq limit c_batch) x
          limit c_batch)
        select array_agg(p.execution), (array_agg({schema}.line_position(p.class, p.priority, p.seq)
            order by p.class desc, p.priority desc, p.seq desc))[1]
          into v_page, v_last from page p;
    elsif v_at.kind = 3 then
      v_page := array(
        select f.execution from {schema}.flow_live f where f.flow = v_at.subject and f.execution > p_item.position
        order by f.execution limit c_batch);
      v_last := v_page[cardinality(v_page)];
    else
      v_page := array[v_at.subject];
    end if;
    with held as materialized (
        select x.ctid from unnest(v_page) u (id)
        cross join lateral (select r.ctid from {schema}.ready r where r.execution = u.id for update skip locked) x),
      gone as (delete from {schema}.ready r where r.ctid = any (array(select h.ctid from held h)) returning r)
      select array_agg(gone.r) into v_rows from gone;
    insert into {schema}.blocked (execution, state, waits_for, blocked_at, class, priority, kind, attempt, failures, reclaims,
        timeout_ms, start_by, deadline, redrive, flow, linked, resume, gate, budget)
      select r.execution, 1, 3, v_now, r.class, -r.priority, r.kind, r.attempt, r.failures, r.reclaims, r.timeout_ms,
        r.start_by, r.deadline, r.redrive, r.flow, r.linked, r.resume, r.gate, p_item.subject
      from unnest(v_rows) r;
    select items || array_agg(row(v_at.namespace, 2, r.execution, r.flow, r.class, 3, 1, r.attempt,
        '{"cause":"budget"}')::{schema}.log_item order by r.seq),
        v_gates || array_agg(distinct r.gate) filter (where r.gate is not null)
      into items, v_gates from unnest(v_rows) r;
    handled := handled + coalesce(cardinality(v_page), 0);
    p_item.step := case when coalesce(cardinality(v_page), 0) < c_batch then 1 else 0 end;
    p_item.position := coalesce(v_last, v_start);
    exit when handled >= c_batch;
  end loop;
  update {schema}.follow_up u set policy = p_item.policy, position = p_item.position, step = p_item.step where u.seq = p_item.seq;
  if v_gates is not null then
    select b.* into v_keys from {schema}.balance_keys(array(select distinct u from unnest(v_gates) u), v_now) b;
    classes := v_keys.classes;
    items := items || v_keys.items;
    left_over := v_keys.left_over;
  end if;
end $$;

-- One batch of kind 9: what waited for a budget that does not bound it any more, or is not used up any more, enters line again;
-- or waits for another that is used up and bounds it. Then whom its breach had parked goes on (policy `parked`): all, or as many
-- as what was given back is enough for (step 1, with what is left of it in `room`).
create function {schema}.bring_back(p_item {schema}.follow_up, out handled int, out classes int[],
  out items {schema}.log_item[], out left_over boolean) language plpgsql volatile as $$
declare
  c_batch constant int := 250;
  v_now timestamptz := clock_timestamp();
  v_budget {schema}.budget;
  v_page uuid[];
  v_bound uuid[];
  v_by uuid[];
  v_rows {schema}.blocked[];
  v_gone {schema}.suspension[];
  v_entered record;
  v_room jsonb := p_item.policy -> 'room';
  v_one record;
  v_fits uuid[];
  v_moved int;
begin
  handled := 0;
  left_over := false;
  select b.* into v_budget from {schema}.budget b where b.id = p_item.subject;
  if p_item.policy is null then
    -- Who waits for work of a whole lane: what entered the line meanwhile stands there already.
    if p_item.position = '00000000-0000-0000-0000-000000000000' and not v_budget.exhausted then
      classes := array(
        select c.id from {schema}.budget_attachment a
        join {schema}.lane l on l.namespace = a.namespace and (a.kind = 1 or l.id = a.lane)
        cross join lateral (select y.id from {schema}.claim_class y where y.lane = l.id offset 0) c
        where a.budget = p_item.subject and a.kind <= 2);
    end if;
    v_page := array(
      select b.execution from {schema}.blocked b where b.budget = p_item.subject and b.execution > p_item.position
      order by b.execution limit c_batch);
    handled := cardinality(v_page);
    -- By this budget first: then nothing changes. Another one is held until the commit, as take_out_of_line does.
    if coalesce((select true from {schema}.spent s where s.namespace = v_budget.namespace limit 1), false) then
      select array_agg(x.execution), array_agg(x.budget) into v_bound, v_by from (
        select distinct on (u.id) u.id execution, s.budget from unnest(v_page) u (id)
        cross join lateral (select y.class, y.flow from {schema}.blocked y where y.execution = u.id offset 0) b
        cross join lateral {schema}.hold_spent(v_budget.namespace, b.class, b.flow, u.id) s
        order by u.id, s.budget <> p_item.subject, s.budget) x;
    end if;
    with held as materialized (
        select x.ctid from unnest(v_page) u (id)
        cross join lateral (
          select b.ctid from {schema}.blocked b where b.execution = u.id and b.budget = p_item.subject for update skip locked) x
        where v_bound is null or not u.id = any (v_bound)),
      gone as (delete from {schema}.blocked b where b.ctid = any (array(select h.ctid from held h)) returning b)
      select array_agg(gone.b order by (gone.b).execution) into v_rows from gone;
    with held as materialized (
        select x.ctid, u.budget from unnest(v_bound, v_by) u (id, budget)
        cross join lateral (
          select b.ctid from {schema}.blocked b where b.execution = u.id and b.budget = p_item.subject for update skip locked) x)
      update {schema}.blocked b set budget = h.budget from held h where b.ctid = h.ctid;
    get diagnostics v_moved = row_count;
    -- Somebody may roll back what he has locked.
    p_item.again := p_item.again or coalesce(cardinality(v_rows), 0) + v_moved < handled;
    if v_rows is not null then
      select e.states, e.queued into v_entered from {schema}.enter_line(array(
        select row(b.class, -b.priority, 0, b.execution, v_now, b.kind, b.attempt, b.failures, b.reclaims, b.timeout_ms,
            b.start_by, b.deadline, b.redrive, b.flow, b.linked, b.resume, b.gate)::{schema}.ready
        from unnest(v_rows) b), v_now) e;
      left_over := 1 = any (v_entered.states); -- perhaps: a key that was somebody else's is looked at again
      classes := classes || array(select b.class from unnest(v_rows) b where b.execution = any (v_entered.queued));
      select items || array_agg(row(v_budget.namespace, 2, b.execution, b.flow, b.class, 1, 3, b.attempt,
          '{"cause":"budget"}')::{schema}.log_item) into items
        from unnest(v_rows) b where b.execution = any (v_entered.queued);
    end if;
    p_item.position := v_page[handled];
    if handled < c_batch then
      p_item.position := '00000000-0000-0000-0000-000000000000';
      p_item.policy := '{"parked":true}';
    end if;
    update {schema}.follow_up u set position = p_item.position, policy = p_item.policy, again = p_item.again
      where u.seq = p_item.seq;
    return;
  end if;
  v_page := array(
    select s.execution from {schema}.suspension s where s.budget = p_item.subject and s.execution > p_item.position
    order by s.execution limit c_batch);
  handled := cardinality(v_page);
  v_fits := v_page;
  if p_item.step = 1 then
    v_fits := '{}';
    if v_room is null then
      select jsonb_object_agg(y.dimension, (y.hard - y.used)::text) into v_room
        from {schema}.budget_use(array[p_item.subject]) y;
    end if;
    for v_one in
      select u.id, coalesce(r.answer -> 'needs', '{}') needs from unnest(v_page) u (id)
      cross join lateral (select y.lease from {schema}.parked y where y.execution = u.id offset 0) p
      left join lateral (
        select y.answer from {schema}.usage_report y where y.execution = u.id and y.kind = 3 and y.key = p.lease::text) r on true
    loop
      continue when exists (
        select from jsonb_each_text(v_one.needs) y where y.value::numeric > (v_room ->> y.key)::numeric);
      v_fits := v_fits || v_one.id;
      select coalesce(jsonb_object_agg(y.key, (y.value::numeric - coalesce((v_one.needs ->> y.key)::numeric, 0))::text), '{}')
        into v_room from jsonb_each_text(v_room) y;
    end loop;
  end if;
  -- Whom it bounds, used up as it is again, waits for the next time.
  if v_budget.exhausted then
    v_fits := array(
      select u.id from unnest(v_fits) u (id)
      cross join lateral (select y.class, y.flow from {schema}.suspension y where y.execution = u.id offset 0) x
      where not p_item.subject = any (array(select {schema}.hold_spent(v_budget.namespace, x.class, x.flow, u.id))));
  end if;
  with held as materialized (
      select x.ctid from unnest(v_fits) u (id)
      cross join lateral (
        select s.ctid from {schema}.suspension s where s.execution = u.id and s.budget = p_item.subject
        for update skip locked) x),
    gone as (delete from {schema}.suspension s where s.ctid = any (array(select h.ctid from held h)) returning s)
    select array_agg(gone.s order by (gone.s).execution) into v_gone from gone;
  if v_gone is not null then
    select l.classes, l.states, l.items into v_entered from {schema}.leave_suspension(v_gone, 5::smallint, v_now) l;
    classes := classes || v_entered.classes;
    items := items || v_entered.items;
    left_over := 1 = any (v_entered.states);
  end if;
  p_item.again := p_item.again or coalesce(cardinality(v_gone), 0) < cardinality(v_fits);
  if handled = c_batch then
    update {schema}.follow_up u set position = v_page[handled], again = p_item.again,
        policy = '{"parked":true}' || case when v_room is null then '{}' else jsonb_build_object('room', v_room) end
      where u.seq = p_item.seq;
  elsif p_item.again then
    update {schema}.follow_up u set position = default, policy = null, again = false, due_at = v_now + interval '50 ms'
      where u.seq = p_item.seq;
  else
    delete from {schema}.follow_up u where u.seq = p_item.seq;
    -- What was let go after the budget was used up once more.
    if v_budget.exhausted then
      insert into {schema}.follow_up (kind, subject) values (8, p_item.subject);
    end if;
  end if;
end $$;

-- The used-up budgets that bound an execution, held against their return; what is just going is left out.
create function {schema}.hold_spent(p_namespace int, p_class int, p_flow uuid, p_execution uuid) returns table (budget uuid)
language sql volatile as $$
  select s.budget
  from (values (1, 0, '00000000-0000-0000-0000-000000000000'::uuid),
    (2, (select c.lane from {schema}.claim_class c where c.id = p_class), '00000000-0000-0000-0000-000000000000'),
    (3, 0, p_flow), (4, 0, p_execution)) k (kind, lane, subject)
  cross join lateral (
    select y.budget from {schema}.spent y
    where y.namespace = p_namespace and y.kind = k.kind and y.lane = k.lane and y.subject = k.subject for share skip locked) s
$$;

-- What is due of budgets: windows that hold anything back, and batches of kinds 8 and 9, which come in transactions of their own:
-- who ends a window waits for the rows of `spent` that batches hold, so batches wait for nothing. taken: something was done, look
-- again at once. next_ms: until something is due. follows: slots of concurrency keys have to be looked at.
create function {schema}.sweep_budgets(p_limit int, out taken int, out classes int[], out next_ms double precision,
  out follows boolean) language plpgsql volatile as $$
declare
  c_executions constant int := 500; -- moved by one sweep
  v_ids uuid[];
  v_items {schema}.log_item[];
  v_item {schema}.follow_up;
  v_part record;
  v_handled int := 0;
begin
  classes := '{}';
  taken := 0;
  follows := false;
  v_ids := array(
    (select b.id from {schema}.budget b where b.exhausted and b.reset_at is not null and b.reset_at <= clock_timestamp()
      order by b.reset_at limit p_limit)
    union
    select b.id from (
      select u.subject from {schema}.follow_up u where u.kind = 9 and u.due_at <= clock_timestamp()
      order by u.due_at limit p_limit) u
    cross join lateral (
      select y.id from {schema}.budget y where y.id = u.subject and y.reset_at <= clock_timestamp() offset 0) b);
  v_ids := array(
    select b.id from {schema}.budget b where b.id = any (v_ids) and b.reset_at <= clock_timestamp()
    order by b.id for update skip locked);
  if v_ids <> '{}' then
    taken := cardinality(v_ids);
    select w.items into v_items from {schema}.end_windows(v_ids, clock_timestamp()) w;
  else
    for v_item in
      select u.* from {schema}.follow_up u where u.kind in (8, 9) and u.due_at <= clock_timestamp()
      order by u.due_at, u.seq limit p_limit for update skip locked
    loop
      if v_item.kind = 8 then
        select h.* into v_part from {schema}.take_out_of_line(v_item) h;
      else
        select h.* into v_part from {schema}.bring_back(v_item) h;
      end if;
      taken := taken + 1;
      v_handled := v_handled + v_part.handled;
      classes := classes || v_part.classes;
      v_items := v_items || v_part.items;
      follows := follows or v_part.left_over;
      exit when v_handled >= c_executions;
    end loop;
  end if;
  select least(
      (select extract(epoch from b.reset_at - clock_timestamp()) * 1000 from {schema}.budget b
        where b.exhausted and b.reset_at is not null order by b.reset_at limit 1),
      (select extract(epoch from u.due_at - clock_timestamp()) * 1000 from {schema}.follow_up u
        where u.kind in (8, 9) order by u.due_at limit 1))
    into next_ms;
  if v_items is not null then
    perform {schema}.append_items('{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', v_items);
  end if;
end $$;
