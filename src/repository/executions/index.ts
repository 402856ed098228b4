/** Executions as clients make and end them. */
export { type CancelAnswer, type Cancellation, type Child, cancelExecution, readChildren } from './cancel.js';
export { type CreationAnswer, createExecutions, type NewExecution, type RetrySettings } from './create.js';
export { type Trace, traceFrom } from './trace.js';
