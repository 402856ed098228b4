/** Budgets in the words of the contract. */
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import {
  type Budget,
  type BudgetAttachment,
  type BudgetAttachmentSchema,
  BudgetSchema,
  type BudgetUseSchema,
  type BudgetWarningSchema,
} from '../../../gen/tailrace/v1/budget_pb.js';
import { type Attachment, AttachmentKind, type BudgetRow, type Warning } from '../../repository/budgets/index.js';
import { toDuration, toTimestamp } from './times.js';

export function toBudget(row: BudgetRow, namespace: string): Budget {
  const uses = row.uses.map(({ dimension, used, hard, soft }) => toUse(dimension, used, hard, soft));
  return create(BudgetSchema, {
    namespace,
    spec: {
      name: row.name,
      limits: Object.fromEntries(uses.map(({ dimension, limit }) => [dimension, limit])),
      attachments: row.attachments.map(toAttachment),
      windowStartTime: toTimestamp(row.window_start),
      breachPolicy: row.policy,
      ...(row.window_ms !== null && { resetWindow: toDuration(row.window_ms) }),
    },
    uses,
    exhausted: uses.some(({ used, limit }) => used >= limit.hardLimit),
    version: row.version,
    createTime: toTimestamp(row.created_at),
    updateTime: toTimestamp(row.changed_at),
    blockedCount: BigInt(row.held),
    ...(row.reset_at && { resetTime: toTimestamp(row.reset_at) }),
  });
}

export function toWarning(warning: Warning): MessageInitShape<typeof BudgetWarningSchema> {
  const { budget, dimension, used, hard, soft } = warning;
  return { budget, use: toUse(dimension, used, hard, soft) };
}

export function fromAttachment({ subject }: BudgetAttachment): Attachment {
  switch (subject.case) {
    case 'lane':
      return { kind: AttachmentKind.LANE, lane: subject.value, subject: null };
    case 'flowId':
      return { kind: AttachmentKind.FLOW, lane: null, subject: subject.value.toLowerCase() };
    case 'executionId':
      return { kind: AttachmentKind.EXECUTION, lane: null, subject: subject.value.toLowerCase() };
    case undefined:
      return { kind: AttachmentKind.NAMESPACE, lane: null, subject: null };
  }
}

function toUse(dimension: string, used: string, hard: string, soft: string) {
  const limit = { hardLimit: BigInt(hard), softLimit: BigInt(soft) };
  return { dimension, used: BigInt(used), limit } satisfies MessageInitShape<typeof BudgetUseSchema>;
}

function toAttachment({ kind, lane, subject }: Attachment): MessageInitShape<typeof BudgetAttachmentSchema> {
  switch (kind) {
    case AttachmentKind.LANE:
      return { subject: { case: 'lane', value: lane ?? '' } };
    case AttachmentKind.FLOW:
      return { subject: { case: 'flowId', value: subject ?? '' } };
    case AttachmentKind.EXECUTION:
      return { subject: { case: 'executionId', value: subject ?? '' } };
    default:
      return {};
  }
}
