/** Following flows while they are worked on: no gap between state and entries, no end too early, whoever joins when. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { FailureClass } from '../../gen/tailrace/v1/attempt_pb.js';
import { FlowMilestone } from '../../gen/tailrace/v1/completion_service_pb.js';
import { ExecutionState } from '../../gen/tailrace/v1/execution_state_pb.js';
import { FlowState } from '../../gen/tailrace/v1/flow_pb.js';
import type { Claim } from '../../gen/tailrace/v1/lease_pb.js';
import { type LogEntry, LogEntryKind, StartPosition } from '../../gen/tailrace/v1/log_pb.js';
import { Client } from '../../src/client/index.js';
import { decodeCursor } from '../../src/domain/cursor.js';
import { refusal, seconds } from '../support/by-hand.js';
import { FlowFollower } from '../support/flow-follower.js';
import { FlowsByHand, type Link, MadeFlow } from '../support/flows-by-hand.js';
import { Recorded } from '../support/history/recorded.js';
import { ALONE, finish, KNOWN_TYPES, PATHS } from '../support/terminal-paths.js';

const MEMBERS = 200;
const LAYER = 40;
const FAILING = 37;

let recorded: Recorded;
let hand: FlowsByHand;
beforeAll(async () => {
  recorded = await Recorded.start();
  hand = new FlowsByHand(recorded.clients);
});
afterAll(() => recorded.stop());

const follow = (flow: MadeFlow, cursor?: string) =>
  new FlowFollower(() => recorded.clients.completion, flow.id, cursor);

/** Everything the log says of a flow, oldest first. */
async function history(flowId: string, more: object = {}): Promise<LogEntry[]> {
  const entries: LogEntry[] = [];
  let pageToken = '';
  do {
    const asked = { filter: { flowId, ...more }, oldestFirst: true, pageSize: 300, pageToken };
    const page = await recorded.clients.admin.listLogEntries(asked);
    entries.push(...page.entries);
    pageToken = page.nextPageToken;
  } while (pageToken !== '');
  return entries;
}

const positionOf = (cursor: string) => decodeCursor(cursor).positions[0]?.position ?? -1n;
const cursorsBehind = (entries: readonly LogEntry[], cursor: string) =>
  entries.map((entry) => entry.cursor).filter((own) => positionOf(own) > positionOf(cursor));

/** Layers of members, each waiting for one above. Workers leave the members that are held to the test. */
async function layered(members = MEMBERS, layer = LAYER, held: readonly string[] = []): Promise<MadeFlow> {
  const names = Array.from({ length: members }, (_, i) => `m${i}`);
  const links = names.slice(layer).map((name, i): Link => [names[i] ?? '', name]);
  return await hand.flow({
    members: Object.fromEntries(names.map((name) => [name, { type: held.includes(name) ? 'held' : 'layered' }])),
    links,
  });
}

/** Works on a flow until it has ended; every so manieth execution fails. */
async function work(flow: MadeFlow, name: string, failing = FAILING): Promise<void> {
  let ended = false;
  const asked = { flowId: flow.id, until: FlowMilestone.ENDED, timeout: seconds(60) };
  const over = recorded.clients.completion.awaitFlow(asked).finally(() => {
    ended = true;
  });
  for (let done = 1; !ended; ) {
    const worker = new FlowsByHand(recorded.clients, name);
    const ask = { lanes: [{ lane: flow.lane }], types: ['layered'], maxExecutions: 7, wait: seconds(0.3) };
    const end = (claim: Claim) =>
      done++ % failing === 0 ? worker.fail(claim, FailureClass.PERMANENT) : worker.complete(claim);
    await Promise.all((await worker.claim({ ...ask, leaseDuration: seconds(60) })).map(end));
  }
  expect((await over).done).toBe(true);
}

