/** Limits that keep claimable work back, and the key that work waits for. */
import { HoldKind } from '../../../../gen/tailrace/v1/explain_pb.js';
import type { ExecutionRow } from '../../../repository/inspection/index.js';
import { KEY_AHEAD_COUNTED, type KeyUse, type QuotaRow } from '../../../repository/quotas/index.js';
import { isFull } from '../../conversion/quota.js';
import { toTimestamp } from '../../conversion/times.js';
import type { Hold } from './hold.js';

/** `quotas`: of its lane and of its namespace, if they have one. */
export function quotaHolds(row: ExecutionRow, quotas: readonly QuotaRow[]): Hold[] {
  return quotas.flatMap((quota) => {
    const [subject, whose] = quota.lane === '' ? ['', 'its namespace'] : [quota.lane, `lane ${row.lane}`];
    const holds: Hold[] = [];
    if (quota.max_running !== null && isFull(quota)) {
      holds.push({
        kind: HoldKind.CONCURRENCY_LIMIT,
        subject,
        message:
          `${quota.running} executions of ${whose} run, as many as may (${quota.max_running}); when one of them ends, is ` +
          'parked or put off, the next one starts.',
        current: BigInt(quota.running),
        limit: BigInt(quota.max_running),
      });
    }
    if (quota.max_starts !== null && quota.free_at !== null) {
      holds.push({
        kind: HoldKind.RATE_LIMIT,
        subject,
        message:
          `${quota.started} executions of ${whose} have started in the last ${Number(quota.window_ms) / 1_000} s, as many as ` +
          `may (${quota.max_starts}); the next one may start at ${quota.free_at.toISOString()}.`,
        untilTime: toTimestamp(quota.free_at),
        current: BigInt(quota.started),
        limit: BigInt(quota.max_starts),
      });
    }
    return holds;
  });
}

/** Of one that waits for its key. Right after a slot was given up, nobody may have moved into it yet. */
export function keyHold(row: ExecutionRow, use: KeyUse): Hold {
  const held = use.queued + use.running;
  const place =
    use.ahead > KEY_AHEAD_COUNTED ? `behind more than ${KEY_AHEAD_COUNTED} others` : `number ${use.ahead + 1}`;
  const slots =
    held >= use.most
      ? `${use.running} of it run and ${use.queued} stand in line, as many as may (${use.most})`
      : `${held} of the ${use.most} that may run or stand in line do, and the next ones move up now`;
  return {
    kind: HoldKind.CONCURRENCY_KEY,
    subject: row.concurrency_key ?? '',
    message: `It waits for its concurrency key ${row.concurrency_key}: ${slots}; of those that wait it is ${place}.`,
    current: BigInt(held),
    limit: BigInt(use.most),
  };
}
