/**
 * gRPC health checking (grpc.health.v1) over the process's readiness: the empty name and every served service answer
 * SERVING while all parts are ready. A watch is told each change and ends with the server.
 */
import type { ConnectRouter } from '@connectrpc/connect';
import { Health, HealthCheckResponse_ServingStatus as Serving } from '../../gen/health/v1/health_pb.js';
import { EngineError } from '../domain/errors.js';
import type { Readiness } from '../runtime/readiness.js';

/** `services` are full names, asked on each call, because routes may still be added after this. */
export function addHealth(router: ConnectRouter, readiness: Readiness, services: () => readonly string[]): void {
  const known = () => new Set(['', ...services()]);
  const now = () => (readiness.ready ? Serving.SERVING : Serving.NOT_SERVING);

  router.service(Health, {
    check({ service }) {
      if (!known().has(service)) {
        throw new EngineError('SERVICE_NOT_FOUND', 'this server has no such service', { metadata: { service } });
      }
      return { status: now() };
    },

    list() {
      return { statuses: Object.fromEntries([...known()].map((name) => [name, { status: now() }])) };
    },

    /** An unknown name is no error here, by the protocol: it might appear later. */
    async *watch({ service }, { signal }) {
      let told: Serving | undefined;
      while (!signal.aborted) {
        const status = known().has(service) ? now() : Serving.SERVICE_UNKNOWN;
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
