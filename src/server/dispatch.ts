/**
 * Decides what a request is: a call of some protocol, a page, or a mistake that gets a useful answer.
 *
 * Nothing leaves without a typed error: an unknown path or content type is answered in the protocol the client speaks,
 * or else in JSON.
 */
import type { Logger } from 'pino';
import { EngineError } from '../domain/errors.js';
import { toConnectError } from '../services/errors.js';
import { answerOn } from './answers.js';
import { goingAway } from './calls.js';
import { refusePlainly } from './connect-answers.js';
import { header, isHttp2, type Listener, pathOf, type Request, type Response } from './exchange.js';
import { HEADERS, tooManyHeaders } from './http1-errors.js';
import { METRICS_PATH, type MetricsText, sendMetrics } from './metrics-page.js';
import type { Origins } from './origins.js';
import { type PageOptions, pageAt, sendPage } from './pages.js';
import { discard as discardBody } from './request-body.js';
import type { Route, RouteTable } from './route-table.js';
import { type CallOptions, serveCall } from './serve-call.js';
import { type Wire, wireOf } from './wire.js';

export interface DispatchOptions extends CallOptions {
  readonly routes: RouteTable;
  readonly origins: Origins;
  readonly pages: PageOptions;
  /** Served at /metrics. */
  readonly metrics?: MetricsText;
  readonly logger: Logger;
}

/** Probes are answered to the end: they are how a load balancer learns that the server drains. */
const PROBES = '/grpc.health.v1.Health/';

export function dispatcher(options: DispatchOptions): Listener {
  return (request, response) => {
    const discard = () => discardBody(request, options.traffic.bodies);
    const draining = options.calls.draining.aborted;
    if (draining && !isHttp2(request)) response.setHeader('connection', 'close');
    if (request.rawHeaders.length > 2 * HEADERS) {
      options.meters.refused('PAYLOAD_TOO_LARGE');
      refusePlainly(response, 431, toConnectError(tooManyHeaders()));
      return discard();
    }
    if (!options.origins.admit(request, response)) return discard();

    const path = pathOf(request);
    const route = options.routes.find(path);
    const wire = wireOf(header(request, 'content-type'));
    const page = route ? undefined : pageAt(path, options.pages);
    const { metrics, gate, logger } = options;
    if (metrics && path === METRICS_PATH) {
      void sendMetrics(request, response, { metrics, gate, logger });
      return discard();
    }
    if (page) {
      sendPage(request, response, page);
      return discard();
    }
    if (route && wire && request.method === 'POST' && isSpoken(route, wire, request)) {
      if (!draining || path.startsWith(PROBES)) return serveCall(route, { request, response, wire }, options);
      options.meters.refused('DRAINING');
      answerOn(response, wire).refuse(toConnectError(goingAway()));
      return discard();
    }
    options.meters.refused(route ? 'MALFORMED_REQUEST' : 'UNIMPLEMENTED');
    refuse(request, response, route, wire);
    discard();
  };
}

/** Connect has a content type for streams and one for single messages; two-way streams need HTTP/2. */
function isSpoken(route: Route, wire: Wire, request: Request): boolean {
  if (wire.protocol === 'connect' && wire.enveloped !== (route.kind !== 'unary')) return false;
  return route.kind !== 'bidi_streaming' || isHttp2(request);
}

function refuse(request: Request, response: Response, route: Route | undefined, wire: Wire | undefined): void {
  const path = pathOf(request);
  if (!route) {
    const error = toConnectError(new EngineError('UNIMPLEMENTED', `nothing is served at ${path}`));
    if (wire?.enveloped) answerOn(response, wire).refuse(error);
    else refusePlainly(response, 404, error);
    return;
  }
  if (request.method !== 'POST') {
    response.setHeader('allow', 'POST');
    refusePlainly(response, 405, toConnectError(malformed(`${path} is called with POST`)));
    return;
  }
  if (route.kind === 'bidi_streaming' && !isHttp2(request)) {
    response.setHeader('connection', 'close'); // a client that waits for a stream would wait on
    refusePlainly(response, 505, toConnectError(malformed(`${path} streams both ways and needs HTTP/2`)));
    return;
  }
  const accepted =
    route.kind === 'unary' ? 'application/json or application/proto' : 'application/connect+json or +proto';
  const message = `${path} takes ${accepted}, or a content type of gRPC or gRPC-Web`;
  refusePlainly(response, 415, toConnectError(malformed(message)));
}

function malformed(message: string): EngineError {
  return new EngineError('MALFORMED_REQUEST', message);
}
