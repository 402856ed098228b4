/** What stands around an execution that waits: its lane, who is ahead of it, who could take it. */
import type { Runner } from '../database.js';
import { statement } from '../statement.js';
import type { ExecutionRow } from './execution-row.js';

/** Those ahead of it are counted up to this many. */
export const AHEAD_COUNTED = 10_000;

/** The line of each class of the lane is read from its head, at most to the execution's own place. */
const read = statement(
  'inspection.surroundings',
  `with seen as materialized (
     select w.types, w.capabilities from {schema}.worker w
     where w.namespace = $1::int and w.state = 1 and w.seen_at >= clock_timestamp() - $2::bigint * interval '1 ms'
       and $3::text = any (w.lanes)),
   handling as materialized (select s.capabilities from seen s where s.types = '{}' or $4::text = any (s.types))
   select l.state::int as lane_state, l.state_reason as lane_reason, clock_timestamp() as now,
     (select count(*) from seen)::int as in_lane, (select count(*) from handling)::int as handling,
     (select count(*) from handling h where $5::text[] <@ h.capabilities)::int as eligible,
     array(select unnest($5::text[]) except select unnest(h.capabilities) from handling h order by 1) as missing,
     (select count(*) from (
       select from {schema}.claim_class c cross join lateral (
         select from {schema}.ready r
         where r.class = c.id and (r.priority, r.seq) < ($6::smallint, $7::bigint) limit ${AHEAD_COUNTED} + 1) x
       where c.lane = l.id and $7::bigint is not null limit ${AHEAD_COUNTED} + 1) x)::int as ahead
   from {schema}.lane l where l.id = $8::int`,
);

export interface Surroundings {
  readonly lane_state: number;
  readonly lane_reason: string;
  readonly now: Date;
  /** Workers seen lately and not draining that claim from the lane; of these, that handle the type; that could claim it. */
  readonly in_lane: number;
  readonly handling: number;
  readonly eligible: number;
  /** Required capabilities that none of those handling the type offers. */
  readonly missing: readonly string[];
  /** Claimable before it in its lane, aging aside; one more than AHEAD_COUNTED when there are more. */
  readonly ahead: number;
}

export async function readSurroundings(runner: Runner, of: ExecutionRow, unseenMs: number): Promise<Surroundings> {
  const [row] = await runner.query<Surroundings>(read, [
    of.namespace,
    unseenMs,
    of.lane,
    of.type,
    of.capabilities,
    of.line_priority,
    of.line_seq,
    of.lane_id,
  ]);
  if (row === undefined) throw new Error(`execution ${of.id} has no lane`);
  return row;
}
