#!/usr/bin/env node
/**
 * The command line: serve (the default), migrate, verify. Says what it does on standard output, what went wrong on
 * standard error in one message, and ends with 0, 1 (it could not), 2 (it was asked wrongly).
 */
import { parseArgs } from 'node:util';
import { describeSettings, readConfig } from './config.js';
import { EngineError } from './domain/errors.js';
import { nearest } from './domain/nearest.js';
import { StartError } from './domain/start-error.js';
import { startEmbedded } from './embedded/index.js';
import { migrate } from './repository/migrations/index.js';
import { packageVersion } from './runtime/package-root.js';
import { serve } from './serve.js';

const COMMANDS = ['serve', 'migrate'] as const;

const HELP = `tailrace — durable execution on Postgres

usage: tailrace [command]

commands
  serve     serve the API on one port; without DATABASE_URL it brings its own Postgres (default)
  migrate   bring the database's schema up to this version and end

options
  -h, --help      this text
  -v, --version   the version

settings, read from the environment
`;

async function main(args: readonly string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: { help: { type: 'boolean', short: 'h' }, version: { type: 'boolean', short: 'v' } },
  });
  if (values.version) return say(packageVersion());
  if (values.help) return say(HELP + settingsTable());
  const [command = 'serve', ...rest] = positionals;
  if (rest.length > 0) return refuse(`${command} takes no arguments, and got "${rest.join(' ')}"`);
  switch (command) {
    case 'serve':
      return await serveUntilStopped();
    case 'migrate':
      return await migrateOnce();
    default: {
      const near = nearest(command, COMMANDS);
      return refuse(`there is no command "${command}"${near ? `; did you mean ${near}?` : ''}`);
    }
  }
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
  const { databaseUrl, dataDirectory, schema } = readConfig();
  const embedded =
    databaseUrl === undefined ? await startEmbedded({ directory: dataDirectory, attach: true }) : undefined;
  try {
    const applied = await migrate({ url: databaseUrl ?? embedded?.url ?? '', schema });
    say(applied.length === 0 ? 'nothing to do: the schema is up to date' : `applied ${applied.join(', ')}`);
    return 0;
  } finally {
    await embedded?.stop();
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
  const misused = (error as { code?: string }).code?.startsWith('ERR_PARSE_ARGS') === true;
  if (misused) process.exitCode = refuse((error as Error).message);
  else {
    process.stderr.write(`tailrace: ${expected ? error.message : ((error as Error)?.stack ?? String(error))}\n`);
    process.exitCode = 1;
  }
}
