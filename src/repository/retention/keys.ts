/**
 * What is remembered by keys: request ids, and ids that publishers gave to events. Each is walked through block by block, in
 * batches that nobody feels, and from the beginning again a while after the end.
 */
import type { Runner } from '../database.js';
import { statement } from '../statement.js';

const sweep = (subject: string) =>
  statement(
    `retention.${subject.replaceAll('_', '-')}`,
    `select gone, done from {schema}.sweep_${subject}($1::bigint, $2::int, $3::bigint)`,
  );

const sweeps = {
  requests: sweep('request_keys'),
  flowRequests: sweep('flow_requests'),
  eventIds: sweep('event_keys'),
} as const;

export type KeySubject = keyof typeof sweeps;
export const KEY_SUBJECTS = ['requests', 'flowRequests', 'eventIds'] as const satisfies readonly KeySubject[];

export interface KeySweep {
  /** How long keys are remembered, where nothing else says so. */
  readonly keepMs: number;
  /** Blocks of the table per call. */
  readonly blocks: number;
  /** From the end of one walk to the beginning of the next. */
  readonly pauseMs: number;
}

export interface KeysSwept {
  readonly gone: number;
  /** Nothing is left to be looked at for now. */
  readonly done: boolean;
}

/** Forgets what is over in the next stretch. Another process at the same is not waited for. */
export async function sweepKeys(
  runner: Runner,
  subject: KeySubject,
  { keepMs, blocks, pauseMs }: KeySweep,
): Promise<KeysSwept> {
  const [row] = await runner.query<KeysSwept>(sweeps[subject], [keepMs, blocks, pauseMs]);
  return row ?? { gone: 0, done: true };
}
