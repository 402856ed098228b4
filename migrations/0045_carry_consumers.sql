-- The pulse once more: whoever waits at a consumer is told when something changed, letters are handed out, and bulk redrives are
-- found.
-- Locks: creates only. older-servers: refused

drop function {schema}.pulse(int[], smallint[], bigint[], smallint[]);
create function {schema}.pulse(p_class int[], p_from_priority smallint[], p_from_seq bigint[],
  p_to_priority smallint[], out registry bigint, out scheduled_ms double precision, out lease_ms double precision,
  out timer_ms double precision, out join_ms double precision, out follow_ms double precision,
  out suspension_ms double precision, out budget_ms double precision, out route_ms double precision, out non_empty int[], out head bigint,
  out unnumbered boolean, out consumers bigint, out letter_ms double precision,
  out redrives boolean) language plpgsql stable as $$
declare
  v_now timestamptz := clock_timestamp();
begin
  select version into registry from {schema}.registry;
  select version into consumers from {schema}.consumer_registry;
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
  letter_ms := (select 0 from {schema}.letter_route limit 1);
  redrives := coalesce((select true from {schema}.redrive r where not r.settled limit 1), false);
  select array_agg(distinct s.class) into non_empty
    from unnest(p_class, p_from_priority, p_from_seq, p_to_priority) s (class, from_priority, from_seq, to_priority)
    where exists (select 1 from {schema}.ready r where r.class = s.class
      and (r.priority, r.seq) >= (s.from_priority, s.from_seq) and r.priority < s.to_priority);
  select h.head, h.unnumbered into head, unnumbered from {schema}.log_head() h;
end $$;
