/** Who makes namespaces, by their first use or with PutNamespace, who sees them, and under which name. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { LogEntryKind, StartPosition } from '../../../gen/tailrace/v1/log_pb.js';
import { Role } from '../../../gen/tailrace/v1/namespace_pb.js';
import { refusal, seconds } from '../../support/by-hand.js';
import { eventually } from '../../support/eventually.js';
import { type Guarded, type Holder, ROLES, startGuarded } from '../../support/guarded.js';
import type { Clients } from '../../support/tailrace.js';

let tailrace: Guarded;
/** Bound to no namespace, and may do everything but administer. */
let everywhere: Holder;
let bound: Holder;
beforeAll(async () => {
  tailrace = await startGuarded();
  await tailrace.admin.putNamespace({ namespace: 'theirs', description: 'their own' });
  everywhere = await tailrace.as({ namespace: '*', roles: ROLES.filter((role) => role !== Role.ADMIN) });
  bound = await tailrace.as({ namespace: 'theirs', roles: [...ROLES] });
});
afterAll(() => tailrace.stop());

const names = async ({ admin }: Clients) =>
  (await admin.listNamespaces({ pageSize: 1_000 })).namespaces.map(({ namespace }) => namespace);

const worker = { name: 'w', instanceId: 'w' };
/** Whatever makes a namespace by its first use. */
const FIRST_USES: Readonly<Record<string, (clients: Clients, namespace: string) => Promise<unknown>>> = {
  CreateExecutions: ({ engine }, namespace) => engine.createExecutions({ namespace, executions: [{ type: 'a' }] }),
  CreateFlow: ({ engine }, namespace) => engine.createFlow({ namespace, flow: { open: true } }),
  PublishEvents: ({ engine }, namespace) => engine.publishEvents({ namespace, events: [{ type: 'a' }] }),
  ClaimExecutions: ({ engine }, namespace) =>
    engine.claimExecutions({ namespace, worker, lanes: [{ lane: 'a' }], wait: seconds(0) }),
  HeartbeatWorker: ({ engine }, namespace) => engine.heartbeatWorker({ namespace, worker }),
  UpdateLane: ({ admin }, namespace) => admin.updateLane({ namespace, lane: 'a' }),
  PauseLane: ({ admin }, namespace) => admin.pauseLane({ namespace, lane: 'a' }),
  PutQuota: ({ admin }, namespace) => admin.putQuota({ namespace, concurrencyLimit: 1 }),
  PutBudget: ({ admin }, namespace) =>
    admin.putBudget({ namespace, budget: { name: 'a', limits: { coins: { hardLimit: 1n } } } }),
  PutSubscription: ({ admin }, namespace) =>
    admin.putSubscription({ namespace, subscription: { name: 'a', type: 'a', headers: { no: 'one' } } }),
  PutConsumer: ({ admin }, namespace) => admin.putConsumer({ namespace, consumer: { name: 'a' } }),
  AwaitExecutions: ({ completion }, namespace) =>
    completion.awaitExecutions({ namespace, executionIds: ['018f0000-0000-7000-8000-000000000000'] }),
  WatchLog: ({ completion }, namespace) =>
    completion.watchLog({ namespace, start: StartPosition.EARLIEST })[Symbol.asyncIterator]().next(),
};

describe.each(Object.entries(FIRST_USES))('%s in a namespace that is not there', (call, use) => {
  test('makes it only for those who may', async () => {
    const namespace = `new-${call.toLowerCase()}`;
    expect((await refusal(use(everywhere, namespace))).reason).toBe('NAMESPACE_DENIED');
    expect((await refusal(use(bound, namespace))).reason).toBe('NAMESPACE_DENIED');
    expect(await names(tailrace)).not.toContain(namespace);
    await use(tailrace, namespace).catch((error: unknown) => error);
    expect(await names(tailrace)).toContain(namespace);
  });
});

test('each sees the namespaces that it may', async () => {
  expect(await names(bound)).toEqual(['theirs']);
  expect(await names(everywhere)).toEqual(await names(tailrace));
});

test('a token that is bound to one makes and changes no other', async () => {
  expect((await refusal(bound.admin.putNamespace({ namespace: 'another' }))).reason).toBe('NAMESPACE_DENIED');
  expect((await refusal(everywhere.admin.putNamespace({ namespace: 'another' }))).reason).toBe('ROLE_REQUIRED');
  expect(await names(tailrace)).not.toContain('another');
  const root = await tailrace.as({ name: 'root', namespace: '*', roles: [Role.ADMIN] });
  await root.admin.putNamespace({ namespace: 'another' });
  const filter = { kinds: [LogEntryKind.ADMIN_NAMESPACE_UPDATED] };
  const actors = async () =>
    (await tailrace.admin.listLogEntries({ namespace: 'another', filter })).entries.map(({ actor }) => actor);
  await eventually(async () => (await actors()).length > 0);
  expect(await actors()).toEqual(['root']);
});
