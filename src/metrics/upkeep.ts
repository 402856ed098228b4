/** What goes on beside the work: sweeps, partitions, floors, and whether the process can do what it is for. */
import type { NamedLanes } from '../dispatch/named-lanes.js';
import type { LoopMeters } from '../loops/loop-meters.js';
import type { SweepMeter } from '../loops/sweeper.js';
import type { Readiness } from '../runtime/readiness.js';
import type { Family } from './family.js';
import type { Snapshots } from './snapshots.js';

export interface UpkeepSources {
  readonly snapshots: Snapshots;
  readonly named: NamedLanes;
  readonly loops: LoopMeters;
  readonly sweeps: () => readonly SweepMeter[];
  readonly readiness: Readiness;
  /** This process's clock is ahead of the database's by so much. */
  readonly skewMs: () => number | undefined;
}

export function upkeepFamilies({ snapshots, named, loops, sweeps, readiness, skewMs }: UpkeepSources): Family[] {
  return [
    {
      name: 'tailrace_sweeps_total',
      help: 'Sweeps of this process over what is due, by subject.',
      type: 'counter',
      collect: (series) => {
        for (const { subject, sweeps: n } of sweeps()) series.set(n, { subject: snake(subject) });
      },
    },
    {
      name: 'tailrace_swept_total',
      help: 'Due rows that sweeps of this process took.',
      type: 'counter',
      collect: (series) => {
        for (const { subject, taken } of sweeps()) series.set(taken, { subject: snake(subject) });
      },
    },
    {
      name: 'tailrace_sweep_overdue_seconds',
      help: 'How long the first due row of the subject had been due when this process looked last.',
      type: 'gauge',
      collect: (series) => {
        for (const { subject } of sweeps()) {
          const ms = loops.dueMs[subject];
          series.set(Math.max(0, -(ms ?? 0)) / 1_000, { subject: snake(subject) });
        }
      },
    },
    {
      name: 'tailrace_pulses_total',
      help: 'Times that this process looked whether anything is due or has changed: about one a second, and after hints of others.',
      type: 'counter',
      collect: (series) => series.set(loops.pulses),
    },
    {
      name: 'tailrace_pulse_age_seconds',
      help: 'Since the last time that this process reached the database so.',
      type: 'gauge',
      collect: (series) => {
        if (loops.sincePulseMs !== undefined) series.set(loops.sincePulseMs / 1_000);
      },
    },
    {
      name: 'tailrace_loop_errors_total',
      help: 'Failures of loops of this process; each goes on after a pause.',
      type: 'counter',
      collect: (series) => {
        for (const [loop, count] of loops.errors.entries) series.set(count, { loop });
      },
    },
    {
      name: 'tailrace_partitions_ahead_seconds',
      help: 'How far the partitions by time reach ahead.',
      type: 'gauge',
      collect: (series) => {
        if (loops.partitionsAheadMs !== undefined) series.set(loops.partitionsAheadMs / 1_000);
      },
    },
    {
      name: 'tailrace_namespace_floor_age_seconds',
      help: 'Executions that ended longer ago are not shown any more, where retention has moved the floor.',
      type: 'gauge',
      collect: async (series) => {
        const read = await snapshots.get();
        for (const [namespace, seconds] of read?.snapshot.floors ?? []) {
          if (seconds !== null) series.most(Math.max(0, seconds), { namespace: named.namespace(namespace) });
        }
      },
    },
    {
      name: 'tailrace_namespace_log_floor_position',
      help: 'Entries of the log up to this position are not shown any more.',
      type: 'gauge',
      collect: async (series) => {
        const read = await snapshots.get();
        for (const [namespace, , position] of read?.snapshot.floors ?? []) {
          series.most(Number(position), { namespace: named.namespace(namespace) });
        }
      },
    },
    {
      name: 'tailrace_clock_skew_seconds',
      help: "How far this process's clock is ahead of the database's.",
      type: 'gauge',
      collect: (series) => {
        const ms = skewMs();
        if (ms !== undefined) series.set(ms / 1_000);
      },
    },
    {
      name: 'tailrace_ready',
      help: '1: this part of the process is ready; /readyz says what is wrong with it.',
      type: 'gauge',
      collect: (series) => {
        for (const [part, { ready }] of Object.entries(readiness.parts())) series.set(ready ? 1 : 0, { part });
      },
    },
    {
      name: 'tailrace_snapshot_age_seconds',
      help: 'Age of what this scrape tells of the whole installation.',
      type: 'gauge',
      collect: async (series) => {
        const read = await snapshots.get();
        if (read) series.set(read.ageMs() / 1_000);
      },
    },
    {
      name: 'tailrace_snapshot_failures_total',
      help: 'Times that the database did not give it; such scrapes tell only what the process itself knows.',
      type: 'counter',
      collect: (series) => series.set(snapshots.failures),
    },
  ];
}

function snake(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}
