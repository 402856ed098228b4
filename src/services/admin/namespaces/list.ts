/** ListNamespaces: those that the caller may see, which is the one it is bound to, or all. */
import { create } from '@bufbuild/protobuf';
import type { HandlerContext } from '@connectrpc/connect';
import { z } from 'zod';
import {
  type ListNamespacesRequest,
  type ListNamespacesResponse,
  ListNamespacesResponseSchema,
} from '../../../../gen/tailrace/v1/admin_service_pb.js';
import { listNamespaces, readNamespace } from '../../../repository/namespaces/index.js';
import { callerOf, maySeeAll } from '../../caller.js';
import { toNamespace } from '../../conversion/namespace.js';
import { Pages } from '../../paging.js';
import { NAME_BYTES, pageSize, pageToken, type Shape, text, validate } from '../../validation.js';
import type { AdminServiceDeps } from '../deps.js';

/** What is listed follows from who asks; the namespace only ties a page token to the call that it came from. */
const request = z.object({
  namespace: text(NAME_BYTES),
  pageSize,
  pageToken,
} satisfies Shape<ListNamespacesRequest>);

export function listNamespacesCall({ database, namespaces }: AdminServiceDeps) {
  return async (message: ListNamespacesRequest, context: HandlerContext): Promise<ListNamespacesResponse> => {
    const { pageSize: size, pageToken: token, namespace } = validate(request, message);
    const caller = callerOf(context);
    const pages = new Pages('ListNamespaces', [caller.namespace, namespace], ['text']);
    const [after = ''] = pages.keys(token) ?? [];
    if (!maySeeAll(caller)) {
      const row = await readNamespace(database, caller.namespace);
      return create(ListNamespacesResponseSchema, { namespaces: row ? [toNamespace(row, namespaces)] : [] });
    }
    const rows = await listNamespaces(database, after, size + 1);
    const shown = rows.slice(0, size);
    const last = rows.length > size ? shown.at(-1) : undefined;
    return create(ListNamespacesResponseSchema, {
      namespaces: shown.map((row) => toNamespace(row, namespaces)),
      nextPageToken: pages.token(last && [last.name]),
    });
  };
}
