/**
 * The server: one port for gRPC, gRPC-Web, Connect and HTTP with JSON, and its orderly end.
 *
 * main gives it routes; it adds health and reflection, checks origins, types every error and counts the calls under
 * way. Order of a drain: not ready, no new connections, no new calls, then the order of server/calls.ts, then the
 * connections.
 */
import type { ConnectRouter } from '@connectrpc/connect';
import type { Logger } from 'pino';
import type { Readiness } from './runtime/readiness.js';
import { Calls } from './server/calls.js';
import { dispatcher } from './server/dispatch.js';
import { Origins } from './server/origins.js';
import { type Address, Port, type TlsOptions } from './server/port.js';
import { RouteTable } from './server/route-table.js';
import { addHealth } from './services/health.js';
import { addReflection } from './services/reflection.js';

export interface ServerOptions {
  readonly host: string;
  /** 0 takes any free port. */
  readonly port: number;
  readonly routes: (router: ConnectRouter) => void;
  /** What health checks and /readyz answer. The server adds the part `server`. */
  readonly readiness: Readiness;
  readonly logger: Logger;
  readonly version: string;
  /** Cleartext when left out. */
  readonly tls?: TlsOptions;
  /** Bytes of one request message, decompressed. Default 16 MiB. */
  readonly maxMessageBytes?: number;
  /** Calls at once on one HTTP/2 connection. Default 1000. */
  readonly maxConcurrentStreams?: number;
  /** Web origins whose pages may call, or `*`. Default none. */
  readonly allowedOrigins?: readonly string[];
}

export interface RunningServer {
  readonly address: Address;
  /** Ends in order: calls may finish within `ms`, everything is closed at most two seconds later. May be repeated. */
  drain(ms: number): Promise<void>;
}

const MAX_MESSAGE_BYTES = 16 * 1024 * 1024;
const MAX_CONCURRENT_STREAMS = 1_000;

export type { Address, TlsOptions };

export async function startServer(options: ServerOptions): Promise<RunningServer> {
  const { readiness, logger, version } = options;
  const routes = new RouteTable();
  options.routes(routes);
  const serviceNames = () => routes.services.map((service) => service.typeName);
  addHealth(routes, readiness, serviceNames);
  addReflection(routes, () => routes.services);

  const calls = new Calls();
  const port = await Port.open({
    host: options.host,
    port: options.port,
    ...(options.tls ? { tls: options.tls } : {}),
    maxConcurrentStreams: options.maxConcurrentStreams ?? MAX_CONCURRENT_STREAMS,
    logger,
    listener: dispatcher({
      routes,
      calls,
      logger,
      mostBytes: options.maxMessageBytes ?? MAX_MESSAGE_BYTES,
      origins: new Origins(options.allowedOrigins ?? []),
      pages: { readiness, version, services: serviceNames },
    }),
  });
  readiness.set('server', true);

  async function drain(ms: number): Promise<void> {
    readiness.set('server', false, 'draining');
    port.stopAccepting();
    await calls.drain(ms);
    await port.close();
  }
  let drained: Promise<void> | undefined;
  return {
    address: port.address,
    drain(ms) {
      drained ??= drain(ms);
      return drained;
    },
  };
}
