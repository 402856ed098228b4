/** CreateToken, RevokeToken, ListTokens. */
import type { AdminServiceDeps } from '../deps.js';
import { createTokenCall } from './create.js';
import { listTokensCall } from './list.js';
import { revokeTokenCall } from './revoke.js';

export function tokenCalls(deps: AdminServiceDeps) {
  return {
    createToken: createTokenCall(deps),
    revokeToken: revokeTokenCall(deps),
    listTokens: listTokensCall(deps),
  };
}
