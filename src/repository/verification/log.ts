/** The log: its positions, and that it tells what happened, once. */
import { invariant } from './invariant.js';

const ENTRIES = `
   select x.kind, x.execution, x.flow, x.class, x.from_state, x.to_state, x.body from {schema}.log l
   cross join lateral unnest(l.kind, l.execution, l.flow, l.class, l.from_state, l.to_state, l.body)
     x (kind, execution, flow, class, from_state, to_state, body)`;

/** Those that have a position, up to where counts were folded. */
const FOLDED = `
   select x.namespace, x.kind, x.flow, x.class, x.from_state, x.to_state
   from (
     select l.*, r.base + sum(l.n) over (partition by r.base order by l.seq) - l.n as position
     from {schema}.log_run r join {schema}.log l
       on l.seq between r.lo and r.hi and (r.lo = r.hi or not l.seq <@ any (r.holes))) l
   cross join lateral unnest(l.namespace, l.kind, l.flow, l.class, l.from_state, l.to_state)
     x (namespace, kind, flow, class, from_state, to_state)
   where l.position <= (select c.position from {schema}.counted c)`;

/** What entries add to the counts per class, or flow, and state; state 0 counts creations, 12 events. */
const MOVES = `(values (x.from_state, -1), (x.to_state, 1),
       (case x.kind when 1 then 0::smallint when 30 then 12::smallint end, 1)) m (state, n)`;

export const logInvariants = [
  invariant(
    'positions-without-gaps',
    'each run of positions begins where the one before it ended, the first at 1',
    `select r.base as sample from (
       select base, coalesce(lag(base + n) over (order by base), 1) as expected from {schema}.log_run) r
     where r.base <> r.expected`,
  ),
  invariant(
    'runs-hold-their-entries',
    'a run has as many positions as the rows it covers have entries',
    `select r.base as sample from {schema}.log_run r
     where r.n <> (select coalesce(sum(l.n), 0) from {schema}.log l
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
     where e.id is null or c.n is distinct from 1`,
  ),
  invariant(
    'end-is-logged',
    'the log tells once of each execution that ended, and how',
    `select coalesce(o.execution, c.execution) as sample from {schema}.outcome o
     full join (
       select x.execution, count(*) as n, min(x.to_state) as state from (${ENTRIES}) x
       where x.to_state >= 7 group by x.execution) c on c.execution = o.execution
     where c.n is distinct from 1 or c.state is distinct from o.state`,
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
     where a.started is distinct from c.started or a.ended is distinct from c.ended`,
  ),
  invariant(
    'conserved',
    'created = live + terminal, per class and state: what the log adds up to is what stands in the tables',
    `with told as (
       select x.class, m.state, sum(m.n) as n from (${ENTRIES}) x cross join lateral ${MOVES}
       where x.class is not null and m.state is not null group by 1, 2 having sum(m.n) <> 0),
     found as (
       select p.class, p.state, count(*) as n from (
         select class, 3 as state from {schema}.ready union all select class, 2 from {schema}.scheduled
         union all select class, 4 from {schema}.lease union all select class, state from {schema}.blocked
         union all select class, 5 from {schema}.suspension
         union all select class, state from {schema}.outcome union all select class, 0 from {schema}.execution) p group by 1, 2)
     select format('class %s state %s: told %s, found %s', coalesce(t.class, f.class), coalesce(t.state, f.state), t.n, f.n)
       as sample
     from told t full join found f on f.class = t.class and f.state = t.state
     where t.n is distinct from f.n`,
  ),
  invariant(
    'counts-are-folded',
    'the counts per class and state are what the log adds up to, as far as they were folded',
    `with told as (
       select x.class, m.state, sum(m.n) as n from (${FOLDED}) x cross join lateral ${MOVES}
       where x.class is not null and m.state is not null group by 1, 2)
     select format('class %s state %s: told %s, counted %s', coalesce(t.class, k.class), coalesce(t.state, k.state), t.n, k.n)
       as sample
     from told t full join {schema}.state_count k on k.class = t.class and k.state = t.state
     where coalesce(t.n, 0) <> coalesce(k.n, 0)`,
  ),
  invariant(
    'members-are-folded',
    'the counts per flow and state are what the log adds up to, as far as they were folded',
    `with told as (
       select x.flow, m.state, sum(m.n) as n from (${FOLDED}) x cross join lateral ${MOVES}
       where x.flow is not null and m.state is not null group by 1, 2)
     select format('flow %s state %s: told %s, counted %s', coalesce(t.flow, k.flow), coalesce(t.state, k.state), t.n, k.n)
       as sample
     from told t full join {schema}.flow_count k on k.flow = t.flow and k.state = t.state
     where coalesce(t.n, 0) <> coalesce(k.n, 0)`,
  ),
  invariant(
    'events-are-folded',
    'the counts of events per namespace are what the log adds up to, as far as they were folded',
    `select format('namespace %s: told %s, counted %s', coalesce(t.namespace, k.namespace), t.n, k.n) as sample
     from (select x.namespace, count(*) as n from (${FOLDED}) x where x.kind = 30 group by 1) t
     full join {schema}.event_count k on k.namespace = t.namespace
     where coalesce(t.n, 0) <> coalesce(k.n, 0)`,
  ),
  invariant(
    'flow-is-logged',
    'the log tells once of each flow that it was created, and of nothing else',
    `select coalesce(f.id, c.flow) as sample from {schema}.flow f
     full join (select x.flow, count(*) as n from (${ENTRIES}) x where x.kind = 40 group by x.flow) c on c.flow = f.id
     where f.id is null or c.n is distinct from 1`,
  ),
  invariant(
    'decision-is-logged',
    'the log tells once of each join that decided, and how',
    `select coalesce(b.id, c.id) as sample from (select * from {schema}.barrier b where b.state in (2, 3, 4)) b
     full join (
       select (x.body::json ->> 'join')::uuid as id, count(*) as n, min(x.kind) - 48 as state from (${ENTRIES}) x
       where x.kind in (50, 51, 52) group by 1) c on c.id = b.id
     where c.n is distinct from 1 or c.state is distinct from b.state`,
  ),
];