describe('WatchFlow', () => {
  test('whoever joins when sees each entry behind its cursor once and in order, and the final state last', async () => {
    const flow = await layered();
    // In place before the first end, for it is to be told of all of them.
    const followers = [await follow(flow).placed()];
    const working = [work(flow, 'one'), work(flow, 'two')];
    const [first] = followers;
    for (let entries = 60; entries < 900; entries += 120) {
      await first
        ?.until(() => (first?.entries.length ?? 0) >= entries || first?.states.length === 2)
        .catch(() => undefined);
      // One from the present state, one from where somebody has been before.
      followers.push(follow(flow), follow(flow, first?.entries[entries / 2]?.cursor));
    }
    await Promise.all(working);
    const finals = await Promise.all(followers.map(({ end }) => end));
    const told = await history(flow.id);
    expect(told.filter(({ kind }) => kind === LogEntryKind.FLOW_SETTLED)).toHaveLength(1);
    for (const follower of followers) {
      expect(follower.cursors).toEqual(follower.late ? [] : cursorsBehind(told, follower.begun));
    }
    for (const final of finals) expect(final).toMatchObject({ state: FlowState.FAILED, settled: true });
    const ends = first?.entries.filter(({ toState }) => toState >= ExecutionState.SUCCEEDED) ?? [];
    expect(new Set(ends.map(({ executionId }) => executionId)).size).toBe(MEMBERS);
    expect(ends).toHaveLength(MEMBERS);
    expect(new Set(ends.map(({ toState }) => toState))).toEqual(
      new Set([ExecutionState.SUCCEEDED, ExecutionState.FAILED, ExecutionState.SKIPPED]),
    );
  });

  test('goes on over a restart of the server', async () => {
    const flow = await hand.flow({
      members: { a: {}, b: {}, c: {} },
      links: [
        ['a', 'b'],
        ['b', 'c'],
      ],
    });
    const follower = await follow(flow).placed();
    await flow.complete('a');
    await follower.until(() => follower.entries.length >= 4);
    await recorded.restart();
    hand = new FlowsByHand(recorded.clients);
    const later = new MadeFlow(hand, flow.id, flow.lane, flow.ids);
    await later.complete('b');
    await later.complete('c');
    expect(await follower.end).toMatchObject({ state: FlowState.SUCCEEDED });
    expect(follower.cuts.length).toBeGreaterThan(0);
    expect(follower.cursors).toEqual(cursorsBehind(await history(flow.id), follower.begun));
  });

  test('an idle flow keeps it open; more members, another end', async () => {
    const flow = await hand.flow({ members: { a: {} } }, { open: true });
    const follower = await follow(flow).placed();
    await flow.complete('a');
    expect((await flow.settled()).state).toBe(FlowState.IDLE);
    await flow.extend({ members: { b: {} }, links: [['a', 'b']] });
    await flow.complete('b');
    await flow.seal();
    expect((await follower.end).state).toBe(FlowState.SUCCEEDED);
    expect(follower.states.map(({ state }) => state)).toEqual([FlowState.ACTIVE, FlowState.SUCCEEDED]);
    const kinds = follower.entries.map(({ kind }) => kind);
    for (const kind of [LogEntryKind.FLOW_SETTLED, LogEntryKind.FLOW_EXTENDED, LogEntryKind.FLOW_SEALED]) {
      expect(kinds).toContain(kind);
    }
  });

  test('a flow that is canceled without a member, or has ended before, is told at once', async () => {
    const empty = await hand.flow({}, { open: true });
    const follower = await follow(empty).placed();
    await empty.cancel({ reason: 'nothing to do' });
    expect(await follower.end).toMatchObject({ state: FlowState.CANCELED, cancelReason: 'nothing to do' });
    const again = follow(empty);
    expect(await again.end).toMatchObject({ state: FlowState.CANCELED });
    expect([again.states.length, again.entries.length]).toEqual([1, 0]);
  });
});

