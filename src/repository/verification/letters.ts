/** Dead letters and redrives. */
import { invariant } from './invariant.js';

/** Per namespace how many letters were purged, and the latest closing among them: as the log tells, or has told. */
const PURGED = `
   select y.namespace, sum(y.n) as n, max(y.until) as until from (
     select x.namespace, (s.said ->> 'purged')::bigint as n, (s.said ->> 'closed_until')::timestamptz as until
     from {schema}.log l
     cross join lateral unnest(l.namespace, l.kind, l.body) with ordinality x (namespace, kind, body, idx)
     left join {schema}.log_body b on b.seq = l.seq and b.idx = x.idx
     cross join lateral (select coalesce(x.body, b.body)::json as said) s
     where x.kind = 139
     union all
     select t.namespace, t.purged, t.until from {schema}.log_tally t where t.lo = 0 and t.kind = 139) y
   group by y.namespace`;

/** Per namespace how many were opened. */
const OPENED = `
   select y.namespace, sum(y.n) as n from (
     select x.namespace, 1 as n from {schema}.log l cross join lateral unnest(l.namespace, l.kind) x (namespace, kind)
     where x.kind = 70
     union all
     select t.namespace, t.n from {schema}.log_tally t where t.lo = 0 and t.kind = 70) y
   group by y.namespace`;

export const letterInvariants = [
  invariant(
    'given-up-has-letter',
    'an execution that ended FAILED or EXPIRED has one dead letter, its own or the one it redrives, or it was purged; a handler of letters has none',
    `select o.execution as sample from {schema}.outcome o join {schema}.execution e on e.id = o.execution
     left join (${PURGED}) p on p.namespace = e.namespace
     cross join lateral (
       select count(*) as n from {schema}.dead_letter d where d.execution = o.execution or d.id = e.letter) k
     where o.state in (8, 10) and k.n <> case when e.handles is null then 1 else 0 end
       and (k.n > 0 or p.until is null or o.ended_at > p.until)`,
  ),
  invariant(
    'letters-conserved',
    'every dead letter that was opened is there, or was purged',
    `select n.name as sample from {schema}.namespace n
     left join (${OPENED}) o on o.namespace = n.id
     left join (select d.namespace, count(*) as n from {schema}.dead_letter d group by d.namespace) k on k.namespace = n.id
     left join (${PURGED}) p on p.namespace = n.id
     where coalesce(o.n, 0) <> coalesce(k.n, 0) + coalesce(p.n, 0)`,
  ),
  invariant(
    'letter-has-subject',
    'a dead letter of an execution that is still kept belongs to one that was given up',
    `select d.id as sample from {schema}.dead_letter d join {schema}.execution e on e.id = d.execution
     left join {schema}.outcome o on o.execution = e.id
     where coalesce(o.state, 0) not in (8, 10) or e.letter is not null`,
  ),
  invariant(
    'redriving-has-redrive',
    'a letter is REDRIVING exactly while its newest run is a redrive that has not ended, or its event is to be routed again',
    `select d.id as sample from {schema}.dead_letter d
     left join {schema}.execution e on e.id = d.last_execution and e.letter = d.id
     left join {schema}.outcome o on o.execution = e.id
     where d.subject = 1 and (d.state = 2) <> (e.id is not null and o.execution is null)
     union all
     select d.id from {schema}.dead_letter d
     where d.subject = 2 and d.state = 2 and not exists (
       select from {schema}.unrouted u where u.event = d.event and u.subscription = 0 and u.forgiven)
     union all
     select e.letter from {schema}.execution e left join {schema}.outcome o on o.execution = e.id
     where e.letter is not null and o.execution is null and not exists (
       select from {schema}.dead_letter d where d.id = e.letter and d.last_execution = e.id)`,
  ),
  invariant(
    'redriven-succeeded',
    'a letter was closed as redriven by a run that succeeded',
    `select d.id as sample from {schema}.dead_letter d join {schema}.outcome o on o.execution = d.last_execution
     where d.resolution = 1 and o.state <> 7`,
  ),
  invariant(
    'redrive-is-linked',
    'a redrive names its letter and the run before it, and keeps the idempotency key of the first',
    `select e.id as sample from {schema}.execution e
     left join {schema}.dead_letter d on d.id = e.letter
     left join {schema}.outcome o on o.execution = e.id
     left join (${PURGED}) p on p.namespace = e.namespace
     where e.letter is not null and (e.redrive_of is null or e.root is distinct from d.execution
       and (d.id is not null or p.until is null or o.ended_at is null or o.ended_at > p.until))`,
  ),
];
