/** Consumers, and what their owners do with a part, one step at a time. */
import { randomUUID } from 'node:crypto';
import type {
  AcquireConsumerRequest,
  CommitEntriesRequest,
  FailEntryRequest,
  FetchEntriesRequest,
  FetchEntriesResponse,
} from '../../gen/tailrace/v1/completion_service_pb.js';
import type { Consumer, ConsumerDelivery, ConsumerLease, ConsumerSpec } from '../../gen/tailrace/v1/consumer_pb.js';
import { type LogEntry, LogEntryKind } from '../../gen/tailrace/v1/log_pb.js';
import type { Init } from './by-hand.js';
import { EventsByHand } from './events-by-hand.js';
import type { Clients } from './tailrace.js';

export class ConsumersByHand extends EventsByHand {
  /** From the beginning of the log, of events only, unless it is told otherwise. */
  async consumer(name: string, more: Omit<Init<ConsumerSpec>, 'name'> = {}): Promise<Consumer> {
    const consumer = { name, filter: { kinds: [LogEntryKind.EVENT_PUBLISHED] }, ...more };
    const answer = await this.clients.admin.putConsumer({ consumer });
    if (answer.consumer === undefined) throw new Error('an answer without a consumer');
    return answer.consumer;
  }

  member(consumer: string, clients: Clients = this.clients): Member {
    return new Member(clients, consumer);
  }

  /** A member that has taken the only part. */
  async owner(consumer: string, more: Init<AcquireConsumerRequest> = {}): Promise<Owner> {
    const [owner] = await this.member(consumer).acquire(more);
    if (owner === undefined) throw new Error('no part was acquired');
    return owner;
  }
}

export class Member {
  readonly ownerId = randomUUID();

  constructor(
    readonly clients: Clients,
    readonly consumer: string,
  ) {}

  /** Everything it holds then. */
  async acquire(more: Init<AcquireConsumerRequest> = {}): Promise<Owner[]> {
    const { consumer, ownerId } = this;
    const { leases } = await this.clients.completion.acquireConsumer({ consumer, ownerId, maxParts: 256, ...more });
    return leases.map((lease) => new Owner(this, lease));
  }

  async release(): Promise<number> {
    const { consumer, ownerId } = this;
    return (await this.clients.completion.releaseConsumer({ consumer, ownerId })).releasedCount;
  }
}

/** Of one part. */
export class Owner {
  cursor: string;

  constructor(
    readonly member: Member,
    readonly lease: ConsumerLease,
  ) {
    this.cursor = lease.cursor;
  }

  get held() {
    const { generation = 0n, part = 0, epoch = 0n } = this.lease.part ?? {};
    return { consumer: this.member.consumer, ownerId: this.member.ownerId, part: { generation, part, epoch } };
  }

  async fetch(more: Init<FetchEntriesRequest> = {}): Promise<FetchEntriesResponse> {
    return await this.member.clients.completion.fetchEntries({ ...this.held, ...more });
  }

  async commit(answer: FetchEntriesResponse, more: Init<CommitEntriesRequest> = {}) {
    const { fromCursor, toCursor, deliveries } = answer;
    const deadLetterIds = deliveries.map(({ deadLetterId }) => deadLetterId).filter((id) => id !== '');
    const asked = { ...this.held, fromCursor, toCursor, deadLetterIds, ...more };
    const committed = await this.member.clients.completion.commitEntries(asked);
    this.cursor = committed.cursor;
    return committed;
  }

  async fail({ entry, previousTries, deadLetterId }: ConsumerDelivery, more: Init<FailEntryRequest> = {}) {
    const entryCursor = entry?.cursor ?? '';
    const failure = { message: 'it does not work' };
    const asked = { ...this.held, entryCursor, previousTries, deadLetterId, failure, ...more };
    return await this.member.clients.completion.failEntry(asked);
  }

  /** Fetches and commits until nothing is left. */
  async drain(more: Init<FetchEntriesRequest> = {}): Promise<LogEntry[]> {
    const entries: LogEntry[] = [];
    for (;;) {
      const answer = await this.fetch(more);
      entries.push(...entriesOf(answer));
      if (answer.fromCursor === answer.toCursor) return entries;
      await this.commit(answer);
    }
  }
}

export function entriesOf({ deliveries }: FetchEntriesResponse): LogEntry[] {
  return deliveries.flatMap(({ entry }) => (entry ? [entry] : []));
}

export function payloadsOf(entries: readonly LogEntry[]): unknown[] {
  return entries.map(({ body }) => (body.case === 'event' ? body.value.payload?.body.value : undefined));
}
