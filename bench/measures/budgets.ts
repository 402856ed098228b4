/** BUDGETS: how many reports of use one budget takes from many callers, and what becomes of that under a held snapshot. */
import { holdSnapshot } from '../arena/arena.js';
import { perUnit, startMeter } from '../arena/meter.js';
import { rowPerBudget } from '../peers/budget-sql.js';
import type { BudgetContestant, Budgets } from '../peers/budgets.js';
import { budgeted, unbudgeted } from '../peers/tailrace-budgets.js';
import { quantile } from '../statistics.js';
import { COST_COLUMNS } from './columns.js';
import type { Context, Inspect, Measure } from './measure.js';

interface Round {
  readonly contestant: BudgetContestant;
  readonly held: boolean;
}

const ROUNDS: readonly Round[] = [
  { contestant: unbudgeted, held: false },
  { contestant: budgeted, held: false },
  { contestant: budgeted, held: true },
  { contestant: rowPerBudget, held: false },
  { contestant: rowPerBudget, held: true },
];

const CALLERS = 32;
const WARM_UP_SECONDS = 0.5;
/** The first and the last of so many parts are held against each other. */
const PARTS = 5;

const nameOf = ({ contestant, held }: Round) => `${contestant.name}${held ? ', a snapshot held' : ''}`;

async function run(context: Context): Promise<void> {
  for (const round of ROUNDS) await measure(round, context);
}

async function measure(round: Round, { arena, scale, record, progress }: Context, inspect?: Inspect): Promise<void> {
  const name = nameOf(round);
  progress(name);
  const ground = await arena.fresh();
  try {
    const budgets = await round.contestant.start({ ground, callers: CALLERS, profileInto: inspect?.profileInto });
    try {
      await report(budgets, WARM_UP_SECONDS);
      // Whatever is done from here on leaves rows that cannot be removed. Dropping the database ends it.
      if (round.held) await holdSnapshot(ground.url);
      await arena.forgetStatements();
      const meter = await startMeter(arena, ground, budgets.serverPid);
      const { took, endedMs } = await report(budgets, scale.seconds.budgets);
      const cost = await meter.read();
      const part = (scale.seconds.budgets * 1_000) / PARTS;
      const first = endedMs.filter((ms) => ms < part).length;
      const last = endedMs.filter((ms) => ms >= part * (PARTS - 1) && ms < part * PARTS).length;
      record(name, {
        perSecond: took.length / cost.seconds,
        p50: quantile(took, 0.5),
        p99: quantile(took, 0.99),
        lasting: last / first,
        ...perUnit(cost, took.length),
      });
      await inspect?.onMeasured(name, ground, took.length);
    } finally {
      await budgets.stop();
    }
  } finally {
    await ground.drop();
  }
}

/** Every caller reports again as soon as it is answered. Answers how long each took, and when it ended. */
async function report(budgets: Budgets, seconds: number): Promise<{ took: number[]; endedMs: number[] }> {
  const beganMs = performance.now();
  const took: number[] = [];
  const endedMs: number[] = [];
  const caller = async (_: unknown, number: number) => {
    while (performance.now() - beganMs < seconds * 1_000) {
      const startedMs = performance.now();
      await budgets.report(number);
      took.push(performance.now() - startedMs);
      endedMs.push(performance.now() - beganMs);
    }
  };
  await Promise.all(Array.from({ length: CALLERS }, caller));
  return { took, endedMs };
}

export const budgets: Measure = {
  id: 'BUDGETS',
  title: 'reports of use to one budget, per second',
  about:
    `Running executions of ${CALLERS} callers, each of which reports again as soon as it is answered, with a key of its own ` +
    'per report. The budget bounds the namespace and is never reached; without one the use is kept with the attempt alone. ' +
    '"Lasting" is the rate of the last fifth of the time over that of the first.',
  columns: [
    { key: 'perSecond', title: 'per second' },
    { key: 'p50', title: 'p50 ms', digits: 1 },
    { key: 'p99', title: 'p99 ms', digits: 1 },
    { key: 'lasting', title: 'lasting', digits: 2 },
    ...COST_COLUMNS,
  ],
  everyProfile: false,
  run,
  costs: (context, inspect) => measure({ contestant: budgeted, held: false }, context, inspect),
};
