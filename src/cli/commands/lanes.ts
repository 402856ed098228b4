/** `tailrace lanes …` */
import { type Lane, LaneSchema, LaneState, LaneStateSchema } from '../../../gen/tailrace/v1/lane_pb.js';
import { command, group } from '../command.js';
import { nameOf } from '../enum-words.js';
import { fields } from '../fields.js';
import { listed, PAGES } from '../pages.js';
import { EXPECTED, REASON } from '../recurring-options.js';
import { argument, choices } from '../rules.js';
import { done, present, shown } from '../showing.js';
import type { Column } from '../table.js';
import { WATCH } from '../watching.js';
import { updateLane } from './lanes-update.js';

const LANE = { lane: argument('lane', 'Name of the lane.', { names: 'lanes' }) };

const count = (title: string, key: 'queued' | 'running' | 'scheduled' | 'blocked' | 'suspended') => ({
  title,
  right: true,
  of: ({ counts }: Lane) => counts?.[key] ?? 0n,
});

const COLUMNS: readonly Column<Lane>[] = [
  { title: 'lane', flexible: true, of: ({ lane }) => lane },
  { title: 'state', state: true, of: ({ state }) => nameOf(LaneStateSchema, state) },
  count('queued', 'queued'),
  count('running', 'running'),
  count('scheduled', 'scheduled'),
  count('blocked', 'blocked'),
  count('parked', 'suspended'),
  { title: 'dead letters', right: true, of: ({ counts }) => counts?.openDeadLetters ?? 0n },
  { title: 'oldest queued', right: true, spare: true, of: (lane, output) => output.span(lane.oldestQueuedAge) },
  { title: 'limit', right: true, spare: true, of: ({ settings }) => settings?.concurrencyLimit || '' },
  { title: 'reason', flexible: true, spare: true, of: ({ stateReason }) => stateReason },
];

const list = command({
  name: 'list',
  about: 'List lanes by name.',
  options: { state: choices(LaneStateSchema, 'Only lanes in this state.'), ...PAGES },
  examples: [
    ['Those that hand out nothing', 'tailrace lanes list --state paused'],
    ['Every 5 seconds', 'tailrace lanes list --watch=5'],
  ],
  run: (session, given) =>
    listed(session, given, LaneSchema, COLUMNS, async (page) => {
      const asked = { namespace: session.namespace, states: [...given.state], ...page };
      const { lanes: items, nextPageToken } = await session.api.admin.listLanes(asked, session.bounds());
      return { items, nextPageToken };
    }),
});

const get = command({
  name: 'get',
  about: 'Show one lane with its settings and counts.',
  arguments: LANE,
  options: WATCH,
  examples: [['One lane', 'tailrace lanes get emails']],
  run: (session, { lane, watch }) => {
    const asked = { namespace: session.namespace, lane };
    return shown(session, LaneSchema, async () => (await session.api.admin.getLane(asked, session.bounds())).lane, {
      watch,
    });
  },
});

const pause = command({
  name: 'pause',
  about: 'Stop a lane from handing out. It goes on accepting, and running work is left alone.',
  arguments: LANE,
  options: { ...REASON, ...EXPECTED },
  examples: [['While a provider is down', 'tailrace lanes pause emails --reason "the provider is down"']],
  async run(session, { lane, reason, expectedVersion }) {
    const asked = fields({ namespace: session.namespace, lane, reason, expectedVersion });
    const made = present((await session.api.admin.pauseLane(asked, session.bounds())).lane);
    return await done(session, LaneSchema, made, sentence(made));
  },
});

const resume = command({
  name: 'resume',
  about: 'Open a paused or draining lane.',
  arguments: LANE,
  options: { ...REASON, ...EXPECTED },
  examples: [['Once it is up again', 'tailrace lanes resume emails']],
  async run(session, { lane, reason, expectedVersion }) {
    const asked = fields({ namespace: session.namespace, lane, reason, expectedVersion });
    const made = present((await session.api.admin.resumeLane(asked, session.bounds())).lane);
    return await done(session, LaneSchema, made, sentence(made));
  },
});

function sentence({ lane, state, version }: Lane): string {
  const meaning = state === LaneState.OPEN ? 'hands out' : 'hands out nothing';
  return `lane ${lane} is ${nameOf(LaneStateSchema, state)} and ${meaning} (version ${version})`;
}

export const lanes = group('lanes', 'Look at lanes, change, pause and resume them.', [
  list,
  get,
  updateLane,
  pause,
  resume,
]);
