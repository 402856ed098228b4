/** The lines of claimable work. */
export { ANSWER_BYTES, type Claimed, claimExecutions, type Granted, type Holder, type Segment } from './claim.js';
export { claimExecution, type NamedClaim } from './claim-one.js';
export { type Horizon, type LinePlace, readHeads, readHorizon } from './horizon.js';
export { type JoinedSlot, readJoinedInputs } from './joined-inputs.js';
export { TRACES, withTraces } from './traces.js';
export { readTriggers, type TriggerRow } from './triggers.js';
