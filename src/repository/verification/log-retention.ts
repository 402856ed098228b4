/** What the log has let go of, and what is to go next. */
import { LOG_FLOOR, LOG_FLOOR_SEQ } from './gone.js';
import { invariant } from './invariant.js';

export const logRetentionInvariants = [
  invariant(
    'log-partitions-follow',
    'partitions of the log follow each other from the first row that is there, the closed ones first',
    `select p.lo as sample from (
       select x.lo, x.closed_at, lag(x.hi) over (order by x.lo) as before, lag(x.closed_at) over (order by x.lo) as closed_before
       from {schema}.log_partition x) p
     where p.lo < ${LOG_FLOOR_SEQ} or p.lo <> coalesce(p.before, greatest(${LOG_FLOOR_SEQ}, 1))
       or p.closed_at is not null and p.before is not null and p.closed_before is null
     union all
     select l.seq from {schema}.log l where l.seq < ${LOG_FLOOR_SEQ}`,
  ),
  invariant(
    'closed-partition-is-counted',
    'of a closed partition it is known how many entries of each kind it has, none stands behind its last position, and no run goes on beyond it',
    `select format('%s: namespace %s kind %s', coalesce(t.lo, e.lo), coalesce(t.namespace, e.namespace), coalesce(t.kind, e.kind))
       as sample
     from (
       select t.* from {schema}.log_tally t join {schema}.log_partition p on p.lo = t.lo where p.closed_at is not null) t
     full join (
       select p.lo, x.namespace, x.kind, count(*) as n from {schema}.log_partition p
       join {schema}.log l on l.seq >= p.lo and l.seq < p.hi
       cross join lateral unnest(l.namespace, l.kind) x (namespace, kind)
       where p.closed_at is not null group by 1, 2, 3) e
       on e.lo = t.lo and e.namespace = t.namespace and e.kind = t.kind
     where t.n is distinct from e.n
     union all
     select format('%s: run %s', p.lo, r.base) from {schema}.log_partition p
     join {schema}.log_run r on r.hi >= p.lo and r.hi < p.hi
     where p.closed_at is not null and r.base + r.n - 1 > p.last_position
     union all
     select format('%s: uncut run %s', p.lo, r.base) from {schema}.log_partition p
     join {schema}.log_run r on r.lo < p.hi and r.hi >= p.hi where p.closed_at is not null`,
  ),
  invariant(
    'floors-in-log',
    'no floor of a namespace lies beyond the end of the log, and none beyond what its consumers that hold the log have read',
    `select n.name as sample from {schema}.namespace n, {schema}.log_head() h where n.log_floor > h.head
     union all
     select c.name from {schema}.consumer c join {schema}.namespace n on n.id = c.namespace
     join {schema}.consumer_part p on p.consumer = c.id
     where c.hold_log and not p.pruned and p.position < n.log_floor`,
  ),
  invariant(
    'consumer-has-its-log',
    'what a part that goes on has not read is there',
    `select p.consumer || '/' || p.generation || '/' || p.part as sample from {schema}.consumer_part p
     where not p.halted and not p.pruned and p.position < ${LOG_FLOOR} and exists (
       select from {schema}.consumer c where c.id = p.consumer and c.hold_log)
     union all
     select p.consumer || '/' || p.generation || '/' || p.part from {schema}.consumer_part p where p.pruned and not p.halted`,
  ),
];
