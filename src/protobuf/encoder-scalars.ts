/**
 * How the scalar types that Tailrace's messages are made of stand on the wire.
 *
 * Each takes exactly what a well-formed message holds and leaves everything else to the library, also what that would
 * convert, such as digits for an int64.
 */
import { ScalarType } from '@bufbuild/protobuf';
import type { BackwardWriter } from './backward-writer.js';
import { odd } from './odd.js';
import { BIT64, LENGTH_DELIMITED, VARINT } from './wire.js';

export interface Encoding {
  readonly wireType: number;
  /** Puts the value, and before it its length where it has one. */
  readonly put: (out: BackwardWriter, value: unknown) => void;
}

interface ScalarEncoding extends Encoding {
  /** Whether a field without presence that holds the value counts as not set. */
  readonly isZero: (value: unknown) => boolean;
}

const int32: ScalarEncoding = {
  wireType: VARINT,
  isZero: (value) => value === 0,
  put: (out, value) => {
    if (typeof value !== 'number' || (value | 0) !== value) throw odd;
    if (value >= 0) out.varint(value);
    else out.varint64(BigInt(value));
  },
};

const int64: ScalarEncoding = {
  wireType: VARINT,
  isZero: (value) => value === 0n,
  put: (out, value) => {
    if (typeof value !== 'bigint' || BigInt.asIntN(64, value) !== value) throw odd;
    out.varint64(value);
  },
};

const double: ScalarEncoding = {
  wireType: BIT64,
  isZero: (value) => Object.is(value, 0), // -0 is written
  put: (out, value) => {
    if (typeof value !== 'number') throw odd;
    out.double(value);
  },
};

const bool: ScalarEncoding = {
  wireType: VARINT,
  isZero: (value) => value === false,
  put: (out, value) => {
    if (typeof value !== 'boolean') throw odd;
    out.byte(value ? 1 : 0);
  },
};

export const string: ScalarEncoding = {
  wireType: LENGTH_DELIMITED,
  isZero: (value) => value === '',
  put: (out, value) => {
    if (typeof value !== 'string') throw odd;
    const before = out.written;
    out.text(value);
    out.varint(out.written - before);
  },
};

const bytes: ScalarEncoding = {
  wireType: LENGTH_DELIMITED,
  isZero: (value) => value instanceof Uint8Array && value.length === 0,
  put: (out, value) => {
    if (!(value instanceof Uint8Array)) throw odd;
    out.raw(value);
    out.varint(value.length);
  },
};

export const scalars: ReadonlyMap<ScalarType, ScalarEncoding> = new Map([
  [ScalarType.INT32, int32],
  [ScalarType.INT64, int64],
  [ScalarType.DOUBLE, double],
  [ScalarType.BOOL, bool],
  [ScalarType.STRING, string],
  [ScalarType.BYTES, bytes],
]);
