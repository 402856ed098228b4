/**
 * One held part: fetches its entries, has them handled, moves its cursor behind them, and again.
 *
 * The engine's fence is the epoch: whatever is sent after the part was lost is refused. The trust window, as long as the lease
 * may be believed in, only keeps two handlers from working side by side: at its end the handler's signal aborts, and what it
 * has done all the same is still offered. An entry is blamed only for what its own
 * handler threw; where that cannot be told of several, they come again in halves.
 */
import { durationMs, type Timestamp, timestampMs } from '@bufbuild/protobuf/wkt';
import type { FetchEntriesResponse } from '../../gen/tailrace/v1/completion_service_pb.js';
import { type ConsumerDelivery, FailEntryEffect } from '../../gen/tailrace/v1/consumer_pb.js';
import { Backoff } from '../client/backoff.js';
import { asTailraceError, type TailraceError } from '../client/errors.js';
import { after, monotonicMs, pause } from '../runtime/clock.js';
import type { ConsumerCalls, Move, PartRef } from './consumer-calls.js';
import { entryFailure } from './consumer-failure.js';
import type { ConsumerContext, EntryRunner, Ran } from './consumer-handlers.js';
import { inEntriesSpan } from './entries-span.js';
import type { LogFields, WorkerLog } from './log.js';
import { LeaseLostError } from './stop-reasons.js';

/** The rest is for clocks that run at different rates, and timers that fire late. */
const TRUSTED_SHARE = 0.9;
/** An empty answer sooner than this makes a caller in a hurry. */
const HASTY_MS = 50;
/** Passing troubles of one group in a row, until an entry is blamed for them. */
const MOST_POSTPONED = 5;
const BOUNDED_MS = 50;

const GONE = ['EPOCH_CONFLICT', 'CONSUMER_NOT_FOUND', 'GENERATION_NOT_FOUND'];
const RESTS = ['CONSUMER_PAUSED', 'CONSUMER_HALTED', 'CURSOR_PRUNED'];

/** A lease as a call has left it. */
export interface Renewal {
  /** Monotonic time from before the call. */
  readonly askedMs: number;
  readonly expireTime: Timestamp | undefined;
}

export interface HeldPartOptions {
  readonly calls: ConsumerCalls;
  readonly runner: EntryRunner;
  readonly leaseDurationMs: number;
  readonly context: Pick<ConsumerContext, 'consumer' | 'generation' | 'live' | 'part' | 'epoch'>;
  /** Before the first entry: whatever its generation needs is there. Rejects when there is no more use in it. */
  readonly ready: () => Promise<void>;
  /** The consumer is paused or has halted. */
  readonly rests: (reason: string, fields: LogFields) => void;
  readonly log: WorkerLog;
}

export class HeldPart {
  readonly ref: PartRef;
  readonly #options: HeldPartOptions;
  /** Ends waits at the server and pauses. */
  readonly #waits = new AbortController();
  readonly #backoff = new Backoff(100, 5_000);
  readonly #haste = new Backoff(5, 500);
  #running: AbortController | undefined;
  #trustedUntilMs = Number.POSITIVE_INFINITY;
  #expireMs = Number.NEGATIVE_INFINITY;
  #inTrouble = false;
  #over = false;
  #postponed = 0;

  constructor(options: HeldPartOptions, { askedMs, expireTime }: Renewal) {
    this.#options = options;
    const { generation, part, epoch } = options.context;
    this.ref = { generation, part, epoch };
    this.renewed({ askedMs, expireTime });
  }

  /** A lease may be left as it is, or made longer by little where somebody else wants the part: only that is added. */
  renewed({ askedMs, expireTime }: Renewal): void {
    const expireMs = expireTime ? timestampMs(expireTime) : Number.POSITIVE_INFINITY;
    const added = expireMs - this.#expireMs;
    if (!(added > 0)) return;
    this.#expireMs = expireMs;
    const most = askedMs + this.#options.leaseDurationMs * TRUSTED_SHARE;
    this.#trustedUntilMs = Math.min(most, this.#trustedUntilMs + added);
  }

