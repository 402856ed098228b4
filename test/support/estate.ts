/**
 * A namespace with something of everything in it. Its names carry its mark, so that no two estates share one; what only
 * its people may read carries its secret, so that a stranger who was shown something can be found out.
 */
import { FailureClass } from '../../gen/tailrace/v1/attempt_pb.js';
import type { ConsumerPartRef } from '../../gen/tailrace/v1/consumer_pb.js';
import type { Claim, LeaseRef } from '../../gen/tailrace/v1/lease_pb.js';
import { StartPosition } from '../../gen/tailrace/v1/log_pb.js';
import { makeConsumers } from './estate-consumers.js';
import { makeEvents } from './estate-events.js';
import { makeTokens } from './estate-tokens.js';
import { makeWaits } from './estate-waits.js';
import { eventually } from './eventually.js';
import type { Clients } from './tailrace.js';

type Lease = Pick<LeaseRef, 'executionId' | 'leaseId' | 'fencingToken'>;

export interface Estate {
  readonly namespace: string;
  /** Part of every name. */
  readonly mark: string;
  /** Part of every text, and the value of its tag. */
  readonly secret: string;
  readonly lane: string;
  readonly type: string;
  readonly worker: { readonly name: string; readonly instanceId: string };
  /** Claimable. */
  readonly queued: string;
  readonly scheduled: string;
  /** Running; held by the worker. */
  readonly held: Lease;
  readonly succeeded: string;
  readonly letter: { readonly id: string; readonly version: bigint };
  /** A bulk redrive that selected nothing. */
  readonly redrive: string;
  /** Open; one member failed, one runs, `upstream` is claimable, and `downstream` waits for it with a join that is open. */
  readonly flow: { readonly id: string; readonly upstream: string; readonly downstream: string };
  /** Of the flow; held by the worker. */
  readonly member: Lease;
  /** Parked until a signal `go` comes to the waitpoint; another signal came already. */
  readonly suspended: string;
  readonly waitpoint: { readonly key: string; readonly token: string };
  /** Running; two signals satisfied its first wait at once, it has used something and written output of every mode. */
  readonly resumed: Lease;
  /** Of the lane in which those are. */
  readonly budget: string;
  /** Blocked behind another one of its concurrency key. */
  readonly keyed: string;
  /** Blocked by a budget that is used up. */
  readonly unpaid: string;
  /** One of a batch of two. */
  readonly event: Readonly<Record<'id' | 'type' | 'stream' | 'flow' | 'batch', string>>;
  /** Which reacts to it, so that there is `reaction`. */
  readonly subscription: string;
  readonly reaction: string;
  /** With its only part, which is held; where that stands, and the entry behind it. */
  readonly consumer: {
    readonly name: string;
    readonly ownerId: string;
    readonly part: Pick<ConsumerPartRef, 'generation' | 'part' | 'epoch'>;
    readonly cursor: string;
    readonly entryCursor: string;
  };
  /** Id of a token that is bound to it. */
  readonly token: string;
  /** Of a watch of it. */
  readonly cursor: string;
  /** Of the output of `resumed`. */
  readonly frameCursor: string;
  /** Where its lists go on, by the name of the RPC. */
  readonly pageTokens: ReadonlyMap<string, string>;
}

export const seconds = (count: number) => ({ seconds: BigInt(count), nanos: 0 });
export const instant = (ms: number) => ({ seconds: BigInt(Math.floor(ms / 1_000)), nanos: 0 });
export const text = (value: string) => ({ contentType: 'text/plain', body: { case: 'text' as const, value } });
export const HOUR = 3_600_000;
export const DAY = 24 * HOUR;

