/** What calls about limits and budgets add to a history. */
import { isMessage, type Message } from '@bufbuild/protobuf';
import {
  GetBudgetResponseSchema,
  ListBudgetsResponseSchema,
  PutBudgetResponseSchema,
  PutQuotaResponseSchema,
  ResetBudgetResponseSchema,
  UpdateLaneResponseSchema,
} from '../../../gen/tailrace/v1/admin_service_pb.js';
import type { Budget, BudgetAttachment } from '../../../gen/tailrace/v1/budget_pb.js';
import {
  type ReleaseUsageRequest,
  ReleaseUsageRequestSchema,
  ReleaseUsageResponseSchema,
  type ReportUsageRequest,
  ReportUsageRequestSchema,
  ReportUsageResponseSchema,
} from '../../../gen/tailrace/v1/engine_service_pb.js';
import type { Lane } from '../../../gen/tailrace/v1/lane_pb.js';
import type { Budgeted, HistoryEvent, Limited, Timed, Used } from './history.js';

const DEFAULT_KEY = 16;

export function limitEvents(request: Message, response: Message, timed: Timed): HistoryEvent[] {
  const budgeted = (how: Budgeted['how'], ...budgets: (Budget | undefined)[]) =>
    budgets.flatMap((budget) => (budget ? [{ ...toldOf(budget), how, event: 'budgeted' as const, ...timed }] : []));
  if (isMessage(response, PutBudgetResponseSchema)) return budgeted('put', response.budget);
  if (isMessage(response, ResetBudgetResponseSchema)) return budgeted('reset', response.budget);
  if (isMessage(response, GetBudgetResponseSchema)) return budgeted('read', response.budget);
  if (isMessage(response, ListBudgetsResponseSchema)) return budgeted('read', ...response.budgets);
  if (isMessage(response, UpdateLaneResponseSchema) && response.lane) return [ofLane(response.lane, timed)];
  if (isMessage(response, PutQuotaResponseSchema) && response.quota) {
    const { namespace, lane, concurrencyLimit } = response.quota;
    return [{ event: 'limited', namespace, lane, running: orNone(concurrencyLimit), ...timed }];
  }
  if (isMessage(request, ReportUsageRequestSchema) && isMessage(response, ReportUsageResponseSchema)) {
    return [reported(request, response.duplicate ? 'duplicate' : 'accepted', timed)];
  }
  if (isMessage(request, ReleaseUsageRequestSchema) && isMessage(response, ReleaseUsageResponseSchema)) {
    return [givenBack(request, response.released, response.duplicate ? 'duplicate' : 'accepted', timed)];
  }
  return [];
}

/** Of calls that were refused, or whose answer was lost. */
export function refusedUse(request: Message, verdict: 'refused' | 'unanswered', timed: Timed): HistoryEvent[] {
  if (isMessage(request, ReportUsageRequestSchema)) return [reported(request, verdict, timed)];
  if (isMessage(request, ReleaseUsageRequestSchema)) return [givenBack(request, request.usage, verdict, timed)];
  return [];
}

function reported(
  { lease, usage, idempotencyKey: key }: ReportUsageRequest,
  verdict: Used['verdict'],
  timed: Timed,
): Used {
  const execution = lease?.executionId ?? '';
  return { event: 'used', execution, usage: new Map(Object.entries(usage)), key, verdict, ...timed };
}

function givenBack(
  { executionId: execution, idempotencyKey: key }: ReleaseUsageRequest,
  amounts: Readonly<Record<string, bigint>>,
  verdict: Used['verdict'],
  timed: Timed,
): Used {
  const usage = new Map(Object.entries(amounts).map(([dimension, amount]) => [dimension, -amount]));
  return { event: 'used', execution, usage, key, verdict, ...timed };
}

function ofLane({ namespace, lane, settings }: Lane, timed: Timed): Limited {
  const others = settings?.defaultKeyLimit || DEFAULT_KEY;
  const named = new Map(
    (settings?.keyLimits ?? []).map(({ key, limit, weight }) => [
      key,
      limit || settings?.defaultKeyLimit || DEFAULT_KEY * (weight || 1),
    ]),
  );
  const running = orNone(settings?.concurrencyLimit);
  return { event: 'limited', namespace, lane, running, keys: { named, others }, ...timed };
}

const orNone = (limit: number | undefined) => limit || Number.POSITIVE_INFINITY;

function toldOf({ namespace, spec, uses }: Budget) {
  const limits = Object.entries(spec?.limits ?? {});
  return {
    namespace,
    budget: spec?.name ?? '',
    hard: new Map(limits.map(([dimension, { hardLimit }]) => [dimension, hardLimit])),
    used: new Map(uses.map(({ dimension, used }) => [dimension, used])),
    attachments: (spec?.attachments ?? []).map(nameOf),
    windowed: spec?.resetWindow !== undefined,
  };
}

function nameOf({ subject }: BudgetAttachment): string {
  const kinds = { lane: 'lane', flowId: 'flow', executionId: 'execution' };
  return subject.case === undefined ? 'namespace' : `${kinds[subject.case]} ${subject.value}`;
}
