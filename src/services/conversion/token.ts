/** Tokens in the words of the contract, without their secrets. */
import { create } from '@bufbuild/protobuf';
import { type Token, TokenSchema } from '../../../gen/tailrace/v1/namespace_pb.js';
import type { TokenRow } from '../../repository/tokens/index.js';
import { ALL_NAMESPACES } from '../caller.js';
import { toTimestamp } from './times.js';

export function toToken(row: TokenRow): Token {
  return create(TokenSchema, {
    tokenId: row.id,
    name: row.name,
    namespace: row.namespace ?? ALL_NAMESPACES,
    roles: row.roles,
    actor: row.actor,
    createTime: toTimestamp(row.created_at),
    ...(row.expires_at && { expireTime: toTimestamp(row.expires_at) }),
    ...(row.revoked_at && { revokeTime: toTimestamp(row.revoked_at) }),
    ...(row.used_at && { lastUsedTime: toTimestamp(row.used_at) }),
  });
}
