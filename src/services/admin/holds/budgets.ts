/** Budgets that are used up. */
import { HoldKind } from '../../../../gen/tailrace/v1/explain_pb.js';
import { ExecutionState } from '../../../domain/states.js';
import type { SpentDimension } from '../../../repository/budgets/index.js';
import type { ExecutionRow } from '../../../repository/inspection/index.js';
import { toTimestamp } from '../../conversion/times.js';
import type { Hold } from './hold.js';

/** `spent`: of all budgets that bound it. One that it waits for by name is told of in any case. */
export function budgetHolds(row: ExecutionRow, spent: readonly SpentDimension[]): Hold[] {
  const holds = spent.map(spentHold);
  const { budget_name: name } = row;
  if (name === null || spent.some((each) => each.name === name)) return holds;
  const message =
    row.state === ExecutionState.SUSPENDED
      ? `It reported more use than budget ${name} has room for; it goes on when that is reset, raised or detached.`
      : `Budget ${name} was used up and has room again: it goes on now.`;
  return [{ kind: HoldKind.BUDGET, subject: name, message }, ...holds];
}

function spentHold({ name, dimension, used, hard_limit, reset_at }: SpentDimension): Hold {
  const anew = reset_at === null ? '' : `${reset_at.toISOString()}, when its use starts anew, or until `;
  return {
    kind: HoldKind.BUDGET,
    subject: name,
    message:
      `Budget ${name} is used up: ${used} of ${hard_limit} ${dimension}. Nothing it bounds starts until ${anew}it is ` +
      'reset, raised or detached.',
    current: used,
    limit: hard_limit,
    ...(reset_at && { untilTime: toTimestamp(reset_at) }),
  };
}
