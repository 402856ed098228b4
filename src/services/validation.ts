/**
 * Requests are checked here, before anything is asked of the database: all violations at once, with paths as the
 * contract spells them, and typed results (Dates, milliseconds, nulls for what is absent).
 *
 * A schema is written as `z.object({ … } satisfies Shape<GetLaneRequest>)`, so that a field of the contract which nobody
 * thought of does not compile.
 */
import type { Message } from '@bufbuild/protobuf';
import type { z } from 'zod';
import { EngineError, type FieldViolation } from '../domain/errors.js';
import type { RefusalParams } from './validation/refusals.js';

export { payload } from './validation/contents.js';
export * from './validation/numbers.js';
export { always, refuse, shown } from './validation/refusals.js';
export * from './validation/text.js';
export * from './validation/times.js';
export { traceContext } from './validation/trace.js';

/** A building block for every field of the message. */
export type Shape<M extends Message> = { readonly [K in keyof Omit<M, '$typeName' | '$unknown'>]-?: z.ZodType };

/**
 * The request's fields, completed. Throws INVALID_FIELD with every violation; if nothing is malformed, the first refusal
 * with a reason of its own (UNIMPLEMENTED, PAYLOAD_TOO_LARGE). `at` is where an item stands in its request.
 */
export function validate<S extends z.ZodType>(schema: S, message: z.input<S>, at = ''): z.output<S> {
  const parsed = schema.safeParse(message);
  if (parsed.success) return parsed.data;
  throw refusal(parsed.error.issues, at);
}

function refusal(issues: readonly z.core.$ZodIssue[], at: string): EngineError {
  const violations: FieldViolation[] = issues
    .filter((issue) => paramsOf(issue) === undefined)
    .map((issue) => ({ field: fieldPath(issue.path, at), description: issue.message }));
  if (violations.length > 0) {
    const [first] = violations;
    const others = violations.length === 1 ? '' : ` (and ${violations.length - 1} more)`;
    return new EngineError('INVALID_FIELD', `${first?.field} ${first?.description}${others}`, { violations });
  }
  const [own] = issues;
  const params = own && paramsOf(own);
  if (own === undefined || params === undefined) throw new Error('zod refused a request without an issue');
  const field = fieldPath(own.path, at);
  return new EngineError(params.reason, `${field} ${own.message}`, { metadata: { field, ...params.metadata } });
}

function paramsOf(issue: z.core.$ZodIssue): RefusalParams | undefined {
  if (issue.code !== 'custom' || issue.params === undefined) return undefined;
  return issue.params as unknown as RefusalParams;
}

/** `executions[3].retry_policy.max_attempts`, `tags["key"]`. */
function fieldPath(path: readonly PropertyKey[], at: string): string {
  return path.reduce<string>((before, part) => {
    if (typeof part === 'number') return `${before}[${part}]`;
    const name = String(part);
    if (name.startsWith('[')) return before + name;
    const snake = name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
    return before === '' ? snake : `${before}.${snake}`;
  }, at);
}
