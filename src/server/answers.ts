/** Picks how to answer: the protocol of the request is the protocol of the answer. */
import type { Answer, Extras } from './answer.js';
import { ConnectStreamAnswer, ConnectUnaryAnswer } from './connect-answers.js';
import type { Response } from './exchange.js';
import { GrpcAnswer, GrpcWebAnswer } from './grpc-answers.js';
import type { Wire } from './wire.js';

const NOTHING: Extras = { answered: { headers: undefined, trailers: undefined } };

export function answerOn(response: Response, wire: Wire, extras: Extras = NOTHING): Answer {
  if (wire.protocol === 'grpc') return new GrpcAnswer(response, wire, extras);
  if (wire.protocol === 'grpc-web') return new GrpcWebAnswer(response, wire, extras);
  return wire.enveloped
    ? new ConnectStreamAnswer(response, wire, extras)
    : new ConnectUnaryAnswer(response, wire, extras);
}
