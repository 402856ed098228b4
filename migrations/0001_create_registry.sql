-- Names that hot rows refer to by number: namespaces, lanes, claim classes; and the workers that were seen.
--
-- Why: a claim must find its work by key alone. Everything that decides who may run an execution (namespace, lane,
-- type, required capabilities) is interned as one claim class, so that a million rows of other classes cost nothing.
-- Locks: creates only. older-servers: refused
create table {schema}.registry (
  -- One row. Raised, under its row lock, by every transaction that adds a class or changes a lane: the number tells a
  -- process with one cheap read whether what it remembers is still true, and commits are in its order.
  version bigint not null
);
insert into {schema}.registry values (1);

create table {schema}.namespace (
  id int generated always as identity primary key,
  name text not null unique check (octet_length(name) between 1 and 200),
  created_at timestamptz not null default clock_timestamp()
);
insert into {schema}.namespace (name) values ('default');

create table {schema}.lane (
  id int generated always as identity primary key,
  namespace int not null,
  name text not null check (octet_length(name) between 1 and 64),
  state smallint not null default 1 check (state in (1, 2, 3)), -- open, paused, draining
  state_reason text not null default '',
  actor text not null default '',
  timeout_ms bigint check (timeout_ms > 0),
  ttl_ms bigint check (ttl_ms > 0),
  aging_ms bigint check (aging_ms > 0),
  retry_max int check (retry_max >= 1),
  retry_initial_ms bigint check (retry_initial_ms >= 0),
  retry_factor real check (retry_factor >= 1),
  retry_cap_ms bigint check (retry_cap_ms >= 0),
  reclaims_max int check (reclaims_max >= 0),
  count_lost boolean,
  version bigint not null default 1,
  created_at timestamptz not null default clock_timestamp(),
  changed_at timestamptz not null default clock_timestamp(),
  unique (namespace, name)
);

create table {schema}.claim_class (
  id int generated always as identity primary key,
  namespace int not null,
  lane int not null,
  type text not null check (octet_length(type) between 1 and 200),
  capabilities text[] not null, -- sorted, distinct
  unique (lane, type, capabilities)
);

create table {schema}.worker (
  namespace int not null,
  id text not null, -- the instance: random per process, so equal names never meet
  name text not null,
  lanes text[] not null,
  types text[] not null,
  capabilities text[] not null,
  max_concurrency int not null default 0,
  labels jsonb not null default '{}',
  drain_reason text not null default '',
  state smallint not null default 1 check (state in (1, 2)), -- active, draining
  started_at timestamptz not null default clock_timestamp(),
  seen_at timestamptz not null default clock_timestamp(),
  primary key (namespace, id)
);

-- Interns classes: the nth answer belongs to the nth name. Lanes are made on first use.
-- Two callers with new names in other order cannot deadlock: both take the registry row first.
create function {schema}.intern_classes(p_namespace int[], p_lane text[], p_type text[], p_capabilities text[])
returns table (id int, lane int) language plpgsql volatile as $$
#variable_conflict use_column
begin
  perform 1 from {schema}.registry for update;
  insert into {schema}.lane (namespace, name)
    select distinct n, l from unnest(p_namespace, p_lane) u (n, l) on conflict do nothing;
  insert into {schema}.claim_class (namespace, lane, type, capabilities)
    select distinct l.namespace, l.id, u.t, u.c::text[]
    from unnest(p_namespace, p_lane, p_type, p_capabilities) u (n, l, t, c)
    join {schema}.lane l on l.namespace = u.n and l.name = u.l
    on conflict do nothing;
  update {schema}.registry set version = version + 1;
  return query select c.id, c.lane
    from unnest(p_namespace, p_lane, p_type, p_capabilities) with ordinality u (n, l, t, c, ord)
    join {schema}.lane l on l.namespace = u.n and l.name = u.l
    join {schema}.claim_class c on c.lane = l.id and c.type = u.t and c.capabilities = u.c::text[]
    order by u.ord;
end $$;
