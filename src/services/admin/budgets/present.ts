/** A budget as it stands after a call, and the refusals that calls share. */
import type { Budget } from '../../../../gen/tailrace/v1/budget_pb.js';
import { EngineError } from '../../../domain/errors.js';
import { readBudget } from '../../../repository/budgets/index.js';
import { toBudget } from '../../conversion/budget.js';
import { namespaceIn } from '../../namespace-in.js';
import type { AdminServiceDeps } from '../deps.js';

export async function budgetNow(
  { database, registry }: AdminServiceDeps,
  namespace: string,
  name: string,
): Promise<Budget> {
  const row = await readBudget(database, await namespaceIn(registry, namespace), name);
  if (row === undefined) throw budgetNotFound(name);
  return toBudget(row, namespace);
}

export function budgetNotFound(name: string): EngineError {
  return new EngineError('BUDGET_NOT_FOUND', `there is no budget ${name}`, { metadata: { budget: name } });
}

export function versionConflict(name: string, version: bigint): EngineError {
  const text = version === 0n ? `there is no budget ${name} yet` : `budget ${name} has version ${version}`;
  return new EngineError('VERSION_CONFLICT', text, {
    metadata: { budget: name, current_version: String(version) },
  });
}
