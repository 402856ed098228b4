/** A member of a consumer whose process dies: from then on nothing of it reaches the server, and nothing it is answered counts. */
import { Code, ConnectError, type Interceptor } from '@connectrpc/connect';
import { createConnectTransport, Http2SessionManager } from '@connectrpc/connect-node';
import { type ConsumerHandler, type ConsumerOptions, Worker } from '../../src/worker/index.js';
import type { Recorder } from './history/recorder.js';

export class DoomedMember {
  readonly #session: Http2SessionManager;
  readonly #worker: Worker;
  #dead = false;

  constructor(url: string, recorder: Recorder, consumer: string, handler: ConsumerHandler, options: ConsumerOptions) {
    this.#session = new Http2SessionManager(url);
    const doom: Interceptor = (next) => async (request) => {
      this.#mayBeDead();
      const response = await next(request);
      this.#mayBeDead();
      return response;
    };
    const interceptors = [doom, recorder.interceptor];
    const transport = createConnectTransport({
      baseUrl: url,
      httpVersion: '2',
      sessionManager: this.#session,
      interceptors,
    });
    this.#worker = new Worker({ url, transport, log: () => {}, drainMs: 1_000 });
    this.#worker.consumer(consumer, handler, options);
  }

  async start(): Promise<void> {
    await this.#worker.start();
  }

  /** Without a last word. */
  async die(): Promise<void> {
    this.#dead = true;
    this.#session.abort();
    await this.#worker.stop();
  }

  async stop(): Promise<void> {
    await this.#worker.stop();
    this.#session.abort();
  }

  #mayBeDead(): void {
    if (this.#dead) throw new ConnectError('there is nobody any more', Code.FailedPrecondition);
  }
}
