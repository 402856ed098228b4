/**
 * `tailrace serve`: a database (given, or the embedded one), its schema, one engine, one port, until it is told to stop.
 *
 * A stop drains in order: the port refuses new calls, waiting calls answer, calls under way finish within the bound, the
 * loops end, the embedded database last.
 */
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import pino, { type Logger } from 'pino';
import { AdminService } from '../gen/tailrace/v1/admin_service_pb.js';
import { CompletionService } from '../gen/tailrace/v1/completion_service_pb.js';
import { DeadLetterService } from '../gen/tailrace/v1/dead_letter_service_pb.js';
import { EngineService } from '../gen/tailrace/v1/engine_service_pb.js';
import { bootstrap } from './bootstrap.js';
import type { Config } from './config.js';
import { type EmbeddedPostgres, secretsKeyIn, startEmbedded } from './embedded/index.js';
import { Engine } from './engine.js';
import { Guards } from './guards/index.js';
import { type OpenMetrics, openMetrics } from './metrics/index.js';
import { statementOf } from './repository/database.js';
import { checkRoleSettings, checkSchema, migrate } from './repository/migrations/index.js';
import { wallMs } from './runtime/clock.js';
import { packageVersion } from './runtime/package-root.js';
import { Readiness } from './runtime/readiness.js';
import { type RunningServer, startServer } from './server.js';
import { adminService, type ServerFacts } from './services/admin/index.js';
import { Authenticator, Certificates, Gate } from './services/authentication/index.js';
import { ALL_NAMESPACES } from './services/caller.js';
import { completionService } from './services/completion/index.js';
import type { NamespaceDefaults } from './services/conversion/namespace.js';
import { deadLetterService } from './services/dead-letters/index.js';
import { engineService, Writers } from './services/engine/index.js';
import { namespaceFor } from './services/namespace-in.js';
import { SealedTokens } from './services/tokens/index.js';
import { setupOf } from './setup.js';
import type { Tracing } from './tracing/exporter.js';
import { startStatementSpan } from './tracing/statement-spans.js';

export interface Running {
  /** Such as `http://127.0.0.1:8233`. */
  readonly url: string;
  readonly engine: Engine;
  /** Where the metrics are, if they have a port of their own. */
  readonly metricsUrl: string | undefined;
  /** Where the data lies, for people. */
  readonly database: string;
  stop(): Promise<void>;
}

/** Beyond the payload limit, what a batch of requests may take on the wire. */
const MESSAGE_ROOM = 16 * 1024 * 1024;
/** Statements that may wait for each connection to the database before new work is refused. */
const QUEUE_PER_CONNECTION = 40;
const DAY_MS = 86_400_000;
/** Event ids that are not UUIDv7 are remembered so long, where a namespace says nothing else. */
const EVENT_IDS_MS = 90 * DAY_MS;

export async function serve(
  config: Config,
  logger: Logger = pino({ level: config.logLevel }, pino.destination(2)),
): Promise<Running> {
  const embedded =
    config.databaseUrl === undefined
      ? await startEmbedded({
          directory: config.dataDirectory,
          onNotice: (notice) => logger.warn(notice),
        })
      : undefined;
  try {
    return await serveOn(config, embedded, config.databaseUrl ?? embedded?.url ?? '', logger);
  } catch (error) {
    await embedded?.stop();
    throw error;
  }
}

async function serveOn(
  config: Config,
  embedded: EmbeddedPostgres | undefined,
  url: string,
  logger: Logger,
): Promise<Running> {
  const { schema } = config;
  if (config.migrateOnStart) {
    const applied = await migrate({
      url,
      schema,
      onWait: () => logger.info('another process migrates; waiting for it'),
    });
    if (applied.length > 0) logger.info({ migrations: applied.length }, 'the schema is up to date');
  } else {
    await checkSchema({ url, schema });
  }
  await checkRoleSettings(url);
  const secretsKey = config.secretsKey ?? (embedded && (await secretsKeyIn(embedded.directory)));

  const readiness = new Readiness(['database', 'schema', 'sequencer', 'clock', 'partitions', 'server']);
  const onError = (name: string, error: unknown) => {
    const said = { loop: name, statement: statementOf(error), error: (error as Error)?.message };
    logger.warn(said, 'a loop failed; it goes on');
  };
  const engine = new Engine({
    url,
    schema,
    connections: config.databaseConnections,
    name: `tailrace ${packageVersion()}`,
    partitionMs: config.partitionMs,
    logPartitionRows: config.logPartitionRows,
    maxPayloadBytes: config.maxPayloadBytes,
    retentionMs: config.retentionMs,
    letterRetentionDays: config.letterRetentionDays,
    onDropped: (dropped) => logger.info(dropped, 'retention dropped partitions'),
    namesInMetrics: config.metrics.names,
    log: { heartbeatMs: config.heartbeatMs },
    frames: { heartbeatMs: config.heartbeatMs },
    readiness,
    onError,
  });
  engine.database.onStatement = (name) => startStatementSpan(name, schema);
  const guards = new Guards({
    url,
    runner: engine.database,
    setup: setupOf(config, secretsKey !== undefined, embedded?.directory),
    onWarning: (finding) => logger.warn(finding, 'something will hurt'),
    onError,
  });
  await guards
    .begin(() => engine.start())
    .catch(async (error: unknown) => {
      await engine.stop();
      throw error;
    });
  let draining = false;
  const service = { version: packageVersion(), instance: randomUUID() };
  const facts: ServerFacts = {
    ...service,
    startedAt: new Date(wallMs()),
    embeddedDatabase: embedded !== undefined,
    draining: () => draining,
    traffic: { ...config.traffic.calls, messageBytes: config.maxPayloadBytes + MESSAGE_ROOM },
    get warnings() {
      return guards.warnings;
    },
  };
  let server: RunningServer;
  let metrics: OpenMetrics;
  let tracing: Tracing | undefined;
  try {
    if (config.tracing) {
      const { startTracing } = await import('./tracing/exporter.js');
      tracing = startTracing(config.tracing, service, logger);
    }
    if (!config.anonymous && (config.bootstrapTokenFile || !hasAdminCertificate(config))) {
      await bootstrap({
        runner: engine.database,
        file: config.bootstrapTokenFile ?? (embedded && join(embedded.directory, 'admin-token')),
        onNotice: (notice) => logger.warn(notice),
      });
    }
    const tokens = new SealedTokens({ database: engine.database, key: secretsKey, log: logger });
    ({ server, metrics } = await listen(config, engine, readiness, logger, facts, tokens));
  } catch (error) {
    await guards.stop();
    await engine.stop();
    await tracing?.stop();
    throw error;
  }
  let stopped: Promise<void> | undefined;
  const stop = async () => {
    draining = true;
    const drained = server.drain(config.drainMs);
    engine.lines.close(); // waiting claims answer now; watches see the calls under way to their end
    await drained;
    await metrics.close();
    await guards.stop();
    await engine.stop();
    await tracing?.stop();
    await embedded?.stop();
  };
  return {
    url: server.address.url,
    engine,
    metricsUrl: metrics.url,
    database: embedded ? `${embedded.origin} in ${embedded.directory}` : withoutPassword(url),
    stop: () => {
      stopped ??= stop();
      return stopped;
    },
  };
}

