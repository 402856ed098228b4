/**
 * One member of a consumer: acquires parts of a generation, works on each, keeps them by asking again and again, and gives them
 * back when it stops.
 *
 * What the last answer named is held, with its lease renewed; what it names no longer is lost. A consumer that is paused or
 * halted is waited for.
 */
import { randomUUID } from 'node:crypto';
import type { AcquireConsumerResponse } from '../../gen/tailrace/v1/completion_service_pb.js';
import type { ConsumerLease } from '../../gen/tailrace/v1/consumer_pb.js';
import { Backoff } from '../client/backoff.js';
import { asTailraceError, type TailraceError } from '../client/errors.js';
import { monotonicMs, pause } from '../runtime/clock.js';
import { WakeSignal } from '../runtime/wake-signal.js';
import { ConsumerCalls, type ConsumerEngine } from './consumer-calls.js';
import type { EntryRunner } from './consumer-handlers.js';
import { acquireWaitMs, type CompleteConsumerOptions, type StartedGeneration } from './consumer-options.js';
import { HeldPart } from './consumer-part.js';
import type { LogFields, LogLevel, WorkerLog } from './log.js';
import { WorkerStoppingError } from './stop-reasons.js';

/** A member that might hold more looks for parts that have become free this often, if its lease allows. */
const LOOK_MS = 2_000;
/** How long aborted handlers may take to end before their parts are given to others. */
const ABORTED_MS = 1_000;
const WAITS = ['CONSUMER_PAUSED', 'CONSUMER_HALTED', 'CURSOR_PRUNED', 'CONSUMER_NOT_FOUND'];

export interface MemberOptions {
  readonly engine: ConsumerEngine;
  readonly namespace: string;
  readonly consumer: string;
  /** 0: the live one, whichever that is. */
  readonly generation: bigint;
  readonly runner: EntryRunner;
  readonly options: CompleteConsumerOptions;
  /** How many parts there are of a generation; undefined if that is not known. */
  readonly partCount: (generation: bigint) => Promise<number | undefined>;
  readonly log: WorkerLog;
}

export class ConsumerMember {
  /** Random: never the same for two processes, however alike they are. */
  readonly ownerId = randomUUID();
  readonly #options: MemberOptions;
  readonly #calls: ConsumerCalls;
  readonly #abort = new AbortController();
  readonly #changed = new WakeSignal();
  readonly #backoff = new Backoff(100, 5_000);
  readonly #parts = new Map<
    string,
    { readonly held: HeldPart; readonly begunMs: number; readonly run: Promise<void> }
  >();
  readonly #generations = new Map<bigint, { readonly ready: Promise<void>; partCount: number }>();
  #waits = false;
  #told = '';
  #running: Promise<void> = Promise.resolve();

  constructor(options: MemberOptions) {
    this.#options = options;
    this.#calls = new ConsumerCalls({ ...options, ownerId: this.ownerId });
  }

  start(): void {
    this.#running = this.#run(this.#abort.signal);
  }

