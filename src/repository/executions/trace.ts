/** The trace of an execution as it is stored: traceparent, and after a space the tracestate, if there is one. */

export interface Trace {
  readonly traceparent: string;
  /** Empty: none. */
  readonly tracestate: string;
}

export function storedTrace({ traceparent, tracestate }: Trace): string {
  return tracestate === '' ? traceparent : `${traceparent} ${tracestate}`;
}

export function traceFrom(stored: string): Trace {
  const space = stored.indexOf(' ');
  return space < 0
    ? { traceparent: stored, tracestate: '' }
    : { traceparent: stored.slice(0, space), tracestate: stored.slice(space + 1) };
}
