/** Fields that belong to features which are not built yet: named, never ignored. */
import { z } from 'zod';
import { refuseAs } from './refusals.js';

/** Passes while the field is as if it had not been sent. `feature` is what it needs, such as `flows`. */
export function unbuilt(feature: string) {
  return z
    .custom<unknown>()
    .optional()
    .check((context) => {
      if (isUnset(context.value)) return;
      refuseAs(context.issues, context.value, `needs ${feature}, which are not built yet`, {
        reason: 'UNIMPLEMENTED',
        metadata: { feature },
      });
    });
}

function isUnset(value: unknown): boolean {
  if (value === undefined || value === '' || value === 0 || value === 0n || value === false) return true;
  if (Array.isArray(value)) return value.length === 0;
  // A message that was sent has a type name; what is left is an empty map or oneof.
  return typeof value === 'object' && value !== null && Object.keys(value).length === 0;
}
