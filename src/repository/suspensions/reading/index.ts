/** Looking at suspensions and waitpoints. */
export type { InstantKey } from './instants.js';
export { listSuspensions, type SuspensionFilter } from './list.js';
export { type SuspensionObject, suspensionObject, type WaitpointObject } from './suspension-object.js';
export { listWaitpoints, type WaitpointFilter } from './waitpoints.js';
