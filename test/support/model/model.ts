/**
 * What an execution may do, written a second time and as simply as possible: one object per execution, no clock, no
 * tables. The property test holds the engine against it, answer by answer.
 */
import { AttemptKind, FailureClass } from '../../../gen/tailrace/v1/attempt_pb.js';
import { EndReason, ExecutionState } from '../../../gen/tailrace/v1/execution_state_pb.js';
import type { Claim } from '../../../gen/tailrace/v1/lease_pb.js';

const { SCHEDULED, QUEUED, RUNNING, SUSPENDED, SUCCEEDED, FAILED, CANCELED, EXPIRED } = ExecutionState;
const { TRANSIENT, PERMANENT, RATE_LIMITED, TIMEOUT, INVALID_RESULT } = FailureClass;

export interface Policy {
  readonly maxAttempts: number;
  readonly maxReclaims: number;
  readonly countLostLeases: boolean;
}

/** A claim as its holder remembers it, also long after it has lost it. */
export interface Held {
  readonly of: ModelExecution;
  readonly claim: Claim;
}

export interface Start {
  readonly priority: number;
  readonly when: When;
  readonly redrives?: ModelExecution;
  readonly fleeting?: boolean;
}

/** When work that goes back may run again. */
export type When = 'now' | 'later';

export type Call = 'renew' | 'progress' | 'complete' | 'fail' | 'release' | 'delay' | 'cancel' | 'suspend';

export class ModelExecution {
  state: ExecutionState;
  reason: EndReason = EndReason.UNSPECIFIED;
  attempt = 0;
  failures = 0;
  reclaims = 0;
  priority: number;
  /** Order of becoming claimable; only while QUEUED. */
  place = 0;
  nextKind: AttemptKind = AttemptKind.INITIAL;
  /** Of the attempt that is open, or was last. */
  kind: AttemptKind = AttemptKind.INITIAL;
  /** It goes on with the attempt that was parked. */
  resuming = false;
  /** How often the attempt was parked, or would have been. */
  waits = 0;
  /** Signals `go`, of which each attempt uses every one once. */
  signals = 0;
  used = 0;
  /** The claim in force. */
  holder: Held | undefined;
  /** Set once cancellation was asked for. */
  canceling: { readonly acceptsLate: boolean } | undefined;
  /** The call by which a holder ended the last attempt, for repeats. */
  lastEnd: { readonly held: Held; readonly call: Call; readonly content: string } | undefined;
  /** The run whose dead letter it redrives: the first one. */
  readonly first: ModelExecution;
  /** As asked for; a redrive has it again. */
  readonly asked: number;
  /** Ended by a time that a redrive would meet again. */
  readonly fleeting: boolean;
  letter: 'none' | 'open' | 'redriving' | 'closed' = 'none';
  letterId = '';

  constructor(
    readonly model: Model,
    readonly id: string,
    readonly policy: Policy,
    start: Start,
  ) {
    this.asked = start.priority;
    this.priority = start.priority;
    this.fleeting = start.fleeting ?? false;
    this.first = start.redrives?.first ?? this;
    if (start.redrives) this.nextKind = AttemptKind.REDRIVE;
    this.state = QUEUED;
    this.#goBack(this.nextKind, start.when);
  }

  get terminal(): boolean {
    return this.state >= SUCCEEDED;
  }

  claimed(claim: Claim): Held {
    if (!this.resuming) {
      this.attempt++;
      this.kind = this.nextKind;
      this.waits = 0;
      this.used = 0;
    }
    this.resuming = false;
    this.state = RUNNING;
    this.lastEnd = undefined;
    this.holder = { of: this, claim };
    return this.holder;
  }

  /** Whether a holder's call is accepted, a repeat, or refused, and why. */
  judge(
    held: Held,
    call: Call,
    content = '',
  ): 'accepted' | 'duplicate' | 'EXECUTION_TERMINAL' | 'LEASE_LOST' | 'WRONG_STATE' {
    if (this.holder === held) {
      if (call === 'suspend' && this.canceling) return 'WRONG_STATE';
      return call === 'complete' && this.canceling?.acceptsLate === false ? 'WRONG_STATE' : 'accepted';
    }
    const { lastEnd } = this;
    if (lastEnd?.held === held && lastEnd.call === call && lastEnd.content === content) return 'duplicate';
    return this.terminal ? 'EXECUTION_TERMINAL' : 'LEASE_LOST';
  }

