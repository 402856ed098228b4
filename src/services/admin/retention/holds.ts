/** What keeps old data, in the contract's words. */
import type { RetentionHold } from '../../../repository/retention/index.js';
import { toTimestamp } from '../../conversion/times.js';

export function toHolds(holds: readonly RetentionHold[]) {
  return holds.map(({ subject, holder, namespace, count, since }) => ({
    subject,
    holder,
    namespace,
    count: BigInt(count),
    sinceTime: toTimestamp(since),
  }));
}
