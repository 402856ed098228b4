/** Content types and timeouts, as clients write them. */
import type { IncomingMessage } from 'node:http';
import { describe, expect, test } from 'vitest';
import { timeoutMsOf } from '../../../src/server/timeout.js';
import { type Wire, wireOf } from '../../../src/server/wire.js';

describe('a content type', () => {
  test.each([
    ['application/grpc', 'grpc', false, true],
    ['application/grpc+proto', 'grpc', false, true],
    ['application/grpc+json', 'grpc', true, true],
    ['application/grpc-web', 'grpc-web', false, true],
    ['application/grpc-web+json', 'grpc-web', true, true],
    ['application/connect+proto', 'connect', false, true],
    ['application/connect+json', 'connect', true, true],
    ['application/proto', 'connect', false, false],
    ['application/json', 'connect', true, false],
    ['Application/JSON; charset=UTF-8', 'connect', true, false],
    ['application/json;charset="utf-8";x=y', 'connect', true, false],
  ])('%s is %s', (contentType, protocol, json, enveloped) => {
    expect(wireOf(contentType)).toMatchObject({ protocol, json, enveloped });
  });

  test.each([
    undefined,
    '',
    'text/plain',
    'application/connect',
    'application/grpc-web-text',
    'application/json; charset=latin1',
  ])('%s is none', (contentType) => {
    expect(wireOf(contentType)).toBeUndefined();
  });
});

describe('a timeout', () => {
  const wires = { grpc: wireOf('application/grpc') as Wire, connect: wireOf('application/json') as Wire };
  const read = (wire: Wire, value?: string) =>
    timeoutMsOf({ headers: { [wire.timeoutHeader]: value } } as unknown as IncomingMessage, wire);

  test.each([
    ['1H', 3_600_000],
    ['2M', 120_000],
    ['3S', 3_000],
    ['40m', 40],
    ['5000u', 5],
    ['6000000n', 6],
    ['0S', 0],
    ['99999999H', undefined],
    [undefined, undefined],
  ])('of gRPC, %s', (value, ms) => {
    expect(read(wires.grpc, value)).toBe(ms);
  });

  test.each([
    ['1500', 1_500],
    ['0', 0],
    ['9999999999', undefined],
  ])('of Connect, %s', (value, ms) => {
    expect(read(wires.connect, value)).toBe(ms);
  });

  test.each(['', '1', 'S', '1.5S', '-1S', '123456789S', '1s', '1S, 2S'])('of gRPC is not %j', (value) => {
    expect(() => read(wires.grpc, value)).toThrow(expect.objectContaining({ reason: 'MALFORMED_REQUEST' }));
  });

  test.each(['', '1.5', '-1', '12345678901', '1S'])('of Connect is not %j', (value) => {
    expect(() => read(wires.connect, value)).toThrow(expect.objectContaining({ reason: 'MALFORMED_REQUEST' }));
  });
});
