/** Whether what was acknowledged survives: a crash of Postgres, of its machine, a failover. */

import type { Facts } from './facts.js';
import { bytes, type Finding, seconds } from './finding.js';

const LATE_SECONDS = 60;
const LATE_BYTES = 2 ** 30;

export function judgeDurability({ settings: { settings }, held }: Facts): Finding[] {
  const found: Finding[] = [];
  if (settings.fsync === 'off') {
    found.push({
      name: 'fsync',
      severity: 'warning',
      now: 'fsync is off',
      hurts: 'a crash of the machine loses what was acknowledged, and may ruin the whole database',
      mend: 'alter system set fsync = on; select pg_reload_conf();',
    });
  }
  if (settings.full_page_writes === 'off') {
    found.push({
      name: 'full_page_writes',
      severity: 'warning',
      now: 'full_page_writes is off',
      hurts: 'a crash of the machine may leave pages half written, unless the file system rules that out',
      mend: 'alter system set full_page_writes = on; select pg_reload_conf();',
    });
  }
  const names = settings.synchronous_standby_names ?? '';
  const synchronous = held.replicas.filter((replica) => replica.sync);
  const seen = held.replicas.length === held.replica_count;
  if (names !== '' && seen && synchronous.length === 0) {
    found.push({
      name: 'synchronous_standby_names',
      severity: 'warning',
      now: `synchronous_standby_names is '${names}', and no such standby is connected`,
      hurts: 'every commit waits until its statement is canceled, and is then acknowledged although no standby has it',
      mend: "connect the standby, or: alter system set synchronous_standby_names = ''; select pg_reload_conf();",
    });
  }
  if (names === '' && held.replica_count > 0) {
    found.push({
      name: 'asynchronous replicas',
      severity: 'note',
      now: `${held.replica_count} replicas follow, and no commit waits for them`,
      hurts: 'a failover loses the last moments of what was acknowledged',
      mend: "where that may not be: alter system set synchronous_standby_names = 'any 1 (*)'; select pg_reload_conf();",
    });
  }
  for (const { name, seconds: late, bytes: behind } of held.replicas) {
    if ((late ?? 0) <= LATE_SECONDS && (behind ?? 0) <= LATE_BYTES) continue;
    found.push({
      name: 'replication lag',
      severity: 'warning',
      now: `replica ${name} is ${seconds(late ?? 0)} and ${bytes(behind ?? 0)} behind`,
      hurts: 'a failover to it loses as much, and the primary keeps the log for it on its disk',
      mend: 'look at the load, the disk and the network of the replica',
    });
  }
  return found;
}
