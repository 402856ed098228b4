/** What a consumer can be told, with units, ranges and defaults; checked whole, and completed. */
import { OptionRules } from '../client/option-rules.js';

export interface ConsumerOptions {
  /**
   * How many parts this process works on at once, at most its fair share among all that are there. 1 to 256, default 256.
   * Each has one handler running.
   */
  readonly maxParts?: number;
  /** Entries fetched at once, and committed together. 1 to 5,000, default 500. */
  readonly maxEntries?: number;
  /**
   * How soon a dead process's parts are taken over. Milliseconds, 1,000 to 3,600,000, default 30,000; renewed at a third
   * while handlers run.
   */
  readonly leaseDurationMs?: number;
  /** How long a call waits at the server while there is nothing. Milliseconds, 0 to 60,000, default 60,000; less than the lease. */
  readonly waitMs?: number;
  /** True: a generation that is rebuilt is worked on beside the live one. Default false: others do that. */
  readonly rebuilds?: boolean;
  /**
   * Called before the first entries of a generation are handled, and again before the first ones as the live one, by every
   * process: makes its tables, and lets readers read from it once it is live. Called again until it succeeds.
   */
  readonly onGeneration?: (generation: StartedGeneration) => unknown;
}

export interface StartedGeneration {
  /** From 1. */
  readonly generation: bigint;
  /** False while it is rebuilt. */
  readonly live: boolean;
}

export type CompleteConsumerOptions = Required<ConsumerOptions>;

/** A wait at the server ends well within the lease, which it does not renew. */
const WAITED_SHARE = 0.6;

/** Throws an InvalidOptionsError with everything that is wrong. */
export function completeConsumerOptions(consumer: string, given: ConsumerOptions): CompleteConsumerOptions {
  const options = {
    maxParts: given.maxParts ?? 256,
    maxEntries: given.maxEntries ?? 500,
    leaseDurationMs: given.leaseDurationMs ?? 30_000,
    waitMs: given.waitMs ?? 60_000,
    rebuilds: given.rebuilds ?? false,
    onGeneration: given.onGeneration ?? (() => undefined),
  };
  const rules = new OptionRules();
  rules.name('the name', consumer, 200);
  rules.whole('maxParts', options.maxParts, 1, 256);
  rules.whole('maxEntries', options.maxEntries, 1, 5_000);
  rules.whole('leaseDurationMs', options.leaseDurationMs, 1_000, 3_600_000);
  rules.whole('waitMs', options.waitMs, 0, 60_000);
  rules.check(`consumer ${consumer}`);
  return options;
}

/**
 * How long a member may wait for parts. It counts as one for as long as it said, dead or alive, and its share is kept for it:
 * no longer than a lease.
 */
export function acquireWaitMs({ waitMs, leaseDurationMs }: CompleteConsumerOptions): number {
  return Math.min(waitMs, leaseDurationMs);
}

/** How long a fetch may wait under a lease of this length. */
export function fetchWaitMs({ waitMs, leaseDurationMs }: CompleteConsumerOptions): number {
  return Math.floor(Math.min(waitMs, leaseDurationMs * WAITED_SHARE));
}
