/** GetBudget and ListBudgets. */
import { create } from '@bufbuild/protobuf';
import { z } from 'zod';
import {
  type GetBudgetRequest,
  type GetBudgetResponse,
  GetBudgetResponseSchema,
  type ListBudgetsRequest,
  type ListBudgetsResponse,
  ListBudgetsResponseSchema,
} from '../../../../gen/tailrace/v1/admin_service_pb.js';
import { listBudgets } from '../../../repository/budgets/index.js';
import { toBudget } from '../../conversion/budget.js';
import { namespaceIn } from '../../namespace-in.js';
import { Pages } from '../../paging.js';
import { name, namespace, pageSize, pageToken, type Shape, validate } from '../../validation.js';
import type { AdminServiceDeps } from '../deps.js';
import { attachment } from './attachment.js';
import { budgetNow } from './present.js';

const getRequest = z.object({ namespace, budget: name() } satisfies Shape<GetBudgetRequest>);

const listRequest = z.object({
  namespace,
  exhaustedOnly: z.boolean(),
  attachment: attachment.optional(),
  pageSize,
  pageToken,
} satisfies Shape<ListBudgetsRequest>);

export function getBudgetCall(deps: AdminServiceDeps) {
  return async (message: GetBudgetRequest): Promise<GetBudgetResponse> => {
    const asked = validate(getRequest, message);
    return create(GetBudgetResponseSchema, { budget: await budgetNow(deps, asked.namespace, asked.budget) });
  };
}

export function listBudgetsCall({ database, registry }: AdminServiceDeps) {
  return async (message: ListBudgetsRequest): Promise<ListBudgetsResponse> => {
    const { pageSize: size, pageToken: token, ...asked } = validate(listRequest, message);
    const pages = new Pages('ListBudgets', asked, ['text']);
    const [after = ''] = pages.keys(token) ?? [];
    const rows = await listBudgets(database, {
      namespace: await namespaceIn(registry, asked.namespace),
      attachment: asked.attachment ?? null,
      exhaustedOnly: asked.exhaustedOnly,
      after,
      limit: size + 1,
    });
    const shown = rows.slice(0, size);
    const last = rows.length > size ? shown.at(-1) : undefined;
    return create(ListBudgetsResponseSchema, {
      budgets: shown.map((row) => toBudget(row, asked.namespace)),
      nextPageToken: pages.token(last && [last.name]),
    });
  };
}
