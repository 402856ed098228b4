/** The decoder against the library: the same messages for all bytes, whole and broken, and the same errors. */
import { inspect, isDeepStrictEqual } from 'node:util';
import { create, type DescMessage, fromBinary, type Message, toBinary } from '@bufbuild/protobuf';
import { ValueSchema } from '@bufbuild/protobuf/wkt';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ClaimExecutionsResponseSchema } from '../../../gen/tailrace/v1/engine_service_pb.js';
import { PayloadSchema } from '../../../gen/tailrace/v1/payload_pb.js';
import { decodeBinary, decodeWellFormed } from '../../../src/protobuf/decoder.js';
import { foreign, ours } from '../../support/message-types.js';
import { messageOf } from '../../support/random-message.js';

const SHOWN = { depth: 6, maxStringLength: 100, maxArrayLength: 10 };

/** The smallest message of a kind takes minutes to find, and the seed is told. */
const UNSHRUNK = { endOnFailure: true };

/** Megabytes take a second, and several where the machine is slow or busy. */
const LONG_MS = 60_000;

type Decode = (schema: DescMessage, bytes: Uint8Array) => Message | undefined;

const kept: Decode = (schema, bytes) => decodeBinary(schema, bytes);
const dropped: Decode = (schema, bytes) => decodeBinary(schema, bytes, false);

const byLibrary: Decode = (schema, bytes) => fromBinary(schema, bytes);
const droppedByLibrary: Decode = (schema, bytes) => fromBinary(schema, bytes, { readUnknownFields: false });

/** What a call gives back or throws. */
function outcomeOf(decode: Decode, schema: DescMessage, bytes: Uint8Array): unknown {
  try {
    return decode(schema, bytes);
  } catch (error) {
    return String(error);
  }
}

/** Compared by Node itself: a matcher would take minutes to show how two long texts differ. */
function expectTheSame(schema: DescMessage, bytes: Uint8Array): void {
  for (const [ours, theirs] of [
    [kept, byLibrary],
    [dropped, droppedByLibrary],
  ] as const) {
    const [actual, expected] = [outcomeOf(ours, schema, bytes), outcomeOf(theirs, schema, bytes)];
    if (isDeepStrictEqual(actual, expected)) continue;
    expect(inspect(actual, SHOWN)).toBe(inspect(expected, SHOWN));
    throw new Error('they differ in what is not shown');
  }
}

describe('the same message as the library', () => {
  test.each(ours)('for %s, which is never left to it', (_, schema) => {
    fc.assert(
      fc.property(messageOf(schema), (message) => {
        const bytes = toBinary(schema, message);
        expect(isDeepStrictEqual(decodeWellFormed(schema, bytes), fromBinary(schema, bytes))).toBe(true);
        // As sockets give it, and not at the beginning of its memory.
        expectTheSame(schema, Buffer.concat([Buffer.from([1]), bytes]).subarray(1));
      }),
      { numRuns: 10, ...UNSHRUNK },
    );
  });

  test.each(foreign)('for %s', (_, schema) => {
    fc.assert(
      fc.property(messageOf(schema), (message) => expectTheSame(schema, toBinary(schema, message))),
      { numRuns: 10, ...UNSHRUNK },
    );
  });

  const lengths = [0, 23, 24, 25, 127, 128, 16_383, 16_384, 2_097_152];
  test.each(lengths)('for texts and bytes of %i', { timeout: LONG_MS }, (length) => {
    for (const value of ['x'.repeat(length), `${'x'.repeat(length)}é`, '\u20ac'.repeat(length), `\ufeff${length}`]) {
      const claim = {
        executionId: 'an id',
        input: { body: { case: 'text' as const, value } },
        tags: { [value]: value },
      };
      const message = create(ClaimExecutionsResponseSchema, { claims: [claim, claim] });
      expectTheSame(ClaimExecutionsResponseSchema, toBinary(ClaimExecutionsResponseSchema, message));
    }
  });

  test('for a map whose key is a name that objects have', () => {
    const bytes = toBinary(ClaimExecutionsResponseSchema, claimTagged('constructor'));
    expectTheSame(ClaimExecutionsResponseSchema, bytes);
    expectTheSame(ClaimExecutionsResponseSchema, Buffer.from(bytes.toString().replaceAll('constructor', '__proto__')));
    const named = Buffer.from(toBinary(ClaimExecutionsResponseSchema, claimTagged('123456789')));
    const asked = Buffer.from(named.toString('latin1').replaceAll('123456789', '__proto__'), 'latin1');
    expectTheSame(ClaimExecutionsResponseSchema, asked);
  });

  test('one message after the other shares nothing', () => {
    const bytes = toBinary(PayloadSchema, create(PayloadSchema, { contentType: 'one' }));
    const [first, second] = [decodeBinary(PayloadSchema, bytes), decodeBinary(PayloadSchema, bytes)];
    first.body = { case: 'text', value: 'changed' };
    expect(second.body.case).toBeUndefined();
    expect(decodeBinary(PayloadSchema, bytes).body.case).toBeUndefined();
  });
});

