-- Flows and joins: executions that depend on each other.
--
-- A flow is a row and its members name it; nothing of it is written per member but `flow_live` (inserted with the member,
-- deleted with its end), so that "is anything left" is an existence check and never a counter that everybody updates.
-- A join is a row of `barrier` (the word is reserved in SQL) with one `slot` per edge or child. Whoever ends an upstream
-- fills its slots in that transaction: at once where the join is narrow and free, else by a row of `filling`, which is
-- folded right after. What else must follow a commit stands in `follow_up`, so a crash leaves it due.
-- Locks: short ACCESS EXCLUSIVE locks on the execution and phase tables, to add columns. older-servers: refused
create table {schema}.flow (
  id uuid not null primary key,
  namespace int not null,
  name text not null default '',
  tags jsonb not null default '{}',
  failure_policy smallint not null default 1 check (failure_policy in (1, 2)), -- continue, cancel the rest
  cancel_now boolean not null default false,
  cancel_grace_ms bigint not null default 30000,
  cancel_accepts_late boolean not null default true,
  revision bigint not null default 1,
  began boolean not null, -- it has had a member: an empty flow is never settled
  seal_after_idle_ms bigint check (seal_after_idle_ms > 0),
  created_at timestamptz not null,
  sealed_at timestamptz,
  settled_at timestamptz, -- null while something of it is live, or that was not looked into yet
  ended_at timestamptz,
  canceled_at timestamptz,
  canceled_scope smallint check (canceled_scope in (1, 2)), -- all, pending only
  canceled_reason text,
  failing_at timestamptz, -- its policy cancels the rest after the failure of a required member
  failed_at timestamptz, -- the last failure of a required member
  seal_at timestamptz, -- it is idle, and seals itself then
  -- active, idle, succeeded, failed, canceling, canceled
  state smallint not null default 1 check (state between 1 and 6),
  check ((canceled_at is null) = (canceled_scope is null)),
  check ((state in (3, 4, 6)) = (ended_at is not null)),
  check (state not in (2, 3, 4, 6) or settled_at is not null),
  check (state not in (5, 6) or canceled_at is not null)
) with (fillfactor = 70);
create index flow_state on {schema}.flow (namespace, state, id);
create index flow_name on {schema}.flow (namespace, name, id) where name <> '';
create index flow_tags on {schema}.flow using gin (tags jsonb_path_ops) where tags <> '{}';
create index flow_failed_at on {schema}.flow (namespace, failed_at, id) where failed_at is not null;
create index flow_seal_at on {schema}.flow (seal_at) where seal_at is not null;

-- Request ids of CreateFlow and ExtendFlow.
create table {schema}.flow_request (
  namespace int not null,
  request_id text not null,
  flow uuid not null,
  revision bigint not null,
  hash bytea not null,
  members jsonb not null, -- execution ids by local name
  created_at timestamptz not null,
  primary key (namespace, request_id)
);

-- Members that have not ended.
create table {schema}.flow_live (
  flow uuid not null,
  execution uuid not null,
  primary key (flow, execution)
) with (autovacuum_vacuum_cost_delay = 0, vacuum_truncate = off);

-- Required members that ended without success and were not redriven; a loser of a join is none.
create table {schema}.flow_failed (
  flow uuid not null,
  execution uuid not null,
  state smallint not null,
  ended_at timestamptz not null,
  primary key (flow, execution)
);
create index flow_failed_order on {schema}.flow_failed (flow, ended_at);

-- How many members of a flow stand in which state: folded from the log, as state_count is. 0: created, ever.
create table {schema}.flow_count (
  flow uuid not null,
  state smallint not null check (state between 0 and 11),
  n bigint not null,
  primary key (flow, state)
) with (fillfactor = 50, autovacuum_vacuum_cost_delay = 0);

create table {schema}.barrier (
  id uuid not null primary key, -- UUIDv7: lists are in order of making
  namespace int not null,
  kind smallint not null check (kind in (1, 2, 3)), -- edges, children, event batch
  downstream uuid not null, -- the execution that waits
  flow uuid,
  mode smallint not null check (mode in (1, 2, 3)), -- all, any, quorum
  quorum int not null default 0 check ((mode = 3) = (quorum > 0)),
  distinct_sources boolean not null default false check (not distinct_sources or mode <> 1),
  cancel_rest boolean not null default false,
  on_timeout smallint not null default 1 check (on_timeout in (1, 2)), -- fail, release with what is there
  timeout_ms bigint check (timeout_ms > 0),
  sealed boolean not null,
  depth int not null default 1, -- edges on the longest path to the downstream
  slots int not null check (slots >= 0),
  ok int not null default 0,
  failed int not null default 0,
  skipped int not null default 0,
  late int not null default 0,
  lost int not null default 0, -- required slots that did not succeed
  sources int not null default 0, -- distinct sources: that succeeded
  chances int not null default 0, -- distinct sources: that succeeded or still can
  state smallint not null default 1 check (state between 1 and 5), -- open, satisfied, impossible, expired, abandoned
  created_at timestamptz not null,
  expires_at timestamptz,
  due_at timestamptz, -- expires_at while it is open: no index knows of the state, so that deciding is an update in place
  decided_at timestamptz,
  check (due_at is null or state = 1),
  check (ok + failed + skipped <= slots),
  check (sealed or expires_at is not null),
  check ((state = 1) = (decided_at is null))
) with (fillfactor = 70);
create index barrier_downstream on {schema}.barrier (downstream, kind);
create index barrier_flow on {schema}.barrier (flow, id) where flow is not null;
create index barrier_due on {schema}.barrier (due_at) where due_at is not null;

