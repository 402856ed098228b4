/** Generations of a consumer: starting one beside the live one, and making it that. */
import type { Runner } from '../../database.js';
import { statement } from '../../statement.js';
import type { Beginning } from './put.js';
import type { ConsumerChange, ConsumerChanged } from './step.js';

const rebuild = statement(
  'consumers.admin.rebuild',
  'select verdict, version, generation from {schema}.rebuild_consumer($1, $2, $3, $4, $5, $6, $7, $8)',
);

const promote = statement(
  'consumers.admin.promote',
  'select verdict, version from {schema}.promote_consumer($1, $2, $3, $4, $5, $6, $7, $8)',
);

const candidate = statement(
  'consumers.admin.candidate',
  `select c.spec, c.split_key::int as split_key, g.part_count, live.position as live, p.parts
   from {schema}.consumer c
   cross join lateral (select x.part_count from {schema}.consumer_generation x
     where x.consumer = c.id and x.generation = c.rebuilding offset 0) g
   cross join lateral (select min(x.position) as position from {schema}.consumer_part x
     where x.consumer = c.id and x.generation = c.generation offset 0) live
   cross join lateral (select array_agg(x.position::text order by x.part) as parts from {schema}.consumer_part x
     where x.consumer = c.id and x.generation = c.rebuilding offset 0) p
   where c.namespace = $1::int and c.name = $2::text and c.rebuilding = $3::bigint`,
);

export interface Rebuild {
  readonly from: Beginning;
  /** 0: as the live one. */
  readonly parts: number;
  /** It is promoted by itself. */
  readonly promotes: boolean;
}

export interface Rebuilt extends ConsumerChanged {
  /** The new one. */
  readonly generation: bigint;
}

export async function rebuildConsumer(
  runner: Runner,
  { namespace, name, expectedVersion, actor, reason }: ConsumerChange,
  { from, parts, promotes }: Rebuild,
): Promise<Rebuilt> {
  const values = [namespace, name, from, parts, promotes, expectedVersion, actor, reason];
  const [answer] = await runner.query<Rebuilt>(rebuild, values);
  if (answer === undefined) throw new Error('rebuild_consumer answered nothing');
  return answer;
}

/** A generation that is being rebuilt, and how far it and the live one have come, in one snapshot. */
export interface Candidate {
  readonly spec: unknown;
  readonly splitKey: number;
  readonly partCount: number;
  /** That every part of the live one has reached. */
  readonly live: bigint;
  readonly parts: readonly { readonly part: number; readonly position: bigint }[];
}

/** Undefined when this generation is not being rebuilt. */
export async function readCandidate(
  runner: Runner,
  namespace: number,
  name: string,
  generation: bigint,
): Promise<Candidate | undefined> {
  const [row] = await runner.query<{
    spec: unknown;
    split_key: number;
    part_count: number;
    live: bigint;
    parts: string[];
  }>(candidate, [namespace, name, generation]);
  return (
    row && {
      spec: row.spec,
      splitKey: row.split_key,
      partCount: row.part_count,
      live: row.live,
      parts: row.parts.map((position, part) => ({ part, position: BigInt(position) })),
    }
  );
}

export interface Promotion {
  readonly generation: bigint;
  /** Nothing that is selected lies between its parts and here. */
  readonly checked: bigint;
  /** Only if it is to be promoted by itself. */
  readonly automatic: boolean;
}

export interface Promoted {
  /** same: it is live. no_generation: it is not rebuilt, or not to be promoted so. behind: the live one is beyond `checked`. */
  readonly verdict: 'changed' | 'same' | 'conflict' | 'not_found' | 'no_generation' | 'behind';
  readonly version: bigint;
}

export async function promoteConsumer(
  runner: Runner,
  { namespace, name, expectedVersion, actor, reason }: ConsumerChange,
  { generation, checked, automatic }: Promotion,
): Promise<Promoted> {
  const values = [namespace, name, generation, checked, automatic, expectedVersion, actor, reason];
  const [answer] = await runner.query<Promoted>(promote, values);
  if (answer === undefined) throw new Error('promote_consumer answered nothing');
  return answer;
}
