/** Why a holder was refused, as the contract says it. */
import { EngineError } from '../../domain/errors.js';
import { stateName } from '../../domain/states.js';
import type { Refused } from '../../repository/leases/index.js';

const LOST: Readonly<Record<'expired' | 'other_content' | 'revoked' | 'superseded', string>> = {
  expired: 'the lease has expired',
  other_content: 'this lease ended its attempt with other content',
  revoked: 'the lease was revoked',
  superseded: 'the lease is not the one in force',
};

export function executionNotFound(execution: string): EngineError {
  return new EngineError('EXECUTION_NOT_FOUND', `there is no execution ${execution}`, {
    metadata: { execution_id: execution },
  });
}

export function wrongState(execution: string, state: number): EngineError {
  return new EngineError('WRONG_STATE', `execution ${execution} is ${stateName(state)}`, {
    metadata: { execution_id: execution, state: stateName(state) },
  });
}

export function leaseLost(execution: string, why: keyof typeof LOST | 'stale'): EngineError {
  const text = why === 'stale' ? LOST.superseded : LOST[why];
  return new EngineError('LEASE_LOST', text, { metadata: { execution_id: execution, why } });
}

export function refusalOf(refused: Refused, execution: string): EngineError {
  switch (refused.verdict) {
    case 'not_found':
      return executionNotFound(execution);
    case 'terminal':
      return new EngineError('EXECUTION_TERMINAL', `the execution has ended ${stateName(refused.state ?? 0)}`, {
        metadata: {
          execution_id: execution,
          state: stateName(refused.state ?? 0),
          attempt_number: String(refused.attempt ?? 0),
          fencing_token: String(refused.token ?? 0n),
        },
      });
    case 'canceling':
      return new EngineError('WRONG_STATE', 'the execution is being canceled and takes no completion any more', {
        metadata: { execution_id: execution, state: 'RUNNING' },
      });
    case 'busy':
      return new EngineError('CONTENTION', 'the execution is locked by another transaction; repeat the call', {
        metadata: { execution_id: execution },
        retryDelayMs: 100,
      });
    default:
      return leaseLost(execution, refused.verdict);
  }
}
