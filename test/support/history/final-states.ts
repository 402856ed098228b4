/** How everything stands at the end of a history, asked through the public API. */
import { DeadLetterResolution, DeadLetterState } from '../../../gen/tailrace/v1/dead_letter_pb.js';
import type { Execution } from '../../../gen/tailrace/v1/execution_pb.js';
import { DeadHeadPolicy } from '../../../gen/tailrace/v1/execution_pb.js';
import { EndReason } from '../../../gen/tailrace/v1/execution_state_pb.js';
import type { Clients } from '../tailrace.js';
import type { FinalEntryLetter } from './consumer-history.js';
import type { FinalEventLetter } from './event-history.js';
import { entryLetterOf, readFinalConsumers } from './final-consumers.js';
import { readFinalEvents, readFinalSubscriptions } from './final-events.js';
import { readFinalFlows } from './final-flows.js';
import type { FinalBudget, FinalExecution, FinalLetter, FinalStates } from './history.js';

const PAGE = 1_000;

/** What there is to read, as the log and the calls tell. */
export interface Told {
  readonly namespaces: ReadonlySet<string>;
  /** With their namespaces. */
  readonly flows: ReadonlyMap<string, string>;
  readonly events: boolean;
  readonly subscriptions: boolean;
  /** Those whose entries somebody was given, by namespace and name. */
  readonly consumers: ReadonlySet<string>;
}

/** To be called when nothing moves any more. */
export async function readFinalStates({ admin, deadLetters }: Clients, told: Told): Promise<FinalStates> {
  const executions: FinalExecution[] = [];
  const letters: FinalLetter[] = [];
  const eventLetters: FinalEventLetter[] = [];
  const entryLetters: FinalEntryLetter[] = [];
  const budgets: FinalBudget[] = [];
  for (const namespace of told.namespaces) {
    executions.push(...(await allExecutions(admin, namespace)));
    for (const letter of await allLetters(deadLetters, namespace)) {
      if ('event' in letter) eventLetters.push(letter);
      else if ('consumer' in letter) entryLetters.push(letter);
      else letters.push(letter);
    }
    budgets.push(...(await allBudgets(admin, namespace)));
  }
  return {
    ...{ executions, letters, eventLetters, entryLetters, budgets, retired: [] },
    consumers: await readFinalConsumers(admin, told.consumers),
    events: told.events ? await readFinalEvents(admin, told.namespaces) : [],
    subscriptions: told.subscriptions ? await readFinalSubscriptions(admin, told.namespaces) : [],
    ...(await readFinalFlows(admin, told.flows)),
  };
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
        hops: more.hops,
        ...reactionOf(more),
      });
    }
    pageToken = page.nextPageToken;
  } while (pageToken !== '');
  return all;
}

type Made = Pick<
  Execution,
  'subscription' | 'triggerEventId' | 'orderingKey' | 'deadHeadPolicy' | 'handledDeadLetterId'
>;

function reactionOf(made: Made) {
  const { subscription, triggerEventId: event, orderingKey: key, deadHeadPolicy, handledDeadLetterId: handles } = made;
  return {
    ...(handles !== '' && { handles }),
    ...(subscription !== '' && handles === '' && { reaction: { subscription, event } }),
    ...(key !== '' && { ordering: { key, blocks: deadHeadPolicy !== DeadHeadPolicy.SKIP } }),
  };
}

type AnyLetter = FinalLetter | FinalEventLetter | FinalEntryLetter;

async function allLetters(deadLetters: Clients['deadLetters'], namespace: string): Promise<AnyLetter[]> {
  const all: AnyLetter[] = [];
  let pageToken = '';
  do {
    const page = await deadLetters.listDeadLetters({ namespace, pageSize: PAGE, pageToken });
    for (const letter of page.deadLetters) {
      const { case: about, value } = letter.subject?.subject ?? { case: undefined };
      const state = STATES[letter.state] ?? 'open';
      if (about === 'eventId') {
        all.push({ letter: letter.deadLetterId, namespace, event: value, state });
        continue;
      }
      if (about === 'consumerEntry') {
        all.push({ ...entryLetterOf(letter), state });
        continue;
      }
      all.push({
        letter: letter.deadLetterId,
        execution: about === 'executionId' ? value : '',
        state,
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
