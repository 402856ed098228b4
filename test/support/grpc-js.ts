/** @grpc/grpc-js as a Connect transport would be: calls by method descriptor, errors as ConnectErrors with details. */
import {
  create,
  type DescMessage,
  type DescMethodServerStreaming,
  type DescMethodUnary,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from '@bufbuild/protobuf';
import type { ConnectError } from '@connectrpc/connect';
import { findTrailerError } from '@connectrpc/connect/protocol-grpc';
import { type CallOptions, type ChannelCredentials, Client, Metadata, type ServiceError } from '@grpc/grpc-js';

type Method<I extends DescMessage, O extends DescMessage> = DescMethodUnary<I, O> | DescMethodServerStreaming<I, O>;

export class GrpcJs {
  readonly client: Client;

  constructor(address: string, credentials: ChannelCredentials) {
    this.client = new Client(address, credentials);
  }

  unary<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    input: MessageInitShape<I>,
    options: CallOptions = {},
  ): Promise<MessageShape<O>> {
    const { path, write, read } = codec(method);
    return new Promise((resolve, reject) => {
      this.client.makeUnaryRequest(
        path,
        write,
        read,
        create(method.input, input),
        new Metadata(),
        options,
        (error, answer) => {
          if (error || !answer) reject(error);
          else resolve(answer);
        },
      );
    });
  }

  stream<I extends DescMessage, O extends DescMessage>(
    method: DescMethodServerStreaming<I, O>,
    input: MessageInitShape<I>,
  ): AsyncIterable<MessageShape<O>> {
    const { path, write, read } = codec(method);
    return this.client.makeServerStreamRequest(path, write, read, create(method.input, input));
  }

  close(): void {
    this.client.close();
  }
}

/** The typed error inside an error of grpc-js. */
export function connectErrorOf(error: ServiceError): ConnectError | undefined {
  const [details] = error.metadata.get('grpc-status-details-bin');
  if (!(details instanceof Buffer)) return undefined;
  return findTrailerError(new Headers({ 'grpc-status-details-bin': details.toString('base64') }));
}

function codec<I extends DescMessage, O extends DescMessage>(method: Method<I, O>) {
  return {
    path: `/${method.parent.typeName}/${method.name}`,
    write: (message: MessageShape<I>) => Buffer.from(toBinary(method.input, message)),
    read: (bytes: Buffer) => fromBinary(method.output, bytes),
  };
}
