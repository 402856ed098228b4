/**
 * gRPC health checking (grpc.health.v1) over the process's readiness. The empty name stands for the whole, as /readyz does; a
 * service answers SERVING while the parts that it needs are ready:
 *
 * | service                                        | needs                                             |
 * |------------------------------------------------|---------------------------------------------------|
 * | (empty), and what is not named here            | every part                                        |
 * | EngineService, DeadLetterService, AdminService | server, database, schema, partitions, clock       |
 * | CompletionService                              | server, database, schema, sequencer               |
 * | health and reflection                          | server                                            |
 *
 * So a log that stands still is seen where it is followed, and work goes on. A watch is told each change and ends with the
 * server.
 */
import type { ConnectRouter } from '@connectrpc/connect';
import { Health, HealthCheckResponse_ServingStatus as Serving } from '../../gen/health/v1/health_pb.js';
import { ServerReflection } from '../../gen/reflection/v1/reflection_pb.js';
import { ServerReflection as ServerReflectionAlpha } from '../../gen/reflection/v1alpha/reflection_pb.js';
import { AdminService } from '../../gen/tailrace/v1/admin_service_pb.js';
import { CompletionService } from '../../gen/tailrace/v1/completion_service_pb.js';
import { DeadLetterService } from '../../gen/tailrace/v1/dead_letter_service_pb.js';
import { EngineService } from '../../gen/tailrace/v1/engine_service_pb.js';
import { EngineError } from '../domain/errors.js';
import type { Readiness } from '../runtime/readiness.js';

const WORKING = ['server', 'database', 'schema', 'partitions', 'clock'];
const NEEDED: ReadonlyMap<string, readonly string[]> = new Map<string, readonly string[]>([
  ...[EngineService, DeadLetterService, AdminService].map(({ typeName }) => [typeName, WORKING] as const),
  [CompletionService.typeName, ['server', 'database', 'schema', 'sequencer']],
  ...[Health, ServerReflection, ServerReflectionAlpha].map(({ typeName }) => [typeName, ['server']] as const),
]);

/** `services` are full names, asked on each call, because routes may still be added after this. */
export function addHealth(router: ConnectRouter, readiness: Readiness, services: () => readonly string[]): void {
  const known = () => new Set(['', ...services()]);
  const now = (service: string) => {
    const needed = NEEDED.get(service);
    const isReady = needed ? readiness.areReady(needed) : readiness.ready;
    return isReady ? Serving.SERVING : Serving.NOT_SERVING;
  };

  router.service(Health, {
    check({ service }) {
      if (!known().has(service)) {
        throw new EngineError('SERVICE_NOT_FOUND', 'this server has no such service', { metadata: { service } });
      }
      return { status: now(service) };
    },

    list() {
      return { statuses: Object.fromEntries([...known()].map((name) => [name, { status: now(name) }])) };
    },

    /** An unknown name is no error here, by the protocol: it might appear later. */
    async *watch({ service }, { signal }) {
      let told: Serving | undefined;
      while (!signal.aborted) {
        const status = known().has(service) ? now(service) : Serving.SERVICE_UNKNOWN;
        if (status === told) {
          await readiness.changed(signal);
        } else {
          told = status;
          yield { status };
        }
      }
    },
  });
}
