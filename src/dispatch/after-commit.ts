/**
 * What this process does after a commit of its own, so that nobody has to wait for the pulse: waiting claims look again,
 * sweepers know when something is due, the sequencer numbers what was logged. All hints; losing them costs latency only.
 */
import type { SweepSubject } from '../repository/sweeping/index.js';

export interface AfterCommit {
  /** So many executions of this class became claimable. */
  queued(classId: number, count: number): void;
  /** Something is due in so many milliseconds. */
  due(subject: SweepSubject, ms: number): void;
  /** The log has grown, and so many rows of hot tables have moved. */
  committed(rows: number): void;
}
