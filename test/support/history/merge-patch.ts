/** JSON merge patches, as RFC 7396 has them in its pseudo code. */

export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

export function folded(document: Json, patch: Json): Json {
  if (!isObject(patch)) return patch;
  const result = new Map(isObject(document) ? Object.entries(document) : []);
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) result.delete(key);
    else result.set(key, folded(result.get(key) ?? null, value));
  }
  return Object.fromEntries(result);
}

export function isObject(value: Json): value is { readonly [key: string]: Json } {
  return value !== null && typeof value === 'object' && !Array.isArray(value);
}
