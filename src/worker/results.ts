/** Reads results that a claim leaves out for their size. */
import type { Client } from '@connectrpc/connect';
import type { AdminService } from '../../gen/tailrace/v1/admin_service_pb.js';
import { Content } from '../client/content.js';
import { retrying } from '../client/retry.js';

const CALL_MS = 10_000;

export type AdminClient = Client<typeof AdminService>;

/** Repeats while the server is away, until the signal aborts; then it throws the signal's reason. */
export async function readResult(
  admin: Pick<AdminClient, 'getExecution'>,
  request: { readonly namespace: string; readonly executionId: string },
  signal: AbortSignal,
): Promise<Content> {
  try {
    const read = () => admin.getExecution(request, { signal, timeoutMs: CALL_MS });
    const { execution } = await retrying(read, { forMs: CALL_MS, signal });
    return new Content(execution?.outcome?.result);
  } catch (error) {
    signal.throwIfAborted();
    throw error;
  }
}
