-- A log that was restored from a backup is another log from there on.
--
-- Why: after a restore, positions are given anew that readers of the lost end had already seen with other entries. A cursor
-- names the incarnation of its log; renewing it tells those cursors from new ones. What all incarnations have in common is
-- kept here, so that a cursor from before is good up to there.
-- Locks: creates only.
-- older-servers: allowed
create table {schema}.log_past (
  incarnation uuid not null primary key,
  "last" bigint not null, -- position up to which it is the same log
  renewed_at timestamptz not null default clock_timestamp()
);

-- To be called between a restore and the start of the first server. Everything committed must have its position
-- (log_step); nobody else may be at work, for every process remembers the incarnation.
-- Done twice it leaves an incarnation more and harms nobody. A crash leaves nothing.
create function {schema}.renew_incarnation(out incarnation uuid, out head bigint) language plpgsql volatile as $$
#variable_conflict use_column
declare
  v_unnumbered boolean;
  v_others int;
begin
  select count(*) into v_others from pg_stat_activity a
    where a.datname = current_database() and a.pid <> pg_backend_pid() and a.application_name ~ '^tailrace( [0-9]|$)';
  if v_others > 0 then
    raise exception '% connections of running servers: stop them first', v_others using errcode = 'object_in_use';
  end if;
  -- The sequencer's lock: no position is given meanwhile.
  perform pg_advisory_xact_lock(1953656651, '{schema}'::regnamespace::oid::int);
  select h.head, h.unnumbered into head, v_unnumbered from {schema}.log_head() h;
  if v_unnumbered then
    raise exception 'entries of the log have no position yet' using errcode = 'object_not_in_prerequisite_state';
  end if;
  insert into {schema}.log_past (incarnation, "last") select i.id, head from {schema}.log_incarnation i;
  update {schema}.log_incarnation i set id = gen_random_uuid() returning i.id into incarnation;
  -- A backfill waits for transactions of the cluster it began in; a dump brings it to another, which counts its own.
  update {schema}.subscription s set past_xid = null where s.past_xid >= pg_snapshot_xmax(pg_current_snapshot());
end $$;
