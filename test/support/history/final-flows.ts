/** How flows, their joins and their edges stand at the end of a history. */
import { FlowFailurePolicy } from '../../../gen/tailrace/v1/flow_pb.js';
import type { Clients } from '../tailrace.js';
import type { FinalEdge, FinalFlow, FinalJoin, FinalStates } from './history.js';

type Admin = Clients['admin'];

const PAGE = 1_000;

/** Of flows by id, with their namespaces. */
export async function readFinalFlows(
  admin: Admin,
  flows: ReadonlyMap<string, string>,
): Promise<Pick<FinalStates, 'flows' | 'joins' | 'edges'>> {
  const read = { flows: [] as FinalFlow[], joins: [] as FinalJoin[], edges: [] as FinalEdge[] };
  for (const [flowId, namespace] of flows) {
    const { flow } = await admin.getFlow({ namespace, flowId });
    if (flow === undefined) throw new Error(`no flow ${flowId}`);
    const members = new Map(flow.executions.map(({ state, count }) => [state, Number(count)]));
    const cancels = flow.failurePolicy === FlowFailurePolicy.CANCEL_REST;
    read.flows.push({ flow: flowId, state: flow.state, sealed: flow.sealed, members, ...(cancels && { cancels }) });
    read.joins.push(...(await allJoins(admin, namespace, flowId)));
    read.edges.push(...(await allEdges(admin, namespace, flowId)));
  }
  return read;
}

async function allJoins(admin: Admin, namespace: string, flowId: string): Promise<FinalJoin[]> {
  const all: FinalJoin[] = [];
  let pageToken = '';
  do {
    const page = await admin.listJoins({ namespace, flowId, pageSize: PAGE, pageToken });
    for (const { joinId: join, downstreamExecutionId: downstream, kind, state, ...counts } of page.joins) {
      const filled = counts.okCount + counts.failedCount + counts.skippedCount;
      const { subscription, batchId: batch } = counts;
      const ofBatch = subscription === '' ? {} : { subscription, batch };
      all.push({ join, kind, downstream, state, slots: counts.slotCount, filled, ...ofBatch });
    }
    pageToken = page.nextPageToken;
  } while (pageToken !== '');
  return all;
}

async function allEdges(admin: Admin, namespace: string, flowId: string): Promise<FinalEdge[]> {
  const all: FinalEdge[] = [];
  let pageToken = '';
  do {
    const page = await admin.listEdges({ namespace, flowId, pageSize: PAGE, pageToken });
    for (const { joinId: join, outcome, late, ...edge } of page.edges) {
      all.push({
        ...{ join, outcome, late },
        upstream: edge.upstreamExecutionId,
        downstream: edge.downstreamExecutionId,
      });
    }
    pageToken = page.nextPageToken;
  } while (pageToken !== '');
  return all;
}
