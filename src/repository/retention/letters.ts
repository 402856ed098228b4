/** Closed dead letters go when their namespace, or else the server, has kept them long enough. */
import { monotonicMs, pause } from '../../runtime/clock.js';
import { statement } from '../statement.js';
import { addRetired, NOTHING_RETIRED, type RetentionPart } from './part.js';

const retire = statement('retention.letters', 'select {schema}.retire_letters($1::bigint, $2::int, $3::int) as n');
const foresee = statement(
  'retention.letters-due',
  `select count(*) as n from {schema}.namespace n
   cross join lateral (
     select y.id from {schema}.dead_letter y where y.namespace = n.id and y.state = 3
       and y.closed_at < clock_timestamp() - coalesce(n.keep_letters_ms, $1::bigint) * interval '1 millisecond' offset 0) d
   where n.id = $2::int or $2::int is null`,
);

const BATCH = 500;
/** Between batches, which are not to be felt. */
const GAP_MS = 100;

export interface LettersPartOptions {
  /** How long they are kept where a namespace says nothing else; undefined: for ever. */
  readonly keptMs: number | undefined;
  /** One namespace's only. */
  readonly namespace?: number;
}

export function lettersPart({ keptMs, namespace }: LettersPartOptions): RetentionPart {
  return {
    name: 'dead letters',
    run: async (runner, until, signal) => {
      let total = NOTHING_RETIRED;
      for (;;) {
        const [row] = await runner.query<{ n: number }>(retire, [keptMs ?? null, BATCH, namespace ?? null]);
        total = addRetired(total, { ...NOTHING_RETIRED, purgedLetters: row?.n ?? 0 });
        if ((row?.n ?? 0) < BATCH) return total;
        await pause(GAP_MS, signal);
        if (signal.aborted || monotonicMs() >= until) return { ...total, more: true };
      }
    },
    foresee: async (runner) => {
      const [row] = await runner.query<{ n: bigint }>(foresee, [keptMs ?? null, namespace ?? null]);
      return { ...NOTHING_RETIRED, purgedLetters: Number(row?.n ?? 0) };
    },
  };
}
