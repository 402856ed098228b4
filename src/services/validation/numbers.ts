/** Numbers, page sizes and enums. */
import type { DescEnum } from '@bufbuild/protobuf';
import { z } from 'zod';
import { rule, shown } from './refusals.js';

export const PAGE_SIZE = 50;
export const MAX_PAGE_SIZE = 1_000;
const PAGE_TOKEN_BYTES = 2_000;

export function integer(least: number, most: number) {
  return z.number().check(rule((value) => outside(value, least, most)));
}

/** Within [least, most], or 0, which is `standard`. */
export function integerOr(standard: number, least: number, most: number) {
  return z
    .number()
    .check(rule((value) => (value === 0 ? undefined : outside(value, least, most))))
    .transform((value) => (value === 0 ? standard : value));
}

/** An int64 that counts something: versions, fencing tokens. */
export const counter = z
  .bigint()
  .check(rule((value) => (value < 0n ? `must not be negative; it is ${value}` : undefined)));

export const pageSize = integerOr(PAGE_SIZE, 1, MAX_PAGE_SIZE);
export const pageToken = z
  .string()
  .check(rule(({ length }) => (length > PAGE_TOKEN_BYTES ? 'is longer than any page token' : undefined)));

/** A number the contract knows; 0 is UNSPECIFIED. */
export function enumNumber(described: DescEnum) {
  const known = new Set(described.values.map((value) => value.number));
  return z
    .number()
    .check(
      rule((value) =>
        known.has(value) ? undefined : `must be one of the values of ${described.name}; it is ${value}`,
      ),
    );
}

/** For filters: each kept once; with UNSPECIFIED among them anything is selected, as with none. */
export function enumNumbers(described: DescEnum) {
  return z
    .array(enumNumber(described))
    .transform((values) => (values.includes(0) ? [] : [...new Set(values)].sort((a, b) => a - b)));
}

function outside(value: number, least: number, most: number): string | undefined {
  if (Number.isInteger(value) && value >= least && value <= most) return undefined;
  return `must be from ${least} to ${most}; it is ${shown(value)}`;
}
