/** What a handler is given: the claim, readably, and the ways to speak while it works. */
import type { Writable } from 'node:stream';
import type { AnyEvents, EventSchemas } from '../client/event-schemas.js';
import type { ChildExecution } from '../client/execution-spec.js';
import type { JoinRules } from '../client/join-rules.js';
import type { NewEvent } from '../client/new-event.js';
import type { AwaitedChild, Children, ChildrenWait } from './children.js';
import { ClaimedExecution } from './claimed.js';
import { timeoutOnly } from './conditions.js';
import type { Emissions } from './emissions.js';
import { frameStream } from './frame-stream.js';
import type { FrameOptions, Frames } from './frames.js';
import { Delay } from './handler-errors.js';
import type { HeldLease } from './held-lease.js';
import { JoinedInputs, type ReadResult } from './joined-inputs.js';
import type { LogFields, WorkerLog } from './log.js';
import type { SuspensionOutcome } from './received-signal.js';
import type { SuspendOptions, WaitpointOptions } from './suspend-options.js';
import type { ReportedUsage, Usage, UsageAmounts, UsageOptions } from './usage.js';
import type { Waitpoint, Waits } from './waits.js';

/** How a handler reaches beyond itself. */
interface Means {
  /** Progress is there to be told. */
  readonly tell: () => void;
  readonly log: WorkerLog;
  readonly children: Children;
  readonly emissions: Emissions;
  readonly waits: Waits;
  readonly frames: Frames;
  readonly usage: Usage;
  readonly read: ReadResult;
}

/**
 * Does the work and returns its result: any JSON value, bytes, what `text()` and `bytes()` make, or nothing. It may run
 * more than once for one execution; give `idempotencyKey` to whatever it changes elsewhere.
 */
export type Handler<E extends EventSchemas = AnyEvents> = (context: HandlerContext<E>) => unknown;

export class HandlerContext<E extends EventSchemas = AnyEvents> extends ClaimedExecution {
  /**
   * Aborts with one of CancelRequestedError, LeaseLostError, AttemptTimeoutError, WorkerStoppingError, Suspended and
   * BudgetExceededError as its reason.
   */
  readonly signal: AbortSignal;
  /** What the upstreams of a flow's member left, or the members of a batch. Not handed over again once the attempt has waited for children. */
  readonly inputs: JoinedInputs;
  /** Present once the attempt has a `waitForChildren()` behind it: what those of the last one left. */
  readonly children: JoinedInputs | undefined;
  readonly #lease: HeldLease;
  readonly #means: Means;

  constructor(lease: HeldLease, means: Means) {
    super(lease.claim);
    const { joinedInputs, resume } = lease.claim;
    const waited = resume?.joinsChildren ?? false;
    this.signal = lease.signal;
    this.inputs = new JoinedInputs(waited ? [] : joinedInputs, means.read);
    this.children = waited ? new JoinedInputs(joinedInputs, means.read) : undefined;
    this.#lease = lease;
    this.#means = means;
  }

  /** Rises with every grant on the execution. Outside systems that remember the highest can refuse older holders. */
  get fencingToken(): bigint {
    return this.#lease.ref.fencingToken;
  }

  /**
   * Shows how far it is while it runs: 0 to 100, and up to 1 KiB for people. Told at most ten times a second, the last
   * report winning; one made right before the end may not be told any more.
   */
  progress(percent: number, message = ''): void {
    const told = Number.isFinite(percent) ? Math.min(100, Math.max(0, percent)) : 0;
    this.#lease.progress = { percent: told, message: message.replaceAll('\0', '').toWellFormed().slice(0, 256) };
    this.#means.tell();
  }

  /**
   * Hands the execution back to run again after so many milliseconds, without counting. Ends the handler by throwing:
   * let it pass.
   */
  delay(ms: number, reason = ''): never {
    throw new Delay(ms, reason);
  }

  /**
   * Makes an execution with this one's completion, in its flow, once: nothing is made if the handler fails. Up to 1000.
   * The completion does not wait for it.
   */
  spawn(child: ChildExecution<E>): void {
    this.#means.children.spawn(child);
  }

  /**
   * Publishes events with this execution's completion, in its flow and its transaction, once: none if the handler fails.
   * Up to 10,000. They are caused by the event that started it, if one did. With `expectedStreamVersion`, a stream that has
   * another version fails the attempt, and the next one may look again.
   *
   * Throws an EventContentError for a payload that does not fit its schema, and then emits none of them.
   */
  emit(...events: readonly NewEvent<E>[]): void {
    this.#means.emissions.emit(events);
  }

  /** The same, as one batch: what comes of them can be joined (`worker.join()`). Any `batchGroup` of theirs is replaced. */
  emitBatch(events: readonly NewEvent<E>[]): void {
    this.#means.emissions.emitBatch(events);
  }

