/** Payloads: checked, and turned into the bytes that are stored. */
import { z } from 'zod';
import type { Payload } from '../../../gen/tailrace/v1/payload_pb.js';
import { fromPayload } from '../conversion/payload.js';
import { refuse, refuseAs } from './refusals.js';
import { NAME_BYTES, text } from './text.js';

const contentType = text(NAME_BYTES);

/** Null when it is absent. One over `mostBytes` is refused with PAYLOAD_TOO_LARGE. */
export function payload(mostBytes: number) {
  return z
    .custom<Payload>()
    .optional()
    .transform((value, context) => {
      if (value === undefined) return null;
      const type = contentType.safeParse(value.contentType);
      if (!type.success) {
        for (const issue of type.error.issues) refuse(context.issues, value, issue.message, ['contentType']);
        return z.NEVER;
      }
      const content = fromPayload(value);
      if (content === undefined) {
        refuse(context.issues, value, 'must be text, bytes or JSON that can be written as text', [
          value.body.case ?? 'body',
        ]);
        return z.NEVER;
      }
      const { length } = content.body;
      if (length > mostBytes) {
        refuseAs(context.issues, value, `must have at most ${mostBytes} bytes; it has ${length}`, {
          reason: 'PAYLOAD_TOO_LARGE',
          metadata: { limit: String(mostBytes), size: String(length) },
        });
        return z.NEVER;
      }
      return content;
    });
}
