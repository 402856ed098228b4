/** Places in traces, as W3C Trace Context writes them. Stricter than headers are read: what is said here was meant. */
import { z } from 'zod';
import type { TraceContext } from '../../../gen/tailrace/v1/trace_pb.js';
import { wrongTraceparent, wrongTracestate } from '../../runtime/traceparent.js';
import type { Shape } from '../validation.js';
import { refuse, rule, shown } from './refusals.js';

export const traceContext = z
  .object({
    traceparent: z.string().check((context) => {
      const { value, issues } = context;
      const wrong = value === '' ? 'is required' : wrongTraceparent(value);
      if (wrong !== undefined) refuse(issues, value, value === '' ? wrong : `${wrong}; it is ${shown(value)}`);
    }),
    tracestate: z.string().check(rule(wrongTracestate)),
  } satisfies Shape<TraceContext>)
  .optional();
