/** One HTTP request and its response, whichever version of HTTP brought it. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Http2ServerRequest, Http2ServerResponse } from 'node:http2';

export type Request = IncomingMessage | Http2ServerRequest;
export type Response = ServerResponse | Http2ServerResponse;
export type Listener = (request: Request, response: Response) => void;

export function isHttp2(request: Request): boolean {
  return request.httpVersionMajor === 2;
}

export function header(request: Request, name: string): string | undefined {
  const value = request.headers[name];
  return Array.isArray(value) ? value.join(', ') : value;
}

/** The path without its query. */
export function pathOf(request: Request): string {
  const url = request.url ?? '/';
  const query = url.indexOf('?');
  return query < 0 ? url : url.slice(0, query);
}

/** False: wait for `drain` before writing more. The two classes have this in common, but not in their types. */
export function write(response: Response, bytes: Uint8Array): boolean {
  return (response as ServerResponse).write(bytes);
}

/** Resolves when the response can take more, or is closed. */
export function drained(response: Response): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      response.off('drain', done);
      response.off('close', done);
      resolve();
    };
    response.on('drain', done);
    response.on('close', done);
    if (response.destroyed) done();
  });
}

/** Ends what still comes of a request. Over HTTP/1.1 that is the end of its connection. */
export function cutOff(request: Request): void {
  if (isHttp2(request)) (request as Http2ServerRequest).stream.close();
  else request.destroy();
}

/** Bytes that were handed over and have not left. */
export function unsentBytes(response: Response): number {
  if ('stream' in response) return response.stream?.writableLength ?? 0;
  return response.writableLength;
}
