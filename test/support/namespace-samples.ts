/** A request to each RPC about namespaces. */
import { AdminService } from '../../gen/tailrace/v1/admin_service_pb.js';
import { type Estate, seconds } from './estate.js';
import { type SampleRequest, sample } from './sample.js';

const DAY_SECONDS = 86_400;

export function namespaceSamples({ namespace }: Estate): SampleRequest[] {
  const admin = AdminService.method;
  const settings = {
    retention: {
      executions: seconds(7 * DAY_SECONDS),
      log: seconds(14 * DAY_SECONDS),
      closedDeadLetters: seconds(30 * DAY_SECONDS),
      eventIds: seconds(90 * DAY_SECONDS),
      eventIdsForever: true,
    },
    maxPayloadBytes: 32_768n,
    maxHops: 32,
  };
  return [
    sample(admin.putNamespace, { namespace, description: 'of a team', settings, expectedVersion: 0n }),
    sample(admin.listNamespaces, { namespace, pageSize: 10 }),
  ];
}
