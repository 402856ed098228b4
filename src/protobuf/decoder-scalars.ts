/** How the scalar types that Tailrace's messages are made of are read from the wire. */
import { ScalarType } from '@bufbuild/protobuf';
import type { ForwardReader } from './forward-reader.js';
import { odd } from './odd.js';
import { BIT64, LENGTH_DELIMITED, VARINT } from './wire.js';

export interface Decoding {
  readonly wireType: number;
  readonly take: (from: ForwardReader) => unknown;
}

const text: Decoding = { wireType: LENGTH_DELIMITED, take: (from) => from.text(from.uint32()) };

export const decodings: ReadonlyMap<ScalarType, Decoding> = new Map([
  [ScalarType.INT32, { wireType: VARINT, take: (from) => from.int32() }],
  [ScalarType.INT64, { wireType: VARINT, take: (from) => from.int64() }],
  [ScalarType.DOUBLE, { wireType: BIT64, take: (from) => from.double() }],
  [ScalarType.BOOL, { wireType: VARINT, take: (from) => isTrue(from.uint32()) }],
  [ScalarType.STRING, text],
  [ScalarType.BYTES, { wireType: LENGTH_DELIMITED, take: (from) => from.raw(from.uint32()) }],
]);

function isTrue(value: number): boolean {
  if (value > 1) throw odd;
  return value === 1;
}
