/**
 * Messages to bytes and back, in binary and in JSON.
 *
 * What cannot be decoded is the caller's mistake and says so with a typed error, naming the field where the decoder
 * knows it. JSON is read strictly: an unknown field or enum name is refused rather than ignored, because it is most
 * often a typing mistake. Binary messages may have unknown fields, as protobuf promises newer clients; they are dropped.
 */
import { type DescMessage, fromJsonString, type Message, type MessageShape, toJsonString } from '@bufbuild/protobuf';
import { isFieldError } from '@bufbuild/protobuf/reflect';
import { EngineError, type FieldViolation } from '../domain/errors.js';
import { decodeBinary } from '../protobuf/decoder.js';
import { encodeBinary } from '../protobuf/encoder.js';

const utf8 = new TextDecoder('utf-8', { fatal: true });

export function decode<D extends DescMessage>(schema: D, bytes: Uint8Array, json: boolean): MessageShape<D> {
  try {
    if (!json) return decodeBinary(schema, bytes, false);
    return fromJsonString(schema, utf8.decode(bytes), { ignoreUnknownFields: false });
  } catch (error) {
    throw refusal(schema, error, json && bytes.length === 0);
  }
}

/** Fails only for a message that breaks its own schema, which is a defect of the handler. */
export function encode(schema: DescMessage, message: Message, json: boolean): Uint8Array {
  return json ? Buffer.from(toJsonString(schema, message)) : encodeBinary(schema, message);
}

function refusal(schema: DescMessage, error: unknown, empty: boolean): EngineError {
  const text = textOf(schema, error);
  const violation = violationIn(error, text);
  if (violation) return new EngineError('INVALID_FIELD', text, { violations: [violation], cause: error });
  const message = empty ? 'the body is empty; an empty message is {} in JSON' : text;
  return new EngineError('MALFORMED_REQUEST', message, { cause: error });
}

function textOf(schema: DescMessage, error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === 'ERR_ENCODING_INVALID_ENCODED_DATA') return `cannot decode ${schema.typeName}: a text is not UTF-8`;
  return message.startsWith('cannot decode') ? message : `cannot decode ${schema.typeName}: ${message}`;
}

/** The decoder knows the field but not the path to it; the text names the message the field belongs to. */
function violationIn(error: unknown, text: string): FieldViolation | undefined {
  const cause = error instanceof Error ? error.cause : undefined;
  if (isFieldError(cause)) return { field: cause.field().name, description: cause.message };
  const unknown = /key "([^"]*)" is unknown$/.exec(text);
  return unknown?.[1] === undefined ? undefined : { field: unknown[1], description: 'is unknown' };
}
