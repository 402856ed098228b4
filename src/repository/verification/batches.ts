/** Joins over batches of events: one per subscription and batch, and no place of it forgotten. */
import { isGone, mayBeGone } from './gone.js';
import { invariant } from './invariant.js';

export const batchInvariants = [
  invariant(
    'batch-has-join',
    'a subscription has one join over a batch, and one execution that waits for it',
    `select coalesce(j.barrier, b.id) as sample from {schema}.batch_join j
     full join (select x.* from {schema}.barrier x where x.kind = 3) b on b.id = j.barrier
     left join {schema}.execution e on e.id = b.downstream
     where case when e.id is null and ${mayBeGone('coalesce(b.downstream, j.execution)')} then false
       else (j.subscription, j.batch, j.execution) is distinct from (b.subscription, b.batch, b.downstream)
         or e.subscription is distinct from b.subscription or e.event is not null end`,
  ),
  invariant(
    'batch-slot-tells',
    'a slot of a batch is filled by the event of its place, or for those that owned the place and left none',
    `select s.barrier as sample from (
       select barrier, idx, outcome from {schema}.slot where outcome is not null
       union all select barrier, idx, outcome from {schema}.filling) f
     join {schema}.slot s on s.barrier = f.barrier and s.idx = f.idx
     join {schema}.barrier b on b.id = s.barrier and b.kind = 3
     left join {schema}.event v on v.id = s.event
     left join {schema}.execution e on e.id = s.upstream
     left join {schema}.outcome o on o.execution = e.id
     where s.event is not null and (f.outcome <> 1
         or (v.batch, v.batch_index, v.batch_size) is distinct from (b.batch, s.idx, b.slots)
           and not (v.id is null and ${mayBeGone('s.event', 'events')}))
       or e.id is not null and ((e.batch, e.batch_index) is distinct from (b.batch, s.idx) or o.execution is null)
       or f.outcome <> 1 and e.id is not null
         and (f.outcome <> case o.state when 11 then 3 else 2 end or o.state is not distinct from 7 or e.optional)
       or f.outcome <> 1 and e.id is null and not coalesce(${isGone('s.upstream')}, false)`,
  ),
  invariant(
    'batch-slot-is-due',
    'an open slot of a batch can still be filled, or is due to be looked at; one that has its event is being filled',
    `select b.id as sample from {schema}.barrier b join {schema}.slot s on s.barrier = b.id and s.outcome is null
     join {schema}.subscription p on p.id = b.subscription
     where b.kind = 3 and p.state <> 4 and p.past_from is null
       and not exists (select from {schema}.filling f where f.barrier = b.id and f.idx = s.idx)
       and (s.event is not null or not (
         exists (select from {schema}.execution e where e.batch = b.batch and e.batch_index = s.idx
           and not exists (select from {schema}.outcome o where o.execution = e.id))
         or exists (select from {schema}.event v join {schema}.unrouted u on u.event = v.id
           where v.batch = b.batch and v.batch_index = s.idx)
         or exists (select from {schema}.follow_up u where u.kind = 10 and u.subject = b.batch
           and (u.place = s.idx or u.step = 1 and u.place <= s.idx))))`,
  ),
];
