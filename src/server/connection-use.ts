/** What each connection has under way. Kept beside the connection itself, so that it goes when that goes. */
import type { Http2ServerRequest, Http2Session } from 'node:http2';
import type { Socket } from 'node:net';
import { isHttp2, type Request } from './exchange.js';

export type Connection = Socket | Http2Session;

export interface Usage {
  /** Calls that have begun and are not over. */
  calls: number;
  /** Bytes of their bodies. */
  bytes: number;
}

/** HTTP/2 has many streams on one session; HTTP/1.1 has one request after another on a socket. */
export function connectionOf(request: Request): Connection {
  return (isHttp2(request) && (request as Http2ServerRequest).stream.session) || request.socket;
}

export class ConnectionUse {
  readonly #uses = new WeakMap<Connection, Usage>();

  of(connection: Connection): Usage {
    let usage = this.#uses.get(connection);
    if (usage === undefined) {
      usage = { calls: 0, bytes: 0 };
      this.#uses.set(connection, usage);
    }
    return usage;
  }
}
