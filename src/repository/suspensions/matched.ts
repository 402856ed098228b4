/** Signals that a suspension took. What was taken stays as it is, so it may be read after the statement that took it. */
import { int4Array, uuidArray } from '../binary-arrays.js';
import type { Runner } from '../database.js';
import type { LeaseRef, Refused } from '../leases/index.js';
import { statement } from '../statement.js';

const read = statement(
  'suspensions.matched',
  `select * from {schema}.matched_signals($1::uuid[], $2::int[], $3::int[], 0, $4, $5, false)`,
);

const list = statement(
  'suspensions.list-matched',
  `select m.* from {schema}.lease l
   left join lateral {schema}.matched_signals(array[l.execution], array[l.attempt], array[coalesce($5, l.waits)], $6, $7, $8, true) m
     on true
   where l.execution = $2 and l.lease = $3 and l.token = $4 and l.namespace = $1 and l.expires_at > clock_timestamp()`,
);

const explain = statement(
  'suspensions.explain-holder',
  'select verdict, state, attempt, token from {schema}.explain_holder($1, $2, $3, $4)',
);

/** In one answer: what a client's default limit on messages leaves beside everything else. */
const INLINE_BYTES = 512 * 1024;
const PAGE_BYTES = 2 * 1024 * 1024;
const INLINE_SIGNALS = 100;

export interface ReceivedSignal {
  readonly number: number;
  readonly id: string;
  readonly name: string;
  readonly source: number;
  readonly source_id: string;
  readonly payload_type: string | null;
  readonly payload: Buffer | null;
  readonly waitpoint: string | null;
  readonly received_at: Date;
}

export interface MatchedSignals {
  /** In order of arrival. */
  readonly signals: readonly ReceivedSignal[];
  readonly more: boolean;
}

/** Which suspension of which attempt. */
export interface SuspensionRef {
  readonly execution: string;
  readonly attempt: number;
  readonly number: number;
}

type Row = ReceivedSignal & { readonly ord: number | null; readonly fits: boolean };

/** The first hundred of each, in the order of the suspensions; fewer where their contents are large. */
export async function readMatchedSignals(runner: Runner, of: readonly SuspensionRef[]): Promise<MatchedSignals[]> {
  const rows = await runner.query<Row>(read, [
    uuidArray(of.map(({ execution }) => execution)),
    int4Array(of.map(({ attempt }) => attempt)),
    int4Array(of.map(({ number }) => number)),
    INLINE_SIGNALS,
    INLINE_BYTES,
  ]);
  const found: Row[][] = of.map(() => []);
  for (const row of rows) found[(row.ord ?? 0) - 1]?.push(row);
  return found.map(matchedIn);
}

/** For the holder of a lease; undefined when it is not his. `number` null: the last suspension of the attempt. */
export async function listMatchedSignals(
  runner: Runner,
  { namespace, execution, lease, token }: LeaseRef,
  page: { readonly number: number | null; readonly after: number; readonly size: number },
): Promise<MatchedSignals | undefined> {
  const values = [namespace, execution, lease, token, page.number, page.after, page.size, PAGE_BYTES];
  const rows = await runner.query<Row>(list, values);
  if (rows.length === 0) return undefined;
  return matchedIn(rows.filter(({ ord }) => ord !== null));
}

/** Why a lease was not the caller's. */
export async function whyNotHeld(runner: Runner, { namespace, execution, lease, token }: LeaseRef): Promise<Refused> {
  const [refused] = await runner.query<Refused>(explain, [namespace, execution, lease, token]);
  if (refused === undefined) throw new Error('explain_holder answered nothing');
  return refused;
}

function matchedIn(rows: readonly Row[]): MatchedSignals {
  const signals = rows.filter(({ fits }) => fits);
  return { signals, more: signals.length < rows.length };
}
