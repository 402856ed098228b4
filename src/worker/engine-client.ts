/** The engine as the parts of a worker see it: the generated client of its service. */
import type { Client } from '@connectrpc/connect';
import type { EngineService } from '../../gen/tailrace/v1/engine_service_pb.js';

export type EngineClient = Client<typeof EngineService>;
