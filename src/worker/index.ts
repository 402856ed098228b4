/** The worker library: `import { Worker } from 'tailrace/worker'`. */
export { AttemptKind, type Failure, FailureClass } from '../../gen/tailrace/v1/attempt_pb.js';
export type { DeadLetter } from '../../gen/tailrace/v1/dead_letter_pb.js';
export type { Claim } from '../../gen/tailrace/v1/lease_pb.js';
export { type LogEntry, LogEntryKind } from '../../gen/tailrace/v1/log_pb.js';
export { ResumeCause } from '../../gen/tailrace/v1/signal_pb.js';
export { bytes, Content, ContentError, text } from '../client/content.js';
export { Code, TailraceError } from '../client/errors.js';
export { type AnyEvents, EventContentError, type EventSchema, type EventSchemas } from '../client/event-schemas.js';
export type { ChildExecution } from '../client/execution-spec.js';
export type { JoinRules } from '../client/join-rules.js';
export type { LetterConditions } from '../client/letter-subscription.js';
export type {
  EventOptions,
  FailureDescription,
  GivenUpReason,
  NewEvent,
  NewFailureEvent,
} from '../client/new-event.js';
export { InvalidOptionsError } from '../client/option-rules.js';
export type { EventConditions, EventKey, EventPattern } from '../client/subscription-spec.js';
export type { BatchMember } from './batch-members.js';
export type { AwaitedChild, ChildrenWait } from './children.js';
export type { ClaimedExecution, Resume } from './claimed.js';
export {
  allOf,
  anySignal,
  type Condition,
  type CountRules,
  count,
  type MemberCondition,
  operatorOnly,
  type SignalCondition,
  type SignalPlace,
  signal,
  timeoutOnly,
} from './conditions.js';
export {
  type ConsumerContext,
  type ConsumerHandler,
  type EntriesHandler,
  type EntryHandler,
  EntryRunner,
  inBatches,
} from './consumer-handlers.js';
export type { ConsumerOptions, StartedGeneration } from './consumer-options.js';
export type { Handler, HandlerContext } from './context.js';
export type {
  DeadLetterHandler,
  DeadLetterOptions,
  LetterRedriveOptions,
  ReceivedDeadLetter,
} from './dead-letters.js';
export { type FrameOptions, FramesRefusedError } from './frames.js';
export { CanceledError, Delay, PermanentError, RateLimitedError } from './handler-errors.js';
export {
  inTransaction,
  type SqlClient,
  type SqlPool,
  type TransactionHandler,
  type TransactionOptions,
} from './in-transaction.js';
export type { InputOutcome, JoinedInput, JoinedInputs } from './joined-inputs.js';
export type { LogFields, LogLevel, WorkerLog } from './log.js';
export type { WorkerOptions } from './options.js';
export type { BatchHandler, EventHandler, JoinOptions, Reaction, ReactionOptions, ReceivedEvent } from './reactions.js';
export type { ReceivedSignal, SenderKind, SuspensionOutcome } from './received-signal.js';
export {
  AttemptTimeoutError,
  CancelRequestedError,
  LeaseLostError,
  Suspended,
  WorkerStoppingError,
} from './stop-reasons.js';
export type { SuspendOptions, WaitpointOptions } from './suspend-options.js';
export type { BatchPlace, EventEnvelope, Trigger } from './trigger.js';
export {
  BudgetExceededError,
  type ReportedUsage,
  type SoftLimitCrossed,
  type UsageAmounts,
  type UsageOptions,
} from './usage.js';
export type { Waitpoint } from './waits.js';
export { Worker } from './worker.js';
