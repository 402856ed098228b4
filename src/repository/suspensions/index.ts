/** Suspensions, waitpoints and signals. */
export { createWaitpoint, type WaitpointAnswer } from './create-waitpoint.js';
export {
  listMatchedSignals,
  type MatchedSignals,
  type ReceivedSignal,
  readMatchedSignals,
  type SuspensionRef,
  whyNotHeld,
} from './matched.js';
export * from './reading/index.js';
export { type ResumeAnswer, type Resuming, resumeSuspended } from './resume.js';
export { type SignalAnswer, type SignalTarget, signalExecution } from './signal.js';
export { isRefusedSuspension, type RefusedSuspension, type Suspended, suspend } from './suspend.js';
export type { HeldWaitpoint, NewWaitpoint } from './waitpoint.js';
