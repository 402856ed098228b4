/** The generated clients on one connection: creating, claiming, completing and watching, in batches and loops. */
import { randomUUID } from 'node:crypto';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import { type Client, createClient } from '@connectrpc/connect';
import { Health } from '../../gen/health/v1/health_pb.js';
import { CompletionService } from '../../gen/tailrace/v1/completion_service_pb.js';
import { type CompletionSchema, EngineService } from '../../gen/tailrace/v1/engine_service_pb.js';
import type { ExecutionSpecSchema } from '../../gen/tailrace/v1/execution_pb.js';
import type { Claim } from '../../gen/tailrace/v1/lease_pb.js';
import { type CompletionEntry, StartPosition } from '../../gen/tailrace/v1/log_pb.js';
import { openConnection } from '../../src/client/connection.js';
import { INPUT_BYTES, inputOf } from '../content.js';
import { endsFrom } from './ends.js';
import { Loops } from './loops.js';
import { bring } from './new-work.js';

export const TYPE = 'bench';
const CLAIM_WAIT_MS = 5_000;
const LEASE_MS = 30_000;

export function textOf({ input }: Claim): string {
  return input?.body.case === 'text' ? input.body.value : '';
}

export class TailraceClients {
  readonly #engine: Client<typeof EngineService>;
  readonly #completions: Client<typeof CompletionService>;
  readonly #health: Client<typeof Health>;
  readonly #loops = new Loops();
  readonly #disconnect: () => void;
  readonly #inputBytes: number;

  /** `inputBytes` is what each execution is given, 0 for none; default 1 KiB. */
  constructor(url: string, { inputBytes = INPUT_BYTES }: { readonly inputBytes?: number | undefined } = {}) {
    this.#inputBytes = inputBytes;
    const { transport, close } = openConnection({ url });
    this.#disconnect = close;
    this.#engine = createClient(EngineService, transport);
    this.#completions = createClient(CompletionService, transport);
    this.#health = createClient(Health, transport);
  }

  /** One execution per ordinal, in one call. */
  async create(ordinals: readonly number[]): Promise<void> {
    const bytes = this.#inputBytes;
    const executions = ordinals.map(
      (ordinal): MessageInitShape<typeof ExecutionSpecSchema> => ({
        type: TYPE,
        ...(bytes > 0 && { input: { body: { case: 'text', value: inputOf(ordinal, bytes) } } }),
      }),
    );
    const { results } = await bring(() => this.#engine.createExecutions({ executions }));
    for (const { result } of results) if (result.case !== 'ok') throw new Error('an execution was refused');
  }

  /** The smallest call there is, through the same server and connection. */
  async echo(): Promise<void> {
    await this.#health.check({});
  }

  /** Claims up to `size` at once and hands them over, in so many loops, until close(). */
  claim(loops: number, size: number, handle: (claims: readonly Claim[]) => Promise<void>): void {
    const { signal } = this.#loops;
    const ask = {
      worker: { name: 'bench', instanceId: randomUUID() },
      types: [TYPE],
      maxExecutions: size,
      wait: durationFromMs(CLAIM_WAIT_MS),
      leaseDuration: durationFromMs(LEASE_MS),
    };
    const loop = async () => {
      while (!signal.aborted) {
        const { claims } = await this.#engine.claimExecutions(ask, { signal });
        if (claims.length > 0) await handle(claims);
      }
    };
    for (let i = 0; i < loops; i++) this.#loops.follow(loop());
  }

  async complete(claims: readonly Claim[]): Promise<void> {
    const completions = claims.map(
      ({ lease }): MessageInitShape<typeof CompletionSchema> => ({
        ...(lease && {
          lease: { executionId: lease.executionId, leaseId: lease.leaseId, fencingToken: lease.fencingToken },
        }),
      }),
    );
    const { results } = await this.#engine.completeExecutions({ completions });
    for (const { result } of results) if (result.case !== 'ok') throw new Error('a completion was refused');
  }

  /** Every end since the database was made. */
  watch(onEntries: (entries: readonly CompletionEntry[]) => void): void {
    const { signal } = this.#loops;
    const stream = endsFrom(StartPosition.EARLIEST, this.#completions, signal);
    const read = async () => {
      for await (const { entries } of stream) if (entries.length > 0) onEntries(entries);
    };
    this.#loops.follow(read());
  }

  /** Ends every loop and watch, and throws what one failed with before. */
  async close(): Promise<void> {
    await this.#loops.end().finally(this.#disconnect);
  }
}
