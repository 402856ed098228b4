/** The numbers behind states, kinds and reasons. They are stored, and equal those of the contract: a test compares them. */

export const ExecutionState = {
  BLOCKED: 1,
  SCHEDULED: 2,
  QUEUED: 3,
  RUNNING: 4,
  SUSPENDED: 5,
  WAITING_CHILDREN: 6,
  SUCCEEDED: 7,
  FAILED: 8,
  CANCELED: 9,
  EXPIRED: 10,
  SKIPPED: 11,
} as const;

export const AttemptOutcome = {
  SUCCEEDED: 1,
  FAILED: 2,
  TIMED_OUT: 3,
  LEASE_EXPIRED: 4,
  RELEASED: 5,
  DELAYED: 6,
  RATE_LIMITED: 7,
  CANCELED: 8,
  REVOKED: 9,
  EXPIRED: 10,
  NOT_STARTED: 11,
} as const;

export const FailureClass = {
  TRANSIENT: 1,
  PERMANENT: 2,
  RATE_LIMITED: 3,
  TIMEOUT: 4,
  CANCELED: 5,
  INVALID_RESULT: 6,
} as const;

export const FlowState = { ACTIVE: 1, IDLE: 2, SUCCEEDED: 3, FAILED: 4, CANCELING: 5, CANCELED: 6 } as const;

export const LaneState = { OPEN: 1, PAUSED: 2, DRAINING: 3 } as const;

/** What ended an attempt; stored with it, so that the same call again gets the first answer. */
export const EndCall = { COMPLETE: 1, FAIL: 2, DELAY: 3, RELEASE: 4 } as const;

export function isTerminal(state: number): boolean {
  return state >= ExecutionState.SUCCEEDED;
}

/** A flow that has ended goes on only by a redrive. */
export function isFlowEnd(state: number): boolean {
  return state === FlowState.SUCCEEDED || state === FlowState.FAILED || state === FlowState.CANCELED;
}

/** The state's name as the contract spells it, without its prefix. */
export function stateName(state: number): string {
  return Object.entries(ExecutionState).find(([, number]) => number === state)?.[0] ?? 'UNSPECIFIED';
}
