/**
 * The server: one port for gRPC, gRPC-Web, Connect and HTTP with JSON, and its orderly end.
 *
 * main gives it routes; it adds health and reflection, checks origins, types every error and counts the calls under
 * way. Order of a drain: not ready, no new connections, no new calls, then the order of server/calls.ts, then the
 * connections.
 */
import type { ConnectRouter } from '@connectrpc/connect';
import type { Logger } from 'pino';
import { Lateness } from './runtime/lateness.js';
import type { Readiness } from './runtime/readiness.js';
import { CallLog } from './server/call-log.js';
import { CallMeters } from './server/call-meters.js';
import { Calls } from './server/calls.js';
import { dispatcher } from './server/dispatch.js';
import { CALL_LIMITS, type CallLimits, PORT_LIMITS, type PortLimits } from './server/limits.js';
import type { MetricsText } from './server/metrics-page.js';
import { Origins } from './server/origins.js';
import { type Address, Port, type TlsOptions } from './server/port.js';
import { RouteTable } from './server/route-table.js';
import { Standing } from './server/standing.js';
import { Traffic } from './server/traffic.js';
import type { Gate } from './services/authentication/index.js';
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
  /** Served at /metrics when given. */
  readonly metrics?: MetricsText;
  /** Lets callers in. When left out, everybody may do everything. */
  readonly gate?: Gate;
  /** Cleartext when left out. */
  readonly tls?: TlsOptions;
  /** Bytes of one request message, decompressed. Default 16 MiB. */
  readonly maxMessageBytes?: number;
  /** What differs from the usual limits. */
  readonly portLimits?: Partial<PortLimits>;
  readonly callLimits?: Partial<CallLimits>;
  /** Statements that wait for a connection to the database. Default: none ever do. */
  readonly queuedStatements?: () => number;
  /** Web origins whose pages may call, or `*`. Default none. */
  readonly allowedOrigins?: readonly string[];
}

export interface RunningServer {
  readonly address: Address;
  readonly meters: CallMeters;
  readonly traffic: Traffic;
  readonly lateness: Lateness;
  /** Ends in order: calls may finish within `ms`, everything is closed at most two seconds later. May be repeated. */
  drain(ms: number): Promise<void>;
}

const MAX_MESSAGE_BYTES = 16 * 1024 * 1024;

export type { Address, TlsOptions };

export async function startServer(options: ServerOptions): Promise<RunningServer> {
  const { readiness, logger, version } = options;
  const routes = new RouteTable();
  options.routes(routes);
  const serviceNames = () => routes.services.map((service) => service.typeName);
  addHealth(routes, readiness, serviceNames);
  addReflection(routes, () => routes.services);

  const calls = new Calls();
  const meters = new CallMeters(calls);
  const mostBytes = options.maxMessageBytes ?? MAX_MESSAGE_BYTES;
  const callLimits = { ...CALL_LIMITS, ...options.callLimits };
  const lateness = new Lateness();
  const { queuedStatements = () => 0 } = options;
  const traffic = new Traffic({
    port: { ...PORT_LIMITS, ...options.portLimits },
    calls: callLimits,
    mostBytes,
    load: { lateMs: () => lateness.ms, queuedStatements },
    logger,
  });
  const port = await Port.open({
    host: options.host,
    port: options.port,
    ...(options.tls ? { tls: options.tls } : {}),
    maxConcurrentStreams: callLimits.perConnection,
    traffic,
    logger,
    listener: dispatcher({
      routes,
      calls,
      ...(options.gate && { gate: options.gate, standing: new Standing(options.gate) }),
      meters,
      logger,
      log: new CallLog(logger),
      mostBytes,
      traffic,
      origins: new Origins(options.allowedOrigins ?? []),
      pages: { readiness, version, services: serviceNames },
      ...(options.metrics && { metrics: options.metrics }),
    }),
  });
  lateness.start();
  readiness.set('server', true);

  async function drain(ms: number): Promise<void> {
    readiness.set('server', false, 'draining');
    port.stopAccepting();
    await calls.drain(ms);
    await port.close();
    lateness.stop();
  }
  let drained: Promise<void> | undefined;
  return {
    address: port.address,
    meters,
    traffic,
    lateness,
    drain(ms) {
      drained ??= drain(ms);
      return drained;
    },
  };
}
