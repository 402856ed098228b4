/** Executions as clients make and end them. */
export { type CancelAnswer, type Cancellation, cancelExecution } from './cancel.js';
export { type CreationAnswer, createExecutions, type NewExecution, type RetrySettings } from './create.js';
