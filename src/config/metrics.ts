/** Where metrics are told, and how many names they tell apart. */
import { z } from 'zod';
import { flag, text, whole } from './rules.js';

export interface MetricsSettings {
  /** A port of their own; undefined: none. */
  readonly own: { readonly host: string; readonly port: number } | undefined;
  /** Whether the port of the API tells them as well. */
  readonly onApiPort: boolean;
  /** Lanes, namespaces and consumers that have series of their own. */
  readonly names: number;
}

const isPort = (value: string) => /^\d{1,5}$/.test(value) && Number(value) <= 65_535;

export const metricsSettings = {
  TAILRACE_METRICS_PORT: text(isPort, 'a whole number from 0 to 65535')
    .transform(Number)
    .optional()
    .describe('Port for /metrics alone, without a token; 0 takes a free one. Unset: none.'),
  TAILRACE_METRICS_HOST: z
    .string()
    .default('127.0.0.1')
    .describe('Address of that port. Whoever reaches it reads the names of lanes, namespaces and consumers.'),
  TAILRACE_METRICS_ON_API_PORT: flag(false).describe(
    'Whether /metrics is at TAILRACE_PORT as well, for tokens with role observer that are bound to all namespaces.',
  ),
  TAILRACE_METRICS_NAMES: whole(1, 10_000, 100).describe(
    'Most lanes, namespaces and consumers with series of their own, the oldest; the rest are added up as other.',
  ),
};

type Given = z.output<z.ZodObject<typeof metricsSettings>>;

export function metricsOf(given: Given): MetricsSettings {
  const { TAILRACE_METRICS_PORT: port, TAILRACE_METRICS_HOST: host } = given;
  return {
    own: port === undefined ? undefined : { host, port },
    onApiPort: given.TAILRACE_METRICS_ON_API_PORT,
    names: given.TAILRACE_METRICS_NAMES,
  };
}