export async function makeEstate(clients: Clients, namespace: string, mark = namespace): Promise<Estate> {
  const secret = `secret-${mark}`;
  const { engine, deadLetters, completion, admin } = clients;
  const [lane, type] = [`lane-${mark}`, `type-${mark}`];
  const worker = { name: `worker-${mark}`, instanceId: `instance-${mark}` };
  const spec = { lane, type, input: text(`input ${secret}`), tags: { secret } };
  const make = async (count: number, more: object = {}) => {
    const executions = Array.from({ length: count }, (_, i) => ({
      ...spec,
      requestId: `${mark}-${++made}-${i}`,
      ...more,
    }));
    const { results } = await engine.createExecutions({ namespace, executions });
    return results.map(({ result }) => (result.case === 'ok' ? result.value.executionId : ''));
  };
  let made = 0;
  const claim = async (maxExecutions: number) => {
    const ask = {
      namespace,
      worker,
      lanes: [{ lane }],
      maxExecutions,
      wait: seconds(5),
      leaseDuration: seconds(3_600),
    };
    return (await engine.claimExecutions(ask)).claims.map(leaseOf);
  };
  // Two of each, so that every list of one per page goes on.
  await make(2);
  const completions = (await claim(2)).map((lease) => ({ lease, result: text(`result ${secret}`) }));
  await engine.completeExecutions({ namespace, completions });
  await make(2);
  const failure = { failureClass: FailureClass.PERMANENT, message: `failure ${secret}`, code: `code ${secret}` };
  const reports = (await claim(2)).map((lease) => ({ lease, failure }));
  await engine.failExecutions({ namespace, reports });
  await make(2);
  const [held] = await claim(2);
  await engine.reportProgress({ namespace, lease: held, progress: { percent: 1, message: `progress ${secret}` } });
  const [queued = ''] = await make(2);
  const [scheduled = ''] = await make(1, { runTime: instant(Date.now() + 30 * DAY) });
  await make(1, { lane: `other-${lane}` });
  await engine.heartbeatWorker({ namespace, worker, lanes: [lane], labels: { secret } });
  await engine.heartbeatWorker({ namespace, worker: { ...worker, instanceId: `second-${mark}` }, lanes: [lane] });
  const letters = await deadLetters.listDeadLetters({ namespace });
  await makeFlow(clients, namespace, mark, secret);
  const { flow, member } = await makeFlow(clients, namespace, mark, secret);
  const waits = await makeWaits(clients, namespace, mark, secret);
  const events = await makeEvents(clients, namespace, mark, secret);
  const consumer = await makeConsumers(clients, namespace, mark, secret);
  const token = await makeTokens(clients, namespace, secret);
  const { resumed } = waits;
  const [letter] = letters.deadLetters;
  const nothing = { lanes: [`no ${lane}`], tags: { secret } };
  const { redrive } = await deadLetters.startRedrive({ namespace, filter: nothing, note: `note ${secret}` });
  const redriveId = redrive?.redriveId ?? '';
  await eventually(async () => (await deadLetters.getRedrive({ namespace, redriveId })).redrive?.endTime !== undefined);
  if (held === undefined || letter === undefined) throw new Error('an estate without a lease or a letter');

  const watch = completion.watchCompletions({ namespace, start: StartPosition.EARLIEST })[Symbol.asyncIterator]();
  let cursor = '';
  for (let entries = 0; entries < 4; ) {
    const message = (await watch.next()).value;
    entries += message?.entries.length ?? 0;
    cursor = message?.entries.at(-1)?.cursor ?? cursor;
  }
  await watch.return?.();

  const output = { namespace, executionId: resumed.executionId };
  const frameCursor = (await completion.readFrames({ ...output, pageSize: 1 })).cursor;
  const one = { namespace, pageSize: 1 };
  const pageTokens = new Map([
    ['DeadLetterService/ListDeadLetters', (await deadLetters.listDeadLetters(one)).nextPageToken],
    ['DeadLetterService/ListDeadLetterGroups', (await deadLetters.listDeadLetterGroups(one)).nextPageToken],
    ['AdminService/ListExecutions', (await admin.listExecutions(one)).nextPageToken],
    ['AdminService/ListAttempts', (await admin.listAttempts({ ...one, lane })).nextPageToken],
    ['AdminService/ListLanes', (await admin.listLanes(one)).nextPageToken],
    ['AdminService/ListWorkers', (await admin.listWorkers(one)).nextPageToken],
    ['AdminService/ListLogEntries', (await admin.listLogEntries(one)).nextPageToken],
    ['AdminService/ListFlows', (await admin.listFlows(one)).nextPageToken],
    ['AdminService/ListFlowMembers', (await admin.listFlowMembers({ ...one, flowId: flow.id })).nextPageToken],
    ['AdminService/ListEdges', (await admin.listEdges({ ...one, flowId: flow.id })).nextPageToken],
    ['AdminService/ListJoins', (await admin.listJoins({ ...one, flowId: flow.id })).nextPageToken],
    ['AdminService/GetFlowTree', (await admin.getFlowTree({ ...one, flowId: flow.id })).nextPageToken],
    ['AdminService/ListFailedFlows', (await admin.listFailedFlows(one)).nextPageToken],
    ['EngineService/ListMatchedSignals', (await engine.listMatchedSignals({ ...one, lease: resumed })).nextPageToken],
    ['AdminService/ListSuspendedExecutions', (await admin.listSuspendedExecutions(one)).nextPageToken],
    ['AdminService/ListPendingWaitpoints', (await admin.listPendingWaitpoints(one)).nextPageToken],
    ['AdminService/ListBudgets', (await admin.listBudgets(one)).nextPageToken],
    ['AdminService/ListQuotas', (await admin.listQuotas(one)).nextPageToken],
    ['AdminService/ListSubscriptions', (await admin.listSubscriptions(one)).nextPageToken],
    ['AdminService/ListConsumers', (await admin.listConsumers(one)).nextPageToken],
    ['AdminService/ListEvents', (await admin.listEvents(one)).nextPageToken],
    ['AdminService/ListTokens', (await admin.listTokens(one)).nextPageToken],
    ['AdminService/ListNamespaces', (await admin.listNamespaces(one)).nextPageToken],
  ]);
  return {
    ...{ namespace, mark, secret, lane, type, worker, queued, scheduled, held, flow, member },
    ...{ ...waits, ...events, consumer, token, cursor, frameCursor, pageTokens },
    succeeded: completions[0]?.lease.executionId ?? '',
    letter: { id: letter.deadLetterId, version: letter.version },
    redrive: redriveId,
  };
}

