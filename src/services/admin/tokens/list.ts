/** ListTokens: by name, without secrets. */
import { create } from '@bufbuild/protobuf';
import { z } from 'zod';
import {
  type ListTokensRequest,
  type ListTokensResponse,
  ListTokensResponseSchema,
} from '../../../../gen/tailrace/v1/admin_service_pb.js';
import { listTokens } from '../../../repository/tokens/index.js';
import { toToken } from '../../conversion/token.js';
import { Pages } from '../../paging.js';
import { namespaceOrAll, pageSize, pageToken, type Shape, validate } from '../../validation.js';
import type { AdminServiceDeps } from '../deps.js';

const FIRST = ['', '00000000-0000-0000-0000-000000000000'];

const request = z.object({
  namespace: namespaceOrAll,
  includeRevoked: z.boolean(),
  pageSize,
  pageToken,
} satisfies Shape<ListTokensRequest>);

export function listTokensCall({ database }: AdminServiceDeps) {
  return async (message: ListTokensRequest): Promise<ListTokensResponse> => {
    const { pageSize: size, pageToken: from, ...asked } = validate(request, message);
    const pages = new Pages('ListTokens', asked, ['text', 'id']);
    const [name = '', id = ''] = pages.keys(from) ?? FIRST;
    const { namespace, includeRevoked: ended } = asked;
    const { tokens, more } = await listTokens(database, { namespace, ended, after: [name, id], size });
    const last = more ? tokens.at(-1) : undefined;
    return create(ListTokensResponseSchema, {
      tokens: tokens.map(toToken),
      nextPageToken: pages.token(last && [last.name, last.id]),
    });
  };
}
