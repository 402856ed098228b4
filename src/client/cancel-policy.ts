/** How running work is canceled, as callers write it down, and the message made from it. */
import type { MessageInitShape } from '@bufbuild/protobuf';
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import { CancelMode, type CancelPolicySchema, LateCompletion } from '../../gen/tailrace/v1/cancel_pb.js';

export interface CancelRules {
  /** `cooperative` (default) asks a running handler to stop; `now` ends the execution in the call. */
  readonly mode?: 'cooperative' | 'now';
  /** How long a running handler may go on. Milliseconds, 1,000 to 3,600,000, default 30,000. */
  readonly graceMs?: number;
  /** What happens to a completion within the grace. Default `accepted`. */
  readonly lateCompletion?: 'accepted' | 'refused';
}

export function toCancelPolicy(rules: CancelRules): MessageInitShape<typeof CancelPolicySchema> {
  const { mode = 'cooperative', lateCompletion = 'accepted', graceMs } = rules;
  return {
    mode: mode === 'now' ? CancelMode.NOW : CancelMode.COOPERATIVE,
    ...(mode === 'cooperative' && {
      lateCompletion: lateCompletion === 'refused' ? LateCompletion.REFUSED : LateCompletion.ACCEPTED,
    }),
    ...(graceMs !== undefined && { grace: durationFromMs(graceMs) }),
  };
}
