/**
 * Proof 19: a list that is read page by page, while others go on inserting and ending, shows everything that was there
 * when it began exactly once. Lists come from the descriptors: a new one fails until it is here.
 */
import { create, type DescMethod, toBinary } from '@bufbuild/protobuf';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { FailureClass } from '../../gen/tailrace/v1/attempt_pb.js';
import { Role } from '../../gen/tailrace/v1/namespace_pb.js';
import { type ByHand, seconds } from '../support/by-hand.js';
import { FlowsByHand, type MadeFlow } from '../support/flows-by-hand.js';
import { HeldExecution } from '../support/held-execution.js';
import { callRaw } from '../support/raw-call.js';
import { METHODS, nameOf } from '../support/sample-requests.js';
import { startTailrace, type TestTailrace } from '../support/tailrace.js';

const BEFORE = 11;
const PAGE = 3;

interface Page {
  readonly keys: readonly string[];
  readonly nextPageToken: string;
}

interface List {
  /** Makes one more of what is listed. */
  readonly insert: (hand: FlowsByHand, n: number) => Promise<unknown>;
  readonly read: (tailrace: TestTailrace, page: { pageSize: number; pageToken: string }) => Promise<Page>;
}

const work = { lane: 'paged', type: 'paged' };
const insert = (hand: ByHand) => hand.createOne(work);
const attempt = async (hand: ByHand) => await hand.release(await hand.claimNamed(await insert(hand)));
/** A member more, which waits for the first. */
const extend = (_: ByHand, n: number) =>
  growing.extend({ members: { [`member ${n}`]: {} }, links: [['first', `member ${n}`]] });
const log = (oldestFirst: boolean): List => ({
  insert,
  read: async ({ admin }, page) => {
    const { entries, nextPageToken } = await admin.listLogEntries({
      ...page,
      oldestFirst,
      filter: { lanes: ['paged'] },
    });
    return { keys: entries.map(({ cursor }) => cursor), nextPageToken };
  },
});

/** They are listed by when they expire, so new ones come between those that are there. */
const waitpoints = (filter: () => { executionId?: string }): List => ({
  insert: (_, n) => doors.waitpoint(`door ${n} ${doorsMade++}`, seconds(1_000 + ((n * 7) % 100))),
  read: async ({ admin }, page) => {
    const { waitpoints, nextPageToken } = await admin.listPendingWaitpoints({ ...page, ...filter() });
    return { keys: waitpoints.map(({ key }) => key), nextPageToken };
  },
});

const events = (filter: { types?: string[]; stream?: string; tags?: Record<string, string> }): List => ({
  insert: () => tailrace.engine.publishEvents({ events: [{ type: 'paged', stream: 'paged', tags: { paged: 'yes' } }] }),
  read: async ({ admin }, page) => {
    const { events, nextPageToken } = await admin.listEvents({ ...page, ...filter });
    return { keys: events.map(({ eventId }) => eventId), nextPageToken };
  },
});

const tokens: List = {
  insert: (_, n) => tailrace.admin.createToken({ name: `token ${(n * 7) % 100} ${n}`, roles: [Role.OBSERVER] }),
  read: async ({ admin }, page) => {
    const { tokens, nextPageToken } = await admin.listTokens(page);
    return { keys: tokens.map(({ tokenId }) => tokenId), nextPageToken };
  },
};

