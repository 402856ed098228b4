/** Counts a failure of an entry, which backs off, halts the consumer, or is parked, in one statement. */
import type { Content } from '../bytes.js';
import type { Runner } from '../database.js';
import { statement } from '../statement.js';
import { type EntryLetter, letterRows, letterValues } from './new-letter.js';
import { type Holding, holdingValues } from './part-ref.js';

const fail = statement(
  'consumers.fail',
  `select f.verdict, f."position", f.tries, f.retry_ms as "retryMs", f.letter
   from {schema}.fail_entry($1, $2, $3, $4, $5, $6, $7, $8, $9, $10,
     jsonb_populate_record((${letterRows(17)})[1], jsonb_build_object('failure_class', $11::int, 'message', $12::text,
       'failure_code', $13::text, 'details_type', $14::text, 'details', $15::bytea)), $16) f`,
);

/** Where a part stands, and what its entries look like, for whoever decides whether an entry is its next. */
const read = statement(
  'consumers.failing-part',
  `select c.id as consumer, c.version, c.split_key::int as "splitKey", c.spec, g.part_count as "partCount", p.position
   from {schema}.consumer c
   cross join lateral (select x.part_count from {schema}.consumer_generation x
     where x.consumer = c.id and x.generation = $4::bigint offset 0) g
   cross join lateral (select x.position from {schema}.consumer_part x
     where x.consumer = c.id and x.generation = $4::bigint and x.part = $5::int and x.owner = $3::text
       and x.epoch = $6::bigint offset 0) p
   where c.namespace = $1::int and c.name = $2::text`,
);

const readParked = statement(
  'consumers.parked-between',
  `select d.position from {schema}.dead_letter d
   where d.consumer = $1::int and d.generation = $2::bigint and d.part = $3::int and d.holds
     and d.position > $4::bigint and d.position < $5::bigint
   order by d.position`,
);

export interface FailingPart {
  readonly consumer: number;
  readonly version: bigint;
  readonly splitKey: number;
  /** As it was asked for. */
  readonly spec: unknown;
  readonly partCount: number;
  readonly position: bigint;
}

export interface EntryFailure {
  readonly class: number;
  readonly code: string | null;
  readonly message: string;
  readonly details: Content | null;
}

export interface FailAsk extends Holding {
  /** Where the part stood when the entry was found to be its next; −1: that was not looked at. */
  readonly before: bigint;
  readonly position: bigint;
  readonly previousTries: number;
  /** Of a rate limit, which counts nothing. */
  readonly retryAt: Date | null;
  readonly failure: EntryFailure;
  /** What is parked if it comes to that; null where it cannot. */
  readonly letter: EntryLetter | null;
  /** The letter that it was delivered again for. */
  readonly redelivered: string | null;
}

export interface FailAnswer {
  readonly verdict: 'retry' | 'halted' | 'parked' | 'not_found' | 'epoch' | 'moved' | 'no_letter';
  readonly position: bigint | null;
  readonly tries: number | null;
  readonly retryMs: number | null;
  readonly letter: string | null;
}

/** Undefined when the owner does not hold it. */
export async function readFailingPart(runner: Runner, held: Holding): Promise<FailingPart | undefined> {
  const [row] = await runner.query<FailingPart>(read, holdingValues(held));
  return row;
}

/** Positions of entries that are parked between two places. */
export async function readParkedBetween(
  runner: Runner,
  { consumer, position: after }: FailingPart,
  { generation, part }: Holding,
  before: bigint,
): Promise<ReadonlySet<bigint>> {
  const values = [consumer, generation, part, after, before];
  const rows = await runner.query<{ position: bigint }>(readParked, values);
  return new Set(rows.map(({ position }) => position));
}

export async function failEntry(runner: Runner, asked: FailAsk): Promise<FailAnswer> {
  const { before, position, previousTries, retryAt, failure, letter, redelivered } = asked;
  const [answer] = await runner.query<FailAnswer>(fail, [
    ...holdingValues(asked),
    before,
    position,
    previousTries,
    retryAt,
    failure.class,
    failure.message,
    failure.code,
    failure.details?.type ?? null,
    failure.details?.body ?? null,
    redelivered,
    ...letterValues(letter === null ? [] : [letter]),
  ]);
  if (answer === undefined) throw new Error('fail_entry answered nothing');
  return answer;
}
