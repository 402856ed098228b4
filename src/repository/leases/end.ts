/** Ends attempts on their holders' word: complete, fail, delay, release. */
import { byteaArray, int4Array, int8Array, sparse, textArray, uuidArray } from '../binary-arrays.js';
import { type Content, packContents } from '../bytes.js';
import type { Runner } from '../database.js';
import type { NewFrame } from '../frames/index.js';
import { statement } from '../statement.js';
import type { NewEmission } from './emission.js';
import type { LeaseRef, Refused } from './refusal.js';

const end = statement(
  'leases.end',
  `select * from {schema}.end_attempts($1::smallint, $2::int[], $3::uuid[], $4::uuid[], $5::bigint[], $6::bytea[],
     $7::smallint[], $8::text[], $9::text[], $10::timestamptz[], $11::bigint[], $12::text[], $13::int[], $14::int[],
     $15::bytea)`,
);

const endWithEvents = statement(
  'leases.end-with-events',
  `select * from {schema}.end_attempts($1::smallint, $2::int[], $3::uuid[], $4::uuid[], $5::bigint[], $6::bytea[],
     $7::smallint[], $8::text[], $9::text[], $10::timestamptz[], $11::bigint[], $12::text[], $13::int[], $14::int[],
     $15::bytea, $16::jsonb[])`,
);

export interface Ending extends LeaseRef {
  /** Of the call's content: the same again is answered as the first time. */
  readonly hash: Buffer;
  readonly failure: { readonly class: number; readonly code: string | null } | null;
  readonly message: string | null;
  /** When the work may go on: absolute, or as a span from the database's now. */
  readonly runAt: Date | null;
  readonly delayMs: number | null;
  /** The result of a completion, the details of a failure. */
  readonly content: Content | null;
  /** The last of the attempt, with a completion. */
  readonly frames?: readonly NewFrame[];
  /** What it emits with a completion. */
  readonly events?: readonly NewEmission[];
  /** What to publish if a failure gives up, in place of what was declared: JSON as failure_emissions reads it. */
  readonly failureEvents?: string | null;
}

export interface Ended {
  /** duplicate: the first answer again. */
  readonly verdict: 'done' | 'duplicate';
  readonly state: number;
  readonly attempt: number;
  readonly token: bigint;
  readonly run_at: Date | null;
  readonly outcome: number;
  readonly reason: number | null;
  /** Counted so far; null for a duplicate. */
  readonly failures: number | null;
  readonly ended_at: Date;
  readonly class: number;
  /** The dead letter, when it gave up. */
  readonly letter: string | null;
  /** What its end released in its flow, and the classes of those. */
  readonly released: readonly string[] | null;
  readonly woken: readonly number[] | null;
  /** Something is left to be done after the commit (SweepSubject followUps). */
  readonly follows: boolean | null;
  /** What it emitted, with a completion that had events. */
  readonly events?: readonly string[];
}

export type EndAnswer = Ended | Refused;

/** In the order of the items, which are distinct by execution. */
export async function endAttempts(runner: Runner, call: number, items: readonly Ending[]): Promise<EndAnswer[]> {
  const content = packContents(items.map((item) => item.content));
  const told = items.some(({ failureEvents = null }) => failureEvents !== null);
  const rows = await runner.query<EndAnswer & { readonly ord: number }>(told ? endWithEvents : end, [
    call,
    int4Array(items.map((item) => item.namespace)),
    uuidArray(items.map((item) => item.execution)),
    uuidArray(items.map((item) => item.lease)),
    int8Array(items.map((item) => item.token)),
    byteaArray(items.map((item) => item.hash)),
    sparse(items.map((item) => item.failure?.class ?? null)),
    sparse(
      items.map((item) => item.failure?.code ?? null),
      textArray,
    ),
    sparse(
      items.map((item) => item.message),
      textArray,
    ),
    sparse(items.map((item) => item.runAt)),
    sparse(
      items.map((item) => item.delayMs),
      int8Array,
    ),
    sparse(content.types, textArray),
    sparse(content.positions, int4Array),
    sparse(content.lengths, int4Array),
    content.bytes,
    ...(told ? [items.map(({ failureEvents = null }) => failureEvents)] : []),
  ]);
  return inOrder(rows);
}

/** Answers come in any order and name the item they belong to, counted from 1. */
export function inOrder<T extends { readonly ord: number }>(rows: readonly T[]): T[] {
  return [...rows].sort((a, b) => a.ord - b.ord);
}
