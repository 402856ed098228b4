/**
 * Claims executions, runs their handlers and reports how they ended; and works on consumers.
 *
 * A claim holds a slot while its handler runs and a lease until its outcome is settled; at most twice the slots are
 * held, so that a server which takes no outcomes is not asked for ever more work. The order of a stop: no more claims;
 * handlers go on within the bound and are then aborted; what is unfinished is released; outcomes under way are sent;
 * the registry is told; the connection is closed.
 */
import { randomUUID } from 'node:crypto';
import { type Client, createClient } from '@connectrpc/connect';
import { context, ROOT_CONTEXT } from '@opentelemetry/api';
import { AdminService } from '../../gen/tailrace/v1/admin_service_pb.js';
import { CompletionService } from '../../gen/tailrace/v1/completion_service_pb.js';
import { DeadLetterService } from '../../gen/tailrace/v1/dead_letter_service_pb.js';
import { EngineService } from '../../gen/tailrace/v1/engine_service_pb.js';
import type { Claim } from '../../gen/tailrace/v1/lease_pb.js';
import { type Connection, openConnection } from '../client/connection.js';
import type { TailraceError } from '../client/errors.js';
import type { AnyEvents, EventSchemas, EventType } from '../client/event-schemas.js';
import { retrying } from '../client/retry.js';
import { split } from '../client/split.js';
import type { EventPattern, Matching } from '../client/subscription-spec.js';
import { monotonicMs } from '../runtime/clock.js';
import { WakeSignal } from '../runtime/wake-signal.js';
import { type Claimant, claimantOf } from './claimant.js';
import { Claimer } from './claimer.js';
import { FollowedConsumer } from './consumer.js';
import { type ConsumerHandler, runnerOf } from './consumer-handlers.js';
import { type ConsumerOptions, completeConsumerOptions } from './consumer-options.js';
import type { Handler } from './context.js';
import {
  type DeadLetterHandler,
  type DeadLetterOptions,
  letterSubscriptionOf,
  receivedLetter,
} from './dead-letters.js';
import type { EngineClient } from './engine-client.js';
import { HandOver } from './hand-over.js';
import { HeldLease } from './held-lease.js';
import { LeaseKeeper } from './lease-keeper.js';
import { type CompleteOptions, completeOptions, type WorkerOptions } from './options.js';
import {
  type BatchHandler,
  type EventHandler,
  handlerOfBatches,
  handlerOfEvents,
  type JoinOptions,
  type ReactionOptions,
  subscriptionOf,
} from './reactions.js';
import { Registration } from './registration.js';
import { Reporter } from './reporter.js';
import { readSource } from './results.js';
import { Runner } from './runner.js';
import { WorkerStoppingError } from './stop-reasons.js';
import { Subscriber, type SubscriptionSpec } from './subscriber.js';

/** How long aborted handlers may take to end before their executions are given to others. */
const ABORTED_MS = 1_000;
/** How long a stop waits for outcomes to be taken, and for one release. */
const REPORTS_MS = 5_000;
const RELEASE_BOUNDS = { items: 1_000, bytes: Number.POSITIVE_INFINITY };

export class Worker<E extends EventSchemas = AnyEvents> {
  /** Random per process start; leases and the registry know the worker by it. */
  readonly instanceId = randomUUID();
  /** Resolves when it has stopped, because `stop()` was called or the engine told it to drain. */
  readonly stopped: Promise<void>;
  readonly #options: CompleteOptions;
  readonly #events: E | undefined;
  readonly #handlers = new Map<string, Handler<E>>();
  readonly #wanted: SubscriptionSpec[] = [];
  readonly #consumers: FollowedConsumer[] = [];
  readonly #connection: Connection;
  readonly #engine: EngineClient;
  readonly #admin: Client<typeof AdminService>;
  readonly #keeper: LeaseKeeper;
  readonly #runner: Runner<E>;
  readonly #handOver: HandOver;
  /** Wakes a stop when something has ended. */
  readonly #changed = new WakeSignal();
  #announceStop: () => void = () => {};
  #started = false;
  #claimer: Claimer | undefined;
  #registration: Registration | undefined;
  #subscriber: Subscriber | undefined;
  #stopping: Promise<void> | undefined;