test('the client follows a flow to its end, and waits for it', async () => {
  const client = new Client({ url: recorded.tailrace.url });
  try {
    const flow = await hand.flow({ members: { a: {}, b: {} }, links: [['a', 'b']] });
    const watch = await client.watchFlow(flow.id);
    expect(watch.flow.state).toBe(FlowState.ACTIVE);
    expect(await client.awaitFlow(flow.id, { timeoutMs: 100 })).toMatchObject({ done: false });
    const end = client.awaitFlow(flow.id);
    for (const name of ['a', 'b']) await flow.complete(name);
    const seen: LogEntry[] = [];
    for await (const entry of watch) seen.push(entry);
    expect(watch.flow).toMatchObject({ state: FlowState.SUCCEEDED, settled: true });
    expect(seen.at(-1)).toMatchObject({ kind: LogEntryKind.FLOW_SETTLED, cursor: watch.cursor });
    expect(await end).toMatchObject({ done: true, flow: { state: FlowState.SUCCEEDED } });
    const again = await client.watchFlow(flow.id, { cursor: seen[2]?.cursor ?? '' });
    const rest: string[] = [];
    for await (const { cursor } of again) rest.push(cursor);
    expect(rest).toEqual(seen.slice(3).map(({ cursor }) => cursor));
  } finally {
    client.close();
  }
});

describe('AwaitFlow', () => {
  test('proof 5: waits that begin before, during and after never answer early', async () => {
    const chain = ['m0', 'm20', 'm40'];
    const flow = await layered(60, 20, chain);
    const answers: { done: boolean; early: boolean; until: FlowMilestone }[] = [];
    const waits: Promise<void>[] = [];
    let last = false;
    const wait = (until: FlowMilestone) => {
      const asked = { flowId: flow.id, until, timeout: seconds(60) };
      const noted = recorded.clients.completion.awaitFlow(asked).then(({ done, flow: shown }) => {
        answers.push({ done, early: !last || shown?.settled !== true, until });
      });
      waits.push(noted);
    };
    wait(FlowMilestone.SETTLED);
    wait(FlowMilestone.ENDED);
    const working = work(flow, 'awaited', Number.POSITIVE_INFINITY);
    const reader = await recorded.reader({
      name: 'ends of the flow',
      completions: { flowId: flow.id },
      selects: ({ to, flow: of }) => to >= ExecutionState.SUCCEEDED && of === flow.id,
    });
    // All but those that are held.
    for (let ends = 0; ends <= 57; ends += 3) {
      await reader.until(({ completed }) => completed.length >= ends);
      wait(FlowMilestone.SETTLED);
      wait(FlowMilestone.ENDED);
    }
    expect(answers).toEqual([]);
    const once = { flowId: flow.id, until: FlowMilestone.SETTLED };
    expect((await recorded.clients.completion.awaitFlow(once)).done).toBe(false);
    for (const name of chain) {
      const [claim] = await hand.claim({ lanes: [{ lane: flow.lane }], types: ['held'] });
      if (claim?.executionId !== flow.of(name)) throw new Error(`it is not the turn of ${name}`);
      expect(answers).toEqual([]);
      wait(FlowMilestone.SETTLED);
      last = name === chain.at(-1);
      await hand.complete(claim);
    }
    await working;
    wait(FlowMilestone.ENDED);
    await Promise.all(waits);
    expect(answers.every(({ done, early }) => done && !early)).toBe(true);
    expect(answers).toHaveLength(waits.length);
  });

  test('a wait that is over before the flow is says so', async () => {
    const flow = await hand.flow({ members: { a: {} } });
    const asked = { flowId: flow.id, timeout: seconds(0.2) };
    expect(await recorded.clients.completion.awaitFlow(asked)).toMatchObject({
      done: false,
      flow: { flowId: flow.id, state: FlowState.ACTIVE },
    });
    const nowhere = { ...asked, flowId: flow.of('a') };
    expect((await refusal(recorded.clients.completion.awaitFlow(nowhere))).reason).toBe('FLOW_NOT_FOUND');
  });
});

