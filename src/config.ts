/**
 * The only reader of process.env. Every setting, its rule and its default stand in one table; all that is wrong is
 * said in one message, which names the variable and the rule and never shows a secret.
 *
 * An empty variable counts as unset, as compose files produce them. A misspelt one is refused, never ignored.
 */
import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { nearest } from './domain/nearest.js';
import { StartError } from './domain/start-error.js';
import { SCHEMA_NAME } from './repository/statement.js';

const LEVELS = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const;
const KEY_RULE = '32 bytes in base64, as `openssl rand -base64 32` prints them';

const settings = z.object({
  DATABASE_URL: text(isPostgresUrl, 'an address such as postgres://user:password@host:5432/name')
    .optional()
    .describe('The Postgres to use, version 15 or newer. Without it an embedded one is started.'),
  TAILRACE_SCHEMA: text((value) => SCHEMA_NAME.test(value), 'a lower-case name of at most 40 letters, digits and _')
    .default('tailrace')
    .describe('Schema of this installation; one database may hold several.'),
  TAILRACE_DATA_DIR: z.string().optional().describe('Where the embedded database lies. Default .tailrace/postgres.'),
  TAILRACE_DATABASE_CONNECTIONS: whole(2, 100, 10).describe('Connections to Postgres at most, per process.'),
  TAILRACE_MIGRATE: flag(true).describe('Whether the server migrates the schema when it starts.'),
  TAILRACE_HOST: z.string().default('127.0.0.1').describe('Address to listen on.'),
  TAILRACE_PORT: whole(0, 65_535, 8233).describe('Port for gRPC, gRPC-Web, Connect and HTTP/JSON; 0 takes a free one.'),
  TAILRACE_ALLOW_UNAUTHENTICATED_NETWORK: flag(false).describe(
    'Whether to serve beyond the loopback address although anybody who reaches the port may do everything.',
  ),
  TAILRACE_TLS_CERT: file().describe('File with the PEM certificate chain; turns TLS on.'),
  TAILRACE_TLS_KEY: file().describe('File with its PEM private key.'),
  TAILRACE_TLS_CLIENT_CA: file().describe('File with PEM certificates: only clients signed by one of them get in.'),
  TAILRACE_SECRETS_KEY: secretsKey().describe(
    'Encrypts the secrets of waitpoint tokens in the database: 32 random bytes in base64, the same for every server on it.',
  ),
  TAILRACE_SECRETS_KEY_FILE: keyFile().describe('File that holds it instead. The embedded database makes its own key.'),
  TAILRACE_MAX_PAYLOAD_BYTES: whole(1_024, 67_108_864, 1_048_576).describe('Largest input, result or event payload.'),
  TAILRACE_MAX_FLOW_MEMBERS: whole(1, 10_000_000, 100_000).describe('Most members of one flow.'),
  TAILRACE_MAX_JOIN_SLOTS: whole(1, 10_000_000, 10_000).describe('Most edges or children that one join waits for.'),
  TAILRACE_MAX_FLOW_DEPTH: whole(1, 1_000_000, 1_000).describe('Most edges on one path through a flow.'),
  TAILRACE_MAX_FLOW_EDGES: whole(1, 1_000_000, 50_000).describe('Most edges that one call adds to a flow.'),
  TAILRACE_MAX_FRAMES: whole(1, 100_000_000, 10_000).describe('Most durable frames of one attempt.'),
  TAILRACE_MAX_FRAME_BYTES: whole(1_024, 16_777_216, 65_536).describe('Largest payload of a frame.'),
  TAILRACE_MAX_SUMMARY_BYTES: whole(1_024, 16_777_216, 262_144).describe(
    'Largest summary of an attempt, as JSON text.',
  ),
  TAILRACE_MAX_SIGNALS: whole(1, 1_000_000, 10_000).describe('Most signals of one execution.'),
  TAILRACE_MAX_EARLY_SIGNALS: whole(1, 1_000_000, 1_000).describe(
    'Most signals that one waitpoint keeps before a suspension names it.',
  ),
  TAILRACE_MAX_WAITPOINTS: whole(1, 1_000_000, 1_000).describe('Most waitpoints of one execution.'),
  TAILRACE_DRAIN_SECONDS: whole(0, 3_600, 30).describe('How long calls under way may take once a stop is asked for.'),
  TAILRACE_HEARTBEAT_SECONDS: whole(1, 300, 15).describe('How often an idle stream tells its cursor.'),
  TAILRACE_PARTITION_DAYS: whole(1, 366, 7).describe('Width of the partitions by time.'),
  TAILRACE_LOG_PARTITION_ROWS: whole(1_000, 1_000_000_000, 10_000_000).describe('Width of the partitions of the log.'),
  TAILRACE_LOG_LEVEL: text(isLevel, `one of ${LEVELS.join(', ')}`)
    .default('info')
    .describe('What is logged.'),
});

