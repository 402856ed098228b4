/** What keeps Postgres from clearing away what is dead, until everything is slow or nothing goes any more. */

import type { Facts } from './facts.js';
import { bytes, type Finding, seconds } from './finding.js';

const HOUR = 3_600;
/** Half of the way to where Postgres refuses to write. */
const MOST_AGE = 1_000_000_000;
const MOST_SLOT_BYTES = 2 ** 30;
const HURTS = 'vacuum clears nothing that died since: lines get slow, tables grow';

export function judgeVacuum({ settings, sessions, held, relations }: Facts): Finding[] {
  const found: Finding[] = [];
  const { autovacuum, track_counts: counts } = settings.settings;
  for (const [name, value] of [
    ['autovacuum', autovacuum],
    ['track_counts', counts],
  ] as const) {
    if (value !== 'off') continue;
    found.push({
      name,
      severity: 'warning',
      now: `${name} is off`,
      hurts: 'what servers do not vacuum themselves grows without end, and statistics get old',
      mend: `alter system set ${name} = on; select pg_reload_conf();`,
    });
  }
  const { oldest } = sessions;
  if (oldest && oldest.seconds > HOUR) {
    found.push({
      name: 'old transaction',
      severity: 'warning',
      now: `session ${oldest.pid} (${oldest.name || 'without a name'}) has a transaction open for ${seconds(oldest.seconds)}`,
      hurts: HURTS,
      mend: `find out whose it is; if nobody's: select pg_terminate_backend(${oldest.pid});`,
    });
  }
  for (const { gid, seconds: age } of held.prepared.filter((transaction) => transaction.seconds > HOUR)) {
    found.push({
      name: 'prepared transaction',
      severity: 'warning',
      now: `transaction '${gid}' was prepared ${seconds(age)} ago and never ended`,
      hurts: `${HURTS}; its locks are held as well`,
      mend: `rollback prepared '${gid.replaceAll("'", "''")}'; (or commit prepared)`,
    });
  }
  for (const { name, active, state, bytes: kept } of held.slots) {
    const lost = state === 'lost' || state === 'unreserved';
    if (!lost && (active || (kept ?? 0) < MOST_SLOT_BYTES)) continue;
    found.push({
      name: 'replication slot',
      severity: 'warning',
      now: lost
        ? `slot ${name} has lost what it was to keep`
        : `nobody reads slot ${name}, which keeps ${bytes(kept ?? 0)}`,
      hurts: lost ? 'its reader has to begin anew' : 'the disk of the database fills up with log',
      mend: `if nobody needs it: select pg_drop_replication_slot('${name}');`,
    });
  }
  for (const [what, age] of [
    ['transaction ids', settings.xid_age],
    ['multixact ids', settings.multixact_age],
  ] as const) {
    if (age < MOST_AGE) continue;
    found.push({
      name: 'wraparound',
      severity: 'warning',
      now: `the oldest ${what} of the database are ${Math.round(age / 1_000_000)} million old`,
      hurts: 'at 2,000 million Postgres takes no more writes',
      mend: 'end old transactions and slots, then: vacuum (freeze);',
    });
  }
  for (const { table, dead, live } of relations.bloated) {
    found.push({
      name: 'dead rows',
      severity: 'warning',
      now: `table ${table} has ${dead} dead rows beside ${live} live ones`,
      hurts: 'reading it costs as much as if they were alive',
      mend: 'look for old transactions, slots and standbys with hot_standby_feedback; then: vacuum;',
    });
  }
  return found;
}
