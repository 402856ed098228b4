/** Suspensions, and what they wait for. All of one execution is decided under its phase row, so nothing is ever due. */
import { isGone } from './gone.js';
import { invariant } from './invariant.js';

export const waitInvariants = [
  invariant(
    'suspension-is-parked',
    'an execution is suspended exactly while its attempt is parked, not over children, and nothing has let it go on',
    `select coalesce(s.execution, p.execution) as sample from {schema}.suspension s
     full join (select * from {schema}.parked p where p.barrier is null and p.cause is null) p on p.execution = s.execution
     where (p.number, p.waits) is distinct from (s.attempt, s.number)`,
  ),
  invariant(
    'condition-does-not-hold',
    'a suspended execution has not got the signals that it waits for, unless it waits for an operator by now',
    `select s.execution as sample from {schema}.suspension s
     where not s.escalated and {schema}.condition_takes(s.execution, s.condition) is not null`,
  ),
  invariant(
    'signals-without-gaps',
    'the signals of an execution are numbered from 1 without gaps',
    `select n.execution as sample from (
       select y.execution, count(*) as n, min(y.number) as first, max(y.number) as last
       from {schema}.signal y group by y.execution) n
     where n.first <> 1 or n.last <> n.n
     union all
     select y.execution from {schema}.signal y
     where not exists (select from {schema}.execution e where e.id = y.execution) and not ${isGone('y.execution')}`,
  ),
  invariant(
    'taken-by-suspension',
    'a signal was taken by a suspension of an attempt that there is, and an open attempt has had so many',
    `select y.execution as sample from {schema}.signal y
     left join (
       select execution, number, null::int as waits from {schema}.attempt
       union all select execution, attempt, waits from {schema}.lease
       union all select execution, number, waits from {schema}.parked) a on a.execution = y.execution and a.number = y.attempt
     where y.matched is not null and (a.execution is null and not ${isGone('y.execution')} or y.matched > a.waits)`,
  ),
  invariant(
    'waitpoint-counts-signals',
    'a waitpoint belongs to an execution of its namespace and counts the signals that landed on it',
    `select w.id as sample from {schema}.waitpoint w left join {schema}.execution e on e.id = w.execution
     left join (
       select y.execution, y.waitpoint, count(*) as n from {schema}.signal y where y.waitpoint is not null group by 1, 2) y
       on y.execution = w.execution and y.waitpoint = w.key
     where (e.namespace is distinct from w.namespace or w.signals <> coalesce(y.n, 0)) and not ${isGone('w.execution')}`,
  ),
  invariant(
    'waitpoint-has-secret',
    'a secret of its namespace signs the token of a waitpoint',
    `select w.id as sample from {schema}.waitpoint w left join {schema}.waitpoint_secret s on s.id = w.secret
     where s.namespace is distinct from w.namespace`,
  ),
  invariant(
    'active-while-suspended',
    'a waitpoint is active only while its execution is suspended; what has ended closes it whatever it says',
    `select w.id as sample from {schema}.waitpoint w
     where w.state = 2 and not exists (select from {schema}.suspension s where s.execution = w.execution)
       and not exists (select from {schema}.outcome o where o.execution = w.execution) and not ${isGone('w.execution')}`,
  ),
];
