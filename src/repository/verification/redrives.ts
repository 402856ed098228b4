/** Bulk redrives and what they took. */
import { invariant } from './invariant.js';

export const redriveInvariants = [
  invariant(
    'redrive-has-items',
    'a bulk redrive has an item for each letter it selected, and its counts are theirs',
    `select r.id as sample from {schema}.redrive r
     cross join lateral (
       select count(*) as all, count(*) filter (where i.state in (1, 2, 3)) as started,
         count(*) filter (where i.state = 4) as skipped, count(*) filter (where i.state = 2 and i.counted) as succeeded,
         count(*) filter (where i.state = 3 and i.counted) as failed
       from {schema}.redrive_item i where i.redrive = r.id) n
     where (n.all, n.started, n.skipped, n.succeeded, n.failed)
       <> (r.selected, r.started, r.skipped, r.succeeded, r.failed)
       and not (r.settled and r.ended_at < now() - interval '1 hour') -- it may be going
     union all
     select i.redrive from {schema}.redrive_item i where not exists (select from {schema}.redrive r where r.id = i.redrive)`,
  ),
  invariant(
    'redrive-item-runs',
    'a letter is REDRIVING by a bulk redrive exactly while its item there runs',
    `select i.letter as sample from {schema}.redrive_item i
     where i.state = 1 and not exists (
       select from {schema}.dead_letter d where d.id = i.letter and d.state = 2 and d.redrive = i.redrive)
     union all
     select d.id from {schema}.dead_letter d
     where d.state = 2 and d.redrive is not null and not exists (
       select from {schema}.redrive_item i where i.redrive = d.redrive and i.letter = d.id and i.state = 1)`,
  ),
  invariant(
    'finished-redrive-took-all',
    'a bulk redrive that has finished has no letter left, and one that is settled none that runs',
    `select r.id as sample from {schema}.redrive r join {schema}.redrive_item i on i.redrive = r.id
     where r.state = 4 and i.state in (0, 5) or r.settled and i.state = 1`,
  ),
];
