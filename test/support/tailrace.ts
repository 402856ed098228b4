/** A whole server on a database of its own, as `tailrace serve` composes it, and clients to it. */
import { type Client, createClient } from '@connectrpc/connect';
import { createConnectTransport } from '@connectrpc/connect-node';
import pino, { type Logger } from 'pino';
import { AdminService } from '../../gen/tailrace/v1/admin_service_pb.js';
import { CompletionService } from '../../gen/tailrace/v1/completion_service_pb.js';
import { DeadLetterService } from '../../gen/tailrace/v1/dead_letter_service_pb.js';
import { EngineService } from '../../gen/tailrace/v1/engine_service_pb.js';
import { bearing } from '../../src/client/bearing.js';
import { readConfig } from '../../src/config.js';
import { type Running, serve } from '../../src/serve.js';
import { freshDatabase, type TestDatabase } from './postgres.js';

export interface Clients {
  readonly engine: Client<typeof EngineService>;
  readonly completion: Client<typeof CompletionService>;
  readonly deadLetters: Client<typeof DeadLetterService>;
  readonly admin: Client<typeof AdminService>;
}

export interface TestTailrace extends Clients {
  readonly url: string;
  readonly database: TestDatabase;
  readonly running: Running;
  /** Stops the server and drops its database, unless it was given one. */
  stop(): Promise<void>;
}

export interface TestTailraceOptions {
  /** Settings as the environment would give them. */
  readonly environment?: Readonly<Record<string, string>>;
  /** A database that other servers of the test use too; the caller drops it. */
  readonly database?: TestDatabase;
  /** What the server says goes there, for tests that look at it. */
  readonly logger?: Logger;
}

/** Empty in a test's own settings: a server without one. */
export const SECRETS_KEY = Buffer.alloc(32, 'a test').toString('base64');

export async function startTailrace(options: TestTailraceOptions = {}): Promise<TestTailrace> {
  const database = options.database ?? (await freshDatabase());
  const config = readConfig({
    DATABASE_URL: database.url,
    TAILRACE_SCHEMA: database.schema,
    TAILRACE_PORT: '0',
    TAILRACE_DRAIN_SECONDS: '2',
    TAILRACE_DATABASE_CONNECTIONS: '8',
    TAILRACE_SECRETS_KEY: SECRETS_KEY,
    // It shares its process with the test, and whatever else runs here: being late says nothing of the server.
    TAILRACE_MAX_LATENESS_MS: '10000',
    ...options.environment,
  });
  const running = await serve(config, options.logger ?? pino({ level: process.env['TEST_LOG_LEVEL'] ?? 'silent' }));
  return {
    ...clientsOf(running.url),
    url: running.url,
    database,
    running,
    async stop() {
      await running.stop();
      if (!options.database) await database.drop();
    },
  };
}

/** Over HTTP/2, so that many calls and watches share one connection. */
export function clientsOf(url: string, token?: string): Clients {
  const plain = createConnectTransport({ baseUrl: url, httpVersion: '2' });
  const transport = token === undefined ? plain : bearing(plain, token);
  return {
    engine: createClient(EngineService, transport),
    completion: createClient(CompletionService, transport),
    deadLetters: createClient(DeadLetterService, transport),
    admin: createClient(AdminService, transport),
  };
}
