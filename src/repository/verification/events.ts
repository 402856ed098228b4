/** Events, their streams, and what reacts to them. */
import { LOG_FLOOR_SEQ, mayBeGone } from './gone.js';
import { invariant } from './invariant.js';

/** Some events of this namespace are gone. */
const SOME_GONE = `((select sum(c.n) from {schema}.event_count c where c.namespace = s.namespace)
       > (select count(*) from {schema}.event y where y.namespace = s.namespace))`;

/** What a subscription made by itself: neither a redrive nor a child. */
const REACTIONS = `
   select x.id, x.event, x.subscription from {schema}.execution x
   where x.event is not null and x.subscription is not null and x.redrive_of is null and x.parent is null`;

export const eventInvariants = [
  invariant(
    'event-is-logged',
    'the log tells once of each event, at the place that the event knows, with its flow and who emitted it',
    `select coalesce(e.id::text, format('entry %s of row %s', l.idx, l.seq)) as sample from {schema}.event e
     full join (
       select l.seq, x.* from {schema}.log l
       cross join lateral unnest(l.namespace, l.kind, l.execution, l.flow, l.body) with ordinality
         x (namespace, kind, execution, flow, body, idx)
       where x.kind = 30) l on l.seq = e.seq and l.idx = e.idx
     where case when e.id is null then not ${mayBeGone("(l.body::json ->> 'event')::uuid", 'events')}
       when l.seq is null then e.seq >= ${LOG_FLOOR_SEQ}
       else (e.id, e.namespace, e.flow, e.cause_execution)
         is distinct from ((l.body::json ->> 'event')::uuid, l.namespace, l.flow, l.execution) end`,
  ),
  invariant(
    'event-key',
    'an id that a publisher gave leads to the event that it was given to, while that is kept',
    `select k.event_id as sample from {schema}.event_key k left join {schema}.event e on e.id = k.event
     where case when e.id is null then not ${mayBeGone('k.event', 'events')}
       else (e.namespace, e.event_id) is distinct from (k.namespace, k.event_id) end`,
  ),
  invariant(
    'streams-without-gaps',
    'the events of a stream have the versions from 1, or behind those that are gone, to that of the stream, and its namespace',
    `select coalesce(s.name, e.stream::text) as sample from {schema}.stream s
     full join (
       select y.stream, y.namespace, y.version, y.id, lead(y.version) over w as next, lag(y.version) over w as before
       from {schema}.event y where y.stream is not null window w as (partition by y.stream order by y.version)) e
       on e.stream = s.id
     where case when e.id is null then s.version > 0 and not ${SOME_GONE}
       else s.id is null or e.namespace <> s.namespace or s.version < e.version
         or (e.before is null and e.version <> 1 and not ${SOME_GONE})
         or (coalesce(e.next, s.version + 1) <> e.version + 1 and not ${mayBeGone('e.id', 'events')}) end`,
  ),
  invariant(
    'event-has-cause',
    'an event stands in a flow of its namespace and has one hop more than what it comes from',
    `select e.id as sample from {schema}.event e
     left join {schema}.flow f on f.id = e.flow
     left join {schema}.event c on c.id = e.cause
     left join {schema}.execution x on x.id = e.cause_execution
     where case when f.id is null then not ${mayBeGone('e.id', 'events')} else f.namespace <> e.namespace end
       or e.hops is distinct from case
         when e.cause_execution is not null then case when x.id is null and ${mayBeGone('e.cause_execution')} then e.hops else x.hops + 1 end
         when e.cause is not null then case when c.id is null and ${mayBeGone('e.cause', 'events')} then e.hops else c.hops + 1 end
         else 0 end`,
  ),
  invariant(
    'unrouted-has-event',
    'what is unrouted is an event, by its place in the log, for a subscription of its namespace that has not reacted to it',
    `select u.event as sample from {schema}.unrouted u left join {schema}.event e on e.id = u.event
     where (e.seq, e.idx, e.flow) is distinct from (u.seq, u.idx, u.flow)
       or u.subscription <> 0 and not exists (
         select from {schema}.subscription s where s.id = u.subscription and s.namespace = e.namespace)
     union all
     select u.event from {schema}.unrouted u join (${REACTIONS}) x on x.event = u.event and x.subscription = u.subscription`,
  ),
  invariant(
    'reacts-once',
    'a subscription has started at most one execution for an event beside redrives, and in its flow unless that was its past',
    `select format('%s by %s', x.event, x.subscription) as sample from (${REACTIONS}) x
     group by x.event, x.subscription having count(*) > 1
     union all
     select x.id::text from {schema}.execution x left join {schema}.event e on e.id = x.event
     left join {schema}.subscription s on s.id = x.subscription
     where x.event is not null and not (e.id is null and ${mayBeGone('x.event', 'events')})
       and (e.namespace is distinct from x.namespace or e.flow <> x.flow and s.since <= e.subscriptions)`,
  ),
  // Asked of filters that never changed. A canceled flow starts nothing, nor does an event over the limit of hops, which may be
  // higher by now; nor did a flow that failed and canceled its rest, until something in it was redriven.
  invariant(
    'reacts-to-all',
    'every subscription that an event was looked up for has started an execution, or the router is to start it',
    `select format('%s by %s', e.id, s.name) as sample from {schema}.event e
     join {schema}.namespace n on n.id = e.namespace and e.hops <= n.max_hops
     join {schema}.flow f on f.id = e.flow and f.canceled_at is null and f.failing_at is null
     cross join lateral {schema}.matching(array[e]) m
     join {schema}.subscription s on s.id = m.subscription and s.version = 1 and not s.joins
     where not exists (select from (${REACTIONS}) x where x.event = e.id and x.subscription = s.id)
       and not ${mayBeGone('e.id')}
       and not exists (select from {schema}.dead_letter d where d.event = e.id and d.subject = 2)
       and not (f.failure_policy = 2 and exists (
         select from {schema}.execution y where y.flow = f.id and y.redrive_of is not null))
       and not exists (select from {schema}.unrouted u where u.event = e.id and u.subscription in (0, s.id))`,
  ),
];
