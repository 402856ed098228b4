/** Every typed refusal of the calls that make, extend, seal and cancel flows: what it tells, and that it stores nothing. */
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { CreateFlowRequest, ExtendFlowRequest } from '../../gen/tailrace/v1/engine_service_pb.js';
import { FlowState } from '../../gen/tailrace/v1/flow_pb.js';
import { JoinMode } from '../../gen/tailrace/v1/join_pb.js';
import { uuidV7 } from '../../src/runtime/random.js';
import { ByHand, type Init, leaseOf, refusal, seconds } from '../support/by-hand.js';
import { eventually } from '../support/eventually.js';
import { startTailrace, type TestTailrace } from '../support/tailrace.js';

const long = { leaseDuration: seconds(3_600) };
const LIMITS = { members: 12, slots: 4, depth: 5, edges: 30 };

let tailrace: TestTailrace;
let client: pg.Client;
let hand: ByHand;
beforeAll(async () => {
  tailrace = await startTailrace({
    environment: {
      TAILRACE_MAX_FLOW_MEMBERS: String(LIMITS.members),
      TAILRACE_MAX_JOIN_SLOTS: String(LIMITS.slots),
      TAILRACE_MAX_FLOW_DEPTH: String(LIMITS.depth),
      TAILRACE_MAX_FLOW_EDGES: String(LIMITS.edges),
    },
  });
  hand = new ByHand(tailrace);
  client = new pg.Client({ connectionString: tailrace.database.url });
  await client.connect();
});
afterAll(async () => {
  await client.end();
  await tailrace.stop();
});

const local = (value: string) => ({ member: { case: 'localName' as const, value } });
const made = (value: string) => ({ member: { case: 'executionId' as const, value } });

/** `a b c`. */
const members = (names: string) =>
  names.split(' ').map((localName) => ({ localName, execution: { type: 'work', lane: 'flows' } }));

/** `a>b b>c`. What is no local name of `names` is an execution id. */
function edges(text: string, names = '') {
  const ref = (name: string) => (name.length < 36 || names.split(' ').includes(name) ? local(name) : made(name));
  return text.split(' ').map((edge) => {
    const [upstream = '', downstream = ''] = edge.split('>');
    return { upstream: ref(upstream), downstream: ref(downstream) };
  });
}

const create = (asked: Init<CreateFlowRequest>) => tailrace.engine.createFlow(asked);
const extend = (flowId: string, asked: Init<ExtendFlowRequest>) => tailrace.engine.extendFlow({ flowId, ...asked });

/** An open flow with these members and edges; ids by name. */
async function openFlow(names: string, graph = '', more: Init<CreateFlowRequest> = {}) {
  const { flow, ...rest } = more;
  const answer = await create({
    flow: { ...flow, open: true },
    members: members(names),
    edges: graph === '' ? [] : edges(graph),
    ...rest,
  });
  const id = (name: string) => answer.executionIds[name] ?? '';
  return { id, flowId: answer.flowId, answer };
}

/** What is stored, in numbers that rise with every change; what follows from earlier calls does not count. */
async function stored(): Promise<unknown> {
  const { schema } = tailrace.database;
  const tables = ['execution', 'flow', 'flow_request', 'flow_live', 'barrier', 'slot', 'blocked', 'ready', 'scheduled'];
  const counts = [...tables, 'lease', 'request_key'].map(
    (name) => `(select count(*) from ${schema}.${name}) as ${name}`,
  );
  const { rows } = await client.query(
    `select ${counts.join(', ')}, (select sum(revision) from ${schema}.flow) as revisions,
       (select sum(slots) from ${schema}.barrier) as slots`,
  );
  return rows[0];
}

/** The refusal, after which everything is as it was. */
async function refused(call: () => Promise<unknown>) {
  const before = await stored();
  const detail = await refusal(call());
  expect(await stored()).toEqual(before);
  return { reason: detail.reason, metadata: detail.metadata, fields: detail.fieldViolations.map(({ field }) => field) };
}

/** The number of members is folded a moment after they were made. */
async function counted(flowId: string, members: number): Promise<void> {
  await eventually(async () => {
    const { flow } = await tailrace.admin.getFlow({ flowId });
    return flow?.executions.reduce((sum, { count }) => sum + count, 0n) === BigInt(members);
  });
}

