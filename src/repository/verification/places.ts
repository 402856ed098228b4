/** Where executions stand. */
import { mayBeGone } from './gone.js';
import { invariant } from './invariant.js';

/**
 * Every phase row and outcome, with what it says of the execution's attempts, and of its key; `open`: the last of them has
 * not ended.
 */
export const PLACES = `
   select execution, 3 as state, class, attempt, failures, reclaims, start_by, deadline, resume as open, flow, linked, gate
     from {schema}.ready
   union all
   select execution, 2, class, attempt, failures, reclaims, start_by, deadline, resume, flow, linked, gate
     from {schema}.scheduled
   union all
   select execution, 4, class, attempt, failures, reclaims, start_by, deadline, true, flow, linked, gate from {schema}.lease
   union all
   select execution, state, class, attempt, failures, reclaims, start_by, deadline, resume, flow, linked, gate
     from {schema}.blocked
   union all
   select execution, 5, class, attempt, failures, reclaims, start_by, deadline, true, flow, linked, gate
     from {schema}.suspension
   union all
   select execution, state, class, attempt, null, null, null, null, false, null, null, null from {schema}.outcome`;

export const placeInvariants = [
  invariant(
    'one-place',
    'every execution stands in exactly one phase table, or has its outcome',
    `select e.id as sample from {schema}.execution e
     left join (select p.execution, count(*) as n from (${PLACES}) p group by p.execution) p on p.execution = e.id
     where p.n is distinct from 1`,
  ),
  invariant(
    'no-orphan',
    'nothing stands in a phase table, has an outcome or an attempt that is no execution',
    `select p.execution as sample from (select execution from (${PLACES}) p union select execution from {schema}.attempt) p
     where not exists (select from {schema}.execution e where e.id = p.execution)`,
  ),
  invariant(
    'one-class',
    'a phase row, an outcome and an attempt have the class and namespace of their execution, and a class those of its lane',
    `select e.id as sample from (${PLACES}) p join {schema}.execution e on e.id = p.execution where p.class <> e.class
     union all
     select e.id from (
       select execution, class, namespace from {schema}.attempt
       union all select execution, class, namespace from {schema}.outcome
       union all select execution, class, namespace from {schema}.lease
       union all select execution, class, namespace from {schema}.suspension) p
     join {schema}.execution e on e.id = p.execution where (p.class, p.namespace) <> (e.class, e.namespace)
     union all
     select e.id from {schema}.execution e left join {schema}.claim_class c on c.id = e.class
     left join {schema}.lane l on l.id = c.lane
     where c.namespace is distinct from e.namespace or l.namespace is distinct from e.namespace`,
  ),
  invariant(
    'flow-travels',
    'a phase row names the flow of its execution, and says so when the end of it fills slots or concerns a flow',
    `select e.id as sample from (${PLACES}) p join {schema}.execution e on e.id = p.execution
     where p.state < 7 and (p.flow is distinct from e.flow or not p.linked and (
       e.flow is not null or exists (select from {schema}.slot s where s.upstream = e.id and s.outcome is null)))`,
  ),
  invariant(
    'parked-waits',
    'an attempt is parked exactly while its execution waits with it open, and is its last',
    `select coalesce(w.execution, p.execution) as sample
     from (select * from (${PLACES}) w where w.open and w.state <> 4) w
     full join {schema}.parked p on p.execution = w.execution
     where p.number is distinct from w.attempt`,
  ),
  invariant(
    'timer-has-subject',
    'a timer belongs to an execution that has not ended and has a time to start or a deadline',
    `select t.execution as sample from {schema}.timer t
     left join {schema}.execution e on e.id = t.execution
     where e.id is null or (e.start_by is null and e.deadline is null)
       or exists (select from {schema}.outcome o where o.execution = t.execution)`,
  ),
  invariant(
    'timer-is-set',
    'a live execution with a deadline, and one that was never started and has a time to start, has a timer',
    `select p.execution as sample from (${PLACES}) p
     where (p.deadline is not null or (p.start_by is not null and p.attempt = 0 and p.state in (1, 2, 3)))
       and p.state < 7 and not exists (select from {schema}.timer t where t.execution = p.execution)`,
  ),
  invariant(
    'lease-is-watched',
    'a lease is looked at no later than anything about it runs out',
    `select l.execution as sample from {schema}.lease l
     where l.check_at > least(l.deadline, l.cancel_until, l.timeout_at, l.begin_by, l.expires_at)`,
  ),
  invariant(
    'request-key',
    'a request id leads to the execution that was created with it, or to what else was: an event, a letter, a bulk redrive',
    `select k.request_id as sample from {schema}.request_key k
     left join {schema}.execution e on e.id = k.execution
     where case when e.id is not null
       then e.namespace <> k.namespace or coalesce(e.request_id, e.id::text) <> k.request_id
       else k.created_at > now() - interval '1 hour' -- later, what it led to may be purged
         and not ${mayBeGone('k.execution')} and not ${mayBeGone('k.execution', 'events')}
         and not exists (select from {schema}.event v where v.id = k.execution and v.namespace = k.namespace)
         and not exists (select from {schema}.dead_letter d where d.id = k.execution and d.namespace = k.namespace)
         and not exists (select from {schema}.redrive r where r.id = k.execution and r.namespace = k.namespace) end
     union all
     select e.request_id from {schema}.execution e where e.request_id is not null and not exists (
       select from {schema}.request_key k
       where k.namespace = e.namespace and k.request_id = e.request_id and k.execution = e.id)`,
  ),
];
