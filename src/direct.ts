/**
 * What the command line does without a server in between: serve, and what goes to the database directly. The settings are
 * those of a server, from the environment.
 *
 * Each is loaded when it is asked for: a command that only calls a server needs none of this.
 */
import type { Diagnosis, Host, Setting, VerifiedRule } from './cli/host.js';
import type { Database } from './repository/database.js';
import { packageVersion } from './runtime/package-root.js';

/** Undefined: that of the process. */
type Environment = Readonly<Record<string, string | undefined>> | undefined;

/** Where the database is; the embedded one also while a server runs on it. */
interface Place {
  readonly url: string;
  readonly schema: string;
  /** Of the embedded database. */
  readonly dataDirectory: string | undefined;
}

export function direct(environment?: Environment): Host {
  return {
    version: packageVersion(),
    settings: async (): Promise<readonly Setting[]> => (await import('./config.js')).describeSettings(),
    serve: (say) => serveUntilStopped(environment, say),
    migrate: () =>
      withPlace(environment, async (place) => (await import('./repository/migrations/index.js')).migrate(place)),
    async verify(): Promise<readonly VerifiedRule[]> {
      const { verify } = await import('./repository/verification/index.js');
      return await withRunner(environment, 'verify', verify);
    },
    async bootstrap(always: boolean): Promise<string | undefined> {
      const { bootstrapSecret } = await import('./bootstrap.js');
      return await withRunner(environment, 'bootstrap', (runner) => bootstrapSecret(runner, always));
    },
    async restored() {
      const { renewIncarnation } = await import('./repository/log/index.js');
      return await withRunner(environment, 'restored', renewIncarnation);
    },
    doctor: (thorough) => diagnose(environment, thorough),
  };
}

async function serveUntilStopped(environment: Environment, say: (text: string) => void): Promise<void> {
  const { readConfig } = await import('./config.js');
  const { serve } = await import('./serve.js');
  const config = readConfig(environment);
  const running = await serve(config);
  // The first token lies where its owner put it, and is not shown.
  const bearer = config.anonymous ? '' : ` -H "authorization: Bearer $TAILRACE_TOKEN"`;
  const asked = stopAsked(); // before anybody can know that it serves
  say(`
Tailrace ${packageVersion()} serves gRPC, gRPC-Web, Connect and HTTP/JSON at ${running.url}
Database: ${running.database}

Create an execution, then claim it:

  curl -s ${running.url}/tailrace.v1.EngineService/CreateExecutions${bearer} -H 'content-type: application/json' -d '{"executions":[{"type":"hello","input":{"json":{"name":"world"}}}]}'
  curl -s ${running.url}/tailrace.v1.EngineService/ClaimExecutions${bearer} -H 'content-type: application/json' -d '{"worker":{"name":"curl"},"wait":"5s"}'
`);
  await asked;
  say('stopping: waiting calls end, calls under way may finish (again to stop at once)');
  await running.stop();
}

/** The first signal asks; a second one does not wait any longer. */
function stopAsked(): Promise<void> {
  return new Promise((resolve) => {
    let asked = false;
    for (const signal of ['SIGINT', 'SIGTERM'] as const) {
      process.on(signal, () => {
        if (asked) process.exit(1);
        asked = true;
        resolve();
      });
    }
  });
}

async function diagnose(environment: Environment, thorough: boolean): Promise<Diagnosis> {
  const { readConfig } = await import('./config.js');
  const { examine } = await import('./doctor.js');
  const config = readConfig(environment);
  return await withPlace(environment, (place) => examine({ ...place, config, thorough }));
}

async function withRunner<T>(
  environment: Environment,
  name: string,
  body: (database: Database) => Promise<T>,
): Promise<T> {
  const { checkSchema } = await import('./repository/migrations/index.js');
  const { Database } = await import('./repository/database.js');
  return await withPlace(environment, async (place) => {
    await checkSchema(place);
    const database = new Database({ ...place, connections: 2, name: `tailrace ${name}` });
    try {
      return await body(database);
    } finally {
      await database.close();
    }
  });
}

async function withPlace<T>(environment: Environment, body: (place: Place) => Promise<T>): Promise<T> {
  const { readConfig } = await import('./config.js');
  const { databaseUrl, dataDirectory, schema } = readConfig(environment);
  if (databaseUrl !== undefined) return await body({ url: databaseUrl, schema, dataDirectory: undefined });
  const { startEmbedded } = await import('./embedded/index.js');
  const embedded = await startEmbedded({ directory: dataDirectory, attach: true });
  try {
    return await body({ url: embedded.url, schema, dataDirectory: embedded.directory });
  } finally {
    await embedded.stop();
  }
}
