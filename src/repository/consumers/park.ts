/** Keeps entries back behind an earlier one of their key, in one statement that is not sent while nothing is parked. */
import type { Runner } from '../database.js';
import { statement } from '../statement.js';
import { type EntryLetter, letterRows, letterValues } from './new-letter.js';
import type { HeldPlace } from './offer.js';

const readKeys = statement('consumers.held-keys', 'select {schema}.held_keys($1, $2, $3) as keys');

const park = statement(
  'consumers.park',
  `select verdict, parked from {schema}.park_entries($1, $2, $3, $4, $5, ${letterRows(6)})`,
);

export interface ParkAnswer {
  /** halted: more would have been parked than the consumer allows; nothing was. */
  readonly verdict: 'parked' | 'epoch' | 'halted';
  /** Per entry, in order; false where its key has been let go meanwhile. Null when halted. */
  readonly parked: readonly boolean[] | null;
}

export async function readHeldKeys(
  runner: Runner,
  { consumer, generation, part }: Pick<HeldPlace, 'consumer' | 'generation' | 'part'>,
): Promise<ReadonlySet<string>> {
  const [row] = await runner.query<{ keys: string[] }>(readKeys, [consumer, generation, part]);
  return new Set(row?.keys);
}

/** In the order of the log. A repeat parks nothing twice. */
export async function parkEntries(
  runner: Runner,
  { consumer, generation, part, epoch, owner }: HeldPlace,
  letters: readonly EntryLetter[],
): Promise<ParkAnswer> {
  const values = [consumer, generation, part, epoch, owner, ...letterValues(letters)];
  const [answer] = await runner.query<ParkAnswer>(park, values);
  if (answer === undefined) throw new Error('park_entries answered nothing');
  return answer;
}
