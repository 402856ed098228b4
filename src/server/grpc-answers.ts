/**
 * Answers of gRPC and gRPC-Web.
 *
 * Both end with trailers that hold the code, a text and a serialized google.rpc.Status with the details: gRPC in
 * trailers of HTTP, gRPC-Web in a last envelope of the body, because browsers hide trailers.
 */
import type { ConnectError } from '@connectrpc/connect';
import { setTrailerStatus } from '@connectrpc/connect/protocol-grpc';
import { trailerSerialize } from '@connectrpc/connect/protocol-grpc-web';
import type { Answer, Extras } from './answer.js';
import { envelope, GRPC_WEB_TRAILERS } from './envelope.js';
import { type Response, write } from './exchange.js';
import type { Wire } from './wire.js';

export class GrpcAnswer implements Answer {
  #opened = false;

  constructor(
    private readonly response: Response,
    private readonly wire: Wire,
    private readonly extras: Extras,
  ) {}

  message(bytes: Uint8Array): boolean {
    this.#open();
    return write(this.response, envelope(bytes));
  }

  finish(): void {
    this.#open();
    this.response.addTrailers({ 'grpc-status': '0', ...plain(this.extras.answered.trailers) });
    this.response.end();
  }

  refuse(error: ConnectError): void {
    this.#open();
    this.response.addTrailers({ ...plain(this.extras.answered.trailers), ...plain(statusOf(error)) });
    this.response.end();
  }

  #open(): void {
    if (this.#opened) return;
    this.#opened = true;
    this.response.writeHead(200, headOf(this.wire, this.extras));
  }
}

export class GrpcWebAnswer implements Answer {
  #opened = false;

  constructor(
    private readonly response: Response,
    private readonly wire: Wire,
    private readonly extras: Extras,
  ) {}

  message(bytes: Uint8Array): boolean {
    this.#open();
    return write(this.response, envelope(bytes));
  }

  finish(): void {
    this.#end(new Headers({ 'grpc-status': '0' }));
  }

  refuse(error: ConnectError): void {
    this.#end(statusOf(error));
  }

  #end(status: Headers): void {
    this.#open();
    this.extras.answered.trailers?.forEach((value, name) => {
      status.append(name, value);
    });
    this.response.end(envelope(trailerSerialize(status), GRPC_WEB_TRAILERS));
  }

  #open(): void {
    if (this.#opened) return;
    this.#opened = true;
    this.response.writeHead(200, headOf(this.wire, this.extras));
  }
}

function headOf(wire: Wire, extras: Extras): Record<string, string> {
  return { ...plain(extras.answered.headers), 'content-type': wire.contentType, [wire.acceptEncodingHeader]: 'gzip' };
}

function plain(headers: Headers | undefined): Record<string, string> {
  return headers ? Object.fromEntries(headers) : {};
}

/**
 * Connect percent-encodes the text more than gRPC asks for, and several clients show it undecoded; so only what gRPC
 * does not allow in a header is encoded here.
 */
function statusOf(error: ConnectError): Headers {
  const status = setTrailerStatus(new Headers(), error);
  const wellFormed = Buffer.from(error.rawMessage).toString();
  status.set('grpc-message', wellFormed.replace(/[^ -$&-~]/gu, encodeURIComponent));
  return status;
}
