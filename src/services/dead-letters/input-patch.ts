/** Edits of inputs by a JSON merge patch. */
import { z } from 'zod';
import { EngineError } from '../../domain/errors.js';
import { wrongMergePatch } from '../../domain/merge-patch.js';
import type { Content } from '../conversion/payload.js';
import { payload, refuse } from '../validation.js';

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** A JSON object, whatever media type it comes with; null when it is absent. */
export function inputPatch(mostBytes: number) {
  return payload(mostBytes).transform((content, context) => {
    if (content === null) return null;
    const text = textOf(content);
    const wrong = text === undefined ? 'must be JSON in UTF-8' : wrongMergePatch(text);
    if (text !== undefined && wrong === undefined) return { ...content, text };
    refuse(context.issues, content, wrong ?? '');
    return z.NEVER;
  });
}

function textOf({ body }: Content): string | undefined {
  try {
    return utf8.decode(body);
  } catch {
    return undefined;
  }
}

export function notJson(): EngineError {
  const description = 'needs an original input that is JSON, by its media type and by what it holds';
  return new EngineError('INVALID_FIELD', `input_patch ${description}`, {
    violations: [{ field: 'input_patch', description }],
  });
}

export function patchedTooLarge(limit: number): EngineError {
  return new EngineError('PAYLOAD_TOO_LARGE', `the patched input would have more than ${limit} bytes`, {
    metadata: { field: 'input_patch', limit: String(limit) },
  });
}