async function listen(
  config: Config,
  engine: Engine,
  readiness: Readiness,
  logger: Logger,
  facts: ServerFacts,
  tokens: SealedTokens,
): Promise<{ readonly server: RunningServer; readonly metrics: OpenMetrics }> {
  const { database, registry, lines, log, pages, after, presence, consumerWakes, redrives, retention } = engine;
  const { maxPayloadBytes, flowLimits, signalLimits, frameLimits } = config;
  const writers = new Writers(database, after, flowLimits.members, frameLimits, lines.attempts);
  const limits = { maxPayloadBytes, flowLimits, signalLimits, frameLimits };
  const deps = {
    database,
    registry,
    lines,
    log,
    after,
    writers,
    presence,
    tokens,
    consumerWakes,
    redrives,
    retention,
    pages,
    ...limits,
  };
  const sources = { engine, groups: writers.meters, readiness, version: facts.version };
  const metrics = await openMetrics(config.metrics, sources, logger);
  const starting = startServer({
    host: config.host,
    port: config.port,
    ...(config.tls && { tls: config.tls }),
    gate: gateOf(config, engine, logger),
    readiness,
    logger,
    version: facts.version,
    ...(metrics.page && { metrics: metrics.page }),
    maxMessageBytes: maxPayloadBytes + MESSAGE_ROOM,
    portLimits: config.traffic.port,
    callLimits: { ...config.traffic.calls, queuedStatements: QUEUE_PER_CONNECTION * config.databaseConnections },
    queuedStatements: () => engine.database.connections.waiting,
    routes: (router) => {
      router.service(EngineService, engineService(deps));
      router.service(
        CompletionService,
        completionService({
          live: log,
          pages,
          database,
          frames: engine.frames,
          frameSource: engine.frameSource,
          after,
          consumerWakes,
          maxPayloadBytes,
          namespaceId: (name, context) => namespaceFor(registry, name || 'default', context),
          registry,
        }),
      );
      router.service(DeadLetterService, deadLetterService(deps));
      const { leastRetentionMs } = config;
      const admin = { ...deps, namespaces: namespaceDefaults(config), leastRetentionMs };
      router.service(AdminService, adminService({ ...admin, source: engine.source, server: facts }));
    },
  });
  try {
    const server = await starting;
    metrics.serving(server);
    return { server, metrics };
  } catch (error) {
    await metrics.close();
    throw error;
  }
}

function gateOf(config: Config, { database, registry }: Engine, logger: Logger): Gate {
  const onError = (name: string, error: unknown) =>
    logger.warn({ part: name, error: (error as Error)?.message }, 'something beside the calls failed; they go on');
  return new Gate({
    authenticator: new Authenticator({ runner: database, registry, onError }),
    certificates: new Certificates(config.clientRoles),
    anonymous: config.anonymous,
    namespaces: registry,
  });
}

/** Somebody gets in without a token. */
function hasAdminCertificate({ clientRoles }: Config): boolean {
  return clientRoles.some(({ namespace, roles }) => namespace === ALL_NAMESPACES && roles.includes('admin'));
}

function namespaceDefaults({ retentionMs, letterRetentionDays, maxPayloadBytes }: Config): NamespaceDefaults {
  return {
    executionsMs: retentionMs,
    logMs: retentionMs,
    lettersMs: letterRetentionDays > 0 ? letterRetentionDays * DAY_MS : undefined,
    eventIdsMs: EVENT_IDS_MS,
    maxPayloadBytes,
  };
}

function withoutPassword(url: string): string {
  const shown = new URL(url);
  shown.password = '';
  shown.search = '';
  return shown.href;
}
