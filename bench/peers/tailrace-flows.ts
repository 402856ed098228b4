/** The generated clients on one connection, for flows: making them, working on their members, watching what they do. */
import { randomUUID } from 'node:crypto';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import { type Client, createClient } from '@connectrpc/connect';
import { CompletionService } from '../../gen/tailrace/v1/completion_service_pb.js';
import {
  ClaimNextMode,
  type CompletionSchema,
  type CreateFlowRequestSchema,
  EngineService,
  type ExtendFlowRequestSchema,
} from '../../gen/tailrace/v1/engine_service_pb.js';
import type { Claim } from '../../gen/tailrace/v1/lease_pb.js';
import { type CompletionEntry, type LogEntry, type LogEntryKind, StartPosition } from '../../gen/tailrace/v1/log_pb.js';
import type { PayloadSchema } from '../../gen/tailrace/v1/payload_pb.js';
import { openConnection } from '../../src/client/connection.js';
import { Loops } from './loops.js';

const CLAIM_WAIT_MS = 5_000;
/** Nothing that was claimed comes back while something is measured. */
const LEASE_MS = 3_600_000;
/** What one call may claim or complete. */
const MOST_PER_CALL = 500;

export type FlowRequest = MessageInitShape<typeof CreateFlowRequestSchema>;
type Result = MessageInitShape<typeof PayloadSchema>;

/** Of one instant, whatever the clock is set to meanwhile: the database runs on this machine's. */
export function nowMs(): number {
  return performance.timeOrigin + performance.now();
}

export class FlowClients {
  readonly #engine: Client<typeof EngineService>;
  readonly #completions: Client<typeof CompletionService>;
  readonly #loops = new Loops();
  readonly #disconnect: () => void;
  readonly #worker = { name: 'bench', instanceId: randomUUID() };

  constructor(url: string) {
    const { transport, close } = openConnection({ url });
    this.#disconnect = close;
    this.#engine = createClient(EngineService, transport);
    this.#completions = createClient(CompletionService, transport);
  }

  /** Answers the execution ids by local name. */
  async create(request: FlowRequest): Promise<Readonly<Record<string, string>>> {
    const { executionIds } = await this.#engine.createFlow(request);
    return executionIds;
  }

  async extend(request: MessageInitShape<typeof ExtendFlowRequestSchema>): Promise<void> {
    await this.#engine.extendFlow(request);
  }

  /** Claims until it has so many of a type. */
  async take(type: string, count: number): Promise<Claim[]> {
    const taken: Claim[] = [];
    while (taken.length < count)
      taken.push(...(await this.#claim(type, Math.min(count - taken.length, MOST_PER_CALL))));
    return taken;
  }

  /** Claims up to `size` at once and hands them over, in so many loops, until close(). */
  claim(type: string, loops: number, size: number, handle: (claims: Claim[]) => Promise<void>): void {
    const loop = async () => {
      while (!this.#loops.signal.aborted) {
        const claims = await this.#claim(type, size);
        if (claims.length > 0) await handle(claims);
      }
    };
    for (let i = 0; i < loops; i++) this.follow(loop());
  }

  async complete(claims: readonly Claim[], result?: Result): Promise<void> {
    for (let i = 0; i < claims.length; i += MOST_PER_CALL) {
      await this.#complete(claims.slice(i, i + MOST_PER_CALL), result, 0);
    }
  }

  /** Answers those among their successors that were handed over with the answer. */
  async completeAndTake(claims: readonly Claim[], result?: Result): Promise<Claim[]> {
    return await this.#complete(claims, result, claims.length);
  }

  /** Every end from now on. Resolves once the watch is in place. */
  async watchEnds(onEntries: (entries: readonly CompletionEntry[]) => void): Promise<void> {
    const { signal } = this.#loops;
    const watch = this.#completions.watchCompletions({ start: StartPosition.LATEST }, { signal });
    await this.#loops.read(watch, ({ entries }) => onEntries(entries));
  }

  /** Every log entry of these kinds from now on. Resolves once the watch is in place. */
  async watchLog(kinds: LogEntryKind[], onEntries: (entries: readonly LogEntry[]) => void): Promise<void> {
    const { signal } = this.#loops;
    const watch = this.#completions.watchLog({ start: StartPosition.LATEST, filter: { kinds } }, { signal });
    await this.#loops.read(watch, ({ entries }) => onEntries(entries));
  }

  /** Something that goes on beside everything else, and whose failure others are told of. */
  follow(work: Promise<void>): void {
    this.#loops.follow(work);
  }

  /** Rejects as soon as a loop or a watch has failed. */
  async unlessFailed<T>(work: Promise<T>): Promise<T> {
    return await this.#loops.unlessFailed(work);
  }

  /** Ends every loop and watch, and throws what one failed with before. */
  async close(): Promise<void> {
    await this.#loops.end().finally(this.#disconnect);
  }

  async #claim(type: string, size: number): Promise<Claim[]> {
    const { claims } = await this.#engine.claimExecutions(
      {
        worker: this.#worker,
        types: [type],
        maxExecutions: size,
        wait: durationFromMs(CLAIM_WAIT_MS),
        leaseDuration: durationFromMs(LEASE_MS),
      },
      { signal: this.#loops.signal },
    );
    return claims;
  }

  async #complete(claims: readonly Claim[], result: Result | undefined, next: number): Promise<Claim[]> {
    const completions = claims.map(
      ({ lease }): MessageInitShape<typeof CompletionSchema> => ({
        ...(lease && {
          lease: { executionId: lease.executionId, leaseId: lease.leaseId, fencingToken: lease.fencingToken },
        }),
        ...(result && { result }),
      }),
    );
    const claimNext = {
      mode: ClaimNextMode.SUCCESSORS,
      worker: this.#worker,
      maxExecutions: next,
      leaseDuration: durationFromMs(LEASE_MS),
    };
    const { results, claims: handed } = await this.#engine.completeExecutions({
      completions,
      ...(next > 0 && { claimNext }),
    });
    for (const { result: one } of results) {
      if (one.case !== 'ok') throw new Error(`a completion was refused: ${one.value?.message}`);
    }
    return handed;
  }
}
