/** Parked entries that are to be delivered again to the owner of their part. */
import type { Runner } from '../database.js';
import { statement } from '../statement.js';

const offer = statement(
  'consumers.offer',
  'select id, entry, tries from {schema}.offer_letters($1, $2, $3, $4, $5, $6, $7) order by "position"',
);

/** A part that is held, by the number of its consumer. */
export interface HeldPlace {
  readonly consumer: number;
  readonly generation: bigint;
  readonly part: number;
  readonly epoch: bigint;
  readonly owner: string;
}

export interface OfferedLetter {
  readonly id: string;
  /** As it was delivered first. */
  readonly entry: Buffer;
  /** Failed tries of this redelivery. */
  readonly tries: number;
}

/** In the order of the log; `bytes`: of entries, at most, but one always comes. A repeat answers the same until they are closed. */
export async function offerLetters(
  runner: Runner,
  { consumer, generation, part, epoch, owner }: HeldPlace,
  limit: number,
  bytes: number,
): Promise<OfferedLetter[]> {
  return await runner.query<OfferedLetter>(offer, [consumer, generation, part, epoch, owner, limit, bytes]);
}