const notFound = (flowId: string) => ({ reason: 'FLOW_NOT_FOUND', metadata: { flow_id: flowId } });

describe('CreateFlow refuses', () => {
  it('a cycle, and prints it', async () => {
    const cycle = { flow: {}, members: members('a b c d'), edges: edges('a>b b>c c>b c>d') };
    expect(await refused(() => create(cycle))).toMatchObject({ reason: 'CYCLE', metadata: { members: 'b → c → b' } });
  });

  it('a member that waits for itself', async () => {
    const self = { flow: {}, members: members('a b'), edges: edges('a>b b>b') };
    expect(await refused(() => create(self))).toMatchObject({ reason: 'SELF_EDGE', metadata: { member: 'b' } });
  });

  it('names that do not fit together, all at once', async () => {
    const asked = {
      flow: {},
      members: [...members('a b a c'), { localName: '', execution: { type: 'work' } }].slice(0, 4),
      edges: [...edges('a>b x>b a>y a>b')],
      joins: [
        { downstream: local('b'), policy: { mode: JoinMode.QUORUM, quorum: 4 } },
        { downstream: local('c') },
        { downstream: local('b') },
        { downstream: local('a'), open: true, policy: { timeout: seconds(60) } },
      ],
    };
    expect(await refused(() => create(asked))).toMatchObject({
      reason: 'INVALID_FIELD',
      fields: [
        'members[2].local_name',
        'edges[1].upstream.local_name',
        'edges[2].downstream.local_name',
        'edges[3]',
        'joins[2].downstream',
        'joins[0].policy.quorum',
        'joins[1].downstream',
        'joins[3].open',
      ],
    });
  });

  it.each<[string, Init<CreateFlowRequest>, string]>([
    ['no flow', { members: members('a') }, 'flow'],
    ['no member of a sealed flow', { flow: {} }, 'members'],
    ['a span for a flow that is not open', { flow: { sealAfterIdle: seconds(60) } }, 'flow.seal_after_idle'],
    [
      'a request id of a member',
      { flow: {}, members: [{ localName: 'a', execution: { type: 'work', requestId: 'r' } }] },
      'members[0].execution.request_id',
    ],
    [
      'a flow id of a member',
      { flow: {}, members: [{ localName: 'a', execution: { type: 'work', flowId: uuidV7() } }] },
      'members[0].execution.flow_id',
    ],
    ['no execution', { flow: {}, members: [{ localName: 'a' }] }, 'members[0].execution'],
    ['no name', { flow: {}, members: [{ execution: { type: 'work' } }] }, 'members[0].local_name'],
    [
      'a member made before',
      { flow: {}, members: members('a'), edges: edges(`${uuidV7()}>a`) },
      'edges[0].upstream.execution_id',
    ],
    [
      'an edge from nowhere',
      { flow: {}, members: members('a'), edges: [{ downstream: local('a') }] },
      'edges[0].upstream',
    ],
    [
      'an edge from nobody',
      { flow: {}, members: members('a'), edges: [{ upstream: {}, downstream: local('a') }] },
      'edges[0].upstream',
    ],
    [
      'an open join for ever',
      { flow: { open: true }, members: members('a'), joins: [{ downstream: local('a'), open: true }] },
      'joins[0].policy.timeout',
    ],
    [
      'distinct sources of all',
      {
        flow: {},
        members: members('a b'),
        edges: edges('a>b'),
        joins: [{ downstream: local('b'), policy: { distinctSources: true } }],
      },
      'joins[0].policy.distinct_sources',
    ],
    [
      'a quorum of all',
      {
        flow: {},
        members: members('a b'),
        edges: edges('a>b'),
        joins: [{ downstream: local('b'), policy: { quorum: 1 } }],
      },
      'joins[0].policy.quorum',
    ],
    ['an old flow id', { flow: { flowId: uuidV7(0) }, members: members('a') }, 'flow.flow_id'],
  ])('%s', async (_, asked, field) => {
    expect(await refused(() => create(asked))).toMatchObject({ reason: 'INVALID_FIELD', fields: [field] });
  });

  it('what is too large', async () => {
    const many = Array.from({ length: LIMITS.members + 1 }, (_, i) => `m${i}`);
    expect(await refused(() => create({ flow: {}, members: members(many.join(' ')) }))).toMatchObject({
      reason: 'FLOW_LIMIT_EXCEEDED',
      metadata: { limit: '12' },
    });
    const wide = edges('m0>m5 m1>m5 m2>m5 m3>m5 m4>m5');
    expect(await refused(() => create({ flow: {}, members: members('m0 m1 m2 m3 m4 m5'), edges: wide }))).toMatchObject(
      {
        reason: 'JOIN_LIMIT_EXCEEDED',
        metadata: { limit: '4', member: 'm5', size: '5' },
      },
    );
    const deep = edges('m0>m1 m1>m2 m2>m3 m3>m4 m4>m5 m5>m6');
    expect(
      await refused(() => create({ flow: {}, members: members('m0 m1 m2 m3 m4 m5 m6'), edges: deep })),
    ).toMatchObject({ reason: 'DEPTH_LIMIT_EXCEEDED', metadata: { limit: '5', member: 'm6', size: '6' } });
    const dense = Array.from({ length: LIMITS.edges + 1 }, () => 'a>b').join(' ');
    expect(await refused(() => create({ flow: {}, members: members('a b'), edges: edges(dense) }))).toMatchObject({
      reason: 'INVALID_FIELD',
      fields: ['edges'],
    });
  });

  it('other content under a request id or flow id, and answers the same again', async () => {
    for (const key of [{ requestId: 'once' }, { flowId: uuidV7() }]) {
      const asked = { flow: key, members: members('a b'), edges: edges('a>b') };
      const first = await create(asked);
      expect(first).toMatchObject({ duplicate: false, revision: 1n, state: FlowState.ACTIVE });
      const { $typeName: _, ...told } = first;
      expect(await create(asked)).toMatchObject({ ...told, duplicate: true });
      const reused = { reason: 'REQUEST_ID_REUSED', metadata: { flow_id: first.flowId } };
      expect(await refused(() => create({ ...asked, edges: [] }))).toMatchObject(reused);
      expect(await refused(() => create({ ...asked, members: members('a b c') }))).toMatchObject(reused);
      expect(await refused(() => create({ ...asked, flow: { ...key, tags: { a: 'b' } } }))).toMatchObject(reused);
    }
  });

  it('a flow id that is taken, and does not burn the request id it came with', async () => {
    const flowId = uuidV7();
    await create({ flow: { flowId, requestId: 'taker' }, members: members('a') });
    const second = { flow: { flowId, requestId: 'second' }, members: members('b') };
    const reused = { reason: 'REQUEST_ID_REUSED', metadata: { flow_id: flowId } };
    expect(await refused(() => create(second))).toMatchObject(reused);
    expect(await refused(() => create(second))).toMatchObject(reused);
    expect(await create({ flow: { requestId: 'second' }, members: members('b') })).toMatchObject({ duplicate: false });
  });

  it('an execution id that is taken', async () => {
    const executionId = uuidV7();
    await hand.create({ executionId });
    const member = { localName: 'a', execution: { type: 'work', executionId } };
    expect(await refused(() => create({ flow: {}, members: [...members('b'), member] }))).toMatchObject({
      reason: 'REQUEST_ID_REUSED',
      metadata: { execution_id: executionId },
    });
  });
});

