/**
 * Renews what this worker holds, a third of the way through each lease and in as few calls as possible.
 *
 * That a lease is lost, or that cancellation was asked for, goes to the lease, which aborts its handler. A call that
 * fails is soon repeated; the leases watch over their trust windows themselves. Progress rides on renewals.
 */
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import { asTailraceError, fromItemError, type TailraceError } from '../client/errors.js';
import { split } from '../client/split.js';
import { monotonicMs } from '../runtime/clock.js';
import { Loop } from '../runtime/loop.js';
import type { EngineClient } from './engine-client.js';
import type { HeldLease } from './held-lease.js';
import { LOST } from './lease-calls.js';
import type { WorkerLog } from './log.js';
import { LeaseLostError } from './stop-reasons.js';

/** Progress is told this often at most. */
const GAP_MS = 100;
const CALL_BOUNDS = { items: 1_000, bytes: Number.POSITIVE_INFINITY };

export interface KeeperOptions {
  readonly engine: Pick<EngineClient, 'renewLeases'>;
  readonly namespace: string;
  readonly leaseDurationMs: number;
  readonly log: WorkerLog;
}

export class LeaseKeeper {
  readonly #options: KeeperOptions;
  readonly #held = new Map<string, HeldLease>();
  readonly #loop: Loop;

  constructor(options: KeeperOptions) {
    this.#options = options;
    const { leaseDurationMs, log } = options;
    this.#loop = new Loop({
      name: 'lease keeper',
      body: () => this.#renewDue(),
      onError: (_, error) => log('warn', 'leases could not be renewed; trying again', { error }),
      gapMs: GAP_MS,
      backoffMs: 100,
      maxBackoffMs: leaseDurationMs / 12,
    });
  }

  start(): void {
    this.#loop.start();
  }

  async stop(): Promise<void> {
    await this.#loop.stop(0);
  }

  /** Leases whose outcome is not decided. */
  get held(): readonly HeldLease[] {
    return [...this.#held.values()];
  }

  get size(): number {
    return this.#held.size;
  }

  /** Keeps it until it is removed. An older lease on the same execution is lost: the engine granted a newer one. */
  add(lease: HeldLease): void {
    const { executionId } = lease.ref;
    this.#held.get(executionId)?.lose(new LeaseLostError('superseded'));
    this.#held.set(executionId, lease);
    lease.guard();
    if (this.#held.size === 1) this.#loop.wake();
  }

  remove(lease: HeldLease): void {
    lease.end();
    const { executionId } = lease.ref;
    if (this.#held.get(executionId) === lease) this.#held.delete(executionId);
  }

  /** Renews at the next opportunity, to tell progress. */
  renewSoon(): void {
    this.#loop.wake();
  }

  /** Renews these now, as one that was claimed by a long wait has to be before its handler may start. */
  async renew(leases: readonly HeldLease[]): Promise<void> {
    const calls = split(leases, () => 0, CALL_BOUNDS);
    await Promise.all(calls.map((call) => this.#renewTogether(call)));
  }

  /** Milliseconds until something is due. Those half-way to being due go along, so that they fall into step. */
  async #renewDue(): Promise<number | undefined> {
    const now = monotonicMs();
    const kept = this.held.filter((lease) => !lease.lost);
    if (kept.some((lease) => lease.progress || lease.renewalMs <= now)) {
      await this.renew(kept.filter((lease) => lease.progress || lease.renewalMs - lease.durationMs / 6 <= now));
    }
    const next = Math.min(...this.held.filter((lease) => !lease.lost).map((lease) => lease.renewalMs));
    return next === Number.POSITIVE_INFINITY ? undefined : Math.max(GAP_MS, next - monotonicMs());
  }

  async #renewTogether(leases: readonly HeldLease[]): Promise<void> {
    const { engine, namespace, leaseDurationMs } = this.#options;
    const askedMs = monotonicMs();
    const told = leases.map((lease) => lease.progress);
    for (const lease of leases) lease.progress = undefined;
    const renewals = leases.map(({ ref, durationMs }, index) => ({
      lease: ref,
      leaseDuration: durationFromMs(durationMs),
      ...(told[index] && { progress: told[index] }),
    }));
    try {
      // Given up early enough for another try within the trust window.
      const { results } = await engine.renewLeases(
        { namespace, renewals },
        { timeoutMs: Math.ceil(leaseDurationMs / 4) },
      );
      for (const [index, { result }] of results.entries()) {
        const lease = leases[index];
        if (result.case === 'ok') lease?.renewed(askedMs, result.value.cancelRequest);
        if (result.case === 'error' && lease) this.#refused(lease, fromItemError(result.value));
      }
    } catch (thrown) {
      const error = asTailraceError(thrown);
      // A renewal is never put at risk by its progress.
      if (!error.refusesContent) for (const [index, lease] of leases.entries()) lease.progress ??= told[index];
      throw error;
    }
  }

  #refused(lease: HeldLease, error: TailraceError): void {
    // A lease that was completed while its renewal was under way is refused too.
    if (lease.ended || !LOST.includes(error.reason ?? '')) return;
    lease.lose(new LeaseLostError(error.metadata['why'] ?? error.reason ?? '', { cause: error }));
  }
}
