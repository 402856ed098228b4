/**
 * A history: what was asked of the engine, what it answered, what readers were fed, and how everything stood at the end.
 *
 * Plain data, so that it can come from the recording clients here, from a simulation or from a file. The checker
 * (check.ts) judges it without knowing where it is from.
 */
import type { EndReason, ExecutionState } from '../../../gen/tailrace/v1/execution_state_pb.js';
import type { FlowState } from '../../../gen/tailrace/v1/flow_pb.js';
import type { JoinKind, JoinState, SlotOutcome } from '../../../gen/tailrace/v1/join_pb.js';
import type { LogEntryKind } from '../../../gen/tailrace/v1/log_pb.js';

/**
 * Order numbers of one call: what was answered before another call began happened before it. Between calls that overlap
 * nothing is known.
 */
export interface Timed {
  readonly began: number;
  readonly answered: number;
}

/** The engine acknowledged that an execution exists. */
export interface Created extends Timed {
  readonly event: 'created';
  readonly execution: string;
  /** An earlier call had made it. */
  readonly duplicate: boolean;
}

/** A lease was granted, and its holder knows. */
export interface Claimed extends Timed {
  readonly event: 'claimed';
  readonly execution: string;
  readonly lease: string;
  readonly token: bigint;
  readonly attempt: number;
  /** It goes on with an attempt that was parked. */
  readonly resumed: boolean;
}

export type HolderCall = 'renew' | 'progress' | 'complete' | 'fail' | 'release' | 'delay' | 'cancel' | 'wait';

/** A holder called under its lease and was answered. */
export interface Held extends Timed {
  readonly event: 'held';
  readonly call: HolderCall;
  readonly execution: string;
  readonly lease: string;
  readonly token: bigint;
  /** `duplicate`: accepted by an earlier call with the same content. */
  readonly verdict: 'accepted' | 'duplicate' | 'refused';
}

/** Calls that may or may not have happened, because the answer was lost. */
export interface Unanswered {
  readonly event: 'unanswered';
  readonly call: string;
}

export type HistoryEvent = Created | Claimed | Held | Unanswered;

export interface FeedEntry {
  readonly position: bigint;
  readonly kind: LogEntryKind;
  /** Empty when the entry concerns none. */
  readonly execution: string;
  readonly attempt: number;
  readonly from: ExecutionState;
  readonly to: ExecutionState;
  /** The dead letter, for entries about one. */
  readonly letter: string;
  /** The flow it concerns; empty for none. */
  readonly flow: string;
  /** The join, for entries about one. */
  readonly join: string;
}

/** One message of a watch: entries, or the word that everything up to here was delivered. */
export type FeedMessage =
  | { readonly entries: readonly FeedEntry[] }
  | { readonly upTo: bigint }
  /** The watch was opened again with the cursor of the last message. */
  | { readonly resumedAfter: bigint };

export interface Feed {
  readonly reader: string;
  /** Absent: everything there is, in every namespace. Such a feed alone can show that nothing is missing. */
  readonly selects?: (entry: FeedEntry) => boolean;
  readonly messages: readonly FeedMessage[];
}

export interface FinalExecution {
  readonly execution: string;
  readonly state: ExecutionState;
  /** The dead letter that its outcome names; empty for none. */
  readonly letter: string;
  /** The run before it, for a redrive; empty otherwise. */
  readonly redriveOf: string;
  /** Why it did not succeed. */
  readonly reason: EndReason;
  readonly flow: string;
  /** Its failure does not make its flow fail. */
  readonly optional: boolean;
}

export interface FinalLetter {
  readonly letter: string;
  /** The run that was given up first. */
  readonly execution: string;
  readonly state: 'open' | 'redriving' | 'closed';
  /** Closed because a redrive succeeded, not by a person. */
  readonly redriven: boolean;
}

export interface FinalFlow {
  readonly flow: string;
  readonly state: FlowState;
  readonly sealed: boolean;
  readonly members: ReadonlyMap<ExecutionState, number>;
}

export interface FinalJoin {
  readonly join: string;
  readonly kind: JoinKind;
  /** The execution that waits. */
  readonly downstream: string;
  readonly state: JoinState;
  readonly slots: number;
  readonly filled: number;
}

export interface FinalEdge {
  readonly join: string;
  readonly upstream: string;
  readonly downstream: string;
  readonly outcome: SlotOutcome;
  readonly late: boolean;
}

export interface FinalStates {
  readonly executions: readonly FinalExecution[];
  readonly letters: readonly FinalLetter[];
  readonly flows: readonly FinalFlow[];
  readonly joins: readonly FinalJoin[];
  readonly edges: readonly FinalEdge[];
  /** Taken by retention. */
  readonly retired: readonly string[];
}

export interface History {
  readonly events: readonly HistoryEvent[];
  readonly feeds: readonly Feed[];
  readonly final: FinalStates;
}
