/** Executions of one concurrency key, and lanes emptied of them. */
import type { ExecutionSpec } from '../../gen/tailrace/v1/execution_pb.js';
import type { ExecutionState } from '../../gen/tailrace/v1/execution_state_pb.js';
import type { Init } from './by-hand.js';
import { WaitsByHand } from './waits-by-hand.js';

export const from = (lane: string) => ({ lanes: [{ lane }] });

export class KeyedByHand extends WaitsByHand {
  /** So many of key `k`; their ids in the order of creation. */
  async keyed(lane: string, count: number, more: Init<ExecutionSpec> = {}): Promise<string[]> {
    return await this.create(...Array.from({ length: count }, () => ({ lane, concurrencyKey: 'k', ...more })));
  }

  async statesOf(ids: readonly string[]): Promise<ExecutionState[]> {
    return await Promise.all(ids.map((id) => this.state(id)));
  }

  /** Claims and completes so many, one by one; the order in which they came. */
  async drain(lane: string, count: number): Promise<string[]> {
    const order: string[] = [];
    while (order.length < count) {
      const claim = await this.claimOne(from(lane));
      order.push(claim.executionId);
      await this.complete(claim);
    }
    return order;
  }

  /** Completes so many, in whatever order. */
  async finish(lane: string, count: number): Promise<void> {
    for (let left = count; left > 0; ) {
      const claims = await this.claim({ ...from(lane), maxExecutions: 50 });
      await Promise.all(claims.map((claim) => this.complete(claim)));
      left -= claims.length;
    }
  }
}
