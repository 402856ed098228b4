/**
 * The port of the metrics: `/metrics` over HTTP/1.1 and nothing else, for a network that only those reach who may read it.
 *
 * Its limits are those of a page that a few programs read a few times a minute.
 */
import { once } from 'node:events';
import http from 'node:http';
import type { Logger } from 'pino';
import { StartError } from '../domain/start-error.js';

export interface Scraped {
  readonly contentType: string;
  text(): Promise<string>;
}

export interface ScrapePortOptions {
  readonly host: string;
  /** 0 takes any free port. */
  readonly port: number;
  readonly metrics: Scraped;
  readonly logger: Logger;
}

const PATH = '/metrics';
const LIMITS = { requestTimeout: 5_000, headersTimeout: 5_000, keepAliveTimeout: 75_000, maxHeaderSize: 8_192 };
const CONNECTIONS = 50;

export class ScrapePort {
  readonly #server: http.Server;

  private constructor({ metrics, logger }: ScrapePortOptions) {
    this.#server = http.createServer(LIMITS, (request, response) => {
      answer(metrics, request, response).catch((error: unknown) => {
        logger.error({ error: (error as Error)?.message }, 'the metrics cannot be told');
        if (response.headersSent) response.destroy();
        else plain(response, 500, 'the metrics cannot be told; the log says why\n');
      });
    });
    this.#server.maxConnections = CONNECTIONS;
  }

  static async open(options: ScrapePortOptions): Promise<ScrapePort> {
    const { host, port } = options;
    const opened = new ScrapePort(options);
    opened.#server.listen({ host, port });
    try {
      await once(opened.#server, 'listening');
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      const why = code === 'EADDRINUSE' ? 'the port is already in use; set TAILRACE_METRICS_PORT to another' : message;
      throw new StartError(`cannot serve metrics on ${host}:${port}: ${why}`, { cause: error });
    }
    return opened;
  }

  get url(): string {
    const bound = this.#server.address();
    if (bound === null || typeof bound === 'string') throw new Error('the port of the metrics is closed');
    const host = bound.address.includes(':') ? `[${bound.address}]` : bound.address;
    return `http://${host}:${bound.port}${PATH}`;
  }

  async close(): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.#server.closeAllConnections();
    await closed;
  }
}

async function answer(metrics: Scraped, request: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
  request.resume();
  if (request.url?.replace(/\?.*/s, '') !== PATH) return plain(response, 404, `metrics are at ${PATH}\n`);
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    response.setHeader('allow', 'GET, HEAD');
    return plain(response, 405, `${PATH} is read with GET\n`);
  }
  const body = Buffer.from(request.method === 'HEAD' ? '' : await metrics.text());
  response.writeHead(200, { 'content-type': metrics.contentType, 'cache-control': 'no-store' });
  response.end(body);
}

function plain(response: http.ServerResponse, status: number, text: string): void {
  response.writeHead(status, { 'content-type': 'text/plain; charset=utf-8' });
  response.end(text);
}
