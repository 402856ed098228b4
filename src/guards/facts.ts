/** What is judged: what the database says, what the machine says, and how this process is set up. */
import type { DatabaseReading, Pooler } from '../repository/guards/index.js';

export interface Setup {
  /** Most connections of this process's pool. */
  readonly poolConnections: number;
  /** Most connections of clients. */
  readonly clientConnections: number;
  /** Width of the partitions by time. */
  readonly partitionMs: number;
  /** Whether anybody who reaches the port may do everything. */
  readonly anonymous: boolean;
  readonly loopback: boolean;
  /** Whether waitpoint tokens can be sealed. */
  readonly secretsKey: boolean;
  /** PEM. */
  readonly certificate: string | Buffer | undefined;
  /** Of the embedded database. */
  readonly dataDirectory: string | undefined;
}

export interface MachineFacts {
  /** Wall-clock milliseconds since 1970. */
  readonly nowMs: number;
  /** Files and sockets this process may have open; undefined where that cannot be told. */
  readonly openFiles: number | undefined;
  readonly disk: { readonly path: string; readonly freeBytes: number; readonly wholeBytes: number } | undefined;
  /** Files that hold secrets, with their modes. */
  readonly secrets: readonly { readonly path: string; readonly mode: number }[];
}

export interface Facts extends DatabaseReading {
  readonly pooler: Pooler;
  readonly machine: MachineFacts;
  readonly setup: Setup;
}
