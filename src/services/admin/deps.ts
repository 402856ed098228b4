/** What the desk's calls need of their process. */
import type { AfterCommit } from '../../dispatch/after-commit.js';
import type { Registry } from '../../dispatch/registry.js';
import type { LogSource } from '../../log/source.js';
import type { Database } from '../../repository/database.js';
import type { SealedTokens } from '../tokens/index.js';

export interface AdminServiceDeps {
  readonly database: Database;
  readonly registry: Registry;
  readonly after: AfterCommit;
  readonly source: LogSource;
  readonly tokens: SealedTokens;
  readonly server: ServerFacts;
  /** Largest input or result. */
  readonly maxPayloadBytes: number;
}

/** What the process says of itself. */
export interface ServerFacts {
  readonly version: string;
  /** Random per process. */
  readonly instance: string;
  readonly startedAt: Date;
  readonly embeddedDatabase: boolean;
  readonly draining: () => boolean;
  /** About settings that will hurt, for people. */
  readonly warnings: readonly string[];
}
