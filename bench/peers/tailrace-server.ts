/** A Tailrace server in a process of its own, started as `npm start` does. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from '../../src/runtime/package-root.js';

export interface TailraceServer {
  readonly url: string;
  readonly pid: number;
  stop(): Promise<void>;
}

export interface TailraceServerOptions {
  /** Where Node writes a CPU profile when it ends. */
  readonly profileInto?: string | undefined;
  /** Settings that a measure needs; what it does not name is as by default. */
  readonly settings?: Readonly<Record<string, string>>;
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

/** What `npm start` gives to Node. */
function startFlags(): string[] {
  const text = readFileSync(join(packageRoot(), 'package.json'), 'utf8');
  const { start } = (JSON.parse(text) as { scripts: { start: string } }).scripts;
  const [program, ...flags] = start.split(' ');
  if (program !== 'node') throw new Error(`npm start does not start node, but ${program}`);
  return flags;
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
