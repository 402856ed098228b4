/** The log: how far it is numbered, counted and let go of, and who follows it. */
import type { FrameHub } from '../frames/hub.js';
import type { LiveLog } from '../log/live-log.js';
import type { LoopMeters } from '../loops/loop-meters.js';
import type { Family } from './family.js';
import type { Snapshots } from './snapshots.js';

export interface LogSources {
  readonly snapshots: Snapshots;
  readonly loops: LoopMeters;
  readonly log: LiveLog;
  readonly frames: FrameHub;
}

export function logFamilies({ snapshots, loops, log, frames }: LogSources): Family[] {
  return [
    {
      name: 'tailrace_log_head_position',
      help: 'The highest position of the log that this process knows of; its rate is that of all changes.',
      type: 'gauge',
      collect: (series) => series.set(Number(loops.head)),
    },
    {
      name: 'tailrace_log_floor_position',
      help: 'Entries of the log up to this position are gone.',
      type: 'gauge',
      collect: async (series) => {
        const read = await snapshots.get();
        if (read) series.set(Number(read.snapshot.floor));
      },
    },
    {
      name: 'tailrace_log_counted_position',
      help: 'Executions are counted by state up to this position.',
      type: 'gauge',
      collect: async (series) => {
        const read = await snapshots.get();
        if (read) series.set(Number(read.snapshot.counted));
      },
    },
    {
      name: 'tailrace_sequencer_lag_seconds',
      help: 'Age of the oldest committed entry that has no position yet; nobody sees it before.',
      type: 'gauge',
      collect: async (series) => {
        const read = await snapshots.get();
        if (read) series.set(Math.max(0, read.snapshot.lag ?? 0));
      },
    },
    {
      name: 'tailrace_sequencer_steps_total',
      help: 'Steps of the sequencer that this process took; busy: another process was at it.',
      type: 'counter',
      collect: (series) => {
        series.set(loops.steps - loops.busySteps, { result: 'done' });
        series.set(loops.busySteps, { result: 'busy' });
      },
    },
    {
      name: 'tailrace_sequencer_entries_total',
      help: 'Entries that this process gave their positions.',
      type: 'counter',
      collect: (series) => series.set(loops.numbered),
    },
    {
      name: 'tailrace_sequencer_open_holes',
      help: 'Writers that had drawn their place in the log and not committed at the last step: long transactions.',
      type: 'gauge',
      collect: (series) => series.set(loops.openHoles),
    },
    {
      name: 'tailrace_streams',
      help: 'Streams open at this process: those that follow the log, and those that follow the output of attempts.',
      type: 'gauge',
      collect: (series) => {
        series.set(log.watching, { follows: 'log' });
        series.set(frames.reading, { follows: 'frames' });
      },
    },
    {
      name: 'tailrace_streams_behind',
      help: 'Streams that follow the log and are not at its end: they catch up, or their readers are slow.',
      type: 'gauge',
      collect: (series) => series.set(log.behind),
    },
    {
      name: 'tailrace_streams_cut_total',
      help: 'Streams cut off because their readers did not keep up.',
      type: 'counter',
      collect: (series) => {
        series.set(log.cut, { follows: 'log' });
        series.set(frames.cut, { follows: 'frames' });
      },
    },
  ];
}
