/** Why a suspension, a waitpoint or a signal was refused, as the contract says it. */
import { EngineError } from '../../../domain/errors.js';
import { ExecutionState, stateName } from '../../../domain/states.js';
import type { RefusedSuspension, SignalAnswer } from '../../../repository/suspensions/index.js';
import { executionNotFound, refusalOf } from '../refusals.js';
import type { SignalLimits } from './limits.js';
import type { Target } from './signal-target.js';

export function suspensionRefusal(
  { verdict, subject }: RefusedSuspension,
  execution: string,
  limits: SignalLimits,
): EngineError {
  switch (verdict) {
    case 'missing':
      return waitpointNotFound(execution, subject ?? '');
    case 'closed':
      return waitpointClosed(execution, subject ?? '');
    case 'full':
      return tooManyWaitpoints(execution, limits.waitpoints);
    case 'impossible': {
      const field = 'condition';
      const description = 'counts more waitpoints than the execution has open';
      return new EngineError('INVALID_FIELD', `${field} ${description}`, { violations: [{ field, description }] });
    }
    case 'reused':
      return keyReused(execution);
    default:
      return new EngineError(
        'WRONG_STATE',
        verdict === 'canceled'
          ? 'the flow of the execution is canceled, so it cannot be suspended'
          : 'cancellation was asked for, so the execution cannot be suspended',
        { metadata: { execution_id: execution, state: stateName(ExecutionState.RUNNING) } },
      );
  }
}

/** A token's bearer learns nothing of how the execution stands. */
export function signalRefusal(answer: SignalAnswer, target: Target, limits: SignalLimits): EngineError {
  switch (answer.verdict) {
    case 'reused':
      return new EngineError('REQUEST_ID_REUSED', 'the idempotency key stands for another signal of this execution');
    case 'full':
      return tooManySignals(`an execution takes at most ${limits.perExecution} signals`, limits.perExecution);
    case 'crowded':
      return tooManySignals(
        `a waitpoint keeps at most ${limits.earlyPerWaitpoint} signals that come before a suspension names it`,
        limits.earlyPerWaitpoint,
      );
    default:
      return 'token' in target
        ? invalidWaitpointToken()
        : refusalByAuthority(answer, target.execution, target.key ?? '');
  }
}

function refusalByAuthority({ verdict, ...end }: SignalAnswer, execution: string, key: string): EngineError {
  switch (verdict) {
    case 'terminal':
      return refusalOf({ ...end, verdict }, execution);
    case 'missing':
      return waitpointNotFound(execution, key);
    case 'closed':
      return waitpointClosed(execution, key);
    default:
      return executionNotFound(execution);
  }
}

/** One text for everything that is wrong with a token, so that nothing can be found out by trying. */
export function invalidWaitpointToken(): EngineError {
  return new EngineError('INVALID_WAITPOINT_TOKEN', 'the waitpoint token is not valid');
}

export function waitpointClosed(execution: string, key: string): EngineError {
  return new EngineError('WRONG_STATE', `the waitpoint ${key} is closed`, {
    metadata: { execution_id: execution, waitpoint_key: key, state: 'CLOSED' },
  });
}

export function tooManyWaitpoints(execution: string, limit: number): EngineError {
  return new EngineError('WAITPOINT_LIMIT_EXCEEDED', `an execution has at most ${limit} waitpoints`, {
    metadata: { execution_id: execution, limit: String(limit) },
  });
}

function waitpointNotFound(execution: string, key: string): EngineError {
  return new EngineError('WAITPOINT_NOT_FOUND', `the execution has no waitpoint ${key}`, {
    metadata: { execution_id: execution, waitpoint_key: key },
  });
}

function keyReused(execution: string): EngineError {
  return new EngineError('REQUEST_ID_REUSED', 'the idempotency key stands for another suspension of this attempt', {
    metadata: { execution_id: execution },
  });
}

function tooManySignals(message: string, limit: number): EngineError {
  return new EngineError('SIGNAL_LIMIT_EXCEEDED', message, { metadata: { limit: String(limit) } });
}