export type Config = ReturnType<typeof readConfig>;

/** Throws one StartError with everything that is wrong. */
export function readConfig(environment: Readonly<Record<string, string | undefined>> = process.env) {
  const given = Object.fromEntries(Object.entries(environment).filter(([, value]) => value));
  const parsed = settings.safeParse(given);
  const problems = [
    ...(parsed.error?.issues ?? []).map(({ path, message }) => explain(String(path[0]), message, given)),
    ...relations(given),
    ...misspelt(given),
  ];
  if (!parsed.success || problems.length > 0) {
    throw new StartError(`the configuration is wrong:\n${problems.map((problem) => `  ${problem}`).join('\n')}`);
  }
  const is = parsed.data;
  const { TAILRACE_TLS_CERT: cert, TAILRACE_TLS_KEY: key, TAILRACE_TLS_CLIENT_CA: clientCa } = is;
  return {
    databaseUrl: is.DATABASE_URL,
    schema: is.TAILRACE_SCHEMA,
    dataDirectory: is.TAILRACE_DATA_DIR,
    databaseConnections: is.TAILRACE_DATABASE_CONNECTIONS,
    migrateOnStart: is.TAILRACE_MIGRATE,
    host: is.TAILRACE_HOST,
    port: is.TAILRACE_PORT,
    tls: cert && key ? { cert, key, ...(clientCa && { clientCa }) } : undefined,
    secretsKey: is.TAILRACE_SECRETS_KEY ?? is.TAILRACE_SECRETS_KEY_FILE,
    maxPayloadBytes: is.TAILRACE_MAX_PAYLOAD_BYTES,
    flowLimits: {
      members: is.TAILRACE_MAX_FLOW_MEMBERS,
      slots: is.TAILRACE_MAX_JOIN_SLOTS,
      depth: is.TAILRACE_MAX_FLOW_DEPTH,
      edges: is.TAILRACE_MAX_FLOW_EDGES,
    },
    signalLimits: {
      perExecution: is.TAILRACE_MAX_SIGNALS,
      earlyPerWaitpoint: is.TAILRACE_MAX_EARLY_SIGNALS,
      waitpoints: is.TAILRACE_MAX_WAITPOINTS,
    },
    frameLimits: {
      frames: is.TAILRACE_MAX_FRAMES,
      frameBytes: is.TAILRACE_MAX_FRAME_BYTES,
      summaryBytes: is.TAILRACE_MAX_SUMMARY_BYTES,
    },
    drainMs: is.TAILRACE_DRAIN_SECONDS * 1_000,
    heartbeatMs: is.TAILRACE_HEARTBEAT_SECONDS * 1_000,
    partitionDays: is.TAILRACE_PARTITION_DAYS,
    logPartitionRows: is.TAILRACE_LOG_PARTITION_ROWS,
    logLevel: is.TAILRACE_LOG_LEVEL,
  };
}

/** Name and meaning of every setting, for --help. */
export function describeSettings(): { name: string; about: string }[] {
  return Object.entries(settings.shape).map(([name, rule]) => ({ name, about: rule.description ?? '' }));
}

