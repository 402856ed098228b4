/** What is answered over HTTP/1.1 to bytes that are no request, or not one in time: as typed as everything else. */
import type { Socket } from 'node:net';
import { EngineError } from '../domain/errors.js';
import { toConnectError } from '../services/errors.js';
import { jsonBody } from './connect-answers.js';

interface Wrong {
  readonly status: string;
  readonly error: EngineError;
}

/** For `clientError` of an HTTP/1.1 server. The connection ends with it. */
export function refuseBytes(thrown: NodeJS.ErrnoException, socket: Socket): void {
  if (!socket.writable || thrown.code === 'ECONNRESET') {
    socket.destroy();
    return;
  }
  const { status, error } = whatIsWrong(thrown.code);
  const body = jsonBody(toConnectError(error));
  const head = `HTTP/1.1 ${status}\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\nconnection: close\r\n\r\n`;
  socket.end(Buffer.concat([Buffer.from(head), body]), () => socket.destroySoon());
}

function whatIsWrong(code: string | undefined): Wrong {
  switch (code) {
    case 'HPE_HEADER_OVERFLOW':
      return { status: '431 Request Header Fields Too Large', error: tooManyHeaders() };
    case 'HPE_CHUNK_EXTENSIONS_OVERFLOW':
      return {
        status: '413 Payload Too Large',
        error: new EngineError('PAYLOAD_TOO_LARGE', 'chunk extensions are too long'),
      };
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return {
        status: '408 Request Timeout',
        error: new EngineError('DEADLINE_EXCEEDED', 'the request came too slowly'),
      };
    default:
      return { status: '400 Bad Request', error: new EngineError('MALFORMED_REQUEST', 'this is no HTTP request') };
  }
}

/** Bytes of all headers of a request, over either version of HTTP. */
export const HEADER_BYTES = 16 * 1024;
/** Headers of a request. */
export const HEADERS = 128;

export function tooManyHeaders(): EngineError {
  return new EngineError(
    'PAYLOAD_TOO_LARGE',
    `the headers of a request may have ${HEADER_BYTES} bytes, and be ${HEADERS}`,
    { metadata: { limit: String(HEADER_BYTES), headers: String(HEADERS) } },
  );
}
