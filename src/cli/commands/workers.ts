/** `tailrace workers …` */
import { DrainWorkerResponseSchema } from '../../../gen/tailrace/v1/admin_service_pb.js';
import { type Worker, WorkerSchema, WorkerStateSchema } from '../../../gen/tailrace/v1/worker_pb.js';
import { command, group } from '../command.js';
import { nameOf } from '../enum-words.js';
import { fields } from '../fields.js';
import { listed, PAGES } from '../pages.js';
import { REASON } from '../recurring-options.js';
import { argument, choices, flag, text } from '../rules.js';
import { done } from '../showing.js';
import type { Column } from '../table.js';

const COLUMNS: readonly Column<Worker>[] = [
  { title: 'worker', flexible: true, of: ({ identity }) => identity?.name ?? '' },
  { title: 'instance', flexible: true, of: ({ identity }) => identity?.instanceId ?? '' },
  { title: 'state', state: true, of: ({ state }) => nameOf(WorkerStateSchema, state) },
  {
    title: 'leases',
    right: true,
    of: ({ leaseCount, maxConcurrency: most }) => `${leaseCount}${most ? `/${most}` : ''}`,
  },
  { title: 'lanes', flexible: true, of: ({ lanes }) => lanes.join(', ') },
  { title: 'types', flexible: true, of: ({ types }) => types.join(', ') },
  { title: 'seen', of: ({ lastSeenTime }, output) => output.time(lastSeenTime) },
  { title: 'reason', flexible: true, spare: true, of: ({ drainReason }) => drainReason },
];

const list = command({
  name: 'list',
  about: 'List the registered workers.',
  options: {
    name: text('name', 'Only those of this name.', { names: 'workers' }),
    state: choices(WorkerStateSchema, 'Only workers in this state.'),
    lane: text('lane', 'Only those that serve this lane.', { names: 'lanes' }),
    ...PAGES,
  },
  examples: [['Who serves a lane', 'tailrace workers list --lane emails']],
  run: (session, given) =>
    listed(session, given, WorkerSchema, COLUMNS, async (page) => {
      const asked = fields({
        namespace: session.namespace,
        workerName: given.name,
        states: [...given.state],
        lane: given.lane,
        ...page,
      });
      const { workers: items, nextPageToken } = await session.api.admin.listWorkers(asked, session.bounds());
      return { items, nextPageToken };
    }),
});

const drain = command({
  name: 'drain',
  about: 'Tell a worker to take no more work.',
  arguments: {
    name: argument('name', 'Name of the worker.', { names: 'workers' }),
    instance: { ...text('instance', 'One instance of it. Default: all.'), value: '[instance]' },
  },
  options: { undo: flag('It may take work again.'), ...REASON },
  examples: [['Before its machine goes', 'tailrace workers drain mailer host-7 --reason "new kernel"']],
  async run(session, { name, instance, undo, reason }) {
    const worker = fields({ name, instanceId: instance });
    const asked = fields({ namespace: session.namespace, worker, undo, reason });
    const answer = await session.api.admin.drainWorker(asked, session.bounds());
    const instances = answer.workers.map(({ identity }) => identity?.instanceId).join(', ');
    const sentence = `${name} (${instances}) ${undo ? 'may take work again' : 'takes no more work'}`;
    return await done(session, DrainWorkerResponseSchema, answer, sentence);
  },
});

export const workers = group('workers', 'Look at the registered workers, and drain them.', [list, drain]);
