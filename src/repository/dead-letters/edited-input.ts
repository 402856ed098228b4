/** The original input with a merge patch applied. */
import { patchedContent } from '../../domain/patched-json.js';
import type { Content } from '../bytes.js';

/** `patch`: the text of a JSON object. not_json: the original is not, so it cannot be patched. */
export function editedInput(
  { input_type: type, input }: { readonly input_type: string | null; readonly input: Buffer | null },
  { patch, mostBytes }: { readonly patch: string; readonly mostBytes: number },
): Content | 'not_json' | 'too_large' {
  const body = type === null || input === null ? undefined : patchedContent(type, input, patch);
  if (type === null || body === undefined) return 'not_json';
  if (body.length > mostBytes) return 'too_large';
  return { type, body: Buffer.from(body.buffer, body.byteOffset, body.byteLength) };
}
