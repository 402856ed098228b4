/**
 * Arrays as Postgres reads them in binary. As text, every element is escaped here and parsed there; for a batch of 500
 * items with a dozen columns that costs more than the insert of some of them.
 *
 * The statement must cast the parameter to the array's type: the bytes name the element's type, and Postgres checks it.
 */

const OID = { bytea: 17, int8: 20, int2: 21, int4: 23, text: 25, float8: 701, uuid: 2950 } as const;

/** One dimension, lower bound 1, a length before each element (−1 for null). */
function arrayOf(
  oid: number,
  lengths: readonly number[],
  write: (target: Buffer, at: number, index: number) => void,
): Buffer {
  const HEADER = 20;
  const hasNull = lengths.includes(-1);
  const size = lengths.reduce((sum, length) => sum + 4 + Math.max(0, length), HEADER);
  const target = Buffer.allocUnsafe(size);
  target.writeInt32BE(lengths.length === 0 ? 0 : 1, 0);
  target.writeInt32BE(hasNull ? 1 : 0, 4);
  target.writeInt32BE(oid, 8);
  if (lengths.length === 0) return target.subarray(0, 12);
  target.writeInt32BE(lengths.length, 12);
  target.writeInt32BE(1, 16);
  let at = HEADER;
  lengths.forEach((length, index) => {
    target.writeInt32BE(length, at);
    at += 4;
    if (length < 0) return;
    write(target, at, index);
    at += length;
  });
  return target;
}

export function uuidArray(values: readonly (string | null)[]): Buffer {
  return arrayOf(
    OID.uuid,
    values.map((value) => (value === null ? -1 : 16)),
    (target, at, index) => {
      const value = values[index] ?? '';
      target.write(value.replaceAll('-', ''), at, 16, 'hex');
    },
  );
}

export function int8Array(values: readonly (bigint | number | null)[]): Buffer {
  return arrayOf(
    OID.int8,
    values.map((value) => (value === null ? -1 : 8)),
    (target, at, index) => {
      target.writeBigInt64BE(BigInt(values[index] ?? 0), at);
    },
  );
}

export function int2Array(values: readonly (number | null)[]): Buffer {
  return arrayOf(
    OID.int2,
    values.map((value) => (value === null ? -1 : 2)),
    (target, at, index) => {
      target.writeInt16BE(values[index] ?? 0, at);
    },
  );
}

export function int4Array(values: readonly (number | null)[]): Buffer {
  return arrayOf(
    OID.int4,
    values.map((value) => (value === null ? -1 : 4)),
    (target, at, index) => {
      target.writeInt32BE(values[index] ?? 0, at);
    },
  );
}

export function float8Array(values: readonly (number | null)[]): Buffer {
  return arrayOf(
    OID.float8,
    values.map((value) => (value === null ? -1 : 8)),
    (target, at, index) => {
      target.writeDoubleBE(values[index] ?? 0, at);
    },
  );
}

export function byteaArray(values: readonly (Uint8Array | null)[]): Buffer {
  return arrayOf(
    OID.bytea,
    values.map((value) => value?.length ?? -1),
    (target, at, index) => {
      target.set(values[index] ?? [], at);
    },
  );
}

export function textArray(values: readonly (string | null)[]): Buffer {
  return arrayOf(
    OID.text,
    values.map((value) => (value === null ? -1 : Buffer.byteLength(value))),
    (target, at, index) => {
      target.write(values[index] ?? '', at);
    },
  );
}

/** Null as a whole where no item has any, for a column that costs nothing then; `encode` by default as the driver does. */
export function sparse<T>(values: readonly (T | null)[], encode?: (values: readonly (T | null)[]) => Buffer): unknown {
  if (values.every((value) => value === null)) return null;
  return encode ? encode(values) : values;
}
