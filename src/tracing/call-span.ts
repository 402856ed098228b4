/**
 * The span of a call, where a tracer provider is registered: kind server, in the trace that the call's headers name, with the
 * attributes of OpenTelemetry's conventions for RPC. It is an error where the conventions say that the server is at fault;
 * the reason is told in any case. Without a provider it costs next to nothing, and still knows the trace of the caller.
 *
 * Probes and reflection have none: they come every few seconds and say nothing.
 */
import type { DescMethod, Message } from '@bufbuild/protobuf';
import {
  type Attributes,
  type Context,
  createTraceState,
  isSpanContextValid,
  ROOT_CONTEXT,
  type Span,
  SpanKind,
  SpanStatusCode,
  trace,
} from '@opentelemetry/api';
import { parseTraceparent, type TraceHeaders } from '../runtime/traceparent.js';
import { inSpan } from './statement-spans.js';
import { tracer } from './tracer.js';

/** What is known of a call once it is over. */
export interface CallEnd {
  /** As gRPC names it: `OK`, `NOT_FOUND`. */
  readonly code: string;
  /** Why it was refused. */
  readonly reason: string | undefined;
  readonly requestId: string;
  readonly namespace: string;
  readonly callerOf: () => string;
}

/** Of a span of kind server, by the conventions. Everything else is for the client to do better. */
const FAULTS: readonly string[] = [
  'UNKNOWN',
  'DEADLINE_EXCEEDED',
  'UNIMPLEMENTED',
  'INTERNAL',
  'UNAVAILABLE',
  'DATA_LOSS',
];
/** More links than that are dropped by collectors, and read by nobody. */
const MOST_LINKS = 128;

export class CallSpan {
  readonly #span: Span;

  constructor(span: Span) {
    this.#span = span;
  }

  /** For logs: of the span, or of the caller's where none is recorded. Empty without a trace. */
  get ids(): { readonly trace_id?: string; readonly span_id?: string } {
    const context = this.#span.spanContext();
    return isSpanContextValid(context) ? { trace_id: context.traceId, span_id: context.spanId } : {};
  }

  /** What `body` asks of the database belongs to this span, if anybody wants to know. */
  run<T>(body: () => T): T {
    return inSpan(this.#span, body);
  }

  /** What was claimed belongs to other traces: this is where they were taken up. */
  answered(output: unknown): void {
    if (!this.#span.isRecording()) return;
    for (const headers of claimedTraces(output).slice(0, MOST_LINKS)) {
      const context = toSpanContext(headers);
      if (context) this.#span.addLink({ context });
    }
  }

  end({ code, reason, requestId, namespace, callerOf }: CallEnd): void {
    if (!this.#span.isRecording()) return;
    this.#span.setAttributes({
      'rpc.response.status_code': code,
      'tailrace.request_id': requestId,
      ...(namespace !== '' && { 'tailrace.namespace': namespace }),
      'tailrace.caller': callerOf(),
      ...(reason !== undefined && { 'tailrace.reason': reason }),
    });
    if (FAULTS.includes(code)) {
      this.#span.setAttribute('error.type', code);
      this.#span.setStatus({ code: SpanStatusCode.ERROR, message: reason ?? code });
    }
    this.#span.end();
  }
}

/** `system`: as the conventions name it. Undefined for methods that are not traced. */
export function startCallSpan(
  method: DescMethod,
  system: 'grpc' | 'connectrpc',
  headers: TraceHeaders | undefined,
): CallSpan | undefined {
  if (method.parent.typeName.startsWith('grpc.')) return undefined;
  const { name, attributes } = namesOf(method, system);
  return new CallSpan(tracer().startSpan(name, { kind: SpanKind.SERVER, attributes }, contextOf(headers)));
}

function contextOf(headers: TraceHeaders | undefined): Context {
  const context = headers && toSpanContext(headers);
  return context ? trace.setSpanContext(ROOT_CONTEXT, context) : ROOT_CONTEXT;
}

function toSpanContext({ traceparent, tracestate }: TraceHeaders) {
  const parent = parseTraceparent(traceparent);
  if (!parent) return undefined;
  const { traceId, spanId, flags } = parent;
  const state = tracestate === '' ? {} : { traceState: createTraceState(tracestate) };
  return { traceId, spanId, traceFlags: flags, isRemote: true, ...state };
}

interface Names {
  readonly name: string;
  readonly attributes: Attributes;
}

const names = { grpc: new Map<DescMethod, Names>(), connectrpc: new Map<DescMethod, Names>() };

function namesOf(method: DescMethod, system: 'grpc' | 'connectrpc'): Names {
  const known = names[system].get(method);
  if (known) return known;
  const name = `${method.parent.typeName}/${method.name}`;
  const made = { name, attributes: { 'rpc.system.name': system, 'rpc.method': name } };
  names[system].set(method, made);
  return made;
}

interface Claimed {
  readonly traceContext?: TraceHeaders;
}

function claimedTraces(output: unknown): TraceHeaders[] {
  const { claims, claim } = output as Partial<Message> & {
    readonly claims?: readonly Claimed[];
    readonly claim?: Claimed;
  };
  return [...(claims ?? []), ...(claim ? [claim] : [])].flatMap(({ traceContext }) => traceContext ?? []);
}
