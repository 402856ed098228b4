/** A message field that must be there; its own rule decides the rest. */
import { z } from 'zod';
import { refuse } from '../validation.js';

export function required<S extends z.ZodType>(schema: S) {
  return schema.optional().transform((value, context) => {
    if (value !== undefined) return value;
    refuse(context.issues, value, 'is required');
    return z.NEVER;
  });
}
