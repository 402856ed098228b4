/** What a command works with: its connection, its output, the time it may take, and what interrupts it. */
import type { CallOptions } from '@connectrpc/connect';
import { type ClientSettings, readClientSettings } from '../config/client.js';
import { type AccessFlags, accessOf } from './access.js';
import type { Entry } from './command.js';
import { type Connection, connect } from './connection.js';
import type { Host } from './host.js';
import type { Interruption } from './interruption.js';
import type { Io } from './io.js';
import { Output } from './output.js';

/** The options that every command takes. */
export interface CommonFlags extends AccessFlags {
  readonly json?: boolean;
  readonly absolute?: boolean;
  readonly timeoutMs: number;
}

export class Session {
  readonly flags: CommonFlags;
  readonly io: Io;
  readonly host: Host;
  /** Every command there is. */
  readonly catalog: readonly Entry[];
  readonly settings: ClientSettings;
  readonly output: Output;
  readonly interruption: Interruption;
  /** Aborts when the command is interrupted, or nobody reads what it says any more. */
  readonly signal: AbortSignal;
  #connection: Connection | undefined;

  constructor(io: Io, host: Host, catalog: readonly Entry[], interruption: Interruption, flags: CommonFlags) {
    this.io = io;
    this.host = host;
    this.catalog = catalog;
    this.flags = flags;
    this.settings = readClientSettings(io.environment);
    this.output = new Output(io, {
      json: flags.json === true,
      absolute: flags.absolute === true,
      noColor: this.settings.noColor,
    });
    this.interruption = interruption;
    this.signal = AbortSignal.any([this.interruption.signal, this.output.closed]);
  }

  async open(): Promise<void> {
    this.#connection = connect(await accessOf(this.flags, this.settings));
  }

  /** Of a command that is not local. */
  get api(): Connection {
    if (!this.#connection) throw new Error('the command is local, and asks a server');
    return this.#connection;
  }

  get namespace(): string {
    return this.api.namespace;
  }

  /** Where it asks; empty until that is known. */
  get url(): string {
    return this.#connection?.url ?? '';
  }

  /** `waitMs`: how long the server is asked to take its time. */
  bounds(waitMs = 0): CallOptions {
    return { signal: this.signal, timeoutMs: waitMs + this.flags.timeoutMs };
  }

  close(): void {
    this.#connection?.close();
  }
}
