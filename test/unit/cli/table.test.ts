/** Tables and details on terminals of any width, with whatever is in them. */

import { PassThrough } from 'node:stream';
import { create } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { ExecutionSchema } from '../../../gen/tailrace/v1/execution_pb.js';
import { ExecutionState } from '../../../gen/tailrace/v1/execution_state_pb.js';
import { detailsOf } from '../../../src/cli/details.js';
import { Output } from '../../../src/cli/output.js';
import { type Column, tableOf } from '../../../src/cli/table.js';

interface Row {
  readonly id: string;
  readonly text: string;
  readonly count: number;
}

const COLUMNS: readonly Column<Row>[] = [
  { title: 'id', of: ({ id }) => id },
  { title: 'text', flexible: true, of: ({ text }) => text },
  { title: 'count', right: true, of: ({ count }) => count },
  { title: 'never', spare: true, of: () => '' },
];

function output(columns?: number): Output {
  const stream = () => Object.assign(new PassThrough(), columns === undefined ? {} : { isTTY: true, columns });
  const signals = { on: () => {}, off: () => {} };
  const io = { stdin: stream(), stdout: stream(), stderr: stream(), signals };
  return new Output(io, { json: false, absolute: true, noColor: true });
}

it('cuts words before ids, and leaves out what is empty', () => {
  const rows = [{ id: '0123456789abcdef', text: 'a text that is longer than there is room for', count: 7 }];
  expect(tableOf(COLUMNS, rows, output(40))).toBe(
    'ID                TEXT             COUNT\n0123456789abcdef  a text that is…      7',
  );
  expect(tableOf(COLUMNS, rows, output())).toContain('longer than there is room for');
});

it('never is wider than the terminal that has room for its ids, whatever is in it', () => {
  const text = fc.string({ unit: 'grapheme', maxLength: 120 });
  fc.assert(
    fc.property(fc.array(text, { minLength: 1, maxLength: 5 }), fc.integer({ min: 40, max: 200 }), (texts, width) => {
      const rows = texts.map((text, count) => ({ id: `0123456789abcdef-${count}`, text, count }));
      const lines = tableOf(COLUMNS, rows, output(width)).split('\n');
      expect(lines).toHaveLength(rows.length + 1);
      for (const line of lines) {
        expect(line).not.toMatch(/\p{Cc}/u);
        if (/^[ -~…]*$/.test(line)) expect(line.length).toBeLessThanOrEqual(width);
      }
    }),
  );
});

it('tells every field that is set, under its name', () => {
  const execution = create(ExecutionSchema, {
    executionId: 'x',
    state: ExecutionState.WAITING_CHILDREN,
    tags: { b: '2', a: '1' },
    requiredCapabilities: ['gpu', 'eu'],
    input: { contentType: 'application/json', body: { case: 'text', value: '{"a": [1, 2]}' } },
    lease: { worker: { name: 'w' }, fencingToken: 7n },
    createTime: timestampFromMs(0),
    attemptTimeout: { seconds: 90n, nanos: 0 },
    lastFailure: {
      message: 'line one\nline \u001b[2Jtwo',
      details: { body: { case: 'data', value: new Uint8Array(3) } },
    },
  });
  expect(detailsOf(ExecutionSchema, execution, output())).toBe(
    [
      'execution id           x',
      'state                  WAITING_CHILDREN',
      'attempt timeout        1m30s',
      'tags                   a=1, b=2',
      'required capabilities  gpu, eu',
      'input                  {"a":[1,2]}',
      'last failure',
      '  message              line one line �[2Jtwo',
      '  details              3 bytes of unknown type',
      'lease',
      '  worker',
      '    name               w',
      '  fencing token        7',
      'create time            1970-01-01T00:00:00Z',
    ].join('\n'),
  );
});
