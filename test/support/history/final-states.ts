/** How everything stands at the end of a history, asked through the public API. */
import { DeadLetterResolution, DeadLetterState } from '../../../gen/tailrace/v1/dead_letter_pb.js';
import { EndReason } from '../../../gen/tailrace/v1/execution_state_pb.js';
import type { Clients } from '../tailrace.js';
import { readFinalFlows } from './final-flows.js';
import type { FinalBudget, FinalExecution, FinalLetter, FinalStates } from './history.js';

const PAGE = 1_000;

/** To be called when nothing moves any more. Of flows, those are read that are named with their namespaces. */
export async function readFinalStates(
  { admin, deadLetters }: Clients,
  namespaces: Iterable<string>,
  flows: ReadonlyMap<string, string> = new Map(),
): Promise<FinalStates> {
  const executions: FinalExecution[] = [];
  const letters: FinalLetter[] = [];
  const budgets: FinalBudget[] = [];
  for (const namespace of namespaces) {
    executions.push(...(await allExecutions(admin, namespace)));
    letters.push(...(await allLetters(deadLetters, namespace)));
    budgets.push(...(await allBudgets(admin, namespace)));
  }
  return { executions, letters, budgets, retired: [], ...(await readFinalFlows(admin, flows)) };
}

async function allExecutions(admin: Clients['admin'], namespace: string): Promise<FinalExecution[]> {
  const all: FinalExecution[] = [];
  let pageToken = '';
  do {
    const page = await admin.listExecutions({ namespace, pageSize: PAGE, pageToken });
    for (const { executionId: execution, state, outcome, ...more } of page.executions) {
      all.push({
        ...{ execution, namespace, state },
        lane: more.lane,
        key: more.concurrencyKey,
        letter: outcome?.deadLetterId ?? '',
        reason: outcome?.reason ?? EndReason.UNSPECIFIED,
        redriveOf: more.redriveOfExecutionId,
        flow: more.flowId,
        optional: more.optionalInFlow,
      });
    }
    pageToken = page.nextPageToken;
  } while (pageToken !== '');
  return all;
}

async function allLetters(deadLetters: Clients['deadLetters'], namespace: string): Promise<FinalLetter[]> {
  const all: FinalLetter[] = [];
  let pageToken = '';
  do {
    const page = await deadLetters.listDeadLetters({ namespace, pageSize: PAGE, pageToken });
    for (const letter of page.deadLetters) {
      all.push({
        letter: letter.deadLetterId,
        execution: letter.subject?.subject.case === 'executionId' ? letter.subject.subject.value : '',
        state: STATES[letter.state] ?? 'open',
        redriven: letter.resolution === DeadLetterResolution.REDRIVEN,
      });
    }
    pageToken = page.nextPageToken;
  } while (pageToken !== '');
  return all;
}

async function allBudgets(admin: Clients['admin'], namespace: string): Promise<FinalBudget[]> {
  const all: FinalBudget[] = [];
  let pageToken = '';
  do {
    const page = await admin.listBudgets({ namespace, pageSize: PAGE, pageToken });
    for (const { spec, uses } of page.budgets) {
      const used = new Map(uses.map((use) => [use.dimension, use.used]));
      all.push({ namespace, budget: spec?.name ?? '', used });
    }
    pageToken = page.nextPageToken;
  } while (pageToken !== '');
  return all;
}

const STATES: Readonly<Partial<Record<DeadLetterState, FinalLetter['state']>>> = {
  [DeadLetterState.OPEN]: 'open',
  [DeadLetterState.REDRIVING]: 'redriving',
  [DeadLetterState.CLOSED]: 'closed',
};
