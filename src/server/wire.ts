/**
 * Which protocol and codec a request speaks; its content type says it.
 *
 * | content type                              | protocol | messages                        |
 * |-------------------------------------------|----------|---------------------------------|
 * | application/grpc, +proto, +json           | gRPC     | in envelopes                    |
 * | application/grpc-web, +proto, +json       | gRPC-Web | in envelopes, trailers as well  |
 * | application/connect+proto, connect+json   | Connect  | in envelopes; streams only      |
 * | application/proto, application/json       | Connect  | the body is the one message     |
 */

export type Protocol = 'grpc' | 'grpc-web' | 'connect';

export interface Wire {
  readonly protocol: Protocol;
  readonly json: boolean;
  /** Whether each message has a prefix of five bytes, flags and length. */
  readonly enveloped: boolean;
  /** Of the request, and so of the answer. */
  readonly contentType: string;
  /** Names how messages are compressed. */
  readonly encodingHeader: string;
  readonly acceptEncodingHeader: string;
  readonly timeoutHeader: string;
}

type Family = Omit<Wire, 'json' | 'contentType'>;

const grpc: Family = {
  protocol: 'grpc',
  enveloped: true,
  encodingHeader: 'grpc-encoding',
  acceptEncodingHeader: 'grpc-accept-encoding',
  timeoutHeader: 'grpc-timeout',
};
const grpcWeb: Family = { ...grpc, protocol: 'grpc-web' };
const connect: Family = {
  protocol: 'connect',
  enveloped: false,
  encodingHeader: 'content-encoding',
  acceptEncodingHeader: 'accept-encoding',
  timeoutHeader: 'connect-timeout-ms',
};
const connectStream: Family = {
  ...connect,
  enveloped: true,
  encodingHeader: 'connect-content-encoding',
  acceptEncodingHeader: 'connect-accept-encoding',
};

const WIRES = new Map<string, Wire>();
for (const [contentType, family] of [
  ['application/grpc', grpc],
  ['application/grpc+proto', grpc],
  ['application/grpc+json', grpc],
  ['application/grpc-web', grpcWeb],
  ['application/grpc-web+proto', grpcWeb],
  ['application/grpc-web+json', grpcWeb],
  ['application/connect+proto', connectStream],
  ['application/connect+json', connectStream],
  ['application/proto', connect],
  ['application/json', connect],
] as const) {
  WIRES.set(contentType, { ...family, json: contentType.endsWith('json'), contentType });
}

/** Undefined for a content type no protocol here has. Parameters are let pass, except a charset that is not UTF-8. */
export function wireOf(contentType: string | undefined): Wire | undefined {
  if (contentType === undefined) return undefined;
  const known = WIRES.get(contentType);
  if (known) return known;
  const [type = '', ...parameters] = contentType.toLowerCase().split(';');
  const charset = parameters.map((parameter) => /^\s*charset\s*=\s*"?([^"\s]*)/.exec(parameter)?.[1]).find(Boolean);
  return charset === undefined || charset === 'utf-8' ? WIRES.get(type.trim()) : undefined;
}
