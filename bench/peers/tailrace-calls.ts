/** The generated clients on one connection, for what is measured call by call: each as the API has it, refusals thrown. */
import { randomUUID } from 'node:crypto';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import type { CompletionSchema } from '../../gen/tailrace/v1/engine_service_pb.js';
import type { ExecutionSpecSchema } from '../../gen/tailrace/v1/execution_pb.js';
import type { Claim, LeaseRefSchema } from '../../gen/tailrace/v1/lease_pb.js';
import { type CompletionEntry, StartPosition } from '../../gen/tailrace/v1/log_pb.js';
import { Client } from '../../src/client/index.js';
import { endsFrom } from './ends.js';
import { Loops } from './loops.js';
import { bring } from './new-work.js';

/** What one call may claim or complete. */
const MOST_PER_CALL = 500;
const CLAIM_WAIT_MS = 5_000;
/** Nothing that was claimed comes back while something is measured. */
const LEASE_MS = 3_600_000;

export type NewExecution = MessageInitShape<typeof ExecutionSpecSchema>;

export interface ClaimAsk {
  readonly type: string;
  /** Default: the lane `default`. */
  readonly lane?: string;
  /** What the claimer offers. Default none. */
  readonly capabilities?: readonly string[];
  /** Most at once. */
  readonly size: number;
  /** How long it waits at the server while there is nothing. Default 5,000. */
  readonly waitMs?: number;
}

/** How the holder of a claim proves it. */
export function leaseOf({ lease }: Claim): MessageInitShape<typeof LeaseRefSchema> {
  if (lease === undefined) throw new Error('a claim came without a lease');
  return { executionId: lease.executionId, leaseId: lease.leaseId, fencingToken: lease.fencingToken };
}

export class TailraceCalls {
  readonly engine: Client['engine'];
  readonly completions: Client['completions'];
  readonly admin: Client['admin'];
  readonly deadLetters: Client['deadLetters'];
  /** Whatever goes on until close(). */
  readonly loops = new Loops();
  readonly #disconnect: () => void;
  readonly #worker = { name: 'bench', instanceId: randomUUID() };

  constructor(url: string) {
    const client = new Client({ url });
    this.#disconnect = () => client.close();
    this.engine = client.engine;
    this.completions = client.completions;
    this.admin = client.admin;
    this.deadLetters = client.deadLetters;
  }

  async create(executions: readonly NewExecution[]): Promise<void> {
    const { results } = await bring(() => this.engine.createExecutions({ executions: [...executions] }));
    for (const { result } of results) {
      if (result.case !== 'ok') throw new Error(`an execution was refused: ${result.value?.message}`);
    }
  }

  /** So many of the same. */
  async createMany(execution: NewExecution, count: number): Promise<void> {
    for (let left = count; left > 0; left -= MOST_PER_CALL) {
      await this.create(Array.from({ length: Math.min(left, MOST_PER_CALL) }, () => execution));
    }
  }

  /** So many of the same, claimed. */
  async hold(execution: NewExecution & { readonly type: string }, count: number): Promise<Claim[]> {
    await this.createMany(execution, count);
    const held: Claim[] = [];
    while (held.length < count) {
      const size = Math.min(count - held.length, MOST_PER_CALL);
      held.push(...(await this.claimOnce({ type: execution.type, size })));
    }
    return held;
  }

  async claimOnce({ type, lane, capabilities = [], size, waitMs = CLAIM_WAIT_MS }: ClaimAsk): Promise<Claim[]> {
    const { claims } = await this.engine.claimExecutions(
      {
        worker: this.#worker,
        ...(lane !== undefined && { lanes: [{ lane, weight: 1 }] }),
        types: [type],
        capabilities: [...capabilities],
        maxExecutions: size,
        wait: durationFromMs(waitMs),
        leaseDuration: durationFromMs(LEASE_MS),
      },
      { signal: this.loops.signal },
    );
    return claims;
  }

  /** Claims and hands over, in so many loops, until close(). */
  claim(ask: ClaimAsk, loops: number, handle: (claims: readonly Claim[]) => Promise<void> | void): void {
    const loop = async () => {
      while (!this.loops.signal.aborted) {
        const claims = await this.claimOnce(ask);
        if (claims.length > 0) await handle(claims);
      }
    };
    for (let i = 0; i < loops; i++) this.loops.follow(loop());
  }

  async complete(claims: readonly Claim[]): Promise<void> {
    const completions = claims.map((claim): MessageInitShape<typeof CompletionSchema> => ({ lease: leaseOf(claim) }));
    const { results } = await this.engine.completeExecutions({ completions });
    for (const { result } of results) {
      if (result.case !== 'ok') throw new Error(`a completion was refused: ${result.value?.message}`);
    }
  }

  /** Every end from now on. Resolves once the watch is in place. */
  async watchEnds(onEntries: (entries: readonly CompletionEntry[]) => void): Promise<void> {
    const { signal } = this.loops;
    const watch = endsFrom(StartPosition.LATEST, this.completions, signal);
    await this.loops.read(watch, ({ entries }) => onEntries(entries));
  }

  /** Ends every loop and stream, and throws what one failed with before. */
  async close(): Promise<void> {
    await this.loops.end().finally(this.#disconnect);
  }
}
