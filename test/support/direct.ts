/** Work put into the database without a server in between, as its services would: for tests of what lies below them. */

import { claimExecutions, type Granted, type Segment } from '../../src/repository/claims/index.js';
import type { Runner } from '../../src/repository/database.js';
import { type CreationAnswer, createExecutions, type NewExecution } from '../../src/repository/executions/index.js';
import type { Ending, LeaseRef } from '../../src/repository/leases/index.js';
import type { ClaimClass } from '../../src/repository/registry/index.js';
import { uuidV7 } from '../../src/runtime/random.js';

export const NAMESPACE = 1;

export function newExecution(classId: number, more: Partial<NewExecution> = {}): NewExecution {
  return {
    id: uuidV7(),
    namespace: NAMESPACE,
    class: classId,
    requestId: null,
    hash: Buffer.alloc(16),
    priority: 0,
    runAt: null,
    delayMs: null,
    ttlMs: null,
    deadline: null,
    timeoutMs: null,
    retry: { maxAttempts: null, initialMs: null, factor: null, capMs: null, maxReclaims: null, countLost: null },
    tags: {},
    input: null,
    redrive: null,
    flow: null,
    parent: null,
    concurrencyKey: null,
    ...more,
  };
}

export function addExecutions(
  runner: Runner,
  count: number,
  classId: number,
  more: Partial<NewExecution> = {},
): Promise<CreationAnswer[]> {
  return createExecutions(
    runner,
    Array.from({ length: count }, () => newExecution(classId, more)),
  );
}

/** The whole line of a class. */
export function wholeLine({ id, lane }: Pick<ClaimClass, 'id' | 'lane'>): Segment {
  return { class: id, lane, weight: 1, fromPriority: -1_000, fromSeq: 0n, toPriority: 1_001 };
}

export async function takeLeases(
  runner: Runner,
  limit: number,
  line: Pick<ClaimClass, 'id' | 'lane'>,
  { leaseMs = 600_000, ...from }: { leaseMs?: number; fromPriority?: number; fromSeq?: bigint } = {},
): Promise<Granted[]> {
  const holder = { namespace: NAMESPACE, instance: 'tester', name: 'tester', leaseMs, beginMs: null };
  return (await claimExecutions(runner, [{ ...wholeLine(line), ...from }], limit, holder)).granted;
}

export function heldBy({ execution, lease, token }: Granted): LeaseRef {
  return { namespace: NAMESPACE, execution, lease, token };
}

export function endingOf(granted: Granted, more: Partial<Ending> = {}): Ending {
  return {
    ...heldBy(granted),
    hash: Buffer.from('content'),
    failure: null,
    message: null,
    runAt: null,
    delayMs: null,
    content: null,
    ...more,
  };
}
