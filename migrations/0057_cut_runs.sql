-- A run of positions that reaches over the end of a partition of the log is cut there in every case.
--
-- Why: what came late behind that end, out of a hole of the very run that reaches over it, was taken for that run. So the run
-- stayed whole, and the partition counted as ending before that run began: it could go before everybody had read it, and with
-- it went the first entries of the run, whose others moved up into their positions.
-- What was closed so and is still there is closed again. Where it is gone, its run begins with what is left.
-- Lock order: partitions, the incarnation, runs, subscriptions, under the lock of whoever retires.
-- Locks: creates a function, and writes to few rows.
-- older-servers: allowed

-- Closes the oldest partition that is open and can get no position any more: everything that was drawn in it is numbered or
-- rolled back. Before that what it holds is counted, about p_rows rows at a time. more: call again.
create or replace function {schema}.close_log_partition(p_rows int, out closed boolean, out more boolean) language plpgsql volatile as $$
declare
  v_last {schema}.log_run;
  v_part {schema}.log_partition;
  v_to bigint;
  v_run {schema}.log_run;
  v_n bigint;
begin
  closed := false;
  more := false;
  if not {schema}.try_retire_log() then return; end if;
  select r.* into v_last from {schema}.log_run r order by r.base desc limit 1;
  select p.* into v_part from {schema}.log_partition p where p.closed_at is null order by p.lo limit 1;
  if v_part.lo is null or v_last.base is null or v_last.lo < v_part.hi
    or exists (select from unnest(v_last.holes) h where lower(h) < v_part.hi)
  then
    return;
  end if;
  more := true;
  v_part.tallied_to := coalesce(v_part.tallied_to, v_part.lo);
  select max(x.seq) + 1 into v_to from (
    select l.seq from {schema}.log l where l.seq >= v_part.tallied_to and l.seq < v_part.hi order by l.seq limit p_rows) x;
  if v_to is not null then
    insert into {schema}.log_tally as t (lo, namespace, kind, n, purged, until)
      select v_part.lo, x.namespace, x.kind, count(*),
        coalesce(sum((s.said ->> 'purged')::bigint), 0), max((s.said ->> 'closed_until')::timestamptz)
      from {schema}.log l
      cross join lateral unnest(l.namespace, l.kind, l.body) with ordinality x (namespace, kind, body, idx)
      left join lateral (
        select coalesce(x.body, (select b.body from {schema}.log_body b where b.seq = l.seq and b.idx = x.idx))::json said
        where x.kind = 139 offset 0) s on true
      where l.seq >= v_part.tallied_to and l.seq < v_to
      group by x.namespace, x.kind
      on conflict (lo, namespace, kind) do update set n = t.n + excluded.n, purged = t.purged + excluded.purged,
        until = greatest(t.until, excluded.until);
    update {schema}.log_partition p set tallied_to = v_to, newest_at = greatest(p.newest_at, (
        select max(l.at) from {schema}.log l where l.seq >= v_part.tallied_to and l.seq < v_to))
      where p.lo = v_part.lo;
    return;
  end if;
  -- At most one run reaches over the end, the first of those that end behind it; but for what came late, which has a run of its
  -- own wherever it stands, and is known by what the sequencer had seen behind it.
  select r.* into v_run from {schema}.log_run r where r.hi >= v_part.hi and r.hi = r.top order by r.hi limit 1;
  if v_run.lo < v_part.hi then
    select sum(l.n) into v_n from {schema}.log l
      where l.seq >= v_run.lo and l.seq < v_part.hi and not l.seq <@ any (v_run.holes);
    insert into {schema}.log_run (base, n, lo, hi, top, holes, hxid)
      values (v_run.base + v_n, v_run.n - v_n, v_part.hi, v_run.hi, v_run.top, v_run.holes, v_run.hxid);
    update {schema}.log_run r set n = v_n, hi = v_part.hi - 1, top = v_part.hi - 1 where r.base = v_run.base;
    -- Whoever stands in the part that has another base now.
    update {schema}.subscription s set past_base = v_run.base + v_n
      where s.past_base = v_run.base and s.past_seq >= v_part.hi;
  end if;
  update {schema}.log_partition p set closed_at = clock_timestamp(), tallied_to = p.hi,
      last_position = coalesce((
        select r.base + r.n - 1 from {schema}.log_run r where r.hi < p.hi order by r.base desc limit 1), 0)
    where p.lo = v_part.lo;
  closed := true;
end $$;

-- Nobody retires or gives positions meanwhile.
select pg_advisory_xact_lock(1953656653, '{schema}'::regnamespace::oid::int);
select pg_advisory_xact_lock(1953656651, '{schema}'::regnamespace::oid::int);

update {schema}.log_partition p set closed_at = null, last_position = null
  where p.closed_at is not null and exists (
    select from {schema}.log_run r where r.lo < p.hi and r.hi >= p.hi and r.hi = r.top);

do $$
declare
  v_from bigint := (select i.floor_seq from {schema}.log_incarnation i);
  v_run {schema}.log_run;
  v_n int;
begin
  select r.* into v_run from {schema}.log_run r where r.lo < v_from and r.hi >= v_from and r.hi = r.top;
  if not found then return; end if;
  select sum(l.n) into v_n from {schema}.log l where l.seq >= v_from and l.seq <= v_run.hi and not l.seq <@ any (v_run.holes);
  update {schema}.log_incarnation i set floor = v_run.base + v_run.n - v_n - 1;
  update {schema}.log_run r set base = v_run.base + v_run.n - v_n, n = v_n, lo = v_from where r.base = v_run.base;
  update {schema}.subscription s set past_base = v_run.base + v_run.n - v_n where s.past_base = v_run.base;
end $$;