  /** Somebody else has it. */
  lose(why: string): void {
    this.stop();
    this.abort(new LeaseLostError(why));
  }

  /** No more entries than the one, or the group, that is handled now. */
  stop(): void {
    this.#over = true;
    this.#waits.abort();
  }

  abort(reason: Error): void {
    this.#running?.abort(reason);
  }

  /** Resolves when no handler runs and none will. Never rejects. */
  async run(): Promise<void> {
    await this.#options.ready().catch(() => this.stop());
    while (!this.#over) {
      const pauseMs = await this.#round().catch((thrown) => this.#refused(asTailraceError(thrown)));
      if (pauseMs > 0) await pause(pauseMs, this.#waits.signal);
    }
  }

  /** Answers how long to pause before the next one. */
  async #round(): Promise<number> {
    const { calls } = this.#options;
    const askedMs = monotonicMs();
    const fetched = await calls.fetch(this.ref, this.#waits.signal);
    this.renewed({ askedMs, expireTime: fetched.expireTime });
    this.#inTrouble = false;
    const pauseMs = fetched.deliveries.length > 0 ? await this.#handle(fetched) : await this.#pass(fetched, askedMs);
    if (fetched.releaseWanted && !this.#over) {
      this.#over = true;
      await calls.release([this.ref]);
    }
    return pauseMs;
  }

  /** Nothing of what was looked through is for this part. */
  async #pass({ fromCursor, toCursor, retryDelay }: FetchEntriesResponse, askedMs: number): Promise<number> {
    if (toCursor !== fromCursor) await this.#commit({ fromCursor, toCursor });
    this.#backoff.reset();
    if (retryDelay) return this.#bounded(durationMs(retryDelay));
    if (toCursor === fromCursor && monotonicMs() - askedMs < HASTY_MS) return this.#haste.next();
    this.#haste.reset();
    return 0;
  }

  async #handle({ deliveries, fromCursor, toCursor }: FetchEntriesResponse): Promise<number> {
    this.#haste.reset();
    let from = fromCursor;
    let rest: readonly ConsumerDelivery[] = deliveries;
    let most = rest.length;
    while (rest.length > 0 && !this.#over) {
      const group = rest.slice(0, groupSize(rest, most));
      const letters = group.flatMap(({ deadLetterId }) => deadLetterId || []);
      const end = group.length === rest.length ? toCursor : cursorOf(group.at(-1));
      const to = letters.length > 0 ? from : end;
      const move = { fromCursor: from, toCursor: to, deadLetterIds: letters };
      const ran = await this.#run(group, move);
      if (ran.kind === 'refused') return this.#refusal(ran.reason, ran.thrown);
      const done = ran.kind === 'handled' ? ran.count : ran.kind === 'failed' ? ran.handled : 0;
      if (done > 0) {
        const upTo = done === group.length ? to : cursorOf(group[done - 1]);
        if (ran.kind !== 'handled' || !ran.committed) await this.#commit({ ...move, toCursor: upTo });
        this.#backoff.reset();
        this.#postponed = 0;
        from = upTo;
        rest = rest.slice(done);
      }
      if (ran.kind === 'handled') {
        if (done < group.length) return 0;
        continue;
      }
      if (this.#running?.signal.aborted) return 0;
      if (ran.kind === 'postponed' && !(ran.bounded && ++this.#postponed > MOST_POSTPONED)) {
        this.#options.log('warn', 'entries cannot be handled now; trying again', { error: ran.thrown });
        const pauseMs = this.#backoff.next();
        return ran.bounded ? Math.min(pauseMs, BOUNDED_MS) : pauseMs;
      }
      const known = ran.kind === 'failed' && ran.known;
      if (known || group.length === 1) return await this.#fail(rest[0], ran.thrown);
      most = Math.floor(group.length / 2);
    }
    return 0;
  }

  async #run(group: readonly ConsumerDelivery[], move: Required<Move>): Promise<Ran> {
    const { calls, runner, context, log } = this.#options;
    const running = new AbortController();
    this.#running = running;
    const { previousTries = 0, deadLetterId = '' } = group[0] ?? {};
    const callOff = this.#guard(running);
    try {
      const entries = group.flatMap(({ entry }) => entry ?? []);
      const run = () =>
        runner.run({
          ...move,
          entries,
          holding: calls.holding(this.ref),
          context: { ...context, previousTries, deadLetterId, signal: running.signal, log },
          interrupted: () => this.#over || running.signal.aborted,
        });
      return await inEntriesSpan(entries, { ...context, previousTries }, run);
    } catch (thrown) {
      return { kind: 'failed', handled: 0, known: false, thrown };
    } finally {
      callOff();
    }
  }

