/** Ordering keys. What is still due stands in `follow_up`, kind 7. */
import { invariant } from './invariant.js';

/** Who has the place of an ordering key. */
const HOLDERS = `
   select x.gate, x.execution from (
     select gate, execution from {schema}.ready union all select gate, execution from {schema}.lease
     union all select gate, execution from {schema}.scheduled union all select gate, execution from {schema}.suspension
     union all select gate, execution from {schema}.blocked where waits_for = 3 or state = 6) x
   join {schema}.concurrency_key k on k.id = x.gate and k.ordered`;

export const orderInvariants = [
  invariant(
    'order-one-place',
    'no two executions of an ordering key have its place',
    `select k.key as sample from {schema}.concurrency_key k
     join (select h.gate from (${HOLDERS}) h group by h.gate having count(*) > 1) h on h.gate = k.id`,
  ),
  invariant(
    'order-goes-on',
    'nobody waits for an ordering key whose place is free, unless a dead head is before him or that is due',
    `select k.key as sample from {schema}.concurrency_key k
     join (select b.gate, min(b.place) as place from {schema}.blocked b where b.waits_for = 4 group by b.gate) w on w.gate = k.id
     where not exists (select from (${HOLDERS}) h where h.gate = k.id)
       and not exists (
         select from {schema}.dead_letter d where d.gate = k.id and d.state <> 3 and d.gate_place < w.place)
       and not exists (select from {schema}.follow_up u where u.kind = 7 and u.subject = k.id)`,
  ),
  invariant(
    'order-waits-in-its-line',
    'who waits for an ordering key has one, and who waits for a concurrency key has none',
    `select b.execution as sample from {schema}.blocked b left join {schema}.concurrency_key k on k.id = b.gate
     where b.waits_for in (2, 4) and k.ordered is distinct from (b.waits_for = 4)`,
  ),
  invariant(
    'order-blocked-by-its-own',
    'a dead letter that blocks an ordering key is that of an execution of this key, which was to block it',
    `select d.id as sample from {schema}.dead_letter d
     left join {schema}.execution e on e.id = d.execution left join {schema}.claim_class c on c.id = e.class
     where d.gate is not null and (d.gate_place is null or e.dead_head is distinct from 1
       or d.gate is distinct from {schema}.order_gate_of(c.lane, e.ordering_key))`,
  ),
];
