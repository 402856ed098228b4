/** Whether a session of this role behaves as the engine's statements expect. */

import type { Facts } from './facts.js';
import type { Finding } from './finding.js';

/** The engine counts a connection as lost that has not answered for so long (repository/database.ts). */
const ANSWER_MS = 40_000;
const SHORT_MS = 5_000;

export function judgeSessions({ settings: read, pooler }: Facts): Finding[] {
  const { settings } = read;
  const found: Finding[] = [];
  const error = (name: string, now: string, hurts: string, mend: string) =>
    found.push({ name, severity: 'error', now, hurts, mend });
  const warning = (name: string, now: string, hurts: string, mend: string) =>
    found.push({ name, severity: 'warning', now, hurts, mend });

  if (read.standby) {
    error('standby', 'this database is a standby', 'nothing can be written', 'set DATABASE_URL to the primary');
  } else if (settings.default_transaction_read_only === 'on') {
    const mend = 'alter role … in database … set default_transaction_read_only = off;';
    error('default_transaction_read_only', 'transactions of this role only read', 'nothing can be written', mend);
  }
  if (read.encoding !== 'UTF8') {
    const hurts = 'texts that clients send cannot be stored, or come back changed';
    error(
      'encoding',
      `the database is encoded in ${read.encoding}`,
      hurts,
      "create database … encoding 'UTF8' template template0;",
    );
  }
  if (settings.session_replication_role !== 'origin') {
    const now = `session_replication_role is ${settings.session_replication_role}`;
    error(
      'session_replication_role',
      now,
      'triggers do not run, on which counts rely',
      'alter role … reset session_replication_role;',
    );
  }
  if (!settings.DateStyle?.startsWith('ISO')) {
    const mend = "alter role … in database … set DateStyle = 'ISO, MDY';";
    error('DateStyle', `DateStyle is ${settings.DateStyle}`, 'times are read wrongly', mend);
  }
  if (settings.standard_conforming_strings === 'off') {
    const mend = 'alter role … in database … set standard_conforming_strings = on;';
    error(
      'standard_conforming_strings',
      'standard_conforming_strings is off',
      'texts in statements are read wrongly',
      mend,
    );
  }
  if (settings.TimeZone !== undefined && !/^(UTC|GMT|Etc\/(UTC|GMT)|Zulu|Universal)$/i.test(settings.TimeZone)) {
    const now = `sessions have time zone ${settings.TimeZone}`;
    found.push({
      name: 'TimeZone',
      severity: 'note',
      now,
      hurts: 'nothing is wrong by it; reading times takes a longer way',
      mend: "alter role … in database … set TimeZone = 'UTC';",
    });
  }
  const statementMs = Number(settings.statement_timeout);
  if (statementMs > 0 && statementMs < SHORT_MS) {
    const hurts = 'batches, sweeps and retention are cut short and begin again';
    warning(
      'statement_timeout',
      `statement_timeout is ${statementMs} ms`,
      hurts,
      "alter role … set statement_timeout = '30s';",
    );
  } else if (statementMs >= ANSWER_MS) {
    const hurts = `servers give a connection up after ${ANSWER_MS / 1_000} s, and leave its statement running`;
    warning(
      'statement_timeout',
      `statement_timeout is ${statementMs} ms`,
      hurts,
      "alter role … set statement_timeout = '30s';",
    );
  }
  for (const name of ['idle_session_timeout', 'transaction_timeout'] as const) {
    const ms = Number(settings[name] ?? 0);
    if (ms === 0 || (name === 'transaction_timeout' && ms >= ANSWER_MS)) continue;
    const hurts =
      name === 'idle_session_timeout'
        ? 'connections break while nobody uses them'
        : 'long batches and retention are cut short';
    warning(name, `${name} is ${ms} ms`, hurts, `alter role … in database … set ${name} = 0;`);
  }
  if (pooler.refusal !== undefined) {
    const now = `a pooler stands before the database and does not know prepared statements (${pooler.refusal})`;
    const mend =
      'PgBouncer 1.21 or newer with max_prepared_statements = 500, or pool_mode = session, or the address of Postgres itself';
    error('pooler', now, 'calls fail whenever they meet another backend', mend);
  } else if (pooler.kind === 'transaction') {
    const now = 'a pooler stands before the database and hands its sessions around by transaction';
    const hurts = 'servers hear of each other once a second only, and migrations do not keep each other out';
    warning(
      'pooler',
      now,
      hurts,
      'set DATABASE_URL to Postgres itself, or to a pool by session; at least for tailrace migrate',
    );
  }
  return found;
}
