/** Events, their streams, and what reacts to them. */
import { invariant } from './invariant.js';

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
     where (e.id, e.namespace, e.flow, e.cause_execution)
       is distinct from ((l.body::json ->> 'event')::uuid, l.namespace, l.flow, l.execution)`,
  ),
  invariant(
    'event-key',
    'an id that a publisher gave leads to the event that it was given to',
    `select k.event_id as sample from {schema}.event_key k left join {schema}.event e on e.id = k.event
     where (e.namespace, e.event_id) is distinct from (k.namespace, k.event_id)`,
  ),
  invariant(
    'streams-without-gaps',
    'the events of a stream have the versions from 1 to that of the stream, and its namespace',
    `select coalesce(s.name, e.stream::text) as sample from {schema}.stream s
     full join (
       select y.stream, count(*) as n, min(y.version) as first, max(y.version) as last, count(distinct y.version) as versions,
         min(y.namespace) as namespace, max(y.namespace) as other
       from {schema}.event y where y.stream is not null group by 1) e on e.stream = s.id
     where s.version is distinct from coalesce(e.n, 0) or e.n <> e.versions or e.first <> 1 or e.last <> e.n
       or e.namespace <> s.namespace or e.other <> s.namespace`,
  ),
  invariant(
    'event-has-cause',
    'an event stands in a flow of its namespace and has one hop more than what it comes from',
    `select e.id as sample from {schema}.event e
     left join {schema}.flow f on f.id = e.flow
     left join {schema}.event c on c.id = e.cause
     left join {schema}.execution x on x.id = e.cause_execution
     where f.namespace is distinct from e.namespace or e.hops is distinct from case
       when e.cause_execution is not null then x.hops + 1 when e.cause is not null then c.hops + 1 else 0 end`,
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
     where x.event is not null and (e.namespace is distinct from x.namespace or e.flow <> x.flow and s.since <= e.subscriptions)`,
  ),
  // Asked of filters that never changed. A canceled flow starts nothing, nor does an event over the limit of hops.
  invariant(
    'reacts-to-all',
    'every subscription that an event was looked up for has started an execution, or the router is to start it',
    `select format('%s by %s', e.id, s.name) as sample from {schema}.event e
     join {schema}.namespace n on n.id = e.namespace and e.hops <= n.max_hops
     join {schema}.flow f on f.id = e.flow and f.canceled_at is null and f.failing_at is null
     cross join lateral {schema}.matching(array[e]) m
     join {schema}.subscription s on s.id = m.subscription and s.version = 1 and not s.joins
     where not exists (select from (${REACTIONS}) x where x.event = e.id and x.subscription = s.id)
       and not exists (select from {schema}.unrouted u where u.event = e.id and u.subscription in (0, s.id))`,
  ),
];
