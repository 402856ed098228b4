/**
 * Up to where the log is gone, for everybody and per namespace, as readers that are behind its end ask again and again: one
 * statement a second answers all of the process, and none is sent while nobody asks. A reader may therefore see for a second
 * longer what has just gone out of sight.
 */
import { ALL_NAMESPACES } from '../domain/cursor.js';
import { EngineError } from '../domain/errors.js';
import type { LogFloorRows } from '../repository/log/index.js';
import { monotonicMs } from '../runtime/clock.js';

const FRESH_MS = 1_000;

export class LogFloors {
  readonly #read: () => Promise<LogFloorRows>;
  #last: LogFloorRows = { floor: 0n, namespaces: new Map() };
  #readAt = Number.NEGATIVE_INFINITY;
  #reading: Promise<void> | undefined;

  constructor(read: () => Promise<LogFloorRows>) {
    this.#read = read;
  }

  /** Entries up to here are not shown to readers of this namespace; of all of them, where nobody sees them. */
  async of(namespace: number, freshMs = FRESH_MS): Promise<bigint> {
    if (monotonicMs() - this.#readAt > freshMs) await this.#refresh();
    return this.#of(namespace);
  }

  /** By an answer that began after the call. */
  async now(namespace: number): Promise<bigint> {
    await this.#reading?.catch(() => undefined);
    return await this.of(namespace, -1);
  }

  /** Whether an entry lies below the floor of its namespace, as far as is known. */
  hides({ namespace, position }: { readonly namespace: number; readonly position: bigint }): boolean {
    return position <= this.#of(namespace);
  }

  #of(namespace: number): bigint {
    const { floor, namespaces } = this.#last;
    return namespace === ALL_NAMESPACES ? floor : (namespaces.get(namespace) ?? floor);
  }

  async #refresh(): Promise<void> {
    this.#reading ??= this.#look().finally(() => {
      this.#reading = undefined;
    });
    await this.#reading;
  }

  async #look(): Promise<void> {
    const begunMs = monotonicMs();
    this.#last = await this.#read();
    this.#readAt = begunMs;
  }
}

/** What a reader is told whose next entry is gone. `position`: up to where the log is. */
export function prunedAt(position: bigint): EngineError {
  return new EngineError('CURSOR_PRUNED', 'entries after this place are gone', {
    metadata: { position: `${position}` },
  });
}

/** The position that such an error names. */
export function prunedPosition(error: unknown): bigint | undefined {
  if (!(error instanceof EngineError) || error.reason !== 'CURSOR_PRUNED') return undefined;
  const { position } = error.metadata;
  return position === undefined ? undefined : BigInt(position);
}
