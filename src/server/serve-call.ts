/**
 * Carries one call from its request to its answer.
 *
 * The call is given up the moment its client is gone, its deadline passes or the server closes: it is refused at once,
 * and a handler that goes on regardless is waited for but no longer heard. Handlers, decoders and this file throw
 * whatever they like; what leaves is a typed error.
 */
import { create, type DescMessage, type MessageInitShape } from '@bufbuild/protobuf';
import type { Logger } from 'pino';
import { EngineError } from '../domain/errors.js';
import { monotonicMs } from '../runtime/clock.js';
import { asEngineError, codeNameOf, toConnectError } from '../services/errors.js';
import type { Answer } from './answer.js';
import { answerOn } from './answers.js';
import { Call } from './call.js';
import type { Calls } from './calls.js';
import { decode, encode } from './codec.js';
import { drained, type Request, type Response } from './exchange.js';
import { type Incoming, readMessage, readMessages } from './request-body.js';
import type { Route } from './route-table.js';
import { timeoutMsOf } from './timeout.js';
import type { Wire } from './wire.js';

export interface Exchange {
  readonly request: Request;
  readonly response: Response;
  readonly wire: Wire;
}

export interface CallOptions {
  readonly calls: Calls;
  readonly logger: Logger;
  readonly mostBytes: number;
}

export function serveCall(route: Route, exchange: Exchange, options: CallOptions): void {
  const { request, response, wire } = exchange;
  const call = new Call(route.method, wire.protocol, request, options.calls.draining);
  const answer = answerOn(response, wire, call);
  const refuse = (error: EngineError) => {
    if (error !== GONE) answer.refuse(toConnectError(error));
    request.resume(); // what was not read, so that the client gets to reading
    logEnd(call, options.logger, error);
  };
  call.onGivenUp = refuse;
  const closed = new Promise<void>((resolve) => {
    response.on('close', () => {
      call.giveUp(GONE);
      resolve();
    });
  });

  const handled = handle(route, call, answer, exchange, options)
    .then(() => {
      if (!call.end()) return;
      answer.finish();
      logEnd(call, options.logger);
    })
    .catch((thrown: unknown) => {
      const error = asEngineError(thrown, options.logger, call.procedure);
      if (call.end()) refuse(error);
      else if (!response.writableEnded) response.destroy(); // it failed while ending
    });

  options.calls.add(call);
  void Promise.all([handled, closed]).then(() => options.calls.remove(call));
}

/** One for all calls: every call ends by its connection's close, most of them after their answer. */
const GONE = new EngineError('CANCELED', 'the client went away');

async function handle(
  route: Route,
  call: Call,
  answer: Answer,
  { request, response, wire }: Exchange,
  { mostBytes }: CallOptions,
): Promise<void> {
  const incoming: Incoming = { request, wire, mostBytes };
  const timeoutMs = timeoutMsOf(request, wire);
  if (timeoutMs !== undefined) {
    call.expireAfter(timeoutMs, () => new EngineError('DEADLINE_EXCEEDED', 'the deadline of the call has passed'));
  }

  if (route.kind === 'unary') {
    const input = decode(route.method.input, await readMessage(incoming), wire.json);
    const output = await route.impl(input, call);
    if (!call.ended) answer.message(encoded(route.method.output, output, wire));
    return;
  }

  const outputs =
    route.kind === 'server_streaming'
      ? route.impl(decode(route.method.input, await readMessage(incoming), wire.json), call)
      : route.impl(decoded(route.method.input, incoming), call);
  for await (const output of outputs) {
    if (call.ended) break;
    if (!answer.message(encoded(route.method.output, output, wire))) await drained(response);
  }
}

async function* decoded(schema: DescMessage, incoming: Incoming) {
  for await (const bytes of readMessages(incoming)) yield decode(schema, bytes, incoming.wire.json);
}

function encoded(schema: DescMessage, output: MessageInitShape<DescMessage>, wire: Wire): Uint8Array {
  return encode(schema, create(schema, output), wire.json);
}

/** One line per call at debug level: who was called and how it ended, never what was said. */
function logEnd(call: Call, logger: Logger, error?: EngineError): void {
  if (!logger.isLevelEnabled('debug')) return;
  logger.debug(
    {
      procedure: call.procedure,
      protocol: call.protocolName,
      code: error ? codeNameOf(error.reason) : 'OK',
      ...(error ? { reason: error.reason } : {}),
      durationMs: Math.round((monotonicMs() - call.startedMs) * 10) / 10,
    },
    'call',
  );
}
