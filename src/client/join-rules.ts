/** When something that waits for several others goes on, as callers write it down, and the message made from it. */
import type { MessageInitShape } from '@bufbuild/protobuf';
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import { JoinMode, type JoinPolicySchema, OnJoinTimeout, OnSatisfied } from '../../gen/tailrace/v1/join_pb.js';

export interface JoinRules {
  /**
   * `all` (default): every required one has succeeded and the optional ones have ended. `any`: one has succeeded. Not
   * together with `quorum`.
   */
  readonly mode?: 'all' | 'any';
  /** So many have succeeded. 1 to 10,000. */
  readonly quorum?: number;
  /** Successes of one source count once. With `any` and `quorum` only. Default false. */
  readonly distinctSources?: boolean;
  /** What becomes of those that have not ended when it goes on. Default `let_run`. */
  readonly onSatisfied?: 'let_run' | 'cancel_rest';
  /** Longest wait. Milliseconds, 1,000 to 30 days. Default none. */
  readonly timeoutMs?: number;
  /** What happens when the time is up: it fails (default), or goes on with what there is. */
  readonly onTimeout?: 'fail' | 'release_partial';
}

/** Throws a RangeError for `mode` beside `quorum`, which say different things. */
export function toJoinPolicy(rules: JoinRules): MessageInitShape<typeof JoinPolicySchema> {
  const { mode, quorum, timeoutMs } = rules;
  if (mode !== undefined && quorum !== undefined) throw new RangeError(`a quorum is no join over ${mode}`);
  return {
    mode: quorum !== undefined ? JoinMode.QUORUM : mode === 'any' ? JoinMode.ANY : JoinMode.ALL,
    quorum: quorum ?? 0,
    distinctSources: rules.distinctSources ?? false,
    onSatisfied: rules.onSatisfied === 'cancel_rest' ? OnSatisfied.CANCEL_REST : OnSatisfied.LET_RUN,
    onTimeout: rules.onTimeout === 'release_partial' ? OnJoinTimeout.RELEASE_PARTIAL : OnJoinTimeout.FAIL,
    ...(timeoutMs !== undefined && { timeout: durationFromMs(timeoutMs) }),
  };
}
