/**
 * Lanes: what stands in them, how long it waits and runs, what becomes of it. Counts by state are the installation's, the same
 * from every process; times and attempts are what this process saw.
 */
import type { LaneMeter } from '../dispatch/attempt-meters.js';
import type { NamedLanes } from '../dispatch/named-lanes.js';
import { isTerminal, stateName } from '../domain/states.js';
import type { Family, Labels, Series } from './family.js';
import type { Snapshots } from './snapshots.js';

const CREATED = 0;

export interface LaneSources {
  readonly snapshots: Snapshots;
  readonly named: NamedLanes;
  readonly attempts: { readonly lanes: Iterable<LaneMeter> };
  /** Claims that wait for work. */
  readonly waitingClaims: () => number;
}

export function laneFamilies({ snapshots, named, attempts, waitingClaims }: LaneSources): Family[] {
  const labels = (lane: number): Labels => ({ ...named.labels(lane) });
  const counts = async (series: Series, wanted: (state: number) => boolean, label: string | undefined) => {
    const read = await snapshots.get();
    for (const [lane, state, n] of read?.snapshot.executions ?? []) {
      if (!wanted(state)) continue;
      const named = label === undefined ? {} : { [label]: stateName(state).toLowerCase() };
      series.add(n, { ...labels(lane), ...named });
    }
  };
  return [
    {
      name: 'tailrace_executions',
      help: 'Executions that have not ended, by state: queued ones wait to be claimed. As folded from the log.',
      type: 'gauge',
      collect: (series) => counts(series, (state) => state !== CREATED && !isTerminal(state), 'state'),
    },
    {
      name: 'tailrace_executions_created_total',
      help: 'Executions ever created in the installation.',
      type: 'counter',
      collect: (series) => counts(series, (state) => state === CREATED, undefined),
    },
    {
      name: 'tailrace_executions_ended_total',
      help: 'Executions ever ended in the installation, by how.',
      type: 'counter',
      collect: (series) => counts(series, isTerminal, 'outcome'),
    },
    {
      name: 'tailrace_oldest_waiting_seconds',
      help: 'How long the first in line has waited to be claimed; 0 where nothing waits.',
      type: 'gauge',
      collect: async (series) => {
        const read = await snapshots.get();
        const ages = new Map(read?.snapshot.oldest);
        for (const lane of new Set(read?.snapshot.executions.map(([lane]) => lane))) {
          series.set(Math.max(0, ages.get(lane) ?? 0), labels(lane));
        }
      },
    },
    {
      name: 'tailrace_claim_wait_seconds',
      help: 'From becoming claimable to being claimed through this process.',
      type: 'histogram',
      collect: (series) => {
        for (const { lane, claimTimes } of attempts.lanes) series.histogram(claimTimes, labels(lane));
      },
    },
    {
      name: 'tailrace_attempt_duration_seconds',
      help: 'From being claimed to the end that the holder reported, both through this process.',
      type: 'histogram',
      collect: (series) => {
        for (const { lane, runTimes } of attempts.lanes) series.histogram(runTimes, labels(lane));
      },
    },
    {
      name: 'tailrace_attempts_started_total',
      help: 'Claims granted through this process, by kind: retry and reclaim are repeats after a failure and after a lost lease, resumed goes on after a wait.',
      type: 'counter',
      collect: (series) => {
        for (const { lane, starts } of attempts.lanes) {
          for (const [kind, count] of starts) series.set(count, { ...labels(lane), kind });
        }
      },
    },
    {
      name: 'tailrace_attempts_ended_total',
      help: 'Ends that holders reported through this process. What ends by time, or by an operator, is no end of a holder.',
      type: 'counter',
      collect: (series) => {
        for (const { lane, ends } of attempts.lanes) {
          for (const [outcome, count] of ends) series.set(count, { ...labels(lane), outcome });
        }
      },
    },
    {
      name: 'tailrace_claims_waiting',
      help: 'Claims at this process that wait for work.',
      type: 'gauge',
      collect: (series) => series.set(waitingClaims()),
    },
  ];
}
