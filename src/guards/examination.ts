/** Reads what can be read, and judges it. */
import type { Runner } from '../repository/database.js';
import { findPooler, type Pooler, readDatabase } from '../repository/guards/index.js';
import { judgeCapacity } from './capacity.js';
import { judgeDurability } from './durability.js';
import type { Facts, Setup } from './facts.js';
import type { Finding } from './finding.js';
import { readMachine } from './machine.js';
import { judgeSessions } from './sessions.js';
import { judgeSurroundings } from './surroundings.js';
import { judgeVacuum } from './vacuum.js';

/** The worst first. */
export function judge(facts: Facts): readonly Finding[] {
  const found = [
    ...judgeSessions(facts),
    ...judgeDurability(facts),
    ...judgeCapacity(facts),
    ...judgeVacuum(facts),
    ...judgeSurroundings(facts),
  ];
  const rank = { error: 0, warning: 1, note: 2 };
  return found.sort((one, other) => rank[one.severity] - rank[other.severity]);
}

export interface FactsWanted {
  readonly runner: Runner;
  readonly setup: Setup;
  /** As it was found before, or the address to look at. */
  readonly pooler: Pooler | string;
}

export async function readFacts({ runner, setup, pooler }: FactsWanted): Promise<Facts> {
  const [database, machine, found] = await Promise.all([
    readDatabase(runner),
    readMachine(setup),
    typeof pooler === 'string' ? findPooler(pooler) : pooler,
  ]);
  return { ...database, machine, setup, pooler: found };
}
