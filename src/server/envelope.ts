/** The prefix of five bytes that gRPC, gRPC-Web and Connect streams put before each message: flags, then length. */
import { EngineError } from '../domain/errors.js';

export const PREFIX_BYTES = 5;
export const COMPRESSED = 0b0000_0001;
/** The last envelope of a Connect stream, which holds JSON with the error, if any. */
export const CONNECT_END = 0b0000_0010;
/** The last envelope of gRPC-Web, which holds the trailers as text. */
export const GRPC_WEB_TRAILERS = 0b1000_0000;

export interface Prefix {
  readonly compressed: boolean;
  readonly length: number;
}

export function envelope(message: Uint8Array, flags = 0): Buffer {
  const framed = Buffer.allocUnsafe(PREFIX_BYTES + message.length);
  framed[0] = flags;
  framed.writeUInt32BE(message.length, 1);
  framed.set(message, PREFIX_BYTES);
  return framed;
}

/** `bytes` must hold at least the prefix. Requests have no flag but the one for compression. */
export function prefixOf(bytes: Buffer, mostBytes: number): Prefix {
  const flags = bytes.readUInt8(0);
  const length = bytes.readUInt32BE(1);
  if ((flags & ~COMPRESSED) !== 0) throw new EngineError('MALFORMED_REQUEST', `envelope flags ${flags} are not known`);
  if (length > mostBytes) throw tooLarge(mostBytes);
  return { compressed: flags === COMPRESSED, length };
}

export function tooLarge(mostBytes: number): EngineError {
  return new EngineError('PAYLOAD_TOO_LARGE', `a message may have at most ${mostBytes} bytes`, {
    metadata: { limit: String(mostBytes) },
  });
}
