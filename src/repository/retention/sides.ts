/** Walks over the tables that hold something about executions and flows, and deletes what is about those that are gone. */
import { monotonicMs } from '../../runtime/clock.js';
import { statement } from '../statement.js';
import { NOTHING_RETIRED, type RetentionPart } from './part.js';

const due = statement('retention.sides-due', 'select {schema}.sides_due($1::bigint) as sides');
const sweep = statement('retention.side', 'select rows, done from {schema}.sweep_side($1, $2::int)');

/** Pages looked through per transaction. */
const PAGES = 64;

/** `roundMs`: from one round over a table to the next. */
export function sidesPart({ roundMs }: { readonly roundMs: number }): RetentionPart {
  return {
    name: 'what is about executions',
    foresee: async () => NOTHING_RETIRED,
    run: async (runner, until, signal) => {
      const [row] = await runner.query<{ sides: string[] }>(due, [roundMs]);
      for (const side of row?.sides ?? []) {
        for (let done = false; !done; ) {
          if (signal.aborted || monotonicMs() >= until) return { ...NOTHING_RETIRED, more: true };
          const [swept] = await runner.query<{ done: boolean }>(sweep, [side, PAGES]);
          done = swept?.done ?? true;
        }
      }
      return NOTHING_RETIRED;
    },
  };
}