  /** One timer, set again when it finds the window moved. */
  #guard(running: AbortController): () => void {
    let callOff = () => {};
    const look = () => {
      const left = this.#trustedUntilMs - monotonicMs();
      if (left <= 0) running.abort(new LeaseLostError('trust_ended'));
      else callOff = after(left, look);
    };
    look();
    return () => callOff();
  }

  async #commit(move: Move): Promise<void> {
    const askedMs = monotonicMs();
    const { expireTime } = await this.#options.calls.commit(this.ref, move);
    this.renewed({ askedMs, expireTime });
  }

  async #fail(delivery: ConsumerDelivery | undefined, thrown: unknown): Promise<number> {
    if (!delivery) throw new Error('an entry that was not delivered cannot fail');
    const { waitMs, ...told } = entryFailure(thrown);
    const facts = { error: thrown, cursor: cursorOf(delivery), previousTries: delivery.previousTries };
    this.#options.log(told.retryTime ? 'info' : 'warn', 'the handler of an entry failed', facts);
    const answer = await this.#options.calls.fail(this.ref, delivery, told);
    const { effect, retryDelay, deadLetterId } = answer;
    if (effect === FailEntryEffect.HALTED) this.#rest('CONSUMER_HALTED', facts);
    if (effect === FailEntryEffect.PARKED)
      this.#options.log('warn', 'the entry was parked', { deadLetterId, ...facts });
    return this.#bounded(Math.max(waitMs, retryDelay ? durationMs(retryDelay) : 0));
  }

  #refused(error: TailraceError): number {
    return this.#over ? 0 : this.#refusal(error.reason ?? '', error);
  }

  #refusal(reason: string, error: unknown): number {
    if (GONE.includes(reason)) {
      this.#options.log('warn', 'the part belongs to somebody else now', { error });
      this.lose(reason.toLowerCase());
      return 0;
    }
    if (RESTS.includes(reason)) return this.#rest(reason, { error });
    const known = asTailraceError(error);
    const passing = known.passing || reason === 'VERSION_CONFLICT';
    // A server that is away is so for all parts, and for a while.
    if (!passing || !this.#inTrouble) {
      this.#options.log(passing ? 'warn' : 'error', 'the part cannot go on; trying again', { error });
    }
    this.#inTrouble = true;
    return this.#backoff.next(known);
  }

  #rest(reason: string, fields: LogFields): number {
    this.stop();
    this.#options.rests(reason, fields);
    return 0;
  }

  /** Somebody has to look now and then whether the part is still wanted here. */
  #bounded(ms: number): number {
    return Math.min(ms, this.#options.leaseDurationMs / 3);
  }
}

/** What failed before and what comes again goes alone, so that its handler's context speaks of it. */
function groupSize(rest: readonly ConsumerDelivery[], most: number): number {
  const next = rest.findIndex(({ previousTries, deadLetterId }) => previousTries > 0 || deadLetterId !== '');
  if (next === 0) return 1;
  return Math.max(1, Math.min(most, next < 0 ? rest.length : next));
}

function cursorOf(delivery: ConsumerDelivery | undefined): string {
  return delivery?.entry?.cursor ?? '';
}
