/** What start-up checks and `tailrace doctor` read of the database; what it means is judged in src/guards. */
import type { Runner } from '../database.js';
import { type ClockSkew, readClockSkew } from './clock.js';
import { type Relations, readRelations } from './relations.js';
import { type Held, readHeldBack, readSessionsOf, type Sessions } from './sessions.js';
import { type DatabaseSettings, readSettings } from './settings.js';

export { findPooler, type Pooler } from './pooler.js';
export type { ClockSkew, DatabaseSettings, Held, Relations, Sessions };

export interface DatabaseReading {
  readonly settings: DatabaseSettings;
  readonly sessions: Sessions;
  readonly held: Held;
  readonly relations: Relations;
  readonly clock: ClockSkew;
}

/** Seven short statements. */
export async function readDatabase(runner: Runner): Promise<DatabaseReading> {
  const [settings, sessions, held, relations] = await Promise.all([
    readSettings(runner),
    readSessionsOf(runner),
    readHeldBack(runner),
    readRelations(runner),
  ]);
  return { settings, sessions, held, relations, clock: await readClockSkew(runner) };
}
