/** Waits with the worker library: a handler that begins, is told to wait, and is called again when it was signaled. */
import { Client } from '../../src/client/index.js';
import { type HandlerContext, signal, Worker } from '../../src/worker/index.js';
import { inputOf, NO_ORDINAL } from '../content.js';
import { Tally } from './contestant.js';
import { Loops } from './loops.js';
import { startTailraceServer } from './tailrace-server.js';
import { Expected, type WaitContestant, type Waits, type WaitsOptions, type WaitTimes } from './waits.js';

const TYPE = 'wait';
const SIGNAL = 'go';
/** Everything that was prepared holds one until its cycle begins. */
const SLOTS = 10_000;
/** Nothing is renewed while something is measured. */
const LEASE_MS = 600_000;
const PATIENCE_MS = 30_000;

const PAYLOAD = { body: { case: 'text' as const, value: inputOf(NO_ORDINAL) } };

/** A handler that was called for the first time. */
interface Begun {
  readonly executionId: string;
  readonly suspend: () => void;
}

class LibraryWaits implements Waits {
  readonly serverPid: number;
  readonly #client: Client;
  readonly #worker: Worker;
  readonly #stopServer: () => Promise<void>;
  readonly #loops = new Loops();
  readonly #begun: Begun[] = [];
  readonly #started = new Tally();
  readonly #parked = new Expected<undefined>();
  readonly #resumed = new Expected<undefined>();
  readonly #ended = new Expected<undefined>();

  private constructor(url: string, serverPid: number, stopServer: () => Promise<void>) {
    this.serverPid = serverPid;
    this.#stopServer = stopServer;
    this.#client = new Client({ url });
    this.#worker = new Worker({ url, slots: SLOTS, leaseDurationMs: LEASE_MS });
    this.#worker.handle(TYPE, (context) => this.#handle(context));
  }

  static async start({ ground, profileInto }: WaitsOptions): Promise<Waits> {
    const { url, pid, stop } = await startTailraceServer(ground.url, { profileInto });
    const waits = new LibraryWaits(url, pid, stop);
    await waits.#worker.start();
    const watch = await waits.#client.watchCompletions({ from: 'latest' });
    waits.#loops.signal.addEventListener('abort', () => watch.close());
    const watching = async () => {
      for await (const { executionId } of watch) waits.#ended.arrived(executionId, undefined);
    };
    waits.#loops.follow(watching());
    return waits;
  }

  async prepare(count: number): Promise<void> {
    const target = this.#started.count + count;
    const results = await this.#client.createMany(Array.from({ length: count }, () => ({ type: TYPE })));
    for (const result of results) if (!result.ok) throw result.error;
    await this.#started.reach(target, PATIENCE_MS);
  }

  cycle(): Promise<WaitTimes> {
    return this.#loops.unlessFailed(this.#cycle(this.#begun.pop()));
  }

  async stop(): Promise<void> {
    try {
      await this.#worker.stop();
      await this.#loops.end();
      this.#client.close();
    } finally {
      await this.#stopServer();
    }
  }

  async #cycle(begun: Begun | undefined): Promise<WaitTimes> {
    if (begun === undefined) throw new Error('more cycles than were prepared');
    const { executionId, suspend } = begun;
    const [parked, goesOn, ended] = [this.#parked, this.#resumed, this.#ended].map((one) => one.arrival(executionId));
    const beganMs = performance.now();
    suspend();
    await parked;
    const signaledMs = performance.now();
    const target = { case: 'execution' as const, value: { executionId } };
    const told = this.#client.engine.signalExecution({ target, name: SIGNAL, payload: PAYLOAD });
    await Promise.race([goesOn, told.then(() => goesOn)]);
    const resumeMs = performance.now() - signaledMs;
    await Promise.all([ended, told]);
    return { resumeMs, cycleMs: performance.now() - beganMs };
  }

  async #handle(context: HandlerContext): Promise<void> {
    const { executionId } = context;
    if (context.resume === undefined) {
      await new Promise<void>((suspend) => {
        this.#begun.push({ executionId, suspend });
        this.#started.add(1);
      });
    }
    try {
      await context.suspend({ condition: signal(SIGNAL) });
    } catch (error) {
      this.#parked.arrived(executionId, undefined);
      throw error;
    }
    this.#resumed.arrived(executionId, undefined);
  }
}

export const waitLibrary: WaitContestant = {
  name: 'Tailrace, worker library',
  start: (options) => LibraryWaits.start(options),
};
