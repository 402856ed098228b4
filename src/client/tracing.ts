/**
 * Traces, through OpenTelemetry's API alone: which provider makes spans, where they go, and what is active when, is the
 * caller's. Without a provider nothing is made, and next to nothing is done.
 *
 * Contexts travel as W3C Trace Context whatever propagator the caller has, because that is what the engine stores and
 * hands on.
 */
import type { Transport } from '@connectrpc/connect';
import {
  type Attributes,
  context,
  createTraceState,
  isSpanContextValid,
  type Span,
  type SpanContext,
  SpanKind,
  SpanStatusCode,
  type Tracer,
  trace,
} from '@opentelemetry/api';
import { formatTraceparent, parseTraceparent, type TraceHeaders, wrongTracestate } from '../runtime/traceparent.js';

/** Asked for each time: a provider may come after this was loaded. */
export function tracer(): Tracer {
  return trace.getTracer('tailrace');
}

/** Of the span that is active; undefined without one. */
export function activeTrace(): TraceHeaders | undefined {
  const span = trace.getSpanContext(context.active());
  return span && toHeaders(span);
}

/** Undefined for a context that says nothing. */
export function toHeaders(span: SpanContext): TraceHeaders | undefined {
  if (!isSpanContextValid(span)) return undefined;
  const { traceId, spanId, traceFlags, traceState } = span;
  const state = traceState?.serialize() ?? '';
  // What is too long for the engine is left out as a whole: a part of it would mean something else.
  const tracestate = wrongTracestate(state) === undefined ? state : '';
  return { traceparent: formatTraceparent({ traceId, spanId, flags: traceFlags }), tracestate };
}

/** Where somebody else's headers point to. */
export function toSpanContext({ traceparent, tracestate }: TraceHeaders): SpanContext | undefined {
  const parent = parseTraceparent(traceparent);
  if (!parent) return undefined;
  const { traceId, spanId, flags } = parent;
  const state = tracestate === '' ? {} : { traceState: createTraceState(tracestate) };
  return { traceId, spanId, traceFlags: flags, isRemote: true, ...state };
}

/** Calls tell the server in which trace they are made. */
export function tracedTransport(transport: Transport): Transport {
  return {
    unary: (method, signal, timeoutMs, header, input, values) =>
      transport.unary(method, signal, timeoutMs, traced(header), input, values),
    stream: (method, signal, timeoutMs, header, input, values) =>
      transport.stream(method, signal, timeoutMs, traced(header), input, values),
  };
}

type GivenHeaders = Parameters<Transport['unary']>[3];

function traced(given: GivenHeaders): GivenHeaders {
  const active = activeTrace();
  if (!active) return given;
  const headers = new Headers(given);
  if (headers.has('traceparent')) return headers;
  headers.set('traceparent', active.traceparent);
  if (active.tracestate !== '') headers.set('tracestate', active.tracestate);
  return headers;
}

/** Does something within a span of its own, of kind producer, whose context is that of whatever is made by it. */
export async function producing<T>({ name, attributes }: Produced, body: () => Promise<T>): Promise<T> {
  const options = { kind: SpanKind.PRODUCER, attributes: { 'messaging.system': 'tailrace', ...attributes } };
  const span = tracer().startSpan(name, options);
  try {
    return await context.with(trace.setSpan(context.active(), span), body);
  } catch (error) {
    failed(span, error);
    throw error;
  } finally {
    span.end();
  }
}

/** `reason` of a TailraceError is what it is told apart by. */
export function failed(span: Span, thrown: unknown): void {
  const { reason, name } = (thrown ?? {}) as { readonly reason?: unknown; readonly name?: unknown };
  const type = [reason, name].find((said): said is string => typeof said === 'string') ?? 'Error';
  if (thrown instanceof Error) span.recordException(thrown);
  span.setAttribute('error.type', type);
  span.setStatus({ code: SpanStatusCode.ERROR, message: thrown instanceof Error ? thrown.message : String(thrown) });
}

export interface Produced {
  readonly name: string;
  readonly attributes: Attributes;
}

/** Of many that are made at once: what they have in common. */
export function madeOf(operation: string, all: readonly { readonly type: string; readonly lane?: string }[]): Produced {
  const [first] = all;
  const type = all.every((one) => one.type === first?.type) ? first?.type : undefined;
  const lane = all.every((one) => one.lane === first?.lane) ? first?.lane : undefined;
  return {
    name: type === undefined ? operation : `${type} ${operation}`,
    attributes: {
      'messaging.operation.name': operation,
      'messaging.operation.type': 'send',
      ...(lane !== undefined && lane !== '' && { 'messaging.destination.name': lane }),
      ...(type !== undefined && { 'tailrace.type': type }),
      ...(all.length !== 1 && { 'messaging.batch.message_count': all.length }),
    },
  };
}

export function graphOf(operation: string, { members }: { readonly members: readonly unknown[] }): Produced {
  const counted = { 'messaging.batch.message_count': members.length };
  return {
    name: operation,
    attributes: { 'messaging.operation.name': operation, 'messaging.operation.type': 'send', ...counted },
  };
}
