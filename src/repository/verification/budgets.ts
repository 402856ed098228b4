/** Budgets: what counts in them, and what they hold back. What is still due stands in `follow_up`, kind 9. */
import { invariant } from './invariant.js';

/** Base and deltas, per dimension. */
const USE = `
   select b.id, b.name, b.exhausted, b.version, d.dimension, d.epoch, d.hard_limit,
     d.used + coalesce((select sum(y.amount) from {schema}.budget_delta y
       where y.budget = b.id and y.dimension = d.dimension and y.seq > b.folded), 0) as used
   from {schema}.budget b join {schema}.budget_dimension d on d.budget = b.id`;

/** Whether the attachment `s` is one of the execution of the row `w`. */
const BINDS = `s.namespace = c.namespace and (s.kind = 1 or s.kind = 2 and s.lane = c.lane
       or s.kind = 3 and s.subject = w.flow or s.kind = 4 and s.subject = w.execution)`;

export const budgetInvariants = [
  invariant(
    'budget-is-kept',
    'a budget whose limits were never changed was never overdrawn',
    `select u.name as sample from (${USE}) u where u.version = 1 and u.used > u.hard_limit`,
  ),
  invariant(
    'use-adds-up',
    'what was used of a budget is what executions were counted with since it last began at 0',
    `select u.name as sample from (${USE}) u
     left join (
       select y.budget, y.dimension, y.epoch, sum(y.amount) as n from (
         select budget, dimension, epoch, amount from {schema}.applied_usage
         union all select budget, dimension, epoch, amount from {schema}.retired_usage) y group by 1, 2, 3) a
       on a.budget = u.id and a.dimension = u.dimension and a.epoch = u.epoch
     where u.used <> coalesce(a.n, 0)`,
  ),
  invariant(
    'counted-was-reported',
    'an execution is counted in a budget with no more than it reported and kept',
    `select a.execution as sample from {schema}.applied_usage a
     left join {schema}.execution_usage e on e.execution = a.execution and e.dimension = a.dimension
     where a.amount > coalesce(e.amount, 0)`,
  ),
  invariant(
    'used-up-is-marked',
    'a budget is marked as used up exactly while a dimension of it is',
    `select b.name as sample from {schema}.budget b
     where b.exhausted <> exists (select from (${USE}) u where u.id = b.id and u.used >= u.hard_limit)`,
  ),
  invariant(
    'spent-are-attachments',
    'claims look at exactly the attachments of the budgets that are used up',
    `select coalesce(s.budget, a.budget) as sample from {schema}.spent s
     full join (
       select a.* from {schema}.budget_attachment a join {schema}.budget b on b.id = a.budget and b.namespace = a.namespace
       where b.exhausted) a
       on (a.namespace, a.kind, a.lane, a.subject, a.budget) = (s.namespace, s.kind, s.lane, s.subject, s.budget)
     where s.budget is null or a.budget is null`,
  ),
  invariant(
    'blocked-has-budget',
    'what waits for a budget is bound by it while it is used up, or that is due to be looked at',
    `select w.execution as sample from {schema}.blocked w join {schema}.claim_class c on c.id = w.class
     where w.waits_for = 3
       and not exists (select from {schema}.spent s where s.budget = w.budget and ${BINDS})
       and not exists (select from {schema}.follow_up u
         where u.kind = 9 and u.subject = w.budget and exists (select from {schema}.budget b where b.id = w.budget))`,
  ),
];
