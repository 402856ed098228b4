/** The part of a history that is about consumers: what their members were given, and where they moved their cursors. */
import type { LogEntryKind } from '../../../gen/tailrace/v1/log_pb.js';
import type { Timed } from './history.js';

/** Of a part, and who calls for it. */
export interface OfPart {
  /** Namespace and name. */
  readonly consumer: string;
  readonly generation: bigint;
  readonly part: number;
  readonly epoch: bigint;
  readonly owner: string;
}

/** Entries were fetched. */
export interface EntriesDelivered extends Timed, OfPart {
  readonly event: 'delivered';
  readonly from: bigint;
  readonly to: bigint;
  /** `letter`: of one that is delivered again; empty for others. */
  readonly entries: readonly { readonly position: bigint; readonly letter: string }[];
}

export interface EntriesCommitted extends Timed, OfPart {
  readonly event: 'committed';
  readonly from: bigint;
  readonly to: bigint;
  readonly letters: readonly string[];
  readonly verdict: 'accepted' | 'duplicate' | 'unanswered';
}

/** An entry was said to have failed. */
export interface EntryFailed extends Timed, OfPart {
  readonly event: 'entry failed';
  readonly position: bigint;
  readonly letter: string;
  /** It became a dead letter, and the cursor moved behind it. */
  readonly parked: boolean;
  readonly verdict: 'accepted' | 'unanswered';
}

/** The cursors of a consumer were moved by an operator, or may have been. */
export interface ConsumerReset extends Timed {
  readonly event: 'consumer reset';
  readonly consumer: string;
}

export interface FinalConsumer {
  readonly consumer: string;
  /** The live one. */
  readonly generation: bigint;
  /** Up to here every part is done with what it had to handle. */
  readonly position: bigint;
  /** It began with the oldest entry. */
  readonly fromStart: boolean;
  /** What it selects; absent if by more than these. */
  readonly selects?: { readonly kinds: readonly LogEntryKind[]; readonly eventTypes: readonly string[] };
}

/** An entry that was parked. */
export interface FinalEntryLetter {
  readonly letter: string;
  readonly consumer: string;
  readonly generation: bigint;
  readonly position: bigint;
  readonly state: 'open' | 'redriving' | 'closed';
}
