/** The checker is itself checked: it accepts a sound history and finds each violation planted in one. */
import { describe, expect, it, test } from 'vitest';
import { ExecutionState } from '../../../gen/tailrace/v1/execution_state_pb.js';
import { FlowState } from '../../../gen/tailrace/v1/flow_pb.js';
import { JoinState, SlotOutcome } from '../../../gen/tailrace/v1/join_pb.js';
import { LogEntryKind } from '../../../gen/tailrace/v1/log_pb.js';
import { checkHistory, expectSound, PROPERTIES } from '../../support/history/check.js';
import type { History } from '../../support/history/history.js';
import { ALLOWED, ONE_AFTER_THE_OTHER } from './allowed.js';
import { claimed, cleanHistory, created, held, isEnd, LOG } from './clean-history.js';
import { PLANTED_CONSUMERS } from './planted-consumers.js';
import { MADE_TOGETHER, PLANTED_EVENTS } from './planted-events.js';
import { PLANTED_WAITS } from './planted-waits.js';
import {
  about,
  also,
  entries,
  inEdges,
  inFeed,
  inFinal,
  inFlow,
  inLog,
  type Plant,
  sooner,
  started,
  twice,
  without,
} from './plants.js';

const { JOIN_IMPOSSIBLE } = LogEntryKind;

test('a sound history is accepted', () => {
  expect(checkHistory(cleanHistory())).toEqual([]);
});

test('a sound history without any feed is accepted', () => {
  expect(checkHistory({ ...cleanHistory(), feeds: [] })).toEqual([]);
});

test('answers that were lost prove nothing', () => {
  const { events, ...clean } = cleanHistory();
  const known = events.filter((event) => !(event.event === 'claimed' && event.token === 2n));
  const history: History = {
    ...clean,
    feeds: [],
    events: [...known, { event: 'unanswered', call: 'ClaimExecutions' }],
  };
  expect(checkHistory(history)).toEqual([]);
});

test('what two subscriptions start at the same time stands in line either way', () => {
  const found = checkHistory(MADE_TOGETHER(cleanHistory())).map(({ property }) => property);
  expect(found).not.toContain('an ordering key keeps its order');
});

describe('what is rare and right is accepted', () => {
  it.each(Object.entries(ALLOWED))('%s', (_, change) => {
    expect(checkHistory(change(cleanHistory()))).toEqual([]);
  });
});

test('of two calls that do not overlap the first comes first in line', () => {
  const found = checkHistory(ONE_AFTER_THE_OTHER(cleanHistory())).map(({ property }) => property);
  expect(found).toEqual(['an ordering key keeps its order']);
});

