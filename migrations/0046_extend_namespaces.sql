-- What a namespace is set to, up to where it has let go of the past, and what was let go of.
--
-- Why: a namespace has settings of its own and a floor. What ended before the floor is not shown any more from the moment
-- the floor moves; its rows go later, in bulk (0049, 0050). The floor never moves back, for what lies below it may be gone.
-- Locks: short ACCESS EXCLUSIVE on namespace and execution, without rewriting them.
-- older-servers: allowed
alter table {schema}.namespace
  add column description text not null default '',
  add column version bigint not null default 1,
  add column actor text not null default '',
  add column changed_at timestamptz not null default clock_timestamp(),
  -- Null: what the server is set to.
  add column keep_executions_ms bigint check (keep_executions_ms > 0),
  add column keep_log_ms bigint check (keep_log_ms > 0),
  add column keep_letters_ms bigint check (keep_letters_ms > 0),
  add column keep_event_ids_ms bigint check (keep_event_ids_ms > 0),
  add column event_ids_forever boolean not null default false,
  add column max_payload_bytes bigint check (max_payload_bytes > 0),
  -- Executions and flows that ended before it are not shown. Null: everything is.
  add column floor_at timestamptz,
  -- Events and entries of the log from before it are not shown, nor are entries up to the position.
  add column log_floor_at timestamptz,
  add column log_floor bigint not null default 0;

-- The caller's trace (W3C traceparent and tracestate, separated by a space), for those who look at one as a whole.
alter table {schema}.execution add column trace text check (octet_length(trace) <= 600);

-- Executions that ended and whose rows are gone: created = live + terminal + retired. Written with each partition that is
-- dropped and each batch that is deleted, in the same transaction.
create table {schema}.retired (
  class int not null,
  state smallint not null check (state between 7 and 11),
  n bigint not null check (n >= 0),
  primary key (class, state)
);
