/** The streams and signals of a command: those of the process, or in tests ones of their own. */
import type { Readable, Writable } from 'node:stream';

export interface Io {
  readonly stdin: Readable & { readonly isTTY?: boolean };
  readonly stdout: Writable & { readonly isTTY?: boolean; readonly columns?: number };
  readonly stderr: Writable & { readonly isTTY?: boolean; readonly columns?: number };
  /** Absent: the environment of the process. */
  readonly environment?: Readonly<Record<string, string | undefined>>;
  readonly signals: {
    on(name: 'SIGINT' | 'SIGTERM', listener: () => void): unknown;
    off(name: 'SIGINT' | 'SIGTERM', listener: () => void): unknown;
  };
}
