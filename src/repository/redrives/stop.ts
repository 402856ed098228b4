/** Stops a bulk redrive: once this has answered, it starts nothing more. */
import { actingAs } from '../acting.js';
import type { Runner } from '../database.js';
import { statement } from '../statement.js';

const stop = statement(
  'redrives.stop',
  actingAs('$4', 'verdict', (namespace) => `{schema}.stop_redrive(${namespace}, $2, $3) as did (verdict)`),
);

/** already: it had stopped or finished. */
export async function stopRedrive(
  runner: Runner,
  namespace: number,
  id: string,
  actor: string,
  reason: string,
): Promise<'stopped' | 'already' | 'not_found'> {
  const [row] = await runner.query<{ verdict: 'stopped' | 'already' | 'not_found' }>(stop, [
    namespace,
    id,
    reason,
    actor,
  ]);
  return row?.verdict ?? 'not_found';
}
