/** Dead letters and redrives. */
import { invariant } from './invariant.js';

export const letterInvariants = [
  invariant(
    'given-up-has-letter',
    'an execution that ended FAILED or EXPIRED has one dead letter: its own, or the one it redrives',
    `select o.execution as sample from {schema}.outcome o join {schema}.execution e on e.id = o.execution
     where o.state in (8, 10) and (
       select count(*) from {schema}.dead_letter d where d.execution = o.execution or d.id = e.letter) <> 1`,
  ),
  invariant(
    'letter-has-subject',
    'a dead letter of an execution that is still kept belongs to one that was given up',
    `select d.id as sample from {schema}.dead_letter d join {schema}.execution e on e.id = d.execution
     left join {schema}.outcome o on o.execution = e.id
     where coalesce(o.state, 0) not in (8, 10) or e.letter is not null`,
  ),
  invariant(
    'redriving-has-redrive',
    'a letter is REDRIVING exactly while its newest run is a redrive that has not ended',
    `select d.id as sample from {schema}.dead_letter d
     left join {schema}.execution e on e.id = d.last_execution and e.letter = d.id
     left join {schema}.outcome o on o.execution = e.id
     where (d.state = 2) <> (e.id is not null and o.execution is null)
     union all
     select e.letter from {schema}.execution e left join {schema}.outcome o on o.execution = e.id
     where e.letter is not null and o.execution is null and not exists (
       select from {schema}.dead_letter d where d.id = e.letter and d.last_execution = e.id)`,
  ),
  invariant(
    'redriven-succeeded',
    'a letter was closed as redriven by a run that succeeded',
    `select d.id as sample from {schema}.dead_letter d join {schema}.outcome o on o.execution = d.last_execution
     where d.resolution = 1 and o.state <> 7`,
  ),
  invariant(
    'redrive-is-linked',
    'a redrive names its letter and the run before it, and keeps the idempotency key of the first',
    `select e.id as sample from {schema}.execution e
     left join {schema}.dead_letter d on d.id = e.letter
     where e.letter is not null and (d.id is null or e.redrive_of is null or e.root is distinct from d.execution)`,
  ),
];
