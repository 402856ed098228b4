/**
 * One line per call: who was called, by whom, about what, and how it ended; never what was said. At debug level, but for what
 * is the server's own trouble: that is told to everybody, each reason at most once a second with the number of those that were
 * like it. Defects are logged where they are found (services/errors.ts), under the same request id.
 */
import type { Logger } from 'pino';
import type { Reason } from '../domain/errors.js';
import { monotonicMs } from '../runtime/clock.js';
import { ANONYMOUS, callerOf } from '../services/caller.js';
import type { Call } from './call.js';
import { subjectOf } from './call-subject.js';

/** What the server could not do, and how much somebody should care. */
const TROUBLE: Partial<Record<Reason, 'info' | 'warn'>> = {
  DATABASE_UNAVAILABLE: 'warn',
  OVERLOADED: 'warn',
  TOO_MANY_STREAMS: 'info',
  CONTENTION: 'info',
};
const GAP_MS = 1_000;

export interface CallEnded {
  readonly code: string;
  /** Undefined for one that was answered. */
  readonly reason: Reason | undefined;
  readonly ms: number;
}

/** What every line about a call says. */
export function factsOf(call: Call): object {
  const caller = callerOf(call);
  return {
    requestId: call.requestId,
    procedure: call.procedure,
    protocol: call.protocolName,
    ...call.span?.ids,
    ...(call.namespace !== '' && { namespace: call.namespace }),
    caller: caller.name,
    ...(caller !== ANONYMOUS && caller.tokenId !== undefined && { tokenId: caller.tokenId }),
  };
}

export class CallLog {
  readonly #logger: Logger;
  readonly #told = new Map<Reason, { untilMs: number; like: number }>();

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  ended(call: Call, { code, reason, ms }: CallEnded): void {
    const trouble = reason && TROUBLE[reason];
    const like = trouble && this.#turn(reason);
    const level = like === undefined ? 'debug' : (trouble ?? 'debug');
    if (!this.#logger.isLevelEnabled(level)) return;
    const line = {
      ...factsOf(call),
      ...subjectOf(call.input, call.output),
      code,
      ...(reason !== undefined && { reason }),
      durationMs: Math.round(ms * 10) / 10,
      ...(like !== undefined && like > 0 && { likeIt: like }),
    };
    this.#logger[level](line, 'call');
  }

  /** How many were not told since the last that was; undefined while it is too early for another. */
  #turn(reason: Reason): number | undefined {
    const told = this.#told.get(reason);
    const nowMs = monotonicMs();
    if (told && nowMs < told.untilMs) {
      told.like++;
      return undefined;
    }
    this.#told.set(reason, { untilMs: nowMs + GAP_MS, like: 0 });
    return told?.like ?? 0;
  }
}
