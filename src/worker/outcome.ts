/**
 * How a handler ended, in the engine's terms: a result, a wait for children, a failure of some class, or a delay.
 *
 * Texts are cut here to what the engine takes, so that the report of a failure is not refused itself.
 */
import { create } from '@bufbuild/protobuf';
import { type Duration, durationFromMs, type Timestamp, timestampFromDate } from '@bufbuild/protobuf/wkt';
import { FailureClass } from '../../gen/tailrace/v1/attempt_pb.js';
import { type Payload, PayloadSchema } from '../../gen/tailrace/v1/payload_pb.js';
import { ContentError, toPayload } from '../client/content.js';
import type { TailraceError } from '../client/errors.js';
import { Children, ChildrenWait, type SpawnedChild } from './children.js';
import { Emissions, type EmittedEvent } from './emissions.js';
import { CanceledError, Delay, PermanentError, RateLimitedError } from './handler-errors.js';
import { AttemptTimeoutError } from './stop-reasons.js';

export interface FailedOutcome {
  readonly kind: 'failed';
  readonly failure: {
    readonly failureClass: FailureClass;
    readonly message: string;
    readonly code: string;
    readonly details?: Payload;
  };
  readonly retryTime?: Timestamp;
  readonly retryDelay?: Duration;
  /** Published if it is given up, in place of the declared ones; none leaves those. */
  readonly failureEvents?: EmittedEvent[];
}

export interface CompletedOutcome {
  readonly kind: 'completed';
  readonly result: Payload | undefined;
  readonly children: readonly SpawnedChild[];
  readonly events: readonly EmittedEvent[];
  /** Length of the events. */
  readonly eventBytes: number;
}

export type Outcome =
  | CompletedOutcome
  | { readonly kind: 'parked'; readonly wait: ChildrenWait }
  | { readonly kind: 'delayed'; readonly delayMs: number; readonly reason: string }
  | FailedOutcome;

const PASSING = ['LANE_CLOSED', 'UNIMPLEMENTED', 'STREAM_VERSION_CONFLICT'];
const MESSAGE_CHARACTERS = 4_000;
const STACK_CHARACTERS = 16_000;
const CODE_CHARACTERS = 50;
const CAUSES = 5;
const EMITTED_AND_WAITS = 'a handler that waits for children emits nothing: emit after the wait';
const NOT_RETURNED = 'the handler called waitForChildren() and returned something else: it returns what that answers';

/**
 * What a handler returned. What cannot be sent will not be sendable next time either. What it asked for besides is what it
 * has asked for by now: a promise that it left behind adds nothing to a report under way.
 */
export function outcomeOfResult(value: unknown, children = new Children(), emissions = new Emissions()): Outcome {
  if (children.wait && emissions.completed.length > 0) {
    return failed(FailureClass.INVALID_RESULT, new Error(EMITTED_AND_WAITS));
  }
  if (value instanceof ChildrenWait) return { kind: 'parked', wait: value };
  if (children.wait) return failed(FailureClass.INVALID_RESULT, new Error(NOT_RETURNED));
  try {
    const { completed, bytes } = emissions;
    const asked = { children: [...children.spawned], events: [...completed], eventBytes: bytes };
    return { kind: 'completed', result: toPayload(value), ...asked };
  } catch (error) {
    return failed(FailureClass.INVALID_RESULT, error);
  }
}

/** A failure with what is to be published if it is the last one. */
export function withFailureEvents(outcome: Outcome, { givenUp }: Emissions): Outcome {
  return outcome.kind === 'failed' && givenUp.length > 0 ? { ...outcome, failureEvents: [...givenUp] } : outcome;
}

/** What a handler threw. `signal` is the one it was given. */
export function outcomeOfThrown(thrown: unknown, signal: AbortSignal): Outcome {
  // Functions that take a signal throw its reason, or an AbortError of their own.
  const because = signal.aborted && thrown instanceof Error && thrown.name === 'AbortError' ? signal.reason : thrown;
  if (because instanceof Delay)
    return { kind: 'delayed', delayMs: because.delayMs, reason: cut(because.reason, 1_000) };
  if (because instanceof RateLimitedError) {
    const { until } = because;
    const when =
      until instanceof Date ? { retryTime: timestampFromDate(until) } : { retryDelay: durationFromMs(until) };
    return { ...failed(FailureClass.RATE_LIMITED, because), ...when };
  }
  return failed(classOf(because), because);
}

/** The engine will not take this end, however often it is sent. */
export function outcomeOfRefusal(error: TailraceError): FailedOutcome {
  const { reason, metadata, violations } = error;
  const failure = failureOf(classOfRefusal(error), error.message, reason ?? '');
  return { kind: 'failed', failure: { ...failure, details: json({ reason, metadata, violations }) } };
}

/** A lane may be open, a server newer, and a stream looked at again, when the handler runs again. */
function classOfRefusal({ reason }: TailraceError): FailureClass {
  if (reason === 'WRONG_STATE') return FailureClass.CANCELED;
  return PASSING.includes(reason ?? '') ? FailureClass.TRANSIENT : FailureClass.INVALID_RESULT;
}

/** The engine will not take this report of a failure either: what is left when everything refusable is left out. */
export function bare({ failure: { failureClass, code } }: FailedOutcome): FailedOutcome {
  // RATE_LIMITED needs a time, which may be what was refused.
  const kept = failureClass === FailureClass.RATE_LIMITED ? FailureClass.TRANSIENT : failureClass;
  const message = 'the report of the failure was refused for its content';
  return { kind: 'failed', failure: failureOf(kept, message, code) };
}

function classOf(thrown: unknown): FailureClass {
  if (thrown instanceof PermanentError || thrown instanceof ContentError) return FailureClass.PERMANENT;
  if (thrown instanceof CanceledError) return FailureClass.CANCELED;
  if (thrown instanceof AttemptTimeoutError) return FailureClass.TIMEOUT;
  return FailureClass.TRANSIENT;
}

function failed(failureClass: FailureClass, thrown: unknown): FailedOutcome {
  if (!(thrown instanceof Error)) return { kind: 'failed', failure: failureOf(failureClass, String(thrown), '') };
  const { code } = thrown as { code?: unknown };
  const failure = failureOf(failureClass, thrown.message, typeof code === 'string' ? code : thrown.name);
  return {
    kind: 'failed',
    failure: { ...failure, details: json({ stack: stackOf(thrown), causes: causesOf(thrown) }) },
  };
}

function failureOf(failureClass: FailureClass, message: string, code: string) {
  return { failureClass, message: cut(message, MESSAGE_CHARACTERS), code: cut(code, CODE_CHARACTERS) };
}

function causesOf(error: Error): string[] {
  const causes: string[] = [];
  for (let cause = error.cause; cause !== undefined && causes.length < CAUSES; ) {
    causes.push(cut(String(cause), MESSAGE_CHARACTERS));
    cause = cause instanceof Error ? cause.cause : undefined;
  }
  return causes;
}

function stackOf(error: Error): string {
  return cut(error.stack ?? '', STACK_CHARACTERS);
}

function json(details: object): Payload {
  const value = JSON.stringify(details);
  return create(PayloadSchema, { contentType: 'application/json', body: { case: 'text', value } });
}

/** Whole characters, at most four bytes each, and no NUL, which Postgres does not store. */
function cut(text: string, characters: number): string {
  const clean = text.replaceAll('\0', '').toWellFormed();
  return clean.length <= characters ? clean : [...clean.slice(0, characters)].slice(0, -1).join('');
}