const LISTS: Readonly<Record<string, readonly List[]>> = {
  'AdminService/ListExecutions': [
    {
      insert,
      read: async ({ admin }, page) => {
        const { executions, nextPageToken } = await admin.listExecutions({ ...page, filter: { lanes: ['paged'] } });
        return { keys: executions.map(({ executionId }) => executionId), nextPageToken };
      },
    },
  ],
  'AdminService/ListAttempts': [
    {
      insert: attempt,
      read: async ({ admin }, page) => {
        const { attempts, nextPageToken } = await admin.listAttempts({ ...page, lane: 'paged' });
        return {
          keys: attempts.map(({ executionId, attemptNumber }) => `${executionId}/${attemptNumber}`),
          nextPageToken,
        };
      },
    },
  ],
  'AdminService/ListLanes': [
    {
      insert: (hand, n) => hand.createOne({ lane: `lane ${(n * 7) % 100}` }),
      read: async ({ admin }, page) => {
        const { lanes, nextPageToken } = await admin.listLanes(page);
        return { keys: lanes.map(({ lane }) => lane), nextPageToken };
      },
    },
  ],
  'AdminService/ListWorkers': [
    {
      insert: (_, n) =>
        tailrace.engine.heartbeatWorker({ worker: { name: `w ${n % 3}`, instanceId: `i ${(n * 7) % 100}` } }),
      read: async ({ admin }, page) => {
        const { workers, nextPageToken } = await admin.listWorkers(page);
        return { keys: workers.map(({ identity }) => `${identity?.name}/${identity?.instanceId}`), nextPageToken };
      },
    },
  ],
  'AdminService/ListLogEntries': [log(true), log(false)],
  'AdminService/ListFlows': [
    {
      insert: (hand) => hand.flow({ members: { only: {} } }),
      read: async ({ admin }, page) => {
        const { flows, nextPageToken } = await admin.listFlows(page);
        return { keys: flows.map(({ flowId }) => flowId), nextPageToken };
      },
    },
  ],
  'AdminService/ListFailedFlows': [
    {
      insert: async (hand) => {
        const flow = await hand.flow({ members: { only: {} } });
        await flow.fail('only');
        await flow.ended();
      },
      read: async ({ admin }, page) => {
        const { flows, nextPageToken } = await admin.listFailedFlows(page);
        return { keys: flows.map(({ flowId }) => flowId), nextPageToken };
      },
    },
  ],
  'AdminService/ListFlowMembers': [
    {
      insert: extend,
      read: async ({ admin }, page) => {
        const { members, nextPageToken } = await admin.listFlowMembers({ ...page, flowId: growing.id });
        return { keys: members.map(({ executionId }) => executionId), nextPageToken };
      },
    },
  ],
  'AdminService/ListEdges': [
    {
      insert: extend,
      read: async ({ admin }, page) => {
        const { edges, nextPageToken } = await admin.listEdges({ ...page, flowId: growing.id });
        return { keys: edges.map(({ joinId, index }) => `${joinId}/${index}`), nextPageToken };
      },
    },
    {
      insert: extend,
      read: async ({ admin }, page) => {
        const { edges, nextPageToken } = await admin.listEdges({ ...page, executionId: growing.of('first') });
        return { keys: edges.map(({ joinId, index }) => `${joinId}/${index}`), nextPageToken };
      },
    },
  ],
  'AdminService/ListJoins': [
    {
      insert: extend,
      read: async ({ admin }, page) => {
        const { joins, nextPageToken } = await admin.listJoins({ ...page, flowId: growing.id });
        return { keys: joins.map(({ joinId }) => joinId), nextPageToken };
      },
    },
  ],
  'AdminService/GetFlowTree': [
    {
      insert: extend,
      read: async ({ admin }, page) => {
        const { nodes, nextPageToken } = await admin.getFlowTree({ ...page, flowId: growing.id });
        return { keys: nodes.map(({ nodeId }) => nodeId), nextPageToken };
      },
    },
  ],
  'AdminService/ListSuspendedExecutions': [
    {
      insert: async () => (await HeldExecution.make(tailrace)).suspend('go'),
      read: async ({ admin }, page) => {
        const { suspensions, nextPageToken } = await admin.listSuspendedExecutions(page);
        return { keys: suspensions.map(({ executionId }) => executionId), nextPageToken };
      },
    },
  ],
  'AdminService/ListPendingWaitpoints': [waitpoints(() => ({})), waitpoints(() => ({ executionId: doors.id }))],
  'EngineService/ListMatchedSignals': [
    {
      // What satisfied a suspension does not change any more.
      insert: async () => undefined,
      read: async ({ engine }, page) => {
        const { signals, nextPageToken } = await engine.listMatchedSignals({ ...page, lease: told.lease });
        return { keys: signals.map(({ signalId }) => signalId), nextPageToken };
      },
    },
  ],
  'AdminService/ListBudgets': [
    {
      insert: (_, n) =>
        tailrace.admin.putBudget({ budget: { name: `b ${(n * 7) % 100}`, limits: { coins: { hardLimit: 9n } } } }),
      read: async ({ admin }, page) => {
        const { budgets, nextPageToken } = await admin.listBudgets(page);
        return { keys: budgets.map(({ spec }) => spec?.name ?? ''), nextPageToken };
      },
    },
  ],
  'AdminService/ListQuotas': [
    {
      insert: (_, n) => tailrace.admin.putQuota({ lane: `quota ${(n * 7) % 100}`, concurrencyLimit: 1_000 }),
      read: async ({ admin }, page) => {
        const { quotas, nextPageToken } = await admin.listQuotas(page);
        return { keys: quotas.map(({ lane }) => lane), nextPageToken };
      },
    },
  ],
  'AdminService/ListTokens': [tokens],
  'AdminService/ListNamespaces': [
    {
      insert: (_, n) => tailrace.admin.putNamespace({ namespace: `team-${(n * 7) % 100}` }),
      read: async ({ admin }, page) => {
        const { namespaces, nextPageToken } = await admin.listNamespaces(page);
        return { keys: namespaces.map(({ namespace }) => namespace), nextPageToken };
      },
    },
  ],
  'AdminService/ListSubscriptions': [
    {
      insert: (_, n) =>
        tailrace.admin.putSubscription({
          subscription: { name: `s ${(n * 7) % 100}`, type: 'x', headers: { no: 'one' } },
        }),
      read: async ({ admin }, page) => {
        const { subscriptions, nextPageToken } = await admin.listSubscriptions(page);
        return { keys: subscriptions.map(({ spec }) => spec?.name ?? ''), nextPageToken };
      },
    },
  ],
  'AdminService/ListConsumers': [
    {
      insert: (_, n) => tailrace.admin.putConsumer({ consumer: { name: `c ${(n * 7) % 100}` } }),
      read: async ({ admin }, page) => {
        const { consumers, nextPageToken } = await admin.listConsumers(page);
        return { keys: consumers.map(({ spec }) => spec?.name ?? ''), nextPageToken };
      },
    },
  ],
  'AdminService/ListEvents': [{}, { types: ['paged'] }, { stream: 'paged' }, { tags: { paged: 'yes' } }].map(events),
  'DeadLetterService/ListDeadLetterGroups': [
    {
      insert: async (hand, n) => {
        const id = await hand.createOne({ ...work, type: `cause ${n}` });
        await hand.fail(await hand.claimNamed(id), FailureClass.PERMANENT);
      },
      read: async ({ deadLetters }, page) => {
        const { groups, nextPageToken } = await deadLetters.listDeadLetterGroups(page);
        return { keys: groups.map(({ fingerprint }) => fingerprint), nextPageToken };
      },
    },
  ],
  'DeadLetterService/ListDeadLetters': [
    {
      insert: async (hand) => hand.fail(await hand.claimNamed(await insert(hand)), FailureClass.PERMANENT),
      read: async ({ deadLetters }, page) => {
        const answer = await deadLetters.listDeadLetters(page);
        return {
          keys: answer.deadLetters.map(({ deadLetterId }) => deadLetterId),
          nextPageToken: answer.nextPageToken,
        };
      },
    },
  ],
};

