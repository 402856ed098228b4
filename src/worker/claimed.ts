/** What a claim says, readably: the unchanging half of what a handler is given. */
import { timestampDate } from '@bufbuild/protobuf/wkt';
import type { AttemptKind, Failure } from '../../gen/tailrace/v1/attempt_pb.js';
import type { Claim } from '../../gen/tailrace/v1/lease_pb.js';
import type { ResumeCause } from '../../gen/tailrace/v1/signal_pb.js';
import { Content } from '../client/content.js';
import { type BatchPlace, batchOf, type Trigger, triggerOf } from './trigger.js';

/** Why and after which wait an attempt goes on. Times are on the database's clock. */
export interface Resume {
  readonly cause: ResumeCause;
  /** How often this attempt has waited, from 1. */
  readonly number: number;
  readonly suspended: Date | undefined;
  readonly resumed: Date | undefined;
}

export class ClaimedExecution {
  /** Everything the engine handed over, including joined inputs, trigger and resume information. */
  readonly claim: Claim;
  /** For one that a subscription started the payload of the event. */
  readonly input: Content;

  constructor(claim: Claim) {
    this.claim = claim;
    this.input = new Content(claim.input);
  }

  get executionId(): string {
    return this.claim.executionId;
  }

  get type(): string {
    return this.claim.type;
  }

  get lane(): string {
    return this.claim.lane;
  }

  get tags(): Readonly<Record<string, string>> {
    return this.claim.tags;
  }

  /** The flow it belongs to; empty without one. */
  get flowId(): string {
    return this.claim.flowId;
  }

  /** The execution that made it; empty without one. */
  get parentExecutionId(): string {
    return this.claim.parentExecutionId;
  }

  /** The event that started it, and through which subscription. Its payload is the `input`. */
  get trigger(): Trigger | undefined {
    return triggerOf(this.claim);
  }

  /** The slot it owns in a batch: what it emits fills it. */
  get batch(): BatchPlace | undefined {
    return batchOf(this.claim.batch);
  }

  /** Length of the chain of events behind it; what it emits counts one more. */
  get hops(): number {
    return this.claim.hops;
  }

  /** Present when this attempt goes on after a wait. */
  get resume(): Resume | undefined {
    const { resume } = this.claim;
    if (!resume) return undefined;
    const { cause, suspensionNumber, suspendTime, resumeTime } = resume;
    return {
      cause,
      number: suspensionNumber,
      suspended: suspendTime && timestampDate(suspendTime),
      resumed: resumeTime && timestampDate(resumeTime),
    };
  }

  /** From 1, without gaps. */
  get attemptNumber(): number {
    return this.claim.attemptNumber;
  }

  /** Why this attempt was made. */
  get attemptKind(): AttemptKind {
    return this.claim.attemptKind;
  }

  /** Whether a failure that counts will be the last one. */
  get lastAttempt(): boolean {
    return this.claim.maxAttempts > 0 && this.claim.failureCount + 1 >= this.claim.maxAttempts;
  }

  /** How the last failed attempt failed. */
  get previousFailure(): Failure | undefined {
    return this.claim.previousFailure;
  }

  /** The same over all attempts and redrives of the execution. */
  get idempotencyKey(): string {
    return this.claim.idempotencyKey;
  }
}
