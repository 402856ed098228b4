/** Calls sent as bytes, for what a client library would refuse to send; answers as they came. */
import { type DescMethod, fromBinary, fromJson, type JsonValue, type Message } from '@bufbuild/protobuf';
import { base64Decode } from '@bufbuild/protobuf/wire';
import { type ErrorDetail, ErrorDetailSchema } from '../../gen/tailrace/v1/error_pb.js';

export interface Refusal {
  /** As Connect writes it, such as `invalid_argument`. */
  readonly code: string;
  readonly message: string;
  /** Undefined: the server broke its promise that every error has one. */
  readonly detail: ErrorDetail | undefined;
}

/** Of a stream, the first message. */
export type Answered = { readonly message: Message } | { readonly refusal: Refusal };

const END = 2;

export async function callRaw(
  url: string,
  method: DescMethod,
  body: Uint8Array | string,
  given: Readonly<Record<string, string>> = {},
): Promise<Answered> {
  const json = typeof body === 'string';
  const bytes = json ? Buffer.from(body) : body;
  const streams = method.methodKind !== 'unary';
  const controller = new AbortController();
  const response = await fetch(`${url}/${method.parent.typeName}/${method.name}`, {
    method: 'POST',
    headers: { ...given, 'content-type': `application/${streams ? 'connect+' : ''}${json ? 'json' : 'proto'}` },
    body: streams ? enveloped(bytes) : Buffer.from(bytes),
    signal: controller.signal,
  });
  try {
    if (!streams) {
      const answer = new Uint8Array(await response.arrayBuffer());
      return response.ok ? { message: decode(method, answer, json) } : { refusal: refusalIn(jsonIn(answer)) };
    }
    const { flags, message } = await firstEnvelope(response);
    if ((flags & END) === 0) return { message: decode(method, message, json) };
    const { error } = jsonIn(message) as { error?: ErrorJson };
    if (error === undefined) throw new Error(`${method.name} ended without a message`);
    return { refusal: refusalIn(error) };
  } finally {
    controller.abort();
  }
}

interface ErrorJson {
  readonly code: string;
  readonly message?: string;
  readonly details?: readonly { readonly type: string; readonly value: string }[];
}

function refusalIn(json: unknown): Refusal {
  const { code, message = '', details = [] } = json as ErrorJson;
  const [detail] = details;
  return { code, message, detail: detail && fromBinary(ErrorDetailSchema, base64Decode(detail.value)) };
}

function decode(method: DescMethod, bytes: Uint8Array, json: boolean): Message {
  return json ? fromJson(method.output, jsonIn(bytes)) : fromBinary(method.output, bytes);
}

function jsonIn(bytes: Uint8Array): JsonValue {
  return JSON.parse(Buffer.from(bytes).toString()) as JsonValue;
}

function enveloped(message: Uint8Array): Buffer {
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(message.length, 1);
  return Buffer.concat([prefix, message]);
}

async function firstEnvelope(response: Response): Promise<{ flags: number; message: Uint8Array }> {
  let bytes = Buffer.alloc(0);
  for await (const chunk of response.body ?? []) {
    bytes = Buffer.concat([bytes, chunk as Uint8Array]);
    if (bytes.length >= 5 && bytes.length >= 5 + bytes.readUInt32BE(1)) break;
  }
  if (bytes.length < 5) throw new Error(`a stream without a message: ${response.status} ${bytes.toString()}`);
  return { flags: bytes.readUInt8(0), message: bytes.subarray(5, 5 + bytes.readUInt32BE(1)) };
}
