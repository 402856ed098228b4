/** PutBudget. */
import { create } from '@bufbuild/protobuf';
import type { HandlerContext } from '@connectrpc/connect';
import { z } from 'zod';
import {
  type PutBudgetRequest,
  type PutBudgetResponse,
  PutBudgetResponseSchema,
} from '../../../../gen/tailrace/v1/admin_service_pb.js';
import {
  BudgetBreachPolicy,
  BudgetBreachPolicySchema,
  type BudgetLimit,
  type BudgetSpec,
} from '../../../../gen/tailrace/v1/budget_pb.js';
import { EngineError } from '../../../domain/errors.js';
import { putBudget } from '../../../repository/budgets/index.js';
import { actorOf } from '../../caller.js';
import { MAX_DIMENSIONS, refuseDimension } from '../../engine/budgets/usage.js';
import { executionNotFound } from '../../engine/refusals.js';
import { required } from '../../engine/required.js';
import { namespaceFor } from '../../namespace-in.js';
import {
  counter,
  DAY_MS,
  duration,
  enumNumber,
  list,
  name,
  namespace,
  refuse,
  SECOND_MS,
  type Shape,
  shown,
  timestamp,
  validate,
} from '../../validation.js';
import type { AdminServiceDeps } from '../deps.js';
import { attachment } from './attachment.js';
import { budgetNow, versionConflict } from './present.js';

const MAX_ATTACHMENTS = 1_000;
const LONGEST_WINDOW_MS = 366 * DAY_MS;

const limits = z
  .custom<Readonly<Record<string, BudgetLimit>>>()
  .check((context) => {
    const entries = Object.entries(context.value);
    if (entries.length < 1 || entries.length > MAX_DIMENSIONS) {
      const found = `must have 1 to ${MAX_DIMENSIONS} dimensions; it has ${entries.length}`;
      refuse(context.issues, entries.length, found);
    }
    for (const [dimension, { hardLimit, softLimit }] of entries) {
      const path = [`[${shown(dimension)}]`];
      refuseDimension(context.issues, dimension, path);
      if (hardLimit < 0n) {
        refuse(context.issues, hardLimit, `must not be negative; it is ${hardLimit}`, [...path, 'hardLimit']);
      } else if (softLimit < 0n || softLimit > hardLimit) {
        const message = `must be from 0 to hard_limit, ${hardLimit}; it is ${softLimit}`;
        refuse(context.issues, softLimit, message, [...path, 'softLimit']);
      }
    }
  })
  .transform((value) =>
    Object.entries(value)
      .map(([dimension, { hardLimit, softLimit }]) => ({ dimension, hard: hardLimit, soft: softLimit }))
      .sort((a, b) => (a.dimension < b.dimension ? -1 : 1)),
  );

const spec = z.object({
  name: name(),
  limits,
  attachments: list(attachment, MAX_ATTACHMENTS),
  resetWindow: duration(SECOND_MS, LONGEST_WINDOW_MS),
  windowStartTime: timestamp,
  breachPolicy: enumNumber(BudgetBreachPolicySchema).transform((policy) => policy || BudgetBreachPolicy.REFUSE),
} satisfies Shape<BudgetSpec>);

const request = z.object({
  namespace,
  budget: required(spec),
  expectedVersion: counter,
} satisfies Shape<PutBudgetRequest>);

export function putBudgetCall(deps: AdminServiceDeps) {
  const { database, registry, after } = deps;
  return async (message: PutBudgetRequest, context: HandlerContext): Promise<PutBudgetResponse> => {
    const { budget, expectedVersion, ...asked } = validate(request, message);
    const answer = await putBudget(database, {
      namespace: await namespaceFor(registry, asked.namespace, context),
      name: budget.name,
      policy: budget.breachPolicy,
      windowMs: budget.resetWindow,
      windowStart: budget.windowStartTime,
      limits: budget.limits,
      attachments: budget.attachments,
      expectedVersion,
      actor: actorOf(context),
    });
    if (answer.made_lanes) await registry.refresh();
    if (answer.verdict === 'conflict') throw versionConflict(budget.name, answer.version);
    if (answer.verdict === 'no_flow') throw flowNotFound(answer.missing ?? '');
    if (answer.verdict === 'no_execution') throw executionNotFound(answer.missing ?? '');
    after.committed(1);
    if (answer.due) after.due('budgets', 0);
    return create(PutBudgetResponseSchema, { budget: await budgetNow(deps, asked.namespace, budget.name) });
  };
}

function flowNotFound(flow: string): EngineError {
  return new EngineError('FLOW_NOT_FOUND', `there is no flow ${flow}`, { metadata: { flow_id: flow } });
}
