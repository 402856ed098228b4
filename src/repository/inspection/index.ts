/** Looking at executions and at what surrounds them. */
export type { AttemptRow } from './attempt-row.js';
export { EACH_COUNTED, type Folded, foldCounts, readStats, type Stats } from './counts.js';
export type { ExecutionRow } from './execution-row.js';
export { readExecution } from './get-execution.js';
export {
  type AttemptFilter,
  type AttemptKey,
  type AttemptList,
  listAttempts,
  listAttemptsOf,
  listAttemptsOfLetter,
} from './list-attempts.js';
export { type ExecutionFilter, type ExecutionList, type ExecutionPage, listExecutions } from './list-executions.js';
export { ORDER_AHEAD_COUNTED, type OrderAhead, readOrderAhead } from './order-ahead.js';
export { type DatabaseFacts, readDatabaseFacts } from './server.js';
export { AHEAD_COUNTED, readSurroundings, type Surroundings } from './surroundings.js';
export { readUntakenSignals } from './untaken-signals.js';
