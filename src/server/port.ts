/**
 * The one port: HTTP/1.1 and HTTP/2, in cleartext or under TLS, all requests to one listener.
 *
 * A front listens and hands each connection to one of two servers that never listen themselves, told apart by the first
 * bytes or, under TLS, by the protocol negotiated. So limits, timeouts and closing are the same for both.
 */
import { once } from 'node:events';
import http from 'node:http';
import http2 from 'node:http2';
import net from 'node:net';
import tls from 'node:tls';
import type { Logger } from 'pino';
import { StartError } from '../domain/start-error.js';
import { after } from '../runtime/clock.js';
import type { Listener } from './exchange.js';
import { HEADER_BYTES, refuseBytes } from './http1-errors.js';
import { peek } from './peek.js';
import type { Traffic } from './traffic.js';

export interface TlsOptions {
  /** PEM: the certificate with its chain, and its key. */
  readonly cert: string | Buffer;
  readonly key: string | Buffer;
  /** PEM of the authorities that client certificates must come from. When given, clients must present one. */
  readonly clientCa?: string | Buffer;
  /** They may; what they do present must still come from those. */
  readonly clientCertOptional?: boolean;
}

export interface PortOptions {
  readonly host: string;
  /** 0 takes any free port. */
  readonly port: number;
  readonly tls?: TlsOptions;
  readonly maxConcurrentStreams: number;
  readonly traffic: Traffic;
  readonly listener: Listener;
  readonly logger: Logger;
}

export interface Address {
  readonly host: string;
  readonly port: number;
  readonly url: string;
}

const CLOSE_MS = 1_000;
const SOCKET = { allowHalfOpen: true, noDelay: true, keepAlive: true, keepAliveInitialDelay: 30_000 };
/** Idle HTTP/1.1 connections outlive the minute after which load balancers drop theirs. */
const IDLE_MS = 75_000;
/** In HTTP/2's own unit, bytes: larger than the default 64 KiB, so that a batch does not wait for each round trip. */
const WINDOW_BYTES = 1024 * 1024;
/** How many steps of its looks at connections Node takes until a head is late. */
const HEAD_LOOKS = 4;
/** Megabytes one connection may hold before it takes no new streams. The default of 10 is less than a few batches. */
const SESSION_MEGABYTES = 128;

export class Port {
  readonly #front: net.Server;
  readonly #http1: http.Server;
  readonly #http2: http2.Http2Server;
  readonly #sockets = new Set<net.Socket>();
  readonly #options: PortOptions;

