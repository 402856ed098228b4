/**
 * Batches whose items are independent: each item is checked for itself, and one that is refused leaves the others alone.
 */
import type { z } from 'zod';
import type { ItemError } from '../../../gen/tailrace/v1/error_pb.js';
import { EngineError } from '../../domain/errors.js';
import { toItemError } from '../errors.js';
import { validate } from '../validation.js';

export type Checked<T> = { readonly item: T } | { readonly refused: EngineError };

export function checkItems<S extends z.ZodType>(
  schema: S,
  messages: readonly z.input<S>[],
  path: string,
): Checked<z.output<S>>[] {
  return messages.map((message, i) => {
    try {
      return { item: validate(schema, message, `${path}[${i}]`) };
    } catch (error) {
      if (error instanceof EngineError) return { refused: error };
      throw error;
    }
  });
}

/** Adds to the checked items the violation that a key occurs twice. */
export function refuseRepeats<T>(
  checked: readonly Checked<T>[],
  keyOf: (item: T) => string | null,
  path: (index: number) => string,
): Checked<T>[] {
  const seen = new Set<string>();
  return checked.map((entry, i) => {
    const key = 'item' in entry ? keyOf(entry.item) : null;
    if (key === null) return entry;
    if (!seen.has(key)) {
      seen.add(key);
      return entry;
    }
    const violation = { field: path(i), description: 'occurs more than once in this call' };
    return {
      refused: new EngineError('INVALID_FIELD', `${violation.field} ${violation.description}`, {
        violations: [violation],
      }),
    };
  });
}

/** A malformed item makes the call malformed: throws one INVALID_FIELD with the violations of all items. */
export function throwMalformed(checked: readonly Checked<unknown>[]): void {
  const malformed = checked.flatMap((entry) =>
    'refused' in entry && entry.refused.reason === 'INVALID_FIELD' ? [entry.refused] : [],
  );
  const violations = malformed.flatMap((error) => error.violations);
  if (violations.length === 0) return;
  const [first] = violations;
  const others = violations.length === 1 ? '' : ` (and ${violations.length - 1} more)`;
  throw new EngineError('INVALID_FIELD', `${first?.field} ${first?.description}${others}`, { violations });
}

/** The oneof of every per-item answer of the contract. */
export interface ItemResult<V> {
  readonly result: { readonly case: 'ok'; readonly value: V } | { readonly case: 'error'; readonly value: ItemError };
}

/** Decides the items that passed in one go and puts answers and refusals back into the order of the request. */
export async function answerEach<T, A, V extends object>(
  checked: readonly Checked<T>[],
  decide: (items: readonly T[]) => Promise<readonly A[]>,
  toValue: (answer: A, item: T) => V | EngineError,
): Promise<ItemResult<V>[]> {
  const items = checked.flatMap((entry) => ('item' in entry ? [entry.item] : []));
  const answers = items.length > 0 ? await decide(items) : [];
  let next = 0;
  return checked.map((entry) => {
    if ('refused' in entry) return refused(entry.refused);
    const answer = answers[next++];
    if (answer === undefined) throw new Error('an item was left without an answer');
    const value = toValue(answer, entry.item);
    return value instanceof EngineError ? refused(value) : { result: { case: 'ok', value } };
  });
}

function refused(error: EngineError): ItemResult<never> {
  return { result: { case: 'error', value: toItemError(error) } };
}
