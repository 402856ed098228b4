/**
 * CreateToken. Its secret is in the answer and nowhere else: what is stored is a hash.
 *
 * Nobody hands out more than they have. The gate keeps who is bound to a namespace inside it, `*` included; within it an
 * admin may do everything, and so may give every role.
 */
import { create } from '@bufbuild/protobuf';
import type { HandlerContext } from '@connectrpc/connect';
import { z } from 'zod';
import {
  type CreateTokenRequest,
  type CreateTokenResponse,
  CreateTokenResponseSchema,
} from '../../../../gen/tailrace/v1/admin_service_pb.js';
import { RoleSchema } from '../../../../gen/tailrace/v1/namespace_pb.js';
import { EngineError } from '../../../domain/errors.js';
import { createToken, readToken } from '../../../repository/tokens/index.js';
import { hashOf, makeSecret } from '../../authentication/index.js';
import { actorOf } from '../../caller.js';
import { toToken } from '../../conversion/token.js';
import {
  CENTURY_MS,
  duration,
  enumNumber,
  list,
  name,
  namespaceOrAll,
  refuse,
  requestId,
  SECOND_MS,
  type Shape,
  validate,
} from '../../validation.js';
import type { AdminServiceDeps } from '../deps.js';

const ROLES = RoleSchema.values.length - 1;

const role = enumNumber(RoleSchema).check(({ value, issues }) => {
  if (value === 0) refuse(issues, value, 'must be a role; it is UNSPECIFIED');
});

const request = z.object({
  namespace: namespaceOrAll,
  requestId,
  name: name(),
  roles: list(role, ROLES, 1).transform((values) => [...new Set(values)].sort((a, b) => a - b)),
  expiry: duration(SECOND_MS, CENTURY_MS),
} satisfies Shape<CreateTokenRequest>);

export function createTokenCall({ database, registry, after }: AdminServiceDeps) {
  return async (message: CreateTokenRequest, context: HandlerContext): Promise<CreateTokenResponse> => {
    const { expiry, ...asked } = validate(request, message);
    const { id, text } = makeSecret();
    const made = { ...asked, id, hash: hashOf(text), expiryMs: expiry, actor: actorOf(context) };
    const { verdict, token } = await createToken(database, made);
    if (verdict === 'no_namespace') throw namespaceNotFound(asked.namespace);
    if (verdict === 'reused') throw reused(token ?? '');
    await registry.refresh();
    after.committed(0);
    const row = await readToken(database, id);
    return create(CreateTokenResponseSchema, { ...(row && { token: toToken(row) }), secret: text });
  };
}

function namespaceNotFound(namespace: string): EngineError {
  return new EngineError('NAMESPACE_NOT_FOUND', `there is no namespace ${namespace}; PutNamespace makes it`, {
    metadata: { namespace },
  });
}

function reused(token: string): EngineError {
  return new EngineError(
    'REQUEST_ID_REUSED',
    `a token was made under this request id, and its secret cannot be told again: revoke ${token} and make another`,
    { metadata: { token_id: token } },
  );
}
