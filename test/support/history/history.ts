/**
 * A history: what was asked of the engine, what it answered, what readers were fed, and how everything stood at the end.
 *
 * Plain data, so that it can come from the recording clients here, from a simulation or from a file. The checker
 * (check.ts) judges it without knowing where it is from.
 */
import type { EndReason, ExecutionState } from '../../../gen/tailrace/v1/execution_state_pb.js';
import type { FlowState } from '../../../gen/tailrace/v1/flow_pb.js';
import type { FrameMode } from '../../../gen/tailrace/v1/frame_pb.js';
import type { JoinKind, JoinState, SlotOutcome } from '../../../gen/tailrace/v1/join_pb.js';
import type { LogEntryKind } from '../../../gen/tailrace/v1/log_pb.js';
import type { SignalEffect } from '../../../gen/tailrace/v1/signal_pb.js';
import type {
  ConsumerReset,
  EntriesCommitted,
  EntriesDelivered,
  EntryFailed,
  FinalConsumer,
  FinalEntryLetter,
} from './consumer-history.js';
import type {
  Emitted,
  FinalEvent,
  FinalEventLetter,
  FinalSubscription,
  Ordering,
  Published,
  Reaction,
  Subscribed,
} from './event-history.js';

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

/** Those that end an attempt or park it, and those that only say something under its lease. */
export type HolderCall =
  | ('complete' | 'fail' | 'release' | 'delay' | 'cancel' | 'wait' | 'suspend')
  | ('renew' | 'progress' | 'waitpoint' | 'frames' | 'usage');

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

/** Limits were set, of a lane or, where none is named, of a namespace. */
export interface Limited extends Timed {
  readonly event: 'limited';
  /** False where the answer was lost: they may hold, from then on or from later on. */
  readonly certain: boolean;
  readonly namespace: string;
  readonly lane: string;
  /** How many may run at once; infinite for any number, 0 where this call says nothing of it. */
  readonly running: number;
  /** The same by concurrency key, and of every other key; absent where this call says nothing of keys. */
  readonly keys?: { readonly named: ReadonlyMap<string, number>; readonly others: number };
}

/** A signal was sent; `effect` as it was answered. */
export interface Signaled extends Timed {
  readonly event: 'signaled';
  /** Empty when it was ignored. */
  readonly signal: string;
  readonly effect: SignalEffect;
}

/** Somebody was told which signals satisfied a suspension: the first so many, or all. */
export interface Matched extends Timed {
  readonly event: 'matched';
  readonly execution: string;
  readonly attempt: number;
  /** How often the attempt had been parked. */
  readonly suspension: number;
  readonly signals: readonly string[];
}

/** Use was reported, or given back. */
export interface Used extends Timed {
  readonly event: 'used';
  readonly execution: string;
  /** By dimension; what was given back is negative, as much as was. */
  readonly usage: ReadonlyMap<string, bigint>;
  /** Keys of reports and keys of what is given back are not the same, also where there was nothing to give back. */
  readonly givenBack: boolean;
  readonly key: string;
  readonly verdict: Held['verdict'] | 'unanswered';
}

/** How a budget stood when it was put, reset or read; or what was asked for where the answer was lost. */
export interface Budgeted extends Timed {
  readonly event: 'budgeted';
  readonly how: 'put' | 'reset' | 'read' | 'unanswered';
  readonly namespace: string;
  readonly budget: string;
  readonly hard: ReadonlyMap<string, bigint>;
  readonly used: ReadonlyMap<string, bigint>;
  /** Such as `lane mail`; `namespace` for all of it. */
  readonly attachments: readonly string[];
  /** Starts anew by itself. */
  readonly windowed: boolean;
}

export interface WrittenFrame {
  readonly mode: FrameMode;
  /** Type and content, byte for byte. */
  readonly content: string;
}

/** Output was appended. */
export interface Appended extends Timed {
  readonly event: 'appended';
  readonly execution: string;
  readonly attempt: number;
  readonly frames: readonly WrittenFrame[];
  readonly verdict: Held['verdict'] | 'unanswered';
  /**
   * Durable frames of the attempt before these, and patches of its summary; absent where that is not known, and for a
   * repeat where the first call says it.
   */
  readonly durableBefore?: number;
  readonly patchesBefore?: number;
  /** Where its first durable frames were there already, not all of its patches were written, and their place is another. */
  readonly mayGoOn?: boolean;
}

export type HistoryEvent =
  | (Created | Claimed | Held | Unanswered)
  | (Limited | Signaled | Matched | Used | Budgeted | Appended)
  | (Published | Emitted | Subscribed)
  | (EntriesDelivered | EntriesCommitted | EntryFailed | ConsumerReset);

export interface FeedEntry {
  readonly position: bigint;
  /** Absent where the reader was not told. */
  readonly namespace?: string;
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
  /** The event, for entries about one. */
  readonly published?: string;
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

export interface TailedFrame extends WrittenFrame {
  /** Durable ones; 0 for others. */
  readonly number: number;
  /** Of the summary after it; 0 for others. */
  readonly version: number;
  /** It is the whole document, and no patch. */
  readonly whole: boolean;
}

/** What one reader was told of an attempt's output, over all its resumes, from the beginning. */
export interface Tail {
  readonly reader: string;
  readonly execution: string;
  readonly attempt: number;
  readonly frames: readonly TailedFrame[];
  /** It was told that there will be no more. */
  readonly closed: boolean;
}

export interface FinalExecution {
  readonly execution: string;
  readonly namespace: string;
  readonly lane: string;
  /** Concurrency key; empty for none. */
  readonly key: string;
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
  /** Absent: it does not react to an event. */
  readonly reaction?: Reaction;
  /** The dead letter that it handles; absent for none. */
  readonly handles?: string;
  /** Length of the chain of events behind it. */
  readonly hops?: number;
  /** Absent: it has no ordering key. */
  readonly ordering?: Ordering;
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
  /** One required failure cancels the rest; from then on nothing is started in it, if it is not redriven. */
  readonly cancels?: boolean;
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
  /** Of a batch of events: whose it is, and of which batch. */
  readonly subscription?: string;
  readonly batch?: string;
}

export interface FinalEdge {
  readonly join: string;
  readonly upstream: string;
  readonly downstream: string;
  readonly outcome: SlotOutcome;
  readonly late: boolean;
}

export interface FinalBudget {
  readonly namespace: string;
  readonly budget: string;
  readonly used: ReadonlyMap<string, bigint>;
}

export interface FinalStates {
  readonly executions: readonly FinalExecution[];
  readonly letters: readonly FinalLetter[];
  readonly flows: readonly FinalFlow[];
  readonly joins: readonly FinalJoin[];
  readonly edges: readonly FinalEdge[];
  readonly budgets: readonly FinalBudget[];
  readonly events: readonly FinalEvent[];
  readonly eventLetters: readonly FinalEventLetter[];
  readonly subscriptions: readonly FinalSubscription[];
  readonly consumers: readonly FinalConsumer[];
  readonly entryLetters: readonly FinalEntryLetter[];
  /** Taken by retention. */
  readonly retired: readonly string[];
}

export interface History {
  readonly events: readonly HistoryEvent[];
  readonly feeds: readonly Feed[];
  readonly tails: readonly Tail[];
  readonly final: FinalStates;
}
