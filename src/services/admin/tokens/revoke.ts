/** RevokeToken: at once here, and as soon as the others hear of the registry's new version there. */
import { create } from '@bufbuild/protobuf';
import type { HandlerContext } from '@connectrpc/connect';
import { z } from 'zod';
import {
  type RevokeTokenRequest,
  type RevokeTokenResponse,
  RevokeTokenResponseSchema,
} from '../../../../gen/tailrace/v1/admin_service_pb.js';
import { EngineError } from '../../../domain/errors.js';
import { readToken, revokeToken } from '../../../repository/tokens/index.js';
import { actorOf } from '../../caller.js';
import { toToken } from '../../conversion/token.js';
import { id, namespaceOrAll, type Shape, text, validate } from '../../validation.js';
import type { AdminServiceDeps } from '../deps.js';
import { REASON_BYTES } from '../lanes.js';

const request = z.object({
  namespace: namespaceOrAll,
  tokenId: id,
  reason: text(REASON_BYTES),
} satisfies Shape<RevokeTokenRequest>);

export function revokeTokenCall({ database, registry, after }: AdminServiceDeps) {
  return async (message: RevokeTokenRequest, context: HandlerContext): Promise<RevokeTokenResponse> => {
    const { tokenId, ...asked } = validate(request, message);
    const verdict = await revokeToken(database, { ...asked, id: tokenId, actor: actorOf(context) });
    if (verdict === 'revoked') {
      await registry.refresh();
      after.committed(0);
    }
    const row = verdict === 'not_found' ? undefined : await readToken(database, tokenId);
    if (row === undefined) throw tokenNotFound(tokenId, asked.namespace);
    return create(RevokeTokenResponseSchema, { token: toToken(row) });
  };
}

/** One of another namespace is not there, as any other thing of another namespace. */
function tokenNotFound(tokenId: string, namespace: string): EngineError {
  return new EngineError('TOKEN_NOT_FOUND', `no token of ${namespace} has the id ${tokenId}`, {
    metadata: { token_id: tokenId },
  });
}
