/** A log in memory, for tests of those who read it. Counts what it is asked. */
import { Gathering } from '../../src/log/gathering.js';
import { LogRecord } from '../../src/log/record.js';
import type { KnownExecution, LogSource, Page } from '../../src/log/source.js';
import type { FlowStanding, LogEntry, LogFloorRows, LogHead } from '../../src/repository/log/index.js';

export class MemoryLog implements LogSource {
  readonly pageEntries = 8;
  readonly entries: LogEntry[] = [];
  pagesRead = 0;
  /** Up to here it is gone. */
  floor = 0n;
  /** Of namespaces whose log is gone further. */
  readonly floorsOf = new Map<number, bigint>();
  floorReads = 0;
  flowReads = 0;
  readonly standing = new Map<string, Pick<FlowStanding, 'state' | 'settledAt'>>();
  /** What reading does instead of reading. */
  failure: Error | undefined;
  #gate: Promise<void> = Promise.resolve();

  append(count = 1, entry: Partial<LogEntry> = {}): bigint {
    for (let i = 0; i < count; i++) {
      const position = BigInt(this.entries.length + 1);
      this.entries.push({ ...BLANK, seq: position, ...entry, position });
    }
    return BigInt(this.entries.length);
  }

  /** Holds every read back until the returned function is called. */
  hold(): () => void {
    let open: () => void = () => undefined;
    this.#gate = new Promise((resolve) => {
      open = resolve;
    });
    return open;
  }

  async head(): Promise<LogHead> {
    const head = BigInt(this.entries.length);
    return { incarnation: INCARNATION, floor: this.floor, head, unnumbered: false, now: new Date(0) };
  }

  async floors(): Promise<LogFloorRows> {
    this.floorReads++;
    return { floor: this.floor, namespaces: new Map(this.floorsOf) };
  }

  async page(from: bigint): Promise<Page | undefined> {
    this.pagesRead++;
    const begin = Math.max(Number(from), Number(this.floor) + 1) - 1;
    let end = Number(from) - 1 + this.pageEntries;
    // A transaction comes whole.
    while (this.entries[end] && this.entries[end]?.seq === this.entries[end - 1]?.seq) end++;
    const entries = this.entries.slice(begin, end);
    await this.#gate;
    if (this.failure) throw this.failure;
    const [first, ...rest] = entries.map((entry) => new LogRecord(entry, 'default', 'lane', 'type'));
    return first && [first, ...rest];
  }

  async detail(): Promise<void> {}

  async positions(seqs: readonly bigint[]): Promise<ReadonlyMap<bigint, bigint>> {
    return new Map(seqs.map((seq) => [seq, seq]));
  }

  async states(): Promise<ReadonlyMap<string, number>> {
    return new Map();
  }

  readonly #flows = new Gathering(async (ids) => {
    this.flowReads++;
    const found = [...ids].flatMap((id) => {
      const standing = this.standing.get(id);
      return standing ? [[id, this.#stand(id, standing)] as const] : [];
    });
    await this.#gate;
    if (this.failure) throw this.failure;
    return new Map(found);
  });

  async flows(ids: readonly string[]): Promise<ReadonlyMap<string, FlowStanding>> {
    return await this.#flows.ask(ids);
  }

  #stand(id: string, standing: Pick<FlowStanding, 'state' | 'settledAt'>): FlowStanding {
    const of = this.entries.findLast(({ flow }) => flow === id);
    const head = BigInt(this.entries.length);
    return { id, namespace: 1, incarnation: INCARNATION, head, lastPosition: of?.position ?? 0n, ...standing };
  }

  async executions(): Promise<ReadonlyMap<string, KnownExecution>> {
    return new Map();
  }
}

export const INCARNATION = '0190a5b4-9c1e-4d2a-8f00-1234567890ab';

const BLANK: LogEntry = {
  position: 0n,
  seq: 0n,
  at: new Date(0),
  namespace: 1,
  kind: 1,
  execution: null,
  flow: null,
  class: null,
  from: null,
  to: null,
  attempt: null,
  body: null,
};
