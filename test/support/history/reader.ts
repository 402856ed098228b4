/**
 * A watch that goes on: follows the log or the completions from a start, is cut and resumes with its last cursor, and
 * remembers all it was fed as a feed of the history.
 */
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { Client } from '@connectrpc/connect';
import { ConnectError } from '@connectrpc/connect';
import type { CompletionService } from '../../../gen/tailrace/v1/completion_service_pb.js';
import {
  type CompletionEntry,
  type CompletionFilterSchema,
  type LogEntry,
  LogEntryKind,
  type LogFilterSchema,
  StartPosition,
} from '../../../gen/tailrace/v1/log_pb.js';
import { decodeCursor } from '../../../src/domain/cursor.js';
import { monotonicMs, pause } from '../../../src/runtime/clock.js';
import type { Feed, FeedEntry, FeedMessage } from './history.js';

type Completion = Client<typeof CompletionService>;

export interface ReaderOptions {
  readonly name: string;
  /** Where to watch; asked anew for each resume, since the server may be another one by then. */
  readonly completion: () => Completion;
  /** Default `*`, every namespace. */
  readonly namespace?: string;
  /** Default EARLIEST. */
  readonly start?: StartPosition;
  readonly filter?: MessageInitShape<typeof LogFilterSchema>;
  /** What `filter` selects, for the checker. Absent: everything. */
  readonly selects?: (entry: FeedEntry) => boolean;
  /** Given: watches completions with this filter, not the log. */
  readonly completions?: MessageInitShape<typeof CompletionFilterSchema>;
}

const RESUME_MS = 50;
const { JOIN_SATISFIED, JOIN_IMPOSSIBLE, JOIN_EXPIRED } = LogEntryKind;
const JOIN_KINDS: ReadonlySet<LogEntryKind> = new Set([JOIN_SATISFIED, JOIN_IMPOSSIBLE, JOIN_EXPIRED]);

export class RecordedReader {
  readonly #options: ReaderOptions;
  readonly #messages: FeedMessage[] = [];
  /** Everybody who waits for more. */
  readonly #waiting = new Set<() => void>();
  readonly #running: Promise<void>;
  #watch = new AbortController();
  #stopped = false;
  #cursor = '';
  /** Errors that ended watches, oldest first. */
  readonly ends: ConnectError[] = [];
  /** What a watch of the log delivered, as it came. */
  readonly entries: LogEntry[] = [];
  /** What a watch of completions delivered. */
  readonly completed: CompletionEntry[] = [];

  constructor(options: ReaderOptions) {
    this.#options = options;
    this.#running = this.#run();
  }

  get feed(): Feed {
    const { name, selects } = this.#options;
    return { reader: name, messages: this.#messages, ...(selects && { selects }) };
  }

  /** The highest position delivered or passed over. */
  get position(): bigint {
    return this.#cursor === '' ? -1n : positionOf(this.#cursor);
  }

  /** Waits until the watch is in place: everything committed from now on will be delivered. */
  async placed(): Promise<this> {
    await this.until(() => this.#cursor !== '');
    return this;
  }

  /** Waits for what was delivered so far to fulfil the predicate. */
  async until(predicate: (reader: this) => boolean, boundMs = 20_000): Promise<void> {
    const end = monotonicMs() + boundMs;
    while (!predicate(this)) {
      const left = end - monotonicMs();
      if (left <= 0) {
        const { name } = this.#options;
        throw new Error(
          `${name}: not seen within ${boundMs} ms; ${this.#messages.length} messages, ends: ${this.ends}`,
        );
      }
      await this.#change(left);
    }
  }

  /** Waits for an entry of the log; the first that fits, whenever it came. */
  async entry(fits: (entry: LogEntry) => boolean, boundMs?: number): Promise<LogEntry> {
    let found: LogEntry | undefined;
    await this.until(() => {
      found = this.entries.find(fits);
      return found !== undefined;
    }, boundMs);
    if (found === undefined) throw new Error('an entry that was seen is gone');
    return found;
  }

  /** Cuts the watch; it goes on from its cursor. */
  cut(): void {
    this.#watch.abort();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#watch.abort();
    await this.#running;
  }

  async #change(boundMs: number): Promise<void> {
    const told = new AbortController();
    const tell = () => told.abort();
    this.#waiting.add(tell);
    await pause(boundMs, told.signal);
    this.#waiting.delete(tell);
  }

  #tell(): void {
    for (const tell of this.#waiting) tell();
  }

  async #run(): Promise<void> {
    while (!this.#stopped) {
      this.#watch = new AbortController();
      try {
        if (this.#cursor !== '') this.#messages.push({ resumedAfter: this.position });
        for await (const message of this.#open(this.#watch.signal)) this.#take(message);
      } catch (error) {
        if (!this.#watch.signal.aborted) {
          this.ends.push(ConnectError.from(error));
          await pause(RESUME_MS, this.#watch.signal);
        }
      }
      this.#tell();
    }
  }

  #open(signal: AbortSignal): AsyncIterable<Delivered> {
    const { namespace = '*', start = StartPosition.EARLIEST, filter, completions } = this.#options;
    const begin = this.#cursor === '' ? { start } : { cursor: this.#cursor };
    const service = this.#options.completion();
    if (completions) return service.watchCompletions({ namespace, filter: completions, ...begin }, { signal });
    return service.watchLog({ namespace, ...(filter && { filter }), ...begin }, { signal });
  }

  #take({ entries, heartbeat }: Delivered): void {
    for (const entry of entries) {
      if ('kind' in entry) this.entries.push(entry);
      else this.completed.push(entry);
    }
    this.#cursor = entries.at(-1)?.cursor ?? heartbeat?.cursor ?? this.#cursor;
    this.#messages.push(entries.length > 0 ? { entries: entries.map(toFeedEntry) } : { upTo: this.position });
    this.#tell();
  }
}

interface Delivered {
  readonly entries: readonly (LogEntry | CompletionEntry)[];
  readonly heartbeat?: { readonly cursor: string } | undefined;
}

function toFeedEntry(entry: LogEntry | CompletionEntry): FeedEntry {
  const { executionId: execution } = entry;
  const position = positionOf(entry.cursor);
  if ('kind' in entry) {
    const { kind, namespace, attemptNumber: attempt, fromState: from, toState: to, subject, flowId: flow } = entry;
    const told = { position, namespace, kind, execution, attempt, from, to, letter: '', flow, join: '' };
    if (kind === LogEntryKind.EVENT_PUBLISHED) return { ...told, published: subject };
    return JOIN_KINDS.has(kind) ? { ...told, join: subject } : { ...told, letter: subject };
  }
  const to = entry.outcome?.state ?? 0;
  const attempt = entry.outcome?.attemptNumber ?? 0;
  return { position, kind: to - 1, execution, attempt, from: 0, to, letter: '', flow: entry.flowId, join: '' };
}

export function positionOf(cursor: string): bigint {
  return decodeCursor(cursor).positions[0]?.position ?? -1n;
}
