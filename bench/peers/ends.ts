/**
 * What a completion stream delivers, over as many streams as it takes: a server ends that of a watcher which does not keep
 * up, as one that shares its cores with everything else may for a moment, and he goes on from where he was.
 */
import type { Client } from '@connectrpc/connect';
import type { CompletionService, WatchCompletionsResponse } from '../../gen/tailrace/v1/completion_service_pb.js';
import type { StartPosition } from '../../gen/tailrace/v1/log_pb.js';
import { asTailraceError } from '../../src/client/errors.js';

export async function* endsFrom(
  start: StartPosition,
  completions: Client<typeof CompletionService>,
  signal: AbortSignal,
): AsyncGenerator<WatchCompletionsResponse, void> {
  let from: { start: StartPosition } | { cursor: string } = { start };
  for (;;) {
    try {
      const stream: AsyncIterable<WatchCompletionsResponse> = completions.watchCompletions(from, { signal });
      for await (const message of stream) {
        yield message;
        const cursor = message.entries.at(-1)?.cursor ?? message.heartbeat?.cursor;
        if (cursor !== undefined) from = { cursor };
      }
      return;
    } catch (error) {
      if (asTailraceError(error).reason !== 'STREAM_TOO_SLOW') throw error;
    }
  }
}
