/**
 * Speaks gRPC through @grpc/grpc-js behind Connect's Transport, so that everything above it is the same for both.
 *
 * Unary and server-streaming calls only; the API has no others. Errors arrive as ConnectErrors with their details, as
 * the other transport makes them.
 */
import {
  create,
  type DescMessage,
  type DescMethod,
  type DescMethodStreaming,
  type DescMethodUnary,
  type MessageInitShape,
  type MessageShape,
} from '@bufbuild/protobuf';
import { Code, ConnectError, type StreamResponse, type Transport, type UnaryResponse } from '@connectrpc/connect';
// Marked internal by Connect, whose version is pinned for it: decodes grpc-status-details-bin.
import { findTrailerError } from '@connectrpc/connect/protocol-grpc';
import { type CallOptions, Client, credentials, Metadata, type ServiceError } from '@grpc/grpc-js';
import { decodeBinary } from '../protobuf/decoder.js';
import { encodeBinary } from '../protobuf/encoder.js';
import { wallMs } from '../runtime/clock.js';

type GivenHeaders = Parameters<Transport['unary']>[3];

/** Answers may carry hundreds of payloads, so their size is not limited here: the server's limits hold. */
const CHANNEL_OPTIONS = {
  'grpc.max_receive_message_length': -1,
  'grpc.max_send_message_length': -1,
  'grpc.keepalive_time_ms': 10_000,
  'grpc.keepalive_timeout_ms': 5_000,
  'grpc.initial_reconnect_backoff_ms': 100,
  'grpc.max_reconnect_backoff_ms': 2_000,
};

/** TLS material, as PEM. */
export interface Pem {
  readonly ca?: Buffer;
  readonly key?: Buffer;
  readonly cert?: Buffer;
}

export class GrpcTransport implements Transport {
  readonly #client: Client;

  constructor(url: URL, { ca, key, cert }: Pem) {
    const port = url.port || (url.protocol === 'https:' ? '443' : '80');
    const channel = url.protocol === 'https:' ? credentials.createSsl(ca, key, cert) : credentials.createInsecure();
    this.#client = new Client(`${url.hostname}:${port}`, channel, CHANNEL_OPTIONS);
  }

  close(): void {
    this.#client.close();
  }

  unary<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    signal: AbortSignal | undefined,
    timeoutMs: number | undefined,
    header: GivenHeaders,
    input: MessageInitShape<I>,
  ): Promise<UnaryResponse<I, O>> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(canceled(signal));
      const { path, serialize, deserialize } = wire(method);
      const message = create(method.input, input);
      const sent = metadata(header);
      const call = this.#client.makeUnaryRequest(
        path,
        serialize,
        deserialize,
        message,
        sent,
        callOptions(timeoutMs),
        (error, answer) => {
          signal?.removeEventListener('abort', cancel);
          if (error || !answer) return reject(signal?.aborted ? canceled(signal) : fromServiceError(error));
          resolve({ ...answered(method), stream: false, method, message: answer });
        },
      );
      const cancel = () => call.cancel();
      signal?.addEventListener('abort', cancel, { once: true });
    });
  }

  async stream<I extends DescMessage, O extends DescMessage>(
    method: DescMethodStreaming<I, O>,
    signal: AbortSignal | undefined,
    timeoutMs: number | undefined,
    header: GivenHeaders,
    input: AsyncIterable<MessageInitShape<I>>,
  ): Promise<StreamResponse<I, O>> {
    if (method.methodKind !== 'server_streaming') throw new ConnectError('only servers stream', Code.Unimplemented);
    const request = await onlyMessage(input);
    const { path, serialize, deserialize } = wire(method);
    const message = create(method.input, request);
    const open = () =>
      this.#client.makeServerStreamRequest(
        path,
        serialize,
        deserialize,
        message,
        metadata(header),
        callOptions(timeoutMs),
      );
    return { ...answered(method), stream: true, method, message: read(open, signal) };
  }
}

type Opened = ReturnType<Client['makeServerStreamRequest']>;

async function* read<T>(open: () => Opened, signal: AbortSignal | undefined): AsyncGenerator<T> {
  if (signal?.aborted) throw canceled(signal);
  const call = open();
  const cancel = () => call.cancel();
  signal?.addEventListener('abort', cancel, { once: true });
  try {
    for await (const message of call) yield message as T;
  } catch (error) {
    throw signal?.aborted ? canceled(signal) : fromServiceError(error as ServiceError);
  } finally {
    signal?.removeEventListener('abort', cancel);
    // A call that is canceled after its end says so in an event that nobody waits for.
    call.on('error', () => {});
    call.cancel();
  }
}

function wire<I extends DescMessage, O extends DescMessage>(method: DescMethod & { input: I; output: O }) {
  return {
    path: `/${method.parent.typeName}/${method.name}`,
    serialize: (message: MessageShape<I>): Buffer => buffer(encodeBinary(method.input, message)),
    deserialize: (data: Buffer): MessageShape<O> => decodeBinary(method.output, data),
  };
}

/** Nobody above reads headers or trailers. */
function answered(method: DescMethod) {
  return { service: method.parent, header: new Headers(), trailer: new Headers() };
}

function callOptions(timeoutMs: number | undefined): CallOptions {
  return timeoutMs === undefined ? {} : { deadline: new Date(wallMs() + timeoutMs) };
}

function metadata(header: GivenHeaders): Metadata {
  const made = new Metadata();
  for (const [name, value] of new Headers(header)) made.set(name, value);
  return made;
}

async function onlyMessage<T>(messages: AsyncIterable<T>): Promise<T> {
  for await (const message of messages) return message;
  throw new ConnectError('the call has no message', Code.InvalidArgument);
}

function fromServiceError(error: ServiceError | null): ConnectError {
  if (!error) return new ConnectError('the server answered nothing', Code.Internal);
  const trailer = new Headers({ 'grpc-status': String(error.code), 'grpc-message': encodeURIComponent(error.details) });
  const [details] = error.metadata?.get('grpc-status-details-bin') ?? [];
  if (details instanceof Buffer) trailer.set('grpc-status-details-bin', details.toString('base64'));
  const made = findTrailerError(trailer) ?? new ConnectError(error.message, Code.Unknown);
  made.cause = error;
  return made;
}

function canceled(signal: AbortSignal): ConnectError {
  const error = ConnectError.from(signal.reason, Code.Canceled);
  return error.code === Code.Canceled ? error : new ConnectError('the call was canceled', Code.Canceled);
}

function buffer(data: Uint8Array): Buffer {
  return Buffer.from(data.buffer, data.byteOffset, data.byteLength);
}
