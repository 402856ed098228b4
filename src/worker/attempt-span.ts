/**
 * The span of one run of a handler: `<type> process`, of kind consumer, active while the handler runs.
 *
 * It is a child of the context that the execution carries, for an attempt is about one execution: whoever made it finds all its
 * attempts, redrives included, in their own trace, told apart by their attributes. (The conventions for messaging want a link
 * where a consumer takes several messages at once, and permit the parent where it takes one.) What a handler is called for
 * again after a wait has a span of its own.
 *
 * Without a provider there is no span, and what the handler makes still carries on the trace that came with the claim.
 */
import { context, ROOT_CONTEXT, type Span, SpanKind, trace } from '@opentelemetry/api';
import { AttemptKind } from '../../gen/tailrace/v1/attempt_pb.js';
import type { Claim } from '../../gen/tailrace/v1/lease_pb.js';
import { activeTrace, failed, toHeaders, toSpanContext, tracer } from '../client/tracing.js';
import type { TraceHeaders } from '../runtime/traceparent.js';

/** How a run ended, in one word for filters. */
export type RunEnd = 'completed' | 'parked' | 'delayed' | 'failed' | 'suspended' | 'released' | 'lost';

export class AttemptSpan {
  readonly #span: Span;

  constructor(claim: Claim, worker: string) {
    const carried = claim.traceContext && toSpanContext(claim.traceContext);
    const parent = carried ? trace.setSpanContext(ROOT_CONTEXT, carried) : ROOT_CONTEXT;
    const options = { kind: SpanKind.CONSUMER, attributes: attributesOf(claim, worker) };
    this.#span = tracer().startSpan(`${claim.type} process`, options, parent);
  }

  run<T>(body: () => T): T {
    return context.with(trace.setSpan(ROOT_CONTEXT, this.#span), body);
  }

  /** Of what the handler makes at this moment: of the span that is active in it, else of this one. */
  readonly headers = (): TraceHeaders | undefined => activeTrace() ?? toHeaders(this.#span.spanContext());

  /** For lines of the log; empty without a trace. */
  get ids(): { readonly trace_id?: string; readonly span_id?: string } {
    const { traceId, spanId } = this.#span.spanContext();
    return toHeaders(this.#span.spanContext()) ? { trace_id: traceId, span_id: spanId } : {};
  }

  /** The handler has failed, with this. */
  threw(thrown: unknown): void {
    failed(this.#span, thrown);
  }

  end(how: RunEnd): void {
    this.#span.setAttribute('tailrace.end', how);
    this.#span.end();
  }
}

function attributesOf(claim: Claim, worker: string) {
  const { trigger, resume, flowId, redriveOfExecutionId } = claim;
  const event = trigger?.subject.case === 'event' ? trigger.subject.value : undefined;
  return {
    'messaging.system': 'tailrace',
    'messaging.operation.name': 'process',
    'messaging.operation.type': 'process',
    'messaging.destination.name': claim.lane,
    'messaging.message.id': claim.executionId,
    'tailrace.execution_id': claim.executionId,
    'tailrace.type': claim.type,
    'tailrace.lane': claim.lane,
    'tailrace.namespace': claim.namespace,
    'tailrace.attempt': claim.attemptNumber,
    'tailrace.attempt_kind': (AttemptKind[claim.attemptKind] ?? '').toLowerCase(),
    'tailrace.worker': worker,
    ...(flowId !== '' && { 'tailrace.flow_id': flowId }),
    ...(redriveOfExecutionId !== '' && { 'tailrace.redrive_of': redriveOfExecutionId }),
    ...(event && { 'tailrace.event_id': event.eventId }),
    ...(resume && { 'tailrace.resumed': true }),
  };
}
