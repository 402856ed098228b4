/** Messages of a type to bytes and back, with the errors that a call ends with when that fails. */
import type { DescMessage, MessageShape } from '@bufbuild/protobuf';
import { Code, ConnectError } from '@connectrpc/connect';
import { decodeBinary } from '../protobuf/decoder.js';
import { encodeBinary } from '../protobuf/encoder.js';

export interface Serialization<T> {
  readonly serialize: (message: T) => Uint8Array<ArrayBuffer>;
  readonly parse: (bytes: Uint8Array) => T;
}

export function serializationOf<D extends DescMessage>(schema: D): Serialization<MessageShape<D>> {
  return {
    serialize: (message) => telling('serialize', () => encodeBinary(schema, message)),
    parse: (bytes) => telling('parse', () => decodeBinary(schema, bytes)),
  };
}

function telling<T>(what: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw new ConnectError(`${what} binary: ${error instanceof Error ? error.message : error}`, Code.Internal);
  }
}
