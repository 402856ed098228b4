/**
 * Where in somebody's trace a call belongs, by its `traceparent` and `tracestate` headers. What the call makes belongs there
 * too, unless the request says otherwise.
 */
import { type ContextValues, createContextKey, type HandlerContext } from '@connectrpc/connect';
import type { TraceHeaders } from '../runtime/traceparent.js';

const TRACE = createContextKey<TraceHeaders | undefined>(undefined, { description: 'the trace of the call' });

/** Undefined for a call that says nothing of a trace. */
export function traceOf(context: Pick<HandlerContext, 'values'>): TraceHeaders | undefined {
  return context.values.get(TRACE);
}

export function setTrace(values: ContextValues, trace: TraceHeaders): void {
  values.set(TRACE, trace);
}
