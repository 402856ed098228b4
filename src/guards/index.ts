/** What will hurt, found before it does. */
export { serversOf } from './capacity.js';
export { judge, readFacts } from './examination.js';
export type { Facts, MachineFacts, Setup } from './facts.js';
export { type Finding, told } from './finding.js';
export { Guards } from './guards.js';
