/** A bulk redrive as it stands, with the ends that are not summed up yet; and which ones have something to be done. */
import type { Runner } from '../database.js';
import { statement } from '../statement.js';

const read = statement(
  'redrives.read',
  `select r.id, r.state::int as state, r.filter, r.rate, r.canary, r.canary_max_failures, r.max_count, r.detached, r.lane,
     r.patch_type, r.patch, r.actor, r.note, r.selected, r.started, r.skipped, r.succeeded + x.succeeded as succeeded,
     r.failed + x.failed as failed, r.created_at, r.ended_at, r.stop_reason
   from {schema}.redrive r
   cross join lateral (
     select count(*) filter (where i.state = 2)::int as succeeded, count(*) filter (where i.state = 3)::int as failed
     from {schema}.redrive_item i where i.redrive = r.id and i.state in (2, 3) and not i.counted) x
   where r.id = $2::uuid and r.namespace = $1::int`,
);

/** One that has ended is looked at now and then, until all that it started has. */
const due = statement(
  'redrives.due',
  `select r.id from {schema}.redrive r
   where not r.settled and (r.state in (1, 2) or r.paced_at < clock_timestamp() - interval '3 s')
   order by r.id`,
);

export interface BulkRedrive {
  readonly id: string;
  readonly state: number;
  readonly filter: unknown;
  readonly rate: number;
  readonly canary: number;
  readonly canary_max_failures: number;
  readonly max_count: bigint;
  readonly detached: boolean;
  readonly lane: string | null;
  readonly patch_type: string | null;
  readonly patch: Buffer | null;
  readonly actor: string;
  readonly note: string;
  readonly selected: number;
  readonly started: number;
  readonly skipped: number;
  readonly succeeded: number;
  readonly failed: number;
  readonly created_at: Date;
  readonly ended_at: Date | null;
  readonly stop_reason: string;
}

export async function readRedrive(runner: Runner, namespace: number, id: string): Promise<BulkRedrive | undefined> {
  const [row] = await runner.query<BulkRedrive>(read, [namespace, id]);
  return row;
}

export async function dueRedrives(runner: Runner): Promise<string[]> {
  const rows = await runner.query<{ id: string }>(due);
  return rows.map(({ id }) => id);
}
