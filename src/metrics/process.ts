/** The process itself, named as OpenTelemetry names what Node and operating systems tell. */
import type { Lateness, LoopDelay } from '../runtime/lateness.js';
import type { ProcessLoad } from '../runtime/process-load.js';
import type { Family } from './family.js';

const DELAYS: Readonly<Record<keyof LoopDelay, string>> = {
  min: 'Least',
  max: 'Greatest',
  mean: 'Mean',
  stddev: 'Standard deviation of the',
  p50: 'Median',
  p90: '90th percentile of the',
  p99: '99th percentile of the',
};

/** Of the loop that serves calls. */
export function delayFamilies(lateness: Lateness): Family[] {
  // One scrape asks for all of these, and asking begins them anew.
  let delay: LoopDelay | undefined;
  return Object.entries(DELAYS).map(
    ([name, which], i): Family => ({
      name: `nodejs_eventloop_delay_${name}_seconds`,
      help: `${which} delay of the event loop since the scrape before.`,
      type: 'gauge',
      collect: (series) => {
        if (i === 0 || delay === undefined) delay = lateness.delay();
        series.set(delay[name as keyof LoopDelay]);
      },
    }),
  );
}

export function processFamilies(load: ProcessLoad, version: string): Family[] {
  return [
    {
      name: 'tailrace_build_info',
      help: 'What this process is made of; always 1.',
      type: 'gauge',
      collect: (series) => series.set(1, { version, node_version: process.version }),
    },
    {
      name: 'nodejs_eventloop_utilization_ratio',
      help: 'Share of the time that the event loop was at work since the scrape before.',
      type: 'gauge',
      collect: (series) => series.set(load.utilization().share),
    },
    {
      name: 'process_cpu_time_seconds_total',
      help: 'CPU time of the process.',
      type: 'counter',
      collect: (series) => {
        const { user, system } = load.cpu();
        series.set(user, { cpu_mode: 'user' });
        series.set(system, { cpu_mode: 'system' });
      },
    },
    {
      name: 'process_memory_usage_bytes',
      help: 'Memory of the process that is in RAM.',
      type: 'gauge',
      collect: (series) => series.set(load.residentBytes()),
    },
    {
      name: 'v8js_memory_heap_used_bytes',
      help: 'Used of each space of the heap.',
      type: 'gauge',
      collect: (series) => {
        for (const { name, used } of load.heapSpaces()) series.set(used, { v8js_heap_space_name: name });
      },
    },
    {
      name: 'process_uptime_seconds',
      help: 'Since the process was started.',
      type: 'gauge',
      collect: (series) => series.set(load.uptime()),
    },
    {
      name: 'process_open_file_descriptor_count',
      help: 'Open files and sockets, where the system tells.',
      type: 'gauge',
      collect: (series) => {
        const count = load.openFiles();
        if (count !== undefined) series.set(count);
      },
    },
  ];
}
