/** Parked entries that are delivered again, as they were delivered first. */
import { fromBinary } from '@bufbuild/protobuf';
import { type LogEntry, LogEntrySchema } from '../../../../gen/tailrace/v1/log_pb.js';
import { type HeldPlace, offerLetters } from '../../../repository/consumers/index.js';
import type { Runner } from '../../../repository/database.js';

export interface Redelivery {
  readonly entry: LogEntry;
  readonly previousTries: number;
  readonly deadLetterId: string;
}

export async function redeliveries(
  runner: Runner,
  held: HeldPlace,
  limit: number,
  bytes: number,
): Promise<Redelivery[]> {
  const letters = await offerLetters(runner, held, limit, bytes);
  return letters.map(({ id, entry, tries }) => ({
    entry: fromBinary(LogEntrySchema, entry),
    previousTries: tries,
    deadLetterId: id,
  }));
}
