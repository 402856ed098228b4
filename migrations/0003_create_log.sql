-- The log: every transition, in one order that watchers, audit and counts follow.
--
-- A transaction that changes something appends one row to `log` as its last statement, after every lock: the entries
-- as arrays, so that a hundred transitions cost one row (48 B of WAL each instead of 430 as rows). `seq` therefore
-- follows lock order: no effect precedes its cause. What `seq` does not give is an order that is final when visible,
-- because a lower seq may commit later. Positions do: the sequencer (log_step) gives them after commit, by appending
-- rows to `log_run`. Nothing here is ever updated, so a snapshot held elsewhere slows nothing down
-- (numbering the header in place: 1 ms per step grew to 29 ms within a minute; append-only: 0.6 ms, flat).
-- Locks: creates only.
-- older-servers: refused

create sequence {schema}.log_seq;  -- cache 1: values must be handed out in the order in which they are asked for

create table {schema}.log (
  seq        bigint      not null primary key,
  n          int         not null,
  at         timestamptz not null,
  namespace  int[]       not null,
  kind       smallint[]  not null,
  execution  uuid[]      not null,
  flow       uuid[]      not null,
  class      int[]       not null,
  from_state smallint[]  not null,
  to_state   smallint[]  not null,
  attempt    int[]       not null,
  body       text[]      not null,
  large      int[],      -- 1-based indexes of entries whose body stands in log_body
  -- A row with arrays of different lengths could never be read, and would stop every reader behind it.
  check (n > 0 and cardinality(namespace) = n and cardinality(kind) = n and cardinality(execution) = n
    and cardinality(flow) = n and cardinality(class) = n and cardinality(from_state) = n
    and cardinality(to_state) = n and cardinality(attempt) = n and cardinality(body) = n)
) partition by range (seq);

create table {schema}.log_body (
  seq  bigint not null,
  idx  int    not null,
  body text   not null,
  primary key (seq, idx)
) partition by range (seq);

-- Which rows speak of a flow; of an execution without flow, under the execution's id.
create table {schema}.log_flow (
  flow uuid   not null,
  seq  bigint not null,
  primary key (flow, seq)
) partition by range (seq);

-- Compression with lz4 where the server was built with it. New partitions copy it (LIKE … INCLUDING ALL).
do $$
declare
  v_column text;
begin
  if exists (select from pg_settings where name = 'default_toast_compression' and 'lz4' = any (enumvals)) then
    foreach v_column in array array['namespace', 'kind', 'execution', 'flow', 'class', 'from_state', 'to_state', 'attempt', 'body'] loop
      execute format('alter table {schema}.log alter column %I set compression lz4', v_column);
    end loop;
    alter table {schema}.log_body alter column body set compression lz4;
  end if;
end $$;

-- Positions. A row numbers, from `base` on and in order of seq, the entries of all rows of `log` in [lo, hi] that are
-- not among its holes. The last row is the sequencer's whole state: `top` is the highest seq it has seen, `holes` are
-- the stretches up to there that had not committed, `hxid` when each was first missed. Stretches, because a sequence
-- jumps by millions when a dump is restored beside one that went on.
create table {schema}.log_run (
  base  bigint not null primary key,
  n     int    not null check (n > 0),
  lo    bigint not null,
  hi    bigint not null check (hi >= lo),
  top   bigint not null check (top >= hi),
  holes int8range[] not null,
  hxid  xid8[]       not null check (cardinality(hxid) = cardinality(holes))
);
create index log_run_hi on {schema}.log_run (hi);

-- One row. A cursor names the incarnation, so that one from another log is recognised.
create table {schema}.log_incarnation (
  one   boolean not null primary key default true check (one),
  id    uuid    not null default gen_random_uuid(),
  floor bigint  not null default 0  -- entries up to this position are gone
);
insert into {schema}.log_incarnation default values;

create table {schema}.log_partition (
  lo bigint not null primary key,
  hi bigint not null check (hi > lo),
  made_at timestamptz not null default clock_timestamp()
);

-- Makes what is missing of: the partition in use and the next two, each p_step wide. Returns how many were made.
-- A plain table with a CHECK is attached, because CREATE … PARTITION OF waits for every reader and stalls every writer
-- behind it (3 s measured behind one open reader; attaching: 2 ms). The lock timeout keeps this from queueing.
create function {schema}.ensure_log_partitions(p_step bigint) returns int
language plpgsql volatile as $$
declare
  v_used bigint;
  v_lo   bigint;
  v_hi   bigint;
  v_made int := 0;
  v_table text;
