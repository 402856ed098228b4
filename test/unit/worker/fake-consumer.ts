/** A consumer of one part in memory behind a real transport, as the engine keeps one: cursors are the numbers of entries. */
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { durationFromMs, type Timestamp } from '@bufbuild/protobuf/wkt';
import { Code, ConnectError, createRouterTransport, type Transport } from '@connectrpc/connect';
import { AdminService } from '../../../gen/tailrace/v1/admin_service_pb.js';
import {
  type AcquireConsumerRequest,
  type CommitEntriesRequest,
  CompletionService,
  type FailEntryRequest,
  type FetchEntriesResponseSchema,
} from '../../../gen/tailrace/v1/completion_service_pb.js';
import { type ConsumerDeliverySchema, FailEntryEffect } from '../../../gen/tailrace/v1/consumer_pb.js';
import { ErrorDetailSchema } from '../../../gen/tailrace/v1/error_pb.js';

type Delivery = MessageInitShape<typeof ConsumerDeliverySchema>;

export class FakeConsumer {
  readonly transport: Transport;
  readonly acquired: AcquireConsumerRequest[] = [];
  readonly commits: CommitEntriesRequest[] = [];
  readonly failures: FailEntryRequest[] = [];
  readonly released: string[] = [];
  generation = 1n;
  epoch = 1n;
  position = 0;
  /** How many entries there are; numbered from 1. */
  head = 0;
  tries = 0;
  /** Letters whose entries are to be delivered again. */
  readonly letters: string[] = [];
  releaseWanted = false;
  /** Of the lease, whatever is called. */
  expireTime: Timestamp | undefined;
  /** What an acquire is refused with. */
  acquireRefusal: string | undefined;
  onFail: (request: FailEntryRequest) => FailEntryEffect = () => FailEntryEffect.RETRY;
  /** Called before a commit is looked at; may throw a refusal. */
  onCommit: () => void = () => {};
  #free = false;

  constructor() {
    this.transport = createRouterTransport(({ service }) => {
      service(AdminService, {
        getConsumer: () => ({ consumer: { generations: [{ generation: this.generation, live: true, partCount: 1 }] } }),
      });
      service(CompletionService, {
        acquireConsumer: async (request, { signal }) => {
          this.acquired.push(request);
          if (this.acquireRefusal) throw refusal(this.acquireRefusal);
          if (this.#free) await new Promise((resolve) => signal.addEventListener('abort', resolve));
          const part = { generation: this.generation, part: 0, epoch: this.epoch };
          return { leases: [{ part, ...this.#lease }] };
        },
        fetchEntries: async ({ part, maxEntries }, { signal }) => {
          this.#fence(part?.epoch);
          const releaseWanted = this.releaseWanted;
          const from = this.position;
          const nothing = from === this.head && this.letters.length === 0 && !releaseWanted;
          if (nothing) await turns(20, signal);
          return { ...this.#answer(maxEntries), releaseWanted, ...this.#lease };
        },
        commitEntries: (request) => {
          this.#fence(request.part?.epoch);
          this.onCommit();
          if (request.fromCursor !== String(this.position)) throw refusal('VERSION_CONFLICT');
          this.commits.push(request);
          this.move(Number(request.toCursor));
          for (const id of request.deadLetterIds) this.letters.splice(this.letters.indexOf(id), 1);
          return { cursor: request.toCursor, ...this.#lease };
        },
        failEntry: (request) => {
          this.#fence(request.part?.epoch);
          const first = request.deadLetterId !== '' || request.entryCursor === String(this.position + 1);
          if (!first) throw refusal('VERSION_CONFLICT');
          this.failures.push(request);
          const effect = this.onFail(request);
          if (effect === FailEntryEffect.RETRY) this.tries++;
          if (effect === FailEntryEffect.PARKED) this.move(this.position + 1);
          return { effect, retryDelay: durationFromMs(1), deadLetterId: 'parked' };
        },
        releaseConsumer: ({ parts }) => {
          this.released.push(parts.map(({ part }) => part).join() || 'all');
          this.#free = true;
          return {};
        },
      });
    });
  }

  /** Moves the cursor, as a commit does. */
  move(to: number): void {
    if (to > this.position) this.tries = 0;
    this.position = to;
  }

  #answer(maxEntries: number): MessageInitShape<typeof FetchEntriesResponseSchema> {
    const fromCursor = String(this.position);
    const again = this.letters.map((id): Delivery => ({ entry: entry(`of ${id}`), deadLetterId: id }));
    if (again.length > 0) return { deliveries: again, fromCursor, toCursor: fromCursor };
    const to = Math.min(this.head, this.position + maxEntries);
    const deliveries: Delivery[] = [];
    for (let at = this.position + 1; at <= to; at++) {
      deliveries.push({ entry: entry(String(at)), previousTries: at === this.position + 1 ? this.tries : 0 });
    }
    return { deliveries, fromCursor, toCursor: String(to) };
  }

  get #lease() {
    return this.expireTime ? { expireTime: this.expireTime } : {};
  }

  #fence(epoch: bigint | undefined): void {
    if (epoch !== this.epoch) throw refusal('EPOCH_CONFLICT');
  }
}

function entry(cursor: string): Delivery['entry'] {
  return { cursor, subject: cursor };
}

export function refusal(reason: string): ConnectError {
  const error = new ConnectError(reason.toLowerCase(), Code.FailedPrecondition);
  error.details.push({ desc: ErrorDetailSchema, value: create(ErrorDetailSchema, { reason }) });
  return error;
}

async function turns(most: number, signal: AbortSignal): Promise<void> {
  for (let turn = 0; turn < most && !signal.aborted; turn++) await new Promise(setImmediate);
}
