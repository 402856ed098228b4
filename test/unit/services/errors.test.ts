/** The table of reasons, and that what a client gets holds every fact and no secret. */
import { fromBinary, toBinary } from '@bufbuild/protobuf';
import { Code } from '@connectrpc/connect';
import { describe, expect, test } from 'vitest';
import { ErrorCode, ErrorDetailSchema, ItemErrorSchema } from '../../../gen/tailrace/v1/error_pb.js';
import { EngineError, REASONS } from '../../../src/domain/errors.js';
import { asEngineError, codeOf, toConnectError, toItemError } from '../../../src/services/errors.js';

function recorder() {
  const lines: object[] = [];
  return { lines, error: (fields: object) => void lines.push(fields) };
}

describe('the table', () => {
  test.each(REASONS)('%s has a code of the gRPC list', (reason) => {
    expect(Code[codeOf(reason)]).toBeDefined();
  });

  test('ErrorCode repeats the numbers of gRPC', () => {
    const snake = (name: string) => name.replace(/[a-z](?=[A-Z])/g, '$&_').toUpperCase();
    for (const [name, code] of Object.entries(Code).filter(([, value]) => typeof value === 'number')) {
      expect(ErrorCode[code as number], name).toBe(snake(name));
    }
  });
});

describe('a refusal', () => {
  const refused = new EngineError('CONTENTION', 'met others, repeat it', {
    metadata: { statement: 'executions.claim' },
    retryDelayMs: 1_500,
    violations: [{ field: 'executions[3].lane', description: 'is 80 bytes long, at most 64 are allowed' }],
  });

  test('carries its detail over the wire', () => {
    const error = toConnectError(refused);
    expect(error.code).toBe(Code.Aborted);
    expect(error.rawMessage).toBe('met others, repeat it');
    const [detail] = error.findDetails(ErrorDetailSchema);
    if (!detail) throw new Error('no detail');
    const read = fromBinary(ErrorDetailSchema, toBinary(ErrorDetailSchema, detail));
    expect(read.reason).toBe('CONTENTION');
    expect(read.metadata).toEqual({ statement: 'executions.claim' });
    expect(read.retryDelay).toMatchObject({ seconds: 1n, nanos: 500_000_000 });
    expect(read.fieldViolations).toMatchObject(refused.violations);
  });

  test('of an item is the same, with its code inside', () => {
    const item = fromBinary(ItemErrorSchema, toBinary(ItemErrorSchema, toItemError(refused)));
    expect(item.code).toBe(ErrorCode.ABORTED);
    expect(item.detail?.reason).toBe('CONTENTION');
  });

  test('with a thousand violations stays small enough for trailers, and says what it left out', () => {
    const violations = Array.from({ length: 1_000 }, (_, i) => ({
      field: `executions[${i}].lane`,
      description: 'x'.repeat(60),
    }));
    const [detail] = toConnectError(new EngineError('INVALID_FIELD', 'no', { violations })).findDetails(
      ErrorDetailSchema,
    );
    if (!detail) throw new Error('no detail');
    expect(toBinary(ErrorDetailSchema, detail).length).toBeLessThan(5_000);
    expect(detail.fieldViolations.length + Number(detail.metadata['violations_omitted'])).toBe(1_000);
  });

  test('cuts long texts between characters', () => {
    const { rawMessage } = toConnectError(new EngineError('INVALID_FIELD', '😀'.repeat(1_000)));
    expect(rawMessage.length).toBeLessThanOrEqual(500);
    expect(Buffer.from(rawMessage).toString()).toBe(rawMessage);
  });
});

describe('a defect', () => {
  test('answers INTERNAL without its text, and is logged under the id it names', () => {
    const log = recorder();
    const driverError = Object.assign(new Error('duplicate key'), { code: '23505', detail: 'Key (secret)=(hunter2)' });
    const error = toConnectError(asEngineError(driverError, log, 'tailrace.v1.EngineService/CreateExecutions'));
    expect(error.code).toBe(Code.Internal);
    expect(error.rawMessage).not.toContain('duplicate');
    const [detail] = error.findDetails(ErrorDetailSchema);
    expect(detail?.reason).toBe('INTERNAL');
    expect(log.lines).toMatchObject([
      {
        errorId: detail?.metadata['error_id'],
        procedure: 'tailrace.v1.EngineService/CreateExecutions',
        error: { message: 'duplicate key', code: '23505' },
      },
    ]);
    expect(JSON.stringify(log.lines)).not.toContain('hunter2');
  });

  test.each([
    ['a string', 'boom'],
    ['nothing', undefined],
    ['an object', { a: 1 }],
  ])('may be %s', (_, thrown) => {
    const log = recorder();
    expect(asEngineError(thrown, log, 'p').reason).toBe('INTERNAL');
    expect(log.lines).toHaveLength(1);
  });

  test('is not what an ended wait throws', () => {
    const log = recorder();
    const why = new EngineError('DRAINING', 'going away');
    const wrapped = Object.assign(new Error('aborted', { cause: why }), { name: 'AbortError' });
    expect(asEngineError(wrapped, log, 'p')).toBe(why);
    expect(asEngineError(AbortSignal.abort().reason, log, 'p').reason).toBe('CANCELED');
    expect(log.lines).toEqual([]);
  });
});
