/** What wants a person: dead letters, budgets that are used up; and what is still to be worked off. */
import { DeadLetterReason } from '../../gen/tailrace/v1/dead_letter_reason_pb.js';
import type { NamedLanes } from '../dispatch/named-lanes.js';
import type { LoopMeters } from '../loops/loop-meters.js';
import { COUNTED } from '../repository/metrics/index.js';
import type { Family } from './family.js';
import type { Snapshots } from './snapshots.js';

export interface DeskSources {
  readonly snapshots: Snapshots;
  readonly named: NamedLanes;
  readonly loops: LoopMeters;
}

export function deskFamilies({ snapshots, named, loops }: DeskSources): Family[] {
  return [
    {
      name: 'tailrace_dead_letters_open',
      help: `Open dead letters by reason, up to ${COUNTED} of a namespace.`,
      type: 'gauge',
      collect: async (series) => {
        const read = await snapshots.get();
        for (const [namespace, reason, n] of read?.snapshot.letters ?? []) {
          const name = (DeadLetterReason[reason] ?? 'unknown').toLowerCase();
          series.add(n, { namespace: named.namespace(namespace), reason: name });
        }
      },
    },
    {
      name: 'tailrace_redriven_total',
      help: 'Executions that bulk redrives made through this process.',
      type: 'counter',
      collect: (series) => series.set(loops.redriven),
    },
    {
      name: 'tailrace_budgets_exhausted',
      help: 'Budgets that are used up and hold work back.',
      type: 'gauge',
      collect: async (series) => {
        const read = await snapshots.get();
        for (const [namespace, n] of read?.snapshot.budgets ?? []) {
          series.add(n, { namespace: named.namespace(namespace) });
        }
      },
    },
    {
      name: 'tailrace_backlog',
      help: `What commits have left to be done, up to ${COUNTED} of a kind: events to be routed, slots to be folded into joins, follow-ups of flows and limits, letters to be handed out, bulk redrives that go on.`,
      type: 'gauge',
      collect: async (series) => {
        const read = await snapshots.get();
        for (const [kind, n] of Object.entries(read?.snapshot.backlog ?? {})) series.set(n, { kind });
      },
    },
  ];
}
