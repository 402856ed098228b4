-- What the holder of a lease may do with it: renew, report, complete, fail, delay, release.
--
-- Every write is fenced by the row itself: execution, lease id and token match, and the database clock has not passed
-- expires_at. The fence is decided on rows locked in a first statement, SKIP LOCKED, so a batch never waits; a lease that
-- matches but was only locked by somebody answers 'busy' and is tried again by the caller.
-- Locks: creates only. older-servers: refused

-- The dead letter of an execution that gave up.
create function {schema}.letter_of(p_execution uuid) returns uuid language sql stable as $$
  select coalesce((select e.letter from {schema}.execution e where e.id = p_execution),
    (select d.id from {schema}.dead_letter d where d.execution = p_execution limit 1))
$$;

-- Why these holders were refused, in the order of checks that holds for every worker write: not found, repeat of the
-- call that ended this very attempt, terminal, revoked, expired, other content, superseded, never its holder.
create function {schema}.explain_refusals(p_ord int[], p_namespace int[], p_execution uuid[], p_lease uuid[],
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
  left join lateral (select a.* from {schema}.attempt a where a.execution = e.id and a.lease = u.lease
    and a.token = u.token limit 1) mine on true
  left join lateral (select a.number from {schema}.attempt a where a.execution = e.id order by a.number desc limit 1)
    latest on true
$$;

-- The nth answer is the lease of the nth execution, locked; null where there is none, it is another one, or somebody else
-- has it locked. Only whoever knows the lease's id locks its row: nobody can hold up the work of others.
create function {schema}.lock_leases(p_execution uuid[], p_lease uuid[], out locked {schema}.lease[], out places tid[])
language plpgsql volatile as $$
begin
  select array_agg(x.l order by u.ord), array_agg(x.place order by u.ord) into locked, places
    from unnest(p_execution, p_lease) with ordinality u (execution, lease, ord)
    left join lateral (
      select l, l.ctid place from {schema}.lease l where l.execution = u.execution and l.lease = u.lease
      for update skip locked) x on true;
end $$;

-- Which of the locked leases are held by whoever shows these; never null.
create function {schema}.held_leases(p_locked {schema}.lease[], p_namespace int[], p_lease uuid[], p_token bigint[],
  p_now timestamptz) returns boolean[] language sql immutable as $$
  select array_agg(coalesce(x.lease = u.lease and x.token = u.token and x.namespace = u.namespace and x.expires_at > p_now,
      false) order by u.ord)
  from unnest(p_namespace, p_lease, p_token) with ordinality u (namespace, lease, token, ord)
  cross join lateral (select (p_locked[u.ord]).* offset 0) x
$$;

-- Renews many leases (p_extend) and takes their progress along, or records progress alone. verdict: renewed | cancel_requested (renewed as well) | one of
-- explain_refusals. Items are distinct by execution.
create function {schema}.renew(p_namespace int[], p_execution uuid[], p_lease uuid[], p_token bigint[], p_extend boolean, p_lease_ms bigint[],
  p_percent double precision[], p_message text[])
returns table (ord int, verdict text, expires_at timestamptz, cancel_at timestamptz, cancel_until timestamptz,
  cancel_accepts_late boolean, cancel_reason text, state smallint, attempt int, token bigint) language plpgsql volatile as $$
#variable_conflict use_column
declare
  v_now timestamptz;
  v_locked {schema}.lease[];
  v_places tid[];
  v_held boolean[];
begin
  select k.locked, k.places into v_locked, v_places from {schema}.lock_leases(p_execution, p_lease) k;
  v_now := clock_timestamp();
  v_held := {schema}.held_leases(v_locked, p_namespace, p_lease, p_token, v_now);
  -- By place, which this transaction has locked: one probe per row in every plan.
  return query
    with item as materialized (
      select u.* from unnest(v_places, v_held, p_lease_ms, p_percent, p_message) with ordinality
          u (place, held, lease_ms, percent, message, ord)
        where u.held)
    update {schema}.lease l set
        expires_at = case when p_extend
          then greatest(l.expires_at, v_now + coalesce(i.lease_ms, l.length_ms) * interval '1 ms') else l.expires_at end,
        begin_by = null,
        progress_percent = coalesce(i.percent, l.progress_percent),
        progress_message = coalesce(i.message, l.progress_message),
        progress_at = case when i.percent is null and i.message is null then l.progress_at else v_now end
      from item i where l.ctid = i.place
      returning i.ord::int, case when l.cancel_at is null then 'renewed' else 'cancel_requested' end, l.expires_at,
        l.cancel_at, l.cancel_until, l.cancel_accepts_late, l.cancel_reason, 4::smallint, l.attempt, l.token;
  if false = any (v_held) then
    return query
      select r.ord, r.verdict, null::timestamptz, null::timestamptz, null::timestamptz, null::boolean, null::text, r.state,
        r.attempt, r.token
      from (select array_agg(u.ord::int) ord, array_agg(u.namespace) namespace, array_agg(u.execution) execution,
          array_agg(u.lease) lease, array_agg(u.token) token, array_agg(null::bytea) hash
        from unnest(p_namespace, p_execution, p_lease, p_token, v_held) with ordinality
          u (namespace, execution, lease, token, held, ord)
        where not u.held) m
      cross join lateral {schema}.explain_refusals(m.ord, m.namespace, m.execution, m.lease, m.token, 0::smallint, m.hash) r;
  end if;
end $$;

-- The rule of retry (design/model.md): only transient failures, timeouts and lost leases count, and the count alone is
-- compared with the limit; exponential backoff with full jitter between nothing and the present step. A time that the
-- failure names wins. A requested cancel ends it whatever the class. p_class null: the lease was lost.
create function {schema}.after_failure(l {schema}.lease, e {schema}.execution, p_class smallint, p_retry_at timestamptz,
  p_now timestamptz, out state smallint, out reason smallint, out run_at timestamptz,
  out failures int, out reclaims int) language plpgsql volatile as $$
declare
  v_lost boolean := p_class is null;
  v_max int := coalesce(e.retry_max, 5);
  v_counts boolean := case when v_lost then coalesce(e.count_lost, true) else p_class in (1, 4) end;
begin
  failures := l.failures + v_counts::int;
  reclaims := l.reclaims + v_lost::int;
  if l.cancel_at is not null or p_class = 5 then
    state := 9; reason := case when l.cancel_at is not null then 20 else 21 end;
  elsif p_class = 2 then
    state := 8; reason := 2; -- PERMANENT
  elsif p_class = 6 then
    state := 8; reason := 12; -- INVALID_RESULT
  elsif v_lost and reclaims > coalesce(e.reclaims_max, 20) then
    state := 8; reason := 4; -- RECLAIMS_EXHAUSTED
  elsif v_counts and failures >= v_max then
    state := 8; reason := case when p_class = 4 then 3 else 1 end; -- TIMEOUT, RETRIES_EXHAUSTED
  else
    run_at := case when v_lost then null when p_retry_at is not null then p_retry_at
      when p_class = 3 then null
      else p_now + random() * least(coalesce(e.retry_cap_ms, 300000)::double precision,
        coalesce(e.retry_initial_ms, 1000)
          * power(coalesce(e.retry_factor, 2)::double precision, least(failures - 1, 60))) * interval '1 ms' end;
    if run_at <= p_now then run_at := null; end if;
    state := case when run_at is null then 3 else 2 end;
  end if;
end $$;

-- Ends attempts on their holders' word. p_call: 1 complete, 2 fail, 3 delay, 4 release.
-- verdict: done | duplicate (the first answer again) | busy | one of explain_refusals.
-- Items are distinct by execution. A crash before the commit leaves the lease; after it the repeat is a duplicate.
create function {schema}.end_attempts(p_call smallint, p_namespace int[], p_execution uuid[], p_lease uuid[],
  p_token bigint[], p_hash bytea[], p_class smallint[], p_code text[], p_message text[], p_run_at timestamptz[],
  p_delay_ms bigint[], p_content_type text[], p_content_at int[], p_content_length int[], p_content bytea)
returns table (ord int, verdict text, state smallint, attempt int, token bigint, run_at timestamptz, outcome smallint,
  reason smallint, failures int, ended_at timestamptz, class int, letter uuid)
language plpgsql volatile as $$
#variable_conflict use_column
declare
  v_now timestamptz;
  v_locked {schema}.lease[];
  v_held boolean[];
  v_ord int[];
  v_endings {schema}.ending[];
  v_executions uuid[];
begin
  select k.locked into v_locked from {schema}.lock_leases(p_execution, p_lease) k;
  v_now := clock_timestamp();
  v_held := {schema}.held_leases(v_locked, p_namespace, p_lease, p_token, v_now);
  if p_call = 1 then
    select array_agg(u.ord::int order by u.ord), array_agg({schema}.ending_of(k.x, p_call, u.hash, 1::smallint, 7::smallint,
        null, null, null, (k.x).failures, (k.x).reclaims, null, null, null, u.content_type,
        case when u.content_type is not null then substring(p_content from u.content_at + 1 for u.content_length) end)
        order by u.ord)
      into v_ord, v_endings
      from unnest(v_held, p_hash, p_content_type, p_content_at, p_content_length) with ordinality
        u (held, hash, content_type, content_at, content_length, ord)
      cross join lateral (select v_locked[u.ord] x offset 0) k
      where u.held and ((k.x).cancel_at is null or (k.x).cancel_accepts_late);
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
        (case when (k.x).cancel_at is not null then 20 end)::smallint,
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
    perform {schema}.settle(v_endings, v_now);
    return query select v_ord[y.ordinality], 'done', y.state, y.attempt, y.token, y.run_at, y.attempt_outcome, y.reason,
        y.failures, v_now, y.class, case when y.state in (8, 10) then {schema}.letter_of(y.execution) end
      from unnest(v_endings) with ordinality y;
  end if;
  if coalesce(cardinality(v_ord), 0) < cardinality(p_execution) then
    return query
      select r.*
      from (select array_agg(u.ord::int) ord, array_agg(u.namespace) namespace, array_agg(u.execution) execution,
          array_agg(u.lease) lease, array_agg(u.token) token, array_agg(u.hash) hash
        from unnest(p_namespace, p_execution, p_lease, p_token, p_hash) with ordinality
          u (namespace, execution, lease, token, hash, ord)
        where not u.ord = any (coalesce(v_ord, '{}'))) m
      cross join lateral {schema}.explain_refusals(m.ord, m.namespace, m.execution, m.lease, m.token, p_call, m.hash) r;
  end if;
end $$;
