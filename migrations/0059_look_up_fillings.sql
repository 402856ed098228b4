-- A fan-out looks up whether a slot is being filled, one by one.
--
-- Why: as an anti-join its plan was that of the first call, when `filling` was empty: a scan of all of it for each of 500 slots.
-- What was folded since and cannot be removed while somebody holds a snapshot was then read 500 times: releasing 1,000 took 0.1 s
-- without, and up to a minute with one.
-- Locks: none.
-- older-servers: allowed

-- Fills the slots of executions that ended as a consequence, or that many wait for. Answers those that are done with.
create or replace function {schema}.fan_out(p_execution uuid[], p_now timestamptz, out done uuid[], out woken int[])
language plpgsql volatile as $$
declare
  c_slots constant int := 500;
  v_barrier uuid[];
  v_idx int[];
  v_outcome smallint[];
  v_execution uuid[];
  v_fold record;
begin
  select array_agg(x.barrier), array_agg(x.idx), array_agg(x.outcome), array_agg(x.id)
    into v_barrier, v_idx, v_outcome, v_execution
    from (
      select s.barrier, s.idx, {schema}.slot_outcome(o.state) outcome, u.id
      from unnest(p_execution) u (id)
      cross join lateral (select y.state from {schema}.outcome y where y.execution = u.id offset 0) o
      cross join lateral (
        select y.barrier, y.idx from {schema}.slot y where y.upstream = u.id and y.outcome is null
          and coalesce((select false from {schema}.filling f where f.barrier = y.barrier and f.idx = y.idx limit 1), true)
        limit c_slots) s
      limit c_slots) x;
  if coalesce(cardinality(v_barrier), 0) < c_slots then
    done := p_execution;
  end if;
  if v_barrier is null then return; end if;
  select f.* into v_fold from {schema}.fold_joins(v_barrier, v_barrier, v_idx, v_outcome, p_now) f;
  woken := v_fold.classes;
  perform {schema}.append_folded(v_fold.items, v_fold.endings, p_now);
end $$;
