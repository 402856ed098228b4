/** What a claim tells of the wait after which its attempt goes on. */
import { create } from '@bufbuild/protobuf';
import { ResumeCause, type ResumeInfo, ResumeInfoSchema } from '../../../../gen/tailrace/v1/signal_pb.js';
import type { Granted } from '../../../repository/claims/index.js';
import type { Runner } from '../../../repository/database.js';
import { type MatchedSignals, readMatchedSignals } from '../../../repository/suspensions/index.js';
import { toSignal } from '../../conversion/signal.js';
import { toTimestamp } from '../../conversion/times.js';

const BY_SIGNALS: readonly (number | null)[] = [ResumeCause.SATISFIED, ResumeCause.TIMEOUT, ResumeCause.OPERATOR];

/** The signals that let these go on, by lease. Reads nothing where none did. */
export async function matchedBy(
  runner: Runner,
  granted: readonly Granted[],
): Promise<ReadonlyMap<string, MatchedSignals>> {
  const rows = granted.filter(({ resume, resume_cause: cause }) => resume && BY_SIGNALS.includes(cause));
  if (rows.length === 0) return new Map();
  const matched = await readMatchedSignals(
    runner,
    rows.map(({ execution, attempt, waits }) => ({ execution, attempt, number: waits })),
  );
  return new Map(rows.flatMap(({ lease }, i) => (matched[i] ? [[lease, matched[i]] as const] : [])));
}

/** Undefined for an attempt that begins. */
export function toResumeInfo(granted: Granted, matched: MatchedSignals | undefined): ResumeInfo | undefined {
  if (granted.parked_at === null) return undefined;
  return create(ResumeInfoSchema, {
    cause: granted.resume_cause ?? ResumeCause.CHILDREN,
    joinsChildren: granted.joins_children,
    signals: matched?.signals.map(toSignal) ?? [],
    moreSignals: matched?.more ?? false,
    suspendTime: toTimestamp(granted.parked_at),
    resumeTime: toTimestamp(granted.released_at ?? granted.ready_at),
    suspensionNumber: granted.waits,
  });
}
