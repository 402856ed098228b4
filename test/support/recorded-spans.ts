/** Everything that is traced in this process, and what is active when: as somebody who uses OpenTelemetry would set it up. */
import { AsyncLocalStorage } from 'node:async_hooks';
import { type Context, type ContextManager, context, ROOT_CONTEXT, SpanStatusCode, trace } from '@opentelemetry/api';
import { InMemorySpanExporter, type ReadableSpan, SimpleSpanProcessor, TracerProvider } from '@opentelemetry/sdk-trace';
import { eventually } from './eventually.js';

class Contexts implements ContextManager {
  readonly #storage = new AsyncLocalStorage<Context>();

  active(): Context {
    return this.#storage.getStore() ?? ROOT_CONTEXT;
  }

  with<A extends unknown[], F extends (...args: A) => ReturnType<F>>(
    active: Context,
    body: F,
    that?: ThisParameterType<F>,
    ...args: A
  ): ReturnType<F> {
    return this.#storage.run(active, () => body.call(that as never, ...args));
  }

  bind<T>(active: Context, target: T): T {
    if (typeof target !== 'function') return target;
    return ((...args: unknown[]) => this.#storage.run(active, () => target(...args))) as T;
  }

  enable(): this {
    return this;
  }

  disable(): this {
    this.#storage.disable();
    return this;
  }
}

export class RecordedSpans {
  readonly #exporter = new InMemorySpanExporter();
  readonly #provider = new TracerProvider({ spanProcessors: [new SimpleSpanProcessor({ exporter: this.#exporter })] });

  constructor() {
    context.setGlobalContextManager(new Contexts());
    trace.setGlobalTracerProvider(this.#provider);
  }

  /** Runs `body` in a span of the test's own, and answers its trace. */
  async within<T>(name: string, body: () => Promise<T>): Promise<{ traceId: string; made: T }> {
    const tracer = trace.getTracer('test');
    return await tracer.startActiveSpan(name, async (span) => {
      try {
        return { traceId: span.spanContext().traceId, made: await body() };
      } finally {
        span.end();
      }
    });
  }

  get all(): ReadableSpan[] {
    return this.#exporter.getFinishedSpans();
  }

  of(traceId: string): ReadableSpan[] {
    return this.all.filter((span) => span.spanContext().traceId === traceId);
  }

  /** Waits until that trace has so many spans of this name. */
  async named(traceId: string, name: string, count = 1): Promise<ReadableSpan[]> {
    const found = () => this.of(traceId).filter((span) => span.name === name);
    await eventually(() => found().length >= count).catch((error) => {
      throw new Error(`${count} × ${name}: there are ${this.of(traceId).map((span) => span.name)}`, { cause: error });
    });
    return found();
  }

  async stop(): Promise<void> {
    await this.#provider.shutdown();
    trace.disable();
    context.disable();
  }
}

/** The names from the root down to this span. */
export function pathTo(span: ReadableSpan, spans: readonly ReadableSpan[]): string[] {
  const parent = spans.find((other) => other.spanContext().spanId === span.parentSpanContext?.spanId);
  return [...(parent ? pathTo(parent, spans) : []), span.name];
}

export function isError({ status }: ReadableSpan): boolean {
  return status.code === SpanStatusCode.ERROR;
}
