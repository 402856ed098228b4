/**
 * `/metrics` on the port of the API, where a setting asks for it. It tells of all namespaces: where callers have to say who
 * they are, it takes the role observer or operator, bound to no namespace.
 */
import type { Logger } from 'pino';
import { EngineError } from '../domain/errors.js';
import type { Access } from '../services/access.js';
import type { Gate } from '../services/authentication/index.js';
import { maySeeAll, Role } from '../services/caller.js';
import { asEngineError, toConnectError } from '../services/errors.js';
import { refusePlainly } from './connect-answers.js';
import { credentialsOf } from './credentials.js';
import type { Request, Response } from './exchange.js';
import { sendPage } from './pages.js';

export const METRICS_PATH = '/metrics';

export interface MetricsText {
  readonly contentType: string;
  text(): Promise<string>;
}

export interface MetricsPageOptions {
  readonly metrics: MetricsText;
  readonly gate: Gate | undefined;
  readonly logger: Logger;
}

const ACCESS: Access = { roles: [Role.OBSERVER, Role.OPERATOR], everywhere: true };
const STATUS: Readonly<Record<string, number>> = { INVALID_TOKEN: 401, ROLE_REQUIRED: 403, NAMESPACE_DENIED: 403 };

export async function sendMetrics(request: Request, response: Response, options: MetricsPageOptions): Promise<void> {
  const { metrics, gate, logger } = options;
  try {
    const caller = await gate?.admit(credentialsOf(request), ACCESS);
    if (caller && !maySeeAll(caller)) {
      throw new EngineError('NAMESPACE_DENIED', 'metrics tell of all namespaces, and the caller is bound to one');
    }
    const isRead = request.method === 'GET';
    const body = isRead ? await metrics.text() : '';
    sendPage(request, response, { status: 200, contentType: metrics.contentType, body });
  } catch (thrown) {
    const error = asEngineError(thrown, logger, METRICS_PATH);
    if (response.headersSent) return void response.destroy();
    if (error.reason === 'INVALID_TOKEN') response.setHeader('www-authenticate', 'Bearer');
    refusePlainly(response, STATUS[error.reason] ?? 503, toConnectError(error));
  }
}
