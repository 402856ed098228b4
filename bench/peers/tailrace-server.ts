/** A Tailrace server in a process of its own: the compiled one, with the flags that `npm start` gives to Node. */
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from '../../src/runtime/package-root.js';
import type { ServerProcess } from './contestant.js';

/** The same for every server on a database. */
const SECRETS_KEY = randomBytes(32).toString('base64');

export interface TailraceServer extends ServerProcess {
  stop(): Promise<void>;
}

export interface TailraceServerOptions {
  /** Where Node writes a CPU profile when it ends. */
  readonly profileInto?: string | undefined;
  /** Settings that a measure needs; what it does not name is as by default. */
  readonly settings?: Readonly<Record<string, string>> | undefined;
}

export async function startTailraceServer(
  databaseUrl: string,
  { profileInto, settings = {} }: TailraceServerOptions = {},
): Promise<TailraceServer> {
  const profiling = profileInto === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${profileInto}`];
  // Not through npm or the tsx command: the process that is measured must be the server itself.
  const child = spawn(process.execPath, [...profiling, ...startFlags()], {
    cwd: packageRoot(),
    stdio: ['ignore', 'pipe', 'inherit'],
    // Nothing of our own environment: its settings are not the ones to be measured.
    env: {
      PATH: process.env['PATH'],
      DATABASE_URL: databaseUrl,
      TAILRACE_PORT: '0',
      TAILRACE_DRAIN_SECONDS: '5',
      TAILRACE_LOG_LEVEL: 'warn',
      TAILRACE_SECRETS_KEY: SECRETS_KEY,
      ...settings,
    },
  });
  // Whatever ends the benchmark must not leave a server behind.
  const kill = () => child.kill('SIGKILL');
  process.once('exit', kill);
  const ended = once(child, 'exit').finally(() => process.off('exit', kill));
  const url = await Promise.race([
    addressFrom(child.stdout),
    ended.then(([code]) => Promise.reject(new Error(`the Tailrace server ended with ${code} before it was ready`))),
  ]);
  return {
    url,
    pid: child.pid ?? 0,
    stop: async () => {
      child.kill('SIGTERM');
      await ended;
    },
  };
}

/** What `npm start` gives to Node, but for what runs TypeScript as it is: that costs seconds of each start. */
function startFlags(): string[] {
  const text = readFileSync(join(packageRoot(), 'package.json'), 'utf8');
  const { start } = (JSON.parse(text) as { scripts: { start: string } }).scripts;
  const found = /^node (.*)--import tsx src\/main\.ts (.*)$/.exec(start);
  if (found === null) throw new Error(`npm start is not what it was: ${start}`);
  const [, flags = '', command = ''] = found;
  return [...flags.trim().split(' '), 'dist/src/main.js', command];
}

async function addressFrom(output: NodeJS.ReadableStream): Promise<string> {
  return await new Promise((resolve) => {
    let said = '';
    output.on('data', (chunk: Buffer) => {
      said += chunk.toString();
      const address = /serves .* at (http:\S+)/.exec(said)?.[1];
      if (address !== undefined) resolve(address);
    });
  });
}
