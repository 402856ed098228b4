/** One connection to a server, over Connect or gRPC; both multiplex every call over one HTTP/2 session. */
import type { Transport } from '@connectrpc/connect';
import { Http2SessionManager } from '@connectrpc/connect-node';
import { bearing, type Token } from './bearing.js';
import { ConnectTransport } from './connect-transport.js';
import { GrpcTransport, type Pem } from './grpc-transport.js';
import type { OptionRules } from './option-rules.js';
import { tracedTransport } from './tracing.js';

export interface TlsOptions {
  /** PEM certificates of the authorities to trust. Default: the system's. */
  readonly ca?: string | Uint8Array;
  /** PEM certificate chain of this client, for servers that ask for one; with `key`. */
  readonly cert?: string | Uint8Array;
  /** Its PEM private key. */
  readonly key?: string | Uint8Array;
}

export interface ConnectionOptions {
  /** Address of the server, such as `http://127.0.0.1:8233`. `https` turns TLS on. */
  readonly url: string;
  /**
   * `connect` (default) is the cheaper one in Node; `grpc` goes through @grpc/grpc-js. A Transport of your own may
   * carry interceptors, or a fake server in tests; then `url` and `tls` are not used and closing it is yours.
   */
  readonly transport?: 'connect' | 'grpc' | Transport;
  /** Only with `https`. */
  readonly tls?: TlsOptions;
  /**
   * Secret of the token to send, `tr_…`, or a function that is asked for it at each call. Default: none, for servers that
   * let anybody in, or know the certificate. Over `http` everybody on the way can read it.
   */
  readonly token?: Token;
}

export interface Connection {
  readonly transport: Transport;
  /** Ends the session. Calls under way fail. */
  close(): void;
}

export function checkConnection(rules: OptionRules, { url, transport, tls, token }: ConnectionOptions): void {
  const isToken = typeof token !== 'string' || /^[\x21-\x7e]+$/.test(token);
  rules.rule(isToken, 'token must be the secret of a token, without spaces'); // never shown
  if (typeof transport === 'object') return;
  rules.url('url', url);
  const known = transport === undefined || transport === 'connect' || transport === 'grpc';
  rules.rule(known, `transport must be 'connect', 'grpc' or a Transport; it is ${JSON.stringify(transport)}`);
  rules.rule(!tls || !/^http:/.test(url), 'tls needs an https url');
  rules.rule(!tls?.cert === !tls?.key, 'tls.cert and tls.key need each other');
}

/** Its calls carry the token, and belong to the trace that is active where they are made. */
export function openConnection(options: ConnectionOptions): Connection {
  const { transport, close } = connect(options);
  const carrying = options.token === undefined ? transport : bearing(transport, options.token);
  return { transport: tracedTransport(carrying), close };
}

function connect({ url, transport = 'connect', tls = {} }: ConnectionOptions): Connection {
  if (typeof transport === 'object') return { transport, close: () => {} };
  const pem: Pem = Object.fromEntries(Object.entries(tls).map(([name, text]) => [name, Buffer.from(text)]));
  if (transport === 'grpc') {
    const grpc = new GrpcTransport(new URL(url), pem);
    return { transport: grpc, close: () => grpc.close() };
  }
  // Pings find out about a connection that died without a word.
  const sessionManager = new Http2SessionManager(url, { pingIntervalMs: 10_000, pingTimeoutMs: 5_000 }, pem);
  return { transport: new ConnectTransport(url, sessionManager), close: () => sessionManager.abort() };
}
