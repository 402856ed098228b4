/** Flows and their members. */
import { isGone, mayBeGone, shownFrom } from './gone.js';
import { invariant } from './invariant.js';

export const flowInvariants = [
  invariant(
    'member-has-flow',
    'a member names a flow of its namespace, and a child stands in the flow of its parent',
    `select e.id as sample from {schema}.execution e left join {schema}.flow f on f.id = e.flow
     where e.flow is not null and f.namespace is distinct from e.namespace
     union all
     select e.id from {schema}.execution e join {schema}.execution p on p.id = e.parent
     where e.flow is distinct from p.flow or e.namespace <> p.namespace`,
  ),
  invariant(
    'live-members',
    'what is live of a flow is exactly its members that have not ended',
    `select coalesce(l.execution, e.id) as sample from {schema}.flow_live l
     full join (
       select e.id, e.flow from {schema}.execution e left join {schema}.outcome o on o.execution = e.id
       where e.flow is not null and o.execution is null) e on e.flow = l.flow and e.id = l.execution
     where l.execution is null or e.id is null`,
  ),
  invariant(
    'failed-members',
    'what failed of a flow are its required members that ended without success, lost no race, and were not redriven',
    `select coalesce(w.execution, e.id) as sample from {schema}.flow_failed w
     full join (
       select e.id, e.flow, o.state, o.ended_at from {schema}.execution e join {schema}.outcome o on o.execution = e.id
       where e.flow is not null and not e.optional and o.state > 7 and o.reason <> 23
         and not exists (select from {schema}.execution x where x.redrive_of = e.id and x.flow = e.flow)) e
       on e.flow = w.flow and e.id = w.execution
     where (w.state, w.ended_at) is distinct from (e.state, e.ended_at)
       and not case when w.execution is null then ${mayBeGone('e.id')} else ${isGone('w.execution')} end`,
  ),
  invariant(
    'settled-is-settled',
    'a flow that is settled has had a member or an event, and has none live, none unrouted, and no join open',
    `select f.id as sample from {schema}.flow f
     where f.settled_at is not null and (not f.began
       or exists (select from {schema}.flow_live l where l.flow = f.id)
       or exists (select from {schema}.unrouted u where u.flow = f.id)
       or exists (select from {schema}.barrier b where b.flow = f.id and b.state = 1
         and not exists (select from {schema}.follow_up u where u.kind = 5 and u.subject = b.id)))`,
  ),
  invariant(
    'settles-in-time',
    'a flow with nothing live or unrouted is settled, or that is due to be looked into',
    `select f.id as sample from {schema}.flow f
     where f.settled_at is null and f.began and not exists (select from {schema}.flow_live l where l.flow = f.id)
       and not exists (select from {schema}.unrouted u where u.flow = f.id)
       and not exists (select from {schema}.barrier b where b.flow = f.id and b.state = 1)
       and not exists (select from {schema}.follow_up u where u.subject = f.id)`,
  ),
  invariant(
    'flow-tells-end',
    'a flow that ended is settled and takes no more, and failed exactly when a required member did',
    `select f.id as sample from {schema}.flow f
     where f.state in (3, 4) and f.sealed_at is null and f.failing_at is null
       or f.state = 2 and (f.sealed_at is not null or f.failing_at is not null or f.canceled_at is not null)
         and not exists (select from {schema}.follow_up u where u.subject = f.id)
       or f.state in (3, 4) and (f.state = 4) <> exists (select from {schema}.flow_failed w where w.flow = f.id)`,
  ),
  invariant(
    'flow-request',
    'a request id of a flow leads to that flow, no further than it has come',
    `select r.request_id as sample from {schema}.flow_request r left join {schema}.flow f on f.id = r.flow
     where case when f.id is null then r.created_at >= ${shownFrom('r.namespace')}
       else f.namespace <> r.namespace or r.revision > f.revision end`,
  ),
];
