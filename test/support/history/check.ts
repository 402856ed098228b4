/**
 * The history checker: judges a recorded history against everything the engine promises about one.
 *
 * Each property is a function from a history to what it finds broken. A property says only what the history proves: an
 * answer that was lost proves nothing, calls that overlap have no order.
 */
import { attemptNumbersHaveNoGaps, attemptsHaveOneOutcome, staleHoldersAreRefused, tokensRise } from './attempts.js';
import { useStaysInBudget } from './budgets.js';
import { commitsAreContiguous, entriesComeInOrder, partsHaveOneOwner, selectedIsHandled } from './consumers.js';
import { emissionsAreMadeOnce, eventsAreConserved, streamsHaveNoGaps } from './events.js';
import { createdIsConserved, executionsEndOnce, nothingIsLost, statesFollow } from './executions.js';
import { feedsAreGapless, feedsAreOrdered, readersAgree } from './feeds.js';
import { flowsAreConserved } from './flows.js';
import { outputIsExact } from './frames.js';
import type { History } from './history.js';
import { joinsFireOnce, nothingRunsBeforeItsJoin } from './joins.js';
import { lettersAreConserved } from './letters.js';
import { limitsHold } from './limits.js';
import { keysKeepOrder } from './ordering.js';
import { reactionsAreExact } from './reactions.js';
import { signalsServeOnce } from './signals.js';

export type Property = (history: History) => string[];

export const PROPERTIES: Readonly<Record<string, Property>> = {
  'nothing is lost': nothingIsLost,
  'an attempt has one outcome': attemptsHaveOneOutcome,
  'an execution ends once': executionsEndOnce,
  'fencing tokens rise': tokensRise,
  'a stale holder is refused': staleHoldersAreRefused,
  'attempt numbers have no gaps': attemptNumbersHaveNoGaps,
  'states follow one another': statesFollow,
  'a feed has no gaps': feedsAreGapless,
  'a feed is in order and has no doubles': feedsAreOrdered,
  'readers agree': readersAgree,
  'created is live, terminal and retired': createdIsConserved,
  'dead letters are conserved': lettersAreConserved,
  'a join fires once': joinsFireOnce,
  'nothing runs before its join': nothingRunsBeforeItsJoin,
  'flows are conserved': flowsAreConserved,
  'a limit holds': limitsHold,
  'a signal serves once': signalsServeOnce,
  'use stays in its budget': useStaysInBudget,
  'output is exact': outputIsExact,
  'events are conserved': eventsAreConserved,
  'a stream has no gaps': streamsHaveNoGaps,
  'emissions are made once': emissionsAreMadeOnce,
  'a subscription reacts once': reactionsAreExact,
  'an ordering key keeps its order': keysKeepOrder,
  'a part has one owner': partsHaveOneOwner,
  'cursors move without a gap': commitsAreContiguous,
  'entries come in order': entriesComeInOrder,
  'what is selected is handled': selectedIsHandled,
};

export interface Violation {
  readonly property: string;
  readonly found: string;
}

export function checkHistory(history: History): Violation[] {
  return Object.entries(PROPERTIES).flatMap(([property, find]) => find(history).map((found) => ({ property, found })));
}

const SHOWN = 20;

/** Throws with what is broken. */
export function expectSound(history: History): void {
  const violations = checkHistory(history);
  if (violations.length === 0) return;
  const lines = violations.slice(0, SHOWN).map(({ property, found }) => `  ${property}: ${found}`);
  const more = violations.length > SHOWN ? [`  and ${violations.length - SHOWN} more`] : [];
  throw new Error(['the history is broken:', ...lines, ...more].join('\n'));
}
