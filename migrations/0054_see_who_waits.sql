-- What two of these at once overlook.
--
-- Why: a part could be given back between the look of somebody who begins to wait for it and that one's commit: whoever gave
-- it back saw nobody wait, and who waited was not woken, up to its last look. And a cancellation that a failure had begun could
-- find it still standing and then see the run that a redrive had just put in the failed one's place, and cancel that.
-- Locks: creates only.
-- older-servers: allowed

-- Gives parts back, each with a new epoch; p_part null: all that it has, and it waits for none any more. What it has not is
-- passed over. A repeat finds nothing.
create or replace function {schema}.release_parts(p_namespace int, p_consumer text, p_owner text, p_generation bigint[],
  p_part int[], p_epoch bigint[], out verdict text, out released int, out woke boolean) language plpgsql volatile as $$
declare
  v_id int;
begin
  released := 0;
  woke := false;
  -- Who is about to wait holds the consumer, and is seen as a member once it has let go.
  select c.id into v_id from {schema}.consumer c where c.namespace = p_namespace and c.name = p_consumer for key share;
  verdict := case when v_id is null then 'not_found' else 'released' end;
  if v_id is null then return; end if;
  if p_part is null then
    delete from {schema}.consumer_member m where m.consumer = v_id and m.owner = p_owner;
    p_generation := array(select g.generation from {schema}.consumer_generation g where g.consumer = v_id);
  end if;
  update {schema}.consumer_part p set owner = null, lease_ms = null, expires_at = null, wanted_at = null, epoch = p.epoch + 1
    from (
      select x.generation, x.part from {schema}.consumer_part x
      where x.consumer = v_id and x.generation = any (p_generation) and x.owner = p_owner
        and (p_part is null or exists (
          select from unnest(p_generation, p_part, p_epoch) u (generation, part, epoch)
          where u.generation = x.generation and u.part = x.part and u.epoch = x.epoch))
      order by x.generation, x.part for update) y
    where p.consumer = v_id and p.generation = y.generation and p.part = y.part and p.owner = p_owner;
  get diagnostics released = row_count;
  woke := released > 0 and exists (select from {schema}.consumer_member m
    where m.consumer = v_id and m.generation = any (p_generation) and m.owner <> p_owner);
  if woke then perform {schema}.wake_consumers(); end if;
end $$;

-- One batch of a cancellation. A flow's members in two rounds: first those that are BLOCKED, then the rest (step 0 and 1;
-- 10 and 11 when running ones are concerned too). What was locked is tried in a new pass, a little later.
create or replace function {schema}.cancel_batch(p_item {schema}.follow_up, out woken int[], out asked_ms bigint, out handled int)
language plpgsql volatile as $$
declare
  c_batch constant int := 250;
  v_executions uuid[];
  v_done record;
  v_full boolean;
  v_last uuid;
begin
  handled := 0;
  if p_item.kind = 2 then
    -- In one snapshot: what a redrive adds is not seen without its having called off what a failure had begun.
    select array(select l.execution from {schema}.flow_live l
        where l.flow = f.id and l.execution > p_item.position order by l.execution limit c_batch)
      into v_executions from {schema}.flow f
      where f.id = p_item.subject and (f.canceled_at is not null or f.failing_at is not null);
    if v_executions is null then
      delete from {schema}.follow_up u where u.seq = p_item.seq;
      return;
    end if;
  else
    v_executions := array(select s.upstream from {schema}.slot s
      where s.barrier = p_item.subject and s.outcome is null and s.upstream > p_item.position
      order by s.upstream limit c_batch);
  end if;
  handled := cardinality(v_executions);
  v_full := handled = c_batch;
  if v_executions <> '{}' then
    v_last := v_executions[cardinality(v_executions)];
    select c.* into v_done from {schema}.cancel_members(v_executions, p_item.reason, p_item.policy,
      p_item.kind = 2 and p_item.step in (0, 10),
      case when p_item.kind = 2 then p_item.step = 11 else coalesce((p_item.policy ->> 'running')::boolean, true) end) c;
    woken := v_done.woken;
    asked_ms := v_done.asked_ms;
    p_item.again := p_item.again or v_done.passed_over <> '{}';
  end if;
  if v_full then
    update {schema}.follow_up u set position = v_last, again = p_item.again where u.seq = p_item.seq;
  elsif p_item.kind = 2 and p_item.step in (0, 10) then
    update {schema}.follow_up u set position = default, step = p_item.step + 1, again = p_item.again where u.seq = p_item.seq;
  elsif p_item.again then
    update {schema}.follow_up u set position = default, again = false, due_at = clock_timestamp() + interval '20 ms',
        step = case when p_item.kind = 2 then p_item.step - 1 else 0 end
      where u.seq = p_item.seq;
  else
    delete from {schema}.follow_up u where u.seq = p_item.seq;
  end if;
end $$;
