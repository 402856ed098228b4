/** What calls about limits and budgets add to a history. */
import { isMessage, type Message } from '@bufbuild/protobuf';
import {
  GetBudgetResponseSchema,
  ListBudgetsResponseSchema,
  PutBudgetRequestSchema,
  PutBudgetResponseSchema,
  PutQuotaRequestSchema,
  PutQuotaResponseSchema,
  ResetBudgetRequestSchema,
  ResetBudgetResponseSchema,
  UpdateLaneRequestSchema,
  UpdateLaneResponseSchema,
} from '../../../gen/tailrace/v1/admin_service_pb.js';
import type { Budget, BudgetAttachment, BudgetSpec } from '../../../gen/tailrace/v1/budget_pb.js';
import {
  type ReleaseUsageRequest,
  ReleaseUsageRequestSchema,
  ReleaseUsageResponseSchema,
  type ReportUsageRequest,
  ReportUsageRequestSchema,
  ReportUsageResponseSchema,
} from '../../../gen/tailrace/v1/engine_service_pb.js';
import type { Lane, LaneSettings } from '../../../gen/tailrace/v1/lane_pb.js';
import type { Budgeted, HistoryEvent, Limited, Timed, Used } from './history.js';

const DEFAULT_KEY = 16;

export function limitEvents(request: Message, response: Message, timed: Timed): HistoryEvent[] {
  const budgeted = (how: Budgeted['how'], ...budgets: (Budget | undefined)[]) =>
    budgets.flatMap((budget) => (budget ? [{ ...toldOf(budget), how, event: 'budgeted' as const, ...timed }] : []));
  if (isMessage(request, PutBudgetRequestSchema) && isMessage(response, PutBudgetResponseSchema)) {
    // As it was asked for: who puts it at the same time may have changed it again by the time it is told.
    return budgeted('put', response.budget).map((told) => ({ ...told, ...specOf(request.budget) }));
  }
  if (isMessage(response, ResetBudgetResponseSchema)) return budgeted('reset', response.budget);
  if (isMessage(response, GetBudgetResponseSchema)) return budgeted('read', response.budget);
  if (isMessage(response, ListBudgetsResponseSchema)) return budgeted('read', ...response.budgets);
  if (isMessage(response, UpdateLaneResponseSchema) && response.lane) return [ofLane(response.lane, timed)];
  if (isMessage(request, PutQuotaRequestSchema) && isMessage(response, PutQuotaResponseSchema) && response.quota) {
    const { namespace, lane } = response.quota;
    const running = orNone(request.concurrencyLimit);
    return [{ event: 'limited', certain: true, namespace, lane, running, ...timed }];
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

/** Of calls whose answer was lost: what they ask for may have come about, or may yet. */
export function unansweredLimits(request: Message, timed: Timed): HistoryEvent[] {
  if (isMessage(request, PutQuotaRequestSchema)) {
    const { lane, concurrencyLimit } = request;
    const namespace = request.namespace || 'default';
    return [{ event: 'limited', certain: false, namespace, lane, running: orNone(concurrencyLimit), ...timed }];
  }
  if (isMessage(request, UpdateLaneRequestSchema)) {
    const { lane, settings, updateMask } = request;
    const namespace = request.namespace || 'default';
    const paths = updateMask?.paths ?? [];
    const asks = (path: string) => (paths.length > 0 ? paths.includes(path) : settings !== undefined);
    const running = asks('concurrency_limit') ? orNone(settings?.concurrencyLimit) : 0;
    const touched = ['default_key_limit', 'key_limits'].filter(asks);
    // What such a call leaves as it was is not known here.
    const keys = touched.length === 2 ? keysOf(settings) : { named: new Map(), others: Number.POSITIVE_INFINITY };
    const more = touched.length > 0 && { keys };
    return [{ event: 'limited', certain: false, namespace, lane, running, ...more, ...timed }];
  }
  if (isMessage(request, PutBudgetRequestSchema)) {
    const asked = { namespace: request.namespace || 'default', budget: request.budget?.name ?? '', used: new Map() };
    return [{ event: 'budgeted', how: 'unanswered', ...asked, ...specOf(request.budget), ...timed }];
  }
  if (isMessage(request, ResetBudgetRequestSchema)) {
    const asked = { namespace: request.namespace || 'default', budget: request.budget, used: new Map() };
    return [{ event: 'budgeted', how: 'unanswered', ...asked, ...specOf(undefined), ...timed }];
  }
  return [];
}

function reported(
  { lease, usage, idempotencyKey: key }: ReportUsageRequest,
  verdict: Used['verdict'],
  timed: Timed,
): Used {
  const execution = lease?.executionId ?? '';
  const amounts = new Map(Object.entries(usage));
  return { event: 'used', execution, usage: amounts, givenBack: false, key, verdict, ...timed };
}

function givenBack(
  { executionId: execution, idempotencyKey: key }: ReleaseUsageRequest,
  amounts: Readonly<Record<string, bigint>>,
  verdict: Used['verdict'],
  timed: Timed,
): Used {
  const usage = new Map(Object.entries(amounts).map(([dimension, amount]) => [dimension, -amount]));
  return { event: 'used', execution, usage, givenBack: true, key, verdict, ...timed };
}

function ofLane({ namespace, lane, settings }: Lane, timed: Timed): Limited {
  const running = orNone(settings?.concurrencyLimit);
  return { event: 'limited', certain: true, namespace, lane, running, keys: keysOf(settings), ...timed };
}

function keysOf(settings: LaneSettings | undefined): Required<Limited>['keys'] {
  const others = settings?.defaultKeyLimit || DEFAULT_KEY;
  const named = new Map(
    (settings?.keyLimits ?? []).map(({ key, limit, weight }) => [
      key,
      limit || settings?.defaultKeyLimit || DEFAULT_KEY * (weight || 1),
    ]),
  );
  return { named, others };
}

const orNone = (limit: number | undefined) => limit || Number.POSITIVE_INFINITY;

function toldOf({ namespace, spec, uses }: Budget) {
  const used = new Map(uses.map((use) => [use.dimension, use.used]));
  return { namespace, budget: spec?.name ?? '', used, ...specOf(spec) };
}

function specOf(spec: BudgetSpec | undefined) {
  const limits = Object.entries(spec?.limits ?? {});
  return {
    hard: new Map(limits.map(([dimension, { hardLimit }]) => [dimension, hardLimit])),
    attachments: (spec?.attachments ?? []).map(nameOf),
    windowed: spec?.resetWindow !== undefined,
  };
}

function nameOf({ subject }: BudgetAttachment): string {
  const kinds = { lane: 'lane', flowId: 'flow', executionId: 'execution' };
  return subject.case === undefined ? 'namespace' : `${kinds[subject.case]} ${subject.value}`;
}
