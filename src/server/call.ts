/**
 * One call under way: what its handler sees of it, and how it comes to an end.
 *
 * A call ends once: answered, refused, or given up (client gone, deadline passed, server closing). `signal` aborts only
 * when it is given up, with an EngineError as its reason; unlike Connect's own server, never after an answer. Most calls
 * are short and look at neither signal nor headers, so those are made when asked for.
 */
import type { DescMethod } from '@bufbuild/protobuf';
import type { ContextValues, HandlerContext } from '@connectrpc/connect';
import type { EngineError } from '../domain/errors.js';
import { after, monotonicMs } from '../runtime/clock.js';
import { readTraceHeaders, type TraceHeaders } from '../runtime/traceparent.js';
import { setTrace } from '../services/call-trace.js';
import { valuesWithDraining } from '../services/draining.js';
import type { CallSpan } from '../tracing/call-span.js';
import { header, isHttp2, type Request } from './exchange.js';
import { requestIdOf } from './request-id.js';
import type { Protocol } from './wire.js';

export class Call implements HandlerContext {
  readonly requestMethod = 'POST';
  readonly startedMs = monotonicMs();
  /** Names it in logs, here and at its client. */
  readonly requestId: string;
  /** Where in its client's trace it belongs. */
  readonly trace: TraceHeaders | undefined;
  /** Told when the call is given up, before its handler is. */
  onGivenUp: ((reason: EngineError) => void) | undefined;
  /** Request and last answer, as far as there are some: for the line in the log, which tells what they are about. */
  input: unknown;
  output: unknown;
  span: CallSpan | undefined;

  readonly #request: Request;
  readonly #draining: AbortSignal;
  #ended = false;
  #reason: EngineError | undefined;
  #controller: AbortController | undefined;
  #deadlineMs: number | undefined;
  #cancelDeadline: (() => void) | undefined;
  #values: ContextValues | undefined;
  #requestHeader: Headers | undefined;
  #responseHeader: Headers | undefined;
  #responseTrailer: Headers | undefined;

  constructor(
    readonly method: DescMethod,
    readonly protocolName: Protocol,
    request: Request,
    draining: AbortSignal,
  ) {
    this.#request = request;
    this.#draining = draining;
    this.requestId = requestIdOf(request);
    this.trace = readTraceHeaders((name) => header(request, name));
  }

  get service() {
    return this.method.parent;
  }

  get procedure(): string {
    return `${this.service.typeName}/${this.method.name}`;
  }

  /** That the request names; empty before it is read, and where there is none. */
  get namespace(): string {
    const { namespace } = (this.input ?? {}) as { readonly namespace?: unknown };
    return typeof namespace === 'string' ? namespace : '';
  }

  get ended(): boolean {
    return this.#ended;
  }

  /** Whether its client listens until it is told something; such calls are ended last. */
  get streams(): boolean {
    return this.method.methodKind !== 'unary';
  }

  get signal(): AbortSignal {
    if (!this.#controller) {
      this.#controller = new AbortController();
      if (this.#reason) this.#controller.abort(this.#reason);
    }
    return this.#controller.signal;
  }

  get values(): ContextValues {
    if (!this.#values) {
      this.#values = valuesWithDraining(this.#draining);
      if (this.trace) setTrace(this.#values, this.trace);
    }
    return this.#values;
  }

  get requestHeader(): Headers {
    this.#requestHeader ??= headersOf(this.#request);
    return this.#requestHeader;
  }

  get responseHeader(): Headers {
    this.#responseHeader ??= new Headers();
    return this.#responseHeader;
  }

  get responseTrailer(): Headers {
    this.#responseTrailer ??= new Headers();
    return this.#responseTrailer;
  }

  get url(): string {
    const { socket, url } = this.#request;
    const authority = isHttp2(this.#request) ? header(this.#request, ':authority') : undefined;
    const host = authority ?? header(this.#request, 'host') ?? 'localhost';
    return `${'encrypted' in socket ? 'https' : 'http'}://${host}${url ?? '/'}`;
  }

  /** Milliseconds the client still waits; undefined without a deadline. */
  readonly timeoutMs = (): number | undefined => {
    return this.#deadlineMs === undefined ? undefined : this.#deadlineMs - monotonicMs();
  };

  /** Headers and trailers that the handler has set. */
  get answered(): { readonly headers: Headers | undefined; readonly trailers: Headers | undefined } {
    return { headers: this.#responseHeader, trailers: this.#responseTrailer };
  }

  /** The reason is made when it is needed, which is rare: an error costs its stack trace. */
  expireAfter(ms: number, reason: () => EngineError): void {
    this.#deadlineMs = this.startedMs + ms;
    this.#cancelDeadline = after(ms, () => this.giveUp(reason()));
  }

  /** The answer has been decided. False when the call had ended before, and nothing may be sent anymore. */
  end(): boolean {
    if (this.#ended) return false;
    this.#ended = true;
    this.#cancelDeadline?.();
    return true;
  }

  giveUp(reason: EngineError): void {
    if (this.#ended) return;
    this.onGivenUp?.(reason);
    this.end();
    this.#reason = reason;
    this.#controller?.abort(reason);
  }
}

function headersOf(request: Request): Headers {
  const headers = new Headers();
  for (const [name, value] of Object.entries(request.headers)) {
    if (name.startsWith(':') || value === undefined) continue;
    for (const one of Array.isArray(value) ? value : [value]) headers.append(name, one);
  }
  return headers;
}
