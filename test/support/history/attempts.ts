/** What a history proves about attempts: tokens, numbers, outcomes, and who may write. */
import { ExecutionState } from '../../../gen/tailrace/v1/execution_state_pb.js';
import { LogEntryKind } from '../../../gen/tailrace/v1/log_pb.js';
import { wholeFeed } from './feeds.js';
import { countBy, groupBy } from './grouping.js';
import type { Claimed, FeedEntry, Held, History } from './history.js';

/** Calls that end the attempt when they are accepted. */
const ENDS: ReadonlySet<string> = new Set(['complete', 'fail', 'release', 'delay', 'cancel']);

/**
 * At most one call ends an attempt, however many answers say so, and the feed tells of that end once. An accepted end
 * that the feed does not tell of never happened.
 */
export function attemptsHaveOneOutcome(history: History): string[] {
  const found: string[] = [];
  const accepted = new Map<string, number>();
  for (const held of heldIn(history)) {
    if (!ENDS.has(held.call) || held.verdict !== 'accepted') continue;
    const key = leaseKey(held);
    accepted.set(key, (accepted.get(key) ?? 0) + 1);
  }
  for (const [key, count] of accepted) if (count > 1) found.push(`${count} outcomes were accepted under ${key}`);

  const whole = wholeFeed(history);
  if (whole === undefined) return found;
  const told = countBy(
    whole.filter(({ kind }) => kind === LogEntryKind.ATTEMPT_ENDED),
    ({ execution, attempt }) => attemptKey(execution, attempt),
  );
  for (const [key, count] of told) if (count > 1) found.push(`the feed tells ${count} ends of ${key}`);
  const attempts = new Map(claimsIn(history).map((claim) => [leaseKey(claim), claim]));
  for (const key of accepted.keys()) {
    const claim = attempts.get(key);
    if (claim && !told.has(attemptKey(claim.execution, claim.attempt))) {
      found.push(`the feed tells no end of ${attemptKey(claim.execution, claim.attempt)}, which was accepted`);
    }
  }
  return found;
}

/** Later grants on one execution carry higher tokens, and no token or lease is given twice. */
export function tokensRise(history: History): string[] {
  const found: string[] = [];
  const claims = claimsIn(history);
  for (const [token, count] of countBy(claims, (claim) => String(claim.token))) {
    if (count > 1) found.push(`token ${token} was granted ${count} times`);
  }
  for (const [lease, count] of countBy(claims, (claim) => claim.lease)) {
    if (count > 1) found.push(`lease ${lease} was granted ${count} times`);
  }
  for (const [execution, granted] of groupBy(claims, (claim) => claim.execution)) {
    // By attempt, which grows with the token; and by time, where calls did not overlap.
    const byToken = [...granted].sort((a, b) => (a.token < b.token ? -1 : 1));
    byToken.forEach((claim, i) => {
      const next = byToken[i + 1];
      if (next && next.attempt < claim.attempt) {
        found.push(`${execution}: attempt ${next.attempt} has a higher token than attempt ${claim.attempt}`);
      }
    });
    for (const earlier of granted) {
      for (const later of granted) {
        if (earlier.answered < later.began && later.token <= earlier.token) {
          found.push(`${execution}: token ${later.token} was granted after ${earlier.token}`);
        }
      }
    }
  }
  return found;
}

/** Once a newer lease is held, nothing is accepted under an older one. */
export function staleHoldersAreRefused(history: History): string[] {
  const grants = groupBy(claimsIn(history), (claim) => claim.execution);
  return heldIn(history)
    .filter(({ verdict }) => verdict === 'accepted')
    .flatMap((held) => {
      const newer = grants
        .get(held.execution)
        ?.find((claim) => claim.token > held.token && claim.answered < held.began);
      if (!newer) return [];
      return [`${held.execution}: ${held.call} under token ${held.token} was accepted after token ${newer.token}`];
    });
}

/**
 * From 1, each number opened once; a claim that resumes goes on with the last one. Without a whole feed a claim whose
 * answer was lost may hide a number.
 */
export function attemptNumbersHaveNoGaps(history: History): string[] {
  const whole = wholeFeed(history);
  const started = whole && openedIn(whole);
  const claims = claimsIn(history).filter(({ resumed }) => !resumed);
  const found: string[] = resumedWrong(history);
  for (const [key, count] of countBy(claims, (claim) => attemptKey(claim.execution, claim.attempt))) {
    if (count > 1) found.push(`${key} was granted ${count} times`);
  }
  if (started === undefined && history.events.some(({ event }) => event === 'unanswered')) return found;
  const starting: readonly Pick<Claimed, 'execution' | 'attempt'>[] = started ?? claims;
  for (const [execution, starts] of groupBy(starting, (start) => start.execution)) {
    const numbers = starts.map(({ attempt }) => attempt);
    if (started === undefined) numbers.sort((a, b) => a - b);
    if (numbers.some((number, i) => number !== i + 1)) {
      found.push(`${execution}: attempts are ${numbers.join(', ')}`);
    }
  }
  if (started === undefined) return found;
  const told = new Set(started.map((start) => attemptKey(start.execution, start.attempt)));
  for (const { execution, attempt } of claims) {
    if (!told.has(attemptKey(execution, attempt))) {
      found.push(`the feed tells no start of ${attemptKey(execution, attempt)}, which was granted`);
    }
  }
  return found;
}

/** Starts of attempts, without those that go on with one that was parked. */
function openedIn(whole: readonly FeedEntry[]): FeedEntry[] {
  const parked = new Set<string>();
  return whole.filter(({ kind, execution, to }) => {
    if (to === ExecutionState.WAITING_CHILDREN || to === ExecutionState.SUSPENDED) parked.add(execution);
    return kind === LogEntryKind.ATTEMPT_STARTED && !parked.delete(execution);
  });
}

/** A resume names the attempt that was opened last before it. */
function resumedWrong(history: History): string[] {
  const claims = groupBy(claimsIn(history), ({ execution }) => execution);
  const unanswered = history.events.some(({ event }) => event === 'unanswered');
  return [...claims.values()].flatMap((granted) => {
    const byToken = [...granted].sort((a, b) => (a.token < b.token ? -1 : 1));
    return byToken.flatMap(({ resumed, attempt, execution }, i) => {
      const before = byToken[i - 1]?.attempt;
      const wrong = resumed && before !== attempt && !unanswered;
      return wrong ? [`${attemptKey(execution, attempt)} was resumed after attempt ${before ?? 'none'}`] : [];
    });
  });
}

function claimsIn(history: History): Claimed[] {
  return history.events.filter((event): event is Claimed => event.event === 'claimed');
}

function heldIn(history: History): Held[] {
  return history.events.filter((event): event is Held => event.event === 'held');
}

function leaseKey({ execution, token }: { execution: string; token: bigint }): string {
  return `${execution} with token ${token}`;
}

function attemptKey(execution: string, attempt: number): string {
  return `attempt ${attempt} of ${execution}`;
}
