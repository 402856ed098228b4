/** What operators do to one execution. */
export { type ChangeAnswer, changeExecution, type ExecutionChange } from './change.js';
export { type HeldLease, type Revocation, type RevokeAnswer, revokeLease } from './revoke.js';
