/** Reads what a claim leaves out for its size: results of executions, payloads of events. */
import type { Client } from '@connectrpc/connect';
import type { AdminService } from '../../gen/tailrace/v1/admin_service_pb.js';
import { Content } from '../client/content.js';
import { retrying } from '../client/retry.js';
import type { EngineClient } from './engine-client.js';
import type { Source } from './joined-inputs.js';

const CALL_MS = 10_000;

export interface Readers {
  readonly admin: Pick<Client<typeof AdminService>, 'getExecution'>;
  readonly engine: Pick<EngineClient, 'getEvent'>;
  readonly namespace: string;
}

/** Repeats while the server is away, until the signal aborts; then it throws the signal's reason. */
export async function readSource(
  { admin, engine, namespace }: Readers,
  { executionId, eventId }: Source,
  signal: AbortSignal,
): Promise<Content> {
  const bounds = { signal, timeoutMs: CALL_MS };
  const read = async () => {
    if (eventId !== '') return (await engine.getEvent({ namespace, eventId }, bounds)).event?.payload;
    return (await admin.getExecution({ namespace, executionId }, bounds)).execution?.outcome?.result;
  };
  try {
    return new Content(await retrying(read, { forMs: CALL_MS, signal }));
  } catch (error) {
    signal.throwIfAborted();
    throw error;
  }
}
