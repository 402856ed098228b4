/** Reports of running executions over the generated clients, with and without a budget that bounds them. */
import { randomUUID } from 'node:crypto';
import type { BudgetContestant, Budgets, BudgetsOptions } from './budgets.js';
import { leaseOf, TailraceCalls } from './tailrace-calls.js';
import { startTailraceServer } from './tailrace-server.js';

const TYPE = 'spender';
const DIMENSION = 'tokens';
/** Never reached. */
const HARD_LIMIT = 10n ** 15n;

async function start({ ground, callers, profileInto }: BudgetsOptions, bounded: boolean): Promise<Budgets> {
  const server = await startTailraceServer(ground.url, { profileInto });
  const calls = new TailraceCalls(server.url);
  if (bounded) {
    // Of the whole namespace, so that everybody's reports meet in it.
    const budget = { name: 'everybody', limits: { [DIMENSION]: { hardLimit: HARD_LIMIT } }, attachments: [{}] };
    await calls.admin.putBudget({ budget });
  }
  const held = await calls.hold({ type: TYPE }, callers);
  const leases = held.map(leaseOf);
  return {
    report: async (caller) => {
      const lease = leases[caller];
      if (lease === undefined) throw new Error(`there is no caller ${caller}`);
      await calls.engine.reportUsage({ lease, usage: { [DIMENSION]: 1n }, idempotencyKey: randomUUID() });
    },
    serverPid: server.pid,
    stop: async () => {
      try {
        await calls.close();
      } finally {
        await server.stop();
      }
    },
  };
}

export const budgeted: BudgetContestant = {
  name: 'Tailrace, one budget',
  start: (options) => start(options, true),
};

export const unbudgeted: BudgetContestant = {
  name: 'Tailrace, no budget',
  start: (options) => start(options, false),
};