function relations(given: Readonly<Record<string, string | undefined>>): string[] {
  const problems: string[] = [];
  const { TAILRACE_TLS_CERT: cert, TAILRACE_TLS_KEY: key, TAILRACE_TLS_CLIENT_CA: clientCa } = given;
  if (cert && !key) problems.push('TAILRACE_TLS_CERT needs TAILRACE_TLS_KEY');
  if (key && !cert) problems.push('TAILRACE_TLS_KEY needs TAILRACE_TLS_CERT');
  if (clientCa && !cert) problems.push('TAILRACE_TLS_CLIENT_CA needs TAILRACE_TLS_CERT and TAILRACE_TLS_KEY');
  if (given['TAILRACE_SECRETS_KEY'] && given['TAILRACE_SECRETS_KEY_FILE']) {
    problems.push('TAILRACE_SECRETS_KEY and TAILRACE_SECRETS_KEY_FILE are both given, and one of them is enough');
  }
  const host = given['TAILRACE_HOST'] ?? '127.0.0.1';
  const allowed = given['TAILRACE_ALLOW_UNAUTHENTICATED_NETWORK'] === 'true' || clientCa;
  if (!/^(localhost|::1|127(\.\d{1,3}){3})$/.test(host) && !allowed) {
    problems.push(
      `TAILRACE_HOST is "${host}", beyond the loopback address, where anybody who reaches the port may do everything: ` +
        'ask clients for certificates with TAILRACE_TLS_CLIENT_CA, or set TAILRACE_ALLOW_UNAUTHENTICATED_NETWORK=true',
    );
  }
  return problems;
}

function misspelt(given: Readonly<Record<string, string | undefined>>): string[] {
  const names = Object.keys(settings.shape);
  const unknown = Object.keys(given).filter((name) => name.startsWith('TAILRACE_') && !names.includes(name));
  // Without the prefix: it would make everything look alike.
  const bare = (name: string) => name.replace('TAILRACE_', '');
  return unknown.map((name) => {
    const near = nearest(bare(name), names.map(bare));
    const meant = names.find((candidate) => bare(candidate) === near);
    return `${name} is not a setting${meant ? `; did you mean ${meant}?` : ''}`;
  });
}

/** An address may hold a password: of what is or may be secret only the length is told. */
const SECRET: readonly string[] = ['DATABASE_URL', 'TAILRACE_SECRETS_KEY'];

function explain(name: string, rule: string, given: Readonly<Record<string, string | undefined>>): string {
  const value = given[name] ?? '';
  return `${name} must be ${rule}; it is ${SECRET.includes(name) ? `${value.length} characters of text` : `"${value}"`}`;
}

function text(accepts: (value: string) => boolean, rule: string) {
  return z.string().refine(accepts, rule);
}

function whole(least: number, most: number, standard: number) {
  const fits = (value: string) => /^\d{1,10}$/.test(value) && Number(value) >= least && Number(value) <= most;
  return text(fits, `a whole number from ${least} to ${most}`).default(String(standard)).transform(Number);
}

function flag(standard: boolean) {
  const isFlag = (value: string) => value === 'true' || value === 'false';
  return text(isFlag, 'true or false')
    .default(String(standard))
    .transform((value) => value === 'true');
}

function file() {
  return fileContent().optional();
}

function fileContent() {
  return z.string().transform((path, context) => {
    try {
      return readFileSync(path);
    } catch (error) {
      context.addIssue(`a file that can be read (${(error as NodeJS.ErrnoException).code})`);
      return z.NEVER;
    }
  });
}

function secretsKey() {
  return text((value) => keyIn(value) !== undefined, KEY_RULE)
    .transform(keyIn)
    .optional();
}

function keyFile() {
  return fileContent()
    .transform((content) => keyIn(content.toString('latin1').trim()))
    .refine((key) => key !== undefined, `a file with ${KEY_RULE}`)
    .optional();
}

function keyIn(value: string): Buffer | undefined {
  return /^[A-Za-z0-9+/]{43}=$/.test(value) ? Buffer.from(value, 'base64') : undefined;
}

function isPostgresUrl(value: string): boolean {
  return URL.canParse(value) && /^postgres(ql)?:$/.test(new URL(value).protocol);
}

function isLevel(value: string): boolean {
  return (LEVELS as readonly string[]).includes(value);
}