  /** Throws an InvalidOptionsError with everything that is wrong. Connects with `start()`. */
  constructor(options: WorkerOptions<E>) {
    this.#options = completeOptions(options);
    this.#events = options.events;
    this.stopped = new Promise((resolve) => {
      this.#announceStop = resolve;
    });
    this.#connection = openConnection(options);
    this.#engine = createClient(EngineService, this.#connection.transport);
    this.#admin = createClient(AdminService, this.#connection.transport);
    const { namespace, leaseDurationMs, log } = this.#options;
    const engine = this.#engine;
    this.#keeper = new LeaseKeeper({ engine, namespace, leaseDurationMs, log });
    const settled = (lease: HeldLease, refusal?: TailraceError) => this.#settled(lease, refusal);
    const onEnd = () => this.#somethingEnded();
    this.#handOver = new HandOver({
      claimant: () => this.#claimant,
      accept: (claims, askedMs) => this.#accept(claims, askedMs),
      onDrain: () => this.#drain(''),
      onChange: onEnd,
    });
    const handOver = this.#options.eagerHandOver ? this.#handOver : undefined;
    const reporter = new Reporter({ engine, namespace, handOver, settled });
    const readers = { admin: this.#admin, engine, namespace };
    this.#runner = new Runner({
      handlers: this.#handlers,
      engine,
      namespace,
      name: this.#options.name,
      keeper: this.#keeper,
      reporter,
      read: (of, signal) => readSource(readers, of, signal),
      events: this.#events,
      log,
      onEnd,
    });
  }

  /** Names the handler of an execution type, before `start()`. */
  handle(type: string, handler: Handler<E>): this {
    this.#mayName();
    if (this.#handlers.has(type)) throw new Error(`there is a handler for ${type} already`);
    this.#handlers.set(type, handler);
    return this;
  }

  /**
   * Names the handler of events of these types, before `start()`, which puts the subscription: from then on each such event
   * starts one execution. `order.*` is every type that begins so, `*` every one; with schemas, one of a type that has none
   * fails for good.
   *
   * Throws an InvalidOptionsError, or an EventContentError for a failure event that does not fit its schema.
   */
  on<const P extends EventPattern<E>>(
    events: P | readonly P[],
    handler: EventHandler<E, Matching<E, P>>,
    options: ReactionOptions<E> = {},
  ): this {
    const patterns = typeof events === 'string' ? [events] : events;
    return this.#react(patterns, handlerOfEvents(this.#events, handler), options);
  }

  /**
   * Names the handler of whole batches of this type of event: it is called once per batch, when every member has been
   * emitted or can be no more, however many hops lie between. `mode`, `quorum` and `timeoutMs` (24 h by default) say when
   * else. Throws as `on()` does.
   */
  join<const T extends EventType<E>>(type: T, handler: BatchHandler<E, T>, options: JoinOptions<E> = {}): this {
    const handling = handlerOfBatches(this.#events, type, handler);
    return this.#react([type], handling, { ...options, join: { ...options, eventType: type } });
  }

  /**
   * Names the handler of dead letters, before `start()`, which puts the subscription: what is given up from then on, of the
   * lanes, types, tags or flow that `where` names, is handed to it once. It may redrive or resolve the letter; if it is given
   * up itself, its letter is closed with its message and no other one is opened. Throws an InvalidOptionsError.
   */
  onDeadLetter(handler: DeadLetterHandler<E>, options: DeadLetterOptions = {}): this {
    const calls = createClient(DeadLetterService, this.#connection.transport);
    const wanted = letterSubscriptionOf(this.#lanes, options);
    return this.#subscribe(wanted, (context) => handler(receivedLetter(calls, context), context));
  }

  /**
   * Names the handler of a consumer's entries, before `start()`: one entry at a time, or all that one call brings with
   * `inBatches()` or `inTransaction()`. Its parts are shared with every other process that does the same. The consumer is
   * put by an operator or a client; until it is there it is waited for, and so is one that is paused or halted.
   *
   * Throws an InvalidOptionsError.
   */
  consumer(name: string, handler: ConsumerHandler, options: ConsumerOptions = {}): this {
    this.#mayName();
    if (this.#consumers.some((other) => other.name === name)) throw new Error(`there is a consumer ${name} already`);
    const { namespace, log } = this.#options;
    const asked = { consumer: name, runner: runnerOf(handler), options: completeConsumerOptions(name, options) };
    const engine = createClient(CompletionService, this.#connection.transport);
    this.#consumers.push(new FollowedConsumer({ engine, admin: this.#admin, namespace, log, ...asked }));
    return this;
  }

  /**
   * Registers, puts the subscriptions and begins to claim, which one that has nothing but consumers does not. A server that
   * is away is waited for in the background; a TailraceError says that waiting would not help, and that the worker has stopped.
   */
  async start(): Promise<void> {
    if (this.#started || this.#stopping) throw new Error('a worker starts once');
    if (this.#handlers.size + this.#consumers.length === 0)
      throw new Error(
        'a worker needs a handler: call handle(), on(), join(), onDeadLetter() or consumer() before start()',
      );
    this.#started = true;
    // What goes on in the background belongs to no trace, also where it is started within one.
    await context.with(ROOT_CONTEXT, async () => {
      if (this.#handlers.size > 0) await this.#startClaiming();
      if (!this.#stopping) for (const consumer of this.#consumers) consumer.start();
    });
  }

  async #startClaiming(): Promise<void> {
    const shared = {
      engine: this.#engine,
      options: this.#options,
      claimant: this.#claimant,
      onDrain: (reason = '') => this.#drain(reason),
    };
    this.#claimer = new Claimer({
      ...shared,
      room: () => this.#room(),
      accept: (claims, askedMs) => this.#accept(claims, askedMs),
    });
    this.#registration = new Registration(shared);
    const { namespace, log } = this.#options;
    this.#subscriber = new Subscriber({ admin: this.#admin, namespace, wanted: this.#wanted, log });
    try {
      await this.#registration.start();
      await this.#subscriber.start();
    } catch (error) {
      await this.stop();
      throw error;
    }
    if (this.#stopping) return;
    this.#keeper.start();
    this.#claimer.start();
  }

  /**
   * Stops in order and within `drainMs` plus a few seconds. A repeat waits for the same stop. Handlers that ignore
   * their signal are left behind, their executions released.
   */
  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  async #stop(): Promise<void> {
    const { drainMs } = this.#options;
    await Promise.all([this.#stopClaiming(), ...this.#consumers.map((consumer) => consumer.stop(drainMs))]);
    this.#connection.close();
    this.#announceStop();
  }

  async #stopClaiming(): Promise<void> {
    this.#handOver.stop();
    await this.#claimer?.stop();
    await this.#until(() => this.#keeper.size === 0 && this.#runner.running === 0, this.#options.drainMs);
    this.#runner.abortAll(new WorkerStoppingError());
    await this.#until(() => this.#runner.running === 0, ABORTED_MS);
    await this.#release(this.#runner.unfinished);
    await this.#until(() => this.#keeper.size === 0 && this.#handOver.arriving === 0, REPORTS_MS);
    await this.#keeper.stop();
    await Promise.all([this.#registration?.stop(), this.#subscriber?.stop()]);
  }

  #mayName(): void {
    if (this.#started || this.#stopping) throw new Error('handlers are named before the worker starts');
  }

  async #until(isSo: () => boolean, boundMs: number): Promise<void> {
    const endMs = monotonicMs() + boundMs;
    while (!isSo() && monotonicMs() < endMs) await this.#changed.wait(endMs - monotonicMs());
  }

  #react(events: readonly string[], handler: Handler<E>, options: Parameters<typeof subscriptionOf<E>>[3]): this {
    return this.#subscribe(subscriptionOf(this.#events, this.#lanes, events, options), handler);
  }

  #subscribe(wanted: SubscriptionSpec & { readonly type: string }, handler: Handler<E>): this {
    if (this.#wanted.some(({ name }) => name === wanted.name)) {
      throw new Error(`there is a subscription ${wanted.name} already`);
    }
    this.handle(wanted.type, handler);
    this.#wanted.push(wanted);
    return this;
  }

  get #lanes(): string[] {
    return this.#options.lanes.map(({ lane }) => lane);
  }

  get #claimant(): Claimant {
    return claimantOf(this.#options, this.instanceId, [...this.#handlers.keys()]);
  }

  #room(): number {
    const { slots } = this.#options;
    return Math.min(slots - this.#runner.running, 2 * slots - this.#keeper.size) - this.#handOver.kept;
  }

  /** Never rejects. */
  async #accept(claims: readonly Claim[], askedMs: number): Promise<void> {
    const leases = claims.map((claim) => new HeldLease(claim, askedMs));
    const [first] = leases;
    // The wait at the server may have used up the trust window: no handler starts in doubt.
    const doubtful = first && first.renewalMs <= monotonicMs() && !this.#stopping;
    if (doubtful && !(await this.#confirm(leases))) return;
    if (this.#stopping) return this.#release(leases);
    for (const lease of leases) if (!lease.lost) void this.#runner.run(lease);
  }

  async #confirm(leases: readonly HeldLease[]): Promise<boolean> {
    const { leaseDurationMs, log } = this.#options;
    try {
      await retrying(() => this.#keeper.renew(leases), { forMs: leaseDurationMs / 3 });
      return true;
    } catch (error) {
      log('warn', `${leases.length} claims could not be confirmed; others take them over`, { error });
      return false;
    }
  }

  async #release(leases: readonly HeldLease[]): Promise<void> {
    const { namespace, log } = this.#options;
    for (const call of split(leases, () => 0, RELEASE_BOUNDS)) {
      const request = { namespace, leases: call.map(({ ref }) => ref), reason: 'the worker is stopping' };
      try {
        const send = () => this.#engine.releaseLeases(request, { timeoutMs: REPORTS_MS });
        await retrying(send, { forMs: REPORTS_MS });
      } catch (error) {
        log('warn', `${call.length} leases could not be released; they end by themselves`, { error });
      }
      for (const lease of call) this.#keeper.remove(lease);
    }
  }

  #settled(lease: HeldLease, refusal: TailraceError | undefined): void {
    if (refusal) {
      const { executionId, type, attemptNumber } = lease.claim;
      // That a canceled execution takes no outcome is how cancellation works, a join's of its losers too.
      const level = refusal.reason === 'WRONG_STATE' ? 'info' : 'warn';
      this.#options.log(level, 'the outcome was not taken', { error: refusal, executionId, type, attemptNumber });
    }
    this.#keeper.remove(lease);
    this.#somethingEnded();
  }

  #somethingEnded(): void {
    this.#claimer?.roomGrew();
    this.#changed.wake();
  }

  #drain(reason: string): void {
    if (this.#stopping) return;
    this.#options.log('info', 'the engine tells this worker to drain', { reason });
    // In a turn of its own: a stop waits for the loop that brought the news.
    setImmediate(() => void this.stop());
  }
}
