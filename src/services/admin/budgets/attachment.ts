/** What a budget is attached to, as requests name it. */
import { z } from 'zod';
import type { BudgetAttachment } from '../../../../gen/tailrace/v1/budget_pb.js';
import { fromAttachment } from '../../conversion/budget.js';
import { id, lane, refuse } from '../../validation.js';

const FORMS = { lane, flowId: id, executionId: id } as const;

/** Nothing named: the namespace. */
export const attachment = z.custom<BudgetAttachment>().transform((value, context) => {
  const { subject } = value;
  if (subject.case !== undefined) {
    const checked = FORMS[subject.case].safeParse(subject.value);
    if (!checked.success) {
      for (const { message } of checked.error.issues) refuse(context.issues, subject.value, message, [subject.case]);
      return z.NEVER;
    }
  }
  return fromAttachment(value);
});
