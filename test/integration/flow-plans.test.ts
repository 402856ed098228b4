/**
 * The plans of what the desk reads of flows: made while the schema is empty, kept, and still right over thousands of
 * members that nobody has analyzed. A page of fifty costs what it shows, however large the flow and however many there are.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { EndCall } from '../../src/domain/states.js';
import { Database } from '../../src/repository/database.js';
import { listDeadLetters } from '../../src/repository/dead-letters/index.js';
import {
  createFlow,
  listEdges,
  listFailedFlows,
  listFlows,
  listJoins,
  listMembers,
  type NewFlow,
  readFlow,
  readTree,
  readWait,
} from '../../src/repository/flows/index.js';
import { listAttempts, listExecutions, readExecution, readStats } from '../../src/repository/inspection/index.js';
import { endAttempts } from '../../src/repository/leases/index.js';
import { stepLog } from '../../src/repository/log/index.js';
import { internClasses } from '../../src/repository/registry/index.js';
import { verify } from '../../src/repository/verification/index.js';
import { uuidV7 } from '../../src/runtime/random.js';
import { endingOf, NAMESPACE, newExecution, takeLeases } from '../support/direct.js';
import { type Explained, ExplainedSession } from '../support/explained.js';
import { freshDatabase, type TestDatabase } from '../support/postgres.js';

const MEMBERS = 4_000;
const FLOWS = 400;
const SIZE = 50;
/** Tables that are one row, or so few that a plan over none of them is a good one. */
const FEW = ['counted', 'claim_class', 'lane', 'log_incarnation'];

let fresh: TestDatabase;
let session: ExplainedSession;
let database: Database;
let line: { id: number; lane: number };
beforeAll(async () => {
  fresh = await freshDatabase();
  session = await ExplainedSession.open(fresh);
  database = new Database({ url: fresh.url, schema: fresh.schema, connections: 2 });
  const [made] = await internClasses(session, [
    { namespace: NAMESPACE, lane: 'lane', type: 'member', capabilities: [] },
  ]);
  line = made ?? line;
}, 120_000);
afterAll(async () => {
  await database.close();
  await session.close();
  await fresh.drop();
});

/** Each member after `roots` waits for one of these. Answers the ids. */
async function makeFlow(name: string, roots: number, count: number): Promise<{ flow: string; members: string[] }> {
  const flow: NewFlow = {
    id: uuidV7(),
    namespace: NAMESPACE,
    requestId: null,
    hash: Buffer.alloc(16),
    name,
    tags: { name },
    failurePolicy: 1,
    cancel: { now: false, graceMs: 1_000, acceptsLate: true },
    open: false,
    sealAfterIdleMs: null,
  };
  const members = Array.from({ length: count }, (_, i) => ({
    localName: `m${i}`,
    execution: newExecution(line.id, { flow: { id: flow.id, optional: false } }),
  }));
  const ids = members.map(({ execution }) => execution.id);
  const joins = ids.slice(roots).map((downstream, i) => ({
    id: uuidV7(),
    downstream,
    policy: null,
    sealed: true,
    depth: 1,
    slots: [{ upstream: ids[i % roots] ?? '', name: 'x', optional: false, source: null }],
  }));
  await createFlow(database, flow, members, joins);
  return { flow: flow.id, members: ids };
}

