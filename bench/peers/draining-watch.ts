/**
 * A subscriber that takes everything and decodes nothing: what a hundred other machines are to the server. Speaks the
 * Connect protocol's streaming call on a connection of its own.
 */
import { connect } from 'node:http2';
import { create, toBinary } from '@bufbuild/protobuf';
import { WatchCompletionsRequestSchema } from '../../gen/tailrace/v1/completion_service_pb.js';
import { StartPosition } from '../../gen/tailrace/v1/log_pb.js';

export interface DrainingWatch {
  /** Bytes taken so far. */
  readonly taken: () => number;
  /** Whether the server has ended it, as it does with whoever does not keep up. */
  readonly cutOff: () => boolean;
  close(): void;
}

/** Resolves once the server has answered. */
export async function drainCompletions(url: string): Promise<DrainingWatch> {
  const session = connect(url);
  let taken = 0;
  let ended = false;
  await new Promise<void>((resolve, reject) => {
    session.on('error', reject);
    const stream = session.request({
      ':method': 'POST',
      ':path': '/tailrace.v1.CompletionService/WatchCompletions',
      'content-type': 'application/connect+proto',
      'connect-protocol-version': '1',
    });
    stream.on('error', reject);
    stream.on('response', (headers) => {
      if (headers[':status'] === 200) resolve();
      else reject(new Error(`a watch was answered with ${headers[':status']}`));
    });
    stream.on('data', (chunk: Buffer) => {
      taken += chunk.length;
    });
    stream.on('end', () => {
      ended = true;
    });
    stream.end(
      enveloped(
        toBinary(
          WatchCompletionsRequestSchema,
          create(WatchCompletionsRequestSchema, { start: StartPosition.EARLIEST }),
        ),
      ),
    );
  });
  return { taken: () => taken, cutOff: () => ended, close: () => session.destroy() };
}

/** A flag byte and the length, as every message of a streaming call begins. */
function enveloped(message: Uint8Array): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}
