/**
 * Speaks Connect over HTTP/2 as the library's transport does, of whose parts it is made, but reads and writes messages with
 * our own decoder and encoder: with batches that is most of what a client does (decision 0021).
 */
import type {
  DescMessage,
  DescMethod,
  DescMethodStreaming,
  DescMethodUnary,
  MessageInitShape,
} from '@bufbuild/protobuf';
import {
  Code,
  ConnectError,
  createContextValues,
  type StreamResponse,
  type Transport,
  type UnaryResponse,
} from '@connectrpc/connect';
// Marked internal by Connect, whose version is pinned for it.
import {
  createAsyncIterable,
  createMethodUrl,
  pipe,
  pipeTo,
  runStreamingCall,
  runUnaryCall,
  sinkAllBytes,
  transformJoinEnvelopes,
  transformParseEnvelope,
  transformSerializeEnvelope,
  transformSplitEnvelope,
} from '@connectrpc/connect/protocol';
import {
  createEndStreamSerialization,
  endStreamFlag,
  errorFromJsonBytes,
  requestHeader,
  trailerDemux,
  validateResponse,
} from '@connectrpc/connect/protocol-connect';
import { createNodeHttpClient, type Http2SessionManager } from '@connectrpc/connect-node';
import { serializationOf } from './serialization.js';

type GivenHeaders = Parameters<Transport['unary']>[3];

/** Answers may carry hundreds of payloads, so their size is not limited here: the server's limits hold. */
const MOST_BYTES = 0xffff_ffff;

const endOfStream = createEndStreamSerialization(undefined);

export class ConnectTransport implements Transport {
  readonly #url: string;
  readonly #send: ReturnType<typeof createNodeHttpClient>;

  constructor(url: string, sessions: Http2SessionManager) {
    this.#url = url;
    this.#send = createNodeHttpClient({ httpVersion: '2', sessionProvider: () => sessions });
  }

  unary<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    signal: AbortSignal | undefined,
    timeoutMs: number | undefined,
    header: GivenHeaders,
    message: MessageInitShape<I>,
  ): Promise<UnaryResponse<I, O>> {
    return runUnaryCall<I, O>({
      ...bounds(signal, timeoutMs),
      req: { ...this.#request(method, timeoutMs, header), stream: false, method, message },
      next: async (request) => {
        const body = createAsyncIterable([serializationOf(method.input).serialize(request.message)]);
        const answer = await this.#send({ ...sent(request), body });
        const { isUnaryError, unaryError } = validateResponse(method.methodKind, true, answer.status, answer.header);
        const [headers, trailer] = trailerDemux(answer.header);
        const length = answer.header.get('content-length');
        const bytes = await pipeTo(answer.body, sinkAllBytes(MOST_BYTES, length), { propagateDownStreamError: false });
        if (isUnaryError) throw errorFromJsonBytes(bytes, joined(headers, trailer), unaryError);
        const told = { service: method.parent, header: headers, trailer };
        return { ...told, stream: false, method, message: serializationOf(method.output).parse(bytes) };
      },
    });
  }

  stream<I extends DescMessage, O extends DescMessage>(
    method: DescMethodStreaming<I, O>,
    signal: AbortSignal | undefined,
    timeoutMs: number | undefined,
    header: GivenHeaders,
    message: AsyncIterable<MessageInitShape<I>>,
  ): Promise<StreamResponse<I, O>> {
    return runStreamingCall<I, O>({
      ...bounds(signal, timeoutMs),
      req: { ...this.#request(method, timeoutMs, header), stream: true, method, message },
      next: async (request) => {
        const told = { propagateDownStreamError: true };
        const body = pipe(
          request.message,
          transformSerializeEnvelope(serializationOf(method.input)),
          transformJoinEnvelopes(),
          told,
        );
        const answer = await this.#send({ ...sent(request), body });
        validateResponse(method.methodKind, true, answer.status, answer.header);
        const trailer = new Headers();
        const parsed = transformParseEnvelope(serializationOf(method.output), endStreamFlag, endOfStream);
        const entries = pipe(answer.body, transformSplitEnvelope(MOST_BYTES), parsed, told);
        const message = messagesUntilEnd(entries, answer.header, trailer);
        return { ...request, header: answer.header, trailer, message };
      },
    });
  }

  #request<M extends DescMethod>(method: M, timeoutMs: number | undefined, header: GivenHeaders) {
    return {
      service: method.parent,
      requestMethod: 'POST',
      url: createMethodUrl(this.#url, method),
      header: requestHeader(method.methodKind, true, positive(timeoutMs), header, true),
      contextValues: createContextValues(),
    };
  }
}

function positive(timeoutMs: number | undefined): number | undefined {
  return timeoutMs !== undefined && timeoutMs > 0 ? timeoutMs : undefined;
}

function bounds(signal: AbortSignal | undefined, timeoutMs: number | undefined) {
  const boundMs = positive(timeoutMs);
  return { ...(signal && { signal }), ...(boundMs !== undefined && { timeoutMs: boundMs }) };
}

interface Sent {
  readonly url: string;
  readonly requestMethod: string;
  readonly header: Headers;
  readonly signal: AbortSignal;
}

function sent({ url, requestMethod: method, header, signal }: Sent) {
  return { url, method, header, signal };
}

function joined(...all: readonly Headers[]): Headers {
  const result = new Headers();
  for (const headers of all) for (const [name, value] of headers) result.append(name, value);
  return result;
}

type Entry<T> = { readonly end: false; readonly value: T } | { readonly end: true; readonly value: EndStreamResponse };
type EndStreamResponse = ReturnType<typeof endOfStream.parse>;

/** A stream ends with a message that tells how it ended; one without was cut off. */
async function* messagesUntilEnd<T>(entries: AsyncIterable<Entry<T>>, header: Headers, trailer: Headers) {
  let ended = false;
  for await (const entry of entries) {
    if (ended)
      throw new ConnectError('protocol error: there is more after the end of the stream', Code.InvalidArgument);
    if (!entry.end) {
      yield entry.value;
      continue;
    }
    ended = true;
    const { error, metadata } = entry.value;
    if (error) {
      for (const [name, value] of header) error.metadata.append(name, value);
      throw error;
    }
    for (const [name, value] of metadata) trailer.set(name, value);
  }
  if (!ended) throw new ConnectError('protocol error: the end of the stream is missing', Code.InvalidArgument);
}
