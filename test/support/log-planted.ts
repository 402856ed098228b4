/** A partition of the log that is closed, for the rules to hold over, and what breaks each rule about what is to go. */
import { closeLogPartition, cutLog } from '../../src/repository/retention/index.js';
import type { Desk } from './desk.js';
import { EventsByHand } from './events-by-hand.js';
import { eventually } from './eventually.js';

/** Makes everything recorded so far a partition of its own, which can go once nobody sees it. */
export async function closeLog(desk: Desk): Promise<void> {
  const { database } = desk.core;
  await eventually(async () => await cutLog(database, 1));
  const hand = new EventsByHand(desk);
  await eventually(async () => {
    // What was drawn and rolled back is known by what comes later.
    await hand.publish({ type: 'closes' });
    await desk.caughtUp();
    for (;;) {
      const { closed, more } = await closeLogPartition(database, 1_000);
      if (closed || !more) return closed;
    }
  });
}

export const LOG_PLANTS: Readonly<Record<string, readonly string[]>> = {
  'log-partitions-follow': [
    'update tailrace.log_partition set lo = lo + 1 where closed_at is not null',
    'update tailrace.log_incarnation set floor_seq = 2',
    'update tailrace.log_partition set closed_at = case when closed_at is null then now() end',
  ],
  'closed-partition-is-counted': [
    'delete from tailrace.log_tally where kind = 30',
    'update tailrace.log_tally set n = n + 1 where kind = 30',
    'update tailrace.log_partition set last_position = 1 where closed_at is not null',
    'update tailrace.log_run r set lo = p.hi - 1 from tailrace.log_partition p where p.closed_at is not null and r.lo >= p.hi',
  ],
  'floors-in-log': [
    'update tailrace.namespace set log_floor = 1000000',
    'update tailrace.consumer set hold_log = true, namespace = (select id from tailrace.namespace where log_floor = 0 limit 1);' +
      'update tailrace.namespace set log_floor = (select max(base) from tailrace.log_run)',
  ],
  'consumer-has-its-log': [
    'update tailrace.consumer_part set pruned = true where not halted',
    'update tailrace.consumer set hold_log = true; update tailrace.log_incarnation set floor = 1000',
  ],
};
