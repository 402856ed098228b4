/** Attempts and the counters that travel with their execution. */
import { invariant } from './invariant.js';
import { PLACES } from './places.js';

/** Per execution: how many attempts, the last one, and what they counted. */
const TOLD = `
   select a.execution, count(*) as n, min(a.number) as first, max(a.number) as last,
     count(*) filter (where a.failure_class in (1, 4) or a.outcome = 4 and coalesce(e.count_lost, true)) as failures,
     count(*) filter (where a.outcome = 4) as reclaims, count(*) filter (where a.outcome = 1) as successes
   from {schema}.attempt a join {schema}.execution e on e.id = a.execution group by a.execution`;

export const attemptInvariants = [
  invariant(
    'attempts-without-gaps',
    'the attempts of an execution are numbered from 1 without gaps',
    `select t.execution as sample from (${TOLD}) t where t.first <> 1 or t.last <> t.n`,
  ),
  invariant(
    'attempt-number-travels',
    'an execution knows its last attempt; what runs, or is to go on, has opened one after those that ended',
    `select p.execution as sample from (${PLACES}) p left join (${TOLD}) t on t.execution = p.execution
     where p.attempt <> coalesce(t.last, 0) + p.open::int`,
  ),
  invariant(
    'counters-travel',
    'failures and reclaims of a live execution are those that its attempts counted',
    `select p.execution as sample from (${PLACES}) p left join (${TOLD}) t on t.execution = p.execution
     where p.state < 7
       and (p.failures <> coalesce(t.failures, 0) or p.reclaims <> coalesce(t.reclaims, 0))`,
  ),
  invariant(
    'one-success',
    'an execution has one successful attempt if it succeeded, its last, and none otherwise',
    `select p.execution as sample from (${PLACES}) p left join (${TOLD}) t on t.execution = p.execution
     where coalesce(t.successes, 0) <> case p.state when 7 then 1 else 0 end
     union all
     select a.execution from {schema}.attempt a where a.outcome = 1 and a.state <> 7`,
  ),
  invariant(
    'tokens-rise',
    'a fencing token is granted once, and rises with the attempts of an execution',
    `select g.execution as sample from (
       select h.*, lag(h.token) over (partition by h.execution order by h.number) as before,
         count(*) over (partition by h.token) as n
       from (
         select execution, number, token from {schema}.attempt
         union all select execution, attempt, token from {schema}.lease
         union all select execution, number, token from {schema}.parked) h) g
     where g.n > 1 or g.token <= g.before`,
  ),
];
