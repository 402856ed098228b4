/** What an attempt uses of the budgets that bound it, told and given back. */
import { randomUUID } from 'node:crypto';
import type { BudgetWarning } from '../../gen/tailrace/v1/budget_pb.js';
import { asTailraceError, TailraceError } from '../client/errors.js';
import type { LeaseCalls } from './lease-calls.js';

/** Amounts by dimension, in units of the user's choosing: whole numbers, at least 0. 1 to 16 dimensions of 1 to 64 bytes. */
export type UsageAmounts = Readonly<Record<string, number | bigint>>;

export interface UsageOptions {
  /**
   * Makes a repeat count nothing; its scope is the execution. 1 to 200 bytes. Default: a random one, which protects the
   * worker's own retries only, so that a handler that is called again counts again.
   */
  readonly key?: string;
}

/** A soft limit that is crossed. */
export interface SoftLimitCrossed {
  readonly budget: string;
  readonly dimension: string;
  readonly used: bigint;
  readonly softLimit: bigint;
  readonly hardLimit: bigint;
}

export interface ReportedUsage {
  /** Whether an earlier call had counted it. */
  readonly duplicate: boolean;
  readonly warnings: readonly SoftLimitCrossed[];
}

/**
 * A hard limit would be exceeded: nothing was counted.
 *
 * `refused`: the handler decides what to do; let through, it is a failure that is tried again. `suspended`, `ended`: the
 * budget's policy has decided; the execution goes on once there is room again, or has been given up (canceled, if that was
 * asked for), and whatever the handler still returns or throws is not reported. Its signal aborts with this error then.
 */
export class BudgetExceededError extends Error {
  override readonly name = 'BudgetExceededError';
  readonly effect: 'refused' | 'suspended' | 'ended';
  readonly budget: string;
  readonly dimension: string;
  /** Before the report. */
  readonly used: bigint;
  readonly limit: bigint;

  constructor(cause: TailraceError) {
    super(cause.message, { cause });
    const { budget = '', dimension = '', used = '0', limit = '0', state = 'RUNNING' } = cause.metadata;
    this.budget = budget;
    this.dimension = dimension;
    this.used = BigInt(used);
    this.limit = BigInt(limit);
    this.effect = state === 'RUNNING' ? 'refused' : state === 'SUSPENDED' ? 'suspended' : 'ended';
  }
}

export class Usage {
  readonly #calls: LeaseCalls;
  /** Stores what was emitted: a breach may end this call of the handler. */
  readonly #flush: () => Promise<void>;

  constructor(calls: LeaseCalls, flush: () => Promise<void>) {
    this.#calls = calls;
    this.#flush = flush;
  }

  async report(amounts: UsageAmounts, { key = randomUUID() }: UsageOptions): Promise<ReportedUsage> {
    const request = { usage: whole(amounts), idempotencyKey: key };
    // What was used is told whatever became of the output; a refusal of that comes up elsewhere.
    await this.#flush().catch(() => {});
    try {
      const { duplicate, warnings, cancelRequest } = await this.#calls.send((engine, under, bounds) =>
        engine.reportUsage({ ...under, ...request }, bounds),
      );
      this.#calls.heed(cancelRequest);
      return { duplicate, warnings: warnings.map(crossed) };
    } catch (error) {
      throw error instanceof TailraceError && error.reason === 'BUDGET_EXCEEDED' ? this.#exceeded(error) : error;
    }
  }

  async release(amounts: UsageAmounts, { key = randomUUID() }: UsageOptions): Promise<Record<string, bigint>> {
    const request = { usage: whole(amounts), idempotencyKey: key, executionId: this.#calls.lease.ref.executionId };
    const { released } = await this.#calls.send((engine, under, bounds) =>
      engine.releaseUsage({ ...under, ...request }, bounds),
    );
    return { ...released };
  }

  #exceeded(cause: TailraceError): BudgetExceededError {
    const error = new BudgetExceededError(asTailraceError(cause));
    return error.effect === 'refused' ? error : this.#calls.giveUp(error);
  }
}

/** Throws a RangeError for amounts that are no whole numbers. */
function whole(amounts: UsageAmounts): Record<string, bigint> {
  return Object.fromEntries(Object.entries(amounts).map(([dimension, amount]) => [dimension, BigInt(amount)]));
}

function crossed({ budget, use }: BudgetWarning): SoftLimitCrossed {
  const { dimension = '', used = 0n, limit } = use ?? {};
  return { budget, dimension, used, softLimit: limit?.softLimit ?? 0n, hardLimit: limit?.hardLimit ?? 0n };
}
