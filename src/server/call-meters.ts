/**
 * How long calls take, by method, protocol and code, and why whole calls are refused. Counted where a call ends, in place.
 * What is refused inside an answer, item by item, is no refused call.
 */
import type { DescMethod } from '@bufbuild/protobuf';
import type { EngineError } from '../domain/errors.js';
import { Histogram } from '../runtime/histogram.js';
import { Tally } from '../runtime/tally.js';
import type { Call } from './call.js';
import type { Calls } from './calls.js';

/** Those of OpenTelemetry for `rpc.server.call.duration`, in seconds, and two below them. */
const SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10];

export interface EndedCalls {
  /** Such as `tailrace.v1.EngineService/ClaimExecutions`. */
  readonly method: string;
  /** As OpenTelemetry names them. */
  readonly system: 'grpc' | 'connectrpc';
  readonly code: string;
  readonly times: Histogram;
}

export class CallMeters {
  readonly #calls: Calls;
  readonly #methods = new Map<DescMethod, MethodMeter>();
  /** Whole calls that were refused, by reason; of those that were shed, also by why: `OVERLOADED/memory`. */
  readonly refusals = new Tally();

  constructor(calls: Calls) {
    this.#calls = calls;
  }

  /** `error`: what it was refused with; undefined when it was answered. */
  ended(call: Call, code: string, seconds: number, error: EngineError | undefined): void {
    let meter = this.#methods.get(call.method);
    if (meter === undefined) {
      meter = { grpc: new Map(), connectrpc: new Map() };
      this.#methods.set(call.method, meter);
    }
    const byCode = call.protocolName === 'connect' ? meter.connectrpc : meter.grpc;
    let times = byCode.get(code);
    if (times === undefined) {
      times = new Histogram(SECONDS);
      byCode.set(code, times);
    }
    times.observe(seconds);
    if (error === undefined) return;
    const { reason, metadata } = error;
    this.refusals.add(reason === 'OVERLOADED' ? `${reason}/${metadata['why'] ?? ''}` : reason);
  }

  /** Refused before it became a call of a method. */
  refused(reason: string): void {
    this.refusals.add(reason);
  }

  *times(): Generator<EndedCalls> {
    for (const [method, meter] of this.#methods) {
      for (const system of ['grpc', 'connectrpc'] as const) {
        for (const [code, times] of meter[system]) yield { method: nameOf(method), system, code, times };
      }
    }
  }

  /** Calls under way by method. */
  underWay(): ReadonlyMap<string, number> {
    const counts = new Map<string, number>();
    for (const { method } of this.#calls.running) counts.set(nameOf(method), (counts.get(nameOf(method)) ?? 0) + 1);
    return counts;
  }
}

interface MethodMeter {
  readonly grpc: Map<string, Histogram>;
  readonly connectrpc: Map<string, Histogram>;
}

function nameOf(method: DescMethod): string {
  return `${method.parent.typeName}/${method.name}`;
}
