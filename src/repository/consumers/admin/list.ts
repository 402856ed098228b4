/** Consumers as they stand, with their generations; with parts where one is asked for. */
import type { Runner } from '../../database.js';
import { statement } from '../../statement.js';

const COLUMNS = `c.id, c.name, c.version, c.state::int as state, c.state_reason, c.spec, c.split_key::int as split_key, c.generation, c.rebuilding,
     c.promotes, c.actor, c.created_at, c.changed_at`;

/** Parked: what holds a key, by the index of that. */
const GENERATIONS = `select g.consumer, g.generation, g.part_count, g.created_at, p.positions,
     (select count(*) from {schema}.dead_letter d where d.consumer = g.consumer and d.generation = g.generation and d.holds) as parked
   from {schema}.consumer_generation g
   cross join lateral (
     select array_agg(x.position::text order by x.part) as positions from {schema}.consumer_part x
     where x.consumer = g.consumer and x.generation = g.generation offset 0) p
   where g.consumer = any ($1::int[]) order by g.consumer, g.generation`;

const list = statement(
  'consumers.admin.list',
  `select ${COLUMNS} from {schema}.consumer c
   where c.namespace = $1::int and c.name > $2::text and ($3::int[] is null or c.state = any ($3::int[]))
   order by c.name limit $4::int`,
);

const one = statement(
  'consumers.admin.one',
  `select ${COLUMNS} from {schema}.consumer c where c.namespace = $1::int and c.name = $2::text`,
);

const generations = statement('consumers.admin.generations', GENERATIONS);

const parts = statement(
  'consumers.admin.parts',
  `select p.generation, p.part, p.position, p.epoch, p.owner, p.expires_at, p.tries, p.retry_at, p.failed_position,
     p.failure_class::int as failure_class, p.failure_code, p.message, p.details_type, p.details, p.halted
   from {schema}.consumer_part p where p.consumer = $1::int order by p.generation, p.part`,
);

export interface ConsumerRow {
  readonly id: number;
  readonly name: string;
  readonly version: bigint;
  readonly state: number;
  readonly state_reason: string;
  readonly spec: unknown;
  readonly split_key: number;
  /** The live one. */
  readonly generation: bigint;
  readonly rebuilding: bigint | null;
  /** The one that is rebuilt is promoted by itself. */
  readonly promotes: boolean;
  readonly actor: string;
  readonly created_at: Date;
  readonly changed_at: Date;
}

export interface GenerationRow {
  readonly consumer: number;
  readonly generation: bigint;
  readonly part_count: number;
  readonly created_at: Date;
  /** Of its parts, in order. */
  readonly positions: readonly bigint[];
  readonly parked: bigint;
}

export interface PartRow {
  readonly generation: bigint;
  readonly part: number;
  readonly position: bigint;
  readonly epoch: bigint;
  readonly owner: string | null;
  readonly expires_at: Date | null;
  readonly tries: number;
  readonly retry_at: Date | null;
  /** Of the entry that fails. */
  readonly failed_position: bigint | null;
  /** Of its last failure, here and below. */
  readonly failure_class: number | null;
  readonly failure_code: string | null;
  readonly message: string | null;
  readonly details_type: string | null;
  readonly details: Buffer | null;
  readonly halted: boolean;
}

export interface ConsumerPage {
  readonly namespace: number;
  /** The name that the page before ended with; empty for the first. */
  readonly after: string;
  /** Null: any. */
  readonly states: readonly number[] | null;
  readonly limit: number;
}

/** By name. */
export function listConsumers(
  runner: Runner,
  { namespace, after, states, limit }: ConsumerPage,
): Promise<ConsumerRow[]> {
  return runner.query<ConsumerRow>(list, [namespace, after, states, limit]);
}

/** Undefined when there is none of this name. */
export async function readConsumer(runner: Runner, namespace: number, name: string): Promise<ConsumerRow | undefined> {
  const [row] = await runner.query<ConsumerRow>(one, [namespace, name]);
  return row;
}

/** Of these consumers, in order. */
export async function readGenerations(runner: Runner, consumers: readonly number[]): Promise<GenerationRow[]> {
  const rows = await runner.query<Omit<GenerationRow, 'positions'> & { readonly positions: readonly string[] }>(
    generations,
    [consumers],
  );
  return rows.map((row) => ({ ...row, positions: row.positions.map(BigInt) }));
}

/** Of every generation, in order. */
export function readParts(runner: Runner, consumer: number): Promise<PartRow[]> {
  return runner.query<PartRow>(parts, [consumer]);
}
