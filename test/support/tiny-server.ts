/**
 * A server with a few lines of real services behind it, whose namespace tells the handler what to do.
 *
 * | namespace | HeartbeatWorker            | WatchCompletions                       |
 * |-----------|----------------------------|----------------------------------------|
 * | (empty)   | answers its lanes          | three messages, then the end           |
 * | refuse    | throws an EngineError      | one message, then an EngineError       |
 * | defect    | throws a plain Error       | one message, then a plain Error        |
 * | hang      | waits until `release()`    | one message, then waits to be given up |
 * | poll      | waits until the drain      |                                        |
 */
import { once } from 'node:events';
import type { HandlerContext } from '@connectrpc/connect';
import { type Logger, pino } from 'pino';
import { CompletionService } from '../../gen/tailrace/v1/completion_service_pb.js';
import { EngineService } from '../../gen/tailrace/v1/engine_service_pb.js';
import { EngineError } from '../../src/domain/errors.js';
import { Readiness } from '../../src/runtime/readiness.js';
import { type ServerOptions, startServer } from '../../src/server.js';
import { drainingOf } from '../../src/services/draining.js';

export const REFUSAL = new EngineError('LEASE_LOST', 'the lease was lost, 100% (superseded)', {
  metadata: { why: 'superseded' },
  retryDelayMs: 1_500,
});

export class TinyServer {
  readonly readiness = new Readiness(['database']);
  readonly logged: Record<string, unknown>[] = [];
  /** Reasons with which handlers were given up, in order. */
  readonly givenUp: unknown[] = [];
  #hanging: (() => void)[] = [];
  #watched: (() => void)[] = [];
  #running: Awaited<ReturnType<typeof startServer>> | undefined;

  static async start(options: Partial<ServerOptions> = {}): Promise<TinyServer> {
    const tiny = new TinyServer();
    tiny.readiness.set('database', true);
    tiny.#running = await startServer({
      host: '127.0.0.1',
      port: 0,
      readiness: tiny.readiness,
      logger: tiny.#logger(),
      version: '0.0.0-test',
      routes: (router) => {
        router.service(EngineService, {
          heartbeatWorker: ({ namespace, lanes }, context) => tiny.#heartbeat(namespace, lanes, context),
        });
        router.service(CompletionService, {
          watchCompletions: ({ namespace }, context) => tiny.#watch(namespace, context),
        });
      },
      ...options,
    });
    return tiny;
  }

  get address() {
    if (!this.#running) throw new Error('not started');
    return this.#running.address;
  }

  get traffic() {
    if (!this.#running) throw new Error('not started');
    return this.#running.traffic;
  }

  async drain(ms = 0): Promise<void> {
    await this.#running?.drain(ms);
  }

  /** Resolves when a handler has begun to hang. */
  hanging(): Promise<void> {
    return new Promise((resolve) => this.#watched.push(resolve));
  }

  /** Lets every hanging handler answer. */
  release(): void {
    for (const go of this.#hanging.splice(0)) go();
  }

  async #heartbeat(namespace: string, lanes: string[], context: HandlerContext) {
    if (namespace === 'refuse') throw REFUSAL;
    if (namespace === 'defect') throw new TypeError('secret text');
    if (namespace === 'hang') await this.#hang(context);
    if (namespace === 'poll') {
      const draining = once(drainingOf(context), 'abort');
      this.#beginHanging();
      await draining;
    }
    context.responseHeader.set('x-seen', context.requestHeader.get('x-sent') ?? 'nothing');
    context.responseTrailer.set('x-last', 'yes');
    return { drain: namespace === 'poll', drainReason: lanes.join(',') };
  }

  async *#watch(namespace: string, context: HandlerContext) {
    yield { heartbeat: { cursor: 'one' } };
    if (namespace === 'refuse') throw REFUSAL;
    if (namespace === 'defect') throw new TypeError('secret text');
    if (namespace === 'hang') await this.#hang(context);
    yield { heartbeat: { cursor: 'two' } };
    yield { heartbeat: { cursor: 'three' } };
  }

  async #hang({ signal }: HandlerContext): Promise<void> {
    const given = once(signal, 'abort').then(() => {
      this.givenUp.push(signal.reason);
      throw signal.reason;
    });
    const released = new Promise<void>((resolve) => this.#hanging.push(resolve));
    this.#beginHanging();
    await Promise.race([given, released]);
  }

  #beginHanging(): void {
    for (const told of this.#watched.splice(0)) told();
  }

  #logger(): Logger {
    return pino({ level: 'debug' }, { write: (line: string) => void this.logged.push(JSON.parse(line)) });
  }
}
