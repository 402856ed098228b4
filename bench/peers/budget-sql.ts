/** A budget by hand: one row that every report updates if it fits, and the key of the report beside it. Nothing is checked. */
import { randomUUID } from 'node:crypto';
import type { BudgetContestant, Budgets, BudgetsOptions } from './budgets.js';
import { openPool } from './pool.js';

/** As many as Tailrace's server has by default. */
const CONNECTIONS = 10;

const TABLES = `
  create table budget (id int primary key, hard_limit bigint not null, used bigint not null) with (fillfactor = 50);
  create table report (execution uuid, key text, at timestamptz not null, primary key (execution, key));
  insert into budget values (1, 1000000000000000, 0);
`;

const REPORT = `
  with counted as (update budget set used = used + $3 where id = 1 and used + $3 <= hard_limit returning id)
  insert into report select $1::uuid, $2, clock_timestamp() from counted`;

async function start({ ground, callers }: BudgetsOptions): Promise<Budgets> {
  const { pool, end } = openPool(ground.url, CONNECTIONS, { jit: 'off' });
  await pool.query(TABLES);
  const executions = Array.from({ length: callers }, () => randomUUID());
  return {
    report: async (caller) => {
      const values = [executions[caller], randomUUID(), 1];
      const { rowCount } = await pool.query({ name: 'report', text: REPORT, values });
      if (rowCount !== 1) throw new Error('a report was not counted');
    },
    stop: end,
  };
}

export const rowPerBudget: BudgetContestant = { name: 'SQL by hand, one row updated', start };
