/** The worker library: `import { Worker } from 'tailrace/worker'`. */
export { AttemptKind, type Failure, FailureClass } from '../../gen/tailrace/v1/attempt_pb.js';
export type { Claim } from '../../gen/tailrace/v1/lease_pb.js';
export { ResumeCause } from '../../gen/tailrace/v1/signal_pb.js';
export { bytes, Content, ContentError, text } from '../client/content.js';
export { Code, TailraceError } from '../client/errors.js';
export type { ChildExecution } from '../client/execution-spec.js';
export type { JoinRules } from '../client/join-rules.js';
export { InvalidOptionsError } from '../client/option-rules.js';
export type { AwaitedChild, ChildrenWait } from './children.js';
export type { Handler, HandlerContext, Resume } from './context.js';
export { CanceledError, Delay, PermanentError, RateLimitedError } from './handler-errors.js';
export type { InputOutcome, JoinedInput, JoinedInputs } from './joined-inputs.js';
export type { LogFields, LogLevel, WorkerLog } from './log.js';
export type { WorkerOptions } from './options.js';
export { AttemptTimeoutError, CancelRequestedError, LeaseLostError, WorkerStoppingError } from './stop-reasons.js';
export { Worker } from './worker.js';
