/** Waitpoints as a holder asks for them, and as he is told of them: with their tokens. */
import { z } from 'zod';
import type { Waitpoint, WaitpointSpec } from '../../../../gen/tailrace/v1/signal_pb.js';
import type { HeldWaitpoint, NewWaitpoint } from '../../../repository/suspensions/index.js';
import { uuidV7 } from '../../../runtime/random.js';
import { toWaitpoint } from '../../conversion/suspension.js';
import { DAY_MS, duration, list, name, refuse, SECOND_MS, type Shape } from '../../validation.js';
import type { WaitpointTokens } from './tokens-port.js';

const DEFAULT_EXPIRY_MS = 7 * DAY_MS;
const MAX_EXPIRY_MS = 365 * DAY_MS;
const MAX_WITH_SUSPENSION = 100;

export const waitpointSpec = z
  .object({ key: name(), expiry: duration(SECOND_MS, MAX_EXPIRY_MS) } satisfies Shape<WaitpointSpec>)
  .transform(({ key, expiry }) => ({ key, expiryMs: expiry ?? DEFAULT_EXPIRY_MS }));

type Asked = z.output<typeof waitpointSpec>;

/** Each key once. */
export const waitpointSpecs = list(waitpointSpec, MAX_WITH_SUSPENSION).check((context) => {
  const seen = new Set<string>();
  context.value.forEach(({ key }, i) => {
    if (seen.has(key)) refuse(context.issues, key, 'occurs more than once', [i, 'key']);
    seen.add(key);
  });
});

export function newWaitpoint(asked: Asked): NewWaitpoint {
  return { id: uuidV7(), ...asked };
}

/** The token stands for the waitpoint, not for its state: a repeated call tells the one it told before. */
export async function withToken(tokens: WaitpointTokens, namespace: number, held: HeldWaitpoint): Promise<Waitpoint> {
  return toWaitpoint(held, await tokens.mint(namespace, held.id, held.secret));
}
