/** Consumers, their parts, and what they have parked. */
import { invariant } from './invariant.js';

export const consumerInvariants = [
  invariant(
    'consumer-has-generations',
    'a consumer has its live generation, the one that is rebuilt if there is one, and no other',
    `select c.name as sample from {schema}.consumer c
     cross join lateral (
       select coalesce(array_agg(g.generation order by g.generation), '{}') as held
       from {schema}.consumer_generation g where g.consumer = c.id) x
     where x.held <> array_remove(array[c.generation, c.rebuilding], null) or c.newest < coalesce(c.rebuilding, c.generation)
     union all
     select g.consumer::text from {schema}.consumer_generation g
     where not exists (select from {schema}.consumer c where c.id = g.consumer)`,
  ),
  invariant(
    'generation-has-parts',
    'a generation has its parts, each once, and there are no others',
    `select coalesce(g.consumer, p.consumer) || '/' || coalesce(g.generation, p.generation) as sample
     from {schema}.consumer_generation g
     full join (
       select x.consumer, x.generation, array_agg(x.part order by x.part) as parts from {schema}.consumer_part x
       group by x.consumer, x.generation) p using (consumer, generation)
     where g.part_count is null or p.parts is distinct from array(select generate_series(0, g.part_count - 1))`,
  ),
  invariant(
    'part-within-log',
    'no part stands beyond the end of the log',
    `select p.consumer || '/' || p.generation || '/' || p.part as sample
     from {schema}.consumer_part p, {schema}.log_head() h where p.position > h.head`,
  ),
  invariant(
    'halted-part-is-free',
    'a consumer that is not paused is halted exactly while a part of its live generation is; halted parts have no owner',
    `select c.name as sample from {schema}.consumer c
     where c.state <> 2 and (c.state = 3) <> exists (
       select from {schema}.consumer_part p where p.consumer = c.id and p.generation = c.generation and p.halted)
     union all
     select p.consumer || '/' || p.generation || '/' || p.part from {schema}.consumer_part p
     where p.halted and (p.owner is not null or p.retry_at is not null)`,
  ),
  invariant(
    'parked-has-part',
    'what holds a key belongs to a part that is there, and has been passed by it, or is parked behind another',
    `select d.id as sample from {schema}.dead_letter d
     left join {schema}.consumer_part p on p.consumer = d.consumer and p.generation = d.generation and p.part = d.part
     where d.holds and (p.part is null or (not d.follower and d.position > p.position))`,
  ),
  invariant(
    'released-is-due',
    'a parked entry that waits for nothing but its turn, and has been passed, is due to be looked at',
    `select f.id as sample from (
       select distinct on (d.consumer, d.generation, coalesce(d.entry_key, d.id::text)) d.*
       from {schema}.dead_letter d where d.holds
       order by d.consumer, d.generation, coalesce(d.entry_key, d.id::text), d.position) f
     join {schema}.consumer_part p on p.consumer = f.consumer and p.generation = f.generation and p.part = f.part
     where f.follower and f.state = 1 and f.position <= p.position and not exists (
       select from {schema}.consumer_release r
       where r.consumer = f.consumer and r.generation = f.generation and r.part = f.part)
       and not exists (select from {schema}.dead_letter o
         where o.consumer = f.consumer and o.generation = f.generation and o.part = f.part and o.state = 2)`,
  ),
];
