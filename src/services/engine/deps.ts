/** What the engine's calls need of their process. */
import type { AfterCommit } from '../../dispatch/after-commit.js';
import type { Lines } from '../../dispatch/lines.js';
import type { Registry } from '../../dispatch/registry.js';
import type { WorkerPresence } from '../../dispatch/worker-presence.js';
import type { LiveLog } from '../../log/live-log.js';
import type { Database } from '../../repository/database.js';
import type { FrameLimits } from '../../repository/frames/index.js';
import type { SignalLimits } from './suspensions/limits.js';
import type { WaitpointTokens } from './suspensions/tokens-port.js';
import type { Writers } from './writers.js';

export interface FlowLimits {
  /** Of one flow. */
  readonly members: number;
  /** That one join waits for. */
  readonly slots: number;
  /** Edges on one path. */
  readonly depth: number;
  /** Added by one call. */
  readonly edges: number;
}

export interface EngineServiceDeps {
  readonly database: Database;
  readonly registry: Registry;
  readonly lines: Lines;
  readonly log: LiveLog;
  readonly after: AfterCommit;
  readonly writers: Writers;
  readonly presence: WorkerPresence;
  readonly tokens: WaitpointTokens;
  /** Largest input or result. */
  readonly maxPayloadBytes: number;
  readonly flowLimits: FlowLimits;
  readonly frameLimits: FrameLimits & {
    /** Largest payload of a frame. */
    readonly frameBytes: number;
  };
  readonly signalLimits: SignalLimits;
}