  /**
   * Publishes events with the failure of this attempt if the execution is given up by it, in place of those declared for
   * that. If no handler is left to report, because workers died or time was up, the declared ones are published.
   */
  emitOnFailure(...events: readonly NewEvent<E>[]): void {
    this.#means.emissions.emitOnFailure(events);
  }

  /**
   * Makes children, in its flow, and waits for them without holding a lease or a slot: `return ctx.waitForChildren(…)`.
   * The handler is called again, by any worker, when the wait is over or cannot succeed any more, with what they left
   * in `ctx.children`; branch on that. They stay there over later waits of the attempt, until it waits for others; an
   * attempt that follows it begins without them. Up to 1000 children; canceled with it.
   */
  waitForChildren(children: readonly AwaitedChild<E>[], rules: JoinRules = {}): ChildrenWait {
    return this.#means.children.waitFor(children, rules);
  }

  /**
   * Makes a place where a signal can land, so that its token can be handed out before `suspend()`; signals that come early
   * are kept. Up to 1000; 1 to 200 bytes of key, which is good for one wait of an attempt. A repeat answers the same, in
   * later attempts too: hand the token out while the `state` is `open`, and nobody is asked who has answered. One that has
   * expired stays closed.
   *
   * Throws a TailraceError: WAITPOINT_LIMIT_EXCEEDED, or SECRETS_UNAVAILABLE where the server has no key to sign with.
   */
  waitpoint(key: string, options: WaitpointOptions = {}): Promise<Waitpoint> {
    return this.#means.waits.waitpoint(key, options);
  }

  /**
   * Waits for a condition over signals without holding a lease or a slot. If it holds already, by signals that came early,
   * this answers at once. Else the execution is parked, and this throws Suspended: let it pass. The handler is called
   * again, by any worker, when the wait is over; there this answers what it brought, as every wait before it did.
   *
   * So a handler passes its waits in the same order each time, and does again what lies between them: give keys to what
   * it changes, and look at `resume` before what is to be done once. If the attempt fails, is lost or is released, the next
   * one begins its waits anew, and passes those at once that signals had ended, with the same signals. What a timeout or an
   * operator ended is waited for again.
   *
   * Throws a TailraceError, among others WAITPOINT_NOT_FOUND, and WRONG_STATE for a waitpoint that is closed; a
   * CanceledError if cancellation was asked for.
   */
  suspend(options: SuspendOptions): Promise<SuspensionOutcome> {
    return this.#means.waits.suspend(options);
  }

  /** Waits so many milliseconds, 100 to 365 days, as `suspend()` does: without a lease, and the handler is called again. */
  async sleep(ms: number, note = ''): Promise<void> {
    await this.suspend({ condition: timeoutOnly(), timeoutMs: ms, reason: 'step', note });
  }

  /**
   * Appends to this attempt's output: any JSON value, bytes, or what `text()` and `bytes()` make, up to 64 KiB unless the
   * server says otherwise. Resolves when there is room for more; need not be awaited, but then nothing slows the handler
   * down. Frames are sent together after 20 ms at most, in order, and before the handler's end is reported; every durable
   * one is stored once. A handler that is called again after a wait appends after what it has emitted before.
   *
   * Throws a ContentError for what has no payload. A refusal comes up here and in `flushFrames()`, and the handler does not
   * complete: FramesRefusedError for too many or too large ones, LeaseLostError, or a TailraceError if the server stays away.
   */
  emitFrame(content: unknown, options: FrameOptions = {}): Promise<void> {
    return this.#means.frames.emit(content, options);
  }

  /** Changes the attempt's one summary document by a JSON merge patch (RFC 7396): an object; null takes a member away. */
  summary(patch: Readonly<Record<string, unknown>>): Promise<void> {
    return this.emitFrame(patch, { mode: 'summary' });
  }

  /** The output as a stream to write to: a frame per chunk, strings as text, bytes as they are, other values as JSON. */
  frames(options: FrameOptions = {}): Writable {
    return frameStream(this.#means.frames, options);
  }

  /** Resolves when everything that was emitted is with the engine. */
  flushFrames(): Promise<void> {
    return this.#means.frames.flush();
  }

  /**
   * Counts what was used in every budget that bounds this execution: all of it or nothing. The answer tells which soft
   * limits are crossed. Throws a BudgetExceededError if a hard limit would be exceeded: look at its `effect`.
   */
  reportUsage(amounts: UsageAmounts, options: UsageOptions = {}): Promise<ReportedUsage> {
    return this.#means.usage.report(amounts, options);
  }

  /** Gives back at most what this execution has reported. Answers what that was, by dimension. */
  releaseUsage(amounts: UsageAmounts, options: UsageOptions = {}): Promise<Readonly<Record<string, bigint>>> {
    return this.#means.usage.release(amounts, options);
  }

  /** To the worker's `log`, with the execution's id, type, lane and attempt. */
  log(message: string, fields: LogFields = {}): void {
    this.#means.log('info', message, fields);
  }
}
