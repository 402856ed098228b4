/** What a history proves about budgets: use is what was accepted, counted once, and never above the hard limit. */
import { groupBy } from './grouping.js';
import type { Budgeted, FinalBudget, FinalExecution, History, Used } from './history.js';

export function useStaysInBudget(history: History): string[] {
  const told = history.events.filter((event): event is Budgeted => event.event === 'budgeted');
  const final = new Map(history.final.budgets.map((budget) => [nameOf(budget), budget]));
  return [...groupBy(told, nameOf)].flatMap(([name, tellings]) => {
    const last = final.get(name);
    return [...aboveLimit(name, tellings, last), ...(last ? lostOrDoubled(name, tellings, last, history) : [])];
  });
}

/** What is used already when a limit is lowered stays used. */
function aboveLimit(name: string, tellings: readonly Budgeted[], last: FinalBudget | undefined): string[] {
  const found = new Set<string>();
  const check = (used: ReadonlyMap<string, bigint>, until: number) => {
    for (const [dimension, amount] of used) {
      const limits = tellings.flatMap(({ began, hard }) => (began < until ? [hard.get(dimension) ?? 0n] : []));
      if (limits.every((limit) => limit < amount)) {
        found.add(`budget ${name} has used ${amount} ${dimension}; its limits were ${limits.join()}`);
      }
    }
  };
  for (const { used, answered } of tellings) check(used, answered);
  if (last) check(last.used, Number.POSITIVE_INFINITY);
  return [...found];
}

/** Only of budgets that were there before the first use, and that nobody changed or reset, nor asked for it in vain. */
function lostOrDoubled(
  name: string,
  tellings: readonly Budgeted[],
  last: FinalBudget,
  { events, final }: History,
): string[] {
  const changes = tellings.filter(({ how }) => how !== 'read');
  const [put] = changes;
  if (put === undefined || changes.length > 1 || put.how !== 'put' || put.windowed) return [];
  const bounded = new Set(final.executions.filter((x) => isBounded(x, put)).map(({ execution }) => execution));
  const uses = events.filter((event): event is Used => event.event === 'used' && bounded.has(event.execution));
  if (uses.some(({ began }) => began < put.answered)) return [];
  return [...last.used].flatMap(([dimension, used]) => {
    const { least, most } = sumOf(uses, dimension);
    return used < least || used > most
      ? [
          `budget ${name} has used ${used} ${dimension}; accepted were ${least === most ? least : `${least} to ${most}`}`,
        ]
      : [];
  });
}

/** What was surely accepted, and what may have been: a call whose answer was lost, and that nobody repeated. */
function sumOf(uses: readonly Used[], dimension: string): { least: bigint; most: bigint } {
  const calls = groupBy(
    uses.filter(({ verdict }) => verdict !== 'refused'),
    (use) => (use.key === '' ? `at ${use.began}` : `${use.execution} with ${use.key} ${use.givenBack}`),
  );
  let least = 0n;
  let most = 0n;
  for (const tries of calls.values()) {
    const answered = tries.find(({ verdict }) => verdict !== 'unanswered');
    const amount = (answered ?? tries[0])?.usage.get(dimension) ?? 0n;
    if (answered || amount < 0n) least += amount;
    if (answered || amount > 0n) most += amount;
  }
  return { least, most };
}

function isBounded({ namespace, lane, flow, execution }: FinalExecution, budget: Budgeted): boolean {
  if (namespace !== budget.namespace) return false;
  const subjects = ['namespace', `lane ${lane}`, `flow ${flow}`, `execution ${execution}`];
  return budget.attachments.some((attachment) => subjects.includes(attachment));
}

function nameOf({ namespace, budget }: { namespace: string; budget: string }): string {
  return `${budget} of ${namespace}`;
}
