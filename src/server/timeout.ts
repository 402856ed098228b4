/** How long a client waits, as its protocol's header says it. */
import { EngineError } from '../domain/errors.js';
import { header, type Request } from './exchange.js';
import type { Wire } from './wire.js';

/** The unit letters of gRPC, in milliseconds. */
const UNITS: Readonly<Record<string, number>> = { H: 3_600_000, M: 60_000, S: 1_000, m: 1, u: 1e-3, n: 1e-6 };

/** Timers hold no more, 24 days; who waits longer waits without a limit. */
const LONGEST_MS = 2 ** 31 - 1;

/** Undefined: no limit. */
export function timeoutMsOf(request: Request, wire: Wire): number | undefined {
  const value = header(request, wire.timeoutHeader);
  if (value === undefined) return undefined;
  const ms = wire.protocol === 'connect' ? connectMs(value) : grpcMs(value);
  if (ms === undefined) throw new EngineError('MALFORMED_REQUEST', `${wire.timeoutHeader} cannot be read: ${value}`);
  return ms > LONGEST_MS ? undefined : ms;
}

function connectMs(value: string): number | undefined {
  return /^\d{1,10}$/.test(value) ? Number(value) : undefined;
}

function grpcMs(value: string): number | undefined {
  const unit = /^\d{1,8}[HMSmun]$/.test(value) ? UNITS[value.slice(-1)] : undefined;
  return unit === undefined ? undefined : Number(value.slice(0, -1)) * unit;
}
