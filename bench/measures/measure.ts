/** What a measure is: something that is run once per repeat and records a sample for each of its contestants. */
import type { Arena, Ground } from '../arena/arena.js';
import type { Scale } from '../scale.js';

/** One contestant's figures in one repeat, by the keys of the measure's columns. */
export type Sample = Readonly<Record<string, number>>;

export interface Column {
  readonly key: string;
  readonly title: string;
  /** Digits behind the point. Default 0. */
  readonly digits?: number;
}

export interface Context {
  readonly arena: Arena;
  readonly scale: Scale;
  record(contestant: string, sample: Sample): void;
  /** Says on standard error what is going on. */
  progress(text: string): void;
}

/** For finding out where Tailrace's time goes. */
export interface Inspect {
  /** Where the server writes its CPU profile when it ends. */
  readonly profileInto: string;
  /** Told what was measured while its database is still there, with the executions that its cost is divided by. */
  readonly onMeasured: (contestant: string, ground: Ground, count: number) => Promise<void>;
}

export interface Measure {
  /** As in the design's list of proofs. */
  readonly id: string;
  readonly title: string;
  /** How it is measured, in a sentence or two under the title. */
  readonly about: string;
  readonly columns: readonly Column[];
  /** A column shown again as a ratio to one contestant's. */
  readonly ratio?: {
    readonly column: string;
    /** Default: the first. */
    readonly to?: string;
    readonly title: string;
  };
  /** Whether the profiles other than the plain one say something new about it. */
  readonly everyProfile: boolean;
  /** Whether it takes too long to be repeated. */
  readonly once?: true;
  run(context: Context): Promise<void>;
  /** Tailrace alone, looked into. */
  readonly costs?: (context: Context, inspect: Inspect) => Promise<void>;
}
