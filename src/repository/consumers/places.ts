/** How far the live generation of a consumer has come, in one snapshot. */
import type { Runner } from '../database.js';
import { statement } from '../statement.js';

const read = statement(
  'consumers.places',
  `select c.id as consumer, c.version, c.state::int as state, c.state_reason as reason, c.split_key::int as "splitKey",
     g.part_count as "partCount", p.places
   from {schema}.consumer c
   cross join lateral (select x.part_count from {schema}.consumer_generation x
     where x.consumer = c.id and x.generation = c.generation offset 0) g
   cross join lateral (
     select jsonb_agg(jsonb_build_array(x.part, x.position::text, coalesce(x.failed_position, x.position)::text, x.halted)
       order by x.part) as places
     from {schema}.consumer_part x where x.consumer = c.id and x.generation = c.generation offset 0) p
   where c.namespace = $1::int and c.name = $2::text`,
);

export interface ConsumerPlaces {
  readonly consumer: number;
  readonly version: bigint;
  /** ConsumerState. */
  readonly state: number;
  readonly reason: string;
  readonly splitKey: number;
  readonly partCount: number;
  /** Every part of it, by its number. */
  readonly places: readonly { readonly part: number; readonly position: bigint }[];
  /** Where the first halted part stands. */
  readonly haltedPosition: bigint | null;
}

interface PlacesRow extends Omit<ConsumerPlaces, 'places' | 'haltedPosition'> {
  readonly places: [part: number, position: string, failed: string, halted: boolean][];
}

/** Undefined when there is no such consumer. */
export async function readPlaces(
  runner: Runner,
  namespace: number,
  consumer: string,
): Promise<ConsumerPlaces | undefined> {
  const [row] = await runner.query<PlacesRow>(read, [namespace, consumer]);
  if (row === undefined) return undefined;
  const halted = row.places.find(([, , , isHalted]) => isHalted);
  return {
    ...row,
    places: row.places.map(([part, position]) => ({ part, position: BigInt(position) })),
    haltedPosition: halted ? BigInt(halted[2]) : null,
  };
}
