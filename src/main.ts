#!/usr/bin/env node
/**
 * The command line: serve (the default), migrate, verify. Says what it does on standard output, what went wrong on
 * standard error in one message, and ends with 0, 1 (it could not), 2 (it was asked wrongly).
 */
import { type VerifiedRule, verifyCommand } from './cli/verify.js';
import { describeSettings, readConfig } from './config.js';
import { EngineError } from './domain/errors.js';
import { nearest } from './domain/nearest.js';
import { StartError } from './domain/start-error.js';
import { startEmbedded } from './embedded/index.js';
import { Database } from './repository/database.js';
import { checkSchema, migrate } from './repository/migrations/index.js';
import { verify } from './repository/verification/index.js';
import { packageVersion } from './runtime/package-root.js';
import { serve } from './serve.js';

const COMMANDS = ['serve', 'migrate', 'verify'] as const;

const HELP = `tailrace — durable execution on Postgres

usage: tailrace [command]

commands
  serve     serve the API on one port; without DATABASE_URL it brings its own Postgres (default)
  migrate   bring the database's schema up to this version and end
  verify    check every rule across the tables and say what breaks them; --json for programs

options
  -h, --help      this text
  -v, --version   the version

settings, read from the environment
`;

async function main(args: readonly string[]): Promise<number> {
  const [command = 'serve', ...rest] = args;
  if (command === '--help' || command === '-h') return say(HELP + settingsTable());
  if (command === '--version' || command === '-v') return say(packageVersion());
  if (command === 'verify') return await verifyCommand(rest, verifyOnce, say);
  if (command === 'serve' || command === 'migrate') {
    if (rest.length > 0) return refuse(`${command} takes no arguments, and got "${rest.join(' ')}"`);
    return await (command === 'serve' ? serveUntilStopped() : migrateOnce());
  }
  const near = nearest(command, COMMANDS);
  return refuse(`there is no command "${command}"${near ? `; did you mean ${near}?` : ''}`);
}

async function serveUntilStopped(): Promise<number> {
  const running = await serve(readConfig());
  say(`
Tailrace ${packageVersion()} serves gRPC, gRPC-Web, Connect and HTTP/JSON at ${running.url}
Database: ${running.database}

Create an execution, then claim it:

  curl -s ${running.url}/tailrace.v1.EngineService/CreateExecutions -H 'content-type: application/json' -d '{"executions":[{"type":"hello","input":{"json":{"name":"world"}}}]}'
  curl -s ${running.url}/tailrace.v1.EngineService/ClaimExecutions -H 'content-type: application/json' -d '{"worker":{"name":"curl"},"wait":"5s"}'
`);
  await stopAsked();
  say('stopping: waiting calls end, calls under way may finish (again to stop at once)');
  await running.stop();
  return 0;
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

async function migrateOnce(): Promise<number> {
  const applied = await withDatabase((url, schema) => migrate({ url, schema }));
  return say(applied.length === 0 ? 'nothing to do: the schema is up to date' : `applied ${applied.join(', ')}`);
}

function verifyOnce(): Promise<readonly VerifiedRule[]> {
  return withDatabase(async (url, schema) => {
    await checkSchema({ url, schema });
    const database = new Database({ url, schema, connections: 2, name: 'tailrace verify' });
    try {
      return await verify(database);
    } finally {
      await database.close();
    }
  });
}

/** The database that a server with these settings would use; the embedded one also while a server runs on it. */
async function withDatabase<T>(body: (url: string, schema: string) => Promise<T>): Promise<T> {
  const { databaseUrl, dataDirectory, schema } = readConfig();
  if (databaseUrl !== undefined) return await body(databaseUrl, schema);
  const embedded = await startEmbedded({ directory: dataDirectory, attach: true });
  try {
    return await body(embedded.url, schema);
  } finally {
    await embedded.stop();
  }
}

function settingsTable(): string {
  const settings = describeSettings();
  const width = Math.max(...settings.map(({ name }) => name.length));
  return settings.map(({ name, about }) => `  ${name.padEnd(width)}  ${about}`).join('\n');
}

function say(text: string): number {
  process.stdout.write(`${text}\n`);
  return 0;
}

function refuse(text: string): number {
  process.stderr.write(`tailrace: ${text}\ntailrace --help tells what there is\n`);
  return 2;
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  const expected = error instanceof StartError || error instanceof EngineError;
  process.stderr.write(`tailrace: ${expected ? error.message : ((error as Error)?.stack ?? String(error))}\n`);
  process.exitCode = 1;
}