const PLANTED: Readonly<Record<string, Readonly<Record<string, Plant>>>> = {
  'nothing is lost': {
    'an acknowledged creation is gone': also(() => created('gone')),
    'a claimed execution is gone': also(() => claimed('gone', 1, 9n)),
  },
  'an attempt has one outcome': {
    'two ends of one attempt are accepted': also(() => held('fail', 'once', 1n)),
    'the feed tells two ends of one attempt': inLog(twice(about('once', LogEntryKind.ATTEMPT_ENDED))),
    'an accepted end never happened': inLog((log) => log.filter((x) => !about('once', LogEntryKind.ATTEMPT_ENDED)(x))),
  },
  'an execution ends once': {
    'it ends twice': inLog(twice(about('once', LogEntryKind.EXECUTION_SUCCEEDED))),
    'it starts again after its end': inLog((log) => [...log, ...log.filter(about('once', started))]),
    'it stands otherwise than it ended': inFinal((final) => ({
      ...final,
      executions: final.executions.map((x) => (x.execution === 'once' ? { ...x, state: ExecutionState.CANCELED } : x)),
    })),
  },
  'fencing tokens rise': {
    'a later grant has a lower token': also(() => claimed('reclaimed', 3, 0n)),
    'a token is granted twice': also(() => claimed('waiting', 1, 3n)),
  },
  'a stale holder is refused': {
    'a completion under the old lease is accepted': also(() => held('complete', 'reclaimed', 2n)),
    'a renewal under the old lease is accepted': also(() => held('renew', 'reclaimed', 2n)),
  },
  'attempt numbers have no gaps': {
    'a number is left out': also(() => claimed('waiting', 2, 9n)),
    'a number is left out in the log': inLog((log) =>
      log.map((entry) => (about('reclaimed', started, 2)(entry) ? { ...entry, attempt: 3 } : entry)),
    ),
    'a number is used twice': also(() => claimed('reclaimed', 2, 9n)),
    'a resume skips to a new number': also(() => claimed('parent', 2, 13n, true)),
    'a resume goes on with what never began': also(() => claimed('waiting', 1, 13n, true)),
  },
  'states follow one another': {
    'an entry skips a state': inLog((log) => log.filter((entry) => !about('reclaimed', started, 2)(entry))),
    'an effect comes before its cause': inLog((log) => [...log.filter(isEnd), ...log.filter((entry) => !isEnd(entry))]),
    'a move that the machine does not have': inLog((log) =>
      log.map((entry) => (about('late', LogEntryKind.EXECUTION_EXPIRED)(entry) ? { ...entry, to: 8 } : entry)),
    ),
    'the log leaves it elsewhere than it stands': inFinal((final) => ({
      ...final,
      executions: final.executions.map((x) => (x.execution === 'waiting' ? { ...x, state: ExecutionState.QUEUED } : x)),
    })),
  },
  'a join fires once': {
    'it decides twice': inLog(twice(about('after', LogEntryKind.JOIN_SATISFIED))),
    'it decides otherwise than it stands': inFinal((final) => ({
      ...final,
      joins: final.joins.map((join) => ({ ...join, state: JoinState.SATISFIED })),
    })),
    'it stands decided and nothing was told': inLog((log) => log.filter((x) => !about('never', JOIN_IMPOSSIBLE)(x))),
    'it releases somebody else': inLog((log) =>
      log.map((entry) => (entry.join === 'join of after' ? { ...entry, execution: 'never' } : entry)),
    ),
    'a slot is filled otherwise than its upstream ended': inEdges({ outcome: SlotOutcome.OK }),
    'a slot was never filled': inEdges({ outcome: SlotOutcome.UNSPECIFIED }),
    'it decides before its slot is filled': inLog((log) =>
      sooner(log, about('after', LogEntryKind.JOIN_SATISFIED), about('source', started)),
    ),
    'more slots are filled than there are': inFinal((final) => ({
      ...final,
      joins: final.joins.map((join) => ({ ...join, filled: 2 })),
    })),
  },
  'nothing runs before its join': {
    'it is released without a decision': inLog((log) =>
      log.filter((entry) => !about('after', LogEntryKind.JOIN_SATISFIED)(entry)),
    ),
    'it is released before the decision': inLog((log) =>
      sooner(log, about('after', LogEntryKind.EXECUTION_CHANGED), about('after', LogEntryKind.JOIN_SATISFIED)),
    ),
    'it is skipped though its join is satisfied': inLog((log) =>
      log.map((entry) => (entry.kind === JOIN_IMPOSSIBLE ? { ...entry, kind: LogEntryKind.JOIN_SATISFIED } : entry)),
    ),
    'a parent goes on before its children': inLog((log) =>
      log.filter((entry) => !about('parent', LogEntryKind.JOIN_SATISFIED)(entry)),
    ),
  },
  'flows are conserved': {
    'it settles too early': inLog((log) =>
      sooner(log, ({ kind }) => kind === LogEntryKind.FLOW_SETTLED, about('after', started)),
    ),
    'it succeeded though a member failed': inFlow({ state: FlowState.SUCCEEDED }),
    'it has ended and is not sealed': inFlow({ sealed: false }),
    'it failed though nothing required did': inFinal((final) => ({
      ...final,
      executions: final.executions.map((x) => ({ ...x, optional: true })),
    })),
    'it has ended and something is live': inFinal((final) => ({
      ...final,
      executions: final.executions.map((x) => (x.execution === 'waiting' ? { ...x, flow: 'flow' } : x)),
    })),
    'it lost a member': inFinal((final) => ({
      ...final,
      executions: final.executions.filter(({ execution }) => execution !== 'after'),
    })),
    'it has a member nobody heard of': inFinal((final) => ({
      ...final,
      executions: final.executions.map((x) => (x.execution === 'once' ? { ...x, flow: 'flow' } : x)),
    })),
  },
  'a feed has no gaps': {
    'one entry is missing': entries('one', without(7)),
    'an entry is missing at the cut': entries('two', without(12)),
  },
  'a feed is in order and has no doubles': {
    'an entry comes twice': entries(
      'one',
      twice(({ position }) => position === 7n),
    ),
    'two entries are swapped': entries('one', (log) =>
      log.toSorted((a, b) => (a.position === 8n ? -1 : b.position === 8n ? 1 : 0)),
    ),
    'an entry comes again after the cut': inFeed('two', (feed) => ({
      ...feed,
      messages: [...feed.messages, { entries: LOG.slice(-1) }],
    })),
    'an entry comes after the word that all was delivered': inFeed('ends', ({ messages, ...feed }) => ({
      ...feed,
      messages: messages.toSorted((a) => ('entries' in a ? 1 : -1)),
    })),
  },
  'readers agree': {
    'two readers are told different things': entries('two', (log) =>
      log.map((entry) => (entry.position === 8n ? { ...entry, execution: 'another' } : entry)),
    ),
    'a filtered reader misses an end': entries('ends', (log) => log.slice(1)),
    'a filtered reader gets what was never logged': entries('ends', (log) =>
      log.map((entry, i) => (i === 0 ? { ...entry, position: entry.position - 1n } : entry)),
    ),
  },
  'created is live, terminal and retired': {
    'an execution stands in two states': inFinal((final) => ({
      ...final,
      executions: [...final.executions, ...final.executions.slice(0, 1)],
    })),
    'an execution nobody created is there': inFinal((final) => ({ ...final, retired: ['nobody'] })),
    'the log does not tell of a creation': inLog((log) => log.filter(({ execution }) => execution !== 'waiting')),
  },
  'dead letters are conserved': {
    'a failed execution has no letter': inFinal((final) => ({ ...final, letters: final.letters.slice(1) })),
    'an expired execution has no letter': inFinal((final) => ({ ...final, letters: final.letters.toSpliced(1, 1) })),
    'it has two': inFinal((final) => ({
      ...final,
      letters: final.letters.flatMap((letter) => [letter, { ...letter, letter: `${letter.letter}, again` }]),
    })),
    'a succeeded execution has one': inFinal((final) => ({
      ...final,
      letters: [...final.letters, { letter: 'x', execution: 'once', state: 'open', redriven: false }],
    })),
    'a letter is open though its redrive succeeded': inFinal((final) => ({
      ...final,
      letters: final.letters.map((letter) => ({ ...letter, state: 'open' })),
    })),
    'a letter is closed though nothing was redriven': inFinal((final) => ({
      ...final,
      letters: final.letters.map((letter) => ({ ...letter, state: 'closed', redriven: true })),
    })),
    'the log tells of an opening twice': inLog(twice(about('late', LogEntryKind.DEAD_LETTER_OPENED))),
  },
  ...PLANTED_WAITS,
  ...PLANTED_EVENTS,
  ...PLANTED_CONSUMERS,
};

describe.each(Object.entries(PLANTED))('%s', (property, plants) => {
  it.each(Object.entries(plants))('finds: %s', (_, plant) => {
    const found = checkHistory(plant(cleanHistory())).map((violation) => violation.property);
    expect(found).toContain(property);
  });
});

test('every property has violations planted', () => {
  expect(Object.keys(PLANTED).sort()).toEqual(Object.keys(PROPERTIES).sort());
});

test('what is broken is said, and not without end', () => {
  const clean = cleanHistory();
  const lost = Array.from({ length: 50 }, (_, i) => created(`gone ${i}`));
  expect(() => expectSound({ ...clean, events: [...clean.events, ...lost] })).toThrow(
    /nothing is lost: gone 0 was created[\s\S]*more$/,
  );
});
