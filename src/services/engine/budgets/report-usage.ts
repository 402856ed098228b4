/** ReportUsage: what a running attempt used, counted in every budget that bounds it, or in none. */
import { create } from '@bufbuild/protobuf';
import { z } from 'zod';
import {
  type ReportUsageRequest,
  type ReportUsageResponse,
  ReportUsageResponseSchema,
} from '../../../../gen/tailrace/v1/engine_service_pb.js';
import { GroupCommit } from '../../../batching/group-commit.js';
import { tellConsequences } from '../../../dispatch/after-commit.js';
import { ExecutionState } from '../../../domain/states.js';
import {
  type Exceeded,
  type GroupedUsageAnswer,
  reportUsage,
  reportUsages,
  type UsageReport,
} from '../../../repository/budgets/index.js';
import { isRefused } from '../../../repository/leases/index.js';
import { toWarning } from '../../conversion/budget.js';
import { namespace, optionalName, type Shape, validate } from '../../validation.js';
import type { EngineServiceDeps } from '../deps.js';
import { heldLease, leaseRef } from '../lease-ref.js';
import { refusalOf } from '../refusals.js';
import { toCancelRequest } from '../renew.js';
import { required } from '../required.js';
import { budgetExceeded, keyReused, tooManyDimensions } from './refusals.js';
import { usage, usageHash } from './usage.js';

/** They hold their budgets until the last of them is counted. */
const TOGETHER = 100;
/** Dimensions that one attempt may report. */
const PER_ATTEMPT = 64;

const request = z.object({
  namespace,
  lease: required(leaseRef),
  usage,
  idempotencyKey: optionalName(),
} satisfies Shape<ReportUsageRequest>);

export function reportUsageCall({ database, registry, after }: EngineServiceDeps) {
  const group = new GroupCommit<UsageReport, GroupedUsageAnswer>({
    name: 'ReportUsage',
    maxItems: TOGETHER,
    keysOf: ({ execution }) => [execution],
    bytesOf: () => 0,
    isBusy: ({ verdict }) => verdict === 'busy',
    run: (reports) => reportUsages(database, reports),
  });

  return async (message: ReportUsageRequest): Promise<ReportUsageResponse> => {
    const asked = validate(request, message);
    const { executionId: execution } = asked.lease;
    const key = asked.idempotencyKey;
    const held = heldLease(asked.lease, await registry.namespace(asked.namespace));
    const hash = usageHash('report', key, asked.usage);
    const report = { ...held, usage: asked.usage, key, hash, maxDimensions: PER_ATTEMPT };
    const [together] = await group.submit([report]);
    const answer = !together || together.verdict === 'alone' ? await reportUsage(database, report) : together;
    if (isRefused(answer)) throw refusalOf(answer, execution);
    if (answer.verdict === 'crowded') throw tooManyDimensions(PER_ATTEMPT);
    if (answer.verdict === 'reused') throw keyReused(key ?? '');
    tellConsequences(after, { woken: answer.woken ?? null, follows: answer.follows });
    if (answer.due) after.due('budgets', 0);
    after.committed(1);
    if (answer.verdict === 'exceeded') throw refused(answer);
    const cancelRequest = toCancelRequest(answer);
    return create(ReportUsageResponseSchema, {
      duplicate: answer.verdict === 'duplicate',
      warnings: answer.answer.warnings.map(toWarning),
      ...(cancelRequest && { cancelRequest }),
    });
  };

  function refused(answer: Exceeded) {
    if (typeof answer.class === 'number' && answer.answer.state !== ExecutionState.RUNNING) after.freed(answer.class);
    return budgetExceeded(answer.answer);
  }
}
