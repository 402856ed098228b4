/** How the database is set for this session, and what kind of database it is. */
import type { Runner } from '../database.js';
import { statement } from '../statement.js';

const read = statement(
  'guards.settings',
  `select current_setting('server_version_num')::int as version, pg_is_in_recovery() as standby,
     pg_encoding_to_char(d.encoding) as encoding, d.datconnlimit as database_connections, r.rolconnlimit as role_connections,
     age(d.datfrozenxid) as xid_age, mxid_age(d.datminmxid) as multixact_age,
     (select jsonb_object_agg(s.name, s.setting) from pg_settings s where s.name = any($1)) as settings
   from pg_database d, pg_roles r where d.datname = current_database() and r.rolname = current_user`,
);

const NAMES = [
  'autovacuum',
  'DateStyle',
  'default_transaction_read_only',
  'fsync',
  'full_page_writes',
  'idle_session_timeout',
  'lock_timeout',
  'max_connections',
  'max_locks_per_transaction',
  'max_prepared_transactions',
  'reserved_connections',
  'session_replication_role',
  'standard_conforming_strings',
  'statement_timeout',
  'superuser_reserved_connections',
  'synchronous_commit',
  'synchronous_standby_names',
  'TimeZone',
  'track_activities',
  'track_counts',
  'transaction_timeout',
] as const;

type Name = (typeof NAMES)[number];

export interface DatabaseSettings {
  /** Such as 180004. */
  readonly version: number;
  readonly standby: boolean;
  readonly encoding: string;
  /** -1: no limit. */
  readonly database_connections: number;
  readonly role_connections: number;
  readonly xid_age: number;
  readonly multixact_age: number;
  /** In the base unit of pg_settings; a setting that this version does not have is missing. */
  readonly settings: Readonly<Partial<Record<Name, string>>>;
}

export async function readSettings(runner: Runner): Promise<DatabaseSettings> {
  const [row] = await runner.query<DatabaseSettings>(read, [NAMES]);
  if (row === undefined) throw new Error('the database says nothing of its settings');
  return row;
}
