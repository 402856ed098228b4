/**
 * The settings every session of the engine needs, kept on its role in its database: a pooler forgets `set`, and a
 * setting in one connection string is missing in the next. They turn the plans of the hot statements into facts:
 * prepared on an empty table, they must be right for a full one.
 *
 * migrate() writes them where a fresh session does not show them; checkRoleSettings() is the check at every boot.
 */
import pg from 'pg';
import { StartError } from '../../domain/start-error.js';
import { withLock, withSession } from './session.js';

interface RoleSetting {
  readonly name: string;
  readonly value: string;
  /** Whether what a session has, in the base unit of pg_settings, is good enough. */
  readonly accepts: (present: string) => boolean;
}

const exactly = (name: string, value: string): RoleSetting => ({ name, value, accepts: (is) => is === value });
/** Any limit will do, but there must be one: without it, one stuck session holds back every vacuum. */
const limit = (name: string, value: string): RoleSetting => ({ name, value, accepts: (is) => Number(is) > 0 });

export const ROLE_SETTINGS: readonly RoleSetting[] = [
  exactly('plan_cache_mode', 'force_generic_plan'),
  exactly('enable_seqscan', 'off'),
  exactly('jit', 'off'),
  { name: 'synchronous_commit', value: 'on', accepts: (is) => is === 'on' || is === 'remote_apply' },
  exactly('default_transaction_isolation', 'read committed'),
  limit('statement_timeout', '30s'),
  limit('lock_timeout', '2s'),
  limit('idle_in_transaction_session_timeout', '60s'),
];

interface Difference {
  readonly setting: RoleSetting;
  readonly present: string;
}

/** Throws one StartError that names every setting that differs, and the statements that set them. */
export async function checkRoleSettings(url: string): Promise<void> {
  await withSession(url, async (client) => {
    const differences = await readDifferences(client);
    if (differences.length > 0) throw refusal(differences, await alterations(client, differences));
  });
}

/**
 * Writes what a fresh session does not show. ALTER ROLE of one role in one database by several processes at once
 * fails ("tuple concurrently updated"), also from installations in different schemas: hence a lock without schema.
 */
export async function settleRole(client: pg.Client, url: string): Promise<void> {
  await withLock(client, 'tailrace.role_settings', async () => {
    const differences = await withSession(url, readDifferences);
    if (differences.length === 0) return;
    const statements = await alterations(client, differences);
    try {
      for (const text of statements) await client.query(text);
    } catch (error) {
      throw refusal(differences, statements, error);
    }
  });
}

/** The same for one database, on a connection of its own: a clone of a database does not inherit them. */
export async function applyRoleSettings(url: string): Promise<void> {
  await withSession(url, async (client) => await settleRole(client, url));
}

async function readDifferences(client: pg.Client): Promise<Difference[]> {
  const { rows } = await client.query<{ name: string; setting: string }>(
    'select name, setting from pg_settings where name = any($1)',
    [ROLE_SETTINGS.map((setting) => setting.name)],
  );
  const present = new Map(rows.map((row) => [row.name, row.setting]));
  return ROLE_SETTINGS.flatMap((setting) => {
    const is = present.get(setting.name) ?? '';
    return setting.accepts(is) ? [] : [{ setting, present: is }];
  });
}

async function alterations(client: pg.Client, differences: readonly Difference[]): Promise<string[]> {
  const { rows } = await client.query<{ role: string; database: string }>(
    'select session_user as role, current_database() as database',
  );
  const role = pg.escapeIdentifier(rows[0]?.role ?? '');
  const database = pg.escapeIdentifier(rows[0]?.database ?? '');
  return differences.map(
    ({ setting }) =>
      `alter role ${role} in database ${database} set ${setting.name} = ${pg.escapeLiteral(setting.value)}`,
  );
}

function refusal(differences: readonly Difference[], statements: readonly string[], cause?: unknown): StartError {
  const wrong = differences.map(({ setting, present }) => `  ${setting.name} is ${present}, not ${setting.value}`);
  const why = cause instanceof Error ? ` and this role cannot set them itself (${cause.message})` : '';
  return new StartError(
    `sessions of the engine's role do not have the settings it needs${why}:\n${wrong.join('\n')}\n` +
      `As that role or a superuser, execute the following (or \`tailrace migrate\`), then reconnect any pooler:\n` +
      statements.map((text) => `  ${text};`).join('\n'),
    { cause },
  );
}
