/** Traces, as they are stored, in the words of the contract. */
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { TraceContextSchema } from '../../../gen/tailrace/v1/trace_pb.js';
import type { Granted, TriggerRow } from '../../repository/claims/index.js';
import { type Trace, traceFrom } from '../../repository/executions/index.js';
import { readTraceHeaders } from '../../runtime/traceparent.js';

export function toTraceContext({ traceparent, tracestate }: Trace): MessageInitShape<typeof TraceContextSchema> {
  return { traceparent, tracestate };
}

/**
 * Of a claim: what the execution was created with, else that of what it reacts to: the event, or the first one of a batch;
 * else that of the execution which has emitted the event, or whose dead letter it handles, or of what that had reacted to.
 */
export function traceOfClaim({ trace }: Granted, trigger: TriggerRow | undefined): Trace | undefined {
  if (trace || !trigger) return trace;
  const { headers, origin_trace: stored, origin_headers: origin } = trigger;
  return ofHeaders(headers) ?? (stored === null ? undefined : traceFrom(stored)) ?? ofHeaders(origin);
}

/** Headers of events are anything their publishers say. */
function ofHeaders(headers: Readonly<Record<string, string>> | null): Trace | undefined {
  return headers === null ? undefined : readTraceHeaders((name) => headers[name]);
}
