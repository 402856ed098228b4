/**
 * The bytes of request bodies that are held, of the whole process and of each connection: counted as they come, before
 * anything is decoded, and given back when the call is over. One connection may hold a quarter of the whole, but always
 * one message of the largest size.
 */
import type { Usage } from './connection-use.js';
import { overloaded } from './overload.js';

const SHARE = 4;

export class Buffered {
  readonly #most: number;
  readonly #mostPerConnection: number;
  #bytes = 0;

  constructor(most: number, largestMessage: number) {
    this.#most = Math.max(most, 2 * largestMessage);
    this.#mostPerConnection = Math.max(this.#most / SHARE, 2 * largestMessage);
  }

  /** Held by everybody. */
  get bytes(): number {
    return this.#bytes;
  }

  /** What one call holds. */
  open(connection: Usage): Holding {
    let held = 0;
    const change = (bytes: number) => {
      held += bytes;
      this.#bytes += bytes;
      connection.bytes += bytes;
    };
    return {
      add: (bytes) => {
        const full = this.#bytes + bytes > this.#most || connection.bytes + bytes > this.#mostPerConnection;
        if (full) throw overloaded('memory', 'the server holds as many bytes of requests as it may; repeat later');
        change(bytes);
      },
      release: () => change(-held),
    };
  }
}

export interface Holding {
  /** Throws OVERLOADED when there is no room; then nothing has been added. */
  add(bytes: number): void;
  /** Gives back all of it. */
  release(): void;
}
