/**
 * Carries one call from its request to its answer.
 *
 * The call is given up the moment its client is gone, its deadline passes or the server closes: it is refused at once,
 * and a handler that goes on regardless is waited for but no longer heard. Handlers, decoders and this file throw
 * whatever they like; what leaves is a typed error.
 */
import { create, type DescMessage, type Message, type MessageInitShape } from '@bufbuild/protobuf';
import type { Logger } from 'pino';
import { EngineError } from '../domain/errors.js';
import { monotonicMs } from '../runtime/clock.js';
import { accessTo } from '../services/access.js';
import type { Gate } from '../services/authentication/index.js';
import { ANONYMOUS, type Caller, callerOf, setCaller } from '../services/caller.js';
import { asEngineError, codeNameOf, toConnectError } from '../services/errors.js';
import { startCallSpan } from '../tracing/call-span.js';
import type { Answer } from './answer.js';
import { answerOn } from './answers.js';
import { Call } from './call.js';
import { type CallLog, factsOf } from './call-log.js';
import type { CallMeters } from './call-meters.js';
import type { Calls } from './calls.js';
import { decode, encode } from './codec.js';
import { credentialsOf } from './credentials.js';
import { drained, header, type Request, type Response } from './exchange.js';
import { discard, type Incoming, readMessage, readMessages } from './request-body.js';
import { REQUEST_ID } from './request-id.js';
import type { Route } from './route-table.js';
import type { Standing } from './standing.js';
import { timeoutMsOf } from './timeout.js';
import type { Passage, Traffic } from './traffic.js';
import { urgencyOf } from './urgency.js';
import type { Wire } from './wire.js';

export interface Exchange {
  readonly request: Request;
  readonly response: Response;
  readonly wire: Wire;
}

export interface CallOptions {
  readonly calls: Calls;
  readonly meters: CallMeters;
  readonly logger: Logger;
  readonly log: CallLog;
  readonly mostBytes: number;
  readonly traffic: Traffic;
  /** Absent: everybody may do everything. */
  readonly gate?: Gate;
  /** Where there is a gate: looks again at the tokens of calls that last. */
  readonly standing?: Standing;
}

export function serveCall(route: Route, exchange: Exchange, options: CallOptions): void {
  const { request, response, wire } = exchange;
  const { traffic } = options;
  const passage = traffic.passage(route.method, request);
  const call = new Call(route.method, wire.protocol, request, options.calls.draining);
  call.span = startCallSpan(route.method, wire.protocol === 'connect' ? 'connectrpc' : 'grpc', call.trace);
  response.setHeader(REQUEST_ID, call.requestId);
  const answer = answerOn(response, wire, call);
  let taken = () => {};
  const refuse = (error: EngineError) => {
    if (error.reason === 'INVALID_TOKEN') call.responseHeader.set('www-authenticate', 'Bearer');
    if (error !== GONE) answer.refuse(toConnectError(error));
    discard(request, traffic.bodies); // what was not read, so that the client gets to reading
    taken = traffic.sent(response);
    recordEnd(call, options, error);
  };
  call.onGivenUp = refuse;
  const closed = new Promise<void>((resolve) => {
    response.on('close', () => {
      call.giveUp(GONE);
      taken();
      resolve();
    });
  });

  const handle = () => handled(route, call, passage, answer, exchange, options);
  const handling = (call.span ? call.span.run(handle) : handle())
    .then(() => {
      if (!call.end()) return;
      answer.finish();
      taken = traffic.sent(response);
      recordEnd(call, options);
    })
    .catch((thrown: unknown) => {
      const { logger } = options;
      const defects = {
        error: (fields: object, message: string) => logger.error({ ...factsOf(call), ...fields }, message),
      };
      const error = asEngineError(thrown, defects, call.procedure);
      if (call.end()) refuse(error);
      else if (!response.writableEnded) response.destroy(); // it failed while ending
    });

  options.calls.add(call);
  void Promise.all([handling, closed]).then(() => {
    passage.leave();
    options.standing?.forget(call);
    options.calls.remove(call);
  });
}

