/**
 * Where traces go, in the words of OpenTelemetry's own settings. Only a server that is told of an endpoint exports. What else
 * the exporter knows (timeouts, compression, certificates: OTEL_EXPORTER_OTLP_*) it reads itself.
 */
import { z } from 'zod';
import { flag, text } from './rules.js';

/** What an exporter is told. */
export interface TracingSettings {
  /** Where spans go, as OTLP over HTTP with protobuf. */
  readonly url: string;
  /** Sent with every export; may hold a secret. */
  readonly headers: Readonly<Record<string, string>>;
  readonly serviceName: string;
  /** Beside it, of the resource. */
  readonly attributes: Readonly<Record<string, string>>;
  /** Of traces that begin here; others are sampled as their callers have decided, unless `parentBased` is false. */
  readonly sampler: { readonly ratio: number; readonly parentBased: boolean };
  /** Whether database statements have spans. */
  readonly statements: boolean;
}

const SAMPLERS = [
  'always_on',
  'always_off',
  'traceidratio',
  'parentbased_always_on',
  'parentbased_always_off',
  'parentbased_traceidratio',
] as const;

export const tracingSettings = {
  OTEL_EXPORTER_OTLP_ENDPOINT: text(isHttpUrl, 'an http or https address')
    .optional()
    .describe('Collector for traces, such as http://127.0.0.1:4318; /v1/traces is added. Unset: nothing is exported.'),
  OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: text(isHttpUrl, 'an http or https address')
    .optional()
    .describe('The same with its path, for traces alone.'),
  OTEL_EXPORTER_OTLP_HEADERS: text(isList, 'name=value pairs, separated by commas')
    .optional()
    .describe('Headers of every export: name=value, separated by commas.'),
  OTEL_EXPORTER_OTLP_TRACES_HEADERS: text(isList, 'name=value pairs, separated by commas')
    .optional()
    .describe('The same, for traces alone.'),
  OTEL_SERVICE_NAME: z.string().optional().describe('Name of this service in traces. Default tailrace.'),
  OTEL_RESOURCE_ATTRIBUTES: text(isList, 'name=value pairs, separated by commas')
    .optional()
    .describe('Attributes of this service in traces: name=value, separated by commas.'),
  OTEL_TRACES_SAMPLER: text((value) => (SAMPLERS as readonly string[]).includes(value), `one of ${SAMPLERS.join(', ')}`)
    .default('parentbased_always_on')
    .describe('Which traces are kept.'),
  OTEL_TRACES_SAMPLER_ARG: text((value) => Number(value) >= 0 && Number(value) <= 1, 'a share from 0 to 1')
    .optional()
    .describe('For the samplers with traceidratio: the share that is kept. Default 1.'),
  OTEL_SDK_DISABLED: flag(false).describe('Whether nothing is exported whatever else is set.'),
  TAILRACE_TRACE_STATEMENTS: flag(false).describe('Whether traces show database statements, by name.'),
};

const shape = z.object(tracingSettings);

/** Undefined: nothing is exported. */
export function tracingOf(is: z.output<typeof shape>): TracingSettings | undefined {
  const url = is.OTEL_EXPORTER_OTLP_TRACES_ENDPOINT ?? withPath(is.OTEL_EXPORTER_OTLP_ENDPOINT);
  if (url === undefined || is.OTEL_SDK_DISABLED) return undefined;
  const { 'service.name': named, ...attributes } = pairs(is.OTEL_RESOURCE_ATTRIBUTES);
  return {
    url,
    headers: { ...pairs(is.OTEL_EXPORTER_OTLP_HEADERS), ...pairs(is.OTEL_EXPORTER_OTLP_TRACES_HEADERS) },
    serviceName: is.OTEL_SERVICE_NAME ?? named ?? 'tailrace',
    attributes,
    sampler: samplerOf(is.OTEL_TRACES_SAMPLER, Number(is.OTEL_TRACES_SAMPLER_ARG ?? '1')),
    statements: is.TAILRACE_TRACE_STATEMENTS,
  };
}

function samplerOf(name: string, share: number): TracingSettings['sampler'] {
  const ratio = name.endsWith('always_off') ? 0 : name.endsWith('traceidratio') ? share : 1;
  return { ratio, parentBased: name.startsWith('parentbased') };
}

function withPath(endpoint: string | undefined): string | undefined {
  return endpoint === undefined ? undefined : `${endpoint.replace(/\/+$/, '')}/v1/traces`;
}

function pairs(list: string | undefined): Record<string, string> {
  const entries = (list ?? '').split(',').filter((entry) => entry.trim() !== '');
  return Object.fromEntries(
    entries.map((entry) => {
      const at = entry.indexOf('=');
      return [entry.slice(0, at).trim(), decodeURIComponent(entry.slice(at + 1).trim())];
    }),
  );
}

function isList(value: string): boolean {
  return value
    .split(',')
    .every((entry) => entry.trim() === '' || /^\s*[^=\s]+\s*=(?:[^%]|%[0-9a-fA-F]{2})*$/.test(entry));
}

function isHttpUrl(value: string): boolean {
  return URL.canParse(value) && /^https?:$/.test(new URL(value).protocol);
}
