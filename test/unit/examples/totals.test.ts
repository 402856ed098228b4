import { create } from '@bufbuild/protobuf';
import { expect, test } from 'vitest';
import { filesFlow, REPORT } from '../../../examples/quickstart/files-flow.js';
import { totalsOf } from '../../../examples/quickstart/totals.js';
import { JoinedInputSchema, SlotOutcome } from '../../../gen/tailrace/v1/join_pb.js';
import { Content, toPayload } from '../../../src/client/content.js';
import { JoinedInputs } from '../../../src/worker/joined-inputs.js';

const analysis = (file: string, worker: string, broken: string[] = []) => ({
  file,
  worker,
  broken,
  words: 10,
  headings: 1,
  links: 2,
  ms: file.length,
});

test('the totals are of the files that were analyzed, however their results came', async () => {
  const slots = [
    { name: 'file 0', outcome: SlotOutcome.OK, payload: toPayload(analysis('a.md', 'Ada', ['x.md', 'y.md'])) ?? {} },
    { name: 'file 1', outcome: SlotOutcome.OK, executionId: 'e1', payloadOmitted: true },
    { name: 'file 2', outcome: SlotOutcome.FAILED, executionId: 'e2', failure: { message: 'unreadable' } },
    { name: 'file 3', outcome: SlotOutcome.FAILED, executionId: 'e3' },
  ];
  const read = async ({ executionId }: { executionId: string }) =>
    new Content(toPayload(analysis(`${executionId} long.md`, 'Grace')));
  const inputs = new JoinedInputs(
    slots.map((slot) => create(JoinedInputSchema, slot)),
    read,
  );
  expect(await totalsOf(inputs)).toEqual({
    files: 2,
    words: 20,
    headings: 2,
    links: 4,
    brokenRelativeLinkCount: 2,
    brokenRelativeLinks: [
      { file: 'a.md', link: 'x.md' },
      { file: 'a.md', link: 'y.md' },
    ],
    slowest: [
      { file: 'e1 long.md', ms: 10 },
      { file: 'a.md', ms: 4 },
    ],
    failed: [
      { executionId: 'e2', message: 'unreadable' },
      { executionId: 'e3', message: 'failed' },
    ],
    byWorker: [
      { name: 'Ada', files: 1 },
      { name: 'Grace', files: 1 },
    ],
  });
});

test('the flow has a member per file, and a report that a failed file does not keep from being made', () => {
  const { members, edges } = filesFlow(['a.md', 'b.md'], 'lane').graph;
  expect(members.map(({ localName }) => localName)).toEqual(['file 0', 'file 1', REPORT]);
  expect(edges.map(({ optional }) => optional)).toEqual([true, true]);
});
