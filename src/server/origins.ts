/**
 * Which web pages may call this server.
 *
 * A page names its origin in every call, programs do not. Unless its origin is listed a page is refused, and not only
 * kept from reading answers: a server that trusts everybody on the loopback interface must not trust every page in
 * the browser beside it, nor one whose name was rebound to 127.0.0.1. None are listed by default.
 */
import { cors } from '@connectrpc/connect';
import { EngineError } from '../domain/errors.js';
import { toConnectError } from '../services/errors.js';
import { refusePlainly } from './connect-answers.js';
import { header, type Request, type Response } from './exchange.js';
import { REQUEST_ID } from './request-id.js';

const ALLOWED = ['authorization', 'traceparent', 'tracestate', REQUEST_ID];
const PREFLIGHT_SECONDS = 7_200;

export class Origins {
  readonly #allowed: ReadonlySet<string>;

  /** Exact origins such as `https://console.example.com`; `*` allows every page. */
  constructor(allowed: readonly string[]) {
    this.#allowed = new Set(allowed);
  }

  /** False when the request has been answered here: a refusal, or the browser's question whether it may ask. */
  admit(request: Request, response: Response): boolean {
    const origin = header(request, 'origin');
    if (origin === undefined) return true;
    if (!this.#allowed.has(origin) && !this.#allowed.has('*')) {
      refusePlainly(response, 403, toConnectError(notListed(origin)));
      return false;
    }
    response.setHeader('access-control-allow-origin', origin);
    response.setHeader('vary', 'origin');
    response.setHeader('access-control-expose-headers', [...cors.exposedHeaders, REQUEST_ID].join(', '));
    if (request.method !== 'OPTIONS') return true;

    response.setHeader('access-control-allow-methods', cors.allowedMethods.join(', '));
    response.setHeader('access-control-allow-headers', [...cors.allowedHeaders, ...ALLOWED].join(', '));
    response.setHeader('access-control-max-age', String(PREFLIGHT_SECONDS));
    response.writeHead(204);
    response.end();
    return false;
  }
}

function notListed(origin: string): EngineError {
  return new EngineError('ORIGIN_REFUSED', `pages of ${origin} may not call this server`, { metadata: { origin } });
}
