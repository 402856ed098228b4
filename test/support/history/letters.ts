/** What a history proves about dead letters: each run that was given up has exactly one, and it follows its last run. */
import { ExecutionState } from '../../../gen/tailrace/v1/execution_state_pb.js';
import { LogEntryKind } from '../../../gen/tailrace/v1/log_pb.js';
import { isTerminal } from './executions.js';
import { wholeFeed } from './feeds.js';
import { countBy, groupBy } from './grouping.js';
import type { FinalExecution, FinalLetter, History } from './history.js';

export function lettersAreConserved(history: History): string[] {
  const { executions, letters } = history.final;
  const found: string[] = [];
  const runs = new Map(executions.map((run) => [run.execution, run]));
  // One run may have two redrives, when the first stood outside of its flow: the newer one counts. Ids rise with time.
  const inOrder = [...executions].sort((a, b) => (a.execution < b.execution ? -1 : 1));
  const redrives = new Map(inOrder.map((run) => [run.redriveOf, run]));
  const byFirst = groupBy(letters, ({ execution }) => execution);
  const reopened = reopenedIn(history);

  for (const run of executions) {
    const own = byFirst.get(firstRun(run, runs)) ?? [];
    if (gaveUp(run) && own.length !== (run.handles ? 0 : 1)) {
      found.push(`${run.execution} is ${ExecutionState[run.state]} and has ${own.length} dead letters`);
    }
    if (gaveUp(run) && own[0] && run.letter !== own[0].letter) {
      found.push(`${run.execution} names dead letter "${run.letter}", and its letter is ${own[0].letter}`);
    }
    if (!gaveUp(run) && firstRun(run, runs) === run.execution && own.length > 0) {
      found.push(`${run.execution} is ${ExecutionState[run.state]} and has a dead letter`);
    }
  }
  for (const letter of letters) {
    if (letter.execution === '') continue; // of a parked entry
    if (!runs.has(letter.execution) && !history.final.retired.includes(letter.execution)) {
      found.push(`dead letter ${letter.letter} is of an execution that is not there`);
    }
    const last = lastRun(runs.get(letter.execution), redrives);
    if (last && !(letter.state === 'open' && reopened(letter.letter))) found.push(...standsWrong(letter, last));
  }
  return [...found, ...toldWrong(history)];
}

/** Closed by a person is always right; otherwise the state follows the outcome of the last run. */
function standsWrong(letter: FinalLetter, last: FinalExecution): string[] {
  const isRedrive = last.execution !== letter.execution;
  if (letter.state === 'closed' && !letter.redriven) return [];
  const due = !isTerminal(last.state) ? 'redriving' : last.state === ExecutionState.SUCCEEDED ? 'closed' : 'open';
  if (letter.state === due && (due !== 'redriving' || isRedrive)) return [];
  return [`dead letter ${letter.letter} is ${letter.state}, and its last run is ${ExecutionState[last.state]}`];
}

/** Whether the last that was told of a letter is that a person opened it again: then it is open whatever its runs came to. */
function reopenedIn(history: History): (letter: string) => boolean {
  const whole = wholeFeed(history);
  if (whole === undefined) return () => true;
  const told = groupBy(whole, ({ letter }) => letter);
  return (letter) => {
    const [before, last] = (told.get(letter) ?? []).slice(-2);
    return before?.kind === LogEntryKind.DEAD_LETTER_CLOSED && last?.kind === LogEntryKind.DEAD_LETTER_REOPENED;
  };
}

/** The feed tells of each opening once, and of no letter that is not there. */
function toldWrong(history: History): string[] {
  const whole = wholeFeed(history);
  if (whole === undefined) return [];
  const openings = whole.filter(({ kind }) => kind === LogEntryKind.DEAD_LETTER_OPENED);
  const opened = countBy(openings, ({ letter }) => letter);
  const { letters, eventLetters, entryLetters } = history.final;
  const there = new Set([...letters, ...eventLetters, ...entryLetters].map(({ letter }) => letter));
  const wrong = [...opened].flatMap(([letter, count]) => [
    ...(count > 1 ? [`the feed tells ${count} times that dead letter ${letter} was opened`] : []),
    ...(there.has(letter) ? [] : [`dead letter ${letter} was opened and is gone`]),
  ]);
  const untold = [...there].filter((letter) => !opened.has(letter));
  return [...wrong, ...untold.map((letter) => `the feed tells no opening of dead letter ${letter}`)];
}

function gaveUp({ state }: FinalExecution): boolean {
  return state === ExecutionState.FAILED || state === ExecutionState.EXPIRED;
}

/** The run that was given up first. Made anew with an upstream, it begins afresh: a skipped run has no letter. */
function firstRun(run: FinalExecution, runs: ReadonlyMap<string, FinalExecution>): string {
  let first = run;
  for (;;) {
    const before = runs.get(first.redriveOf);
    if (before === undefined || before.state === ExecutionState.SKIPPED) return first.execution;
    first = before;
  }
}

function lastRun(
  first: FinalExecution | undefined,
  redrives: ReadonlyMap<string, FinalExecution>,
): FinalExecution | undefined {
  let last = first;
  for (let after = last && redrives.get(last.execution); after; after = redrives.get(after.execution)) last = after;
  return last;
}
