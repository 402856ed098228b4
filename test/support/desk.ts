/** An engine with all its services, called without a port in between, and its log brought up to date on demand. */
import { createClient, createRouterTransport, type Interceptor } from '@connectrpc/connect';
import { AdminService } from '../../gen/tailrace/v1/admin_service_pb.js';
import { CompletionService } from '../../gen/tailrace/v1/completion_service_pb.js';
import { DeadLetterService } from '../../gen/tailrace/v1/dead_letter_service_pb.js';
import { EngineService } from '../../gen/tailrace/v1/engine_service_pb.js';
import { Engine } from '../../src/engine.js';
import { DatabaseLogSource } from '../../src/log/source.js';
import { foldCounts } from '../../src/repository/inspection/index.js';
import { stepLog } from '../../src/repository/log/index.js';
import { verify } from '../../src/repository/verification/index.js';
import { pause, wallMs } from '../../src/runtime/clock.js';
import { Readiness } from '../../src/runtime/readiness.js';
import { adminService } from '../../src/services/admin/index.js';
import { completionService } from '../../src/services/completion/index.js';
import { deadLetterService } from '../../src/services/dead-letters/index.js';
import { engineService, Writers } from '../../src/services/engine/index.js';
import { asEngineError, toConnectError } from '../../src/services/errors.js';
import { SealedTokens } from '../../src/services/tokens/index.js';
import { ByHand } from './by-hand.js';
import { freshDatabase, type TestDatabase } from './postgres.js';
import type { Clients } from './tailrace.js';

export interface Desk extends Clients {
  readonly database: TestDatabase;
  readonly core: Engine;
  readonly hand: ByHand;
  /** A client and worker of another namespace. */
  handIn(namespace: string): ByHand;
  /** Everything committed so far has its position and is counted. */
  caughtUp(): Promise<void>;
  /** Names of broken rules, with what breaks them. */
  broken(): Promise<string[]>;
  stop(): Promise<void>;
}

const MAX_PAYLOAD_BYTES = 4_096;
const DAY_MS = 86_400_000;
const STARTED = new Date(wallMs());
const DEFECTS = { error: (fields: object) => console.error(fields) };

const typed: Interceptor = (next) => async (request) => {
  try {
    return await next(request);
  } catch (error) {
    throw toConnectError(asEngineError(error, DEFECTS, request.method.name));
  }
};

export async function startDesk(): Promise<Desk> {
  const database = await freshDatabase();
  const engine = new Engine({
    url: database.url,
    schema: database.schema,
    connections: 4,
    partitionMs: 7 * 86_400_000,
    logPartitionRows: 1_000_000,
    maxPayloadBytes: MAX_PAYLOAD_BYTES,
    readiness: new Readiness(['database', 'partitions']),
    onError: (name, error) => console.error(name, error),
  });
  await engine.start();
  const deps = {
    database: engine.database,
    registry: engine.registry,
    after: engine.after,
    consumerWakes: engine.consumerWakes,
    redrives: engine.redrives,
    retention: engine.retention,
    pages: engine.pages,
    tokens: new SealedTokens({ database: engine.database, key: Buffer.alloc(32, 'desk'), log: DEFECTS }),
    maxPayloadBytes: MAX_PAYLOAD_BYTES,
    flowLimits: { members: 1_000, slots: 100, depth: 20, edges: 1_000 },
    frameLimits: { frames: 100, frameBytes: 65_536, summaryBytes: 8_192 },
    signalLimits: { perExecution: 100, earlyPerWaitpoint: 10, waitpoints: 10 },
    namespaces: {
      ...{ executionsMs: 30 * DAY_MS, logMs: 30 * DAY_MS, lettersMs: 30 * DAY_MS, eventIdsMs: 90 * DAY_MS },
      maxPayloadBytes: MAX_PAYLOAD_BYTES,
    },
    leastRetentionMs: 1_000,
  };
  const { lines, log, presence } = engine;
  const server = {
    version: '0.0.0-test',
    instance: 'desk',
    startedAt: STARTED,
    embeddedDatabase: false,
    draining: () => false,
    warnings: ['the clock is a test'],
  };
  const transport = createRouterTransport(
    (router) => {
      const writers = new Writers(engine.database, engine.after, 100_000);
      router.service(EngineService, engineService({ ...deps, lines, log, presence, writers }));
      router.service(
        CompletionService,
        completionService({
          live: log,
          database: engine.database,
          frames: engine.frames,
          frameSource: engine.frameSource,
          after: engine.after,
          consumerWakes: engine.consumerWakes,
          maxPayloadBytes: MAX_PAYLOAD_BYTES,
          pages: engine.pages,
          namespaceId: (name) => engine.registry.namespaceFor(name || 'default'),
          registry: engine.registry,
        }),
      );
      router.service(AdminService, adminService({ ...deps, source: new DatabaseLogSource(engine.database), server }));
      router.service(DeadLetterService, deadLetterService(deps));
    },
    { router: { interceptors: [typed] } },
  );
  const clients: Clients = {
    engine: createClient(EngineService, transport),
    completion: createClient(CompletionService, transport),
    deadLetters: createClient(DeadLetterService, transport),
    admin: createClient(AdminService, transport),
  };
  return {
    ...clients,
    database,
    core: engine,
    hand: new ByHand(clients),
    handIn: (namespace) => new ByHand(clients, 'stranger', 'stranger', namespace),
    async caughtUp() {
      for (let more = true; more; ) {
        const step = await stepLog(engine.database, 1_000);
        more = step.busy || step.more || step.numbered > 0;
      }
      for (let more = true; more; ) {
        const { busy, folded } = await foldCounts(engine.database, 1_000);
        more = busy || folded > 0;
        if (busy) await pause(1);
      }
    },
    async broken() {
      const rules = await verify(engine.database);
      return rules.flatMap(({ name, violations }) =>
        violations.length > 0 ? [`${name}: ${violations.join(', ')}`] : [],
      );
    },
    async stop() {
      await engine.stop();
      await database.drop();
    },
  };
}
