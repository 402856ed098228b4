import { Code, ConnectError, createRouterTransport } from '@connectrpc/connect';
import { beforeEach, describe, expect, expectTypeOf, test } from 'vitest';
import { CancelMode } from '../../../gen/tailrace/v1/cancel_pb.js';
import {
  type CancelFlowRequest,
  type CreateFlowRequest,
  EngineService,
  type ExtendFlowRequest,
} from '../../../gen/tailrace/v1/engine_service_pb.js';
import { ErrorDetailSchema } from '../../../gen/tailrace/v1/error_pb.js';
import { FlowCancelScope, FlowFailurePolicy, FlowState } from '../../../gen/tailrace/v1/flow_pb.js';
import { JoinMode, OnJoinTimeout, OnSatisfied } from '../../../gen/tailrace/v1/join_pb.js';
import { Client, extension, flow, TailraceError } from '../../../src/client/index.js';

let creations: CreateFlowRequest[];
let extensions: ExtendFlowRequest[];
let cancellations: CancelFlowRequest[];
/** Answers of the next calls, before one that is taken. */
let failing: ConnectError[];

const client = new Client({
  url: '',
  namespace: 'n',
  transport: createRouterTransport(({ service }) => {
    service(EngineService, {
      createFlow: (request) => {
        creations.push(request);
        mayFail();
        return { flowId: 'f', executionIds: idsOf(request), revision: 1n, state: FlowState.ACTIVE };
      },
      extendFlow: (request) => {
        extensions.push(request);
        mayFail();
        return { executionIds: idsOf(request), revision: 2n, state: FlowState.ACTIVE };
      },
      sealFlow: ({ expectedRevision }) => ({ revision: expectedRevision + 1n, state: FlowState.SUCCEEDED }),
      cancelFlow: (request) => {
        cancellations.push(request);
        return { state: FlowState.CANCELING, memberCount: 3n };
      },
    });
  }),
});

function idsOf({ members }: Pick<CreateFlowRequest, 'members'>): Record<string, string> {
  return Object.fromEntries(members.map(({ localName }) => [localName, `id of ${localName}`]));
}

function mayFail(): void {
  const failure = failing.shift();
  if (failure) throw failure;
}

beforeEach(() => {
  creations = [];
  extensions = [];
  cancellations = [];
  failing = [];
});

const local = (value: string) => ({ member: { case: 'localName', value } });

describe('a flow', () => {
  test('says what was asked for', async () => {
    const asked = flow({
      name: 'nightly',
      tags: { team: 'a' },
      open: true,
      failurePolicy: 'cancel_rest',
      cancelPolicy: { mode: 'now' },
      sealAfterIdleMs: 60_000,
    })
      .member('fetch', { type: 'fetch', input: { page: 1 }, lane: 'l', optionalInFlow: true })
      .member('parse', { type: 'parse' })
      .member('store', { type: 'store' })
      .edge('fetch', 'parse', { name: 'page', optional: true, source: 'web' })
      .fanIn(['fetch', 'parse'], 'store')
      .join('store', { quorum: 2, onSatisfied: 'cancel_rest', timeoutMs: 5_000, onTimeout: 'release_partial' });
    const created = await client.createFlow(asked);
    expect(created).toMatchObject({ flowId: 'f', revision: 1n, state: FlowState.ACTIVE, duplicate: false });
    expect(created.ids.parse).toBe('id of parse');
    const [request] = creations;
    expect(request).toMatchObject({
      namespace: 'n',
      flow: {
        name: 'nightly',
        tags: { team: 'a' },
        open: true,
        failurePolicy: FlowFailurePolicy.CANCEL_REST,
        cancelPolicy: { mode: CancelMode.NOW },
        sealAfterIdle: { seconds: 60n },
      },
      members: [
        {
          localName: 'fetch',
          execution: { type: 'fetch', lane: 'l', optionalInFlow: true, requestId: '', flowId: '' },
        },
        { localName: 'parse', execution: { type: 'parse', optionalInFlow: false } },
        { localName: 'store' },
      ],
      edges: [
        { upstream: local('fetch'), downstream: local('parse'), name: 'page', optional: true, source: 'web' },
        { upstream: local('fetch'), downstream: local('store'), name: '', optional: false },
        { upstream: local('parse'), downstream: local('store') },
      ],
      joins: [
        {
          downstream: local('store'),
          policy: {
            mode: JoinMode.QUORUM,
            quorum: 2,
            onSatisfied: OnSatisfied.CANCEL_REST,
            timeout: { seconds: 5n },
            onTimeout: OnJoinTimeout.RELEASE_PARTIAL,
          },
          open: false,
        },
      ],
    });
  });

  test('in a chain needs each member after the other', async () => {
    await client.createFlow(
      flow()
        .members([
          ['a', { type: 't' }],
          ['b', { type: 't' }],
          ['c', { type: 't' }],
        ])
        .chain('a', 'b', 'c'),
    );
    expect(creations[0]?.edges).toMatchObject([
      { upstream: local('a'), downstream: local('b') },
      { upstream: local('b'), downstream: local('c') },
    ]);
  });

  test('is asked for again under the same request id', async () => {
    failing = [new ConnectError('gone', Code.Unavailable), new ConnectError('gone', Code.Unavailable)];
    await client.createFlow(flow().member('a', { type: 't' }));
    const ids = creations.map(({ flow: spec }) => spec?.requestId);
    expect(ids).toHaveLength(3);
    expect(new Set(ids).size).toBe(1);
    expect(ids[0]).toMatch(/^[0-9a-f-]{36}$/);
  });

  test('that is created twice is asked for under two request ids, unless it was given one', async () => {
    const twice = flow().member('a', { type: 't' });
    await client.createFlow(twice);
    await client.createFlow(twice);
    await client.createFlow(flow({ requestId: 'mine' }).member('a', { type: 't' }));
    const [first, second, mine] = creations.map(({ flow: spec }) => spec?.requestId);
    expect(first).not.toBe(second);
    expect(mine).toBe('mine');
  });

  test('that is refused throws what the engine said', async () => {
    const detail = { desc: ErrorDetailSchema, value: { reason: 'CYCLE', metadata: { members: 'a, b, a' } } };
    failing = [new ConnectError('a cycle', Code.InvalidArgument, undefined, [detail])];
    const refused = client.createFlow(flow().member('a', { type: 't' }));
    await expect(refused).rejects.toThrow(TailraceError);
    await expect(refused).rejects.toMatchObject({ reason: 'CYCLE', metadata: { members: 'a, b, a' } });
    expect(creations).toHaveLength(1);
  });

  test('has names that the compiler knows', async () => {
    const known = flow().member('a', { type: 't' }).member('b', { type: 't' });
    // @ts-expect-error no member has this name
    known.edge('a', 'c');
    // @ts-expect-error nor this one
    known.join('d', { quorum: 1 });
    // @ts-expect-error nor this one
    known.chain('a', 'bb');
    const { ids } = await client.createFlow(known);
    expectTypeOf(ids).toEqualTypeOf<Readonly<Record<'a' | 'b', string>>>();
    const many = flow().members(['x', 'y'].map((name) => [name, { type: 't' }] as const));
    expectTypeOf((await client.createFlow(many)).ids).toEqualTypeOf<Readonly<Record<string, string>>>();
    // @ts-expect-error only an extension has members that exist
    await client.createFlow(flow().member('a', { type: 't' }).existing('b', 'id'));
  });

  test('cannot wait for all and for some', () => {
    const asked = flow().member('a', { type: 't' });
    expect(() => asked.join('a', { mode: 'all', quorum: 2 })).toThrow(RangeError);
  });
});

