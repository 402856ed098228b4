/** What a worker can be told, with units, ranges and defaults; checked whole, and completed. */
import { type ConnectionOptions, checkConnection } from '../client/connection.js';
import type { AnyEvents, EventSchemas } from '../client/event-schemas.js';
import { OptionRules } from '../client/option-rules.js';
import { logProblems, type WorkerLog } from './log.js';

export interface WorkerOptions<E extends EventSchemas = AnyEvents> extends ConnectionOptions {
  /** Namespace to work in. Default: the server's, `default`. */
  readonly namespace?: string;
  /** Shared by all processes of a deployment; shown to people. 1 to 200 bytes, default `worker`. */
  readonly name?: string;
  /** Lanes to claim from: names, or names with weights from 1 to 1000. 1 to 256 of them, default `default`. */
  readonly lanes?: readonly string[] | Readonly<Record<string, number>>;
  /** Only executions that require a subset are handed out. Up to 256 of 1 to 200 bytes, default none. */
  readonly capabilities?: readonly string[];
  /** Told to the registry: version, host, region. Up to 32, keys up to 64 bytes, values up to 256. Default none. */
  readonly labels?: Readonly<Record<string, string>>;
  /** Handlers running at once. 1 to 10,000, default 10. */
  readonly slots?: number;
  /**
   * How soon a dead worker's executions are taken over. Milliseconds, 1,000 to 3,600,000, default 6,000; renewed at a
   * third. An event loop blocked for longer than nine tenths of it loses its leases.
   */
  readonly leaseDurationMs?: number;
  /**
   * How long a claim waits at the server while there is nothing. Milliseconds, 0 to 60,000, default 60,000: fifty idle
   * workers then cost a server less than one statement a second.
   */
  readonly claimWaitMs?: number;
  /** How long `stop()` lets handlers go on before it aborts them. Milliseconds, 0 to 3,600,000, default 30,000. */
  readonly drainMs?: number;
  /**
   * Whether the completion of a flow's member asks for what it released in the same call, for the slot it frees.
   * Default true: a chain then costs one call per hop.
   */
  readonly eagerHandOver?: boolean;
  /** Gets everything the worker and its handlers say. Default: warnings and errors to the standard error output. */
  readonly log?: WorkerLog;
  /**
   * Schemas of the payloads of events by type: handlers are typed by them, what they emit must fit, and what they are given
   * does. Default: any type, with any payload.
   */
  readonly events?: E;
}

export interface LaneWeight {
  readonly lane: string;
  readonly weight: number;
}

export type CompleteOptions = Required<Omit<WorkerOptions, keyof ConnectionOptions | 'lanes' | 'events'>> & {
  readonly lanes: readonly LaneWeight[];
};

/** Throws an InvalidOptionsError with everything that is wrong. */
export function completeOptions(given: WorkerOptions): CompleteOptions {
  const options: CompleteOptions = {
    namespace: given.namespace ?? '',
    name: given.name ?? 'worker',
    lanes: weights(given.lanes ?? ['default']),
    capabilities: given.capabilities ?? [],
    labels: given.labels ?? {},
    slots: given.slots ?? 10,
    leaseDurationMs: given.leaseDurationMs ?? 6_000,
    claimWaitMs: given.claimWaitMs ?? 60_000,
    drainMs: given.drainMs ?? 30_000,
    eagerHandOver: given.eagerHandOver ?? true,
    log: given.log ?? logProblems,
  };
  const rules = new OptionRules();
  checkConnection(rules, given);
  rules.name('name', options.name, 200);
  rules.whole('the number of lanes', options.lanes.length, 1, 256);
  for (const { lane, weight } of options.lanes) {
    rules.name('a lane', lane, 64);
    rules.whole(`the weight of lane ${lane}`, weight, 1, 1_000);
  }
  rules.whole('the number of capabilities', options.capabilities.length, 0, 256);
  for (const capability of options.capabilities) rules.name('a capability', capability, 200);
  rules.whole('the number of labels', Object.keys(options.labels).length, 0, 32);
  rules.whole('slots', options.slots, 1, 10_000);
  rules.whole('leaseDurationMs', options.leaseDurationMs, 1_000, 3_600_000);
  rules.whole('claimWaitMs', options.claimWaitMs, 0, 60_000);
  rules.whole('drainMs', options.drainMs, 0, 3_600_000);
  rules.check('worker');
  return options;
}

function weights(lanes: NonNullable<WorkerOptions['lanes']>): LaneWeight[] {
  const entries = Array.isArray(lanes) ? lanes.map((lane: string) => [lane, 1] as const) : Object.entries(lanes);
  return [...new Map(entries)].map(([lane, weight]) => ({ lane, weight }));
}