create table {schema}.slot (
  barrier uuid not null,
  idx int not null check (idx >= 0),
  upstream uuid not null,
  downstream uuid not null,
  flow uuid,
  is_edge boolean not null, -- of a flow's graph; else a child
  name text not null,
  optional boolean not null,
  source text, -- as declared; null: the upstream itself
  outcome smallint check (outcome in (1, 2, 3)), -- ok, failed, skipped; null while it is not filled
  late boolean not null default false, -- filled after the join had decided
  primary key (barrier, idx)
) with (fillfactor = 50); -- every slot is updated once, in place
create index slot_upstream on {schema}.slot (upstream);
create index slot_downstream on {schema}.slot (downstream, idx) where is_edge;
create index slot_flow on {schema}.slot (flow, downstream, barrier, idx) where is_edge;
create index slot_source on {schema}.slot (barrier, source) where source is not null;

-- Slots filled by a committed transaction and not folded into their join yet. Inserted, deleted.
create table {schema}.filling (
  barrier uuid not null,
  idx int not null,
  outcome smallint not null,
  primary key (barrier, idx)
) with (autovacuum_vacuum_cost_delay = 0, vacuum_truncate = off);

-- What has to follow a commit. kind: 1 see whether a flow has settled, 2 cancel the members of a flow, 3 cancel the
-- upstreams whose slots of a join are not filled, 4 fill the slots of an execution that has ended, 5 see whether the
-- downstream of a join is gone, 6 fold a join again that could not decide. Kinds 2 and 3 go on in batches, after `position`.
create table {schema}.follow_up (
  seq bigint generated always as identity primary key,
  kind smallint not null check (kind between 1 and 6),
  subject uuid not null,
  due_at timestamptz not null default clock_timestamp(),
  position uuid not null default '00000000-0000-0000-0000-000000000000',
  step smallint not null default 0,
  again boolean not null default false, -- something was passed over because it was locked: from the start once more
  reason smallint, -- why they end
  policy jsonb -- how running ones are stopped: now, grace_ms, accepts_late, text
) with (autovacuum_vacuum_cost_delay = 0, vacuum_truncate = off);
create index follow_up_due on {schema}.follow_up (due_at);

-- Waits for a join. The columns are those of the other phase tables, so that what must survive between phases does.
create table {schema}.blocked (
  execution uuid not null primary key,
  state smallint not null check (state in (1, 6)), -- BLOCKED, WAITING_CHILDREN
  barrier uuid not null,
  blocked_at timestamptz not null,
  run_at timestamptz, -- earliest start once released
  class int not null,
  priority smallint not null check (priority between -1000 and 1000),
  kind smallint not null,
  attempt int not null,
  failures int not null,
  reclaims int not null,
  timeout_ms bigint,
  start_by timestamptz,
  deadline timestamptz,
  redrive boolean not null,
  flow uuid,
  linked boolean not null,
  resume boolean not null check (resume = (state = 6))
) with (autovacuum_vacuum_cost_delay = 0, vacuum_truncate = off);

-- Attempts that are open without a lease: their execution waits, or stands in line to go on. Whoever ends the execution
-- writes its attempt from here; whoever claims it goes on with it.
create table {schema}.parked (
  execution uuid not null primary key,
  barrier uuid not null, -- what the attempt waits, or waited, for
  number int not null check (number >= 1),
  kind smallint not null,
  worker text not null,
  worker_name text not null,
  lease uuid not null,
  token bigint not null,
  ready_at timestamptz not null,
  started_at timestamptz not null,
  timeout_ms bigint, -- what is left of the attempt's timeout
  progress_percent double precision,
  progress_message text,
  progress_at timestamptz,
  call smallint not null, -- what parked it, with the hash of its content
  hash bytea not null,
  parked_at timestamptz not null,
  waits int not null check (waits >= 1) -- how often this attempt was parked
);

-- flow: whose log entries it writes. linked: member of a flow, or somebody's child: its end fills slots.
-- resume: an open attempt stands in `parked`, and goes on with the next lease.
alter table {schema}.ready add column flow uuid, add column linked boolean not null default false,
  add column resume boolean not null default false;
alter table {schema}.scheduled add column flow uuid, add column linked boolean not null default false,
  add column resume boolean not null default false;
-- waits: how often the attempt was parked so far.
-- granted_at: of a lease that goes on with an attempt; started_at is the attempt's.
-- cancel_cause: the EndReason of a requested cancel, when it is not the execution's own (20).
alter table {schema}.lease add column flow uuid, add column linked boolean not null default false,
  add column waits int not null default 0, add column cancel_cause smallint,
  add column granted_at timestamptz;

alter table {schema}.execution add column parent uuid, add column optional boolean not null default false;
create index execution_flow on {schema}.execution (flow, id) where flow is not null;
create index execution_parent on {schema}.execution (parent, id) where parent is not null;
create index execution_redrive_of on {schema}.execution (redrive_of) where redrive_of is not null;
create index dead_letter_flow on {schema}.dead_letter (flow, state, id) where flow is not null;