describe('an extension', () => {
  test('adds members beside those that exist', async () => {
    failing = [new ConnectError('gone', Code.Unavailable)];
    const added = extension()
      .existing('first', 'e1')
      .member('last', { type: 't' })
      .edge('first', 'last')
      .join('last', { open: true, timeoutMs: 60_000 });
    const lease = { executionId: 'e1', leaseId: 'l', fencingToken: 3n };
    const { ids, revision } = await client.extendFlow('f', added, {
      expectedRevision: 1n,
      sealJoins: ['first'],
      seal: true,
      lease,
    });
    expectTypeOf(ids).toEqualTypeOf<Readonly<Record<'last', string>>>();
    expect([ids, revision]).toEqual([{ last: 'id of last' }, 2n]);
    const existing = { member: { case: 'executionId', value: 'e1' } };
    expect(extensions).toHaveLength(2);
    expect(extensions[1]).toEqual(extensions[0]);
    expect(extensions[0]).toMatchObject({
      flowId: 'f',
      expectedRevision: 1n,
      edges: [{ upstream: existing, downstream: local('last') }],
      joins: [{ downstream: local('last'), policy: { mode: JoinMode.ALL }, open: true }],
      sealJoins: [existing],
      seal: true,
      lease,
    });
    expect(extensions[0]?.requestId).toMatch(/^[0-9a-f-]{36}$/);
  });

  test('has no options of a flow', async () => {
    await expect(client.extendFlow('f', flow({ name: 'lost' }))).rejects.toThrow(/extension/);
  });
});

test('a flow is sealed at the revision that was seen', async () => {
  expect(await client.sealFlow('f', { expectedRevision: 4n })).toEqual({ revision: 5n, state: FlowState.SUCCEEDED });
});

describe('a flow is canceled', () => {
  test('as its own policy says', async () => {
    expect(await client.cancelFlow('f')).toMatchObject({ state: FlowState.CANCELING, memberCount: 3n });
    expect(cancellations[0]).toMatchObject({ flowId: 'f', scope: FlowCancelScope.ALL });
    expect(cancellations[0]?.policy).toBeUndefined();
  });

  test('as the call says', async () => {
    await client.cancelFlow('f', { scope: 'pending_only', reason: 'enough', graceMs: 2_000, waitMs: 1_000 });
    expect(cancellations[0]).toMatchObject({
      reason: 'enough',
      scope: FlowCancelScope.PENDING_ONLY,
      policy: { mode: CancelMode.COOPERATIVE, grace: { seconds: 2n } },
      wait: { seconds: 1n },
    });
  });
});
