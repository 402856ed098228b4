/** What comes from outside is checked once: everything wrong is said at once, by the contract's own names. */
import { create } from '@bufbuild/protobuf';
import { ValueSchema } from '@bufbuild/protobuf/wkt';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { ExecutionStateSchema } from '../../../gen/tailrace/v1/execution_state_pb.js';
import { PayloadSchema } from '../../../gen/tailrace/v1/payload_pb.js';
import { EngineError } from '../../../src/domain/errors.js';
import { fromPayload, toPayload } from '../../../src/services/conversion/payload.js';
import { fromDuration, fromTimestamp, toDuration, toTimestamp } from '../../../src/services/conversion/times.js';
import * as rules from '../../../src/services/validation.js';

const schema = z.object({
  namespace: rules.namespace,
  executionId: rules.id,
  pageSize: rules.pageSize,
  runTime: rules.timestamp,
  attemptTimeout: rules.duration(100, 30 * rules.DAY_MS),
  tags: rules.tags,
  states: rules.enumNumbers(ExecutionStateSchema),
  items: rules.list(z.object({ laneName: rules.lane }), 2),
  input: rules.payload(8),
  traceContext: rules.traceContext,
});

const good: z.input<typeof schema> = {
  namespace: '',
  executionId: '0198A0A0-0000-7000-8000-000000000001',
  pageSize: 0,
  runTime: undefined,
  attemptTimeout: toDuration(1500),
  tags: { customer: '7' },
  states: [4, 3, 3],
  items: [{ laneName: 'mail' }],
  input: undefined,
  traceContext: undefined,
};

function refusalOf(changes: Partial<z.input<typeof schema>>): EngineError {
  try {
    rules.validate(schema, { ...good, ...changes });
  } catch (error) {
    if (error instanceof EngineError) return error;
  }
  throw new Error('it was accepted');
}

describe('validate', () => {
  it('answers completed values', () => {
    expect(rules.validate(schema, good)).toEqual({
      namespace: 'default',
      executionId: '0198a0a0-0000-7000-8000-000000000001',
      pageSize: 50,
      runTime: null,
      attemptTimeout: 1500,
      tags: { customer: '7' },
      states: [3, 4],
      items: [{ laneName: 'mail' }],
      input: null,
    });
  });

  it('names every violation by the path of the contract', () => {
    const refused = refusalOf({
      namespace: '*',
      executionId: 'seven',
      pageSize: 1001,
      runTime: toTimestamp(new Date(-1)),
      attemptTimeout: toDuration(99),
      tags: { a: 'b\0', ['k'.repeat(65)]: '' },
      states: [4, 99],
      items: [{ laneName: 'fine' }, { laneName: 'ü'.repeat(33) }],
    });
    expect(refused.reason).toBe('INVALID_FIELD');
    expect(refused.violations).toEqual([
      { field: 'namespace', description: 'must name one namespace; it is "*"' },
      { field: 'execution_id', description: 'must be a UUID; it is "seven"' },
      { field: 'page_size', description: 'must be from 1 to 1000; it is 1001' },
      { field: 'run_time', description: expect.stringContaining('from 1970 to a hundred years from now') },
      { field: 'attempt_timeout', description: 'must be from 0.1 s to 30 d; it is 0 s and 99000000 ns' },
      { field: 'tags["a"]', description: 'must not contain the character NUL' },
      { field: expect.stringMatching(/^tags\["k+…"\]$/), description: 'key must have at most 64 bytes; it has 65' },
      { field: 'states[1]', description: 'must be one of the values of ExecutionState; it is 99' },
      { field: 'items[1].lane_name', description: 'must have at most 64 bytes; it has 66' },
    ]);
  });

  it('puts the place of an item before its fields', () => {
    const item = z.object({ laneName: rules.lane });
    expect(() => rules.validate(item, { laneName: '' }, 'executions[3]')).toThrow(
      'executions[3].lane_name is required',
    );
  });

  it.each([
    ['half a surrogate pair', { executionId: good.executionId, namespace: '\ud800' }],
    ['far future', { runTime: toTimestamp(new Date(8e15)) }],
    ['nanoseconds beyond a second', { runTime: { ...toTimestamp(new Date(0)), nanos: 1e9 } }],
    ['a span of two signs', { attemptTimeout: { ...toDuration(5000), nanos: -1 } }],
    ['negative', { pageSize: -1 }],
    ['too many items', { items: [{ laneName: 'a' }, { laneName: 'b' }, { laneName: 'c' }] }],
    ['a fraction', { pageSize: 1.5 }],
    ['a value of no kind', { input: create(PayloadSchema, { body: { case: 'json', value: create(ValueSchema) } }) }],
  ])('refuses %s', (_, changes) => {
    expect(refusalOf(changes)).toMatchObject({ reason: 'INVALID_FIELD', violations: [expect.anything()] });
  });

  it('tells what is too large only when nothing is malformed', () => {
    const input = create(PayloadSchema, { body: { case: 'text', value: 'more than 8' } });
    expect(refusalOf({ input })).toMatchObject({
      reason: 'PAYLOAD_TOO_LARGE',
      metadata: { field: 'input', limit: '8', size: '11' },
    });
    expect(refusalOf({ input, pageSize: -1 })).toMatchObject({
      reason: 'INVALID_FIELD',
      violations: [{ field: 'page_size' }],
    });
  });

  it('takes anything among the selected values as no selection', () => {
    expect(rules.validate(schema, { ...good, states: [4, 0] }).states).toEqual([]);
  });
});

describe('payloads', () => {
  it.each([
    ['text/plain', 'text'],
    ['application/json; charset=utf-8', 'text'],
    ['application/vnd.x+json', 'text'],
    ['image/svg+xml', 'text'],
    ['application/octet-stream', 'data'],
    ['', 'data'],
  ])('come as what their type says: %s', (type, kind) => {
    expect(toPayload(type, Buffer.from('{}')).body.case).toBe(kind);
  });

  it('come as bytes where a textual type holds none', () => {
    expect(toPayload('text/plain', Uint8Array.of(0xff)).body.case).toBe('data');
  });

  it('are stored byte for byte, JSON as its compact text', () => {
    const text = '\ufeffé\0';
    expect(
      toPayload(
        'text/plain',
        fromPayload(create(PayloadSchema, { body: { case: 'text', value: text } }))?.body ?? Buffer.of(),
      ).body.value,
    ).toBe(text);
    const json = create(ValueSchema, { kind: { case: 'numberValue', value: 1.5 } });
    expect(fromPayload(create(PayloadSchema, { body: { case: 'json', value: json } }))).toEqual({
      type: 'application/json',
      body: Buffer.from('1.5'),
    });
    expect(fromPayload(create(PayloadSchema))).toEqual({ type: 'application/octet-stream', body: Buffer.of() });
  });
});

describe('times', () => {
  it.each([0, 1, 999, 1000, 1722470400123])('keep milliseconds: %d', (ms) => {
    expect(fromTimestamp(toTimestamp(new Date(ms))).getTime()).toBe(ms);
    expect(fromDuration(toDuration(ms))).toBe(ms);
    expect(fromDuration(toDuration(-ms)) + ms).toBe(0);
  });
});
