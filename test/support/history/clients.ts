/** Connect clients whose calls are recorded. */
import { createClient } from '@connectrpc/connect';
import { createConnectTransport } from '@connectrpc/connect-node';
import { AdminService } from '../../../gen/tailrace/v1/admin_service_pb.js';
import { CompletionService } from '../../../gen/tailrace/v1/completion_service_pb.js';
import { DeadLetterService } from '../../../gen/tailrace/v1/dead_letter_service_pb.js';
import { EngineService } from '../../../gen/tailrace/v1/engine_service_pb.js';
import type { Clients } from '../tailrace.js';
import type { Recorder } from './recorder.js';

export function recordingClients(url: string, recorder: Recorder): Clients {
  const interceptors = [recorder.interceptor];
  const transport = createConnectTransport({ baseUrl: url, httpVersion: '2', interceptors });
  return {
    engine: createClient(EngineService, transport),
    completion: createClient(CompletionService, transport),
    deadLetters: createClient(DeadLetterService, transport),
    admin: createClient(AdminService, transport),
  };
}
