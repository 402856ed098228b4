/** When a join is satisfied and what follows, as the repository takes it. */
import { z } from 'zod';
import {
  JoinMode,
  JoinModeSchema,
  type JoinPolicy,
  OnJoinTimeout,
  OnJoinTimeoutSchema,
  OnSatisfied,
  OnSatisfiedSchema,
} from '../../../../gen/tailrace/v1/join_pb.js';
import type { NewJoinPolicy } from '../../../repository/flows/index.js';
import { DAY_MS, duration, enumNumber, refuse, SECOND_MS, type Shape } from '../../validation.js';

const MOST_QUORUM = 10_000;
const LONGEST_MS = 30 * DAY_MS;

export const joinPolicy = z
  .object({
    mode: enumNumber(JoinModeSchema).transform((mode) => mode || JoinMode.ALL),
    quorum: z.number(),
    distinctSources: z.boolean(),
    onSatisfied: enumNumber(OnSatisfiedSchema),
    timeout: duration(SECOND_MS, LONGEST_MS),
    onTimeout: enumNumber(OnJoinTimeoutSchema).transform((what) => what || OnJoinTimeout.FAIL),
  } satisfies Shape<JoinPolicy>)
  .check((context) => {
    const { mode, quorum, distinctSources } = context.value;
    if (mode !== JoinMode.QUORUM && quorum !== 0) {
      refuse(context.issues, quorum, `must be 0 unless the mode is QUORUM; it is ${quorum}`, ['quorum']);
    }
    if (mode === JoinMode.QUORUM && (quorum < 1 || quorum > MOST_QUORUM)) {
      refuse(context.issues, quorum, `must be from 1 to ${MOST_QUORUM}; it is ${quorum}`, ['quorum']);
    }
    if (mode === JoinMode.ALL && distinctSources) {
      refuse(context.issues, distinctSources, 'must be false when the mode is ALL', ['distinctSources']);
    }
  })
  .transform(
    ({ mode, quorum, distinctSources, onSatisfied, timeout, onTimeout }): NewJoinPolicy => ({
      mode,
      quorum,
      distinctSources,
      cancelRest: onSatisfied === OnSatisfied.CANCEL_REST,
      onTimeout,
      timeoutMs: timeout,
    }),
  )
  .optional();
