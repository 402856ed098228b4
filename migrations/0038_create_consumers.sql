-- Consumers, and what the dead-letter desk needs beside them: the tables, and the columns they bring.
--
-- A consumer is a name with generations, a generation is so many parts, and a part is a place in the log with an owner. All
-- that moves while entries are handled is the part's row, updated in place. Its epoch fences: it rises whenever the part gets
-- another owner or is taken away, and every write of an owner names it.
-- An entry that was given up is a dead letter that holds its key: later entries of that key are parked behind it, as letters of
-- their own. Whoever is first of a key and was parked only for an earlier one is delivered again, in order; so nothing has
-- to be told when a letter is closed but that somebody should look (`consumer_release`).
-- Lock order: … → dead letter → consumer → part. What is delivered again is taken with SKIP LOCKED under the part.
-- Locks: short ACCESS EXCLUSIVE locks on dead_letter, execution and subscription, to add columns. older-servers: refused

create table {schema}.consumer (
  id int generated always as identity primary key,
  namespace int not null,
  name text not null check (octet_length(name) between 1 and 200),
  version bigint not null default 1,
  state smallint not null default 1 check (state in (1, 2, 3)), -- active, paused, halted
  state_reason text not null default '',
  spec jsonb not null, -- as asked for
  split_key smallint not null check (split_key in (1, 2)), -- flow, stream
  max_tries int not null check (max_tries between 1 and 100),
  initial_backoff_ms bigint not null check (initial_backoff_ms >= 0),
  max_backoff_ms bigint not null check (max_backoff_ms >= 0),
  parks boolean not null, -- what fails to the limit; else the consumer halts at it
  max_parked int not null check (max_parked >= 0),
  hold_log boolean not null default false, -- retention waits for it
  generation bigint not null default 1, -- the live one
  rebuilding bigint check (rebuilding > generation), -- the one that is to follow it
  newest bigint not null default 1, -- the highest number given
  promotes boolean not null default false, -- the one that is rebuilt is promoted by itself
  actor text not null default '',
  created_at timestamptz not null,
  changed_at timestamptz not null,
  unique (namespace, name)
);

create table {schema}.consumer_generation (
  consumer int not null,
  generation bigint not null,
  part_count int not null check (part_count between 1 and 256),
  created_at timestamptz not null,
  primary key (consumer, generation)
);

create table {schema}.consumer_part (
  consumer int not null,
  generation bigint not null,
  part int not null check (part between 0 and 255),
  position bigint not null check (position >= 0), -- everything up to here is handled, or parked
  came_from bigint not null default -1, -- where the last commit moved it from
  epoch bigint not null default 0,
  owner text,
  lease_ms bigint,
  expires_at timestamptz,
  wanted_at timestamptz, -- since when somebody with less waits for it: its lease is not renewed beyond one more
  -- Of the entry after the position.
  tries int not null default 0,
  failed_position bigint,
  retry_at timestamptz,
  failure_class smallint,
  failure_code text,
  message text,
  details_type text,
  details bytea,
  halted boolean not null default false,
  primary key (consumer, generation, part),
  check ((owner is null) = (expires_at is null) and (owner is null) = (lease_ms is null)),
  check (owner is not null or wanted_at is null)
) with (fillfactor = 50, autovacuum_vacuum_cost_delay = 0, vacuum_truncate = off);

create index consumer_part_halted on {schema}.consumer_part (consumer, generation) where halted;

-- Who works on a consumer or waits to, besides those that own parts.
create table {schema}.consumer_member (
  consumer int not null,
  generation bigint not null,
  owner text not null check (octet_length(owner) between 1 and 200),
  max_parts int not null,
  expires_at timestamptz not null,
  primary key (consumer, generation, owner)
);

-- Something of this part may have to be delivered again. Written beside the change of a letter, deleted by whoever looks.
create table {schema}.consumer_release (
  seq bigint generated always as identity primary key,
  consumer int not null,
  generation bigint not null,
  part int not null
);
create index consumer_release_part on {schema}.consumer_release (consumer, generation, part);

-- One row: raised by whatever those who wait for entries or parts have to look at again.
create table {schema}.consumer_registry (
  version bigint not null
) with (fillfactor = 50);
insert into {schema}.consumer_registry values (1);

-- Of a parked entry: where it stands, the key it holds while `holds`, the entry as it was delivered, the execution it is
-- about. tries, retry_at: of its present redelivery. redrive: the bulk redrive that took it last.
alter table {schema}.dead_letter add column consumer int, add column consumer_name text, add column generation bigint,
  add column part int, add column position bigint, add column entry_key text,
  add column follower boolean not null default false, add column holds boolean not null default false,
  add column entry bytea, add column entry_execution uuid, add column tries int not null default 0,
  add column retry_at timestamptz, add column redrive uuid,
  add constraint dead_letter_entry check ((subject = 3) = (consumer is not null) and (consumer is null) = (position is null)
    and (holds or not follower) and (not holds or (consumer is not null and state <> 3)));
-- What holds its key, in the order of the log.
create unique index dead_letter_parked on {schema}.dead_letter (consumer, generation, part, position) where holds;
create index dead_letter_key on {schema}.dead_letter (consumer, generation, part, entry_key, position) where holds;
-- To be delivered again.
create index dead_letter_offered on {schema}.dead_letter (consumer, generation, part, position)
  where consumer is not null and state = 2;
create index dead_letter_consumer on {schema}.dead_letter (namespace, consumer_name, id) where consumer_name is not null;

-- The letter that it handles: its failure closes that one, and opens none.
alter table {schema}.execution add column handles uuid;
create index execution_handles on {schema}.execution (handles) where handles is not null;
-- It matches letters that are opened, not events.
alter table {schema}.subscription add column of_letters boolean not null default false;
create index subscription_of_letters on {schema}.subscription (namespace) where of_letters and state = 1;
