/** Sends a token with every call, whatever carries it. */
import type { Transport } from '@connectrpc/connect';

/** The secret of a token, or where to take it from at each call, for those that change while the program runs. */
export type Token = string | (() => string);

export function bearing(transport: Transport, token: Token): Transport {
  const withToken = (header: HeadersInit | undefined): Headers => {
    const headers = new Headers(header);
    headers.set('authorization', `Bearer ${typeof token === 'string' ? token : token()}`);
    return headers;
  };
  return {
    unary: (method, signal, timeoutMs, header, input, values) =>
      transport.unary(method, signal, timeoutMs, withToken(header), input, values),
    stream: (method, signal, timeoutMs, header, input, values) =>
      transport.stream(method, signal, timeoutMs, withToken(header), input, values),
  };
}