/** Everything that the desk reads of flows, about one flow and one of its members. */
function reads(flow: string, upstream: string, downstream: string, join: string): [string, () => Promise<unknown>][] {
  const any = { states: null, lanes: null, types: null, tags: null, createdFrom: null, createdBefore: null };
  const executions = { ...any, workerName: null, worker: null, endedFrom: null, endedBefore: null };
  const inSpace = { namespace: NAMESPACE };
  const listed = (more: object) =>
    listExecutions(session, {
      filter: { ...executions, ...inSpace, flow: null, parent: null, subscription: null, ...more },
      ...{ below: null, size: SIZE, inlineBytes: -1 },
    });
  const flows = (more: object) => listFlows(session, { ...any, ...inSpace, name: null, ...more }, null, SIZE);
  const edges = (of: { flow: string | null; execution: string | null }) =>
    listEdges(session, { ...inSpace, ...of, needs: true, feeds: true, after: undefined, size: SIZE });
  const joins = (of: { flow: string | null; execution: string | null }) =>
    listJoins(session, { ...inSpace, ...of, subscription: null, states: null, kinds: null }, null, SIZE);
  const tree = (root: string | null) =>
    readTree(session, { ...inSpace, flow, root, depth: null, after: undefined, size: SIZE });
  const letters = {
    ...any,
    ...{ reasons: null, fingerprints: null, resolutions: null, actor: null, execution: null, flow },
    ...{ subscriptions: null, eventTypes: null, consumers: null },
  };
  const attempts = { lane: null, type: null, outcomes: null, startedFrom: null, startedBefore: null, flow };
  return [
    ['a flow', () => readFlow(session, NAMESPACE, flow)],
    ['flows', () => flows({})],
    ['flows of a name', () => flows({ name: 'small' })],
    ['flows with tags', () => flows({ tags: { name: 'large' } })],
    ['flows of a state', () => flows({ states: [1] })],
    ['failed flows', () => listFailedFlows(session, { ...inSpace, ...NEVER_FAILED }, undefined, SIZE)],
    ['members', () => listMembers(session, NAMESPACE, flow, null, null, SIZE)],
    ['edges of a flow', () => edges({ flow, execution: null })],
    ['edges of an upstream', () => edges({ flow: null, execution: upstream })],
    ['edges of a downstream', () => edges({ flow: null, execution: downstream })],
    ['joins of a flow', () => joins({ flow, execution: null })],
    ['joins of an execution', () => joins({ flow: null, execution: downstream })],
    ['a join', () => readWait(session, join)],
    ['the tree', () => tree(null)],
    ['a part of the tree', () => tree(upstream)],
    ['executions of a flow', () => listed({ flow })],
    ['children', () => listed({ parent: upstream })],
    ['blocked ones', () => listed({ states: [1] })],
    ['attempts of a flow', () => listAttempts(session, { ...inSpace, ...attempts }, undefined, SIZE)],
    [
      'letters of a flow',
      () => listDeadLetters(session, { ...inSpace, filter: letters, below: null, size: SIZE, inlineBytes: -1 }),
    ],
    ['an execution', () => readExecution(session, NAMESPACE, downstream)],
    ['figures', () => readStats(session, NAMESPACE)],
  ];
}
const NEVER_FAILED = { failedFrom: null, failedBefore: null, tags: null };

test('a page costs what it shows', async () => {
  const nobody = uuidV7();
  for (const [, read] of reads(nobody, nobody, nobody, nobody)) await read();

  for (let i = 0; i < FLOWS; i++) await makeFlow('small', 1, 3);
  const large = await makeFlow('large', MEMBERS / 40, MEMBERS);
  for (const outcome of [1, 2]) {
    const granted = await takeLeases(session, 30, line);
    const failure = outcome === 1 ? { class: 2, code: null } : null;
    const endings = granted.map((one) => endingOf(one, { failure, message: failure && 'it broke' }));
    await endAttempts(session, outcome === 1 ? EndCall.FAIL : EndCall.COMPLETE, endings);
  }
  for (let more = true; more; ) {
    const step = await stepLog(session, 512);
    more = step.busy || step.more || step.numbered > 0;
  }
  const [upstream = '', downstream = ''] = [large.members[0], large.members.at(-1)];
  const [join] = (
    await listJoins(
      session,
      { namespace: NAMESPACE, flow: null, execution: downstream, subscription: null, states: null, kinds: null },
      null,
      1,
    )
  ).joins;
  const wrong: string[] = [];
  for (const [name, read] of reads(large.flow, upstream, downstream, join?.id ?? '')) {
    const plans: Explained[] = await session.explain(read);
    for (const { table, kind, index } of plans.flatMap(({ scans }) => scans)) {
      if (index === undefined && kind !== 'Bitmap Heap Scan' && !FEW.includes(table)) {
        wrong.push(`${name}: ${kind} of ${table}`);
      }
    }
    const pages = plans.at(-1)?.pages ?? 0;
    if (pages > MOST_PAGES) wrong.push(`${name}: ${pages} pages`);
  }
  expect(wrong).toEqual([]);
  expect((await verify(database)).filter(({ violations }) => violations.length > 0)).toEqual([]);
}, 120_000);

/** Of tables and indexes, each time one is looked at: a row of fifty has some sixty probes, and open joins are counted. */
const MOST_PAGES = 7_000;
