/**
 * The metrics of one server: a registry of its own, and its text as Prometheus reads it.
 *
 * Scrapes that come at once share one; what it tells of the installation is one statement, which scrapes share for some
 * seconds. Nothing is sent, and next to nothing done, between scrapes.
 */
import type { Logger } from 'pino';
import { Registry } from 'prom-client';
import type { GroupMeter } from '../batching/group-commit.js';
import type { Lines } from '../dispatch/lines.js';
import type { NamedLanes } from '../dispatch/named-lanes.js';
import type { FrameHub } from '../frames/hub.js';
import type { LiveLog } from '../log/live-log.js';
import type { LoopMeters } from '../loops/loop-meters.js';
import type { Sweeper } from '../loops/sweeper.js';
import type { Database } from '../repository/database.js';
import { readSnapshot } from '../repository/metrics/index.js';
import type { Lateness } from '../runtime/lateness.js';
import { ProcessLoad } from '../runtime/process-load.js';
import type { Readiness } from '../runtime/readiness.js';
import type { CallMeters } from '../server/call-meters.js';
import type { Traffic } from '../server/traffic.js';
import { callFamilies } from './calls.js';
import { consumerFamilies } from './consumers.js';
import { databaseFamilies } from './database.js';
import { deskFamilies } from './desk.js';
import { register } from './family.js';
import { laneFamilies } from './lanes.js';
import { logFamilies } from './log.js';
import { delayFamilies, processFamilies } from './process.js';
import { type Scraped, ScrapePort } from './scrape-port.js';
import { Snapshots } from './snapshots.js';
import { upkeepFamilies } from './upkeep.js';

export interface MetricsSources {
  readonly engine: {
    readonly database: Database;
    readonly lines: Lines;
    readonly named: NamedLanes;
    readonly meters: LoopMeters;
    readonly sweeper: Sweeper;
    readonly standing: { readonly skewMs: number | undefined };
    readonly log: LiveLog;
    readonly frames: FrameHub;
  };
  readonly groups: readonly GroupMeter[];
  readonly readiness: Readiness;
  readonly version: string;
  /** Consumers that are told apart. */
  readonly most: number;
}

export interface Serving {
  readonly meters: CallMeters;
  readonly traffic: Traffic;
  readonly lateness: Lateness;
}

/** Where they are told. */
export interface MetricsPlaces {
  readonly own: { readonly host: string; readonly port: number } | undefined;
  readonly onApiPort: boolean;
  /** Lanes, namespaces and consumers that are told apart. */
  readonly names: number;
}

export interface OpenMetrics {
  /** Of the port of their own. */
  readonly url: string | undefined;
  /** For the port of the API. */
  readonly page: Scraped | undefined;
  /** The server is there: from now on its calls are told as well. */
  serving(server: Serving): void;
  close(): Promise<void>;
}

/** Measures nothing beyond what is counted anyway where nobody is to be told. Throws StartError. */
export async function openMetrics(
  { own, onApiPort, names }: MetricsPlaces,
  sources: Omit<MetricsSources, 'most'>,
  logger: Logger,
): Promise<OpenMetrics> {
  const metrics = own || onApiPort ? new Metrics({ ...sources, most: names }) : undefined;
  const port = own && metrics && (await ScrapePort.open({ ...own, metrics, logger }));
  if (port) logger.info({ url: port.url }, 'metrics are told on a port of their own');
  return {
    url: port?.url,
    page: onApiPort ? metrics : undefined,
    serving: (server) => metrics?.serving(server),
    close: async () => await port?.close(),
  };
}

class Metrics implements Scraped {
  readonly contentType = Registry.PROMETHEUS_CONTENT_TYPE;
  readonly #registry = new Registry();
  #scrape: Promise<string> | undefined;

  constructor({ engine, groups, readiness, version, most }: MetricsSources) {
    const { database, lines, named, meters: loops, sweeper, standing, log, frames } = engine;
    const snapshots = new Snapshots({
      read: () => readSnapshot(database, { lastLane: named.last, stretches: lines.stretches() }),
    });
    const families = [
      ...laneFamilies({ snapshots, named, attempts: lines.attempts, waitingClaims: () => lines.waiting }),
      ...deskFamilies({ snapshots, named, loops }),
      ...logFamilies({ snapshots, loops, log, frames }),
      ...consumerFamilies({ snapshots, named, most }),
      ...databaseFamilies(database, groups),
      ...upkeepFamilies({
        snapshots,
        named,
        loops,
        sweeps: () => sweeper.meters,
        readiness,
        skewMs: () => standing.skewMs,
      }),
      ...processFamilies(new ProcessLoad(), version),
    ];
    for (const family of families) register(this.#registry, family);
  }

  serving({ meters, traffic, lateness }: Serving): void {
    const families = [...callFamilies(meters, traffic), ...delayFamilies(lateness)];
    for (const family of families) register(this.#registry, family);
  }

  /** Never rejects because of the database. */
  text(): Promise<string> {
    this.#scrape ??= this.#registry.metrics().finally(() => {
      this.#scrape = undefined;
    });
    return this.#scrape;
  }
}
