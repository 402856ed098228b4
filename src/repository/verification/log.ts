/** The log: its positions, and that it tells what happened, once. */
import { LOG_FLOOR, LOG_FLOOR_SEQ, LOG_GONE_AT, mayBeGone, shownFrom } from './gone.js';
import { invariant } from './invariant.js';

const ENTRIES = `
   select l.at, x.namespace, x.kind, x.execution, x.flow, x.class, x.from_state, x.to_state, x.body from {schema}.log l
   cross join lateral unnest(l.namespace, l.kind, l.execution, l.flow, l.class, l.from_state, l.to_state, l.body)
     x (namespace, kind, execution, flow, class, from_state, to_state, body)`;

/** Positions of those that have one. */
const PLACED = `
   select l.seq, l.namespace, l.kind, l.flow, l.class, l.from_state, l.to_state,
     r.base + sum(l.n) over (partition by r.base order by l.seq) - l.n as position
   from {schema}.log_run r join {schema}.log l
     on l.seq between r.lo and r.hi and (r.lo = r.hi or not l.seq <@ any (r.holes))`;

/** What has a position up to where counts were folded. */
const FOLDED = `
   select x.namespace, x.kind, x.flow, x.class, x.from_state, x.to_state from (${PLACED}) l
   cross join lateral unnest(l.namespace, l.kind, l.flow, l.class, l.from_state, l.to_state)
     x (namespace, kind, flow, class, from_state, to_state)
   where l.position <= (select c.position from {schema}.counted c)`;

/** What was not folded yet: all of it is there. */
const UNFOLDED = `
   select x.kind, x.class, x.from_state, x.to_state from {schema}.log l
   left join (${PLACED}) p on p.seq = l.seq
   cross join lateral unnest(l.kind, l.class, l.from_state, l.to_state) x (kind, class, from_state, to_state)
   where coalesce(p.position > (select c.position from {schema}.counted c), true)`;

/** What entries add to the counts per class, or flow, and state; state 0 counts creations, 12 events. */
const MOVES = `(values (x.from_state, -1), (x.to_state, 1),
       (case x.kind when 1 then 0::smallint when 30 then 12::smallint end, 1)) m (state, n)`;

