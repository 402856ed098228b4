/** What the desk's calls need of their process. */
import type { AfterCommit } from '../../dispatch/after-commit.js';
import type { ConsumerWakes } from '../../dispatch/consumer-wakes.js';
import type { Registry } from '../../dispatch/registry.js';
import type { LogPages } from '../../log/pages.js';
import type { LogSource } from '../../log/source.js';
import type { Database } from '../../repository/database.js';
import type { RetentionResult } from '../../repository/retention/index.js';
import type { NamespaceDefaults } from '../conversion/namespace.js';
import type { SealedTokens } from '../tokens/index.js';

export interface AdminServiceDeps {
  readonly database: Database;
  readonly registry: Registry;
  readonly after: AfterCommit;
  readonly consumerWakes: ConsumerWakes;
  readonly source: LogSource;
  /** What consumers read the log through. */
  readonly pages: LogPages;
  readonly tokens: SealedTokens;
  readonly server: ServerFacts;
  /** Largest input or result. */
  readonly maxPayloadBytes: number;
  /** What holds where a namespace says nothing else. */
  readonly namespaces: NamespaceDefaults;
  readonly retention: RetentionDesk;
  /** The shortest that a namespace may ask to be kept. */
  readonly leastRetentionMs: number;
}

/** Retention on demand, of one namespace or of all. */
export interface RetentionDesk {
  runNow(namespace: number | undefined, mostMs: number, signal: AbortSignal): Promise<RetentionResult>;
  /** What that would do. */
  foresee(namespace: number | undefined): Promise<RetentionResult>;
}

/** What the process says of itself. */
export interface ServerFacts {
  readonly version: string;
  /** Random per process. */
  readonly instance: string;
  readonly startedAt: Date;
  readonly embeddedDatabase: boolean;
  readonly draining: () => boolean;
  /** What the port lets through; 0 calls a second: any number. Absent: nothing is said of it. */
  readonly traffic?: {
    readonly messageBytes: number;
    readonly perSecond: number;
    readonly perConnection: number;
    readonly waitingPerCaller: number;
  };
  /** About settings that will hurt, for people. */
  readonly warnings: readonly string[];
}
