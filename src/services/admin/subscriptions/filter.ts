/** What a subscription may match. */
import { z } from 'zod';
import { LogEntryKind } from '../../../../gen/tailrace/v1/log_pb.js';
import type { KeySource, PayloadMatch } from '../../../../gen/tailrace/v1/subscription_pb.js';
import { KeySourceKind } from '../../../repository/subscriptions/index.js';
import { logFilter } from '../../log-filter.js';
import { refuseAs } from '../../validation/refusals.js';
import { label, list, refuse, type Shape, shown, text } from '../../validation.js';

const POINTER_BYTES = 200;
const MATCH_VALUES = 64;

/** A JSON pointer as the path that Postgres takes. */
export const pointer = text(POINTER_BYTES).transform((value, context) => {
  if (value === '') return [];
  if (value.startsWith('/') && !/~(?![01])/.test(value)) {
    return value
      .slice(1)
      .split('/')
      .map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'));
  }
  refuse(context.issues, value, `must be a JSON pointer, such as "/order/id"; it is ${shown(value)}`);
  return z.NEVER;
});

export const payloadMatch = z.object({
  pointer,
  values: list(text(POINTER_BYTES), MATCH_VALUES, 1),
} satisfies Shape<PayloadMatch>);

const { EVENT_PUBLISHED, DEAD_LETTER_OPENED } = LogEntryKind;

const kinds = logFilter.kinds.check((context) => {
  if (context.value.every((kind) => kind === EVENT_PUBLISHED || kind === DEAD_LETTER_OPENED)) return;
  refuseAs(context.issues, context.value, 'needs subscriptions to other log entries, which are not built yet', {
    reason: 'UNIMPLEMENTED',
    metadata: { feature: 'subscriptions to other log entries' },
  });
});

export const subscriptionFilter = z.object({ ...logFilter, kinds });

/** Whether it matches dead letters that are opened, and not events. */
export const isOfLetters = (filter: { readonly kinds: readonly number[] } | undefined): boolean =>
  filter?.kinds.includes(DEAD_LETTER_OPENED) ?? false;

/** Where a key comes from, as columns. */
export const keySource = z
  .object({ source: z.custom<KeySource['source']>() } satisfies Shape<KeySource>)
  .transform(({ source }, context) => {
    const wrong = (message: string) => {
      refuse(context.issues, source.value, message, [source.case ?? 'source']);
      return z.NEVER;
    };
    switch (source.case) {
      case 'flow':
      case 'stream':
        if (!source.value) return wrong('must be true, or absent');
        return { kind: source.case === 'flow' ? KeySourceKind.FLOW : KeySourceKind.STREAM, name: null, path: null };
      case 'tag':
      case 'header': {
        const key = label.safeParse(source.value);
        if (!key.success) return wrong(key.error.issues[0]?.message ?? '');
        return { kind: source.case === 'tag' ? KeySourceKind.TAG : KeySourceKind.HEADER, name: key.data, path: null };
      }
      case 'pointer': {
        const path = pointer.safeParse(source.value);
        if (!path.success) return wrong(path.error.issues[0]?.message ?? '');
        return { kind: KeySourceKind.PAYLOAD, name: null, path: path.data };
      }
      default:
        return wrong('is required');
    }
  })
  .optional();
