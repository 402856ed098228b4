/** A request to each RPC about what is stored. */
import { AdminService } from '../../gen/tailrace/v1/admin_service_pb.js';
import { type Estate, seconds } from './estate.js';
import { type SampleRequest, sample } from './sample.js';

export function retentionSamples({ namespace }: Estate): SampleRequest[] {
  const admin = AdminService.method;
  return [
    sample(admin.getStorage, { namespace }),
    sample(admin.runRetention, { namespace, dryRun: true, maxDuration: seconds(5) }),
  ];
}
