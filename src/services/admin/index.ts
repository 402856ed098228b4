/** AdminService: look and steer. RPCs that are missing here answer UNIMPLEMENTED. */
import type { ServiceImpl } from '@connectrpc/connect';
import type { AdminService } from '../../../gen/tailrace/v1/admin_service_pb.js';
import { listAttemptsCall } from './attempts.js';
import { putBudgetCall } from './budgets/put.js';
import { getBudgetCall, listBudgetsCall } from './budgets/read.js';
import { resetBudgetCall } from './budgets/reset.js';
import { promoteConsumerCall } from './consumers/promote.js';
import { putConsumerCall } from './consumers/put.js';
import { getConsumerCall, listConsumersCall } from './consumers/read.js';
import { rebuildConsumerCall } from './consumers/rebuild.js';
import { resetConsumerCall } from './consumers/reset.js';
import { pauseConsumerCall, resumeConsumerCall } from './consumers/step.js';
import type { AdminServiceDeps } from './deps.js';
import { listEventsCall } from './events/list.js';
import { getExecutionCall, listExecutionsCall } from './executions.js';
import { explainExecutionCall } from './explain.js';
import { listEdgesCall } from './flows/edges.js';
import { listFailedFlowsCall } from './flows/failed.js';
import { getFlowCall } from './flows/get.js';
import { listJoinsCall } from './flows/joins.js';
import { listFlowsCall } from './flows/list.js';
import { listFlowMembersCall } from './flows/members.js';
import { getFlowTreeCall } from './flows/tree.js';
import { getLaneCall, listLanesCall, pauseLaneCall, resumeLaneCall } from './lanes.js';
import { listLogEntriesCall } from './log-entries.js';
import { listNamespacesCall } from './namespaces/list.js';
import { putNamespaceCall } from './namespaces/put.js';
import { changeExecutionCall, revokeLeaseCall } from './operations.js';
import { listQuotasCall } from './quotas/list.js';
import { putQuotaCall } from './quotas/put.js';
import { runRetentionCall } from './retention/run.js';
import { getStorageCall } from './retention/storage.js';
import { getServerInfoCall } from './server-info.js';
import { getStatsCall } from './stats.js';
import { deleteSubscriptionCall } from './subscriptions/delete.js';
import { putSubscriptionCall } from './subscriptions/put.js';
import { getSubscriptionCall, listSubscriptionsCall } from './subscriptions/read.js';
import { listSuspendedExecutionsCall } from './suspensions/list-suspended.js';
import { listPendingWaitpointsCall } from './suspensions/list-waitpoints.js';
import { resumeExecutionCall } from './suspensions/resume.js';
import { rotateWaitpointSecretCall } from './suspensions/rotate-secret.js';
import { tokenCalls } from './tokens/index.js';
import { updateLaneCall } from './update-lane.js';
import { drainWorkerCall, listWorkersCall } from './workers.js';

export type { AdminServiceDeps, ServerFacts } from './deps.js';

export function adminService(deps: AdminServiceDeps): Partial<ServiceImpl<typeof AdminService>> {
  return {
    getExecution: getExecutionCall(deps),
    listExecutions: listExecutionsCall(deps),
    listAttempts: listAttemptsCall(deps),
    explainExecution: explainExecutionCall(deps),
    getLane: getLaneCall(deps),
    listLanes: listLanesCall(deps),
    updateLane: updateLaneCall(deps),
    pauseLane: pauseLaneCall(deps),
    resumeLane: resumeLaneCall(deps),
    putQuota: putQuotaCall(deps),
    listQuotas: listQuotasCall(deps),
    listWorkers: listWorkersCall(deps),
    drainWorker: drainWorkerCall(deps),
    revokeLease: revokeLeaseCall(deps),
    changeExecution: changeExecutionCall(deps),
    listLogEntries: listLogEntriesCall(deps),
    listEvents: listEventsCall(deps),
    getFlow: getFlowCall(deps),
    listFlows: listFlowsCall(deps),
    listFlowMembers: listFlowMembersCall(deps),
    listEdges: listEdgesCall(deps),
    listJoins: listJoinsCall(deps),
    getFlowTree: getFlowTreeCall(deps),
    listFailedFlows: listFailedFlowsCall(deps),
    listSuspendedExecutions: listSuspendedExecutionsCall(deps),
    listPendingWaitpoints: listPendingWaitpointsCall(deps),
    resumeExecution: resumeExecutionCall(deps),
    rotateWaitpointSecret: rotateWaitpointSecretCall(deps),
    getBudget: getBudgetCall(deps),
    listBudgets: listBudgetsCall(deps),
    putBudget: putBudgetCall(deps),
    resetBudget: resetBudgetCall(deps),
    getSubscription: getSubscriptionCall(deps),
    listSubscriptions: listSubscriptionsCall(deps),
    putSubscription: putSubscriptionCall(deps),
    deleteSubscription: deleteSubscriptionCall(deps),
    getConsumer: getConsumerCall(deps),
    listConsumers: listConsumersCall(deps),
    putConsumer: putConsumerCall(deps),
    pauseConsumer: pauseConsumerCall(deps),
    resumeConsumer: resumeConsumerCall(deps),
    resetConsumer: resetConsumerCall(deps),
    rebuildConsumer: rebuildConsumerCall(deps),
    promoteConsumer: promoteConsumerCall(deps),
    getStats: getStatsCall(deps),
    putNamespace: putNamespaceCall(deps),
    listNamespaces: listNamespacesCall(deps),
    ...tokenCalls(deps),
    getServerInfo: getServerInfoCall(deps),
    getStorage: getStorageCall(deps),
    runRetention: runRetentionCall(deps),
  };
}
