/** Where a held part stands and what keeps it, renewing its lease when that is due, in one statement. */
import type { Runner } from '../database.js';
import { statement } from '../statement.js';
import { type Holding, holdingValues } from './part-ref.js';

const fetch = statement(
  'consumers.fetch',
  `select verdict, consumer, version, split_key::int as "splitKey", part_count as "partCount", "position", tries,
     retry_ms as "retryMs", expires_at as "expiresAt", lease_ms::float8 as "leaseMs", wanted, holds, offers,
     offer_ms as "offerMs", halted_position as "haltedPosition", reason, rebuilding, promotes
   from {schema}.fetch_part($1, $2, $3, $4, $5, $6)`,
);

const readSpec = statement('consumers.spec', 'select c.spec from {schema}.consumer c where c.id = $1::int');

export interface FetchedPart {
  readonly verdict: 'held';
  readonly consumer: number;
  /** Of the consumer: what it follows may have changed with it. */
  readonly version: bigint;
  readonly splitKey: number;
  readonly partCount: number;
  readonly position: bigint;
  /** Failed tries of the entry after the position. */
  readonly tries: number;
  /** Until it is offered again; null when it does not back off. */
  readonly retryMs: number | null;
  readonly expiresAt: Date;
  readonly leaseMs: number;
  /** Somebody with less waits for it. */
  readonly wanted: boolean;
  /** Some key is parked. */
  readonly holds: boolean;
  /** Parked entries may have to be delivered again. */
  readonly offers: boolean;
  /** Until one that backs off may have to be; null when none does. */
  readonly offerMs: number | null;
  /** It is not of the live generation. */
  readonly rebuilding: boolean;
  /** That generation is to be promoted by itself. */
  readonly promotes: boolean;
}

export interface RefusedPart {
  readonly verdict: 'not_found' | 'epoch' | 'paused' | 'halted';
  readonly haltedPosition: bigint | null;
  /** Why it is paused or halted. */
  readonly reason: string | null;
}

/** Repeats change nothing but the lease. */
export async function fetchPart(runner: Runner, held: Holding): Promise<FetchedPart | RefusedPart> {
  const [row] = await runner.query<FetchedPart | RefusedPart>(fetch, holdingValues(held));
  if (row === undefined) throw new Error('fetch_part answered nothing');
  return row;
}

/** As stored; undefined when the consumer is gone. */
export async function readConsumerSpec(runner: Runner, consumer: number): Promise<unknown> {
  const [row] = await runner.query<{ spec: unknown }>(readSpec, [consumer]);
  return row?.spec;
}