let tailrace: TestTailrace;
let hand: FlowsByHand;
let growing: MadeFlow;
let doors: HeldExecution;
let doorsMade = 0;
let told: HeldExecution;
beforeAll(async () => {
  tailrace = await startTailrace();
  hand = new FlowsByHand(tailrace);
  growing = await hand.flow({ members: { first: {} } }, { open: true });
  doors = await HeldExecution.make(tailrace);
  told = await tellMuch();
});
afterAll(() => tailrace.stop());

/** An execution whose condition held at once, by this many signals. */
async function tellMuch(): Promise<HeldExecution> {
  const held = await HeldExecution.make(tailrace);
  const target = { case: 'execution' as const, value: { executionId: held.id } };
  for (let i = 0; i < BEFORE; i++) await tailrace.engine.signalExecution({ target, name: 'told' });
  const condition = { condition: { case: 'count' as const, value: { count: BEFORE } } };
  await held.suspend('', '', { condition });
  return held;
}

const paged = METHODS.filter(({ input }) => input.fields.some(({ name }) => name === 'page_token'));

test.each(paged.map((method) => [nameOf(method), method] as const))('proof 19: %s', async (name, method) => {
  if (await isUnbuilt(method)) return;
  const lists = LISTS[name];
  if (lists === undefined) throw new Error(`${name} is built: say in LISTS how it is read`);
  for (const list of lists) {
    let n = 0;
    for (let i = 0; i < BEFORE; i++) await list.insert(hand, n++);
    const all = (await list.read(tailrace, { pageSize: 1_000, pageToken: '' })).keys;
    expect(all.length).toBeGreaterThanOrEqual(BEFORE);
    const seen: string[] = [];
    let pageToken = '';
    do {
      const page = await list.read(tailrace, { pageSize: PAGE, pageToken });
      expect(page.keys.length).toBeLessThanOrEqual(PAGE);
      seen.push(...page.keys);
      pageToken = page.nextPageToken;
      // The list that grows at its end would never come to one.
      if (n < 3 * BEFORE) await Promise.all([list.insert(hand, n++), list.insert(hand, n++)]);
    } while (pageToken !== '');
    expect(new Set(seen).size).toBe(seen.length);
    expect(seen.filter((key) => all.includes(key))).toEqual(all);
  }
});

async function isUnbuilt(method: DescMethod): Promise<boolean> {
  const probe = await callRaw(tailrace.url, method, toBinary(method.input, create(method.input)));
  return 'refusal' in probe && probe.refusal.detail?.reason === 'UNIMPLEMENTED';
}