export const logInvariants = [
  invariant(
    'positions-without-gaps',
    'each run of positions begins where the one before it ended, the first at 1, or behind what is gone',
    `select r.base as sample from (
       select base, coalesce(lag(base + n) over (order by base), ${LOG_FLOOR} + 1) as expected from {schema}.log_run
       where base > ${LOG_FLOOR}) r
     where r.base <> r.expected
     union all
     select r.base from {schema}.log_run r where r.base <= ${LOG_FLOOR} and r.base + r.n - 1 > ${LOG_FLOOR}`,
  ),
  invariant(
    'runs-hold-their-entries',
    'a run has as many positions as the rows it covers have entries',
    `select r.base as sample from {schema}.log_run r
     where r.hi >= ${LOG_FLOOR_SEQ} and r.n <> (select coalesce(sum(l.n), 0) from {schema}.log l
       where l.seq between r.lo and r.hi and (r.lo = r.hi or not l.seq <@ any (r.holes)))`,
  ),
  invariant(
    'one-position',
    'a row of the log has its positions from exactly one run, unless the sequencer has not come to it',
    `with last as (select r.top, r.holes from {schema}.log_run r order by r.base desc limit 1)
     select l.seq as sample from {schema}.log l
     cross join lateral (
       select count(*) as n from {schema}.log_run r
       where r.lo <= l.seq and r.hi >= l.seq and (r.lo = r.hi or not l.seq <@ any (r.holes))) c
     where c.n <> case when l.seq > coalesce((select top from last), 0) or l.seq <@ any ((select holes from last)::int8range[])
       then 0 else 1 end`,
  ),
  invariant(
    'created-is-logged',
    'the log tells once of each execution that it was created, and of nothing else',
    `select coalesce(e.id, c.execution) as sample from {schema}.execution e
     full join (select x.execution, count(*) as n from (${ENTRIES}) x where x.kind = 1 group by x.execution) c
       on c.execution = e.id
     where case when e.id is null then not ${mayBeGone('c.execution')}
       else coalesce(c.n, 0) <> 1 and (c.n is not null or e.created_at > ${LOG_GONE_AT}) end`,
  ),
  invariant(
    'end-is-logged',
    'the log tells once of each execution that ended, and how',
    `select coalesce(o.execution, c.execution) as sample from {schema}.outcome o
     full join (
       select x.execution, count(*) as n, min(x.to_state) as state from (${ENTRIES}) x
       where x.to_state >= 7 group by x.execution) c on c.execution = o.execution
     where case when o.execution is null then not ${mayBeGone('c.execution')}
       when c.n is null then o.ended_at > ${LOG_GONE_AT}
       else c.n <> 1 or c.state <> o.state end`,
  ),
  invariant(
    'attempts-are-logged',
    'the log tells of each attempt once that it started, and that it ended if it has; going on is no start',
    `select coalesce(a.execution, c.execution) as sample from (
       select h.execution, count(*) as started, count(*) filter (where h.ended) as ended from (
         select execution, true as ended from {schema}.attempt
         union all select execution, false from {schema}.lease
         union all select execution, false from {schema}.parked) h group by h.execution) a
     full join (
       select x.execution, count(*) filter (where x.kind = 20) as started, count(*) filter (where x.kind = 21) as ended
       from (${ENTRIES}) x where x.kind = 21 or x.kind = 20 and (x.body::json ->> 'resumed') is distinct from 'true'
       group by x.execution) c on c.execution = a.execution
     left join {schema}.execution e on e.id = coalesce(a.execution, c.execution)
     where (a.started is distinct from c.started or a.ended is distinct from c.ended)
       and case when e.id is null then not ${mayBeGone('c.execution')} else e.created_at > ${LOG_GONE_AT} end`,
  ),
  invariant(
    'conserved',
    'created = live + terminal + retired, per class and state: what the log has told is what stands in the tables, or did',
    `with told as (
       select y.class, y.state, sum(y.n) as n from (
         select k.class, k.state, k.n from {schema}.state_count k
         union all
         select x.class, m.state, m.n from (${UNFOLDED}) x cross join lateral ${MOVES}
         where x.class is not null and m.state is not null) y group by 1, 2 having sum(y.n) <> 0),
     found as (
       select p.class, p.state, count(*) as n from (
         select class, 3 as state from {schema}.ready union all select class, 2 from {schema}.scheduled
         union all select class, 4 from {schema}.lease union all select class, state from {schema}.blocked
         union all select class, 5 from {schema}.suspension
         union all select class, state from {schema}.outcome union all select class, 0 from {schema}.execution) p group by 1, 2),
     stood as (
       select y.class, y.state, sum(y.n) as n from (
         select * from found union all select class, state, n from {schema}.retired
         union all select class, 0, n from {schema}.retired) y group by 1, 2)
     select format('class %s state %s: told %s, found %s', coalesce(t.class, f.class), coalesce(t.state, f.state), t.n, f.n)
       as sample
     from told t full join stood f on f.class = t.class and f.state = t.state
     where t.n is distinct from f.n`,
  ),
  invariant(
    'counts-are-folded',
    'the counts per class and state are what the log adds up to, as far as they were folded, while all of it is there',
    `with told as (
       select x.class, m.state, sum(m.n) as n from (${FOLDED}) x cross join lateral ${MOVES}
       where x.class is not null and m.state is not null group by 1, 2)
     select format('class %s state %s: told %s, counted %s', coalesce(t.class, k.class), coalesce(t.state, k.state), t.n, k.n)
       as sample
     from told t full join {schema}.state_count k on k.class = t.class and k.state = t.state
     where coalesce(t.n, 0) <> coalesce(k.n, 0) and ${LOG_FLOOR} = 0`,
  ),
  invariant(
    'members-are-folded',
    'the counts per flow and state are what the log adds up to, as far as they were folded, of flows that it tells all of',
    `with told as (
       select x.flow, m.state, sum(m.n) as n from (${FOLDED}) x cross join lateral ${MOVES}
       where x.flow is not null and m.state is not null group by 1, 2)
     select format('flow %s state %s: told %s, counted %s', coalesce(t.flow, k.flow), coalesce(t.state, k.state), t.n, k.n)
       as sample
     from told t full join {schema}.flow_count k on k.flow = t.flow and k.state = t.state
     left join {schema}.flow f on f.id = coalesce(t.flow, k.flow)
     where coalesce(t.n, 0) <> coalesce(k.n, 0) and case when f.id is null then ${LOG_FLOOR} = 0 and not exists (
       select from {schema}.retired) else f.created_at > ${LOG_GONE_AT} end`,
  ),
  invariant(
    'events-are-folded',
    'the counts of events per namespace are what the log adds up to, or did, as far as they were folded',
    `select format('namespace %s: told %s, counted %s', coalesce(t.namespace, k.namespace), t.n, k.n) as sample
     from (select y.namespace, sum(y.n) as n from (
       select x.namespace, 1 as n from (${FOLDED}) x where x.kind = 30
       union all select g.namespace, g.n from {schema}.log_tally g where g.lo = 0 and g.kind = 30) y group by 1) t
     full join {schema}.event_count k on k.namespace = t.namespace
     where coalesce(t.n, 0) <> coalesce(k.n, 0)`,
  ),
  invariant(
    'flow-is-logged',
    'the log tells once of each flow that it was created, and of nothing else',
    `select coalesce(f.id, c.flow) as sample from {schema}.flow f
     full join (
       select x.flow, count(*) as n, min(x.namespace) as namespace, min(x.at) as at from (${ENTRIES}) x
       where x.kind = 40 group by x.flow) c on c.flow = f.id
     where case when f.id is null then c.at >= ${shownFrom('c.namespace')}
       else coalesce(c.n, 0) <> 1 and (c.n is not null or f.created_at > ${LOG_GONE_AT}) end`,
  ),
  invariant(
    'decision-is-logged',
    'the log tells once of each join that decided, and how',
    `select coalesce(b.id, c.id) as sample from (select * from {schema}.barrier b where b.state in (2, 3, 4)) b
     full join (
       select (x.body::json ->> 'join')::uuid as id, count(*) as n, min(x.kind) - 48 as state, min(x.namespace) as namespace,
         min(x.at) as at
       from (${ENTRIES}) x where x.kind in (50, 51, 52) group by 1) c on c.id = b.id
     where case when b.id is null then c.at >= ${shownFrom('c.namespace')}
       when c.n is null then b.decided_at > ${LOG_GONE_AT}
       else c.n <> 1 or c.state <> b.state end`,
  ),
];
