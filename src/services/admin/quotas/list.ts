/** ListQuotas. */
import { create } from '@bufbuild/protobuf';
import { z } from 'zod';
import {
  type ListQuotasRequest,
  type ListQuotasResponse,
  ListQuotasResponseSchema,
} from '../../../../gen/tailrace/v1/admin_service_pb.js';
import { listQuotas } from '../../../repository/quotas/index.js';
import { toQuota } from '../../conversion/quota.js';
import { namespaceIn } from '../../namespace-in.js';
import { Pages } from '../../paging.js';
import { namespace, pageSize, pageToken, type Shape, validate } from '../../validation.js';
import type { AdminServiceDeps } from '../deps.js';

const request = z.object({ namespace, pageSize, pageToken } satisfies Shape<ListQuotasRequest>);

export function listQuotasCall({ database, registry }: AdminServiceDeps) {
  return async (message: ListQuotasRequest): Promise<ListQuotasResponse> => {
    const asked = validate(request, message);
    const pages = new Pages('ListQuotas', asked.namespace, ['text']);
    const [after = null] = pages.keys(asked.pageToken) ?? [];
    const rows = await listQuotas(database, await namespaceIn(registry, asked.namespace), after, asked.pageSize + 1);
    const shown = rows.slice(0, asked.pageSize);
    const last = rows.length > asked.pageSize ? shown.at(-1) : undefined;
    return create(ListQuotasResponseSchema, {
      quotas: shown.map((row) => toQuota(row, asked.namespace)),
      nextPageToken: pages.token(last && [last.lane]),
    });
  };
}
