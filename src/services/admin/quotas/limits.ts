/** What a request may say of limits: how many run at once, how many start per window, how many of a concurrency key. */
import { z } from 'zod';
import type { KeyLimit, RateLimit } from '../../../../gen/tailrace/v1/lane_pb.js';
import {
  DAY_MS,
  duration,
  integer,
  integerOr,
  list,
  NAME_BYTES,
  name,
  refuse,
  SECOND_MS,
  type Shape,
  shown,
} from '../../validation.js';

const MOST = 2 ** 31 - 1;
const KEYS = 10_000;
const HEAVIEST = 100;

/** 0 is no limit, which is null. */
export const limit = integer(0, MOST).transform((value) => (value === 0 ? null : value));

export const rateLimit = z
  .object({
    limit: integer(1, MOST),
    window: duration(SECOND_MS, DAY_MS).transform((ms) => ms ?? SECOND_MS),
  } satisfies Shape<RateLimit>)
  .optional();

const keyLimit = z.object({
  key: name(NAME_BYTES),
  limit,
  weight: integerOr(1, 1, HEAVIEST),
} satisfies Shape<KeyLimit>);

export const keyLimits = list(keyLimit, KEYS).check((context) => {
  const seen = new Map<string, number>();
  context.value.forEach(({ key }, i) => {
    const first = seen.get(key);
    if (first === undefined) seen.set(key, i);
    else refuse(context.issues, key, `must not be named twice; it is ${shown(key)}, as in [${first}]`, [i, 'key']);
  });
});
