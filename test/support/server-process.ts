/** `tailrace serve` in a process of its own, to be killed as the kernel or a machine kills: without a last word. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { compiledMain } from './compiled.js';
import type { TestDatabase } from './postgres.js';
import { SECRETS_KEY } from './tailrace.js';

export class ServerProcess {
  readonly #child: ChildProcess;
  readonly url: string;

  private constructor(child: ChildProcess, url: string) {
    this.#child = child;
    this.url = url;
  }

  /** `more`: settings as the environment would give them. */
  static async start(
    { url, schema }: Pick<TestDatabase, 'url' | 'schema'>,
    more: Readonly<Record<string, string>> = {},
  ): Promise<ServerProcess> {
    // Settings of the tests are none of a server's, and it would refuse them.
    const outside = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('TAILRACE_')));
    const environment = {
      DATABASE_URL: url,
      TAILRACE_SCHEMA: schema,
      TAILRACE_PORT: '0',
      TAILRACE_LOG_LEVEL: 'silent',
      TAILRACE_DATABASE_CONNECTIONS: '4',
      TAILRACE_SECRETS_KEY: SECRETS_KEY,
      // A busy or paused machine says nothing of the server.
      TAILRACE_MAX_LATENESS_MS: '10000',
      ...more,
    };
    const child = spawn(process.execPath, [await compiledMain(), 'serve'], {
      env: { ...outside, ...environment },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    if (!child.stdout) throw new Error('a child without standard output');
    for await (const line of createInterface({ input: child.stdout })) {
      const address = /serves .* at (http\S+)/.exec(line)?.[1];
      if (address) return new ServerProcess(child, address);
    }
    throw new Error('the server ended before it served');
  }

  /** At once, for callers that cannot wait. */
  strike(): void {
    this.#child.kill('SIGKILL');
  }

  async kill(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const exited = once(this.#child, 'exit');
    this.strike();
    await exited;
  }
}
