/** `tailrace stats` */
import { type GetStatsResponse, GetStatsResponseSchema } from '../../../gen/tailrace/v1/admin_service_pb.js';
import { type ExecutionState, ExecutionStateSchema } from '../../../gen/tailrace/v1/execution_state_pb.js';
import { FlowStateSchema } from '../../../gen/tailrace/v1/flow_pb.js';
import type { LaneStats } from '../../../gen/tailrace/v1/stats_pb.js';
import { command } from '../command.js';
import { nameOf } from '../enum-words.js';
import { messageDocument } from '../json.js';
import type { Output } from '../output.js';
import { flag } from '../rules.js';
import { type Column, tableOf } from '../table.js';
import { WATCH, watching } from '../watching.js';

export const stats = command({
  name: 'stats',
  about: 'Count executions, flows, events and dead letters.',
  options: { lanes: flag('Also per lane.'), ...WATCH },
  examples: [['Every two seconds, per lane', 'tailrace stats --lanes --watch']],
  run: (session, { lanes, watch }) =>
    watching(session, watch, async () => {
      const asked = { namespace: session.namespace, includeLanes: lanes };
      const answer = await session.api.admin.getStats(asked, session.bounds());
      return session.output.json ? messageDocument(GetStatsResponseSchema, answer) : report(answer, session.output);
    }),
});

interface Row {
  readonly what: string;
  readonly count: bigint;
}

const COLUMNS: readonly Column<Row>[] = [
  { title: 'what', of: ({ what }) => what },
  { title: 'count', right: true, of: ({ count }) => count },
];

function report(answer: GetStatsResponse, output: Output): string {
  const { executions, createdCount, retiredCount, flows, eventCount, unroutedEventCount, deadLetters, lanes } = answer;
  const rows: Row[] = [
    { what: 'executions created', count: createdCount },
    ...executions.map(({ state, count }) => ({ what: `executions ${nameOf(ExecutionStateSchema, state)}`, count })),
    ...(retiredCount > 0n ? [{ what: 'executions retired', count: retiredCount }] : []),
    ...flows.map(({ state, count }) => ({ what: `flows ${nameOf(FlowStateSchema, state)}`, count })),
    { what: 'events', count: eventCount },
    { what: 'events not routed yet', count: unroutedEventCount },
    { what: 'dead letters OPEN', count: deadLetters?.open ?? 0n },
    { what: 'dead letters REDRIVING', count: deadLetters?.redriving ?? 0n },
    { what: 'dead letters CLOSED', count: deadLetters?.closed ?? 0n },
  ];
  return tableOf(COLUMNS, rows, output) + (lanes.length > 0 ? `\n\n${tableOf(laneColumns(lanes), lanes, output)}` : '');
}

function laneColumns(lanes: readonly LaneStats[]): Column<LaneStats>[] {
  const states = [...new Set(lanes.flatMap(({ executions }) => executions.map(({ state }) => state)))].sort(
    (a, b) => a - b,
  );
  const countOf = (lane: LaneStats, asked: ExecutionState) =>
    lane.executions.find(({ state }) => state === asked)?.count ?? 0n;
  return [
    { title: 'lane', flexible: true, of: ({ lane }) => lane },
    ...states.map((state) => ({
      title: nameOf(ExecutionStateSchema, state),
      right: true,
      of: (lane: LaneStats) => countOf(lane, state),
    })),
    { title: 'dead letters', right: true, of: ({ openDeadLetters }) => openDeadLetters },
    { title: 'oldest queued', right: true, spare: true, of: (lane, output) => output.span(lane.oldestQueuedAge) },
  ];
}
