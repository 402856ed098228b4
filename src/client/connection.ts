/** One connection to a server, over Connect or gRPC; both multiplex every call over one HTTP/2 session. */
import type { Transport } from '@connectrpc/connect';
import { createConnectTransport, Http2SessionManager } from '@connectrpc/connect-node';
import { GrpcTransport, type Pem } from './grpc-transport.js';
import type { OptionRules } from './option-rules.js';

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
}

export interface Connection {
  readonly transport: Transport;
  /** Ends the session. Calls under way fail. */
  close(): void;
}

export function checkConnection(rules: OptionRules, { url, transport, tls }: ConnectionOptions): void {
  if (typeof transport === 'object') return;
  rules.url('url', url);
  const known = transport === undefined || transport === 'connect' || transport === 'grpc';
  rules.rule(known, `transport must be 'connect', 'grpc' or a Transport; it is ${JSON.stringify(transport)}`);
  rules.rule(!tls || !/^http:/.test(url), 'tls needs an https url');
  rules.rule(!tls?.cert === !tls?.key, 'tls.cert and tls.key need each other');
}

export function openConnection({ url, transport = 'connect', tls = {} }: ConnectionOptions): Connection {
  if (typeof transport === 'object') return { transport, close: () => {} };
  const pem: Pem = Object.fromEntries(Object.entries(tls).map(([name, text]) => [name, Buffer.from(text)]));
  if (transport === 'grpc') {
    const grpc = new GrpcTransport(new URL(url), pem);
    return { transport: grpc, close: () => grpc.close() };
  }
  // Pings find out about a connection that died without a word.
  const sessionManager = new Http2SessionManager(url, { pingIntervalMs: 10_000, pingTimeoutMs: 5_000 }, pem);
  return {
    // Without compression: next door it costs more than it saves.
    transport: createConnectTransport({ baseUrl: url, httpVersion: '2', sessionManager, acceptCompression: [] }),
    close: () => sessionManager.abort(),
  };
}
