/** Reads of executions what a claim does not tell: results that are left out for their size, and who made one. */
import type { Client } from '@connectrpc/connect';
import type { AdminService } from '../../gen/tailrace/v1/admin_service_pb.js';
import type { Execution } from '../../gen/tailrace/v1/execution_pb.js';
import { retrying } from '../client/retry.js';

const CALL_MS = 10_000;

export type AdminClient = Client<typeof AdminService>;

/** Repeats while the server is away, until the signal aborts; then it throws the signal's reason. */
export async function readExecution(
  admin: Pick<AdminClient, 'getExecution'>,
  request: { readonly namespace: string; readonly executionId: string },
  signal: AbortSignal,
): Promise<Execution | undefined> {
  try {
    const read = () => admin.getExecution(request, { signal, timeoutMs: CALL_MS });
    return (await retrying(read, { forMs: CALL_MS, signal })).execution;
  } catch (error) {
    signal.throwIfAborted();
    throw error;
  }
}
