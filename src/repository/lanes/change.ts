/** Changes a lane: its settings, its limits, or what it lets through. */
import type { Runner } from '../database.js';
import { statement } from '../statement.js';

const change = statement(
  'lanes.change',
  `select verdict, version, classes
   from {schema}.change_lane($1, $2, $3, $4, $5::jsonb, $6::smallint, $7, $8, $9::jsonb, $10::jsonb)`,
);

/** Absent fields stay as they are; null takes the engine's default. */
export interface LanePatch {
  readonly state?: number;
  readonly state_reason?: string;
  readonly timeout_ms?: number | null;
  readonly ttl_ms?: number | null;
  readonly aging_ms?: number | null;
  readonly retry_max?: number | null;
  readonly retry_initial_ms?: number | null;
  readonly retry_factor?: number | null;
  readonly retry_cap_ms?: number | null;
  readonly reclaims_max?: number | null;
  readonly count_lost?: boolean | null;
  readonly default_key_limit?: number | null;
}

/** Absent fields stay as they are; null is no limit. */
export interface QuotaPatch {
  readonly max_running?: number | null;
  readonly max_starts?: number | null;
  readonly window_ms?: number | null;
}

/** Of a concurrency key. */
export interface KeyLimit {
  readonly key: string;
  /** Null: the lane's default for keys. */
  readonly max_running: number | null;
  readonly weight: number;
}

export interface LaneChange {
  readonly namespace: number;
  readonly lane: string;
  /** Whether it is made if it was never used. */
  readonly make: boolean;
  /** 0: any. */
  readonly expectedVersion: bigint;
  readonly patch: LanePatch;
  /** Null or absent: unchanged, here and below. */
  readonly quota?: QuotaPatch | null;
  /** Every key that shall have a limit or a weight of its own. */
  readonly keys?: readonly KeyLimit[] | null;
  /** Of the log entry. */
  readonly kind: number;
  readonly actor: string;
  readonly reason: string;
}

export interface LaneChangeAnswer {
  /** same: nothing differed, nothing was written. conflict: `version` is another one than expected. */
  readonly verdict: 'changed' | 'same' | 'not_found' | 'conflict';
  readonly version: bigint;
  readonly classes: readonly number[] | null;
}

export async function changeLane(runner: Runner, asked: LaneChange): Promise<LaneChangeAnswer> {
  const [row] = await runner.query<LaneChangeAnswer>(change, [
    asked.namespace,
    asked.lane,
    asked.make,
    asked.expectedVersion,
    JSON.stringify(asked.patch),
    asked.kind,
    asked.actor,
    asked.reason,
    asked.quota ? JSON.stringify(asked.quota) : null,
    asked.keys ? JSON.stringify(asked.keys) : null,
  ]);
  if (row === undefined) throw new Error('change_lane answered nothing');
  return row;
}
