/** `tailrace budgets …` */
import {
  type Budget,
  BudgetBreachPolicySchema,
  BudgetSchema,
  BudgetSpecSchema,
} from '../../../gen/tailrace/v1/budget_pb.js';
import { confirmed, YES } from '../asking.js';
import { command, group } from '../command.js';
import { nameOf } from '../enum-words.js';
import { EXIT } from '../exit-codes.js';
import { fields } from '../fields.js';
import { documentOf } from '../input.js';
import { listed, PAGES } from '../pages.js';
import { EXPECTED, REASON } from '../recurring-options.js';
import { argument, flag, text, texts } from '../rules.js';
import { done, present, shown } from '../showing.js';
import type { Column } from '../table.js';
import { UsageError } from '../usage-error.js';
import { WATCH } from '../watching.js';

const BUDGET = { budget: argument('budget', 'Name of the budget.', { names: 'budgets' }) };

const COLUMNS: readonly Column<Budget>[] = [
  { title: 'budget', flexible: true, of: ({ spec }) => spec?.name ?? '' },
  { title: 'used', flexible: true, of: ({ uses }) => uses.map(useOf).join(', ') },
  { title: 'exhausted', of: ({ exhausted }) => (exhausted ? 'yes' : 'no') },
  { title: 'held back', right: true, of: ({ blockedCount }) => blockedCount },
  { title: 'on breach', of: ({ spec }) => nameOf(BudgetBreachPolicySchema, spec?.breachPolicy ?? 0) },
  { title: 'of', flexible: true, of: ({ spec }) => (spec?.attachments ?? []).map(subjectOf).join(', ') },
  { title: 'resets', spare: true, of: ({ resetTime }, output) => output.time(resetTime) },
];

function useOf({ dimension, used, limit }: Budget['uses'][number]): string {
  return `${dimension} ${used}${limit && limit.hardLimit > 0n ? `/${limit.hardLimit}` : ''}`;
}

function subjectOf({ subject }: { subject: { case: string | undefined; value?: string | undefined } }): string {
  return `${subject.case?.replace('Id', '') ?? ''} ${subject.value ?? ''}`;
}

const list = command({
  name: 'list',
  about: 'List budgets by name, with what was used of them.',
  options: {
    exhausted: flag('Only those that hold work back.'),
    lane: text('lane', 'Only those of this lane.', { names: 'lanes' }),
    flow: text('flow', 'Only those of this flow.'),
    execution: text('execution', 'Only those of this execution.'),
    ...PAGES,
  },
  examples: [['What holds work back', 'tailrace budgets list --exhausted']],
  async run(session, given) {
    const attachment = attachmentOf(given);
    return await listed(session, given, BudgetSchema, COLUMNS, async (page) => {
      const asked = fields({ namespace: session.namespace, exhaustedOnly: given.exhausted, attachment, ...page });
      const { budgets: items, nextPageToken } = await session.api.admin.listBudgets(asked, session.bounds());
      return { items, nextPageToken };
    });
  },
});

function attachmentOf(given: { lane: string | undefined; flow: string | undefined; execution: string | undefined }) {
  const { lane, flow, execution } = given;
  const found = [
    ...(lane === undefined ? [] : [{ subject: { case: 'lane' as const, value: lane } }]),
    ...(flow === undefined ? [] : [{ subject: { case: 'flowId' as const, value: flow } }]),
    ...(execution === undefined ? [] : [{ subject: { case: 'executionId' as const, value: execution } }]),
  ];
  if (found.length > 1) throw new UsageError('say one of --lane, --flow and --execution');
  return found[0];
}

const get = command({
  name: 'get',
  about: 'Show one budget with its use.',
  arguments: BUDGET,
  options: WATCH,
  examples: [['As a document to edit', 'tailrace budgets get tokens --json > tokens.json']],
  run: (session, { budget, watch }) => {
    const asked = { namespace: session.namespace, budget };
    return shown(
      session,
      BudgetSchema,
      async () => (await session.api.admin.getBudget(asked, session.bounds())).budget,
      {
        watch,
      },
    );
  },
});

const put = command({
  name: 'put',
  about: 'Make or change a budget. Use so far is kept.',
  details: 'Reads a BudgetSpec in JSON, or what get --json has shown.',
  arguments: { file: argument('file', 'File with the document; - is standard input.', { file: true }) },
  options: EXPECTED,
  examples: [
    [
      'From the line',
      `echo '{"name":"tokens","limits":{"tokens":{"hardLimit":"1000000"}},"attachments":[{"lane":"agents"}],"resetWindow":"86400s"}' | tailrace budgets put -`,
    ],
  ],
  async run(session, { file, expectedVersion }) {
    const budget = await documentOf(session, BudgetSpecSchema, file);
    const asked = fields({ namespace: session.namespace, budget, expectedVersion });
    const made = present((await session.api.admin.putBudget(asked, session.bounds())).budget);
    return await done(session, BudgetSchema, made, `budget ${budget.name} is at version ${made.version}`);
  },
});

const reset = command({
  name: 'reset',
  about: 'Set the use of a budget to zero; work held back by it starts.',
  arguments: BUDGET,
  options: { dimension: texts('name', 'Only this dimension.'), ...REASON, ...EXPECTED, ...YES },
  examples: [['One dimension', 'tailrace budgets reset tokens --dimension tokens --yes']],
  async run(session, { budget, dimension, reason, expectedVersion, yes }) {
    if (!(await confirmed(session, yes, `Set the use of the budget ${budget} to zero?`))) return EXIT.refused;
    const asked = fields({ namespace: session.namespace, budget, dimensions: [...dimension], reason, expectedVersion });
    const made = present((await session.api.admin.resetBudget(asked, session.bounds())).budget);
    return await done(session, BudgetSchema, made, `budget ${budget}: ${made.uses.map(useOf).join(', ')}`);
  },
});

export const budgets = group('budgets', 'What work may use, and what it has used.', [list, get, put, reset]);