describe('ExtendFlow refuses', () => {
  it('flows that are not there, sealed or canceled', async () => {
    const nowhere = uuidV7();
    expect(await refused(() => extend(nowhere, { members: members('a') }))).toMatchObject(notFound(nowhere));
    const { flowId } = await openFlow('a');
    expect(await refused(() => extend(flowId, { namespace: 'elsewhere', members: members('b') }))).toMatchObject(
      notFound(flowId),
    );
    await tailrace.engine.sealFlow({ flowId });
    expect(await refused(() => extend(flowId, { members: members('b') }))).toMatchObject({
      reason: 'FLOW_SEALED',
      metadata: { flow_id: flowId },
    });
    const canceled = await openFlow('a');
    await tailrace.engine.cancelFlow({ flowId: canceled.flowId, wait: seconds(20) });
    expect(await refused(() => extend(canceled.flowId, { members: members('b') }))).toMatchObject({
      reason: 'WRONG_STATE',
      metadata: { flow_id: canceled.flowId },
    });
  });

  it('a revision that is not the last', async () => {
    const { flowId } = await openFlow('a');
    const { revision } = await extend(flowId, { members: members('b'), expectedRevision: 1n });
    expect(revision).toBe(2n);
    expect(await refused(() => extend(flowId, { members: members('c'), expectedRevision: 1n }))).toMatchObject({
      reason: 'REVISION_CONFLICT',
      metadata: { current_revision: '2' },
    });
  });

  it('members that are none', async () => {
    const { flowId } = await openFlow('a');
    const stranger = (await openFlow('a')).id('a');
    for (const unknown of [uuidV7(), stranger, await hand.createOne()]) {
      const expected = { reason: 'EXECUTION_NOT_FOUND', metadata: { execution_id: unknown } };
      const upstream = { members: members('b'), edges: edges(`${unknown}>b`) };
      expect(await refused(() => extend(flowId, upstream))).toMatchObject(expected);
      const downstream = { members: members('b'), edges: edges(`b>${unknown}`) };
      expect(await refused(() => extend(flowId, downstream))).toMatchObject(expected);
    }
    expect(await refused(() => extend(flowId, { members: members('b'), edges: edges('b>c') }))).toMatchObject({
      reason: 'INVALID_FIELD',
      fields: ['edges[0].downstream.local_name'],
    });
  });

  it('edges to what has started, has ended, or takes no more', async () => {
    const { flowId, id } = await openFlow('running ended first blocked', 'first>blocked');
    await hand.claimNamed(id('running'), long);
    await hand.complete(await hand.claimNamed(id('ended')));
    for (const late of ['running', 'ended', 'blocked']) {
      const asked = { members: members('new'), edges: edges(`new>${id(late)}`) };
      expect(await refused(() => extend(flowId, asked)), late).toMatchObject({
        reason: 'EDGE_TOO_LATE',
        metadata: { execution_id: id(late) },
      });
    }
  });

  it('a cycle through what is there, and prints it', async () => {
    const joins = [{ downstream: local('b'), open: true, policy: { timeout: seconds(600) } }];
    const { flowId, id } = await openFlow('a b c', 'a>b b>c', { joins });
    const asked = { members: members('new'), edges: edges(`${id('c')}>new new>${id('b')}`) };
    const { reason, metadata } = await refused(() => extend(flowId, asked));
    expect(reason).toBe('CYCLE');
    expect(metadata['members']?.split(' → ').slice(1).sort()).toEqual([id('b'), id('c'), 'new'].sort());
    const direct = { edges: edges(`${id('c')}>${id('b')}`) };
    expect(await refused(() => extend(flowId, direct))).toMatchObject({ reason: 'CYCLE' });
    const self = { edges: edges(`${id('b')}>${id('b')}`) };
    expect(await refused(() => extend(flowId, self))).toMatchObject({
      reason: 'SELF_EDGE',
      metadata: { member: id('b') },
    });
  });

  it('to seal joins that are not there, or could never be satisfied', async () => {
    const joins = [
      { downstream: local('b'), open: true, policy: { mode: JoinMode.QUORUM, quorum: 2, timeout: seconds(600) } },
    ];
    const { flowId, id } = await openFlow('a b', 'a>b', { joins });
    expect(await refused(() => extend(flowId, { sealJoins: [made(id('a'))] }))).toMatchObject({
      reason: 'JOIN_NOT_FOUND',
      metadata: { execution_id: id('a') },
    });
    expect(await refused(() => extend(flowId, { sealJoins: [made(id('b'))] }))).toMatchObject({
      reason: 'INVALID_FIELD',
      fields: ['seal_joins[0]'],
    });
    const enough = { members: members('c'), edges: edges(`c>${id('b')}`), sealJoins: [made(id('b'))] };
    expect(await extend(flowId, enough)).toMatchObject({ revision: 2n });
  });

  it('what grows too large call by call', async () => {
    const joins = [{ downstream: local('join'), open: true, policy: { timeout: seconds(600) } }];
    const { flowId, id } = await openFlow('a b c d join', 'a>join b>join c>join', { joins });
    await extend(flowId, { edges: edges(`${id('d')}>${id('join')}`) });
    const fifth = { members: members('e'), edges: edges(`e>${id('join')}`) };
    expect(await refused(() => extend(flowId, fifth))).toMatchObject({
      reason: 'JOIN_LIMIT_EXCEEDED',
      metadata: { limit: '4', member: id('join') },
    });
    await counted(flowId, 5);
    const many = Array.from({ length: LIMITS.members - 4 }, (_, i) => `m${i}`);
    expect(await refused(() => extend(flowId, { members: members(many.join(' ')) }))).toMatchObject({
      reason: 'FLOW_LIMIT_EXCEEDED',
      metadata: { limit: '12' },
    });
    await extend(flowId, { members: members(many.slice(1).join(' ')) });

    const chain = await openFlow('a b c d', 'a>b b>c c>d');
    const { executionIds } = await extend(chain.flowId, {
      members: members('e f'),
      edges: edges(`${chain.id('d')}>e e>f`),
    });
    const further = { members: members('g'), edges: edges(`${executionIds['f']}>g`) };
    expect(await refused(() => extend(chain.flowId, further))).toMatchObject({
      reason: 'DEPTH_LIMIT_EXCEEDED',
      metadata: { limit: '5', member: 'g', size: '6' },
    });
  });

  it('other content under a request id, and answers the same again', async () => {
    const { flowId, id } = await openFlow('a');
    const asked = { requestId: 'more', members: members('b'), edges: edges(`${id('a')}>b`) };
    const first = await extend(flowId, asked);
    const { $typeName: _, ...told } = first;
    await extend(flowId, { members: members('c') });
    expect(await extend(flowId, asked)).toMatchObject({ executionIds: told.executionIds, duplicate: true });
    expect(await refused(() => extend(flowId, { ...asked, edges: [] }))).toMatchObject({
      reason: 'REQUEST_ID_REUSED',
      metadata: { flow_id: flowId },
    });
    await tailrace.engine.sealFlow({ flowId });
    expect(await extend(flowId, asked)).toMatchObject({ executionIds: told.executionIds, duplicate: true });
  });

  it('a lease that is not held', async () => {
    const { flowId, id } = await openFlow('a');
    const held = leaseOf(await hand.claimNamed(id('a'), long));
    await extend(flowId, { members: members('b'), lease: held });
    const stale = { ...held, leaseId: uuidV7() };
    expect(await refused(() => extend(flowId, { members: members('c'), lease: stale }))).toMatchObject({
      reason: 'LEASE_LOST',
    });
    const other = leaseOf(await hand.claimNamed(await hand.createOne(), long));
    expect(await refused(() => extend(flowId, { members: members('c'), lease: other }))).toMatchObject({
      reason: 'LEASE_LOST',
    });
  });

  it('to do nothing', async () => {
    const { flowId } = await openFlow('a');
    expect(await refused(() => extend(flowId, {}))).toMatchObject({ reason: 'INVALID_FIELD', fields: ['members'] });
  });
});

