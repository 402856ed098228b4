/**
 * The only reader of process.env. Every setting, its rule and its default stand in one table; all that is wrong is
 * said in one message, which names the variable and the rule and never shows a secret.
 *
 * An empty variable counts as unset, as compose files produce them. A misspelt one is refused, never ignored.
 */
import { z } from 'zod';
import { CLIENT_SETTINGS } from './config/client.js';
import { clientRoles } from './config/client-roles.js';
import { metricsOf, metricsSettings } from './config/metrics.js';
import { file, flag, keyFile, secretsKey, span, spanOrForever, text, whole } from './config/rules.js';
import { tracingOf, tracingSettings } from './config/tracing.js';
import { trafficOf, trafficSettings } from './config/traffic.js';
import { nearest } from './domain/nearest.js';
import { StartError } from './domain/start-error.js';
import { SCHEMA_NAME } from './repository/statement.js';

const LEVELS = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const;

const MODES: readonly string[] = ['loopback', 'required'];
const CERTIFICATES: readonly string[] = ['required', 'optional'];

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
  TAILRACE_AUTHENTICATION: text((value) => MODES.includes(value), MODES.join(' or '))
    .default('loopback')
    .describe(
      'Who needs a token or certificate: everybody (required), or those beyond the loopback address (loopback).',
    ),
  TAILRACE_ALLOW_UNAUTHENTICATED_NETWORK: flag(false).describe(
    'Whether anybody who reaches the port may do everything, also beyond the loopback address.',
  ),
  TAILRACE_BOOTSTRAP_TOKEN_FILE: z
    .string()
    .optional()
    .describe('File with the secret of the first admin token; made where it is missing. See tailrace bootstrap.'),
  TAILRACE_TLS_CERT: file().describe('File with the PEM certificate chain; turns TLS on.'),
  TAILRACE_TLS_KEY: file().describe('File with its PEM private key.'),
  TAILRACE_TLS_CLIENT_CA: file().describe('File with PEM certificates: only clients signed by one of them get in.'),
  TAILRACE_TLS_CLIENT_CERT: text((value) => CERTIFICATES.includes(value), CERTIFICATES.join(' or '))
    .default('required')
    .describe('Whether clients must bring a certificate, or may bring a token alone (optional).'),
  TAILRACE_CLIENT_ROLES_FILE: clientRoles().describe(
    'File with a JSON list of what certificates stand for: {"subject", "name", "namespace", "roles"}.',
  ),
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
  TAILRACE_PARTITION_WIDTH: span('7d').describe('Width of the partitions by time: disk returns in such steps.'),
  TAILRACE_LOG_PARTITION_ROWS: whole(1_000, 1_000_000_000, 10_000_000).describe('Width of the partitions of the log.'),
  TAILRACE_RETENTION: spanOrForever('30d').describe(
    'How long what ended, and the log, are kept where a namespace says nothing else; or forever.',
  ),
  TAILRACE_LEAST_RETENTION: span('1h').describe('The shortest that a namespace may ask to be kept.'),
  TAILRACE_DEAD_LETTER_DAYS: whole(0, 36_500, 30).describe(
    'Days that closed dead letters are kept; 0: for ever. Open ones always are.',
  ),
  TAILRACE_LOG_LEVEL: text(isLevel, `one of ${LEVELS.join(', ')}`)
    .default('info')
    .describe('What is logged.'),
  ...metricsSettings,
  ...trafficSettings,
  ...tracingSettings,
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
  const clientCertOptional = is.TAILRACE_TLS_CLIENT_CERT === 'optional';
  return {
    databaseUrl: is.DATABASE_URL,
    schema: is.TAILRACE_SCHEMA,
    dataDirectory: is.TAILRACE_DATA_DIR,
    databaseConnections: is.TAILRACE_DATABASE_CONNECTIONS,
    migrateOnStart: is.TAILRACE_MIGRATE,
    host: is.TAILRACE_HOST,
    port: is.TAILRACE_PORT,
    tls: cert && key ? { cert, key, ...(clientCa && { clientCa, clientCertOptional }) } : undefined,
    anonymous:
      is.TAILRACE_AUTHENTICATION === 'loopback' &&
      (isLoopback(is.TAILRACE_HOST) || is.TAILRACE_ALLOW_UNAUTHENTICATED_NETWORK),
    bootstrapTokenFile: is.TAILRACE_BOOTSTRAP_TOKEN_FILE,
    clientRoles: is.TAILRACE_CLIENT_ROLES_FILE ?? [],
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
    partitionMs: is.TAILRACE_PARTITION_WIDTH,
    logPartitionRows: is.TAILRACE_LOG_PARTITION_ROWS,
    retentionMs: is.TAILRACE_RETENTION,
    leastRetentionMs: is.TAILRACE_LEAST_RETENTION,
    letterRetentionDays: is.TAILRACE_DEAD_LETTER_DAYS,
    logLevel: is.TAILRACE_LOG_LEVEL,
    metrics: metricsOf(is),
    traffic: trafficOf(is),
    tracing: tracingOf(is),
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
  for (const name of ['TAILRACE_TLS_CLIENT_CERT', 'TAILRACE_CLIENT_ROLES_FILE']) {
    if (given[name] && !clientCa) problems.push(`${name} needs TAILRACE_TLS_CLIENT_CA`);
  }
  if (given['TAILRACE_AUTHENTICATION'] === 'required' && given['TAILRACE_ALLOW_UNAUTHENTICATED_NETWORK'] === 'true') {
    problems.push(
      'TAILRACE_AUTHENTICATION=required and TAILRACE_ALLOW_UNAUTHENTICATED_NETWORK=true exclude each other',
    );
  }
  return problems;
}

/** Whom only programs on this machine can reach. */
export function isLoopback(host: string): boolean {
  return /^(localhost|::1|127(\.\d{1,3}){3})$/.test(host);
}

/** What clients and workers read: they may be started from the same shell. */
const OTHERS: readonly string[] = Object.keys(CLIENT_SETTINGS);

function misspelt(given: Readonly<Record<string, string | undefined>>): string[] {
  const names = Object.keys(settings.shape);
  const known = [...names, ...OTHERS];
  const unknown = Object.keys(given).filter((name) => name.startsWith('TAILRACE_') && !known.includes(name));
  // Without the prefix: it would make everything look alike.
  const bare = (name: string) => name.replace('TAILRACE_', '');
  return unknown.map((name) => {
    const near = nearest(bare(name), names.map(bare));
    const meant = names.find((candidate) => bare(candidate) === near);
    return `${name} is not a setting${meant ? `; did you mean ${meant}?` : ''}`;
  });
}

/** An address may hold a password: of what is or may be secret only the length is told. */
const SECRET: readonly string[] = [
  'DATABASE_URL',
  'TAILRACE_SECRETS_KEY',
  'OTEL_EXPORTER_OTLP_ENDPOINT',
  'OTEL_EXPORTER_OTLP_TRACES_ENDPOINT',
  'OTEL_EXPORTER_OTLP_HEADERS',
  'OTEL_EXPORTER_OTLP_TRACES_HEADERS',
];

function explain(name: string, rule: string, given: Readonly<Record<string, string | undefined>>): string {
  const value = given[name] ?? '';
  return `${name} must be ${rule}; it is ${SECRET.includes(name) ? `${value.length} characters of text` : `"${value}"`}`;
}

function isPostgresUrl(value: string): boolean {
  return URL.canParse(value) && /^postgres(ql)?:$/.test(new URL(value).protocol);
}

function isLevel(value: string): boolean {
  return (LEVELS as readonly string[]).includes(value);
}
