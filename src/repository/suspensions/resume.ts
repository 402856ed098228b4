/** An operator lets a parked execution go on, whatever its condition. */
import type { Content } from '../bytes.js';
import type { Runner } from '../database.js';
import { statement } from '../statement.js';
import type { GoneOn } from './gone-on.js';

const resume = statement(
  'suspensions.resume',
  `select verdict, state, attempt, token, classes, delay_ms, left_over
   from {schema}.resume_suspended($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
);

export interface Resuming {
  readonly namespace: number;
  readonly execution: string;
  /** The suspension the operator saw; null: whichever it is. */
  readonly number: number | null;
  /** The signal the handler sees: its id, name, sender and content. */
  readonly id: string;
  readonly name: string;
  readonly actor: string;
  readonly content: Content | null;
  readonly note: string;
}

export interface ResumeAnswer extends GoneOn {
  readonly verdict: 'resumed' | 'not_suspended' | 'not_found' | 'terminal';
  /** Where it went, or stands. */
  readonly state: number | null;
  /** Of the end, for `terminal`. */
  readonly attempt: number | null;
  readonly token: bigint | null;
}

export async function resumeSuspended(runner: Runner, asked: Resuming): Promise<ResumeAnswer> {
  const { content } = asked;
  const [row] = await runner.query<ResumeAnswer>(resume, [
    asked.namespace,
    asked.execution,
    asked.number,
    asked.id,
    asked.name,
    asked.actor,
    content?.type ?? null,
    content?.body ?? null,
    asked.note,
  ]);
  if (row === undefined) throw new Error('resume_suspended answered nothing');
  return row;
}
