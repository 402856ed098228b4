/** Dead letters that are handed to handlers. */
import { invariant } from './invariant.js';

export const handlerInvariants = [
  invariant(
    'handed-out-once',
    'a subscription has started at most one execution for a dead letter, of its namespace and in no flow',
    `select format('%s by %s', e.handles, e.subscription) as sample from {schema}.execution e where e.handles is not null
     group by e.handles, e.subscription having count(*) > 1
     union all
     select e.id::text from {schema}.execution e
     left join {schema}.subscription s on s.id = e.subscription
     left join {schema}.dead_letter d on d.id = e.handles
     where e.handles is not null and (s.namespace is distinct from e.namespace or not s.of_letters or e.flow is not null
       or e.letter is not null or coalesce(d.namespace, e.namespace) <> e.namespace)`,
  ),
  invariant(
    'handlers-are-done-with',
    'a dead letter that is OPEN as it was opened has no handler that gave up',
    `select d.id as sample from {schema}.dead_letter d
     where d.state = 1 and d.version = 1 and exists (
       select from {schema}.execution e join {schema}.outcome o on o.execution = e.id
       where e.handles = d.id and o.state in (8, 10))`,
  ),
  invariant(
    'letters-are-for-letters',
    'a subscription to dead letters is asked about no event, and reads no past',
    `select s.name as sample from {schema}.subscription s
     where s.of_letters and (s.state not in (1, 4) or s.ordered or s.joins
       or exists (select from {schema}.subscription_lead l where l.subscription = s.id))`,
  ),
];
