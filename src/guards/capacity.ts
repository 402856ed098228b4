/** Whether there is room for everybody: connections, locks, open files. */

import type { Facts } from './facts.js';
import type { Finding } from './finding.js';

/** Every server listens on a connection beside its pool. */
const LISTENER = 1;
const LISTENER_NAME = 'tailrace wakes';
/** Of the table of locks: beyond it a busy moment runs out. */
const MOST_LOCKS = 0.7;
/** Files and sockets that are not clients. */
const OWN_FILES = 200;

export function judgeCapacity(facts: Facts): Finding[] {
  return [...connections(facts), ...locks(facts), ...openFiles(facts)];
}

/** Servers that are connected, counted by their listeners; whoever asks may be about to become one more. */
export function serversOf({ sessions }: Pick<Facts, 'sessions'>): number {
  return sessions.servers
    .filter(({ name }) => name === LISTENER_NAME)
    .reduce((sum, { connections: count }) => sum + count, 0);
}

function connections(facts: Facts): Finding[] {
  const { settings, sessions, setup } = facts;
  const most = Number(settings.settings.max_connections);
  const kept =
    Number(settings.settings.superuser_reserved_connections) + Number(settings.settings.reserved_connections ?? 0);
  const servers = Math.max(1, serversOf(facts));
  const each = setup.poolConnections + LISTENER;
  const others = sessions.clients - sessions.ours;
  const needed = servers * each + others;
  const found: Finding[] = [];
  if (needed > most - kept) {
    found.push({
      name: 'max_connections',
      severity: 'warning',
      now: `max_connections is ${most}, ${kept} of them kept for superusers; ${servers} servers need ${each} each, and ${others} are in use by others`,
      hurts: 'calls fail with DATABASE_UNAVAILABLE when all are busy, and while an upgrade runs twice the servers',
      mend: `alter system set max_connections = ${atLeast(2 * servers * each + others + kept, 100)}; then restart Postgres; or set TAILRACE_DATABASE_CONNECTIONS lower`,
    });
  }
  for (const [what, limit, mend] of [
    ['database', settings.database_connections, 'alter database … connection limit -1;'],
    ['role', settings.role_connections, 'alter role … connection limit -1;'],
  ] as const) {
    if (limit < 0 || limit >= servers * each) continue;
    found.push({
      name: `connection limit of the ${what}`,
      severity: 'warning',
      now: `the ${what} may have ${limit} connections; ${servers} servers need ${servers * each}`,
      hurts: 'calls fail with DATABASE_UNAVAILABLE when all are busy',
      mend,
    });
  }
  return found;
}

/**
 * A statement with a generic plan locks every partition of its tables, whichever it will read; all connections may do
 * so at once, while retention locks every table and index.
 */
function locks(facts: Facts): Finding[] {
  const { settings, relations, setup } = facts;
  const perTransaction = Number(settings.settings.max_locks_per_transaction);
  const slots = Number(settings.settings.max_connections) + Number(settings.settings.max_prepared_transactions);
  const sessions = Math.max(1, serversOf(facts)) * setup.poolConnections;
  const needed = relations.partitions * sessions + relations.relations;
  if (needed <= MOST_LOCKS * perTransaction * slots) return [];
  return [
    {
      name: 'max_locks_per_transaction',
      severity: 'warning',
      now:
        `max_locks_per_transaction is ${perTransaction}, ${perTransaction * slots} locks in all; ${sessions} connections ` +
        `over ${relations.partitions} partitions may need ${needed}`,
      hurts: 'statements fail with "out of shared memory" when many meet, retention first',
      mend:
        `alter system set max_locks_per_transaction = ${atLeast((2 * needed) / slots, 128)}; then restart Postgres; ` +
        'or set TAILRACE_PARTITION_WIDTH wider',
    },
  ];
}

function openFiles({ machine, setup }: Facts): Finding[] {
  const { openFiles: most } = machine;
  if (most === undefined || most >= setup.clientConnections + OWN_FILES) return [];
  return [
    {
      name: 'open files',
      severity: 'warning',
      now: `this process may have ${most} files and sockets open, and TAILRACE_MAX_CONNECTIONS is ${setup.clientConnections}`,
      hurts: 'when they are used up no connection is accepted, not even by a probe',
      mend: `raise the limit (ulimit -n, LimitNOFILE), or set TAILRACE_MAX_CONNECTIONS to ${Math.max(1, most - OWN_FILES)}`,
    },
  ];
}

/** The next power of two. */
function atLeast(value: number, least: number): number {
  return 2 ** Math.ceil(Math.log2(Math.max(value, least)));
}
