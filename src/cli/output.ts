/**
 * Where a command's words go: results to standard output, everything beside them to standard error.
 *
 * A reader that has gone, as `head` does, is no error: what is written then is dropped, and the command ends well. What
 * others have written reaches a terminal only without control characters, which could move the cursor or worse.
 */
import { type Duration, durationMs, type Timestamp, timestampMs } from '@bufbuild/protobuf/wkt';
import { wallMs } from '../runtime/clock.js';
import type { Io } from './io.js';
import { ageText, spanText, timeText } from './spans.js';

export interface Manner {
  readonly json: boolean;
  readonly absolute: boolean;
  readonly noColor: boolean;
}

/** Begin and end of each, as terminals take them. */
const STYLES = {
  bold: [1, 22],
  dim: [2, 22],
  red: [31, 39],
  green: [32, 39],
  yellow: [33, 39],
  cyan: [36, 39],
} as const;

export type Style = keyof typeof STYLES;

export class Output {
  readonly json: boolean;
  /** Aborts when the reader of standard output has gone. */
  readonly closed: AbortSignal;
  readonly #io: Io;
  readonly #absolute: boolean;
  readonly #colors: boolean;

  constructor(io: Io, { json, absolute, noColor }: Manner) {
    this.json = json;
    this.#io = io;
    this.#absolute = absolute;
    this.#colors = !noColor && !json && io.stdout.isTTY === true;
    const closed = new AbortController();
    this.closed = closed.signal;
    io.stdout.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EPIPE') throw error;
      closed.abort();
    });
    io.stderr.on('error', () => {});
  }

  /** A person looks on, so that lines may be drawn over. */
  get live(): boolean {
    return this.#io.stdout.isTTY === true && !this.json;
  }

  /** A person can be asked. */
  get asks(): boolean {
    return this.#io.stdin.isTTY === true && this.#io.stderr.isTTY === true;
  }

  /** Columns of the terminal; undefined without one: then nothing is cut. */
  get width(): number | undefined {
    return this.#io.stdout.isTTY === true ? (this.#io.stdout.columns ?? 80) : undefined;
  }

  /** Resolves when there is room for more. */
  async write(text: string): Promise<void> {
    if (this.closed.aborted || text === '') return;
    await new Promise<void>((resolve) => {
      this.#io.stdout.write(text.endsWith('\n') ? text : `${text}\n`, () => resolve());
    });
  }

  /** Beside the result: what is going on, what to do next. Without an end of line for what is drawn over. */
  note(text: string): void {
    this.#io.stderr.write(`${text}\n`);
  }

  draw(text: string): void {
    this.#io.stderr.write(text);
  }

  get noteWidth(): number {
    return this.#io.stderr.columns ?? 80;
  }

  get drawsNotes(): boolean {
    return this.#io.stderr.isTTY === true && !this.json;
  }

  style(style: Style, text: string): string {
    const [begin, end] = STYLES[style];
    return this.#colors && text !== '' ? `\u001b[${begin}m${text}\u001b[${end}m` : text;
  }

  /** Relative, or with --absolute in UTC. Empty for none. */
  time(time: Timestamp | undefined): string {
    if (!time) return '';
    return this.#absolute ? timeText(timestampMs(time)) : ageText(timestampMs(time), wallMs());
  }

  span(duration: Duration | undefined): string {
    return duration ? spanText(durationMs(duration)) : '';
  }
}

/** One line without control characters. */
export function plain(text: string): string {
  return text.replace(/[\n\r\t]+/g, ' ').replace(CONTROL, '�');
}

/** The same, lines and tabs kept. */
export function plainLines(text: string): string {
  return text.replace(CONTROL, (found) => (found === '\n' || found === '\t' ? found : '�'));
}

const CONTROL = /\p{Cc}|[\u202a-\u202e\u2066-\u2069]/gu;
