/**
 * `tailrace serve`: a database (given, or the embedded one), its schema, one engine, one port, until it is told to stop.
 *
 * A stop drains in order: the port refuses new calls, waiting calls answer, calls under way finish within the bound, the
 * loops end, the embedded database last.
 */
import { randomUUID } from 'node:crypto';
import pino, { type Logger } from 'pino';
import { AdminService } from '../gen/tailrace/v1/admin_service_pb.js';
import { CompletionService } from '../gen/tailrace/v1/completion_service_pb.js';
import { DeadLetterService } from '../gen/tailrace/v1/dead_letter_service_pb.js';
import { EngineService } from '../gen/tailrace/v1/engine_service_pb.js';
import type { Config } from './config.js';
import { type EmbeddedPostgres, secretsKeyIn, startEmbedded } from './embedded/index.js';
import { Engine } from './engine.js';
import { checkRoleSettings, checkSchema, migrate } from './repository/migrations/index.js';
import { wallMs } from './runtime/clock.js';
import { packageVersion } from './runtime/package-root.js';
import { Readiness } from './runtime/readiness.js';
import { type RunningServer, startServer } from './server.js';
import { adminService, type ServerFacts } from './services/admin/index.js';
import { completionService } from './services/completion/index.js';
import { deadLetterService } from './services/dead-letters/index.js';
import { engineService, Writers } from './services/engine/index.js';
import { SealedTokens } from './services/tokens/index.js';

export interface Running {
  /** Such as `http://127.0.0.1:8233`. */
  readonly url: string;
  readonly engine: Engine;
  /** Where the data lies, for people. */
  readonly database: string;
  stop(): Promise<void>;
}

/** Beyond the payload limit, what a batch of requests may take on the wire. */
const MESSAGE_ROOM = 16 * 1024 * 1024;
const NO_SECRETS =
  'TAILRACE_SECRETS_KEY is not set: waitpoints, whose tokens need it, cannot be made or signaled by token';

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

  const readiness = new Readiness(['database', 'partitions', 'server']);
  const engine = new Engine({
    url,
    schema,
    connections: config.databaseConnections,
    partitionDays: config.partitionDays,
    logPartitionRows: config.logPartitionRows,
    log: { heartbeatMs: config.heartbeatMs },
    frames: { heartbeatMs: config.heartbeatMs },
    readiness,
    onError: (name, error) =>
      logger.warn({ loop: name, error: (error as Error)?.message }, 'a loop failed; it goes on'),
  });
  await engine.start();
  let draining = false;
  const facts: ServerFacts = {
    version: packageVersion(),
    instance: randomUUID(),
    startedAt: new Date(wallMs()),
    embeddedDatabase: embedded !== undefined,
    draining: () => draining,
    warnings: secretsKey === undefined ? [NO_SECRETS] : [],
  };
  let server: RunningServer;
  try {
    const tokens = new SealedTokens({ database: engine.database, key: secretsKey, log: logger });
    server = await listen(config, engine, readiness, logger, facts, tokens);
  } catch (error) {
    await engine.stop();
    throw error;
  }
  let stopped: Promise<void> | undefined;
  const stop = async () => {
    draining = true;
    const drained = server.drain(config.drainMs);
    engine.lines.close(); // waiting claims answer now; watches see the calls under way to their end
    await drained;
    await engine.stop();
    await embedded?.stop();
  };
  return {
    url: server.address.url,
    engine,
    database: embedded ? `${embedded.origin} in ${embedded.directory}` : withoutPassword(url),
    stop: () => {
      stopped ??= stop();
      return stopped;
    },
  };
}

function listen(
  config: Config,
  engine: Engine,
  readiness: Readiness,
  logger: Logger,
  facts: ServerFacts,
  tokens: SealedTokens,
): Promise<RunningServer> {
  const { database, registry, lines, log, after, presence } = engine;
  const { maxPayloadBytes, flowLimits, signalLimits, frameLimits } = config;
  const writers = new Writers(database, after, flowLimits.members, frameLimits);
  const limits = { maxPayloadBytes, flowLimits, signalLimits, frameLimits };
  const deps = { database, registry, lines, log, after, writers, presence, tokens, ...limits };
  return startServer({
    host: config.host,
    port: config.port,
    ...(config.tls && { tls: config.tls }),
    readiness,
    logger,
    version: facts.version,
    maxMessageBytes: maxPayloadBytes + MESSAGE_ROOM,
    routes: (router) => {
      router.service(EngineService, engineService(deps));
      router.service(
        CompletionService,
        completionService({
          live: log,
          database,
          frames: engine.frames,
          frameSource: engine.frameSource,
          namespaceId: (name) => registry.namespaceFor(name || 'default'),
        }),
      );
      router.service(DeadLetterService, deadLetterService(deps));
      router.service(AdminService, adminService({ ...deps, source: engine.source, server: facts }));
    },
  });
}

function withoutPassword(url: string): string {
  const shown = new URL(url);
  shown.password = '';
  shown.search = '';
  return shown.href;
}
