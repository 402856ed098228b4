/** `tailrace storage` */
import { type GetStorageResponse, GetStorageResponseSchema } from '../../../gen/tailrace/v1/admin_service_pb.js';
import type { RetentionHold, StoredTable } from '../../../gen/tailrace/v1/namespace_pb.js';
import { byteText } from '../byte-text.js';
import { command } from '../command.js';
import { messageDocument } from '../json.js';
import type { Output } from '../output.js';
import { type Column, tableOf } from '../table.js';
import { WATCH, watching } from '../watching.js';

const TABLES: readonly Column<StoredTable>[] = [
  { title: 'table', of: ({ table }) => table },
  { title: 'bytes', right: true, of: ({ byteCount }) => byteText(byteCount) },
  { title: 'indexes', right: true, of: ({ indexByteCount }) => byteText(indexByteCount) },
  { title: 'rows, about', right: true, of: ({ estimatedRowCount }) => estimatedRowCount },
  { title: 'partitions', right: true, of: ({ partitionCount }) => partitionCount || '' },
];

export const HOLDS: readonly Column<RetentionHold>[] = [
  { title: 'holds', of: ({ subject }) => subject },
  { title: 'by', flexible: true, of: ({ holder }) => holder },
  { title: 'namespace', spare: true, of: ({ namespace }) => namespace },
  { title: 'count', right: true, of: ({ count }) => count },
  { title: 'since', spare: true, of: ({ sinceTime }, output) => output.time(sinceTime) },
];

export const storage = command({
  name: 'storage',
  about: 'Show what the tables take, how far retention has come, and what holds it; of all namespaces together.',
  options: WATCH,
  examples: [['What takes most', "tailrace storage --json | jq '.tables[0]'"]],
  run: (session, { watch }) =>
    watching(session, watch, async () => {
      const answer = await session.api.admin.getStorage({ namespace: '*' }, session.bounds());
      return session.output.json ? messageDocument(GetStorageResponseSchema, answer) : report(answer, session.output);
    }),
});

function report(answer: GetStorageResponse, output: Output): string {
  const floors = [
    ['executions', answer.executionsFloorTime],
    ['events', answer.eventsFloorTime],
    ['the log', answer.logFloorTime],
  ] as const;
  return [
    tableOf(TABLES, answer.tables, output),
    '',
    `${byteText(answer.byteCount)} in all`,
    ...floors.flatMap(([what, time]) =>
      time ? [`${what} from before ${output.time(time)} only as far as they are needed`] : [],
    ),
    ...(answer.holds.length > 0 ? ['', tableOf(HOLDS, answer.holds, output)] : []),
  ].join('\n');
}
