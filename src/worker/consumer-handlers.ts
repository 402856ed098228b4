/**
 * Handlers of entries of the log, and what a part makes of them: a group of entries is run, and whoever ran it says how
 * far it came, and which entry was at fault where that is known.
 */
import type { LogEntry } from '../../gen/tailrace/v1/log_pb.js';
import type { PartHolding } from './consumer-calls.js';
import type { WorkerLog } from './log.js';

/** What a handler is told beside the entries. Those that failed before and those that come again are handed over alone. */
export interface ConsumerContext {
  readonly consumer: string;
  /** A rebuilt read model is written beside the live one: by its generation. */
  readonly generation: bigint;
  /** Whether its generation is the one that is read from; false while it is rebuilt. */
  readonly live: boolean;
  readonly part: number;
  /** Rises with every owner of the part. Outside systems that remember the highest can refuse older ones. */
  readonly epoch: bigint;
  /** How often the entry was tried before; 0 for several. */
  readonly previousTries: number;
  /** The dead letter that it was parked under, if it is delivered again; else empty. Later entries have been handled by now. */
  readonly deadLetterId: string;
  /** Aborts with a LeaseLostError or a WorkerStoppingError as its reason. */
  readonly signal: AbortSignal;
  readonly log: WorkerLog;
}

/**
 * Handles one entry. Entries of a part come in order and one at a time; each is committed after its handler has returned, so
 * that one may come again after a crash. What it throws makes the entry come again after a backoff, up to the limit; a
 * PermanentError goes to the limit at once, a RateLimitedError waits without counting.
 */
export type EntryHandler = (entry: LogEntry, context: ConsumerContext) => unknown;

/** Handles entries in order, all of them or none: where it throws, they come again in smaller groups until one is left. */
export type EntriesHandler = (entries: readonly LogEntry[], context: ConsumerContext) => unknown;

/** Entries to be handled together, and the move of the cursor that says so. */
export interface Group {
  readonly entries: readonly LogEntry[];
  readonly holding: PartHolding;
  readonly fromCursor: string;
  readonly toCursor: string;
  readonly deadLetterIds: readonly string[];
  readonly context: ConsumerContext;
  /** Whether to stop between two entries. */
  readonly interrupted: () => boolean;
}

export type Ran =
  /** `committed`: and the cursor was moved. Fewer than all where it was interrupted. */
  | { readonly kind: 'handled'; readonly count: number; readonly committed: boolean }
  /** So many from the first are handled and not committed. `known`: the next one is at fault; else any of the group may be. */
  | { readonly kind: 'failed'; readonly handled: number; readonly known: boolean; readonly thrown: unknown }
  /** No entry is at fault, but what the handler needs is away. `bounded`: unless it happens time and again. */
  | { readonly kind: 'postponed'; readonly bounded: boolean; readonly thrown: unknown }
  /** The cursor could not be moved; nothing was done. `reason`: the engine's. */
  | { readonly kind: 'refused'; readonly reason: string; readonly thrown: unknown };

/** How entries are run: made by `inBatches()` and `inTransaction()`. */
export class EntryRunner {
  constructor(readonly run: (group: Group) => Promise<Ran>) {}
}

export type ConsumerHandler = EntryHandler | EntryRunner;

/** Hands over all entries at once that one call has brought. */
export function inBatches(handler: EntriesHandler): EntryRunner {
  return new EntryRunner(async ({ entries, context }) => {
    try {
      await handler(entries, context);
      return { kind: 'handled', count: entries.length, committed: false };
    } catch (thrown) {
      return { kind: 'failed', handled: 0, known: entries.length === 1, thrown };
    }
  });
}

export function runnerOf(handler: ConsumerHandler): EntryRunner {
  return handler instanceof EntryRunner ? handler : oneByOne(handler);
}

function oneByOne(handler: EntryHandler): EntryRunner {
  return new EntryRunner(async ({ entries, context, interrupted }) => {
    let count = 0;
    for (const entry of entries) {
      if (interrupted()) break;
      try {
        await handler(entry, context);
      } catch (thrown) {
        return { kind: 'failed', handled: count, known: true, thrown };
      }
      count++;
    }
    return { kind: 'handled', count, committed: false };
  });
}
