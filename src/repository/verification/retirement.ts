/** What retention of executions and events leaves behind: whole partitions, and whatever somebody still needs. */
import { invariant } from './invariant.js';

const LIVE = 'not exists (select from {schema}.outcome o where o.execution = x.id)';

/** Per subject the tables that are partitioned by id. */
const PARENTS = `(values ('executions', 'execution'), ('executions', 'attempt'), ('executions', 'outcome'),
       ('executions', 'frame_head'), ('executions', 'frame'), ('events', 'event')) t (subject, parent)`;

/** Naming the tables locks them: none of their partitions goes while it is looked at, for of what is gone no bounds are told. */
const HELD = `with held as (
       select true from {schema}.execution where false union all select true from {schema}.attempt where false
       union all select true from {schema}.outcome where false union all select true from {schema}.frame_head where false
       union all select true from {schema}.frame where false union all select true from {schema}.event where false)`;

export const retirementInvariants = [
  invariant(
    'partitions-follow',
    'partitions by id follow each other without gaps from the lowest frontier on, and a frontier stands between two of them',
    `select p.suffix as sample from (
       select x.suffix, x.from_ms, lag(x.to_ms) over (order by x.from_ms) as before from {schema}.execution_partition x) p
     where p.from_ms <> coalesce(p.before, (select min(r.frontier_ms) from {schema}.retirement r))
     union all
     select r.subject from {schema}.retirement r where not exists (
       select from {schema}.execution_partition p where r.frontier_ms in (p.from_ms, p.to_ms))`,
  ),
  invariant(
    'kept-ends-at-frontier',
    'each table has the partitions from its frontier on, and one for all that is kept of what lies below it',
    `${HELD} select coalesce(f.parent || ': ' || f.bounds, m.parent || ': ' || m.bounds) as sample from (
       select t.parent, t.parent || '_' || p.suffix as name, format('FOR VALUES FROM (''%s'') TO (''%s'')',
         {schema}.uuid_at(p.from_ms), {schema}.uuid_at(p.to_ms)) as bounds
       from ${PARENTS} join {schema}.retirement r on r.subject = t.subject
       join {schema}.execution_partition p on p.from_ms >= r.frontier_ms
       union all
       select t.parent, t.parent || '_kept', format('FOR VALUES FROM (MINVALUE) TO (''%s'')', {schema}.uuid_at(r.frontier_ms))
       from ${PARENTS} join {schema}.retirement r on r.subject = t.subject) m
     full join (
       select t.parent, c.relname::text as name, pg_get_expr(c.relpartbound, c.oid) as bounds
       from ${PARENTS} join pg_inherits i on i.inhparent = ('{schema}.' || t.parent)::regclass
       join pg_class c on c.oid = i.inhrelid) f on f.name = m.name
     where f.bounds is distinct from m.bounds`,
  ),
  invariant(
    'carried-over',
    'what goes on has what it was made of: the event that it reacts to, the run before it, the results that it takes in',
    `select x.id as sample from {schema}.execution x
     where x.event is not null and ${LIVE} and not exists (select from {schema}.event e where e.id = x.event)
     union all
     select x.id from {schema}.execution x
     where x.redrive_of is not null and ${LIVE} and not exists (select from {schema}.execution y where y.id = x.redrive_of)
     union all
     select x.id from {schema}.execution x join {schema}.barrier b on b.downstream = x.id
     join {schema}.slot s on s.barrier = b.id and s.outcome is not null
     where ${LIVE} and (b.kind <> 3 and not exists (select from {schema}.outcome y where y.execution = s.upstream)
       or s.event is not null and not exists (select from {schema}.event e where e.id = s.event))`,
  ),
  invariant(
    'letters-keep-their-runs',
    'the runs that a dead letter names are kept as long as it is',
    `select d.id as sample from {schema}.dead_letter d
     where d.execution is not null and not exists (select from {schema}.execution x where x.id = d.execution)
       or d.last_execution is not null and not exists (select from {schema}.execution x where x.id = d.last_execution)`,
  ),
];
