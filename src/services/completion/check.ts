/**
 * Measures a request against its rules and names everything that is wrong with it at once, in the contract's spelling
 * (`execution_ids[3]`). Nothing is stored or started before.
 */
import { z } from 'zod';
import { EngineError, type FieldViolation } from '../../domain/errors.js';

export function check<Rules extends z.ZodType>(rules: Rules, request: object): z.output<Rules> {
  const parsed = rules.safeParse(request);
  if (parsed.success) return parsed.data;
  const violations = parsed.error.issues.map(
    (issue): FieldViolation => ({ field: spell(issue.path), description: issue.message }),
  );
  const fields = [...new Set(violations.map(({ field }) => field))].join(', ');
  throw new EngineError('INVALID_FIELD', `the request has wrong fields: ${fields}`, { violations });
}

function spell(path: readonly PropertyKey[]): string {
  return path.reduce<string>((spelled, part) => {
    if (typeof part === 'number') return `${spelled}[${part}]`;
    const name = String(part).replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
    return spelled === '' ? name : `${spelled}.${name}`;
  }, '');
}

/** Text that Postgres can hold, measured in bytes. */
export function text(least: number, most: number) {
  return z.string().superRefine((value, context) => {
    const bytes = Buffer.byteLength(value);
    if (bytes < least || bytes > most) {
      context.addIssue(`must have ${least} to ${most} bytes, has ${bytes}`);
    } else if (value.includes('\0')) {
      context.addIssue('must not contain a NUL character');
    }
  });
}

const UUID = /^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$/i;

export function id() {
  return z
    .string()
    .regex(UUID, 'must be a UUID')
    .transform((value) => value.toLowerCase());
}

/** An id, or empty for none. */
export function optionalId() {
  return z.union([z.literal('').transform(() => undefined), id()], { error: 'must be a UUID or empty' });
}

/** A number that the enum knows, other than those excluded. */
export function known(values: Readonly<Record<string, string | number>>, excluded: readonly number[] = []) {
  const numbers = new Set(Object.values(values).filter((value) => typeof value === 'number'));
  return z.number().refine((value) => numbers.has(value) && !excluded.includes(value), {
    error: ({ input }) => `${String(input)} is not a value of it`,
  });
}
