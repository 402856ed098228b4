/** Watches with filters see the end of every execution they select, whatever path led to it, and of no other (C1). */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { EndReason, ExecutionState } from '../../gen/tailrace/v1/execution_state_pb.js';
import { LogEntryKind, StartPosition } from '../../gen/tailrace/v1/log_pb.js';
import { FlowsByHand } from '../support/flows-by-hand.js';
import type { ReaderOptions, RecordedReader } from '../support/history/reader.js';
import { Recorded } from '../support/history/recorded.js';
import { KNOWN_TYPES, PATHS, type Path, WHY, walk } from '../support/terminal-paths.js';

const { SUCCEEDED, FAILED, CANCELED, EXPIRED, SKIPPED } = ExecutionState;
const NAMES = Object.keys(PATHS);
const laneOf = (name: string) => (NAMES.indexOf(name) % 2 === 0 ? 'even' : 'odd');
const tagsOf = (name: string) => ({ path: name, third: String(NAMES.indexOf(name) % 3) });

type Selects = (name: string, path: Path) => boolean;
const WATCHES: Readonly<Record<string, [NonNullable<ReaderOptions['completions']>, Selects]>> = {
  everything: [{}, () => true],
  succeeded: [{ outcomes: [SUCCEEDED] }, (_, { state }) => state === SUCCEEDED],
  'failed or expired': [{ outcomes: [FAILED, EXPIRED] }, (_, { state }) => state === FAILED || state === EXPIRED],
  canceled: [{ outcomes: [CANCELED] }, (_, { state }) => state === CANCELED],
  skipped: [{ outcomes: [SKIPPED] }, (_, { state }) => state === SKIPPED],
  'a lane': [{ lanes: ['odd'] }, (name) => laneOf(name) === 'odd'],
  'some types': [{ types: NAMES.slice(3, 9) }, (name) => NAMES.indexOf(name) >= 3 && NAMES.indexOf(name) < 9],
  'a tag': [{ tags: { third: '1' } }, (name) => tagsOf(name).third === '1'],
  'everything at once': [
    { outcomes: [CANCELED, EXPIRED, SKIPPED], lanes: ['even'], types: NAMES, tags: { third: '0' } },
    (name, { state }) => state >= CANCELED && laneOf(name) === 'even' && tagsOf(name).third === '0',
  ],
  nothing: [{ lanes: ['no such lane'] }, () => false],
};

let recorded: Recorded;
const ids = new Map<string, string>();
const live = new Map<string, RecordedReader>();

beforeAll(async () => {
  recorded = await Recorded.start();
  const hand = new FlowsByHand(recorded.clients);
  await recorded.clients.engine.heartbeatWorker({ worker: hand.worker, types: [...KNOWN_TYPES] });
  for (const [name, [completions]] of Object.entries(WATCHES)) live.set(name, await watch(name, completions));
  await Promise.all(NAMES.map(async (name) => ids.set(name, await walk(hand, name, laneOf(name), tagsOf(name)))));
});
afterAll(() => recorded.stop());

/** The checker too is told what the watch selects, so a missing end fails the judgment even if a test forgets it. */
async function watch(name: string, completions: ReaderOptions['completions'], start = StartPosition.LATEST) {
  const selected = () => new Set(NAMES.filter((path) => selects(name, path)).map((path) => ids.get(path)));
  const paths = () => new Set(ids.values());
  return await recorded.reader({
    name: `${name}, ${StartPosition[start]}`,
    start,
    ...(completions && { completions }),
    selects: ({ to, execution }) =>
      to >= SUCCEEDED && (paths().has(execution) ? selected().has(execution) : selectsOthers(completions, to)),
  });
}

/** Those that are there only for another one's sake have lanes and types of their own, and no tags. */
function selectsOthers({ outcomes = [], ...fields }: ReaderOptions['completions'] = {}, to: ExecutionState): boolean {
  return Object.keys(fields).length === 0 && (outcomes.length === 0 || outcomes.includes(to));
}

const onPaths = <E extends { readonly type: string }>(entries: readonly E[]) =>
  entries.filter(({ type }) => type in PATHS);

function selects(watchName: string, name: string): boolean {
  const path = PATHS[name];
  return path !== undefined && (WATCHES[watchName]?.[1](name, path) ?? false);
}

