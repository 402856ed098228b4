/** One HTTP/2 session to a server, and the generated clients over it. Every call carries the token. */
import { type Client, createClient, type Interceptor } from '@connectrpc/connect';
import { createConnectTransport, Http2SessionManager } from '@connectrpc/connect-node';
import { Health } from '../../gen/health/v1/health_pb.js';
import { AdminService } from '../../gen/tailrace/v1/admin_service_pb.js';
import { CompletionService } from '../../gen/tailrace/v1/completion_service_pb.js';
import { DeadLetterService } from '../../gen/tailrace/v1/dead_letter_service_pb.js';
import { EngineService } from '../../gen/tailrace/v1/engine_service_pb.js';
import type { Access } from './access.js';

export interface Connection {
  readonly engine: Client<typeof EngineService>;
  readonly completions: Client<typeof CompletionService>;
  readonly deadLetters: Client<typeof DeadLetterService>;
  readonly admin: Client<typeof AdminService>;
  readonly health: Client<typeof Health>;
  readonly url: string;
  readonly namespace: string;
  close(): void;
}

/** Connects with the first call. */
export function connect({ url, namespace, token, tls }: Access): Connection {
  const sessionManager = new Http2SessionManager(url, { pingIntervalMs: 10_000, pingTimeoutMs: 5_000 }, tls);
  const transport = createConnectTransport({
    baseUrl: url,
    httpVersion: '2',
    sessionManager,
    acceptCompression: [],
    interceptors: token === undefined ? [] : [bearing(token)],
  });
  return {
    engine: createClient(EngineService, transport),
    completions: createClient(CompletionService, transport),
    deadLetters: createClient(DeadLetterService, transport),
    admin: createClient(AdminService, transport),
    health: createClient(Health, transport),
    url,
    namespace,
    close: () => sessionManager.abort(),
  };
}

function bearing(token: string): Interceptor {
  return (next) => (request) => {
    request.header.set('authorization', `Bearer ${token}`);
    return next(request);
  };
}
