/**
 * Spans of database statements by name, within sampled calls only, and only where somebody has asked for them: there are
 * many. A statement that serves several calls at once (batching/group-commit.ts) belongs to the one that began it. What loops
 * do has none.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import {
  isSpanContextValid,
  ROOT_CONTEXT,
  type Span,
  SpanKind,
  SpanStatusCode,
  TraceFlags,
  trace,
} from '@opentelemetry/api';
import { tracer } from './tracer.js';

const calls = new AsyncLocalStorage<Span>();
let wanted = false;

/** Whether statements have spans. Off until somebody asks. */
export function traceStatements(are: boolean): void {
  wanted = are;
}

export function inSpan<T>(span: Span, body: () => T): T {
  return wanted && isSampled(span) ? calls.run(span, body) : body();
}

/** Begins the span of a statement; what it answers ends it. Undefined where none is wanted. */
export function startStatementSpan(name: string, namespace: string): ((error?: unknown) => void) | undefined {
  const call = wanted ? calls.getStore() : undefined;
  if (!call) return undefined;
  const attributes = { 'db.system.name': 'postgresql', 'db.query.summary': name, 'db.namespace': namespace };
  const span = tracer().startSpan(name, { kind: SpanKind.CLIENT, attributes }, trace.setSpan(ROOT_CONTEXT, call));
  return (error) => {
    if (error !== undefined) {
      const { code } = (error ?? {}) as { code?: unknown };
      const type = typeof code === 'string' ? code : 'Error';
      span.setAttribute('error.type', type);
      span.setStatus({ code: SpanStatusCode.ERROR, message: type });
    }
    span.end();
  };
}

function isSampled(span: Span): boolean {
  const context = span.spanContext();
  return span.isRecording() && isSpanContextValid(context) && (context.traceFlags & TraceFlags.SAMPLED) !== 0;
}
