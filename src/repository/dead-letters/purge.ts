/**
 * Deletes closed dead letters, oldest closing first, in batches that are transactions of their own: whoever works on a
 * letter is passed over, and waits for no more than one batch. A crash leaves the batches that were committed.
 */
import type { Runner } from '../database.js';
import { FIRST_ID } from '../inspection/id-bounds.js';
import { statement } from '../statement.js';
import { type LetterFilter, SELECTING_COLUMNS, selectingValues, selects } from './filter.js';

/** From the index of what is closed; `last` tells how far this step has read, and is null when that was all. */
const find = statement(
  'dead-letters.purgeable',
  `with seen as materialized (
     select t.id, t.closed_at, row_number() over (order by t.closed_at, t.id) as n,
       ${SELECTING_COLUMNS.map((column) => `t.${column}`).join(', ')}
     from {schema}.dead_letter t
     where t.namespace = $1::int and t.state = 3 and t.closed_at < $17::timestamptz
       and (t.closed_at, t.id) > ($18::timestamptz, $19::uuid)
     order by t.closed_at, t.id limit $20::int),
   found as materialized (select s.id, s.n from seen s where ${selects('s')} order by s.n limit $21::int),
   last as (
     select s.id, s.closed_at from seen s
     where s.n = case when (select count(*) from found) = $21::int then (select max(f.n) from found f) else $20::int end)
   select array(select f.id from found f order by f.n) as ids, last.id as last_id, last.closed_at::text as last_at
   from (select) one left join last on true`,
);

const purge = statement('dead-letters.purge', 'select {schema}.purge_letters($1::uuid[], $2, $3, $4) as n');

export interface Purge {
  readonly namespace: number;
  readonly filter: LetterFilter;
  readonly closedBefore: Date;
  readonly most: number;
  /** Counts them only. */
  readonly dry: boolean;
  readonly actor: string;
  readonly note: string;
}

export interface Purged {
  readonly count: number;
  readonly more: boolean;
}

const BATCH = 500;
/** Rows read by one step, whether they are wanted or not. */
const READ = 5_000;

/** Microseconds count here, so the time stays text. */
interface Step {
  readonly ids: readonly string[];
  readonly last_id: string | null;
  readonly last_at: string | null;
}

/** Reads on until it has found so many or has seen every closed one: a call that is repeated begins at the oldest again. */
export async function purgeDeadLetters(runner: Runner, asked: Purge): Promise<Purged> {
  const { namespace, filter, closedBefore, most, dry, actor, note } = asked;
  const values = [namespace, ...selectingValues(filter), closedBefore];
  let count = 0;
  let at = { last_at: '-infinity', last_id: FIRST_ID };
  for (;;) {
    const wanted = Math.min(dry ? READ : BATCH, most - count);
    const [step] = await runner.query<Step>(find, [...values, at.last_at, at.last_id, READ, Math.max(wanted, 1)]);
    const ids = step?.ids ?? [];
    if (wanted === 0 && ids.length > 0) return { count, more: true };
    if (ids.length > 0) count += dry ? ids.length : await purgeBatch(runner, [ids, closedBefore, actor, note]);
    if (!step?.last_id || !step.last_at) return { count, more: false };
    at = { last_at: step.last_at, last_id: step.last_id };
  }
}

async function purgeBatch(runner: Runner, values: readonly unknown[]): Promise<number> {
  const [row] = await runner.query<{ n: number }>(purge, values);
  return row?.n ?? 0;
}
