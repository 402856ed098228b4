/**
 * Vacuums the tables whose rows come and go. Autovacuum looks once a minute at best; at 5,000 executions a second that
 * leaves 300,000 dead rows at the head of every line.
 */
import type { Database } from '../database.js';
import { inSchema } from '../statement.js';

const TABLES = [
  'ready',
  'scheduled',
  'lease',
  'timer',
  'blocked',
  'parked',
  'suspension',
  'flow_live',
  'filling',
  'follow_up',
  'quota',
  'spent',
  'budget_delta',
  'passing_frame',
] as const;

/** Cut short, a vacuum has done nothing; the limits of other statements are not for it. */
const MOST_MS = 10 * 60_000;

/**
 * A statement of its own per table, since vacuum cannot run in a transaction; passes over what another one vacuums. The
 * connection is closed afterwards, and its settings with it.
 */
export async function vacuumHotTables(database: Database): Promise<void> {
  const session = await database.session();
  try {
    await session.query(`set statement_timeout = ${MOST_MS}`);
    for (const table of TABLES) {
      const text = `vacuum (skip_locked, index_cleanup on, truncate off) {schema}.${table}`;
      const patient = { text: inSchema(text, database.schema), query_timeout: MOST_MS };
      await session.query(patient);
    }
  } finally {
    session.release(true);
  }
}
