/** What a call can say to its client; each protocol says it in its own way. */
import type { ConnectError } from '@connectrpc/connect';
import type { Call } from './call.js';

export interface Answer {
  /** Sends one message. False: wait until the response has drained before the next. */
  message(bytes: Uint8Array): boolean;
  /** Ends well. */
  finish(): void;
  /** Ends with an error, whatever was sent before. */
  refuse(error: ConnectError): void;
}

/** Headers and trailers set by a handler; nothing when it set none. */
export type Extras = Pick<Call, 'answered'>;
