-- How many executions stand in which state, per class: folded from the log, never counted while work is done.
--
-- A counter that every transition updates is a row everybody waits for (0.14 ms grew to 0.75 ms under a held snapshot).
-- Every log entry names the state before and after, so one follower adds them up, in batches, and says up to which
-- position it has come. The sum is exact at that position.
-- Locks: creates only. older-servers: refused
create table {schema}.state_count (
  class int not null,
  state smallint not null check (state between 0 and 11), -- 0: created, ever
  n bigint not null,
  primary key (class, state)
) with (fillfactor = 50, autovacuum_vacuum_cost_delay = 0);

-- One row: the follower's whole state, and the lock under which it works.
create table {schema}.counted (
  one boolean not null primary key default true check (one),
  position bigint not null default 0
);
insert into {schema}.counted default values;

-- Folds about p_limit entries on from where it stands; whole transactions only. busy: another process is at it.
-- One transaction: a crash leaves counts and position as they were. Everything is read after the lock was taken, in a
-- new statement, or a step that began before it would fold the same entries again.
create function {schema}.fold_counts(p_limit int, out busy boolean, out folded int, out upto bigint)
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
      select l.kind, l.class, l.from_state, l.to_state, l.n,
        (r.base + sum(l.n) over (partition by r.base order by l.seq) - l.n)::bigint as position
      from run r join {schema}.log l on l.seq between r.lo and r.hi and (r.lo = r.hi or not l.seq <@ any (r.holes))),
    fresh as materialized (
      select x.* from numbered x where x.position > upto and x.position <= upto + p_limit),
    moved as (
      select e.class, m.state, sum(m.n) n
      from fresh x
      cross join lateral unnest(x.kind, x.class, x.from_state, x.to_state) e (kind, class, from_state, to_state)
      cross join lateral (values (e.from_state, -1), (e.to_state, 1), (case when e.kind = 1 then 0::smallint end, 1))
        m (state, n)
      where e.class is not null and m.state is not null
      group by e.class, m.state having sum(m.n) <> 0),
    added as (
      insert into {schema}.state_count as k (class, state, n) select * from moved order by class, state
      on conflict (class, state) do update set n = k.n + excluded.n)
    select coalesce(sum(x.n), 0), coalesce(max(x.position + x.n - 1), upto) into folded, upto from fresh x;
  if folded > 0 then
    update {schema}.counted set position = upto;
  end if;
end $$;
