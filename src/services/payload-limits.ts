/**
 * How large a payload may be: what the server takes, or less where its namespace says so. Every call that takes payloads
 * checks its requests with a schema made for the limit of the request's namespace.
 */
import type { Registry } from '../dispatch/registry.js';
import { namespace } from './validation.js';

export interface PayloadLimits {
  readonly registry: Pick<Registry, 'payloadBytes'>;
  /** Of the server, which no namespace can raise. */
  readonly maxPayloadBytes: number;
}

export async function payloadBytesOf({ registry, maxPayloadBytes }: PayloadLimits, name: string): Promise<number> {
  const parsed = namespace.safeParse(name);
  // What is no name is refused by the schema, whatever its limit.
  const own = parsed.success ? await registry.payloadBytes(parsed.data) : undefined;
  return Math.min(own ?? maxPayloadBytes, maxPayloadBytes);
}

/** The schema for requests in a namespace. There is one per limit, and as good as always there is one limit. */
export function sized<S>(limits: PayloadLimits, make: (mostBytes: number) => S): (name: string) => Promise<S> {
  const whole = make(limits.maxPayloadBytes);
  const smaller = new Map<number, S>();
  return async (name) => {
    const mostBytes = await payloadBytesOf(limits, name);
    if (mostBytes === limits.maxPayloadBytes) return whole;
    const known = smaller.get(mostBytes) ?? make(mostBytes);
    if (smaller.size >= KEPT) smaller.clear();
    smaller.set(mostBytes, known);
    return known;
  };
}

/** Limits are few; whoever changes one a thousand times does not fill the memory. */
const KEPT = 100;
