/** Consumers: how far behind each is, and who works on it. The installation's, the same from every process. */
import { ConsumerState } from '../../gen/tailrace/v1/consumer_pb.js';
import { type NamedLanes, OTHER } from '../dispatch/named-lanes.js';
import type { ConsumerStanding, Snapshot } from '../repository/metrics/index.js';
import type { Family, Labels, Series } from './family.js';
import type { Snapshots } from './snapshots.js';

export interface ConsumerSources {
  readonly snapshots: Snapshots;
  readonly named: NamedLanes;
  /** Told apart; the younger ones are added up. */
  readonly most: number;
}

export function consumerFamilies({ snapshots, named, most }: ConsumerSources): Family[] {
  const each = (
    tell: (series: Series, consumer: ConsumerStanding, labels: Labels, snapshot: Snapshot) => void,
  ): Family['collect'] => {
    return async (series) => {
      const read = await snapshots.get();
      read?.snapshot.consumers.forEach((consumer, i) => {
        const isNamed = i < most;
        const namespace = isNamed ? named.namespace(consumer.namespace) : OTHER;
        tell(series, consumer, { namespace, consumer: isNamed ? consumer.name : OTHER }, read.snapshot);
      });
    };
  };
  return [
    {
      name: 'tailrace_consumer_lag_entries',
      help: 'Entries of the log behind the least place of its live generation, selected or not.',
      type: 'gauge',
      collect: each((series, { position }, labels, { head }) => {
        series.add(Math.max(0, Number(head - position)), labels);
      }),
    },
    {
      name: 'tailrace_consumer_lag_seconds',
      help: 'Age of the first of those entries; 0 at the end of the log.',
      type: 'gauge',
      collect: each((series, { age }, labels) => series.most(Math.max(0, age ?? 0), labels)),
    },
    {
      name: 'tailrace_consumer_parts',
      help: 'Its parts: owned by a member, free, or halted at an entry.',
      type: 'gauge',
      collect: each((series, { parts, owned, halted }, labels) => {
        series.add(owned, { ...labels, state: 'owned' });
        series.add(Math.max(0, parts - owned - halted), { ...labels, state: 'free' });
        series.add(halted, { ...labels, state: 'halted' });
      }),
    },
    {
      name: 'tailrace_consumers',
      help: 'Consumers by state.',
      type: 'gauge',
      collect: each((series, { state }, { namespace = OTHER }) => {
        series.add(1, { namespace, state: (ConsumerState[state] ?? 'unknown').toLowerCase() });
      }),
    },
    {
      name: 'tailrace_consumer_holds_log',
      help: '1: retention of the log waits for it.',
      type: 'gauge',
      collect: each((series, { holds }, labels) => series.most(holds ? 1 : 0, labels)),
    },
  ];
}
