/**
 * Many dead letters run again at a rate: tried out, started, followed and stopped. Refusals are TailraceErrors.
 *
 * A canary goes first, and the rest only if it does well. Each start has a request id, so that one repeated after a lost answer
 * starts nothing twice.
 */
import { randomUUID } from 'node:crypto';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { durationMs } from '@bufbuild/protobuf/wkt';
import type { Client as ServiceClient } from '@connectrpc/connect';
import type { DeadLetter, DeadLetterFilterSchema } from '../../gen/tailrace/v1/dead_letter_pb.js';
import type { DeadLetterService } from '../../gen/tailrace/v1/dead_letter_service_pb.js';
import { type DeadLetterBucket, type Redrive, RedriveState } from '../../gen/tailrace/v1/redrive_pb.js';
import { pause } from '../runtime/clock.js';
import { toPayload } from './content.js';
import { retrying } from './retry.js';

/** To select up to a million letters takes a while. */
const CALL = { timeoutMs: 60_000 };
const LOOK_MS = 500;

export type RedriveCalls = Pick<ServiceClient<typeof DeadLetterService>, 'startRedrive' | 'getRedrive' | 'stopRedrive'>;

/** Which dead letters. Fields are combined with AND, values of one field with OR; not everything. */
export type RedriveFilter = MessageInitShape<typeof DeadLetterFilterSchema>;

export interface RedriveOptions {
  /** Per second: 1 to 1000. Default 100. */
  readonly rate?: number;
  /** How many go first and are waited for: 0 (none) to 1000. Default 10. */
  readonly canary?: number;
  /** Failures of the canary that stop it. Default 1. */
  readonly canaryMaxFailures?: number;
  /** Default: all that are selected. */
  readonly maxCount?: number;
  /** New runs stand outside of their flows. */
  readonly detached?: boolean;
  /** In place of the original one. */
  readonly lane?: string;
  /** JSON merge patch (RFC 7396) on the input of every execution; those whose input is not JSON are passed over. */
  readonly inputPatch?: Readonly<Record<string, unknown>>;
  /** Default: the token's name. */
  readonly actor?: string;
  /** For people. Up to 4 KiB. */
  readonly note?: string;
}

export interface RedrivePreview {
  /** Letters that would be taken. */
  readonly count: number;
  /** The first ones; without inputs. */
  readonly sample: readonly DeadLetter[];
  /** Most numerous first. */
  readonly types: readonly DeadLetterBucket[];
  readonly reasons: readonly DeadLetterBucket[];
  /** At this rate, without the canary. */
  readonly estimatedMs: number;
}

export class Redrives {
  readonly #options: { readonly deadLetters: RedriveCalls; readonly namespace: string; readonly retryForMs: number };

  constructor(options: { deadLetters: RedriveCalls; namespace: string; retryForMs: number }) {
    this.#options = options;
  }

  /** What `start` would do. Changes nothing. */
  async preview(filter: RedriveFilter, options: RedriveOptions = {}): Promise<RedrivePreview> {
    const { deadLetters } = this.#options;
    const request = { ...this.#request(filter, options), dryRun: true };
    const answer = await this.#call(() => deadLetters.startRedrive(request, CALL));
    const { redrive, sample, types, reasons, estimatedDuration } = answer;
    return {
      count: Number(redrive?.selectedCount ?? 0n),
      estimatedMs: estimatedDuration ? durationMs(estimatedDuration) : 0,
      ...{ sample, types, reasons },
    };
  }

  /** Takes what is OPEN now, at once; runs it in the background. */
  async start(filter: RedriveFilter, options: RedriveOptions = {}): Promise<Redrive> {
    const { deadLetters } = this.#options;
    const request = { ...this.#request(filter, options), requestId: randomUUID() };
    return there((await this.#call(() => deadLetters.startRedrive(request, CALL))).redrive);
  }

  async get(redriveId: string): Promise<Redrive> {
    const { deadLetters, namespace } = this.#options;
    return there((await this.#call(() => deadLetters.getRedrive({ namespace, redriveId }, CALL))).redrive);
  }

  /** What it has started goes on. */
  async stop(redriveId: string, { reason = '' } = {}): Promise<Redrive> {
    const { deadLetters, namespace } = this.#options;
    return there((await this.#call(() => deadLetters.stopRedrive({ namespace, redriveId, reason }, CALL))).redrive);
  }

  /** Once it has finished or stopped; what it started may still run. Throws the signal's reason when that aborts. */
  async ended(redriveId: string, { signal }: { readonly signal?: AbortSignal } = {}): Promise<Redrive> {
    for (;;) {
      const redrive = await this.get(redriveId);
      if (redrive.state === RedriveState.FINISHED || redrive.state === RedriveState.STOPPED) return redrive;
      await pause(LOOK_MS, signal);
      signal?.throwIfAborted();
    }
  }

  #request(filter: RedriveFilter, options: RedriveOptions) {
    const { rate = 0, canary, canaryMaxFailures = 0, maxCount = 0, inputPatch, ...rest } = options;
    const patch = toPayload(inputPatch);
    return {
      ...{ namespace: this.#options.namespace, filter, ratePerSecond: rate, canaryMaxFailures, ...rest },
      maxCount: BigInt(maxCount),
      ...(canary !== undefined && { canaryCount: canary }),
      ...(patch && { inputPatch: patch }),
    };
  }

  #call<T>(call: () => Promise<T>): Promise<T> {
    return retrying(call, { forMs: this.#options.retryForMs });
  }
}

function there(redrive: Redrive | undefined): Redrive {
  if (redrive === undefined) throw new Error('the server answered no redrive');
  return redrive;
}
