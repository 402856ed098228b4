/** Why a report of use was refused, as the contract says it. */
import { EngineError } from '../../../domain/errors.js';
import { ExecutionState, stateName } from '../../../domain/states.js';
import type { Breach } from '../../../repository/budgets/index.js';

const BECAME: Readonly<Record<number, string>> = {
  [ExecutionState.SUSPENDED]: '; the execution is parked until there is room',
  [ExecutionState.FAILED]: '; the execution was given up',
  [ExecutionState.CANCELED]: '; the execution was canceled',
};

/** `state` is what became of the execution: RUNNING where only the report was refused. */
export function budgetExceeded({ budget, dimension, used, limit, state, letter }: Breach): EngineError {
  const became = BECAME[state] ?? '';
  const text = `budget ${budget} has used ${used} of ${limit} ${dimension}: what was reported is too much${became}`;
  return new EngineError('BUDGET_EXCEEDED', text, {
    metadata: { budget, dimension, used, limit, state: stateName(state), ...(letter && { dead_letter_id: letter }) },
  });
}

export function keyReused(key: string): EngineError {
  return new EngineError('REQUEST_ID_REUSED', `idempotency key ${key} was used for other amounts`, {
    metadata: { idempotency_key: key },
  });
}

export function tooManyDimensions(most: number): EngineError {
  const description = `must not bring the attempt above ${most} dimensions`;
  return new EngineError('INVALID_FIELD', `usage ${description}`, { violations: [{ field: 'usage', description }] });
}
