/**
 * What `tailrace doctor` says: how the schema stands to this build, who is connected, and everything the guards find. For
 * before an upgrade, and for when a server does not start. Changes nothing.
 */
import type { Diagnosis, Finding, VerifiedRule } from './cli/host.js';
import type { Config } from './config.js';
import { EngineError } from './domain/errors.js';
import { StartError } from './domain/start-error.js';
import { type Finding as Found, judge, readFacts } from './guards/index.js';
import { Database } from './repository/database.js';
import { checkRoleSettings, diagnoseSchema, type SchemaDiagnosis } from './repository/migrations/index.js';
import { verify } from './repository/verification/index.js';
import { setupOf } from './setup.js';

export interface Patient {
  readonly url: string;
  readonly schema: string;
  readonly config: Config;
  /** Of the embedded database. */
  readonly dataDirectory: string | undefined;
  /** Whether to check every rule across the tables as well, which may take long. */
  readonly thorough: boolean;
}

export async function examine({ url, schema, config, dataDirectory, thorough }: Patient): Promise<Diagnosis> {
  let standing: SchemaDiagnosis;
  try {
    standing = await diagnoseSchema({ url, schema });
  } catch (error) {
    return { ...NOTHING, findings: [problem('database', said(error))] };
  }
  const database = new Database({ url, schema, connections: 4, name: 'tailrace doctor' });
  try {
    const secretsKey = config.secretsKey !== undefined || dataDirectory !== undefined;
    const setup = setupOf(config, secretsKey, dataDirectory);
    const facts = await readFacts({ runner: database, setup, pooler: url });
    const current = standing.pending.length === 0 && standing.problem === undefined;
    const rules = thorough && current ? await verify(database) : undefined;
    const { version, known, pending } = standing;
    return {
      schema: { name: schema, version, known },
      pending,
      servers: facts.sessions.servers.filter(({ name }) => !NOT_SERVERS.has(name)),
      findings: [
        schemaFinding(schema, standing),
        await roleFinding(url),
        ...judge(facts).map(shown),
        ...(rules ? [rulesFinding(rules)] : []),
      ],
      ...(rules && { rules }),
    };
  } catch (error) {
    return { ...NOTHING, findings: [schemaFinding(schema, standing), problem('database', said(error))] };
  } finally {
    await database.close();
  }
}

const NOTHING: Diagnosis = { schema: undefined, pending: [], servers: [], findings: [] };
/** Connections of commands, this one's among them. */
const NOT_SERVERS = new Set(['tailrace doctor', 'tailrace probe', 'tailrace verify', 'tailrace-migrate']);

function schemaFinding(name: string, { version, pending, problem: refusal }: SchemaDiagnosis): Finding {
  if (refusal !== undefined) return problem('schema', refusal);
  if (version === 0)
    return warning('schema', `there is no schema ${name} yet: tailrace migrate, or a server, makes it`);
  if (pending.length === 0)
    return { name: 'schema', state: 'ok', message: `the schema ${name} is the one of this build` };
  const refused = pending.filter(({ olderServers }) => !olderServers);
  const upgrade =
    refused.length === 0
      ? 'servers that run now may go on beside them'
      : `servers that run now must be stopped before ${refused[0]?.name}`;
  return warning('schema', `${pending.length} migrations are pending, and ${upgrade}: tailrace migrate applies them`);
}

async function roleFinding(url: string): Promise<Finding> {
  try {
    await checkRoleSettings(url);
    return { name: 'role', state: 'ok', message: 'its sessions have the settings they need' };
  } catch (error) {
    return problem('role', said(error));
  }
}

function rulesFinding(rules: readonly VerifiedRule[]): Finding {
  const broken = rules.filter(({ violations }) => violations.length > 0);
  if (broken.length === 0) return { name: 'rules', state: 'ok', message: `all ${rules.length} rules hold` };
  return problem('rules', `${broken.map(({ name }) => name).join(', ')} are broken: tailrace verify shows by what`);
}

function shown({ name, severity, now, hurts, mend }: Found): Finding {
  const state = ({ error: 'problem', warning: 'warning', note: 'ok' } as const)[severity];
  return { name, state, message: now, hurts, mend };
}

function problem(name: string, message: string): Finding {
  return { name, state: 'problem', message };
}

function warning(name: string, message: string): Finding {
  return { name, state: 'warning', message };
}

function said(error: unknown): string {
  if (error instanceof StartError || error instanceof EngineError) {
    const { cause } = error;
    return cause instanceof Error && error instanceof EngineError
      ? `${error.message} (${cause.message})`
      : error.message;
  }
  throw error;
}
