/** A request to each RPC about tokens. */
import { AdminService } from '../../gen/tailrace/v1/admin_service_pb.js';
import { Role } from '../../gen/tailrace/v1/namespace_pb.js';
import { type Estate, seconds } from './estate.js';
import { type SampleRequest, sample } from './sample.js';

export function tokenSamples({ namespace, mark, token }: Estate): SampleRequest[] {
  const admin = AdminService.method;
  return [
    sample(admin.createToken, {
      namespace,
      requestId: `token-${mark}`,
      name: 'pipeline',
      roles: [Role.CLIENT, Role.WORKER],
      expiry: seconds(3_600),
    }),
    sample(admin.revokeToken, { namespace, tokenId: token, reason: 'it leaked' }),
    sample(admin.listTokens, { namespace, includeRevoked: true, pageSize: 10 }),
  ];
}
