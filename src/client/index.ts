/** The client library: `import { Client } from 'tailrace/client'`. */
export { CancelEffect } from '../../gen/tailrace/v1/cancel_pb.js';
export type { AwaitedExecution } from '../../gen/tailrace/v1/completion_service_pb.js';
export { type Consumer, ConsumerState } from '../../gen/tailrace/v1/consumer_pb.js';
export type { Outcome } from '../../gen/tailrace/v1/execution_pb.js';
export { EndReason, ExecutionState } from '../../gen/tailrace/v1/execution_state_pb.js';
export { FlowState } from '../../gen/tailrace/v1/flow_pb.js';
export { type CompletionEntry, type LogEntry, LogEntryKind } from '../../gen/tailrace/v1/log_pb.js';
export { type Redrive, RedriveState } from '../../gen/tailrace/v1/redrive_pb.js';
export type { Token } from './bearing.js';
export type { CancelRules } from './cancel-policy.js';
export { Client } from './client.js';
export type * from './client-options.js';
export type { ConnectionOptions, TlsOptions } from './connection.js';
export type { NewConsumer, Place } from './consumer-spec.js';
export type { ConsumerChangeOptions, Consumers, RebuildOptions } from './consumers.js';
export { bytes, Content, ContentError, text } from './content.js';
export { asTailraceError, Code, type FieldViolation, fromItemError, TailraceError } from './errors.js';
export { type AnyEvents, EventContentError, type EventSchema, type EventSchemas } from './event-schemas.js';
export type { MemberExecution, NewExecution, RetryRules } from './execution-spec.js';
export { type EdgeOptions, extension, type Flow, type FlowJoinRules, type FlowOptions, flow } from './flow.js';
export type { CreatedFlow, ExtendedFlow, ExtendOptions, FlowCancelOptions } from './flow-calls.js';
export type { FlowSnapshot, FlowWatch } from './flow-watch.js';
export type { JoinRules } from './join-rules.js';
export type { LetterConditions, LetterRules, NewLetterSubscription } from './letter-subscription.js';
export type { EventOptions, FailureDescription, GivenUpReason, NewEvent, NewFailureEvent } from './new-event.js';
export { InvalidOptionsError } from './option-rules.js';
export type {
  PublishedEvent,
  PublishOptions,
  PublishResult,
  ReadStreamOptions,
  StoredEvent,
} from './publishing.js';
export type { RedriveFilter, RedriveOptions, RedrivePreview, Redrives } from './redrives.js';
export type {
  BatchRules,
  EventConditions,
  EventKey,
  EventPattern,
  NewSubscription,
  SubscriptionRules,
} from './subscription-spec.js';
export type { ExpectedVersion, PutSubscription, Subscriptions } from './subscriptions.js';
export type { Watch, WatchOptions } from './watch.js';
