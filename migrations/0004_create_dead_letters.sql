-- Dead letters: the record of giving up, written in the transaction that gives up.
--
-- open → redriving → closed(redriven) | open;  open → closed(by a person);  closed → open (reopened).
-- Names and input are copied, so that the letter outlives its execution's partition.
-- Locks: creates only. older-servers: refused
create table {schema}.dead_letter (
  id uuid not null primary key,
  namespace int not null,
  subject smallint not null default 1 check (subject in (1, 2, 3)), -- execution, event, consumer entry
  execution uuid, -- the first run
  last_execution uuid, -- the newest run: the first one, or its latest redrive
  reason smallint not null check (reason between 1 and 13), 
  lane text not null,
  type text not null,
  flow uuid,
  tags jsonb not null default '{}',
  input_type text,
  input bytea,
  edited_type text, -- input of the last redrive, when it was edited
  edited bytea,
  failure_class smallint,
  failure_code text,
  message text not null default '',
  details_type text,
  details bytea,
  fingerprint text not null,
  attempts int not null,
  first_failure_at timestamptz not null,
  last_failure_at timestamptz not null,
  redrives int not null default 0,
  last_redrive_at timestamptz,
  state smallint not null default 1 check (state in (1, 2, 3)), -- open, redriving, closed
  resolution smallint check (resolution between 1 and 5),
  actor text not null default '',
  note text not null default '',
  version bigint not null default 1,
  created_at timestamptz not null,
  closed_at timestamptz,
  check ((state = 3) = (resolution is not null) and (state = 3) = (closed_at is not null))
);
create index dead_letter_state on {schema}.dead_letter (namespace, state, id);
create index dead_letter_execution on {schema}.dead_letter (execution) where execution is not null;
create index dead_letter_fingerprint on {schema}.dead_letter (namespace, fingerprint, id);
create index dead_letter_tags on {schema}.dead_letter using gin (tags jsonb_path_ops) where tags <> '{}';
