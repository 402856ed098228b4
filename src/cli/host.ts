/** What this machine does without a server: main gives it to the command line, which knows no database. */

/** One rule and what was found against it. */
export interface VerifiedRule {
  readonly name: string;
  readonly rule: string;
  readonly violations: readonly string[];
  readonly more: boolean;
}

/** What doctor looked at: the machine, the settings, the database. */
export interface Finding {
  readonly name: string;
  readonly state: 'ok' | 'warning' | 'problem';
  /** What is so. */
  readonly message: string;
  /** What comes of it. */
  readonly hurts?: string;
  /** What to do about it. */
  readonly mend?: string;
}

/** What doctor tells. */
export interface Diagnosis {
  /** Undefined: it could not be looked at. */
  readonly schema:
    | {
        readonly name: string;
        /** Number of the last migration the database has, and of the last one that this build knows. */
        readonly version: number;
        readonly known: number;
      }
    | undefined;
  readonly pending: readonly {
    readonly name: string;
    readonly locks: string;
    /** Whether servers that do not know it may go on beside it. */
    readonly olderServers: boolean;
  }[];
  /** Connections of servers to the database, by what they call themselves. */
  readonly servers: readonly { readonly name: string; readonly address: string; readonly connections: number }[];
  readonly findings: readonly Finding[];
  /** With `thorough`. */
  readonly rules?: readonly VerifiedRule[];
}

export interface Setting {
  readonly name: string;
  readonly about: string;
}

export interface Host {
  readonly version: string;
  /** Every setting of a server. */
  settings(): Promise<readonly Setting[]>;
  /** Until it is told to stop; says where it serves. */
  serve(say: (text: string) => void): Promise<void>;
  /** Names of the migrations that were applied. */
  migrate(): Promise<readonly string[]>;
  verify(): Promise<readonly VerifiedRule[]>;
  /** The secret of the first admin token; undefined if there is one already, unless `always`. */
  bootstrap(always: boolean): Promise<string | undefined>;
  /** Gives a restored log an incarnation of its own; answers it, and the position up to which older cursors are good. */
  restored(): Promise<{ readonly incarnation: string; readonly head: bigint }>;
  /** `thorough`: checks every rule as well. */
  doctor(thorough: boolean): Promise<Diagnosis>;
}
