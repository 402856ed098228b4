/** The child processes of the quickstart: started from these sources, and all ended with it. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { pause } from '../../src/runtime/clock.js';

const START_MS = 90_000;
const STOP_MS = 8_000;

export class Processes {
  readonly #children: Child[] = [];

  /** `program` is relative to this file. */
  start(name: string, program: string, args: readonly string[], environment: NodeJS.ProcessEnv = process.env): Child {
    const child = new Child(name, fileURLToPath(new URL(program, import.meta.url)), args, environment);
    this.#children.push(child);
    return child;
  }

  /** Last started, first ended. */
  async stopAll(): Promise<void> {
    for (const child of this.#children.reverse()) await child.stop();
  }
}

export class Child {
  /** Resolves when it has ended, with how. */
  readonly ended: Promise<string>;
  readonly #process: ChildProcess;
  #running = true;
  #lastWords = '';

  constructor(
    readonly name: string,
    program: string,
    args: readonly string[],
    environment: NodeJS.ProcessEnv,
  ) {
    // The options this process was started with make it understand TypeScript.
    this.#process = spawn(process.execPath, [...process.execArgv, program, ...args], {
      env: environment,
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    this.#process.stderr?.on('data', (text: Buffer) => {
      this.#lastWords = (this.#lastWords + text.toString()).slice(-2_000);
    });
    this.ended = once(this.#process, 'exit').then(([code, signal]) => {
      this.#running = false;
      return `${name} ended (${signal ?? `exit code ${code}`}) ${this.#lastWords.trim()}`.trim();
    });
  }

  get pid(): number | undefined {
    return this.#process.pid;
  }

  /** The first line of its standard output that matches. Throws if it ends without one, or takes too long. */
  async says(pattern: RegExp, signal: AbortSignal): Promise<RegExpExecArray> {
    const { stdout } = this.#process;
    if (!stdout) throw new Error(`${this.name} has no standard output`);
    const said = new Promise<RegExpExecArray>((resolve) => {
      createInterface({ input: stdout }).on('line', (line) => {
        const match = pattern.exec(line);
        if (match) resolve(match);
      });
    });
    const how = await within(START_MS, Promise.race([said, this.ended]), signal);
    if (typeof how === 'string') throw new Error(how);
    if (!how) throw new Error(`${this.name} has not started within ${START_MS / 1_000} s`);
    return how;
  }

  /** No last words, no chance to release what it holds. */
  kill(): void {
    this.#process.kill('SIGKILL');
  }

  async stop(): Promise<void> {
    if (!this.#running) return;
    this.#process.kill('SIGTERM');
    await within(STOP_MS, this.ended);
    if (this.#running) this.kill();
  }
}

/** What it resolves with, or undefined after `ms` or when the signal aborts. Leaves no timer behind. */
async function within<T>(ms: number, promise: Promise<T>, signal?: AbortSignal): Promise<T | undefined> {
  const done = new AbortController();
  const over = pause(ms, signal ? AbortSignal.any([signal, done.signal]) : done.signal);
  const first = await Promise.race([promise, over.then(() => undefined)]);
  done.abort();
  return first;
}