  private constructor(options: PortOptions) {
    this.#options = options;
    const { limits, connections } = options.traffic;
    this.#http1 = http.createServer(
      {
        keepAliveTimeout: IDLE_MS,
        headersTimeout: limits.headMs,
        connectionsCheckingInterval: Math.ceil(limits.headMs / HEAD_LOOKS),
        requestTimeout: 0, // bodies have a pace of their own, by their size
        maxHeaderSize: HEADER_BYTES,
      },
      options.listener,
    );
    this.#http1.on('clientError', refuseBytes);
    this.#http1.emit('listening'); // it never does, but its timeouts start with this
    this.#http2 = http2.createServer(
      {
        settings: {
          maxConcurrentStreams: options.maxConcurrentStreams,
          initialWindowSize: WINDOW_BYTES,
          maxHeaderListSize: HEADER_BYTES,
        },
        maxSessionMemory: SESSION_MEGABYTES,
      },
      options.listener,
    );
    this.#front = options.tls ? this.#secureFront(options.tls) : this.#cleartextFront();
    this.#front.prependListener('connection', (socket: net.Socket) => {
      if (!connections.admit(socket)) return;
      this.#sockets.add(socket);
      socket.on('close', () => this.#sockets.delete(socket));
    });
  }

  static async open(options: PortOptions): Promise<Port> {
    const port = new Port(options);
    port.#front.listen({ host: options.host, port: options.port });
    try {
      await once(port.#front, 'listening');
    } catch (error) {
      port.#http1.close();
      throw new StartError(whyNotListening(options, error), { cause: error });
    }
    return port;
  }

  get address(): Address {
    const bound = this.#front.address();
    if (bound === null || typeof bound === 'string') throw new Error('the port is closed');
    const host = ['::', '0.0.0.0'].includes(bound.address) ? 'localhost' : bound.address;
    const shown = host.includes(':') ? `[${host}]` : host;
    return {
      host: bound.address,
      port: bound.port,
      url: `${this.#options.tls ? 'https' : 'http'}://${shown}:${bound.port}`,
    };
  }

  /**
   * No new connections, and idle ones close. HTTP/2 clients get GOAWAY: calls under way go on, one that crosses it is
   * reset as REFUSED_STREAM, which tells that nothing of it was done. HTTP/1.1 has no such word; its calls come in.
   */
  stopAccepting(): void {
    this.#front.close();
    this.#http1.closeIdleConnections();
    this.#options.traffic.sessions.close();
  }

  /** To be called after stopAccepting. Destroys the connections that have not closed within a second. */
  async close(): Promise<void> {
    this.#http1.close(); // stops its timeouts, and closes what fell idle
    const destroy = after(CLOSE_MS, () => {
      for (const socket of this.#sockets) socket.destroy();
    });
    // Not events.once, which would fail when a connection ends in an error.
    await Promise.all([...this.#sockets].map((socket) => new Promise((resolve) => socket.on('close', resolve))));
    destroy();
  }

  #cleartextFront(): net.Server {
    const { headMs } = this.#options.traffic.limits;
    return net.createServer(SOCKET, (socket) => {
      if (!socket.destroyed) peek(socket, headMs, (ready, isHttp2) => this.#hand(ready, isHttp2));
    });
  }

  #secureFront({ cert, key, clientCa, clientCertOptional = false }: TlsOptions): net.Server {
    const options: tls.TlsOptions = {
      ...SOCKET,
      cert,
      key,
      ALPNProtocols: ['h2', 'http/1.1'],
      minVersion: 'TLSv1.2',
      handshakeTimeout: this.#options.traffic.limits.headMs,
      ...(clientCa ? { ca: clientCa, requestCert: true, rejectUnauthorized: !clientCertOptional } : {}),
    };
    let front: tls.Server;
    try {
      front = tls.createServer(options, (socket) => {
        if (clientCa && !socket.authorized && socket.getPeerX509Certificate()) socket.destroy();
        else this.#hand(socket, socket.alpnProtocol === 'h2');
      });
    } catch (error) {
      throw new StartError(`the TLS certificate or key cannot be used: ${(error as Error).message}`, { cause: error });
    }
    return front.on('tlsClientError', (error, socket) => {
      this.#options.logger.debug({ peer: socket.remoteAddress, reason: error.message }, 'TLS handshake failed');
      socket.destroy(); // one that never came is not ended otherwise
    });
  }

  #hand(socket: net.Socket, isHttp2: boolean): void {
    if (isHttp2) {
      socket.allowHalfOpen = false; // HTTP/2 has no use for half a connection
      const add = (session: http2.ServerHttp2Session) => {
        session.setLocalWindowSize(WINDOW_BYTES);
        this.#options.traffic.sessions.add(session, socket);
      };
      this.#http2.on('session', add).emit('connection', socket);
      this.#http2.off('session', add);
    } else {
      this.#http1.emit('connection', socket);
      socket.resume();
    }
  }
}

function whyNotListening({ host, port }: PortOptions, error: unknown): string {
  const where = `cannot listen on ${host}:${port}`;
  switch ((error as NodeJS.ErrnoException).code) {
    case 'EADDRINUSE':
      return `${where}: the port is already in use. Stop the program that holds it, or choose another port.`;
    case 'EACCES':
      return `${where}: ports below 1024 need a privilege. Choose a higher one.`;
    case 'EADDRNOTAVAIL':
    case 'ENOTFOUND':
      return `${where}: this machine has no such address.`;
    default:
      return `${where}: ${(error as Error).message}`;
  }
}
