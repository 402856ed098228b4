/** Dead letters by id. */
import type { Runner } from '../database.js';
import { isLetterShown } from '../namespaces/shown.js';
import { statement } from '../statement.js';
import { type LetterRow, letterColumns } from './letter-row.js';

const read = statement(
  'dead-letters.read',
  `select ${letterColumns('$3::int', '$3::int > 0')} from {schema}.dead_letter d
   where d.id = any ($2::uuid[]) and d.namespace = $1::int and ${isLetterShown('d.closed_at', '$1::int')}`,
);

const EVERYTHING = 2 ** 31 - 1;
const NOTHING = -1;

/** With input and failure details. Undefined when this namespace has no such letter. */
export async function readDeadLetter(runner: Runner, namespace: number, id: string): Promise<LetterRow | undefined> {
  const [row] = await runner.query<LetterRow>(read, [namespace, [id], EVERYTHING]);
  return row;
}

/** Without contents, in no order; what does not exist is missing. */
export function readDeadLetters(runner: Runner, namespace: number, ids: readonly string[]): Promise<LetterRow[]> {
  return runner.query<LetterRow>(read, [namespace, ids, NOTHING]);
}
