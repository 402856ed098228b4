/**
 * The text of a failure. A handler reports whatever its language raised, so nothing in it may make the report fail:
 * what cannot be stored is replaced, what is too long is cut at a character.
 */
import { z } from 'zod';

const MOST_BYTES = 16 * 1024;
const REPLACEMENT = '\ufffd';

export const failureMessage = z.string().transform((message) => {
  const storable = message.replaceAll('\0', REPLACEMENT).replace(/\p{Surrogate}/gu, REPLACEMENT);
  const bytes = Buffer.from(storable);
  if (bytes.length <= MOST_BYTES) return storable;
  let end = MOST_BYTES;
  // A byte of the form 10xxxxxx goes on with a character that began before it.
  while (end > 0 && ((bytes[end] ?? 0) & 0xc0) === 0x80) end--;
  return bytes.subarray(0, end).toString();
});