begin
  perform set_config('lock_timeout', '2s', true);
  perform pg_advisory_xact_lock(1953656652, '{schema}'::regnamespace::oid::int);
  select last_value into v_used from {schema}.log_seq;
  select coalesce(max(hi), 1) into v_lo from {schema}.log_partition;
  while (select count(*) from {schema}.log_partition where lo > v_used) < 2 loop
    v_hi := v_lo + p_step;
    foreach v_table in array array['log', 'log_body', 'log_flow'] loop
      execute format('create table {schema}.%I (like {schema}.%I including all)', v_table || '_' || v_lo, v_table);
      execute format('alter table {schema}.%I add constraint bounds check (seq >= %s and seq < %s)', v_table || '_' || v_lo, v_lo, v_hi);
      execute format('alter table {schema}.%I attach partition {schema}.%I for values from (%s) to (%s)',
        v_table, v_table || '_' || v_lo, v_lo, v_hi);
      execute format('alter table {schema}.%I drop constraint bounds', v_table || '_' || v_lo);
    end loop;
    insert into {schema}.log_partition (lo, hi) values (v_lo, v_hi);
    v_made := v_made + 1;
    v_lo := v_hi;
  end loop;
  return v_made;
end $$;

select {schema}.ensure_log_partitions(10000000);

-- Appends the entries of one transaction and returns their seq. To be called once, as the transaction's last statement,
-- after every lock. Elements of execution, flow, class, states, attempt and body may be null; a body is compact JSON.
-- The xid comes first: a hole in the sequence counts as rolled back once every xid older than the step that missed it
-- has ended, which needs each writer to own its xid before it draws.
create function {schema}.append_log(
  p_namespace int[], p_kind smallint[], p_execution uuid[], p_flow uuid[], p_class int[],
  p_from smallint[], p_to smallint[], p_attempt int[], p_body text[]
) returns bigint
language plpgsql volatile as $$
declare
  v_seq   bigint;
  v_large int[];
  v_body  text[] := p_body;
  v_index int;
begin
  perform pg_current_xact_id();
  select array_agg(b.i) into v_large from unnest(p_body) with ordinality b(body, i) where octet_length(b.body) > 2048;
  v_seq := nextval('{schema}.log_seq');
  if v_large is not null then
    insert into {schema}.log_body (seq, idx, body) select v_seq, i, p_body[i] from unnest(v_large) i;
    foreach v_index in array v_large loop
      v_body[v_index] := null;
    end loop;
  end if;
  insert into {schema}.log (seq, n, at, namespace, kind, execution, flow, class, from_state, to_state, attempt, body, large)
    values (v_seq, cardinality(p_kind), clock_timestamp(), p_namespace, p_kind, p_execution, p_flow, p_class,
            p_from, p_to, p_attempt, v_body, v_large);
  insert into {schema}.log_flow (flow, seq)
    select distinct coalesce(e.flow, e.execution), v_seq from unnest(p_flow, p_execution) e(flow, execution)
    where coalesce(e.flow, e.execution) is not null;
  return v_seq;
end $$;

-- One step of the sequencer: gives positions to what has committed, at most p_limit rows of it in one go.
-- Any process may call it at any time, outside a transaction; `busy` means that another one is at it and may not have
-- seen the caller's last commit, so ask again in a millisecond or two.
--
-- The lock is tried in a statement of its own and everything is read after it: a step that read before it would add to
-- a total that is stale by then. A crash anywhere leaves nothing, for all of it is one transaction; that transaction
-- commits synchronously whatever the default says, because readers act on what it shows.
create function {schema}.log_step(p_limit int,
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

-- The highest position given (0: none), and whether something committed waits for one. For pulse().
create function {schema}.log_head(out head bigint, out unnumbered boolean)
language plpgsql stable as $$
declare
  v_top   bigint := 0;
  v_holes int8range[] := '{}';
begin
  select r.base + r.n - 1, r.top, r.holes into head, v_top, v_holes from {schema}.log_run r order by r.base desc limit 1;
  head := coalesce(head, 0);
  unnumbered := exists (select from {schema}.log l where l.seq > coalesce(v_top, 0))
    or exists (select from unnest(v_holes) h (span)
               join {schema}.log l on l.seq >= lower(h.span) and l.seq < upper(h.span));
end $$;
