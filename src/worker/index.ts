/** The worker library: `import { Worker } from 'tailrace/worker'`. */
export { AttemptKind, type Failure, FailureClass } from '../../gen/tailrace/v1/attempt_pb.js';
export type { Claim } from '../../gen/tailrace/v1/lease_pb.js';
export { bytes, Content, ContentError, text } from '../client/content.js';
export { Code, TailraceError } from '../client/errors.js';
export { InvalidOptionsError } from '../client/option-rules.js';
export type { Handler, HandlerContext } from './context.js';
export { CanceledError, Delay, PermanentError, RateLimitedError } from './handler-errors.js';
export type { LogFields, LogLevel, WorkerLog } from './log.js';
export type { WorkerOptions } from './options.js';
export { AttemptTimeoutError, CancelRequestedError, LeaseLostError, WorkerStoppingError } from './stop-reasons.js';
export { Worker } from './worker.js';
