/** Joins, their slots and who waits for them. What is still due stands in `filling` and `follow_up`. */
import { isGone } from './gone.js';
import { invariant } from './invariant.js';

const OUTCOME_OF = `case o.state when 7 then 1 when 11 then 3 else 2 end`;

export const joinInvariants = [
  invariant(
    'blocked-has-join',
    'what waits for a join has an open one of its own: over children while its attempt is parked, else over edges or a batch',
    `select w.execution as sample from {schema}.blocked w left join {schema}.barrier b on b.id = w.barrier
     where w.waits_for = 1 and (b.downstream is distinct from w.execution or b.state <> 1 or b.flow is distinct from w.flow
       or (b.kind = 2) <> (w.state = 6))`,
  ),
  invariant(
    'open-join-has-downstream',
    'an open join has a downstream that waits for it, or it is due to be looked at',
    `select b.id as sample from {schema}.barrier b
     where b.state = 1
       and not exists (select from {schema}.blocked w where w.execution = b.downstream and w.barrier = b.id)
       and not exists (select from {schema}.filling f where f.barrier = b.id)
       and not exists (select from {schema}.follow_up u where u.kind = 5 and u.subject = b.id)`,
  ),
  invariant(
    'one-open-join',
    'an execution waits for one open join at a time',
    `select b.downstream as sample from {schema}.barrier b where b.state = 1
     group by b.downstream having count(*) > 1
       and not exists (select from {schema}.follow_up u where u.kind = 5 and u.subject = any (array_agg(b.id)))`,
  ),
  invariant(
    'slots-in-order',
    'a join has its slots numbered from 0 without gaps, and each names its downstream and flow',
    `select b.id as sample from {schema}.barrier b
     left join (
       select s.barrier, count(*) as n, min(s.idx) as first, max(s.idx) as last from {schema}.slot s group by s.barrier) s
       on s.barrier = b.id
     where b.slots <> coalesce(s.n, 0) or s.first <> 0 or s.last <> s.n - 1
     union all
     select s.barrier from {schema}.slot s left join {schema}.barrier b on b.id = s.barrier
     where b.id is null or (s.downstream, s.is_edge) <> (b.downstream, b.kind = 1) or s.flow is distinct from b.flow`,
  ),
  invariant(
    'slots-are-counted',
    'a join counts its slots as they were filled',
    `select b.id as sample from {schema}.barrier b
     left join (
       select s.barrier, count(*) filter (where s.outcome = 1) as ok, count(*) filter (where s.outcome = 2) as failed,
         count(*) filter (where s.outcome = 3) as skipped, count(*) filter (where s.late) as late,
         count(*) filter (where s.outcome <> 1 and not s.optional) as lost,
         count(distinct s.source) filter (where s.outcome = 1) as sources,
         count(distinct s.source) filter (where s.outcome = 1 or s.outcome is null) as chances
       from {schema}.slot s group by s.barrier) s on s.barrier = b.id
     where (b.ok, b.failed, b.skipped, b.late, b.lost) <>
         (coalesce(s.ok, 0), coalesce(s.failed, 0), coalesce(s.skipped, 0), coalesce(s.late, 0), coalesce(s.lost, 0))
       or b.distinct_sources and (b.sources, b.chances) <> (coalesce(s.sources, 0), coalesce(s.chances, 0))`,
  ),
  invariant(
    'slot-tells-outcome',
    'a slot is filled with how its upstream ended, and only once it has',
    `select s.barrier as sample from {schema}.barrier b join (
       select barrier, idx, upstream, outcome from {schema}.slot where outcome is not null
       union all
       select f.barrier, f.idx, s.upstream, f.outcome from {schema}.filling f
       left join {schema}.slot s on s.barrier = f.barrier and s.idx = f.idx) s on s.barrier = b.id and b.kind <> 3
     left join {schema}.outcome o on o.execution = s.upstream
     where case when o.state is null then not ${isGone('s.upstream')} else s.outcome <> ${OUTCOME_OF} end`,
  ),
  invariant(
    'ended-fills-slots',
    'an upstream that has ended has filled its slots, or that is due',
    `select s.barrier as sample from {schema}.slot s join {schema}.outcome o on o.execution = s.upstream
     where s.outcome is null
       and not exists (select from {schema}.filling f where f.barrier = s.barrier and f.idx = s.idx)
       and not exists (select from {schema}.follow_up u where u.kind = 4 and u.subject = s.upstream)`,
  ),
  invariant(
    'late-after-decision',
    'a slot is late when its join had decided, and an open join has none',
    `select b.id as sample from {schema}.barrier b join {schema}.slot s on s.barrier = b.id
     where s.late and (b.state = 1 or s.outcome is null)`,
  ),
  invariant(
    'verdict-follows-slots',
    'a join that was satisfied has what it asked for, and one still open neither that nor a reason to give up',
    `select b.id as sample from {schema}.barrier b
     join (
       select s.barrier, count(*) filter (where s.outcome = 1 and not s.late) as ok,
         count(*) filter (where s.outcome is null or s.late) as open,
         count(*) filter (where s.outcome <> 1 and not s.optional and not s.late) as lost,
         count(distinct s.source) filter (where s.outcome = 1 and not s.late) as sources
       from {schema}.slot s group by s.barrier) s on s.barrier = b.id
     cross join lateral (
       select case when b.mode = 1 then b.sealed and s.open = 0 and s.lost = 0
         else case when b.distinct_sources then s.sources else s.ok end >= case b.mode when 3 then b.quorum else 1 end
         end as enough) e
     where b.state = 2 and not e.enough
       or b.state = 1 and (e.enough or b.mode = 1 and s.lost > 0)
         and not exists (select from {schema}.filling f where f.barrier = b.id)
         and not exists (select from {schema}.follow_up u where u.kind = 5 and u.subject = b.id)`,
  ),
];
