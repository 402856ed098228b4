/** A server, a client to it, and workers in this process that are stopped after each test. */
import { Client } from '../../src/client/index.js';
import { type Handler, Worker } from '../../src/worker/index.js';
import type { WorkerOptions } from '../../src/worker/options.js';
import { startTailrace, type TestTailrace } from './tailrace.js';

export class Workplace {
  readonly tailrace: TestTailrace;
  readonly client: Client;
  #workers: Worker[] = [];

  private constructor(tailrace: TestTailrace) {
    this.tailrace = tailrace;
    this.client = new Client({ url: tailrace.url });
  }

  static async start(): Promise<Workplace> {
    return new Workplace(await startTailrace());
  }

  async work(
    lane: string,
    handlers: Readonly<Record<string, Handler>>,
    options: Partial<WorkerOptions> = {},
  ): Promise<Worker> {
    const worker = new Worker({ url: this.tailrace.url, lanes: [lane], log: () => {}, drainMs: 0, ...options });
    for (const [type, handler] of Object.entries(handlers)) worker.handle(type, handler);
    await worker.start();
    this.#workers.push(worker);
    return worker;
  }

  async endOfWork(): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker.stop()));
    this.#workers = [];
  }

  async stop(): Promise<void> {
    this.client.close();
    await this.tailrace.stop();
  }
}