describe('members in the log', () => {
  test('proof 16: every path that ends a member is told to whoever follows its flow, by every way to follow it', async () => {
    await recorded.clients.engine.heartbeatWorker({ worker: hand.worker, types: [...KNOWN_TYPES] });
    const members = Object.fromEntries(ALONE.map((name) => [name, { type: name, ...PATHS[name]?.spec() }]));
    const ofFlow: { id?: string } = {};
    const everything = await recorded.reader({
      name: 'all completions',
      start: StartPosition.LATEST,
      completions: {},
      selects: ({ to }) => to >= ExecutionState.SUCCEEDED,
    });
    const flow = await hand.flow({ members }, { tags: { all: 'paths' } });
    ofFlow.id = flow.id;
    const follower = follow(flow);
    await Promise.all(ALONE.map((name) => finish(hand, name, flow.of(name))));
    await follower.end;
    const reader = await recorded.reader({
      name: 'completions of the flow',
      completions: { flowId: flow.id },
      selects: ({ to, flow: of }) => to >= ExecutionState.SUCCEEDED && of === flow.id,
    });
    await reader.until(({ completed }) => completed.length >= ALONE.length);
    expect(reader.completed.map(({ type }) => type).sort()).toEqual([...ALONE].sort());
    await everything.until(({ completed }) => completed.length >= ALONE.length);
    expect(everything.completed.every(({ flowId }) => flowId === flow.id)).toBe(true);
    const ends = (await history(flow.id)).filter(({ toState }) => toState >= ExecutionState.SUCCEEDED);
    for (const told of [reader.completed, everything.completed]) {
      expect(told.map(({ executionId, outcome }) => [executionId, outcome?.state])).toEqual(
        ends.map(({ executionId, toState }) => [executionId, toState]),
      );
    }
    for (const { type, outcome, flowId } of reader.completed) {
      const { state, reason } = PATHS[type] ?? {};
      expect({ type, state: outcome?.state, reason: outcome?.reason, flowId }).toEqual({
        type,
        state,
        reason,
        flowId: flow.id,
      });
    }
  });

  test('a member has its own story, forth and back, as a watch of it tells it', async () => {
    const flow = await hand.flow(
      {
        members: { a: {}, b: {}, c: {} },
        links: [
          ['a', 'b'],
          ['b', 'c'],
        ],
      },
      { tags: { of: 'story' } },
    );
    await flow.complete('a');
    await flow.fail('b');
    await flow.ended();
    await recorded.log.entry((entry) => entry.flowId === flow.id && entry.kind === LogEntryKind.FLOW_SETTLED);
    const kinds = async (name: string) =>
      (await history(flow.id, { executionId: flow.of(name) })).map(({ kind }) => LogEntryKind[kind]);
    expect(await kinds('b')).toEqual([
      'EXECUTION_CREATED',
      'JOIN_SATISFIED',
      'EXECUTION_CHANGED',
      'ATTEMPT_STARTED',
      'ATTEMPT_ENDED',
      'EXECUTION_FAILED',
      'DEAD_LETTER_OPENED',
    ]);
    expect(await kinds('c')).toEqual(['EXECUTION_CREATED', 'JOIN_IMPOSSIBLE', 'EXECUTION_SKIPPED']);
    const { admin } = recorded.clients;
    const ofOne = { filter: { executionId: flow.of('b') } };
    const forth = (await admin.listLogEntries({ ...ofOne, oldestFirst: true })).entries;
    expect(forth).toHaveLength(7);
    expect((await admin.listLogEntries(ofOne)).entries).toEqual(forth.toReversed());
    expect(forth.every(({ flowId }) => flowId === flow.id)).toBe(true);
    const join = await flow.join('b');
    expect(forth.filter(({ subject }) => subject === join.joinId).map(({ kind }) => LogEntryKind[kind])).toEqual([
      'JOIN_SATISFIED',
      'EXECUTION_CHANGED',
    ]);
    const reader = await recorded.reader({
      name: 'one member',
      filter: { executionId: flow.of('b') },
      selects: ({ execution }) => execution === flow.of('b'),
    });
    await reader.until(({ entries }) => entries.length >= 7);
    expect(reader.entries.map(({ kind }) => kind)).toEqual(forth.map(({ kind }) => kind));
    const own = await history(flow.id, { tags: { of: 'story' } });
    expect(own.map(({ kind }) => LogEntryKind[kind])).toEqual(['FLOW_CREATED', 'FLOW_SETTLED']);
  });
});
