/** The encoder against the library: the same bytes for every message, and the same errors. */
import { create, type DescMessage, type Message, toBinary } from '@bufbuild/protobuf';
import { type Value, ValueSchema } from '@bufbuild/protobuf/wkt';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ClaimExecutionsResponseSchema } from '../../../gen/tailrace/v1/engine_service_pb.js';
import { LogEntrySchema } from '../../../gen/tailrace/v1/log_pb.js';
import { type Payload, PayloadSchema } from '../../../gen/tailrace/v1/payload_pb.js';
import { encodeBinary, encodeWellFormed } from '../../../src/protobuf/encoder.js';
import { foreign, ours } from '../../support/message-types.js';
import { messageOf } from '../../support/random-message.js';

/** Megabytes take a second, and several where the machine is slow or busy. */
const LONG_MS = 60_000;

type Encode = (schema: DescMessage, message: Message) => Uint8Array | undefined;

/** What a call gives back or throws, as a text to compare: of bytes a matcher would compare each by itself. */
function outcomeOf(encode: Encode, schema: DescMessage, message: Message): string {
  try {
    const bytes = encode(schema, message);
    return bytes ? Buffer.from(bytes).toString('latin1') : 'left to the library';
  } catch (error) {
    return String(error);
  }
}

function expectTheSame(schema: DescMessage, message: Message, encode: Encode = encodeBinary): void {
  const [expected, actual] = [outcomeOf(toBinary, schema, message), outcomeOf(encode, schema, message)];
  if (actual !== expected) expect(actual.slice(0, 2_000)).toBe(expected.slice(0, 2_000));
  expect(actual === expected).toBe(true);
}

describe('the same bytes as the library', () => {
  test.each(ours)('for %s, which is never left to it', (_, schema) => {
    fc.assert(
      fc.property(messageOf(schema), (message) => {
        expectTheSame(schema, message, encodeWellFormed);
      }),
      { numRuns: 40 },
    );
  });

  test.each(foreign)('for %s', (_, schema) => {
    fc.assert(
      fc.property(messageOf(schema), (message) => expectTheSame(schema, message)),
      { numRuns: 40 },
    );
  });

  test('for fields unknown here, at any depth', () => {
    const payload = create(PayloadSchema, { contentType: 'text/plain' });
    payload.$unknown = [{ no: 99, wireType: 0, data: new Uint8Array([7]) }];
    expectTheSame(PayloadSchema, payload);
    expectTheSame(
      ClaimExecutionsResponseSchema,
      create(ClaimExecutionsResponseSchema, { claims: [{ input: payload }] }),
    );
  });

  // Around the lengths that need one byte more, and around the size of the buffer.
  test.each([0, 39, 40, 41, 126, 127, 128, 16_382, 16_383, 16_384, 65_520, 65_530, 65_536, 2_097_152, 5_000_000])(
    'for texts and bytes of %i',
    { timeout: LONG_MS },
    (length) => {
      const bodies: Payload['body'][] = [
        { case: 'text', value: 'x'.repeat(length) },
        { case: 'text', value: `${'x'.repeat(length)}é` },
        { case: 'text', value: '\u20ac'.repeat(length) },
        { case: 'data', value: new Uint8Array(length).fill(length) },
      ];
      for (const body of bodies) {
        const claim = { executionId: 'an id', input: { contentType: 'text/plain', body }, tags: { size: `${length}` } };
        expectTheSame(ClaimExecutionsResponseSchema, create(ClaimExecutionsResponseSchema, { claims: [claim, claim] }));
      }
    },
  );

  test('one message after the other, each in bytes of its own', () => {
    const first = encodeBinary(PayloadSchema, create(PayloadSchema, { contentType: 'one' }));
    const second = encodeBinary(PayloadSchema, create(PayloadSchema, { contentType: 'two' }));
    expect([first, second].map((bytes) => Buffer.from(bytes).toString('latin1'))).toEqual(['\n\x03one', '\n\x03two']);
  });
});

describe('the same outcome as the library', () => {
  const odd = fc.constantFrom<unknown>(
    ...[undefined, null, true, 1, -0, 0.5, Number.NaN, 2 ** 31, -(2 ** 31) - 1, 2 ** 53, 5n, 2n ** 63n, -(2n ** 64n)],
    ...[
      '',
      '0',
      '17',
      'text',
      [],
      [undefined],
      ['1'],
      {},
      { case: 'text' },
      { length: 0 },
      new Uint8Array(3),
      new Map(),
    ],
    ...[create(PayloadSchema), { $typeName: 'tailrace.v1.Payload' }, Symbol.iterator, () => 1],
  );

  test.each(ours)('for an odd value somewhere in %s', (_, schema) => {
    fc.assert(
      fc.property(messageOf(schema), odd, fc.nat(), (message, value, where) => {
        const holders = objectsIn(message);
        const holder = holders[where % holders.length] ?? {};
        const names = Object.keys(holder);
        const name = names[where % names.length];
        if (name !== undefined) holder[name] = value;
        expectTheSame(schema, message);
      }),
      { numRuns: 20 },
    );
  });

  test('for a message of another type', () => {
    expectTheSame(LogEntrySchema, create(PayloadSchema, { contentType: 'text/plain' }));
  });

  test('for a message nested deeper than the stack, and for the next one', () => {
    let value: Value = create(ValueSchema, { kind: { case: 'boolValue', value: true } });
    for (let depth = 0; depth < 50_000; depth++) {
      value = create(ValueSchema, { kind: { case: 'listValue', value: { values: [value] } } });
    }
    expect(() => encodeBinary(ValueSchema, value)).toThrow(RangeError);
    expectTheSame(ValueSchema, create(ValueSchema, { kind: { case: 'numberValue', value: -0 } }));
  });
});

/** The message, the messages and lists in it, and what they hold. */
function objectsIn(value: unknown): Record<string, unknown>[] {
  if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value)) return [];
  return [value as Record<string, unknown>, ...Object.values(value).flatMap(objectsIn)];
}
