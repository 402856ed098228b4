/** Amounts by dimension, as reports and give-backs name them. */
import { z } from 'zod';
import { name, refuse, shown } from '../../validation.js';
import { contentHash } from '../content-hash.js';

/** Calls about one budget wait for each other in the database: they must not take all connections of the process. */
export const AT_ONCE = 2;
export const MAX_DIMENSIONS = 16;
export const DIMENSION_BYTES = 64;

const dimensionName = name(DIMENSION_BYTES);

/** 1 to 16 dimensions of 1 to 64 bytes, each at least 0; sorted by dimension. */
export const usage = z
  .custom<Readonly<Record<string, bigint>>>()
  .check((context) => {
    const entries = Object.entries(context.value);
    if (entries.length === 0) refuse(context.issues, entries.length, 'must name at least one dimension');
    if (entries.length > MAX_DIMENSIONS) {
      const found = `must have at most ${MAX_DIMENSIONS} dimensions; it has ${entries.length}`;
      refuse(context.issues, entries.length, found);
    }
    for (const [dimension, amount] of entries) {
      const path = [`[${shown(dimension)}]`];
      refuseDimension(context.issues, dimension, path);
      if (amount < 0n) refuse(context.issues, amount, `must not be negative; it is ${amount}`, path);
    }
  })
  .transform((value) => Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));

export type Usage = z.output<typeof usage>;

export function usageHash(call: 'report' | 'release', key: string | null, asked: Usage): Buffer {
  const amounts = asked.map(([dimension, amount]) => [dimension, String(amount)]);
  return contentHash([call, key, amounts], null);
}

/** Of a map's key: `path` is where its value stands. */
export function refuseDimension(issues: Parameters<typeof refuse>[0], dimension: string, path: string[]): void {
  const checked = dimensionName.safeParse(dimension);
  for (const { message } of checked.error?.issues ?? []) {
    refuse(issues, dimension, dimension === '' ? 'its dimension is empty' : `its dimension ${message}`, path);
  }
}
