/**
 * Exports spans in the background, in batches, from a bounded queue: a collector that is slow or away costs spans, never
 * calls. Its failures are logged, at most one line in ten seconds. Loaded only by a server that is told where to export to.
 */
import { DiagLogLevel, diag, trace } from '@opentelemetry/api';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-proto';
import { resourceFromAttributes } from '@opentelemetry/resources';
import {
  BatchSpanProcessor,
  ParentBasedSampler,
  TraceIdRatioBasedSampler,
  TracerProvider,
} from '@opentelemetry/sdk-trace';
import type { Logger } from 'pino';
import type { TracingSettings } from '../config/tracing.js';
import { monotonicMs } from '../runtime/clock.js';
import { traceStatements } from './statement-spans.js';

const MOST_QUEUED = 8_192;
const BATCH = 512;
const DELAY_MS = 2_000;
/** Retries included. */
const EXPORT_MS = 5_000;
/** A stop does not wait longer for what is queued. */
const FLUSH_MS = 3_000;
const QUIET_MS = 10_000;

export interface ServiceFacts {
  readonly version: string;
  /** Random per process. */
  readonly instance: string;
}

export interface Tracing {
  /** Sends what is queued, and ends. Never rejects. */
  stop(): Promise<void>;
}

export function startTracing(settings: TracingSettings, { version, instance }: ServiceFacts, logger: Logger): Tracing {
  const { url, headers, serviceName, attributes, sampler, statements } = settings;
  diag.setLogger(quietly(logger), { logLevel: DiagLogLevel.WARN, suppressOverrideMessage: true });
  const root = new TraceIdRatioBasedSampler(sampler.ratio);
  const provider = new TracerProvider({
    resource: resourceFromAttributes({
      'service.name': serviceName,
      'service.version': version,
      'service.instance.id': instance,
      ...attributes,
    }),
    sampler: sampler.parentBased ? new ParentBasedSampler({ root }) : root,
    spanProcessors: [
      new BatchSpanProcessor({
        exporter: new OTLPTraceExporter({ url, headers: { ...headers }, timeoutMillis: EXPORT_MS }),
        maxQueueSize: MOST_QUEUED,
        maxExportBatchSize: BATCH,
        scheduledDelayMillis: DELAY_MS,
        exportTimeoutMillis: EXPORT_MS,
      }),
    ],
  });
  trace.setGlobalTracerProvider(provider);
  traceStatements(statements);
  return {
    async stop() {
      traceStatements(false);
      trace.disable();
      const lost = () => logger.warn({ loop: 'traces' }, 'the last spans could not be exported; they are lost');
      await provider.forceFlush({ timeoutMillis: FLUSH_MS }).catch(lost);
      void provider.shutdown().catch(() => undefined);
      diag.disable();
    },
  };
}

/** What the exporter says of itself. Its texts name addresses and codes, never what was sent. */
function quietly(logger: Logger) {
  let nextMs = 0;
  const say = (message: string, ...more: unknown[]) => {
    if (monotonicMs() < nextMs) return;
    nextMs = monotonicMs() + QUIET_MS;
    logger.warn({ loop: 'traces', error: textOf(message, more) }, 'spans cannot be exported; they are lost');
  };
  const nothing = () => undefined;
  return { error: say, warn: say, info: nothing, debug: nothing, verbose: nothing };
}

const LONGEST = 300;

/** The SDK writes errors as JSON, with their stacks. */
function textOf(message: string, more: readonly unknown[]): string {
  const said = [message, ...more].map((part) => (part instanceof Error ? part.message : messageIn(String(part))));
  return said.join(' ').slice(0, LONGEST);
}

function messageIn(text: string): string {
  if (!text.startsWith('{')) return text;
  try {
    const { message } = JSON.parse(text) as { message?: unknown };
    return typeof message === 'string' ? message : text;
  } catch {
    return text;
  }
}
