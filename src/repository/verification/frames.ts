/** Output of attempts: the heads of streams, and what stands behind them. Frames that pass may be gone, so nothing is said of them. */
import { invariant } from './invariant.js';

export const frameInvariants = [
  invariant(
    'frames-without-gaps',
    'durable frames and the patches that are kept are as many as the head of their stream says, and numbered without gaps',
    `select h.execution || '/' || h.attempt as sample from {schema}.frame_head h
     left join (
       select f.execution, f.attempt, count(*) filter (where f.mode = 1) as durable,
         max(f.number) filter (where f.mode = 1) as last_durable, count(*) filter (where f.mode = 2) as patches,
         max(f.number) filter (where f.mode = 2) as last_patch, count(*) - count(distinct f.position) as shared,
         max(f.position) as last
       from {schema}.frame f group by f.execution, f.attempt) f
       on f.execution = h.execution and f.attempt = h.attempt
     where coalesce(f.durable, 0) <> h.durable or coalesce(f.last_durable, 0) <> h.durable
       or coalesce(f.patches, 0) <> h.version - h.trimmed or (h.version > h.trimmed and f.last_patch <> h.version)
       or f.shared > 0 or f.last > h.position
     union all
     select f.execution || '/' || f.attempt from {schema}.frame f
     where not exists (select from {schema}.frame_head h where h.execution = f.execution and h.attempt = f.attempt)`,
  ),
  invariant(
    'summaries-have-versions',
    'a stream has a summary exactly if it has had patches',
    `select h.execution || '/' || h.attempt as sample from {schema}.frame_head h
     where (h.version = 0) <> (h.document is null) or (h.document is null) <> (h.patched_at is null)`,
  ),
  invariant(
    'frames-before-the-end',
    'output is that of an attempt, and none of it is younger than its end',
    `select h.execution || '/' || h.attempt as sample from {schema}.frame_head h
     left join {schema}.attempt a on a.execution = h.execution and a.number = h.attempt
     left join (
       select f.execution, f.attempt, max(f.appended_at) as at from {schema}.frame f group by f.execution, f.attempt) f
       on f.execution = h.execution and f.attempt = h.attempt
     where f.at > a.ended_at or h.patched_at > a.ended_at or (a.execution is null
       and not exists (select from {schema}.lease l where l.execution = h.execution and l.attempt = h.attempt)
       and not exists (select from {schema}.parked p where p.execution = h.execution and p.number = h.attempt))`,
  ),
];
