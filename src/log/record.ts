/** An entry with what readers want to know beside it. One object per entry, shared by all watchers of the process. */
import { isTerminal } from '../domain/states.js';
import type { LogEntry } from '../repository/log/index.js';
import type { KnownExecution } from './source.js';

const FIXED_BYTES = 256;

export class LogRecord {
  /** The execution's tags, times and outcome; undefined until somebody wanted them, or when retention took them. */
  detail: KnownExecution | undefined;

  constructor(
    readonly entry: LogEntry,
    readonly namespace: string,
    /** Empty where the entry concerns no lane or type. */
    readonly lane: string,
    readonly type: string,
  ) {}

  /** The end of an execution. */
  get terminal(): boolean {
    return this.entry.to !== null && isTerminal(this.entry.to);
  }

  /** What it takes in a buffer, about. */
  get bytes(): number {
    const { detail, entry } = this;
    return FIXED_BYTES + (entry.body?.length ?? 0) + (detail?.outcome?.result?.length ?? 0);
  }
}
