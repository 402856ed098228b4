/** Who makes the server's spans: whatever provider is registered, or nobody, which then costs next to nothing. */
import { type Tracer, trace } from '@opentelemetry/api';

/** Asked for each time: a provider may come and go while a process lives. */
export function tracer(): Tracer {
  return trace.getTracer('tailrace');
}
