/**
 * A sound history, made by hand, in which everything happens that a property speaks of. Tests plant one violation each.
 *
 *     once       created, claimed, completed
 *     reclaimed  its first holder died; a second one completed it, the first was refused, the second repeated himself
 *     given-up   failed for good; redriven as `again`, which succeeded and closed the letter
 *     waiting    scheduled, never ran
 *     late       expired before anybody came
 */
import { ExecutionState } from '../../../gen/tailrace/v1/execution_state_pb.js';
import { LogEntryKind } from '../../../gen/tailrace/v1/log_pb.js';
import type { Feed, FeedEntry, FeedMessage, Held, History, HistoryEvent } from '../../support/history/history.js';

const { UNSPECIFIED, SCHEDULED, QUEUED, RUNNING, SUCCEEDED, FAILED, EXPIRED } = ExecutionState;
const {
  EXECUTION_CREATED,
  EXECUTION_SUCCEEDED,
  EXECUTION_FAILED,
  EXECUTION_EXPIRED,
  ATTEMPT_STARTED,
  ATTEMPT_ENDED,
  DEAD_LETTER_OPENED,
  DEAD_LETTER_REDRIVING,
  DEAD_LETTER_CLOSED,
  WORKER_REGISTERED,
} = LogEntryKind;

let order = 0;
const now = () => ({ began: order++, answered: order++ });

export const created = (execution: string): HistoryEvent => ({
  event: 'created',
  execution,
  duplicate: false,
  ...now(),
});

export const claimed = (execution: string, attempt: number, token: bigint): HistoryEvent => ({
  event: 'claimed',
  execution,
  attempt,
  token,
  lease: `lease ${token}`,
  ...now(),
});

export const held = (
  call: Held['call'],
  execution: string,
  token: bigint,
  verdict: Held['verdict'] = 'accepted',
): HistoryEvent => ({ event: 'held', call, execution, token, lease: `lease ${token}`, verdict, ...now() });

type Step = Omit<FeedEntry, 'position'>;

const about = (kind: LogEntryKind, execution: string, more: Partial<Step> = {}): Step => ({
  kind,
  execution,
  attempt: 0,
  from: UNSPECIFIED,
  to: UNSPECIFIED,
  letter: '',
  ...more,
});
const made = (execution: string, to = QUEUED) => about(EXECUTION_CREATED, execution, { to });
const started = (execution: string, attempt: number) =>
  about(ATTEMPT_STARTED, execution, { attempt, from: QUEUED, to: RUNNING });
const lost = (execution: string, attempt: number) =>
  about(ATTEMPT_ENDED, execution, { attempt, from: RUNNING, to: QUEUED });
const ended = (execution: string, attempt: number, kind: LogEntryKind, to: ExecutionState) => [
  about(ATTEMPT_ENDED, execution, { attempt }),
  about(kind, execution, { attempt, from: RUNNING, to }),
];

const STEPS: readonly Step[] = [
  made('once'),
  made('reclaimed'),
  made('waiting', SCHEDULED),
  made('late'),
  about(WORKER_REGISTERED, ''),
  started('once', 1),
  ...ended('once', 1, EXECUTION_SUCCEEDED, SUCCEEDED),
  started('reclaimed', 1),
  lost('reclaimed', 1),
  started('reclaimed', 2),
  ...ended('reclaimed', 2, EXECUTION_SUCCEEDED, SUCCEEDED),
  made('given-up'),
  started('given-up', 1),
  ...ended('given-up', 1, EXECUTION_FAILED, FAILED),
  about(DEAD_LETTER_OPENED, 'given-up', { letter: 'letter of given-up' }),
  about(EXECUTION_EXPIRED, 'late', { from: QUEUED, to: EXPIRED }),
  about(DEAD_LETTER_OPENED, 'late', { letter: 'letter of late' }),
  about(DEAD_LETTER_REDRIVING, 'given-up', { letter: 'letter of given-up' }),
  made('again'),
  started('again', 1),
  ...ended('again', 1, EXECUTION_SUCCEEDED, SUCCEEDED),
  about(DEAD_LETTER_CLOSED, 'again', { letter: 'letter of given-up' }),
];

export const LOG: readonly FeedEntry[] = STEPS.map((step, i) => ({ ...step, position: BigInt(i + 1) }));
const END = BigInt(LOG.length);

export const isEnd = ({ to }: FeedEntry): boolean => to >= SUCCEEDED;

const messages = (log: readonly FeedEntry[]): FeedMessage[] => [{ upTo: 0n }, { entries: log }, { upTo: END }];

/** Reader `one` in one go, `two` with a cut in the middle, `ends` filtered; all of this log. */
export function feedsOf(log: readonly FeedEntry[]): Feed[] {
  const cut = log[11]?.position ?? 0n;
  const half = (first: boolean) => log.filter(({ position }) => position <= cut === first);
  const resumed = [{ entries: half(true) }, { resumedAfter: cut }, { upTo: cut }, { entries: half(false) }];
  return [
    { reader: 'one', messages: messages(log) },
    { reader: 'two', messages: [{ upTo: 0n }, ...resumed] },
    { reader: 'ends', selects: isEnd, messages: messages(log.filter(isEnd)) },
  ];
}

const execution = (name: string, state: ExecutionState, letter = '', redriveOf = '') => ({
  execution: name,
  state,
  letter,
  redriveOf,
});

export function cleanHistory(): History {
  return {
    events: [
      created('once'),
      created('reclaimed'),
      created('waiting'),
      created('late'),
      claimed('once', 1, 1n),
      held('renew', 'once', 1n),
      held('complete', 'once', 1n),
      claimed('reclaimed', 1, 2n),
      claimed('reclaimed', 2, 3n),
      held('complete', 'reclaimed', 2n, 'refused'),
      held('complete', 'reclaimed', 3n),
      held('complete', 'reclaimed', 3n, 'duplicate'),
      created('given-up'),
      claimed('given-up', 1, 4n),
      held('fail', 'given-up', 4n),
      created('again'),
      claimed('again', 1, 5n),
      held('complete', 'again', 5n),
    ],
    feeds: feedsOf(LOG),
    final: {
      executions: [
        execution('once', SUCCEEDED),
        execution('reclaimed', SUCCEEDED),
        execution('waiting', SCHEDULED),
        execution('late', EXPIRED, 'letter of late'),
        execution('given-up', FAILED, 'letter of given-up'),
        execution('again', SUCCEEDED, '', 'given-up'),
      ],
      letters: [
        { letter: 'letter of given-up', execution: 'given-up', state: 'closed', redriven: true },
        { letter: 'letter of late', execution: 'late', state: 'open', redriven: false },
      ],
      retired: [],
    },
  };
}
