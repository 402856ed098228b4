/**
 * The span of a group of entries that a consumer handles: `<consumer> process`, in a trace of its own. Entries come from many
 * traces, and come in groups, so that it is linked with those of the events among them, and is nobody's child.
 */
import { context, type Link, ROOT_CONTEXT, SpanKind, trace } from '@opentelemetry/api';
import type { LogEntry } from '../../gen/tailrace/v1/log_pb.js';
import { failed, toSpanContext, tracer } from '../client/tracing.js';
import { readTraceHeaders } from '../runtime/traceparent.js';
import type { ConsumerContext, Ran } from './consumer-handlers.js';

/** More links are dropped by collectors. */
const MOST_LINKS = 128;

type Holding = Pick<ConsumerContext, 'consumer' | 'generation' | 'live' | 'part' | 'previousTries'>;

/** Answers what `body` does, which never rejects. */
export async function inEntriesSpan(
  entries: readonly LogEntry[],
  { consumer, generation, live, part, previousTries }: Holding,
  body: () => Promise<Ran>,
): Promise<Ran> {
  const attributes = {
    'messaging.system': 'tailrace',
    'messaging.operation.name': 'process',
    'messaging.operation.type': 'process',
    'messaging.consumer.group.name': consumer,
    'messaging.batch.message_count': entries.length,
    'tailrace.generation': Number(generation),
    'tailrace.live': live,
    'tailrace.part': part,
    ...(previousTries > 0 && { 'tailrace.previous_tries': previousTries }),
  };
  const options = { kind: SpanKind.CONSUMER, attributes, links: linksOf(entries), root: true };
  const span = tracer().startSpan(`${consumer} process`, options, ROOT_CONTEXT);
  const ran = await context.with(trace.setSpan(ROOT_CONTEXT, span), body);
  if (ran.kind !== 'handled') failed(span, ran.thrown);
  span.setAttribute('tailrace.end', ran.kind);
  span.end();
  return ran;
}

function linksOf(entries: readonly LogEntry[]): Link[] {
  const links: Link[] = [];
  for (const { body } of entries) {
    if (links.length === MOST_LINKS) break;
    const event = body.case === 'event' ? body.value : undefined;
    const headers = event && readTraceHeaders((name) => event.headers[name]);
    const linked = headers && toSpanContext(headers);
    if (linked) links.push({ context: linked });
  }
  return links;
}
