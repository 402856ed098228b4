/** What a request may say of a namespace: its name, and its settings, of which those at zero are the server's. */
import type { Duration } from '@bufbuild/protobuf/wkt';
import { z } from 'zod';
import type { NamespaceSettings, RetentionPolicy } from '../../../../gen/tailrace/v1/namespace_pb.js';
import type { NamespaceRule } from '../../../repository/namespaces/index.js';
import { CENTURY_MS, duration, integerOr, refuse, type Shape } from '../../validation.js';

const MAX_PAYLOAD_BYTES = 16 * 1_024 * 1_024;
const HOPS = 64;
const MAX_HOPS = 1_000;
const NAME = /^[a-z0-9._-]{1,64}$/;

/** As the contract has it; one that came into being under another name, by its first use, keeps it. */
export function isNewName(name: string): boolean {
  return NAME.test(name);
}

/** `leastMs`: the shortest that may be kept. `serverBytes`: what this server takes at most. */
export function namespaceSettings(leastMs: number, serverBytes: number) {
  const kept = keptFor(leastMs);
  const retention = z.object({
    executions: kept,
    log: kept,
    closedDeadLetters: kept,
    eventIds: kept,
    eventIdsForever: z.boolean(),
  } satisfies Shape<RetentionPolicy>);
  return z.object({
    retention: retention.optional(),
    maxPayloadBytes: payloadBytes(Math.min(MAX_PAYLOAD_BYTES, serverBytes)),
    maxHops: integerOr(HOPS, 1, MAX_HOPS),
  } satisfies Shape<NamespaceSettings>);
}

/** Without any, all of them are the server's. */
export function toRule(
  description: string,
  settings: z.output<ReturnType<typeof namespaceSettings>> | undefined,
): NamespaceRule {
  const retention = settings?.retention;
  return {
    description,
    keepExecutionsMs: retention?.executions ?? null,
    keepLogMs: retention?.log ?? null,
    keepLettersMs: retention?.closedDeadLetters ?? null,
    keepEventIdsMs: retention?.eventIds ?? null,
    eventIdsForever: retention?.eventIdsForever ?? false,
    maxPayloadBytes: settings?.maxPayloadBytes ?? null,
    maxHops: settings?.maxHops ?? HOPS,
  };
}

/** A span; null for none and for zero. */
function keptFor(leastMs: number) {
  const isZero = (value: Duration | undefined) => value?.seconds === 0n && value.nanos === 0;
  return z
    .custom<Duration>()
    .optional()
    .transform((value) => (isZero(value) ? undefined : value))
    .pipe(duration(leastMs, CENTURY_MS));
}

/** Null for zero. */
function payloadBytes(most: number) {
  return z
    .bigint()
    .check((context) => {
      const { value } = context;
      if (value >= 0n && value <= BigInt(most)) return;
      refuse(context.issues, value, `must be from 1 to ${most}, or 0 for the server's; it is ${value}`);
    })
    .transform((value) => (value === 0n ? null : value));
}
