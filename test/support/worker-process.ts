/** Starts worker-program.ts and follows what it says. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';

export type Said = Readonly<Record<string, unknown>>;

export class WorkerProcess {
  readonly said: Said[] = [];
  readonly #child: ChildProcess;
  readonly #waiting = new Set<() => void>();

  constructor(...args: [url: string, transport: string, lane: string, leaseMs: number]) {
    const program = ['--import', 'tsx', 'test/support/worker-program.ts', ...args.map(String)];
    this.#child = spawn(process.execPath, program, { stdio: ['pipe', 'pipe', 'inherit'] });
    if (!this.#child.stdout) throw new Error('a child without standard output');
    createInterface({ input: this.#child.stdout }).on('line', (line) => {
      this.said.push(JSON.parse(line));
      for (const look of [...this.#waiting]) look();
    });
  }

  /** The first (or so many-th) thing said that has this key, now or later. */
  async says(key: string, place = 1): Promise<Said> {
    for (;;) {
      const found = this.said.filter((said) => key in said)[place - 1];
      if (found) return found;
      await new Promise<void>((resolve) => {
        const look = () => {
          this.#waiting.delete(look);
          resolve();
        };
        this.#waiting.add(look);
      });
    }
  }

  /** Lets its handler return this. */
  finish(result: string): void {
    this.#child.stdin?.write(`${result}\n`);
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  async kill(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const exited = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await exited;
  }
}
