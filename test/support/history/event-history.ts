/** The part of a history that is about events, subscriptions and what they start. */
import type { SubscriptionSpec } from '../../../gen/tailrace/v1/subscription_pb.js';
import type { Timed } from './history.js';

/** Somebody asked for an event to be published, in a call of its own. */
export interface Published extends Timed {
  readonly event: 'published';
  readonly namespace: string;
  /** Id; of one that was not accepted as its publisher named it, which may be not at all. */
  readonly id: string;
  readonly verdict: 'accepted' | 'duplicate' | 'refused' | 'unanswered';
  /** Its place in the log, and in its stream, as answered. */
  readonly position?: bigint;
  readonly version?: number;
}

/** Events came with an accepted completion. */
export interface Emitted extends Timed {
  readonly event: 'emitted';
  readonly execution: string;
  readonly ids: readonly string[];
}

/** A subscription was put or deleted, or may have been. */
export interface Subscribed extends Timed {
  readonly event: 'subscribed';
  readonly namespace: string;
  readonly name: string;
  /** Absent: it was deleted. */
  readonly spec?: SubscriptionSpec;
  /** False: the answer was lost. */
  readonly certain: boolean;
}

export interface FinalEvent {
  readonly id: string;
  readonly namespace: string;
  readonly type: string;
  /** Empty for none. */
  readonly stream: string;
  readonly version: number;
  readonly flow: string;
  /** The event that caused it, and the execution that emitted it; empty for none. */
  readonly cause: string;
  readonly emitter: string;
  readonly hops: number;
  readonly batch?: { readonly id: string; readonly index: number; readonly size: number };
  readonly tags: Readonly<Record<string, string>>;
  readonly headers: Readonly<Record<string, string>>;
  /** Its payload as text, if it is one and was not left out. */
  readonly text: string;
  readonly contentType: string;
  readonly position: bigint;
}

/** An event that was not routed. */
export interface FinalEventLetter {
  readonly letter: string;
  readonly namespace: string;
  readonly event: string;
  readonly state: 'open' | 'redriving' | 'closed';
}

export interface FinalSubscription {
  readonly namespace: string;
  readonly name: string;
  readonly halted: boolean;
  /** Events wait for it, or it goes through the past yet: not all that it will start is there. */
  readonly behind: boolean;
}

/** Why there is an execution. */
export interface Reaction {
  readonly subscription: string;
  /** The event it reacts to. */
  readonly event: string;
}

/** In which line an execution stood. */
export interface Ordering {
  readonly key: string;
  /** A dead one stops those behind it. */
  readonly blocks: boolean;
}
