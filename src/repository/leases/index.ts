/** What the holder of a lease may do with it. */
export {
  completeAndClaim,
  completeAndClaimWithFrames,
  type Handed,
  type Taker,
  type TakingEnding,
} from './complete-and-claim.js';
export { completeAndClaimWithEvents } from './complete-with-events.js';
export { isRefusedEmission, type NewEmission, type RefusedEmission } from './emission.js';
export { type EndAnswer, type Ended, type Ending, endAttempts } from './end.js';
export { isRefused, type LeaseRef, type Refused } from './refusal.js';
export { type RenewAnswer, type Renewal, type Renewed, renewLeases } from './renew.js';