/** One for all calls: every call ends by its connection's close, most of them after their answer. */
const GONE = new EngineError('CANCELED', 'the client went away');

async function handled(
  route: Route,
  call: Call,
  passage: Passage,
  answer: Answer,
  { request, response, wire }: Exchange,
  { mostBytes, gate, standing, traffic }: CallOptions,
): Promise<void> {
  passage.enter();
  const incoming: Incoming = { request, wire, mostBytes, passage };
  const timeoutMs = timeoutMsOf(request, wire);
  if (timeoutMs !== undefined) {
    call.expireAfter(timeoutMs, () => new EngineError('DEADLINE_EXCEEDED', 'the deadline of the call has passed'));
  }

  // Before anything is read: whoever may not call is not to be listened to.
  const admission = admitted(route, call, request, gate);
  const enter = admission instanceof Promise ? await admission : admission;
  passage.charge(() => nameOf(callerOf(call)));
  const authorization = header(request, 'authorization');
  if (enter && authorization !== undefined && urgencyOf(route.method) === 'waits') {
    standing?.watch(call, authorization);
  }
  const input = async () => {
    const message = decode(route.method.input, await readMessage(incoming), wire.json);
    const entering = enter?.(message);
    if (entering) await entering;
    call.input = message;
    return message;
  };

  if (route.kind === 'unary') {
    const output = await route.impl(await input(), call);
    call.output = output;
    call.span?.answered(output);
    if (!call.ended) answer.message(encoded(route.method.output, output, wire));
    return;
  }

  const outputs =
    route.kind === 'server_streaming'
      ? route.impl(await input(), call)
      : route.impl(decoded(route.method.input, incoming), call);
  for await (const output of outputs) {
    if (call.ended) break;
    if (answer.message(encoded(route.method.output, output, wire))) continue;
    const taken = traffic.stalled(response);
    await drained(response);
    taken();
  }
}

/** What a caller's calls are counted under; undefined for those without a name. */
function nameOf(caller: Caller): string | undefined {
  return caller === ANONYMOUS ? undefined : (caller.tokenId ?? `${caller.namespace} ${caller.name}`);
}

type Enter = (message: Message) => Promise<void> | undefined;

/** Lets the caller in, or throws; what is still to be asked of it once the request is read. */
function admitted(
  route: Route,
  call: Call,
  request: Request,
  gate: Gate | undefined,
): Enter | Promise<Enter> | undefined {
  const access = accessTo(route.method);
  if (gate === undefined || access === undefined) return undefined;
  const entering = (caller: Caller): Enter => {
    if (caller !== ANONYMOUS) setCaller(call.values, caller);
    return (message) => gate.enter(caller, access, message);
  };
  const caller = gate.admit(credentialsOf(request), access);
  return caller instanceof Promise ? caller.then(entering) : entering(caller);
}

async function* decoded(schema: DescMessage, incoming: Incoming) {
  for await (const bytes of readMessages(incoming)) yield decode(schema, bytes, incoming.wire.json);
}

function encoded(schema: DescMessage, output: MessageInitShape<DescMessage>, wire: Wire): Uint8Array {
  return encode(schema, create(schema, output), wire.json);
}

/** Counts it, logs it, and ends its span. */
function recordEnd(call: Call, { log, meters }: CallOptions, error?: EngineError): void {
  const ms = monotonicMs() - call.startedMs;
  const reason = error?.reason;
  const code = reason ? codeNameOf(reason) : 'OK';
  meters.ended(call, code, ms / 1_000, error);
  log.ended(call, { code, reason, ms });
  const { requestId, namespace } = call;
  call.span?.end({ code, reason, requestId, namespace, callerOf: () => callerOf(call).name });
}
