/** P14: what it costs to keep the leases of handlers that take long, and whether one is ever lost. */
import { setTimeout as pause } from 'node:timers/promises';
import { type HandlerContext, Worker } from '../../src/worker/index.js';
import type { Ground } from '../arena/arena.js';
import { perUnit, startMeter } from '../arena/meter.js';
import { spentInStatements } from '../arena/spent.js';
import { offer } from '../offered.js';
import { Tally } from '../peers/contestant.js';
import { TailraceCalls } from '../peers/tailrace-calls.js';
import { startTailraceServer } from '../peers/tailrace-server.js';
import { COST_COLUMNS } from './columns.js';
import type { Context, Measure } from './measure.js';

const TYPE = 'slow';
const BATCH = 10;
/** Of those that run at once: room for what comes while completions are on their way. */
const SLOTS_SHARE = 2;
/** Handlers' times until as many run as will. */
const WARM_UP_HANDLERS = 2;
const UNRENEWED_MS = 600_000;
const PATIENCE_MS = 60_000;
const RENEWAL = '%.renew($1%';

export const RENEWED = 'leases that are renewed';
export const UNRENEWED = 'leases that outlast the handler';

async function run(context: Context): Promise<void> {
  for (const name of [UNRENEWED, RENEWED]) {
    context.progress(name);
    const ground = await context.arena.fresh();
    await measure(name, ground, context).finally(() => ground.drop());
  }
}

async function measure(name: string, ground: Ground, { arena, scale, record }: Context): Promise<void> {
  const { running: atOnce, handlerMs, leaseMs } = scale.renewals;
  const perSecond = (atOnce * 1_000) / handlerMs;
  const warmUpMs = WARM_UP_HANDLERS * handlerMs;
  const server = await startTailraceServer(ground.url);
  const calls = new TailraceCalls(server.url);
  const handlers = new Handlers(handlerMs);
  const leaseDurationMs = name === RENEWED ? leaseMs : UNRENEWED_MS;
  const worker = new Worker({ url: server.url, slots: atOnce * SLOTS_SHARE, leaseDurationMs });
  worker.handle(TYPE, (context) => handlers.handle(context));
  const ended = new Tally();
  let attempts = 0;
  try {
    await calls.watchEnds((entries) => {
      for (const { outcome } of entries) attempts += outcome?.attemptNumber ?? 0;
      ended.add(entries.length);
    });
    await worker.start();
    const creations: Promise<void>[] = [];
    const running: number[] = [];
    const load = offer(perSecond / BATCH, warmUpMs / 1_000 + scale.seconds.long, () => {
      creations.push(calls.createMany({ type: TYPE }, BATCH));
      running.push(handlers.running);
    });
    await pause(warmUpMs);
    running.length = 0;
    await arena.forgetStatements();
    const before = ended.count;
    const meter = await startMeter(arena, ground, server.pid);
    await load;
    const count = ended.count - before;
    const cost = await meter.read();
    const [renewals, all] = [await spentInStatements(arena, ground, RENEWAL), await spentInStatements(arena, ground)];
    await Promise.all(creations);
    await ended.reach(creations.length * BATCH, PATIENCE_MS);
    record(name, {
      offered: perSecond,
      reached: count / cost.seconds,
      running: running.reduce((sum, one) => sum + one, 0) / running.length,
      again: attempts - ended.count,
      lost: handlers.lost,
      renewals: (renewals.calls / all.calls) * 100,
      renewalMs: (renewals.calls === 0 ? 0 : renewals.ms / all.ms) * 100,
      ...perUnit(cost, count),
    });
  } finally {
    await worker.stop();
    await calls.close().finally(() => server.stop());
  }
}

/** Each does nothing for so long, and tells whether it was still wanted at the end. */
class Handlers {
  running = 0;
  lost = 0;
  readonly #takesMs: number;

  constructor(takesMs: number) {
    this.#takesMs = takesMs;
  }

  async handle({ signal }: HandlerContext): Promise<void> {
    this.running++;
    await pause(this.#takesMs);
    this.running--;
    if (signal.aborted) this.lost++;
  }
}

export const p14: Measure = {
  id: 'P14',
  title: 'handlers of 3 s, 2,000 at once',
  about:
    'Executions without input, offered as fast as 2,000 handlers of 3 s get through them (with --quick 60 of 1.5 s), to one worker of the ' +
    'worker library with room for twice as many. Leases of 2 s (with --quick 1.2 s) are renewed after a third, three times per handler or more; ' +
    'the others are never renewed. Again: attempts beyond the first of an execution. Lost: handlers whose lease was gone at their end. ' +
    'Percent are of all statements, and of their time in Postgres.',
  columns: [
    { key: 'offered', title: 'offered per second' },
    { key: 'reached', title: 'ended per second' },
    { key: 'running', title: 'running at once' },
    { key: 'again', title: 'again' },
    { key: 'lost', title: 'lost' },
    { key: 'renewals', title: 'renewals %', digits: 1 },
    { key: 'renewalMs', title: 'of the time %', digits: 1 },
    ...COST_COLUMNS,
  ],
  everyProfile: true,
  once: true,
  run,
};
