/** ResetBudget. */
import { create } from '@bufbuild/protobuf';
import type { HandlerContext } from '@connectrpc/connect';
import { z } from 'zod';
import {
  type ResetBudgetRequest,
  type ResetBudgetResponse,
  ResetBudgetResponseSchema,
} from '../../../../gen/tailrace/v1/admin_service_pb.js';
import { EngineError } from '../../../domain/errors.js';
import { resetBudget } from '../../../repository/budgets/index.js';
import { actorOf } from '../../caller.js';
import { DIMENSION_BYTES, MAX_DIMENSIONS } from '../../engine/budgets/usage.js';
import { namespaceIn } from '../../namespace-in.js';
import { counter, name, names, namespace, type Shape, text, validate } from '../../validation.js';
import type { AdminServiceDeps } from '../deps.js';
import { REASON_BYTES } from '../lanes.js';
import { orNull } from '../selection.js';
import { budgetNotFound, budgetNow, versionConflict } from './present.js';

const request = z.object({
  namespace,
  budget: name(),
  dimensions: names(MAX_DIMENSIONS, DIMENSION_BYTES).transform(orNull),
  expectedVersion: counter,
  reason: text(REASON_BYTES),
} satisfies Shape<ResetBudgetRequest>);

export function resetBudgetCall(deps: AdminServiceDeps) {
  const { database, registry, after } = deps;
  return async (message: ResetBudgetRequest, context: HandlerContext): Promise<ResetBudgetResponse> => {
    const { budget, dimensions, expectedVersion, reason, ...asked } = validate(request, message);
    const namespaceId = await namespaceIn(registry, asked.namespace);
    const actor = actorOf(context);
    const reset = { namespace: namespaceId, name: budget, dimensions, expectedVersion, actor, reason };
    const answer = await resetBudget(database, reset);
    if (answer.verdict === 'not_found') throw budgetNotFound(budget);
    if (answer.verdict === 'conflict') throw versionConflict(budget, answer.version);
    if (answer.verdict === 'unknown') throw unknownDimension(dimensions ?? [], answer.missing ?? '');
    after.committed(1);
    if (answer.due) after.due('budgets', 0);
    return create(ResetBudgetResponseSchema, { budget: await budgetNow(deps, asked.namespace, budget) });
  };
}

function unknownDimension(dimensions: readonly string[], missing: string): EngineError {
  const field = `dimensions[${dimensions.indexOf(missing)}]`;
  const description = `must be a dimension of the budget; it is ${JSON.stringify(missing)}`;
  return new EngineError('INVALID_FIELD', `${field} ${description}`, { violations: [{ field, description }] });
}