  /** Lets handlers go on for so long, then aborts them. What was handled is committed; all parts are given back. */
  async stop(drainMs: number): Promise<void> {
    if (this.#abort.signal.aborted) return;
    this.#abort.abort();
    for (const { held } of this.#parts.values()) held.stop();
    await this.#running;
    const parts = [...this.#parts.values()];
    for (const { held } of parts) held.stop();
    const ended = Promise.all(parts.map(({ run }) => run));
    if (!(await within(drainMs, ended))) {
      for (const { held } of parts) held.abort(new WorkerStoppingError());
      await within(ABORTED_MS, ended);
    }
    const failed = (error: unknown) => this.#say('warn', 'parts could not be given back; their leases end', { error });
    await this.#calls.release([]).catch(failed);
  }

  async #run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const askedMs = monotonicMs();
      // With parts in hand it is asked to keep them, and answered at once; the first time it is to be told how things are.
      const waitMs = this.#parts.size === 0 && this.#waits ? acquireWaitMs(this.#options.options) : 0;
      this.#waits = true;
      try {
        const { leases } = await this.#calls.acquire(waitMs, signal);
        this.#backoff.reset();
        this.#tell('');
        // Nobody knows how much of a lease is left that came at the end of a wait: it is renewed before it is used.
        if (waitMs > 0) {
          this.#waits = false;
          continue;
        }
        this.#hold(leases, askedMs);
        await this.#changed.wait(this.#pauseMs(), signal);
      } catch (thrown) {
        if (signal.aborted) return;
        const error = asTailraceError(thrown);
        // The engine says when a lease ends; whoever waits there is told of a part that is free before that.
        const known = this.#isKnown(error);
        const waited = known && waitMs > 0 && monotonicMs() - askedMs >= waitMs / 2;
        if (waited) this.#backoff.reset();
        else await pause(known ? this.#backoff.next() : this.#backoff.next(error), signal);
      }
    }
  }

  #hold(leases: AcquireConsumerResponse['leases'], askedMs: number): void {
    const named = new Set<string>();
    for (const lease of leases) {
      const key = keyOf(lease);
      named.add(key);
      const known = this.#parts.get(key)?.held;
      if (!known) this.#begin(key, lease, askedMs);
      else if (known.ref.epoch === lease.part?.epoch) known.renewed({ askedMs, expireTime: lease.expireTime });
      else known.lose('superseded');
    }
    for (const [key, { held, begunMs }] of this.#parts) {
      if (!named.has(key) && begunMs < askedMs) held.lose('taken');
    }
  }

  /** One that was lost is begun anew when the handler of the old holding has ended. */
  #begin(key: string, { part, expireTime }: ConsumerLease, askedMs: number): void {
    if (!part) throw new Error('the server answered a lease without a part');
    const { runner, consumer, options } = this.#options;
    const { generation, epoch } = part;
    const live = this.#options.generation === 0n;
    const facts = { consumer, generation, part: part.part, epoch };
    const log: WorkerLog = (level, message, fields) => this.#options.log(level, message, { ...facts, ...fields });
    const { leaseDurationMs } = options;
    const ready = () => this.#readied({ generation, live });
    const rests = (reason: string, fields: LogFields) => this.#tell(reason, fields);
    const held = new HeldPart(
      { calls: this.#calls, runner, leaseDurationMs, context: { ...facts, live }, ready, rests, log },
      { askedMs, expireTime },
    );
    const run = held.run().then(() => {
      this.#parts.delete(key);
      this.#changed.wake();
    });
    this.#parts.set(key, { held, begunMs: monotonicMs(), run });
  }

  #readied(started: StartedGeneration): Promise<void> {
    const known = this.#generations.get(started.generation);
    if (known) return known.ready;
    const generation = { ready: this.#makeReady(started), partCount: Number.POSITIVE_INFINITY };
    this.#generations.set(started.generation, generation);
    const counted = (count = Number.POSITIVE_INFINITY) => {
      generation.partCount = count;
    };
    void this.#options.partCount(started.generation).then(counted, () => undefined);
    return generation.ready;
  }

  async #makeReady(started: StartedGeneration): Promise<void> {
    const { signal } = this.#abort;
    const backoff = new Backoff(200, 10_000);
    for (;;) {
      try {
        await this.#options.options.onGeneration(started);
        return;
      } catch (error) {
        this.#say('error', 'a generation could not be begun; trying again', { error, ...started });
      }
      await pause(backoff.next(), signal);
      if (signal.aborted) throw new WorkerStoppingError();
    }
  }

  /** Time to renew; less where there may be more to have. */
  #pauseMs(): number {
    const { leaseDurationMs, maxParts } = this.#options.options;
    const [{ held } = { held: undefined }] = this.#parts.values();
    const { partCount = Number.POSITIVE_INFINITY } = this.#generations.get(held?.ref.generation ?? 0n) ?? {};
    const renewalMs = leaseDurationMs / 3;
    return this.#parts.size >= Math.min(maxParts, partCount) ? renewalMs : Math.min(LOOK_MS, renewalMs);
  }

  /** Says why there is nothing to do, once; answers whether waiting is all there is to it. */
  #isKnown(error: TailraceError): boolean {
    // One that was rebuilt is promoted or replaced; whoever follows the consumer ends this member.
    if (['CONSUMER_HELD', 'GENERATION_NOT_FOUND'].includes(error.reason ?? '')) return true;
    if (WAITS.includes(error.reason ?? '')) {
      this.#tell(error.reason ?? '', { error, ...error.metadata });
      return true;
    }
    this.#say(error.passing ? 'warn' : 'error', 'no part can be acquired; trying again', { error });
    return false;
  }

  #tell(reason: string, fields: LogFields = {}): void {
    if (reason === this.#told) return;
    this.#told = reason;
    if (reason === '') this.#say('info', 'the consumer goes on', fields);
    else if (reason === 'CONSUMER_NOT_FOUND') this.#say('warn', 'there is no such consumer yet', fields);
    else if (reason === 'CONSUMER_PAUSED') this.#say('info', 'the consumer is paused', fields);
    else this.#say('error', 'the consumer has halted, until an operator resumes it', fields);
  }

  #say(level: LogLevel, message: string, fields: LogFields): void {
    this.#options.log(level, message, { consumer: this.#options.consumer, ...fields });
  }
}

function keyOf({ part }: ConsumerLease): string {
  return `${part?.generation}/${part?.part}`;
}

/** Whether it has ended by then. */
async function within(ms: number, ending: Promise<unknown>): Promise<boolean> {
  const bound = new AbortController();
  const ended = await Promise.race([ending.then(() => true), pause(ms, bound.signal).then(() => false)]);
  bound.abort();
  return ended;
}
