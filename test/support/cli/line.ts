/** One line of the command line, run in this process: its words, what it reads, and what came of it. */
import { EventEmitter } from 'node:events';
import { PassThrough, Readable, Writable } from 'node:stream';
import type { ExitCode } from '../../../src/cli/exit-codes.js';
import type { Host } from '../../../src/cli/host.js';
import { run } from '../../../src/cli/run.js';
import { direct } from '../../../src/direct.js';

export interface LineOptions {
  readonly environment?: Readonly<Record<string, string>>;
  readonly stdin?: string;
  /** Columns of a terminal. Default: none, as in a pipe. */
  readonly columns?: number;
  readonly host?: Host;
}

/** Under way; what it says can be waited for, and it can be interrupted and answered. */
export class Line {
  readonly code: Promise<ExitCode>;
  out = '';
  error = '';
  readonly stdin: PassThrough | Readable;
  readonly #signals = new EventEmitter();
  readonly #said = new EventEmitter();

  constructor(words: readonly string[], { environment = {}, stdin, columns, host }: LineOptions = {}) {
    const terminal = columns === undefined ? {} : { isTTY: true, columns };
    const asked = columns !== undefined && stdin === undefined;
    this.stdin = Object.assign(asked ? new PassThrough() : Readable.from(stdin ?? ''), { isTTY: asked });
    const stdout = Object.assign(
      this.#sink((text) => {
        this.out += text;
      }),
      terminal,
    );
    const stderr = Object.assign(
      this.#sink((text) => {
        this.error += text;
      }),
      terminal,
    );
    const io = { stdin: this.stdin, stdout, stderr, environment, signals: this.#signals };
    this.code = run(words, io, host ?? direct(environment));
  }

  #sink(add: (text: string) => void): Writable {
    const said = this.#said;
    return new Writable({
      write(chunk, _, done) {
        add(String(chunk));
        said.emit('said');
        done();
      },
    });
  }

  interrupt(): void {
    this.#signals.emit('SIGINT');
  }

  answer(text: string): void {
    (this.stdin as PassThrough).write(`${text}\n`);
  }

  /** Until it has said so, on either stream; fails when it ends before. */
  async says(what: RegExp): Promise<void> {
    let over = false;
    const end = () => {
      over = true;
      this.#said.emit('said');
    };
    this.code.then(end, end);
    while (!what.test(this.out + this.error)) {
      if (over) throw new Error(`it ended without ${what}:\n${this.out}${this.error}`);
      await new Promise((resolve) => this.#said.once('said', resolve));
    }
  }
}

export interface Said {
  readonly code: ExitCode;
  readonly out: string;
  readonly error: string;
}

export async function line(words: readonly string[], options: LineOptions = {}): Promise<Said> {
  const running = new Line(words, options);
  const code = await running.code;
  return { code, out: running.out, error: running.error };
}
