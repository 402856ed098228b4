/**
 * Answers of the Connect protocol: plain HTTP for one message, envelopes for a stream.
 *
 * A unary call ends with an HTTP status and, when refused, a JSON body `{code, message, details}`. A stream always has
 * status 200 and ends with a JSON envelope that holds the error, if any.
 */
import type { ConnectError } from '@connectrpc/connect';
import { codeToHttpStatus, endStreamToJson, errorToJson } from '@connectrpc/connect/protocol-connect';
import type { Answer, Extras } from './answer.js';
import { CONNECT_END, envelope } from './envelope.js';
import { type Response, write } from './exchange.js';
import type { Wire } from './wire.js';

export class ConnectUnaryAnswer implements Answer {
  #message: Uint8Array = new Uint8Array();

  constructor(
    private readonly response: Response,
    private readonly wire: Wire,
    private readonly extras: Extras,
  ) {}

  message(bytes: Uint8Array): boolean {
    this.#message = bytes;
    return true;
  }

  finish(): void {
    this.#send(200, this.wire.contentType, this.#message);
  }

  refuse(error: ConnectError): void {
    this.#send(codeToHttpStatus(error.code), 'application/json', jsonBody(error));
  }

  #send(status: number, contentType: string, body: Uint8Array): void {
    const { headers, trailers } = this.extras.answered;
    for (const [name, value] of headers ?? []) this.response.setHeader(name, value);
    for (const [name, value] of trailers ?? []) this.response.setHeader(`trailer-${name}`, value);
    this.response.writeHead(status, { 'content-type': contentType, 'content-length': body.length });
    this.response.end(body);
  }
}

export class ConnectStreamAnswer implements Answer {
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
    this.#end();
  }

  refuse(error: ConnectError): void {
    this.#end(error);
  }

  #end(error?: ConnectError): void {
    this.#open();
    const trailers = this.extras.answered.trailers ?? new Headers();
    const end = Buffer.from(JSON.stringify(endStreamToJson(trailers, error, undefined)));
    this.response.end(envelope(end, CONNECT_END));
  }

  #open(): void {
    if (this.#opened) return;
    this.#opened = true;
    for (const [name, value] of this.extras.answered.headers ?? []) this.response.setHeader(name, value);
    this.response.writeHead(200, { 'content-type': this.wire.contentType });
  }
}

/** For a request that is no call of any protocol: what a Connect client, and a person with curl, can read. */
export function refusePlainly(response: Response, httpStatus: number, error: ConnectError): void {
  const body = jsonBody(error);
  response.writeHead(httpStatus, { 'content-type': 'application/json', 'content-length': body.length });
  response.end(body);
}

export function jsonBody(error: ConnectError): Buffer {
  return Buffer.from(JSON.stringify(errorToJson(error, undefined)));
}