  ended(call: Call, content: string, held = this.holder): void {
    if (held) this.lastEnd = { held, call, content };
  }

  /** Waits for one signal; answers whether it is parked, or one is there already. */
  suspended(): boolean {
    this.waits++;
    if (this.used < this.signals) {
      this.used++;
      return false;
    }
    this.holder = undefined;
    this.state = SUSPENDED;
    return true;
  }

  signaled(): 'SATISFIED' | 'BUFFERED' | 'IGNORED' {
    if (this.canceling) return 'IGNORED';
    this.signals++;
    if (this.state !== SUSPENDED) return 'BUFFERED';
    this.used++;
    this.resumed();
    return 'SATISFIED';
  }

  /** By a signal, or by an operator's word. */
  resumed(): void {
    this.resuming = true;
    this.#goBack(this.nextKind, 'now');
  }

  completed(): void {
    this.#end(SUCCEEDED, EndReason.UNSPECIFIED);
  }

  failed(failureClass: FailureClass, when: When): void {
    if (failureClass === TRANSIENT || failureClass === TIMEOUT) this.failures++;
    if (this.canceling) this.#end(CANCELED, EndReason.CANCEL_REQUESTED);
    else if (failureClass === FailureClass.CANCELED) this.#end(CANCELED, EndReason.CANCELED_BY_WORKER);
    else if (failureClass === PERMANENT) this.#end(FAILED, EndReason.PERMANENT);
    else if (failureClass === INVALID_RESULT) this.#end(FAILED, EndReason.INVALID_RESULT);
    else if (failureClass === RATE_LIMITED) this.#goBack(AttemptKind.CONTINUATION, when);
    else if (this.failures < this.policy.maxAttempts) this.#goBack(AttemptKind.RETRY, when);
    else this.#end(FAILED, failureClass === TIMEOUT ? EndReason.TIMEOUT : EndReason.RETRIES_EXHAUSTED);
  }

  lost(): void {
    const { maxAttempts, maxReclaims, countLostLeases } = this.policy;
    this.reclaims++;
    if (countLostLeases) this.failures++;
    if (this.canceling) this.#end(CANCELED, EndReason.CANCEL_REQUESTED);
    else if (this.reclaims > maxReclaims) this.#end(FAILED, EndReason.RECLAIMS_EXHAUSTED);
    else if (countLostLeases && this.failures >= maxAttempts) this.#end(FAILED, EndReason.RETRIES_EXHAUSTED);
    else this.#goBack(AttemptKind.RECLAIM, 'now');
  }

  /** Released, delayed, revoked, not begun in time: nothing counts. */
  handedBack(when: When): void {
    if (this.canceling) this.#end(CANCELED, EndReason.CANCEL_REQUESTED);
    else this.#goBack(AttemptKind.CONTINUATION, when);
  }

  canceled(reason: EndReason): void {
    this.#end(CANCELED, reason);
  }

  expired(reason: EndReason): void {
    this.#end(EXPIRED, reason);
  }

  /** By an operator, while it waits. Time is left as it is unless told. */
  changed(priority: number | undefined, when: When | undefined): void {
    this.priority = priority ?? this.priority;
    this.#goBack(this.nextKind, when ?? (this.state === SCHEDULED ? 'later' : 'now'));
  }

  #goBack(kind: AttemptKind, when: When): void {
    this.holder = undefined;
    this.nextKind = kind;
    this.state = when === 'now' ? QUEUED : SCHEDULED;
    if (when === 'now') this.place = this.model.nextPlace++;
  }

  #end(state: ExecutionState, reason: EndReason): void {
    this.holder = undefined;
    this.canceling = undefined;
    // Of one that was parked nothing but its end is known any more.
    if (this.lastEnd?.call === 'suspend') this.lastEnd = undefined;
    this.state = state;
    this.reason = reason;
    const gaveUp = state === FAILED || state === EXPIRED;
    const { first } = this;
    if (first === this) this.letter = gaveUp ? 'open' : 'none';
    else if (first.letter === 'redriving') first.letter = state === SUCCEEDED ? 'closed' : 'open';
  }
}

export class Model {
  readonly executions: ModelExecution[] = [];
  readonly held: Held[] = [];
  nextPlace = 0;

  /** What a claim hands out, in order. */
  line(): ModelExecution[] {
    return this.executions
      .filter(({ state }) => state === QUEUED)
      .sort((a, b) => b.priority - a.priority || a.place - b.place);
  }
}
