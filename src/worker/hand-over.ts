/**
 * Eager hand-over: the completion of a flow's member asks for what it releases in the same call, so that a chain costs
 * one round trip per hop.
 *
 * The slot that the completing handler freed is kept for it until its completion is answered: the claimer, which asks
 * for all the room there is, does not see it, so that both together never hold more than the slots. One completion
 * keeps one slot. What else it released comes to whoever claims, this worker's claimer included. Executions outside of
 * flows keep nothing and ask for nothing.
 */
import type { MessageInitShape } from '@bufbuild/protobuf';
import { ClaimNextMode, type ClaimNextSchema } from '../../gen/tailrace/v1/engine_service_pb.js';
import type { Claim } from '../../gen/tailrace/v1/lease_pb.js';
import type { Claimant } from './claimant.js';
import type { HeldLease } from './held-lease.js';

export interface HandOverOptions {
  readonly claimant: () => Claimant;
  /** `askedMs`: monotonic time from before the call. Never rejects. */
  readonly accept: (claims: readonly Claim[], askedMs: number) => Promise<void>;
  readonly onDrain: () => void;
  /** A slot that was kept is free, or claims that came are dealt with. */
  readonly onChange: () => void;
}

export class HandOver {
  readonly #options: HandOverOptions;
  readonly #kept = new Set<HeldLease>();
  #arriving = 0;
  #stopped = false;

  constructor(options: HandOverOptions) {
    this.#options = options;
  }

  /** Slots that are nobody else's. */
  get kept(): number {
    return this.#kept.size;
  }

  /** Answers whose claims are not dealt with yet. */
  get arriving(): number {
    return this.#arriving;
  }

  /** Nothing is asked for any more. */
  stop(): void {
    this.#stopped = true;
    this.#kept.clear();
  }

  /** Its handler has succeeded, and its completion is about to be sent. */
  keep(lease: HeldLease): void {
    if (!this.#stopped && lease.claim.flowId !== '') this.#kept.add(lease);
  }

  /** Its completion is settled: nothing comes for it any more. */
  free(lease: HeldLease): void {
    if (this.#kept.delete(lease)) this.#options.onChange();
  }

  /** What the call that completes these asks for. */
  ask(completing: readonly HeldLease[]): MessageInitShape<typeof ClaimNextSchema> | undefined {
    const maxExecutions = completing.filter((lease) => this.#kept.has(lease)).length;
    if (maxExecutions === 0) return undefined;
    return { mode: ClaimNextMode.SUCCESSORS, maxExecutions, ...this.#options.claimant() };
  }

  /** The slots go to what came. Reports that are sent again ask for nothing. */
  answered(
    completing: readonly HeldLease[],
    { claims, drain }: { readonly claims: readonly Claim[]; readonly drain: boolean },
    askedMs: number,
  ): void {
    const { accept, onDrain, onChange } = this.#options;
    for (const lease of completing) this.#kept.delete(lease);
    if (claims.length > 0) {
      this.#arriving++;
      void accept(claims, askedMs).then(() => {
        this.#arriving--;
        onChange();
      });
    }
    if (drain) onDrain();
    onChange();
  }
}
