/**
 * Payloads from JavaScript values and back.
 *
 * A value becomes JSON text unless it is bytes or was wrapped by `text()` or `bytes()`; so what `json()` reads is what
 * was given. Nothing is converted silently: what cannot be JSON is refused.
 */
import { create, isMessage } from '@bufbuild/protobuf';
import { type Payload, PayloadSchema } from '../../gen/tailrace/v1/payload_pb.js';

const JSON_TYPE = 'application/json';

/** Content that is not what its reader needs, or cannot be sent. Trying again does not help. */
export class ContentError extends Error {
  override readonly name: string = 'ContentError';
}

export function text(value: string, contentType = 'text/plain; charset=utf-8'): Payload {
  return create(PayloadSchema, { contentType, body: { case: 'text', value } });
}

export function bytes(value: Uint8Array, contentType = 'application/octet-stream'): Payload {
  return create(PayloadSchema, { contentType, body: { case: 'data', value } });
}

/** Undefined means no payload. Throws a ContentError for what JSON cannot say: cycles, big integers, functions. */
export function toPayload(value: unknown): Payload | undefined {
  if (value === undefined) return undefined;
  if (isMessage(value, PayloadSchema)) return value;
  if (value instanceof Uint8Array) return bytes(value);
  return text(toJson(value), JSON_TYPE);
}

function toJson(value: unknown): string {
  let json: string | undefined;
  try {
    json = JSON.stringify(value);
  } catch (error) {
    throw new ContentError(`not representable as JSON: ${(error as Error).message}`, { cause: error });
  }
  if (json === undefined) throw new ContentError(`a ${typeof value} is not representable as JSON`);
  return json;
}

/** Length of the body in bytes; of text at least its length in characters. */
export function lengthOf(payload: Payload | undefined): number {
  return payload?.body.case === 'text' || payload?.body.case === 'data' ? payload.body.value.length : 0;
}

/** Reads a payload as whatever its reader expects. */
export class Content {
  readonly #payload: Payload | undefined;

  constructor(payload: Payload | undefined) {
    this.#payload = payload;
  }

  get contentType(): string {
    return this.#payload?.contentType ?? '';
  }

  get empty(): boolean {
    const body = this.#payload?.body;
    return body?.case === undefined || (body.case !== 'json' && body.value.length === 0);
  }

  /** Whether it was sent as text: answers tell by the content type. */
  get isText(): boolean {
    return this.#payload?.body.case === 'text';
  }

  /** Parsed, but not checked against T. Throws a ContentError if it is not JSON; undefined if it is empty. */
  json<T = unknown>(): T | undefined {
    if (this.empty) return undefined;
    try {
      return JSON.parse(this.text()) as T;
    } catch (error) {
      throw new ContentError(`the content (${this.contentType || 'no type'}) is not JSON`, { cause: error });
    }
  }

  /** Bytes are read as UTF-8. */
  text(): string {
    const body = this.#payload?.body;
    if (body?.case === 'text') return body.value;
    return body?.case === 'data' ? new TextDecoder().decode(body.value) : '';
  }

  bytes(): Uint8Array {
    const body = this.#payload?.body;
    if (body?.case === 'data') return body.value;
    return new TextEncoder().encode(this.text());
  }
}
