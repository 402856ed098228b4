/** Payloads between the contract and what is stored: a media type and bytes. */
import { toJson } from '@bufbuild/protobuf';
import { ValueSchema } from '@bufbuild/protobuf/wkt';
import type { Payload } from '../../../gen/tailrace/v1/payload_pb.js';

/** As the repository stores it. */
export interface Content {
  readonly type: string;
  readonly body: Buffer;
}

/** Of a media type without its parameters. */
const TEXTUAL = /^(text\/.+|application\/(json|xml)|.+\+(json|xml))$/i;
const LONE_SURROGATE = /\p{Surrogate}/u;
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** The bytes to store; undefined when they cannot be written without changing them. An absent body is empty. */
export function fromPayload(payload: Payload): Content | undefined {
  const { body, contentType } = payload;
  switch (body.case) {
    case 'text':
      if (LONE_SURROGATE.test(body.value)) return undefined;
      return { type: contentType || 'text/plain; charset=utf-8', body: Buffer.from(body.value) };
    case 'json': {
      const text = jsonText(body.value);
      return text === undefined ? undefined : { type: contentType || 'application/json', body: Buffer.from(text) };
    }
    default: {
      const bytes = body.value ?? new Uint8Array();
      return {
        type: contentType || 'application/octet-stream',
        body: Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength),
      };
    }
  }
}

/** Textual types come as text, so that a call typed by hand shows something readable, unless they are not UTF-8. */
export function toPayload(type: string, bytes: Uint8Array): Payload {
  const media = type.split(';', 1)[0] ?? '';
  const text = TEXTUAL.test(media.trim()) ? decoded(bytes) : undefined;
  // What create() would make, at a fraction of its cost.
  return {
    $typeName: 'tailrace.v1.Payload',
    contentType: type,
    body: text === undefined ? { case: 'data', value: bytes } : { case: 'text', value: text },
  };
}

/** Of two columns that are null together; absent where nothing was given. */
export function toOptionalPayload(type: string | null, bytes: Uint8Array | null): Payload | undefined {
  return type === null ? undefined : toPayload(type, bytes ?? new Uint8Array());
}

function decoded(bytes: Uint8Array): string | undefined {
  try {
    return utf8.decode(bytes);
  } catch {
    return undefined;
  }
}

/** Undefined for what JSON cannot say: a value of no kind, an infinite number. */
function jsonText(value: Parameters<typeof toJson<typeof ValueSchema>>[1]): string | undefined {
  try {
    const text = JSON.stringify(toJson(ValueSchema, value));
    return LONE_SURROGATE.test(text) ? undefined : text;
  } catch {
    return undefined;
  }
}