describe('the same outcome as the library', () => {
  test.each(ours)('for bytes of %s in which something is broken', (_, schema) => {
    fc.assert(
      fc.property(messageOf(schema), fc.nat(), fc.nat(255), fc.nat(2), (message, where, byte, how) => {
        const bytes = Buffer.from(toBinary(schema, message));
        const at = where % (bytes.length + 1);
        const parts = [bytes.subarray(0, at), Buffer.from([byte]), bytes.subarray(at + (how === 1 ? 1 : 0))];
        expectTheSame(schema, how === 0 ? bytes.subarray(0, at) : Buffer.concat(parts));
      }),
      { numRuns: 10, ...UNSHRUNK },
    );
  });

  test.each(ours)('for any bytes as %s', (_, schema) => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => expectTheSame(schema, bytes)),
      { numRuns: 10, ...UNSHRUNK },
    );
  });

  test('for a message that is written in two parts', () => {
    const parts = [
      create(ClaimExecutionsResponseSchema, { claims: [{ input: { contentType: 'one' } }] }),
      create(ClaimExecutionsResponseSchema, { claims: [{ input: { body: { case: 'text', value: 'two' } } }] }),
    ].map((message) => Buffer.from(toBinary(ClaimExecutionsResponseSchema, message)));
    expectTheSame(ClaimExecutionsResponseSchema, Buffer.concat(parts));
    const [one = Buffer.alloc(0), two = Buffer.alloc(0)] = parts.map((part) => part.subarray(2));
    const claim = Buffer.concat([Buffer.from([10, one.length + two.length]), one, two]);
    expectTheSame(ClaimExecutionsResponseSchema, claim);
  });

  test.each([10, 99, 100, 101, 150])('for messages in each other, %i deep', (depth) => {
    let bytes: Uint8Array = toBinary(ValueSchema, create(ValueSchema, { kind: { case: 'boolValue', value: true } }));
    for (let level = 0; level < depth; level++) bytes = wrapped(6, wrapped(1, bytes));
    expectTheSame(ValueSchema, bytes);
  });
});

function claimTagged(key: string) {
  return create(ClaimExecutionsResponseSchema, { claims: [{ executionId: 'an id', tags: { [key]: 'value' } }] });
}

/** As a field of that number. */
function wrapped(number: number, bytes: Uint8Array): Uint8Array {
  const length: number[] = [];
  for (let rest = bytes.length; ; rest >>>= 7) {
    length.push(rest > 0x7f ? (rest & 0x7f) | 0x80 : rest);
    if (rest <= 0x7f) break;
  }
  return Buffer.concat([Buffer.from([(number << 3) | 2, ...length]), bytes]);
}