describe('SealFlow', () => {
  it('refuses what is not there, has changed, or never had a member', async () => {
    const { engine } = tailrace;
    const nowhere = uuidV7();
    expect(await refused(() => engine.sealFlow({ flowId: nowhere }))).toMatchObject(notFound(nowhere));
    const { flowId } = await openFlow('a');
    expect(await refused(() => engine.sealFlow({ flowId, expectedRevision: 7n }))).toMatchObject({
      reason: 'REVISION_CONFLICT',
      metadata: { current_revision: '1' },
    });
    const { flowId: empty } = await create({ flow: { open: true } });
    expect(await refused(() => engine.sealFlow({ flowId: empty }))).toMatchObject({
      reason: 'WRONG_STATE',
      metadata: { flow_id: empty },
    });
  });

  it('answers a sealed flow again', async () => {
    const { flowId } = await openFlow('a');
    const { $typeName: _, ...sealed } = await tailrace.engine.sealFlow({ flowId });
    expect(await tailrace.engine.sealFlow({ flowId })).toMatchObject(sealed);
  });
});

describe('CancelFlow', () => {
  it('refuses what is not there', async () => {
    const nowhere = uuidV7();
    expect(await refused(() => tailrace.engine.cancelFlow({ flowId: nowhere }))).toMatchObject(notFound(nowhere));
  });

  it('answers a flow that has ended', async () => {
    const { flowId, executionIds } = await create({ flow: {}, members: members('a') });
    await hand.complete(await hand.claimNamed(executionIds['a'] ?? ''));
    await tailrace.completion.awaitFlow({ flowId, timeout: seconds(20) });
    expect(await tailrace.engine.cancelFlow({ flowId })).toMatchObject({ state: FlowState.SUCCEEDED, settled: true });
  });
});