/** In a lane of its own. */
async function makeFlow(
  { engine }: Clients,
  namespace: string,
  mark: string,
  secret: string,
): Promise<Pick<Estate, 'flow' | 'member'>> {
  const [lane, tags] = [`flow-${mark}`, { secret }];
  const execution = { lane, type: `type-${mark}`, input: text(`input ${secret}`), tags };
  const local = (value: string) => ({ member: { case: 'localName' as const, value } });
  const edge = (from: string, to: string) => ({ upstream: local(from), downstream: local(to), name: `edge ${secret}` });
  const { flowId, executionIds } = await engine.createFlow({
    namespace,
    flow: { name: `flow-${mark}`, tags, open: true },
    members: ['failing', 'running', 'upstream', 'downstream', 'last'].map((localName) => ({ localName, execution })),
    edges: [edge('upstream', 'downstream'), edge('upstream', 'last')],
    joins: [{ downstream: local('downstream'), policy: { timeout: seconds(86_400) }, open: true }],
  });
  const id = (name: string) => executionIds[name] ?? '';
  const worker = { name: `worker-${mark}`, instanceId: `instance-${mark}` };
  const held = async (executionId: string) => {
    const { claim } = await engine.claimExecution({ namespace, executionId, worker, leaseDuration: seconds(3_600) });
    if (claim === undefined) throw new Error('an answer without a claim');
    return leaseOf(claim);
  };
  const failure = { failureClass: FailureClass.PERMANENT, message: `failed member ${secret}` };
  await engine.failExecutions({ namespace, reports: [{ lease: await held(id('failing')), failure }] });
  return {
    flow: { id: flowId, upstream: id('upstream'), downstream: id('downstream') },
    member: await held(id('running')),
  };
}

function leaseOf({ lease }: Claim): Lease {
  if (lease === undefined) throw new Error('a claim without a lease');
  const { executionId, leaseId, fencingToken } = lease;
  return { executionId, leaseId, fencingToken };
}
