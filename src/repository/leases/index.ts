/** What the holder of a lease may do with it. */
export { type EndAnswer, type Ended, type Ending, endAttempts } from './end.js';
export type { LeaseRef, Refused } from './refusal.js';
export { type RenewAnswer, type Renewal, type Renewed, renewLeases } from './renew.js';
