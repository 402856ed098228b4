/** Consumers over the generated clients: fetch, look at each entry, commit, until the end of the log or for as long as it grows. */
import { randomUUID } from 'node:crypto';
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import type { ConsumerLease } from '../../gen/tailrace/v1/consumer_pb.js';
import type { LogEntryKind } from '../../gen/tailrace/v1/log_pb.js';
import { msSince } from './since-recorded.js';
import { TailraceEvents } from './tailrace-events.js';

const LEASE_MS = 60_000;
const TAIL_WAIT_MS = 5_000;

export interface Follower {
  readonly name: string;
  readonly parts: number;
  /** Entries of one fetch at most. */
  readonly size: number;
  readonly kinds: readonly LogEntryKind[];
}

export class TailraceConsumers extends TailraceEvents {
  async put({ name, parts, kinds }: Follower): Promise<void> {
    await this.admin.putConsumer({ consumer: { name, partCount: parts, filter: { kinds: [...kinds] } } });
  }

  /** Takes every part and follows all of them at once, until so many entries are committed. */
  async follow(follower: Follower, entries: number): Promise<void> {
    let left = entries;
    const { leases, next } = await this.#acquire(follower);
    const read = async (lease: ConsumerLease) => {
      while (left > 0) {
        const { handled, moved } = await next(lease);
        if (!moved) return;
        left -= handled.length;
      }
    };
    await Promise.all(leases.map(read));
    if (left > 0) throw new Error(`${left} entries did not come`);
  }

  /** Takes every part and stays at the end of the log until close(). Told how long ago what it handled was recorded. */
  async tail(follower: Follower, onHandled: (ms: number[]) => void): Promise<void> {
    const { signal } = this.loops;
    const { leases, next } = await this.#acquire(follower, TAIL_WAIT_MS);
    const read = async (lease: ConsumerLease) => {
      while (!signal.aborted) {
        const { handled } = await next(lease);
        onHandled(msSince(handled.map(({ entry }) => entry?.createTime)));
      }
    };
    for (const lease of leases) this.loops.follow(read(lease));
  }

  /** Entries that it has still to handle, of all its parts. */
  async behind({ name }: Follower): Promise<number> {
    const { consumer } = await this.admin.getConsumer({ consumer: name }, { signal: this.loops.signal });
    return Math.max(0, ...(consumer?.generations ?? []).map(({ lag }) => Number(lag)));
  }

  /** Its parts, and how to handle what comes next in one: fetched, and committed. */
  async #acquire({ name, parts, size }: Follower, waitMs = 0) {
    const { signal } = this.loops;
    const ownerId = randomUUID();
    const leaseDuration = durationFromMs(LEASE_MS);
    const { leases } = await this.completions.acquireConsumer({
      consumer: name,
      ownerId,
      maxParts: parts,
      leaseDuration,
    });
    const next = async ({ part }: ConsumerLease) => {
      const held = { consumer: name, ownerId, ...(part && { part }) };
      const asked = { ...held, maxEntries: size, wait: durationFromMs(waitMs) };
      const { deliveries, fromCursor, toCursor } = await this.completions.fetchEntries(asked, { signal });
      const moved = toCursor !== fromCursor;
      if (moved) await this.completions.commitEntries({ ...held, fromCursor, toCursor }, { signal });
      return { handled: deliveries, moved };
    };
    return { leases, next };
  }
}
