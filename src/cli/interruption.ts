/**
 * Ctrl-C and SIGTERM while a command runs: they end it, unless the command has something to ask first. A second Ctrl-C
 * asks nothing any more.
 */
import { EXIT, type ExitCode } from './exit-codes.js';
import type { Io } from './io.js';

export class Interruption {
  /** Aborts when the command is to end. */
  readonly signal: AbortSignal;
  readonly #abort = new AbortController();
  readonly #signals: Io['signals'];
  #code: ExitCode | undefined;
  #question: (() => void) | undefined;

  constructor(signals: Io['signals']) {
    this.#signals = signals;
    this.signal = this.#abort.signal;
    signals.on('SIGINT', this.#onInterrupt);
    signals.on('SIGTERM', this.#onTerminate);
  }

  /** What to end with; undefined if nobody interrupted. */
  get code(): ExitCode | undefined {
    return this.#code;
  }

  /** The next Ctrl-C is answered by this instead, once. */
  ask(question: () => void): void {
    this.#question = question;
  }

  end(code: ExitCode = EXIT.interrupted): void {
    this.#code ??= code;
    this.#abort.abort();
  }

  close(): void {
    this.#signals.off('SIGINT', this.#onInterrupt);
    this.#signals.off('SIGTERM', this.#onTerminate);
  }

  readonly #onInterrupt = (): void => {
    const question = this.#question;
    this.#question = undefined;
    if (question) question();
    else this.end(EXIT.interrupted);
  };

  readonly #onTerminate = (): void => this.end(EXIT.terminated);
}
