/**
 * The plain pages for load balancers and people: `/`, `/healthz`, `/readyz`.
 *
 * `/healthz` answers as long as the process does; `/readyz` answers 503 while any part is not ready, and says which.
 */
import type { Readiness } from '../runtime/readiness.js';
import type { Request, Response } from './exchange.js';

export interface PageOptions {
  readonly readiness: Readiness;
  /** Shown on `/`. */
  readonly version: string;
  readonly services: () => readonly string[];
}

interface Page {
  readonly status: number;
  readonly contentType: string;
  readonly body: string;
}

/** Undefined for a path that is no page. */
export function pageAt(path: string, options: PageOptions): Page | undefined {
  switch (path) {
    case '/':
      return text(welcome(options));
    case '/healthz':
      return text('ok\n');
    case '/readyz':
      return ready(options.readiness);
    default:
      return undefined;
  }
}

export function sendPage(request: Request, response: Response, page: Page): void {
  const body = Buffer.from(page.body);
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    response.writeHead(405, { allow: 'GET, HEAD' });
    response.end();
    return;
  }
  response.writeHead(page.status, {
    'content-type': page.contentType,
    'content-length': body.length,
    'cache-control': 'no-store',
  });
  if (request.method === 'HEAD') response.end();
  else response.end(body);
}

function text(body: string): Page {
  return { status: 200, contentType: 'text/plain; charset=utf-8', body };
}

function ready(readiness: Readiness): Page {
  const body = JSON.stringify({ ready: readiness.ready, parts: readiness.parts() });
  return { status: readiness.ready ? 200 : 503, contentType: 'application/json', body: `${body}\n` };
}

function welcome({ version, services }: PageOptions): string {
  return [
    `Tailrace ${version}`,
    '',
    'This port speaks gRPC, gRPC-Web, Connect and plain HTTP with JSON. A call is a POST of JSON to',
    '/<service>/<method> with content-type: application/json; ask reflection for the messages.',
    '',
    ...services().map((name) => `  ${name}`),
    '',
    'Probes: /healthz (alive), /readyz (ready, by part), grpc.health.v1.Health.',
    '',
  ].join('\n');
}
