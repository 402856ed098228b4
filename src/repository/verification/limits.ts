/** Concurrency keys. What is still due stands in `follow_up`, kind 7. */
import { invariant } from './invariant.js';
import { PLACES } from './places.js';

/** Per key: how many may stand in line or run, how many stand in line, run and wait; and whether it is due to be looked at. */
const KEYS = `
   select k.id, k.key, coalesce(k.max_running, l.default_key_limit, 16 * k.weight) as most,
     coalesce(q.n, 0) as queued, coalesce(y.n, 0) as running, coalesce(w.n, 0) as waiting,
     exists (select from {schema}.follow_up u where u.kind = 7 and u.subject = k.id) as due
   from {schema}.concurrency_key k join {schema}.lane l on l.id = k.lane
   left join (select r.gate, count(*) as n from {schema}.ready r group by r.gate) q on q.gate = k.id
   left join (select x.gate, count(*) as n from {schema}.lease x group by x.gate) y on y.gate = k.id
   left join (select b.gate, count(*) as n from {schema}.blocked b where b.waits_for = 2 group by b.gate) w on w.gate = k.id
   where not k.ordered`;

export const limitInvariants = [
  invariant(
    'key-travels',
    'a phase row names the key of its execution, which is known',
    `select p.execution as sample from (${PLACES}) p
     join {schema}.execution e on e.id = p.execution join {schema}.claim_class c on c.id = e.class
     left join {schema}.concurrency_key k on k.id = p.gate and k.lane = c.lane and k.namespace = c.namespace
     where p.state < 7 and (k.key is distinct from coalesce(e.concurrency_key, e.ordering_key)
       or k.ordered is distinct from case when k.id is not null then e.ordering_key is not null end
       or p.gate is distinct from coalesce(
         {schema}.gate_of(c.lane, e.concurrency_key), {schema}.order_gate_of(c.lane, e.ordering_key)))`,
  ),
  invariant(
    'key-within-limit',
    'no more of a key stand in line or run than its limit lets, unless more than that were running when it was lowered',
    `select k.key as sample from (${KEYS}) k where k.queued > 0 and k.queued + k.running > k.most and not k.due`,
  ),
  invariant(
    'key-slots-are-taken',
    'nothing waits for a key that has a free slot, unless that is due',
    `select k.key as sample from (${KEYS}) k where k.waiting > 0 and k.queued + k.running < k.most and not k.due`,
  ),
];