test.each(NAMES)('proof 16: the end is told: %s', async (name) => {
  const everything = live.get('everything');
  await everything?.until(({ completed }) => completed.some(({ type }) => type === name));
  const entry = everything?.completed.find(({ type }) => type === name);
  const { state, reason, attempts } = PATHS[name] ?? {};
  expect(entry).toMatchObject({
    executionId: ids.get(name),
    lane: laneOf(name),
    tags: tagsOf(name),
    outcome: { state, reason, attemptNumber: attempts },
  });
  expect(entry?.outcome?.deadLetterId === '').toBe(state !== FAILED && state !== EXPIRED);
  expect(entry?.startTime === undefined).toBe(attempts === 0);
});

test.each(NAMES)('proof 16: watches, waits and lookups tell the same: %s', async (name) => {
  const executionId = ids.get(name) ?? '';
  const { execution } = await recorded.clients.admin.getExecution({ executionId });
  const awaited = await recorded.hand().look(executionId);
  const watched = live.get('everything')?.completed.find(({ type }) => type === name)?.outcome;
  if (execution?.outcome?.failure) delete execution.outcome.failure.details;
  expect(watched).toEqual(execution?.outcome);
  expect(awaited.outcome).toEqual(execution?.outcome);
  const { state, reason } = PATHS[name] ?? {};
  expect(watched?.failure !== undefined).toBe(state === FAILED || state === EXPIRED);
  if (reason === EndReason.CANCEL_REQUESTED) expect(watched?.cancelReason).toBe(WHY);
});

test.each(Object.keys(WATCHES))(
  'proof 16: a watch tells what it selects and nothing else, live and later: %s',
  async (name) => {
    const expected = NAMES.filter((path) => selects(name, path)).sort();
    const later = await watch(name, WATCHES[name]?.[0], StartPosition.EARLIEST);
    for (const reader of [live.get(name), later]) {
      await reader?.until(({ completed }) => onPaths(completed).length >= expected.length);
      expect(
        onPaths(reader?.completed ?? [])
          .map(({ type }) => type)
          .sort(),
      ).toEqual(expected);
    }
  },
);

test.each([
  ['failed', LogEntryKind.EXECUTION_FAILED, FAILED],
  ['canceled', LogEntryKind.EXECUTION_CANCELED, CANCELED],
  ['expired', LogEntryKind.EXECUTION_EXPIRED, EXPIRED],
  ['succeeded', LogEntryKind.EXECUTION_SUCCEEDED, SUCCEEDED],
  ['skipped', LogEntryKind.EXECUTION_SKIPPED, SKIPPED],
])('proof 16: a watch of the log tells the same ends by kind: %s', async (name, kind, state) => {
  const expected = NAMES.filter((path) => PATHS[path]?.state === state).sort();
  const reader = await recorded.reader({ name, filter: { kinds: [kind] }, selects: (entry) => entry.kind === kind });
  await reader.until(({ entries }) => onPaths(entries).length >= expected.length);
  expect(
    onPaths(reader.entries)
      .map(({ type }) => type)
      .sort(),
  ).toEqual(expected);
  expect(reader.entries.every(({ body }) => body.case === 'outcome' && body.value.state === state)).toBe(true);
});

test('proof 16: a watch of one execution tells its whole story', async () => {
  const execution = ids.get('completed at the second attempt') ?? '';
  const reader = await recorded.reader({
    name: 'one execution',
    filter: { executionId: execution },
    selects: (entry) => entry.execution === execution,
  });
  await reader.until(({ entries }) => entries.length >= 6);
  expect(reader.entries.map(({ kind, attemptNumber }) => [LogEntryKind[kind], attemptNumber])).toEqual([
    ['EXECUTION_CREATED', 0],
    ['ATTEMPT_STARTED', 1],
    ['ATTEMPT_ENDED', 1],
    ['ATTEMPT_STARTED', 2],
    ['ATTEMPT_ENDED', 2],
    ['EXECUTION_SUCCEEDED', 2],
  ]);
});

test('proof 16: a watch of the log tells of a wait by kind, in order', async () => {
  const execution = ids.get('completed after a wait') ?? '';
  const { EXECUTION_SUSPENDED, SIGNAL_RECEIVED, EXECUTION_RESUMED } = LogEntryKind;
  const kinds = [EXECUTION_RESUMED, SIGNAL_RECEIVED, EXECUTION_SUSPENDED];
  const reader = await recorded.reader({
    name: 'a wait',
    filter: { executionId: execution, kinds },
    selects: (entry) => entry.execution === execution && kinds.includes(entry.kind),
  });
  await reader.until(({ entries }) => entries.length >= kinds.length);
  expect(reader.entries.map(({ kind, attemptNumber }) => [LogEntryKind[kind], attemptNumber])).toEqual([
    ['EXECUTION_SUSPENDED', 1],
    ['SIGNAL_RECEIVED', 1],
    ['EXECUTION_RESUMED', 1],
  ]);
});
